"""The first page of the weekly report in words: what leaked, what was overbilled, what is new.

Sentences and tiles, made from sums that are already there. One amount is said once, with its basis.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from leakage_pipeline.classification.finding_types import LEAK, OVERBILLING, RISK
from leakage_pipeline.classification.wording import day, money, percent, plural
from leakage_pipeline.publishing.leaks import Leak, Total, add_up
from leakage_pipeline.publishing.report_queries import BridgeTotal, Row
from leakage_pipeline.publishing.report_view import BASIS_WORDS, CauseRow, amounts, join
from leakage_pipeline.publishing.week import ReportWeek

_ZERO = Decimal(0)
_NOTHING = "nothing found"


@dataclass(frozen=True)
class Tile:
    """One figure of the first page: a label, an amount per currency, a line of context."""

    label: str
    values: list[str]
    context: str
    tone: str


@dataclass(frozen=True)
class SummaryInput:
    """What the first page is made of."""

    week: ReportWeek
    reporting_currency: str
    leaks: Sequence[Leak]
    bridge: Sequence[BridgeTotal]
    recovered: Sequence[Row]
    resolved: int
    causes: Sequence[CauseRow] = ()
    examines_risk: bool = False
    """Whether any check looks for money at risk: without one, no figure about it."""

    @property
    def totals(self) -> list[Total]:
        """All leaks added up, per direction, basis and currency."""
        return add_up(self.leaks)


def new_this_week(content: SummaryInput) -> list[Leak]:
    """Return the leaks that no audit had found before this week."""
    week = content.week
    return [leak for leak in content.leaks if week.start <= leak.first_detected_at < week.end]


def is_first_week(content: SummaryInput) -> bool:
    """Tell whether everything on record was found in this week, so that "new" says nothing."""
    return bool(content.leaks) and len(new_this_week(content)) == len(content.leaks)


def is_all_clear(content: SummaryInput) -> bool:
    """Tell whether something was audited, and neither leak nor overbilling nor risk was found."""
    return bool(content.bridge) and not any(
        leak.newest.direction in (LEAK, OVERBILLING, RISK) for leak in content.leaks
    )


def tiles(content: SummaryInput) -> list[Tile]:
    """Return the figures of the first page, leaks and overbilling side by side."""
    return [
        _tile(content, "Leaks, measured", LEAK, "measured", "leak"),
        _tile(content, "Leaks, estimated", LEAK, "estimated", "leak-soft"),
        _tile(content, "Overbilled, measured", OVERBILLING, "measured", "over"),
        *_if_any(_tile(content, "Overbilled, estimated", OVERBILLING, "estimated", "over-soft")),
        *([_tile(content, "At risk", RISK, "at_risk", "risk")] if content.examines_risk else []),
        _recovered_tile(content),
    ]


def _if_any(tile: Tile) -> list[Tile]:
    return [] if tile.context == _NOTHING else [tile]


def _tile(content: SummaryInput, label: str, direction: str, basis: str, tone: str) -> Tile:
    chosen = [
        leak
        for leak in content.leaks
        if leak.newest.direction == direction and leak.newest.amount_basis == basis
    ]
    totals = add_up(chosen)
    first = content.reporting_currency
    # What is at risk stands open now, in whichever period it came about.
    values = amounts(
        totals,
        lambda total: total.closed_amount + (total.open_amount if direction == RISK else _ZERO),
        first_currency=first,
    )
    monthly = amounts(totals, lambda total: total.monthly_amount, first_currency=first)
    customers = len({leak.newest.customer_id for leak in chosen})
    context = plural(customers, "customer") if chosen else _NOTHING
    if monthly and direction in (LEAK, OVERBILLING):
        context += f", running at {join(monthly)} a month"
    return Tile(label, values or [money(_ZERO, first)], context, tone)


def _recovered_tile(content: SummaryInput) -> Tile:
    rows = [row for row in content.recovered if row["amount"]]
    week = [
        money(row["amount_this_week"], row["currency"]) for row in rows if row["amount_this_week"]
    ]
    values = [money(row["amount"], row["currency"]) for row in rows]
    context = f"{join(week)} of it this week" if week else "nothing confirmed this week"
    zero = money(_ZERO, content.reporting_currency)
    return Tile("Recovered to date", values or [zero], context, "good")


def sentences(content: SummaryInput) -> list[str]:
    """Return the executive summary, a sentence or two per paragraph."""
    paragraphs = [
        *_bridge_sentences(content),
        *_leak_sentences(content),
        _cause_sentence(content),
    ]
    return [text for text in [*paragraphs, _week_sentence(content)] if text]


def _bridge_sentences(content: SummaryInput) -> list[str]:
    if not content.bridge:
        return ["No billing period closed in the twelve weeks up to this report."]
    periods = sum(total.periods for total in content.bridge)
    since = day(content.week.window_start)
    texts = [f"Since {since}, {plural(periods, 'billing period')} closed."]
    several = len(content.bridge) > 1
    exact = [
        money(total.billed, total.currency) for total in content.bridge if not total.difference
    ]
    for total in content.bridge:
        expected, billed = (
            money(total.expected, total.currency),
            money(total.billed, total.currency),
        )
        if total.difference == 0:
            continue
        gap = money(abs(total.difference), total.currency)
        side = "less" if total.difference > 0 else "more"
        share = (
            f" ({percent(abs(total.difference) / total.expected)})" if total.expected > 0 else ""
        )
        who = f"In {total.currency.upper()}, customers" if several else "Customers"
        texts.append(
            f"{who} should have paid {expected}; Stripe billed {billed}, {gap} {side}{share}."
        )
    if exact:
        texts.append(f"Stripe billed {join(exact)}, exactly what customers should have paid.")
    return [" ".join(texts)]


def _leak_sentences(content: SummaryInput) -> list[str]:
    totals = content.totals
    leak = [total for total in totals if total.direction == LEAK]
    over = [total for total in totals if total.direction == OVERBILLING]
    return [_leak_sentence(content, leak), _overbilling_sentence(content, over)]


def _leak_sentence(content: SummaryInput, leak: Sequence[Total]) -> str:
    closed = _by_basis(content, leak, lambda total: total.closed_amount)
    still_open = _by_basis(content, leak, lambda total: total.open_amount)
    texts: list[str] = []
    if closed:
        texts.append(f"Leaks over all audited periods: {', and apart from that '.join(closed)}.")
    if still_open:
        verb = "sits" if len(still_open) == 1 else "sit"
        texts.append(
            f"{'Another ' if closed else ''}{join(still_open)} {verb} in open periods and can "
            "still be billed correctly."
        )
    return " ".join(texts)


def _overbilling_sentence(content: SummaryInput, over: Sequence[Total]) -> str:
    if not over:
        return ""
    closed = _by_basis(content, over, lambda total: total.closed_amount)
    still_open = _by_basis(content, over, lambda total: total.open_amount)
    parts = [
        f"{join(closed)} in closed periods" if closed else "",
        f"{join(still_open)} so far in open ones" if still_open else "",
    ]
    customers = {
        leak.newest.customer_id for leak in content.leaks if leak.newest.direction == OVERBILLING
    }
    verb = "is" if len(customers) == 1 else "are"
    return (
        f"{plural(len(customers), 'customer')} {verb} billed too much: "
        f"{join([part for part in parts if part])}. "
        "This money is theirs and is not set off against the leaks."
    )


def _by_basis(
    content: SummaryInput, totals: Sequence[Total], pick: Callable[[Total], Decimal | None]
) -> list[str]:
    """Return `$5.00 and €3.00 measured`, `$2.00 estimated`: bases are never added."""
    parts: list[str] = []
    for basis, word in BASIS_WORDS.items():
        of_basis = [total for total in totals if total.basis == basis]
        sums = amounts(of_basis, pick, first_currency=content.reporting_currency)
        if sums:
            parts.append(f"{join(sums)} {word}")
    return parts


def _cause_sentence(content: SummaryInput) -> str:
    if not content.causes:
        return ""
    first = content.causes[0]
    cause = f" ({first.cause})" if first.cause else ""
    monthly = f", {first.monthly} a month" if first.monthly else ""
    return (
        f"The largest cause that several customers share: {first.title.lower()}{cause}, "
        f"{first.customers} customers since {first.since}{monthly}."
    )


def _week_sentence(content: SummaryInput) -> str:
    if not content.leaks:
        return ""
    if is_first_week(content):
        return "The audit began this week, so everything in this report is new on record."
    new = new_this_week(content)
    gone = (
        f" {plural(content.resolved, 'finding')} of earlier weeks no longer "
        f"{'appears' if content.resolved == 1 else 'appear'}."
        if content.resolved
        else ""
    )
    if not new:
        return f"Nothing new was found this week.{gone}"
    counts = {
        direction: sum(leak.newest.direction == direction for leak in new)
        for direction in (LEAK, OVERBILLING, RISK)
    }
    words = [
        plural(counts[LEAK], "leak") if counts[LEAK] else "",
        plural(counts[OVERBILLING], "case") + " of overbilling" if counts[OVERBILLING] else "",
        plural(counts[RISK], "risk") if counts[RISK] else "",
    ]
    found = join([word for word in words if word]) or plural(
        len(new), "opportunity", "opportunities"
    )
    sums = _by_basis(
        content,
        add_up([leak for leak in new if leak.newest.direction == LEAK]),
        lambda total: total.closed_amount + total.open_amount,
    )
    worth = ""
    if sums:
        only_leaks = counts[LEAK] == len(new)
        worth = f", worth {join(sums)}" if only_leaks else f"; the leaks come to {join(sums)}"
    return f"New this week: {found}{worth}.{gone}"
