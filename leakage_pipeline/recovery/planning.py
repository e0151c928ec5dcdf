"""Turns published findings into planned actions: one statement over the newest audit's marts.

Nothing is sent here. Payloads are kept as they would be sent, so that a person releases exactly
what leaves.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.policy import Policy
from leakage_pipeline.warehouse import ops

WITHDRAWN = "the newest audit no longer calls for it"
"""`error` of a planned action that the pipeline took back; a person's own words differ."""

_STATEMENT = Path(__file__).with_name("planning.sql")


@dataclass(frozen=True)
class Plan:
    """What a planning run did: actions planned (or still planned), withdrawn, held for a person."""

    planned: int
    withdrawn: int
    held: int


def plan(conn: Connection, policy: Policy, as_of: datetime) -> Plan:
    """Plan what the newest audit calls for, and withdraw plans whose evidence is gone.

    Args:
        conn: Warehouse connection, after an audit; committed at the end.
        policy: `action_mode` off plans nothing and withdraws nothing; `paid_back_to` says where
            a credit note puts what was paid.
        as_of: The audit's instant.
    """
    mode = policy.action_mode
    if mode == "off":
        return Plan(0, 0, 0)
    ops.create(conn, commit=False)
    with conn.cursor() as cursor:
        # A repeated or concurrent planning waits for its turn.
        cursor.execute("lock table ops.recovery_actions in share row exclusive mode")
        cursor.execute(
            _STATEMENT.read_text(encoding="utf-8"),
            {
                "mode": mode,
                "as_of": as_of,
                "withdrawn": WITHDRAWN,
                "paid_back_to": policy.paid_back_to,
            },
        )
        counts = cursor.fetchone() or (0, 0, 0)
    conn.commit()
    return Plan(*counts)
