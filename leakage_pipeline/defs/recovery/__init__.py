"""Recovery in Dagster: planned at the end of each audit, sent by a job of its own."""
