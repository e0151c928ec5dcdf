"""Opens what users feed in (files, object stores, tables) as columns of text or typed columns.

Only how to read is here: which columns mean what, and which rows are wrong, is for `usage_logs` and
`business` to say.
"""
