"""Rolls usage events up into windows that each lie in one billing period, and loads them.

`meaning.py` says what the roll-up means; the engines (`duckdb_rollup.py` for files and streams,
`pushdown.py` where the events live) must agree on it row for row.
"""
