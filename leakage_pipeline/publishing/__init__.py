"""What people read: the weekly recovery report, the Slack digest, findings as CSV, their status.

Reads marts and `ops`, never raw data. The same inputs and the same `as_of` give the same bytes.
"""
