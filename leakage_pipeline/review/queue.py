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
    where, values = _conditions(filters)
    query = sql.SQL(
        _QUEUE
        + " where {} order by d.priority_score desc nulls last, d.detection_id limit %(limit)s"
    ).format(where)
    return _rows(conn, query, values | {"limit": limit})


def count_queue(conn: Connection, filters: Filters) -> int:
    """How many findings pass the filters."""
    where, values = _conditions(filters)
    listed = sql.SQL(_QUEUE + " where {}").format(where)
    query = sql.SQL("select count(*) as findings from ({}) as queue").format(listed)
    return int(_rows(conn, query, values)[0]["findings"])


def _conditions(filters: Filters) -> tuple[sql.Composable, dict[str, Any]]:
    conditions = []
    values: dict[str, Any] = {}
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
    return sql.SQL(" and ").join(conditions) if conditions else sql.SQL("true"), values


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


def incidents(conn: Connection) -> list[Row]:
    """Findings that share a cause, one row per cause, what costs most a month first.

    Findings that a person dismissed do not count as to be decided.
    """
    query = sql.SQL(
        "select i.incident_id, i.leakage_type, i.direction, i.meter, i.source, i.cause,"
        " i.started_at, i.ended_at, i.is_running, i.customers, i.findings, i.leakage_amount,"
        " i.monthly_leakage_amount, i.daily_leakage_amount, i.currency,"
        " count(d.detection_id) filter ("
        "     where coalesce(s.status, 'new') in ('new', 'investigating')) as undecided"
        " from marts.fct_incidents as i"
        " left join marts.fct_leakage_detections as d on i.incident_id = d.incident_id"
        " left join ops.detection_state as s on d.detection_id = s.detection_id"
        " group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"
        " order by i.is_running desc, i.monthly_leakage_amount desc, i.leakage_amount desc,"
        " i.incident_id"
    )
    return _rows(conn, query, {})


def monthly(conn: Connection) -> list[Row]:
    """What was lost in each of the past twelve months, by currency, all amounts positive.

    The month is the one in which the audited period ended; dismissed findings are left out.
    """
    query = sql.SQL(
        "with months as ("
        "     select generate_series(date_trunc('month', as_of at time zone 'utc')"
        "         - interval '11 months', as_of at time zone 'utc', interval '1 month') as month"
        "     from raw_business.audit_settings"
        " ), lost as ("
        "     select d.currency, d.direction || '_' || d.amount_basis as kind,"
        "         date_trunc('month', d.period_end at time zone 'utc') as month, d.leakage_amount"
        "     from marts.fct_leakage_detections as d"
        "     left join ops.detection_state as s on d.detection_id = s.detection_id"
        "     where d.phase = 'closed' and d.direction in ('leak', 'overbilling')"
        "     and d.currency is not null and s.status is distinct from 'dismissed'"
        " ), currencies as (select distinct currency from lost)"
        " select c.currency, m.month,"
        " coalesce(sum(leakage_amount) filter (where kind = 'leak_measured'), 0) as leak_measured,"
        " coalesce(sum(leakage_amount) filter (where kind = 'leak_estimated'), 0)"
        "     as leak_estimated,"
        " coalesce(sum(leakage_amount) filter (where kind = 'overbilling_measured'), 0)"
        "     as over_measured,"
        " coalesce(sum(leakage_amount) filter (where kind = 'overbilling_estimated'), 0)"
        "     as over_estimated"
        " from currencies as c cross join months as m"
        " left join lost as l on c.currency = l.currency and m.month = l.month"
        " group by 1, 2 order by 1, 2"
    )
    return _rows(conn, query, {})


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
