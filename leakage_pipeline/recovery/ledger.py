"""The ledger `ops.recovery_actions`: who may move an action from which state to which.

Every step is one transaction with its audit-log entry. An action stands as `sent` before its
request leaves, and holds its lane, so that a crash can leave it too early but never twice.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extras import RealDictCursor

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.review import people

MONEY = ("meter_event", "invoice_item", "credit_note")
"""Actions that correct a bill at Stripe; each has the lane of its own name."""
RECOVERY = "recovery"
"""The actor of steps that no person took."""
AUTO = "policy"
"""`approved_by` of what mode auto released."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Action:
    """One row of the ledger; instants are UTC, amounts currency units."""

    action_id: str
    detection_id: str
    action: str
    mode: str
    status: str
    leakage_type: str
    customer_id: str | None
    subscription_id: str | None
    meter: str
    window_start: datetime | None
    window_end: datetime | None
    currency: str | None
    amount: Decimal | None
    reporting_amount: Decimal | None
    confidence: Decimal | None
    request: list[Json]
    before: Json
    after: Json
    response: Json | None
    remote_id: str | None
    held_because: str | None
    error: str | None
    approved_by: str | None
    sent_at: datetime | None
    updated_at: datetime

    @property
    def is_money(self) -> bool:
        """Whether it changes what a customer is billed."""
        return self.action in MONEY


class Refused(PermanentFailure):
    """The step does not fit the action's state; the text says why."""


_COLUMNS = sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(Action))
_LISTED = sql.SQL(
    "select {columns} from ops.recovery_actions where {condition}"
    " order by reporting_amount desc nulls last, action_id"
)


def read(conn: Connection, statuses: Sequence[str] | None = None) -> list[Action]:
    """Actions of these states (None: all), the largest amount first."""
    condition = sql.SQL("true" if statuses is None else "status = any(%(statuses)s)")
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        query = _LISTED.format(columns=_COLUMNS, condition=condition)
        cursor.execute(query, {"statuses": list(statuses or ())})
        found = [Action(**row) for row in cursor.fetchall()]
    conn.commit()
    return found


def of_finding(conn: Connection, detection_id: str) -> list[Action]:
    """The actions about one finding."""
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        condition = sql.SQL("detection_id = %(detection_id)s")
        query = _LISTED.format(columns=_COLUMNS, condition=condition)
        cursor.execute(query, {"detection_id": detection_id})
        found = [Action(**row) for row in cursor.fetchall()]
    conn.commit()
    return found


def find(conn: Connection, wanted: str) -> Action:
    """The action whose id is, or begins with, these letters.

    Raises:
        Refused: None, or several, do.
    """
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        condition = sql.SQL("starts_with(action_id, %(id)s)")
        cursor.execute(_LISTED.format(columns=_COLUMNS, condition=condition), {"id": wanted})
        found = [Action(**row) for row in cursor.fetchall()]
    conn.commit()
    if len(found) != 1:
        problem = "more than one action begins" if found else "no action begins"
        message = f"{problem} with {wanted}; leakage actions list shows the ids"
        raise Refused(message)
    return found[0]


def release(conn: Connection, action_id: str, *, by: str, at: datetime) -> None:
    """Let an action be sent, as it stands in the ledger now.

    Raises:
        Refused: The person is no active approver, or the action is held or was sent already.
    """
    insist_on_approver(conn, by)
    with conn, conn.cursor() as cursor:
        status, held = _locked(cursor, action_id, "status", "held_because")
        if held is not None:
            message = f"{action_id} is held: {held}"
            raise Refused(message)
        if status not in {"planned", "failed"}:
            message = f"{action_id} is {status} and cannot be approved"
            raise Refused(message)
        cursor.execute(
            "update ops.recovery_actions set status = 'approved', approved_by = %s,"
            " approved_at = %s, error = null where action_id = %s",
            (by, at, action_id),
        )
        _log(cursor, "action_approved", action_id, status, "approved", by=by, at=at)


def withdraw(conn: Connection, action_id: str, reason: str, *, by: str, at: datetime) -> None:
    """Take back what was not sent yet.

    Raises:
        Refused: It was sent already.
    """
    with conn, conn.cursor() as cursor:
        (status,) = _locked(cursor, action_id, "status")
        if status not in {"planned", "approved", "failed"}:
            message = f"{action_id} is {status} and cannot be withdrawn"
            raise Refused(message)
        _set(cursor, action_id, "reverted", error=reason)
        _log(cursor, "action_withdrawn", action_id, status, "reverted", by=by, at=at, note=reason)


