"""A simulated SaaS company: its Stripe account, its usage logs, its known leaks.

Nothing here is used by an audit of a real company; `leakage demo` and the tests are its callers.
"""
