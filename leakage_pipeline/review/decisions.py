"""What a person can do with a finding, each step in one transaction with its audit-log entry.

A decision keeps a fingerprint of the evidence it was taken on, so that a dismissed finding comes
back when the evidence has changed (`publishing/detection_state.py`). Nothing here moves money.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from leakage_pipeline.failures import PermanentFailure

OPEN = ("new", "investigating")
FINAL = ("actioned", "recovered", "written_off")
"""What recovery has reached: no longer a matter of opinion."""

_ACTION = {
    "assign": "review_assigned",
    "approve": "review_approved",
    "dismiss": "review_dismissed",
    "note": "review_noted",
}
UNDONE = "review_undone"
_RECOVERY = {"action": "finding_actioned", "recover": "finding_recovered"}
"""Steps of recovery itself; no person takes them, and none takes them back."""
_KEPT = ("status", "assignee", "note", "updated_by", "evidence_fingerprint")


@dataclass(frozen=True)
class Decision:
    """The state of a finding before and after one step."""

    detection_id: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


class Refused(PermanentFailure):
    """The step does not fit the finding's present state; the text says why."""


def assign(conn: Connection, detection_id: str, person: str, *, by: str, at: datetime) -> Decision:
    """Give a finding to somebody; a new one counts as being investigated from now on."""

    def change(before: Mapping[str, Any]) -> dict[str, Any]:
        status = "investigating" if before["status"] == "new" else before["status"]
        return {"assignee": person, "status": status}

    return _decide(conn, detection_id, "assign", change, by=by, at=at)


def approve(
    conn: Connection, detection_id: str, note: str | None, *, by: str, at: datetime
) -> Decision:
    """Confirm a finding: its money should come back, or go back to the customer.

    Raises:
        Refused: Recovery has begun already, or the audit no longer finds it.
    """

    def change(before: Mapping[str, Any]) -> dict[str, Any]:
        _refuse(before, (*FINAL, "auto_resolved"), "approved")
        return {"status": "approved", **({"note": note} if note else {})}

    return _decide(conn, detection_id, "approve", change, by=by, at=at)


def dismiss(conn: Connection, detection_id: str, reason: str, *, by: str, at: datetime) -> Decision:
    """Call it no finding. It leaves every total, until its evidence changes.

    Raises:
        Refused: Recovery has begun already, or no reason is given.
    """
    if not reason.strip():
        message = "a dismissed finding needs a reason, so that the next person knows it"
        raise Refused(message)

    def change(before: Mapping[str, Any]) -> dict[str, Any]:
        _refuse(before, FINAL, "dismissed")
        return {"status": "dismissed", "note": reason}

    return _decide(conn, detection_id, "dismiss", change, by=by, at=at)


def note(conn: Connection, detection_id: str, text: str, *, by: str, at: datetime) -> Decision:
    """Write something down about a finding; its status stays."""
    return _decide(conn, detection_id, "note", lambda _: {"note": text}, by=by, at=at)


def actioned(conn: Connection, detection_id: str, *, by: str, at: datetime) -> Decision:
    """A correction of it is at Stripe; whether the money comes is still to be seen."""
    return _decide(conn, detection_id, "action", lambda _: {"status": "actioned"}, by=by, at=at)


def recovered(
    conn: Connection, detection_id: str, evidence: str, *, by: str, at: datetime
) -> Decision:
    """Its money came back, as an invoice that was paid shows; `evidence` names it."""
    return _decide(
        conn,
        detection_id,
        "recover",
        lambda _: {"status": "recovered", "note": evidence},
        by=by,
        at=at,
    )


def undo(conn: Connection, detection_id: str, *, by: str, at: datetime) -> Decision:
    """Take back the newest step of a person that was not taken back yet.

    Raises:
        Refused: There is none, or the pipeline or recovery has changed the finding since.
    """
    with conn, conn.cursor() as cursor:
        before = _locked_state(cursor, detection_id, at)
        cursor.execute(
            "select entry_id, before, after from ops.audit_log as step"
            " where subject = %s and action = any(%s) and not exists ("
            "     select 1 from ops.audit_log as taken_back"
            "     where taken_back.subject = step.subject and taken_back.action = %s"
            "     and (taken_back.after ->> 'undoes')::bigint = step.entry_id"
            " ) order by entry_id desc limit 1",
            (detection_id, list(_ACTION.values()), UNDONE),
        )
        step = cursor.fetchone()
        if step is None:
            message = f"nobody has decided anything about {detection_id} that could be taken back"
            raise Refused(message)
        entry_id, earlier, later = step
        if {key: before[key] for key in _KEPT} != {key: later.get(key) for key in _KEPT}:
            message = f"{detection_id} has changed since that step; decide anew instead"
            raise Refused(message)
        after = {key: earlier.get(key) for key in _KEPT}
        _write(cursor, detection_id, after, at)
        _log(cursor, UNDONE, detection_id, before, {**after, "undoes": entry_id}, by=by, at=at)
    return Decision(detection_id, before, after)


def _refuse(before: Mapping[str, Any], statuses: tuple[str, ...], what: str) -> None:
    if before["status"] in statuses:
        message = f"it is {before['status'].replace('_', ' ')} and cannot be {what} any more"
        raise Refused(message)


def _decide(
    conn: Connection, detection_id: str, step: str, change: Any, *, by: str, at: datetime
) -> Decision:
    with conn, conn.cursor() as cursor:
        before = _locked_state(cursor, detection_id, at)
        try:
            changed = change(before)
        except Refused as refused:
            message = f"{detection_id}: {refused}"
            raise Refused(message) from None
        seen = _fingerprint(cursor, detection_id) or before["evidence_fingerprint"]
        after = {**before, **changed, "updated_by": by, "evidence_fingerprint": seen}
        _write(cursor, detection_id, after, at)
        name = _ACTION.get(step) or _RECOVERY[step]
        _log(cursor, name, detection_id, before, after, by=by, at=at)
    return Decision(detection_id, before, after)


def _locked_state(cursor: Cursor, detection_id: str, at: datetime) -> dict[str, Any]:
    """The row, held against other reviewers until the transaction ends."""
    cursor.execute(
        "insert into ops.detection_state (detection_id, updated_at) values (%s, %s)"
        " on conflict (detection_id) do nothing",
        (detection_id, at),
    )
    cursor.execute(
        "select status, assignee, note, updated_by, evidence_fingerprint"
        " from ops.detection_state where detection_id = %s for update",
        (detection_id,),
    )
    row = cursor.fetchone()
    return dict(zip(_KEPT, row or (), strict=True))


def _fingerprint(cursor: Cursor, detection_id: str) -> str | None:
    cursor.execute(
        "select ops.evidence_fingerprint(phase, leakage_amount, evidence)"
        " from marts.fct_leakage_detections where detection_id = %s",
        (detection_id,),
    )
    row = cursor.fetchone()
    return row[0] if row else None


def _write(cursor: Cursor, detection_id: str, state: Mapping[str, Any], at: datetime) -> None:
    cursor.execute(
        "update ops.detection_state set status = %s, assignee = %s, note = %s, updated_by = %s,"
        " evidence_fingerprint = %s, updated_at = %s where detection_id = %s",
        (*(state[key] for key in _KEPT), at, detection_id),
    )


def _log(
    cursor: Cursor,
    action: str,
    subject: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    by: str,
    at: datetime,
) -> None:
    cursor.execute(
        "insert into ops.audit_log (actor, action, subject, before, after, at)"
        " values (%s, %s, %s, %s, %s, %s)",
        (by, action, subject, json.dumps(before), json.dumps(after), at),
    )
