"""What the weekly report says, worded and formatted, ready for the template to lay out.

Every number becomes text here; the template only places it. Amounts of different currencies, bases
and directions stand side by side and are never added.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from leakage_pipeline.classification.finding_types import FINDING_TYPES, finding_type
from leakage_pipeline.classification.schema import ACTIONS, NextAction
from leakage_pipeline.classification.wording import (
    day,
    money,
    percent,
    period,
    plural,
    readable,
)
from leakage_pipeline.publishing import arithmetic
from leakage_pipeline.publishing.leaks import BASES, Leak, Total, add_up
from leakage_pipeline.publishing.report_queries import BridgeTotal, Row
from leakage_pipeline.publishing.shared_causes import SharedCause
from leakage_pipeline.publishing.stripe_links import Link, links_of

BASIS_WORDS = {"measured": "measured", "estimated": "estimated", "at_risk": "at risk"}


@dataclass(frozen=True)
class TypeRow:
    """One line of the table by type."""

    title: str
    basis: str
    leaks: str
    customers: str
    closed: str
    open: str
    monthly: str
    reporting: str


@dataclass(frozen=True)
class LeakCard:
    """One finding with its arithmetic."""

    title: str
    customer: str
    plan: str
    amount: str
    extent: str
    details: list[str]
    newest_period: str
    period_word: str
    description: str
    charges: list[arithmetic.ChargeLine]
    calculations: list[str]
    price_from: str
    facts: list[tuple[str, str]]
    next_step: str
    links: list[Link]


@dataclass(frozen=True)
class CauseRow:
    """One line of the table of causes that several customers share."""

    title: str
    cause: str
    since: str
    customers: str
    closed: str
    open: str
    monthly: str
    found: str
    lost: str


@dataclass(frozen=True)
class CoverageRow:
    """One line of the table of coverage. `bar` is a CSS width in percent."""

    title: str
    customers: str
    revenue: str
    bar: str
    missing: str


def amounts(
    totals: Iterable[Total],
    pick: Callable[[Total], Decimal | None],
    *,
    first_currency: str,
) -> list[str]:
    """Return one amount per currency, the reporting currency first; empty where there is none."""
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for total in totals:
        value = pick(total)
        if value and total.currency:
            sums[total.currency] += value
    order = sorted(sums, key=lambda code: (code != first_currency, code))
    return [money(sums[code], code) for code in order]


def join(parts: Sequence[str]) -> str:
    """Join amounts in words: `$5.00, €3.00 and ¥200`."""
    if len(parts) < 2:  # noqa: PLR2004 - one part or none needs no "and"
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def type_rows(
    leaks: Sequence[Leak], direction: str, reporting_currency: str
) -> tuple[list[TypeRow], bool]:
    """Return the table by type of one direction, and whether it needs the reporting column.

    The reporting column stands only where amounts are in another currency and rates exist.
    """
    groups: defaultdict[str, list[Leak]] = defaultdict(list)
    for leak in leaks:
        if leak.newest.direction == direction:
            groups[leak.title].append(leak)
    rows: list[tuple[tuple[int, str], TypeRow]] = []
    needs_reporting = False
    for title, group in groups.items():
        for total in add_up(group, reporting_currency):
            foreign = total.currency not in (None, reporting_currency)
            needs_reporting |= foreign and total.reporting_amount is not None
            basis_rank = BASES.index(total.basis) if total.basis in BASES else len(BASES)
            rows.append(((basis_rank, title), _type_row(title, total, reporting_currency)))
    return [row for _, row in sorted(rows, key=lambda item: item[0])], needs_reporting


def _type_row(title: str, total: Total, reporting_currency: str) -> TypeRow:
    return TypeRow(
        title=title,
        basis=BASIS_WORDS.get(total.basis, total.basis),
        leaks=f"{total.leaks:,}",
        customers=f"{total.customers:,}",
        closed=money(total.closed_amount, total.currency),
        open=_or_blank(total.open_amount, total.currency),
        monthly=_or_blank(total.monthly_amount, total.currency),
        reporting=""
        if total.reporting_amount is None
        else money(total.reporting_amount, reporting_currency),
    )


def total_rows(totals: Sequence[Total], reporting_currency: str) -> list[TypeRow]:
    """Return the sums of one direction, a line per basis and currency."""
    return [_type_row("Total", total, reporting_currency) for total in totals]


def exact_rows(bridge: Sequence[BridgeTotal]) -> list[dict[str, str]]:
    """Return the currencies in which nothing differs: a chart of them would show two equal bars."""
    return [
        {
            "currency": total.currency.upper(),
            "periods": f"{total.periods:,}",
            "customers": f"{total.customers:,}",
            "expected": money(total.expected, total.currency),
            "billed": money(total.billed, total.currency),
        }
        for total in bridge
        if not total.difference and not any(total.steps.values())
    ]


def cause_rows(causes: Sequence[SharedCause], shown: int) -> list[CauseRow]:
    """Return the first causes that several customers share as text."""
    return [
        CauseRow(
            title=cause.title,
            cause=cause.cause,
            since=day(cause.started_at) if cause.started_at else "",
            customers=f"{cause.customers:,}",
            closed=money(cause.closed_amount, cause.currency),
            open=_or_blank(cause.open_amount, cause.currency),
            monthly=_or_blank(cause.monthly_amount, cause.currency),
            found=day(cause.found_at) if cause.found_at else "",
            lost=_or_blank(cause.lost_before_found, cause.currency),
        )
        for cause in causes[:shown]
    ]


def _or_blank(amount: Decimal, currency: str | None) -> str:
    return money(amount, currency) if amount else ""


def leak_card(
    leak: Leak,
    calculations: Mapping[str, Sequence[Row]],
    action: Row | None,
    others: int,
    *,
    test_mode: bool,
) -> LeakCard:
    """Word one leak: what, who, how much, the sum behind it, and what to do next.

    Args:
        leak: The leak; its newest closed period is shown in detail.
        calculations: Tier lines by charge.
        action: What the classifier chose, if anything.
        others: How many more customers have the same cause.
        test_mode: Whether links lead to the dashboard's test pages.
    """
    newest = leak.newest
    charges = arithmetic.charge_lines(newest.evidence, newest.meter, newest.currency)
    tiers = [calculations.get(charge.charge_id, ()) for charge in charges]
    lines = [text for rows in tiers for text in arithmetic.calculation(rows)]
    return LeakCard(
        title=leak.title,
        customer=leak.customer,
        plan=newest.plan or "",
        amount=money(_first(leak.closed_amount, leak.open_amount), newest.currency),
        extent=_extent(leak),
        details=[
            *_details(leak),
            *([f"{plural(others, 'more customer')} with this cause"] * (others > 0)),
        ],
        newest_period=period(newest.period_start, newest.period_end),
        period_word="Newest period" if len(leak.findings) > 1 else "Period",
        description=readable(newest.description),
        charges=charges,
        calculations=lines[: arithmetic.MAX_FACTS],
        price_from=arithmetic.price_from(tiers),
        facts=[] if charges else arithmetic.facts(newest.evidence, newest.currency),
        next_step=_next_step(action),
        links=links_of(
            [newest.customer_id, newest.subscription_id], newest.evidence, test_mode=test_mode
        ),
    )


def _first(*values: Decimal | None) -> Decimal | None:
    return next((value for value in values if value is not None), None)


def _extent(leak: Leak) -> str:
    closed = sum(finding.phase == "closed" for finding in leak.findings)
    if not closed:
        return "so far, not invoiced yet"
    if closed == 1:
        return "in one period"
    since = f" since {day(leak.started_at)}" if leak.started_at else ""
    return f"over {closed} periods{since}"


def _details(leak: Leak) -> list[str]:
    newest = leak.newest
    details = [f"{newest.severity} severity" if newest.severity else ""]
    if leak.monthly_amount:
        details.append(f"{money(leak.monthly_amount, newest.currency)} a month")
    details += [
        BASIS_WORDS.get(newest.amount_basis, newest.amount_basis),
        f"{percent(newest.confidence)} sure",
    ]
    if leak.open_amount and leak.closed_amount is not None:
        details.append(f"{money(leak.open_amount, newest.currency)} more in the open period")
    return [detail for detail in details if detail]


def _next_step(action: Row | None) -> str:
    if action is None:
        return ""
    try:
        known = ACTIONS[NextAction(action["next_action"])]
    except ValueError:
        return str(action["next_action"]).replace("_", " ")
    return f"{known.label} ({known.owner.value})"


def coverage_rows(rows: Sequence[Row]) -> list[CoverageRow]:
    """Return coverage per finding type, shares per currency side by side."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["leakage_type"]].append(row)
    return sorted((_coverage_row(*item) for item in groups.items()), key=lambda row: row.title)


