"""The parts of the weekly report below its first page: bridge, tables, trend and single findings.

Each function returns what the template lays out in one section.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from markupsafe import Markup
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.classification.finding_types import LEAK, OPPORTUNITY, OVERBILLING, RISK
from leakage_pipeline.classification.wording import money, plural
from leakage_pipeline.publishing import charts, report_queries, report_view
from leakage_pipeline.publishing.leaks import Leak, add_up
from leakage_pipeline.publishing.report_queries import STEPS, BridgeTotal
from leakage_pipeline.publishing.report_view import join
from leakage_pipeline.publishing.stripe_links import is_test_mode
from leakage_pipeline.publishing.week import ReportWeek, monday_of
from leakage_pipeline.settings import Settings

_TOP_LEAKS = 8
_TOP_OVERBILLED = 5


def bridge_part(total: BridgeTotal, *, is_main: bool) -> dict[str, Any]:
    """Return the waterfall of one currency and the exact amounts beside it."""
    steps = [charts.Step(name, total.steps[column]) for column, name in STEPS]
    drawn = charts.waterfall(
        f"bridge-{total.currency}",
        total.currency,
        total.expected,
        total.billed,
        steps,
        height=2.9 if is_main else 2.1,
    )
    return {
        "currency": total.currency.upper(),
        # Our own drawing: text in it comes from formatted amounts and fixed labels only.
        "svg": Markup(drawn.svg),  # noqa: S704
        "png": drawn.png,
        "is_cut": drawn.is_cut,
        "periods": plural(total.periods, "closed billing period"),
        "customers": plural(total.customers, "customer"),
        "expected": money(total.expected, total.currency),
        "billed": money(total.billed, total.currency),
        "difference": money(total.difference, total.currency),
        "adds_up": total.adds_up,
        "steps": [
            {
                "name": step.label,
                "meaning": _STEP_MEANINGS[column],
                "amount": money(-step.amount, total.currency, sign=True),
            }
            for step, (column, _) in zip(steps, STEPS, strict=True)
            if step.amount != 0
        ],
        "zero_steps": join([step.label.lower() for step in steps if step.amount == 0]),
        "zero": money(Decimal(0), total.currency),
    }


_STEP_MEANINGS = {
    "missing_invoice_amount": "periods without a finalised invoice",
    "usage_gap_amount": "usage that did not reach the meter, or reached it twice",
    "price_gap_amount": "price in force against the price on the subscription",
    "quantity_gap_amount": "seats in use against seats billed",
    "discount_gap_amount": "discount given against discount agreed",
    "minimum_gap_amount": "shortfall to a minimum commitment",
    "rating_gap_amount": "what Stripe's own price gives against the invoice line",
    "rounding_amount": "at most one smallest unit per invoice line",
    "credited_amount": "credit notes that someone decided on",
    "unexplained_amount": "always zero; anything else is a fault of this audit",
}

_DIRECTION_TEXTS = {
    LEAK: ("What leaked", "leak"),
    OVERBILLING: ("What was billed too much", "over"),
    RISK: ("Money at risk", "risk"),
    OPPORTUNITY: ("Opportunities", "opportunity"),
}


def sections(leaks: Sequence[Leak], reporting_currency: str) -> list[dict[str, Any]]:
    """Return the tables by type, one per direction, with their own totals."""
    sections = []
    totals = add_up(leaks, reporting_currency)
    for direction, (title, tone) in _DIRECTION_TEXTS.items():
        rows, has_reporting = report_view.type_rows(leaks, direction, reporting_currency)
        of_direction = [total for total in totals if total.direction == direction]
        sections.append(
            {
                "direction": direction,
                "title": title,
                "tone": tone,
                "rows": rows,
                "totals": report_view.total_rows(of_direction, reporting_currency),
                "has_reporting": has_reporting,
                "has_open": any(row.open for row in rows),
                "has_monthly": any(row.monthly for row in rows),
            }
        )
    return sections


def trends(
    leaks: Sequence[Leak], week: ReportWeek, reporting_currency: str
) -> list[dict[str, Any]]:
    """Sum closed periods by the ISO week in which they ended, a chart per currency."""
    sums: defaultdict[str, defaultdict[tuple[date, str, str], Decimal]] = defaultdict(
        lambda: defaultdict(Decimal)
    )
    mondays = set(week.mondays)
    for leak in leaks:
        for finding in leak.findings:
            if finding.phase != "closed" or finding.period_end is None or finding.amount is None:
                continue
            monday = monday_of(finding.period_end)
            if monday in mondays and finding.currency and finding.direction in (LEAK, OVERBILLING):
                key = (monday, finding.direction, finding.amount_basis)
                sums[finding.currency][key] += finding.amount
    order = sorted(sums, key=lambda code: (code != reporting_currency, code))
    return [_trend(code, sums[code], week, 2.5 if code == order[0] else 1.7) for code in order]


def _trend(
    currency: str, sums: Mapping[tuple[date, str, str], Decimal], week: ReportWeek, height: float
) -> dict[str, Any]:
    zero = Decimal(0)
    points = [
        charts.WeekPoint(
            label=f"W{monday.isocalendar().week:02d}",
            leak_measured=sums.get((monday, LEAK, "measured"), zero),
            leak_estimated=sums.get((monday, LEAK, "estimated"), zero),
            over_measured=sums.get((monday, OVERBILLING, "measured"), zero),
            over_estimated=sums.get((monday, OVERBILLING, "estimated"), zero),
        )
        for monday in week.mondays
    ]
    svg = charts.trend(f"trend-{currency}", currency, points, height)
    return {
        "currency": currency.upper(),
        "svg": Markup(svg),  # noqa: S704 - as above
        "has_estimated": any(p.leak_estimated or p.over_estimated for p in points),
    }


def cards(
    conn: Connection, settings: Settings, leaks: Sequence[Leak]
) -> dict[str, list[report_view.LeakCard]]:
    """Return the leaks and the overbilling that come first by priority, with their arithmetic."""
    others: dict[str, int] = {}
    chosen = {
        LEAK: _one_per_cause(leaks, LEAK, others)[:_TOP_LEAKS],
        OVERBILLING: _one_per_cause(leaks, OVERBILLING, others)[:_TOP_OVERBILLED],
    }
    shown = [leak for group in chosen.values() for leak in group]
    charge_ids = sorted({charge for leak in shown for charge in _charge_ids(leak)})
    calculations = report_queries.calculations(conn, charge_ids)
    actions = report_queries.next_actions(conn, [leak.newest.detection_id for leak in shown])
    test_mode = is_test_mode(settings.environment.stripe_api_key)
    return {
        direction: [
            report_view.leak_card(
                leak,
                calculations,
                actions.get(leak.newest.detection_id),
                others.get(leak.newest.detection_id, 0),
                test_mode=test_mode,
            )
            for leak in group
        ]
        for direction, group in chosen.items()
    }


def _one_per_cause(leaks: Sequence[Leak], direction: str, others: dict[str, int]) -> list[Leak]:
    """Return the first leak of each cause; `others` gets how many more customers share it."""
    groups: dict[str, list[Leak]] = {}
    for leak in leaks:
        if leak.newest.direction == direction:
            groups.setdefault(leak.newest.incident_id or leak.newest.detection_id, []).append(leak)
    for group in groups.values():
        customers = {leak.newest.customer_id for leak in group}
        others[group[0].newest.detection_id] = len(customers) - 1
    return [group[0] for group in groups.values()]


def _charge_ids(leak: Leak) -> list[str]:
    charges = leak.newest.evidence.get("charges")
    if not isinstance(charges, list):
        return []
    return [
        str(item["charge_id"])
        for item in charges
        if isinstance(item, dict) and item.get("charge_id")
    ]
