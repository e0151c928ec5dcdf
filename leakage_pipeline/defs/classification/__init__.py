"""The classification of findings as an asset, done by `leakage_pipeline.classification`."""