def claim(conn: Connection, action: Action, *, by: str, at: datetime) -> bool:
    """Say that the action is being sent, and take its lane; committed before anything leaves.

    Returns:
        False when the action is no longer approved, or its window has another lane.
    """
    with conn, conn.cursor() as cursor:
        status, updated_at = _locked(cursor, action.action_id, "status", "updated_at")
        # As it was read, payload and all: another planning may have changed it since.
        is_same = (status, updated_at) == (action.status, action.updated_at)
        if not is_same or status not in {"planned", "approved"}:
            return False
        if action.is_money:
            window = (action.customer_id, action.subscription_id, action.meter, action.window_start)
            cursor.execute(
                "insert into ops.recovery_lanes"
                " (customer_id, subscription_id, meter, window_start, lane, claimed_at)"
                " values (%s, %s, %s, %s, %s, %s) on conflict do nothing",
                (*window, action.action, at),
            )
            cursor.execute(
                "select lane from ops.recovery_lanes where customer_id = %s"
                " and subscription_id = %s and meter = %s and window_start = %s for update",
                window,
            )
            if cursor.fetchone() != (action.action,):
                conn.rollback()
                return False
        cursor.execute(
            "update ops.recovery_actions set status = 'sent', sent_at = %s, attempts = 1,"
            " approved_by = coalesce(approved_by, %s), response = null, error = null,"
            " claimed_lane = %s where action_id = %s",
            (at, by, action.action if action.is_money else None, action.action_id),
        )
        _log(cursor, "action_sent", action.action_id, status, "sent", by=RECOVERY, at=at)
    return True


def tried_again(conn: Connection, action_id: str) -> None:
    """Count one more sending of an action whose first outcome is not known."""
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "update ops.recovery_actions set attempts = attempts + 1"
            " where action_id = %s and status = 'sent'",
            (action_id,),
        )


def accepted(conn: Connection, action_id: str, response: Json) -> None:
    """Keep the receiver's answer; whether it had its effect is still to be seen."""
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "update ops.recovery_actions set response = %s, error = null"
            " where action_id = %s and status = 'sent'",
            (json.dumps(response, default=str), action_id),
        )


def confirm(conn: Connection, action_id: str, remote_id: str | None, *, at: datetime) -> None:
    """It is there: the receiver says so."""
    with conn, conn.cursor() as cursor:
        (status,) = _locked(cursor, action_id, "status")
        if status != "sent":
            return
        cursor.execute(
            "update ops.recovery_actions set status = 'confirmed', remote_id = %s,"
            " executed_at = %s, error = null where action_id = %s",
            (remote_id, at, action_id),
        )
        _log(
            cursor, "action_confirmed", action_id, status, "confirmed", by=RECOVERY, at=at,
            note=remote_id,
        )  # fmt: skip


def fail(conn: Connection, action_id: str, reason: str, *, at: datetime) -> None:
    """It was refused for certain. Its lane is free again when nothing else went through it."""
    with conn, conn.cursor() as cursor:
        (status,) = _locked(cursor, action_id, "status")
        _set(cursor, action_id, "failed", error=reason)
        _let_go(cursor, action_id)
        _log(cursor, "action_failed", action_id, status, "failed", by=RECOVERY, at=at, note=reason)


def put_back(conn: Connection, action_id: str, reason: str, *, at: datetime) -> None:
    """It was not carried out this time, for certain: it waits, approved, for another run."""
    with conn, conn.cursor() as cursor:
        (status,) = _locked(cursor, action_id, "status")
        _set(cursor, action_id, "approved", error=reason)
        _let_go(cursor, action_id)
        _log(cursor, "action_waits", action_id, status, "approved", by=RECOVERY, at=at, note=reason)


def doubt(conn: Connection, action_id: str, reason: str, *, needs_person: bool) -> None:
    """Note why nobody knows whether it arrived; with `needs_person` no run sends it again."""
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "update ops.recovery_actions set error = %s,"
            " held_because = case when %s then %s else held_because end where action_id = %s",
            (reason, needs_person, reason, action_id),
        )


