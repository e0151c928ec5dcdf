"""What the weekly report says about time: month by month, how long leaks stay open, drafts to hold.

Months are added up from the same leaks as every other figure, so that they leave out what people
dismissed; currencies, directions and bases stand side by side.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.classification.finding_types import LEAK, OVERBILLING
from leakage_pipeline.classification.findings import Finding
from leakage_pipeline.classification.wording import instant, money, plural
from leakage_pipeline.publishing import report_queries, report_view
from leakage_pipeline.publishing.leaks import Leak

_MONTHS = 12
_COLUMNS = (
    (LEAK, "measured", "Leaks, measured"),
    (LEAK, "estimated", "Leaks, estimated"),
    (OVERBILLING, "measured", "Overbilled, measured"),
    (OVERBILLING, "estimated", "Overbilled, estimated"),
)


@dataclass(frozen=True)
class Month:
    """One line: what the periods that ended in the month lost, column by column."""

    name: str
    amounts: list[str]


@dataclass(frozen=True)
class MonthTable:
    """The past year in one currency; columns without any amount are left out."""

    currency: str
    columns: list[str]
    rows: list[Month]
    totals: list[str]


def months(leaks: Sequence[Leak], as_of: datetime, first_currency: str) -> list[MonthTable]:
    """Sum closed periods by the month in which they ended, a table per currency."""
    shown = _last_months(as_of)
    sums: defaultdict[str, defaultdict[tuple[date, str, str], Decimal]] = defaultdict(
        lambda: defaultdict(Decimal)
    )
    for finding in _closed(leaks):
        month = _month_of(finding)
        if finding.currency and finding.amount and month in shown:
            key = (month, finding.direction, finding.amount_basis)
            sums[finding.currency][key] += finding.amount
    order = sorted(sums, key=lambda code: (code != first_currency, code))
    return [table for code in order if (table := _table(code, sums[code], shown)).columns]


def _table(
    currency: str, sums: dict[tuple[date, str, str], Decimal], shown: Sequence[date]
) -> MonthTable:
    kept = [
        (direction, basis, name)
        for direction, basis, name in _COLUMNS
        if any(sums.get((month, direction, basis)) for month in shown)
    ]

    def amount(month: date, direction: str, basis: str) -> Decimal:
        return sums.get((month, direction, basis), Decimal(0))

    return MonthTable(
        currency=currency.upper(),
        columns=[name for *_, name in kept],
        rows=[
            Month(
                f"{month:%B %Y}",
                [money(amount(month, kind, basis), currency) for kind, basis, _ in kept],
            )
            for month in shown
        ],
        totals=[
            money(sum((amount(month, kind, basis) for month in shown), Decimal(0)), currency)
            for kind, basis, _ in kept
        ],
    )


def _last_months(as_of: datetime) -> list[date]:
    first = date(as_of.year, as_of.month, 1)
    found = [first]
    while len(found) < _MONTHS:
        found.append((found[-1] - timedelta(days=1)).replace(day=1))
    return found[::-1]


def _month_of(finding: Finding) -> date | None:
    if finding.period_end is None:
        return None
    return finding.period_end.astimezone(UTC).date().replace(day=1)


def _closed(leaks: Sequence[Leak]) -> list[Finding]:
    return [
        finding
        for leak in leaks
        for finding in leak.findings
        if finding.phase == "closed" and finding.direction in (LEAK, OVERBILLING)
    ]


def open_for(leaks: Sequence[Leak], as_of: datetime) -> str:
    """Say for how long what is still open has been known, and how late it was found."""
    found = _closed(leaks)
    if not found:
        return ""
    known = [(as_of - finding.first_detected_at).days for finding in found]
    late = [
        (finding.first_detected_at - finding.period_end).days
        for finding in found
        if finding.period_end is not None
    ]
    open_days = round(sum(known) / len(known))
    text = f"What is still open has been known for {plural(open_days, 'day')} on average"
    if late:
        found_days = max(0, round(sum(late) / len(late)))
        text += f"; it was found {plural(found_days, 'day')} after its period ended"
    return f"{text}."


def holds(conn: Connection, dismissed: Collection[str]) -> list[dict[str, Any]]:
    """Return the drafts that would go out wrong, as text; what people dismissed is no reason."""
    return [
        {
            "customer": str(row["customer"]),
            "invoice": row["invoice_id"],
            "drafted": money(row["drafted_amount"], row["currency"]),
            "expected": money(row["expected_amount"], row["currency"]),
            "why": ", ".join(report_view.type_title(name) for name in row["reasons"]),
            "until": instant(row["finalises_at"]) if row["finalises_at"] else "",
        }
        for row in report_queries.invoice_holds(conn)
        if not set(row["detection_ids"]) <= set(dismissed)
    ]
