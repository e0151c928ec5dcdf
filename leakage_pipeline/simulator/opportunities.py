"""What a salesperson would be told about: usage near its limit, and plans that are too small.

Nothing is planted: usage alone decides, so every customer is looked at, honest or not. Worked out
from the events and the price list, never with the audit's SQL.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal

from leakage_pipeline.simulator.catalog import LIST_PRICES, TERMS, UsageTerm
from leakage_pipeline.simulator.history import History
from leakage_pipeline.simulator.invoicing_periods import Period
from leakage_pipeline.simulator.pricing import ZERO, amount, to_minor

TYPES = ("approaching_limit", "outgrown_plan")
SOFT_CAPS = (80, 90, 100)
PERIODS_OVER = 3
MICRO = Decimal("0.000001")


@dataclass(frozen=True)
class Opportunity:
    """One expected finding; the amount is in minor units, None where nothing is worked out."""

    leakage_type: str
    variant: str
    meter: str | None
    period: Period
    amount: int | None


def opportunities(history: History) -> Iterator[Opportunity]:
    """What the usage of a customer with a running subscription calls for."""
    customer = history.customer
    if customer.ended_at is not None or not customer.has_subscription:
        return
    for meter in sorted(history.usage):
        yield from _near_the_limit(history, meter)
    if customer.payment.subscription_status in {None, "past_due"}:
        yield from _too_small(history)


def _included(history: History, meter: str) -> int:
    """Units that contract or price list include; the contract comes first."""
    contract = history.customer.contract
    if contract is not None:
        silent = dict(contract.included)
        agreed = {term.meter: term.included for term in contract.terms if term.included}
        if meter in silent | agreed:
            return (silent | agreed)[meter]
    listed = _list_term(history.customer.plan, history.customer.currency, meter)
    return listed.included if listed is not None and _is_monthly(history) else 0


def _is_monthly(history: History) -> bool:
    return history.customer.interval == "month"


def _list_term(plan: str, currency: str, meter: str) -> UsageTerm | None:
    terms = TERMS.get(currency, {}).get(plan, ())
    return next((term for term in terms if term.meter == meter), None)


def _closed(history: History) -> list[int]:
    return [i for i, period in enumerate(history.periods) if history.is_closed(period.end)]


def _used(history: History, meter: str, index: int) -> Decimal:
    """Usage in a trial is free and does not count."""
    is_trial = history.periods[index].is_trial
    return ZERO if is_trial else history.usage[meter].true_quantity(index)


def _is_over_for_long(history: History, meter: str) -> bool:
    included = _included(history, meter)
    newest = _closed(history)[-PERIODS_OVER:]
    over = [included > 0 and _used(history, meter, index) > included for index in newest]
    return len(over) == PERIODS_OVER and all(over)


def _near_the_limit(history: History, meter: str) -> Iterator[Opportunity]:
    """Every running period; after a renewal just now there are two, for the older waits an hour."""
    included = _included(history, meter)
    if not included or _is_over_for_long(history, meter):
        return
    for index, period in enumerate(history.periods):
        if history.is_closed(period.end):
            continue
        used = _used(history, meter, index)
        caps = [cap for cap in SOFT_CAPS if used * 100 >= included * cap]
        if caps:
            above = max(ZERO, _projected(history, meter, period, used) - included)
            yield Opportunity(
                *("approaching_limit", f"soft_cap_{caps[-1]}", meter, period),
                _overage(history, meter, above) if above else None,
            )


def _projected(history: History, meter: str, period: Period, used: Decimal) -> Decimal:
    """Linear over the period so far; a last value does not grow with time."""
    so_far = min(history.world.as_of, period.end) - period.start
    if history.usage[meter].meter.formula == "last" or not so_far:
        return used
    micro = timedelta(microseconds=1)
    projected = used * ((period.end - period.start) // micro) / (so_far // micro)
    return projected.quantize(MICRO, ROUND_HALF_UP)


def _overage(history: History, meter: str, above: Decimal) -> int | None:
    """At the agreed rate, else the listed one, else the lowest that any plan lists."""
    customer = history.customer
    agreed = customer.contract.terms if customer.contract else ()
    term = next((term for term in agreed if term.meter == meter), None)
    term = term or _list_term(customer.plan, customer.currency, meter)
    if term is not None:
        return amount(term.rate, above)
    plans = TERMS[customer.currency]
    rates = [each.rate for terms in plans.values() for each in terms if each.meter == meter]
    return min((amount(rate, above) for rate in rates), default=None)


def _too_small(history: History) -> Iterator[Opportunity]:
    """At the newest closed period: a dearer plan would have cost less, or three limits crossed."""
    closed = _closed(history)
    if not closed:
        return
    index = closed[-1]
    saved = _saved_by_a_larger_plan(history, index)
    over = any(_is_over_for_long(history, meter) for meter in history.usage)
    if saved or over:
        variant = "higher_plan_is_cheaper" if saved else "over_limit_three_periods"
        period = history.periods[index]
        yield Opportunity("outgrown_plan", variant, None, period, saved or None)


def _saved_by_a_larger_plan(history: History, index: int) -> int:
    """What the plan cost with its usage - the least that a dearer plan would have; at least 0."""
    customer = history.customer
    used = {meter: _used(history, meter, index) for meter in history.usage}
    used = {meter: quantity for meter, quantity in used.items() if quantity}
    if customer.contract is not None or not used or history.periods[index].is_trial:
        return 0
    units = customer.licence_at(history.periods[index].start).quantity
    own = _cost(history, customer.plan, used, units, index)
    if own is None:
        return 0
    dearer = [
        _cost(history, plan, used, units, index)
        for plan, currency, interval in LIST_PRICES
        if (currency, interval) == (customer.currency, customer.interval)
        and _fee(history, plan, index) > _fee(history, customer.plan, index)
    ]
    return max(0, own - min((cost for cost in dearer if cost is not None), default=own))


def _fee(history: History, plan: str, index: int) -> int:
    customer, at = history.customer, history.periods[index].start
    row = history.world.catalog.list_row(plan, customer.currency, customer.interval, at)
    return to_minor(row.base_price, customer.currency)


def _cost(
    history: History, plan: str, used: dict[str, Decimal], units: int, index: int
) -> int | None:
    """Fee and usage under a plan; None where it has no price for a meter in use."""
    total = _fee(history, plan, index) * units
    for meter, quantity in used.items():
        term = _list_term(plan, history.customer.currency, meter)
        if term is None:
            return None
        above = max(ZERO, quantity - term.included)
        total += amount(term.rate, above) if above or not term.included else 0
    return total
