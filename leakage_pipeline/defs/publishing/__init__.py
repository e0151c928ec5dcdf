"""What a run publishes, as assets, done by `leakage_pipeline.publishing`."""
