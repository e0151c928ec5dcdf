"""Everything the weekly report reads besides findings, one function per question.

Set-based SQL with parameters; no wording here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extras import RealDictCursor

Row = Mapping[str, Any]

STEPS: tuple[tuple[str, str], ...] = (
    ("missing_invoice_amount", "No invoice"),
    ("usage_gap_amount", "Usage"),
    ("price_gap_amount", "Price"),
    ("quantity_gap_amount", "Seats"),
    ("discount_gap_amount", "Discount"),
    ("minimum_gap_amount", "Minimum"),
    ("rating_gap_amount", "Rating"),
    ("rounding_amount", "Rounding"),
    ("credited_amount", "Credits"),
    ("unexplained_amount", "Unexplained"),
)
"""Columns of the bridge in its order, and their short names."""

EVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
"""A window that holds every period."""


@dataclass(frozen=True)
class BridgeTotal:
    """Sums of `marts.fct_expected_vs_billed` in one currency."""

    currency: str
    periods: int
    customers: int
    expected: Decimal
    billed: Decimal
    difference: Decimal
    steps: Mapping[str, Decimal]

    @property
    def adds_up(self) -> bool:
        """Whether the steps explain the difference to the cent."""
        return self.difference == sum(self.steps.values(), Decimal(0))


_BRIDGE = """
    select
        lower(currency) as currency,
        count(*) as periods,
        count(distinct customer_id) as customers,
        sum(expected_amount) as expected,
        sum(billed_amount) as billed,
        sum(difference) as difference,
        sum(missing_invoice_amount) as missing_invoice_amount,
        sum(usage_gap_amount) as usage_gap_amount,
        sum(price_gap_amount) as price_gap_amount,
        sum(quantity_gap_amount) as quantity_gap_amount,
        sum(discount_gap_amount) as discount_gap_amount,
        sum(minimum_gap_amount) as minimum_gap_amount,
        sum(rating_gap_amount) as rating_gap_amount,
        sum(rounding_amount) as rounding_amount,
        sum(credited_amount) as credited_amount,
        sum(unexplained_amount) as unexplained_amount
    from marts.fct_expected_vs_billed
    where phase = 'closed' and period_end >= %(start)s and period_end < %(end)s
        and expected_amount is not null
    group by lower(currency)
    order by lower(currency)
"""

_DOUBTS = """
    select
        count(*) filter (where expected_amount is null) as unrated_periods,
        count(*) filter (
            where expected_amount is not null and (
                unexplained_amount <> 0 or difference <> expected_amount - billed_amount
                or difference <> missing_invoice_amount + usage_gap_amount + price_gap_amount
                    + quantity_gap_amount + discount_gap_amount + minimum_gap_amount
                    + rating_gap_amount + rounding_amount + credited_amount + unexplained_amount
            )
        ) as broken_periods
    from marts.fct_expected_vs_billed
    where phase = 'closed' and period_end >= %(start)s and period_end < %(end)s
"""

_COVERAGE = """
    select
        leakage_type, lower(currency) as currency, customers_examined, customers_total,
        revenue_examined, revenue_total, missing_inputs
    from marts.fct_control_coverage
    order by leakage_type, lower(currency)
"""

_EXCEPTIONS = """
    select
        e.exception_id, e.leakage_type, e.direction, lower(e.currency) as currency,
        e.reason, e.approved_by, coalesce(c.name, e.customer_id) as customer,
        sum(e.covered_amount) as amount, count(*) as periods
    from marts.fct_approved_exceptions as e
    left join marts.dim_customers as c on e.customer_id = c.customer_id
    group by 1, 2, 3, 4, 5, 6, 7
    order by sum(e.covered_amount) desc nulls last, e.exception_id, e.leakage_type
"""

_HOLDS = """
    select
        h.invoice_id, coalesce(c.name, h.customer_id) as customer, lower(h.currency) as currency,
        h.drafted_amount, h.expected_amount, h.reasons, h.detection_ids, h.finalises_at
    from marts.fct_invoice_holds as h
    left join marts.dim_customers as c on h.customer_id = c.customer_id
    order by abs(h.difference) desc, h.invoice_id
"""

_BLOCKED = """
    select
        explanation, leakage_type, direction, lower(currency) as currency,
        count(*) as findings, sum(blocked_amount) as amount
    from marts.fct_blocked_findings
    group by explanation, leakage_type, direction, lower(currency)
    order by explanation, leakage_type, direction, lower(currency)
"""

_RECOVERED = """
    select
        lower(r.currency) as currency,
        sum(r.recovered_amount) as amount,
        coalesce(
            sum(r.recovered_amount) filter (where r.recovered_at >= %(start)s), 0
        ) as amount_this_week,
        count(distinct r.detection_id) as findings
    from marts.fct_revenue_recovered as r
    where r.recovered_at < %(end)s
    group by lower(r.currency)
    order by lower(r.currency)
