"""Findings as rows of `marts.fct_leakage_detections`, with the customer's context beside them.

Reading only; classification and publishing both start here, so that they cannot see different rows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extras import RealDictCursor

_FINDINGS = """
    select
        d.detection_id, d.customer_id, d.subscription_id, d.leakage_type, d.direction, d.phase,
        d.period_start, d.period_end, lower(d.currency) as currency,
        d.leakage_amount as amount, d.monthly_leakage_amount as monthly_amount,
        d.reporting_amount, d.amount_basis, d.severity, d.confidence, d.priority_score,
        d.incident_id, d.description, d.evidence::text as evidence,
        d.first_detected_at, d.last_detected_at, d.meter, d.reason,
        c.name as customer_name, c.plan, c.health_score, c.churn_risk,
        c.mrr, c.lifetime_value
    from marts.fct_leakage_detections as d
    left join marts.dim_customers as c on d.customer_id = c.customer_id
    order by d.detection_id
"""

_INCIDENTS = """
    select
        incident_id, leakage_type, direction, meter, source, cause, started_at, customers,
        leakage_amount as amount, monthly_leakage_amount as monthly_amount,
        lower(currency) as currency, first_detected_at, description
    from marts.fct_incidents
    order by incident_id, currency
"""


@dataclass(frozen=True)
class Finding:
    """One row of `marts.fct_leakage_detections`, with its customer from `marts.dim_customers`.

    Amounts are Decimal in currency units, None where nobody prices the usage.
    """

    detection_id: str
    customer_id: str | None
    subscription_id: str | None
    leakage_type: str
    direction: str
    phase: str
    period_start: datetime | None
    period_end: datetime | None
    currency: str | None
    amount: Decimal | None
    monthly_amount: Decimal | None
    reporting_amount: Decimal | None
    amount_basis: str
    severity: str
    confidence: Decimal
    priority_score: Decimal
    incident_id: str | None
    description: str
    evidence: Mapping[str, Any]
    first_detected_at: datetime
    last_detected_at: datetime
    meter: str | None
    reason: str | None
    customer_name: str | None
    plan: str | None
    health_score: Decimal | None
    churn_risk: Decimal | None
    mrr: Decimal | None = None
    lifetime_value: Decimal | None = None


@dataclass(frozen=True)
class Incident:
    """One row of `marts.fct_incidents`: findings with one cause, in one currency."""

    incident_id: str
    leakage_type: str
    direction: str
    meter: str | None
    source: str | None
    cause: str | None
    started_at: datetime | None
    customers: int
    amount: Decimal | None
    monthly_amount: Decimal | None
    currency: str | None
    first_detected_at: datetime | None
    description: str


def parse_evidence(text: str | None) -> dict[str, Any]:
    """Read evidence JSON, fractions as exact Decimals; anything but an object is empty."""
    loaded = json.loads(text, parse_float=Decimal) if text else {}
    return loaded if isinstance(loaded, dict) else {}


def read_findings(conn: Connection) -> list[Finding]:
    """Read every finding, ordered by detection id so that all that follows is deterministic."""
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(_FINDINGS)
        return [_finding(row) for row in cursor.fetchall()]


def read_incidents(conn: Connection) -> list[Incident]:
    """Read every incident, ordered by id and currency."""
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(_INCIDENTS)
        return [Incident(**row) for row in cursor.fetchall()]


def read_states(conn: Connection) -> dict[str, str]:
    """Read what people and the pipeline say of each finding, past ones too, by detection id."""
    with conn.cursor() as cursor:
        cursor.execute("select detection_id, status from ops.detection_state")
        return dict(cursor.fetchall())


def _finding(row: Mapping[str, Any]) -> Finding:
    values = dict(row)
    values["evidence"] = parse_evidence(values["evidence"])
    for key in ("confidence", "priority_score"):
        values[key] = Decimal(0) if values[key] is None else values[key]
    values["description"] = values["description"] or ""
    return Finding(**values)
