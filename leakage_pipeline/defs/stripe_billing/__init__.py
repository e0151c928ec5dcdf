"""Stripe's objects as assets, loaded by `leakage_pipeline.stripe_billing`."""
