"""From a finding to money that came back: planning, releasing, sending and checking corrections.

The ledger is `ops.recovery_actions`; nothing leaves the house that does not stand in it first.
"""
