"""The review queue: findings by expected recovery, filtered, and one finding with all about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extras import RealDictCursor

from leakage_pipeline.failures import PermanentFailure

Row = Mapping[str, Any]
SHORTEST_ID = 4
CSV_COLUMNS = (
    *("detection_id", "priority_score", "severity", "status", "assignee", "customer_id"),
    *("customer_name", "subscription_id", "leakage_type", "direction", "amount_basis", "phase"),
    *("period_start", "period_end", "currency", "leakage_amount", "confidence", "category"),
    *("next_action", "incident_id", "description", "note"),
)
"""What an export of the queue holds."""

_QUEUE = """
    select
        d.detection_id, d.customer_id, c.name as customer_name, d.subscription_id, d.leakage_type,
        d.direction, d.amount_basis, d.phase, d.period_start, d.period_end, d.currency,
        d.leakage_amount, d.severity, d.confidence, d.priority_score, d.incident_id, d.description,
        coalesce(s.status, 'new') as status, s.assignee, s.note, s.updated_by, s.updated_at,
        k.category, k.next_action, k.rationale, k.classifier, d.meter, d.evidence,
        d.first_detected_at, d.last_detected_at, c.health_score, c.churn_risk, c.mrr
    from marts.fct_leakage_detections as d
    left join marts.dim_customers as c on d.customer_id = c.customer_id
    left join ops.detection_state as s on d.detection_id = s.detection_id
    left join ops.classifications as k on d.detection_id = k.detection_id
"""


@dataclass(frozen=True)
class Filters:
    """What to show; None shows all. `status` defaults to what is still to be decided."""

    status: tuple[str, ...] | None = ("new", "investigating")
    leakage_type: str | None = None
    direction: str | None = None
    severity: str | None = None
    customer_id: str | None = None
    incident_id: str | None = None
    assignee: str | None = None


_COLUMNS = {
    "status": "coalesce(s.status, 'new')",
    "leakage_type": "d.leakage_type",
    "direction": "d.direction",
    "severity": "d.severity",
    "customer_id": "d.customer_id",
    "incident_id": "d.incident_id",
    "assignee": "s.assignee",
}


def read_queue(conn: Connection, filters: Filters, limit: int | None) -> list[Row]:
    """The findings that pass the filters, what is worth most first.

    Args:
        conn: Warehouse connection, read only.
        filters: What to show.
        limit: At most so many; None for all.
    """
    conditions = []
    values: dict[str, Any] = {"limit": limit}
    for field in fields(filters):
        wanted = getattr(filters, field.name)
        if wanted is not None:
            values[field.name] = list(wanted) if isinstance(wanted, tuple) else [wanted]
            conditions.append(
                sql.SQL("{} = any({})").format(
                    sql.SQL(_COLUMNS[field.name]),
                    sql.Placeholder(field.name),
                )
            )
    where = sql.SQL(" and ").join(conditions) if conditions else sql.SQL("true")
    query = sql.SQL(
        _QUEUE
        + " where {} order by d.priority_score desc nulls last, d.detection_id limit %(limit)s"
    ).format(where)
    return _rows(conn, query, values)


def find(conn: Connection, wanted: str) -> Row:
    """One finding by its id or by the beginning of it, with state, classification and context.

    Raises:
        PermanentFailure: No finding, or several, begin so.
    """
    if len(wanted) < SHORTEST_ID or not wanted.replace("-", "").isalnum():
        message = f"{wanted!r} is no finding's id; give at least {SHORTEST_ID} letters of one"
        raise PermanentFailure(message)
    query = sql.SQL(_QUEUE + " where starts_with(d.detection_id, %(id)s) order by 1 limit 2")
    found = _rows(conn, query, {"id": wanted})
    if len(found) != 1:
        problem = "more than one finding begins" if found else "no present finding begins"
        message = f"{problem} with {wanted}; leakage review list shows the ids"
        raise PermanentFailure(message)
    return found[0]


def history(conn: Connection, detection_id: str) -> Sequence[Row]:
    """Who changed the finding's state, oldest first."""
    query = sql.SQL(
        "select actor, action, before, after, at from ops.audit_log"
        " where subject = %(id)s order by entry_id"
    )
    return _rows(conn, query, {"id": detection_id})


def present_types(conn: Connection) -> list[str]:
    """The finding types that the newest audit found, by name."""
    query = sql.SQL("select distinct leakage_type from marts.fct_leakage_detections order by 1")
    return [row["leakage_type"] for row in _rows(conn, query, {})]


def totals_by_type(conn: Connection) -> list[Row]:
    """Findings and amounts by direction, basis, type and currency; nothing added across them.

    Dismissed findings are left out, as in every total.
    """
    query = sql.SQL(
        "select d.direction, d.amount_basis, d.leakage_type, upper(d.currency) as currency,"
        " count(*) as findings, count(distinct d.customer_id) as customers,"
        " sum(d.leakage_amount) as amount"
        " from marts.fct_leakage_detections as d"
        " left join ops.detection_state as s on d.detection_id = s.detection_id"
        " where s.status is distinct from 'dismissed'"
        " group by 1, 2, 3, 4"
        " order by array_position(array['leak', 'overbilling', 'risk', 'opportunity'], direction),"
        " amount_basis desc, amount desc nulls last, leakage_type"
    )
    return _rows(conn, query, {})


def _rows(conn: Connection, query: sql.Composable, values: Mapping[str, Any]) -> list[Row]:
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(query, values)
        found: list[Row] = [dict(row) for row in cursor.fetchall()]
    conn.rollback()
    return found