def examines(rows: Sequence[Row], direction: str) -> bool:
    """Tell whether any check of this direction stands in the coverage."""
    types = (FINDING_TYPES.get(row["leakage_type"]) for row in rows)
    return any(kind is not None and kind.direction == direction for kind in types)


def _coverage_row(leakage_type: str, rows: Sequence[Row]) -> CoverageRow:
    shares = [(row["currency"], _share(row)) for row in rows if row["revenue_total"]]
    lowest = min((share for _, share in shares), default=None)
    several = len({share for _, share in shares}) > 1
    missing = dict.fromkeys(name for row in rows for name in _names(row["missing_inputs"]))
    customers = (
        f"{sum(row['customers_examined'] for row in rows):,} of "
        f"{sum(row['customers_total'] for row in rows):,}"
    )
    return CoverageRow(
        title=type_title(leakage_type),
        customers=customers,
        revenue=", ".join(f"{code.upper()} {percent(share)}" for code, share in shares)
        if several
        else "".join(percent(share) for _, share in shares[:1]),
        bar="0" if lowest is None else f"{lowest * 100:.1f}",
        missing=", ".join(missing),
    )


def type_title(leakage_type: str) -> str:
    """Return a type's name in plain words, whatever its direction."""
    known = FINDING_TYPES.get(leakage_type)
    return known.title if known else leakage_type.replace("_", " ").capitalize()


