"""The usage log as assets."""
