"""Five audited customers a month, found and not found, for a person to check by hand.

Their verdicts are the only measure of how right the audit is that does not come from the audit.
The draw is random but repeatable: a hash of month and customer decides.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import pyarrow as pa
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extras import RealDictCursor

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.warehouse.tables import TableSpec

Verdict = Literal["right", "missed", "wrong"]
VERDICTS: tuple[str, ...] = get_args(Verdict)
"""right: what was found, or that nothing was, holds. missed: something leaks that was not found.
wrong: what was found is no leak, or its amount is not right."""

SAMPLES = TableSpec(
    schema="ops",
    name="audit_samples",
    arrow_schema=pa.schema(
        [
            ("month", pa.string()),
            ("customer_id", pa.string()),
            ("found", pa.bool_()),
            ("detections", pa.string()),
            ("drawn_at", pa.timestamp("us", "UTC")),
            ("verdict", pa.string()),
            ("note", pa.string()),
            ("checked_by", pa.string()),
            ("checked_at", pa.timestamp("us", "UTC")),
        ]
    ),
    primary_key=("month", "customer_id"),
    comment="Audited customers drawn to be checked by hand, five a month, and what people found.",
    json_columns=frozenset({"detections"}),
)
_SIZE = 5
_OF_FOUND = 3
_MONTHS = 12

# Three with findings and two without where there are so many; the other kind fills up.
_DRAW = """
    with audited as (
        select
            customers.customer_id,
            md5(%(month)s || customers.customer_id) as lot,
            coalesce(findings.detections, '[]'::jsonb) as detections
        from (select distinct customer_id from marts.fct_expected_vs_billed) as customers
        left join (
            select d.customer_id, jsonb_agg(d.detection_id order by d.detection_id) as detections
            from marts.fct_leakage_detections as d
            left join ops.detection_state as s on d.detection_id = s.detection_id
            where d.direction in ('leak', 'overbilling') and s.status is distinct from 'dismissed'
            group by d.customer_id
        ) as findings on customers.customer_id = findings.customer_id
    ),

    lots as (
        select
            *,
            detections <> '[]'::jsonb as found,
            row_number() over (partition by detections <> '[]'::jsonb order by lot) as place
        from audited
    )

    insert into ops.audit_samples (month, customer_id, found, detections, drawn_at)
    select %(month)s, customer_id, found, detections, %(as_of)s from lots
    where not exists (select 1 from ops.audit_samples where month = %(month)s)
    order by place > case when found then %(of_found)s else %(size)s - %(of_found)s end, lot
    limit %(size)s
    on conflict (month, customer_id) do nothing
"""

_READ = """
    select
        s.month, s.customer_id, c.name as customer_name, s.found,
        jsonb_array_length(s.detections) as findings, s.verdict, s.note, s.checked_by, s.checked_at
    from ops.audit_samples as s
    left join marts.dim_customers as c on s.customer_id = c.customer_id
    where s.month = %(month)s
    order by s.found desc, s.customer_id
"""

_ACCURACY = """
    select
        count(verdict) as checked,
        count(*) filter (where verdict = 'right') as right,
        count(verdict) filter (where found) as checked_found,
        count(*) filter (where found and verdict = 'right') as right_found,
        count(*) filter (where verdict = 'missed') as missed,
        count(*) filter (where verdict = 'wrong') as wrong,
        count(*) filter (where verdict is null and month = %(month)s) as waiting,
        min(month) filter (where verdict is not null) as since
    from ops.audit_samples
    where month > %(before)s and month <= %(month)s
"""


@dataclass(frozen=True)
class Accuracy:
    """What people found in the samples of the last twelve months."""

    checked: int
    right: int
    checked_found: int
    right_found: int
    missed: int
    wrong: int
    waiting: int
    """Customers of this month's sample that nobody has checked yet."""
    since: str | None


def month_of(instant: datetime) -> str:
    """The month of an instant in UTC, such as `2026-11`."""
    return f"{instant.astimezone(UTC):%Y-%m}"


def draw(conn: Connection, as_of: datetime) -> int:
    """Draw the month's sample unless it is drawn already, and commit.

    Args:
        conn: Warehouse connection, after an audit.
        as_of: The audit's instant; its month is the sample's.

    Returns:
        How many customers were drawn now.
    """
    SAMPLES.create(conn)
    values = {"month": month_of(as_of), "as_of": as_of, "size": _SIZE, "of_found": _OF_FOUND}
    with conn.cursor() as cursor:
        cursor.execute(_DRAW, values)
        drawn = cursor.rowcount
    conn.commit()
    return drawn


def read(conn: Connection, month: str) -> Sequence[Mapping[str, Any]]:
    """Return the month's sample, customers with findings first."""
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(_READ, {"month": month})
        return [dict(row) for row in cursor.fetchall()]


def record(
    conn: Connection,
    month: str,
    customer_id: str,
    verdict: str,
    note: str,
    *,
    by: str,
    at: datetime,
) -> None:
    """Write down what a person found, with its entry in the audit log, in one transaction.

    Raises:
        PermanentFailure: The customer is not in the month's sample, or a verdict other than
            `right` comes without a note.
    """
    if verdict not in VERDICTS:
        message = f"{verdict!r} is no verdict; it is one of {', '.join(VERDICTS)}"
        raise PermanentFailure(message)
    if verdict != "right" and not note.strip():
        message = f"say in a note what was {verdict}, so that it can be mended"
        raise PermanentFailure(message)
    with conn, conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(
            "select verdict, note, checked_by from ops.audit_samples"
            " where month = %s and customer_id = %s for update",
            (month, customer_id),
        )
        before = cursor.fetchone()
        if before is None:
            message = f"{customer_id} is not in the sample of {month}; leakage review sample list"
            raise PermanentFailure(message)
        after = {"verdict": verdict, "note": note.strip() or None, "checked_by": by}
        cursor.execute(
            "update ops.audit_samples set verdict = %(verdict)s, note = %(note)s,"
            " checked_by = %(checked_by)s, checked_at = %(at)s"
            " where month = %(month)s and customer_id = %(customer_id)s",
            {**after, "at": at, "month": month, "customer_id": customer_id},
        )
        cursor.execute(
            "insert into ops.audit_log (actor, action, subject, before, after, at)"
            " values (%s, 'sample_checked', %s, %s, %s, %s)",
            (by, f"{month}/{customer_id}", json.dumps(dict(before)), json.dumps(after), at),
        )


def accuracy(conn: Connection, as_of: datetime) -> Accuracy:
    """Return the verdicts of the last twelve months up to the instant's month."""
    SAMPLES.create(conn)
    month = month_of(as_of)
    year, number = int(month[:4]), int(month[5:])
    before = f"{year - _MONTHS // 12}-{number:02d}"
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(_ACCURACY, {"month": month, "before": before})
        row = cursor.fetchone()
    return Accuracy(**row) if row else Accuracy(0, 0, 0, 0, 0, 0, 0, None)
