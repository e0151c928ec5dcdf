"""Keeps `ops.detection_sightings`, and the part of `ops.detection_state` that is the pipeline's.

A finding is `new` when it first appears and `auto_resolved` when an audit no longer finds it. A row
that a person has touched is changed in one case: a dismissed finding whose evidence is another one
now asks to be looked at again.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extensions import cursor as Cursor  # noqa: N812

PIPELINE = "pipeline"
"""`updated_by` of rows that no person has touched."""

_SIGHTINGS = """
    insert into ops.detection_sightings as seen
        (detection_id, first_detected_at, last_detected_at)
    select detection_id, %(as_of)s, %(as_of)s from marts.fct_leakage_detections
    on conflict (detection_id) do update set
        first_detected_at = least(seen.first_detected_at, excluded.first_detected_at),
        last_detected_at = greatest(seen.last_detected_at, excluded.last_detected_at)
    where excluded.first_detected_at < seen.first_detected_at
        or excluded.last_detected_at > seen.last_detected_at
"""

_NEW = """
    insert into ops.detection_state (detection_id, status, updated_by, updated_at)
    select detection_id, 'new', %(pipeline)s, %(as_of)s from marts.fct_leakage_detections
    on conflict (detection_id) do nothing
"""

_BACK_AGAIN = """
    with changed as (
        update ops.detection_state as state set
            status = 'new', note = 'Found again.', updated_at = %(as_of)s
        where state.status = 'auto_resolved' and state.updated_by = %(pipeline)s
            and state.updated_at < %(as_of)s
            and exists (
                select 1 from marts.fct_leakage_detections as d
                where d.detection_id = state.detection_id
            )
        returning state.detection_id
    )
    insert into ops.audit_log (actor, action, subject, before, after, at)
    select %(pipeline)s, 'finding_reopened', detection_id, '{"status": "auto_resolved"}',
        '{"status": "new"}', %(as_of)s
    from changed
"""

# An audit of a past day sees less than a later one did: what was seen later is not resolved by it.
_GONE = """
    with changed as (
        update ops.detection_state as state set
            status = 'auto_resolved', updated_at = %(as_of)s,
            note = 'No longer found: mended, or older than the audited periods.'
        where state.status = 'new' and state.updated_by = %(pipeline)s
            and not exists (
                select 1 from marts.fct_leakage_detections as d
                where d.detection_id = state.detection_id
            )
            and exists (
                select 1 from ops.detection_sightings as seen
                where seen.detection_id = state.detection_id and seen.last_detected_at < %(as_of)s
            )
        returning state.detection_id
    )
    insert into ops.audit_log (actor, action, subject, before, after, at)
    select %(pipeline)s, 'finding_auto_resolved', detection_id, '{"status": "new"}',
        '{"status": "auto_resolved"}', %(as_of)s
    from changed
"""


# A decision of a later day was taken on newer numbers than a past day's audit has.
_EVIDENCE_CHANGED = """
    with changed as (
        update ops.detection_state as state set
            status = 'new', updated_by = %(pipeline)s, updated_at = %(as_of)s,
            evidence_fingerprint = null,
            note = 'The evidence has changed since ' || state.updated_by || ' dismissed it'
                || coalesce(': ' || state.note, '.')
        from marts.fct_leakage_detections as d, ops.detection_state as before
        where state.status = 'dismissed' and state.updated_at < %(as_of)s
            and d.detection_id = state.detection_id and before.detection_id = state.detection_id
            and state.evidence_fingerprint <> ops.evidence_fingerprint(
                d.phase, d.leakage_amount, d.evidence
            )
        returning state.detection_id, before.updated_by, before.note
    )
    insert into ops.audit_log (actor, action, subject, before, after, at)
    select %(pipeline)s, 'finding_reopened', detection_id,
        jsonb_build_object('status', 'dismissed', 'updated_by', updated_by, 'note', note),
        '{"status": "new"}', %(as_of)s
    from changed
"""


@dataclass(frozen=True)
class StateChanges:
    """How many rows a run changed."""

    sighted: int
    new: int
    found_again: int
    auto_resolved: int
    evidence_changed: int


def update_detection_state(conn: Connection, as_of: datetime) -> StateChanges:
    """Record sightings and move the pipeline's own states, in one transaction.

    Args:
        conn: Warehouse connection; committed at the end.
        as_of: The run's instant. Repeating a run changes nothing; a run for an earlier instant only
            lowers `first_detected_at`.
    """
    values = {"as_of": as_of, "pipeline": PIPELINE}
    with conn.cursor() as cursor:
        changes = StateChanges(
            sighted=_execute(cursor, _SIGHTINGS, values),
            new=_execute(cursor, _NEW, values),
            found_again=_execute(cursor, _BACK_AGAIN, values),
            auto_resolved=_execute(cursor, _GONE, values),
            evidence_changed=_execute(cursor, _EVIDENCE_CHANGED, values),
        )
    conn.commit()
    return changes


def _execute(cursor: Cursor, statement: str, values: dict[str, object]) -> int:
    cursor.execute(statement, values)
    return cursor.rowcount
