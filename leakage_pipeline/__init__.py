"""A nightly audit of Stripe billing: what should have been billed, what was, and why they differ.

One sub-package per domain, each free of Dagster; `defs/` wires them into the asset graph.
"""

__version__ = "0.1.0"
