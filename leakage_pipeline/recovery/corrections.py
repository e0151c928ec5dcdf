"""The corrections of bills that the newest audit's marts call for: the lanes that move money.

Payloads are kept as they would be sent, so that a person releases exactly what leaves.
"""

from datetime import datetime

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.policy import Policy
from leakage_pipeline.recovery.ledger import MONEY
from leakage_pipeline.recovery.planning import Lane, Plan, plan_lane

# The id is made of the evidence: whatever else the request says now, the amount is the same.
_LANE = Lane(MONEY, "corrections.sql", release_stays=True)


def plan_corrections(conn: Connection, policy: Policy, as_of: datetime) -> Plan:
    """Plan what the newest audit calls for, and withdraw plans whose evidence is gone.

    Args:
        conn: Warehouse connection, after an audit; committed at the end.
        policy: `action_mode` off plans nothing and withdraws nothing; `paid_back_to` says where
            a credit note puts what was paid.
        as_of: The audit's instant.
    """
    if policy.action_mode == "off":
        return Plan(0, 0, 0)
    return plan_lane(conn, _LANE, policy.action_mode, as_of, paid_back_to=policy.paid_back_to)
