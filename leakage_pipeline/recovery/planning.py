"""Brings the ledger to what the newest audit calls for, one lane at a time, in one transaction.

A lane is one SQL statement that fills `wanted_actions`; nothing is sent here. What was planned and
is not wanted any more is withdrawn, what was sent is never touched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

WITHDRAWN = "the newest audit no longer calls for it"
"""`error` of an action that the pipeline took back; a person's own words differ."""

_TABLE = """
    create temporary table wanted_actions (
        action_id text primary key,
        detection_id text not null,
        action text not null,
        currency text,
        amount numeric,
        request jsonb not null,
        evidence_fingerprint text,
        leakage_type text,
        customer_id text,
        subscription_id text,
        meter text not null default '',
        window_start timestamptz,
        window_end timestamptz,
        reporting_amount numeric,
        confidence numeric,
        held_because text,
        before jsonb not null default '{}',
        after jsonb not null default '{}'
    ) on commit drop
"""
_STATEMENT = Path(__file__).with_name("planning.sql")


@dataclass(frozen=True)
class Lane:
    """Actions that are planned together.

    Attributes:
        actions: Their kinds, all of which the statement plans.
        statement: A file beside this one with an insert into `wanted_actions`.
        release_stays: A release holds although the request reads otherwise now. Where the id is
            made of the evidence, that is about the same amount.
        withdraws_released: What was released is taken back when no longer wanted.
    """

    actions: Sequence[str]
    statement: str
    release_stays: bool
    withdraws_released: bool = True


@dataclass(frozen=True)
class Plan:
    """What a planning did: actions planned (or still planned), withdrawn, held for a person."""

    planned: int
    withdrawn: int
    held: int


def plan_lane(
    conn: Connection, lane: Lane, mode: str, as_of: datetime, **parameters: object
) -> Plan:
    """Plan what a lane's statement wants, and withdraw the rest of its actions.

    Args:
        conn: Warehouse connection, after an audit; committed at the end.
        lane: Which lane.
        mode: `policy.action_mode`, not off.
        as_of: The audit's instant.
        parameters: Of the lane's statement, besides as_of.
    """
    shared: Mapping[str, object] = {"mode": mode, "as_of": as_of, "withdrawn": WITHDRAWN}
    statement = Path(__file__).with_name(lane.statement)
    states = ["planned", "approved"] if lane.withdraws_released else ["planned"]
    with conn, conn.cursor() as cursor:
        # A repeated or concurrent planning waits for its turn.
        cursor.execute("lock table ops.recovery_actions in share row exclusive mode")
        cursor.execute(_TABLE)
        cursor.execute(statement.read_text(encoding="utf-8"), {**parameters, "as_of": as_of})
        cursor.execute(
            _STATEMENT.read_text(encoding="utf-8"),
            {
                **shared,
                "actions": list(lane.actions),
                "release_stays": lane.release_stays,
                "withdraws": states,
            },
        )
        counts = cursor.fetchone() or (0, 0, 0)
    return Plan(*counts)