"""

_RECOVERIES = """
    select
        coalesce(c.name, r.customer_id, r.detection_id) as customer, r.leakage_type, r.action,
        lower(r.currency) as currency, r.recovered_amount as amount, r.recovered_at
    from marts.fct_revenue_recovered as r
    left join marts.dim_customers as c on r.customer_id = c.customer_id
    where r.recovered_at < %(end)s
    order by r.recovered_at desc, r.detection_id
    limit 15
"""

_GIVEN_BACK = """
    select lower(currency) as currency, sum(corrected_amount) as amount, count(*) as corrections
    from marts.fct_overbilling_corrected
    where corrected_at < %(end)s and corrected_amount > 0
    group by lower(currency)
    order by lower(currency)
"""

_REJECTED = """
    select source, reason, count(*) as rows
    from ops.rejected_rows
    group by source, reason
    order by count(*) desc, source, reason
"""

_RESOLVED = """
    select count(*) as resolved from ops.detection_state
    where status = 'auto_resolved' and updated_at >= %(start)s and updated_at < %(end)s
"""

_CALCULATIONS = """
    select charge_id, authority, currency, quantity, included_quantity, grace_percent,
        quantity_above, package_size, package_rounding, rated_quantity, units, unit_amount,
        flat_amount, multiplier, sign, discount_inside_percent, share_seconds, full_seconds,
        rounding_rule, amount
    from marts.fct_charge_calculation
    where charge_id = any(%(charge_ids)s)
    order by charge_id, tier_index
"""

_CLASSIFICATIONS = """
    select detection_id, next_action, classifier from ops.classifications
    where detection_id = any(%(detection_ids)s)
"""


def bridge(conn: Connection, start: datetime, end: datetime) -> list[BridgeTotal]:
    """Sum the bridge of closed periods that ended in the window, per currency."""
    return [
        BridgeTotal(
            currency=row["currency"],
            periods=row["periods"],
            customers=row["customers"],
            expected=row["expected"],
            billed=row["billed"],
            difference=row["difference"],
            steps={column: row[column] or Decimal(0) for column, _ in STEPS},
        )
        for row in _rows(conn, _BRIDGE, start=start, end=end)
    ]


def doubtful_periods(conn: Connection, start: datetime, end: datetime) -> Row:
    """Count closed periods that could not be rated and those whose bridge does not add up."""
    return _rows(conn, _DOUBTS, start=start, end=end)[0]


def coverage(conn: Connection) -> list[Row]:
    """Return the coverage rows, ordered by type and currency."""
    return _rows(conn, _COVERAGE)


def approved_exceptions(conn: Connection) -> list[Row]:
    """Return what each approved exception covers, the largest first."""
    return _rows(conn, _EXCEPTIONS)


def invoice_holds(conn: Connection) -> list[Row]:
    """Return the drafts that would go out wrong, the largest difference first."""
    return _rows(conn, _HOLDS)


def blocked_findings(conn: Connection) -> list[Row]:
    """Sum the findings that are not published, by why and by type."""
    return _rows(conn, _BLOCKED)


def recovered(conn: Connection, start: datetime, end: datetime) -> list[Row]:
    """Sum what came back per currency: before `end`, and from `start` on."""
    return _rows(conn, _RECOVERED, start=start, end=end)


def recoveries(conn: Connection, end: datetime) -> list[Row]:
    """Return the latest recoveries before `end`."""
    return _rows(conn, _RECOVERIES, end=end)


def given_back(conn: Connection, end: datetime) -> list[Row]:
    """Sum what customers were billed too much and have back, per currency; this is no revenue."""
    return _rows(conn, _GIVEN_BACK, end=end)


def rejected_rows(conn: Connection) -> list[Row]:
    """Count quarantined input rows by source and reason."""
    return _rows(conn, _REJECTED)


def resolved_count(conn: Connection, start: datetime, end: datetime) -> int:
    """Count findings that the audit stopped finding in the window."""
    return int(_rows(conn, _RESOLVED, start=start, end=end)[0]["resolved"])


def calculations(conn: Connection, charge_ids: Sequence[str]) -> dict[str, list[Row]]:
    """Return the tier lines of these charges, by charge."""
    found: dict[str, list[Row]] = {}
    for row in _rows(conn, _CALCULATIONS, charge_ids=list(charge_ids)):
        found.setdefault(row["charge_id"], []).append(row)
    return found


def next_actions(conn: Connection, detection_ids: Sequence[str]) -> dict[str, Row]:
    """Return action and classifier of these findings, by detection id."""
    rows = _rows(conn, _CLASSIFICATIONS, detection_ids=list(detection_ids))
    return {row["detection_id"]: row for row in rows}


def data_as_of(conn: Connection) -> datetime | None:
    """Return the instant that the tables were built for, or None before the first audit."""
    rows = _rows(conn, "select max(as_of) as as_of from raw_business.audit_settings")
    found: datetime | None = rows[0]["as_of"]
    return found


def _rows(conn: Connection, statement: str, **values: object) -> list[Row]:
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(statement, values)
        return [dict(row) for row in cursor.fetchall()]