def _share(row: Row) -> Decimal:
    return Decimal(row["revenue_examined"]) / Decimal(row["revenue_total"])


def _names(value: Any) -> list[str]:
    """Read a list of names from jsonb, a text array or a comma-separated text."""
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return [str(name) for name in value] if isinstance(value, list) else []


def exception_rows(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return approved exceptions as text."""
    return [
        {
            "customer": str(row["customer"] or ""),
            "title": finding_type(row["leakage_type"], row["direction"]).title,
            "reason": str(row["reason"] or ""),
            "approved_by": str(row["approved_by"] or ""),
            "periods": plural(row["periods"], "period"),
            "amount": money(row["amount"], row["currency"]),
        }
        for row in rows
    ]


def recovery_rows(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return recoveries as text."""
    return [
        {
            "customer": str(row["customer"] or ""),
            "title": type_title(row["leakage_type"] or "recovered"),
            "action": str(row["action"] or "").replace("_", " "),
            "amount": money(row["amount"], row["currency"]),
            "on": day(row["recovered_at"]) if row["recovered_at"] else "",
        }
        for row in rows
    ]


def given_back_text(rows: Sequence[Row]) -> str:
    """Say what customers have back who were billed too much; empty when nobody has."""
    if not rows:
        return ""
    amounts = join([money(row["amount"], row["currency"]) for row in rows])
    corrections = plural(sum(row["corrections"] for row in rows), "correction")
    return f"Given back to customers who were billed too much: {amounts} in {corrections}."
