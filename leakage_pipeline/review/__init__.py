"""What people decide about findings: the queue they work through, and their decisions.

The pipeline's own states (new, auto_resolved) are kept in `publishing/detection_state.py`.
"""
