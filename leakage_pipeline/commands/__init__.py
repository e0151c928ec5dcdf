"""What stands behind the commands of `leakage`; `cli.py` parses and calls these."""