def resolve(conn: Connection, action_id: str, *, arrived: bool, by: str, at: datetime) -> None:
    """A person has looked at Stripe: what was sent is there, or it never arrived.

    Raises:
        Refused: The person is no active approver, or the action is not under way.
    """
    insist_on_approver(conn, by)
    status = "confirmed" if arrived else "failed"
    note = "a person saw it in Stripe" if arrived else "a person did not find it in Stripe"
    with conn, conn.cursor() as cursor:
        (before,) = _locked(cursor, action_id, "status")
        if before != "sent":
            message = f"{action_id} is {before}; only what was sent and not confirmed is open"
            raise Refused(message)
        _set(cursor, action_id, status, error=None if arrived else note, keeps_sending=arrived)
        cursor.execute(
            "update ops.recovery_actions set held_because = null,"
            " executed_at = case when %s then %s::timestamptz end where action_id = %s",
            (arrived, at, action_id),
        )
        if not arrived:
            _let_go(cursor, action_id)
        _log(cursor, "action_resolved", action_id, before, status, by=by, at=at, note=note)


def reverted(conn: Connection, action_id: str, reason: str, *, by: str, at: datetime) -> None:
    """What was sent was undone at the receiver; it is never sent again, its lane stays taken."""
    with conn, conn.cursor() as cursor:
        (status,) = _locked(cursor, action_id, "status")
        _set(cursor, action_id, "reverted", error=reason, keeps_sending=True)
        _log(cursor, "action_reverted", action_id, status, "reverted", by=by, at=at, note=reason)


def insist_on_approver(conn: Connection, name: str) -> None:
    """Refuse whoever may not release an action.

    Raises:
        Refused: The person is no active approver.
    """
    person = people.active(conn, name)
    if person is None or not person.may("approve"):
        message = f"{name} is no approver; leakage review people list shows who is"
        raise Refused(message)


def _set(
    cursor: Cursor, action_id: str, status: str, *, error: str | None, keeps_sending: bool = False
) -> None:
    cursor.execute(
        "update ops.recovery_actions set status = %s, error = %s,"
        " sent_at = case when %s then sent_at end,"
        " claimed_lane = case when %s then claimed_lane end where action_id = %s",
        (status, error, keeps_sending, keeps_sending, action_id),
    )


def _let_go(cursor: Cursor, action_id: str) -> None:
    """Free the lane of a window through which nothing was sent."""
    cursor.execute(
        "delete from ops.recovery_lanes as lanes using ops.recovery_actions as mine"
        " where mine.action_id = %s and (lanes.customer_id, lanes.subscription_id, lanes.meter,"
        " lanes.window_start) = (mine.customer_id, mine.subscription_id, mine.meter,"
        " mine.window_start) and not exists ("
        "     select 1 from ops.recovery_actions as others"
        "     where others.claimed_lane is not null"
        "     and (others.customer_id, others.subscription_id, others.meter, others.window_start)"
        "     = (lanes.customer_id, lanes.subscription_id, lanes.meter, lanes.window_start)"
        " )",
        (action_id,),
    )


def _locked(cursor: Cursor, action_id: str, *columns: str) -> tuple[Any, ...]:
    """Columns of the row, held against other sessions until the transaction ends."""
    cursor.execute(
        sql.SQL("select {} from ops.recovery_actions where action_id = %s for update").format(
            sql.SQL(", ").join(map(sql.Identifier, columns))
        ),
        (action_id,),
    )
    row = cursor.fetchone()
    if row is None:
        message = f"there is no action {action_id}"
        raise Refused(message)
    return tuple(row)


def _log(  # noqa: PLR0913 - one argument per column
    cursor: Cursor,
    step: str,
    action_id: str,
    before: str,
    after: str,
    *,
    by: str,
    at: datetime,
    note: str | None = None,
) -> None:
    states: tuple[Mapping[str, Any], Mapping[str, Any]] = (
        {"status": before},
        {"status": after} | ({"note": note} if note else {}),
    )
    cursor.execute(
        "insert into ops.audit_log (actor, action, subject, before, after, at)"
        " values (%s, %s, %s, %s, %s, %s)",
        (by, step, action_id, *map(json.dumps, states), at),
    )
