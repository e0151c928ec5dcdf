"""Leaks of usage itself: it came late, nobody prices it, nobody is known for it, nobody pays it.

Like `leaks`: a variant makes one thing wrong, and `RULES` says what that costs per period.
"""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from leakage_pipeline.simulator.catalog import USD_TERMS, UsageTerm
from leakage_pipeline.simulator.customers import Customer, UsageFault, World
from leakage_pipeline.simulator.customers_profiles import cancel_at_end, close_account, sign
from leakage_pipeline.simulator.history import Amounts, History
from leakage_pipeline.simulator.invoicing_periods import Period, add_months
from leakage_pipeline.simulator.leaks_shared import Variant, settled, some_closed
from leakage_pipeline.simulator.pricing import amount

USED_AFTER_CANCELLING = timedelta(days=45)
TOLERANCE_PERCENT = Decimal(5)


# --- late_usage ----------------------------------------------------------------------------------


def _late(kind: str) -> Variant:
    def build(world: World, index: int) -> Customer:
        customer = settled(world, index, "basic")
        periods = customer.periods(world.as_of)
        period = periods[some_closed(world, customer, 1)[0]]
        customer.usage_fault = UsageFault(
            kind,  # type: ignore[arg-type]
            *("api_calls", period.start, period.end),
            share=0.5,
        )
        return customer

    return build


def _billed_next_period(world: World, index: int) -> Customer:
    """So much missed its invoice that both periods show it, though the next one was billed."""
    customer = settled(world, index, "basic", 6)
    period = customer.periods(world.as_of)[some_closed(world, customer, 1)[0]]
    customer.usage_fault = UsageFault(
        "carried_over", "api_calls", period.start, period.end, share=0.3
    )
    return customer


# --- unmetered_usage -----------------------------------------------------------------------------


def _forgotten_meter(world: World, index: int) -> Customer:
    """The product meters it, and the plan has no price for it."""
    customer = settled(world, index, "business", has_usage=False)
    customer.volumes = {"transcode_minutes": world.rng("volume", index).randint(400, 3_000)}
    return customer


def _above_included(world: World, index: int) -> Customer:
    """A contract includes so much of a meter and has no rate for what is above."""
    customer = settled(world, index, "team", quantity=3 + index % 5)
    customer.volumes = {"api_calls": world.rng("volume", index).randint(60_000, 150_000)}
    sign(customer, included=(("api_calls", 20_000),))
    return customer


def _nobody_prices_it(world: World, index: int) -> Customer:
    """A meter of the log that neither Stripe nor the price book has."""
    customer = settled(world, index, "business", has_usage=False)
    customer.volumes = {"report_exports": world.rng("volume", index).randint(50, 400)}
    return customer


# --- unattributed_usage and usage_after_cancellation ---------------------------------------------


def _unknown_id(world: World, index: int) -> Customer:
    customer = settled(world, index, "basic")
    volume = world.rng("stray", index).randint(60_000, 200_000)
    customer.stray_usage = (f"acct_ghost_{customer.customer_id[4:]}", "api_calls", volume)
    return customer


def _used_on(world: World, index: int) -> Customer:
    for attempt in range(50):
        customer = settled(world, index, "basic" if index % 2 else "pro", 6)
        cancel_at_end(replace(world, seed=world.seed + attempt), customer)
        if (customer.ended_at or world.as_of) + USED_AFTER_CANCELLING <= world.as_of:
            break
    close_account(customer, customer.ended_at or world.as_of)
    customer.uses_after_end = {"transcode_minutes": 600 + 10 * (index % 40)}
    return customer


LEAKS: dict[str, tuple[tuple[str, str | None, Variant], ...]] = {
    "late_usage": (
        ("after_the_invoice", "api_calls", _late("late")),
        ("late_and_lost", "api_calls", _late("late_and_lost")),
        ("billed_next_period", "api_calls", _billed_next_period),
    ),
    "unmetered_usage": (
        ("forgotten_meter", "transcode_minutes", _forgotten_meter),
        ("above_included", "api_calls", _above_included),
        ("nobody_prices_it", "report_exports", _nobody_prices_it),
    ),
    "unattributed_usage": (("unknown_id", None, _unknown_id),),
    "usage_after_cancellation": (("used_on", "transcode_minutes", _used_on),),
}
BESIDES = {
    "late_and_lost": ("unreported_usage",),
    "billed_next_period": ("overbilled_usage",),
}
"""Variant to the further types that it shows as."""


def late_usage(history: History) -> Amounts:
    """Charge of all usage - charge of what was known when the invoice was finalised."""
    leak = history.customer.leak
    if leak is None or leak.meter is None:
        return
    used = history.usage[leak.meter]
    price = next(p for p in history.customer.metered if p.meter == leak.meter)
    rate = price.rate_in(history.customer.currency)
    for index, period in history.paid_periods():
        true, metered = used.true_quantity(index), used.metered_quantity(index)
        if (true - metered) * 100 > TOLERANCE_PERCENT * metered:
            known = true - used.late_quantity(index)
            yield period, amount(rate, true) - amount(rate, known)


def lowest_list_charge(meter: str, quantity: Decimal) -> int | None:
    """The least that a plan of the price book (in dollars) takes for the quantity."""
    rates = [term.rate for terms in USD_TERMS.values() for term in terms if term.meter == meter]
    return min((amount(rate, quantity) for rate in rates), default=None)


def _unmetered_usage(history: History) -> Amounts:
    leak, contract = history.customer.leak, history.customer.contract
    if leak is None or leak.meter is None:
        return
    included = dict(contract.included) if contract else {}
    for index, period in history.paid_periods():
        above = history.usage[leak.meter].true_quantity(index) - included.get(leak.meter, 0)
        if above > 0:
            yield period, lowest_list_charge(leak.meter, above)


def _unattributed_usage(history: History) -> Amounts:
    """One calendar month each, whatever the billing periods are."""
    months: defaultdict[datetime, Decimal] = defaultdict(Decimal)
    if history.stray is None:
        return
    for events in history.stray.periods:
        for event in events:
            at = datetime.fromtimestamp(event.at // 1_000_000, UTC)
            months[datetime(at.year, at.month, 1, tzinfo=UTC)] += event.value
    for start, quantity in months.items():
        end = add_months(start, 1)
        yield Period(start, end, end), lowest_list_charge(history.stray.meter.name, quantity)


def _usage_after_cancellation(history: History) -> Amounts:
    """One period from the cancellation on, at the list rate without what the plan includes."""
    customer, as_of = history.customer, history.world.as_of
    if customer.ended_at is None:
        return
    period = Period(customer.ended_at, as_of + timedelta(hours=1), as_of)
    for meter, used in history.after_end.items():
        quantity = sum((event.value for event in used.periods[0]), Decimal(0))
        yield period, amount(_list_term(customer, meter).rate, quantity)


def _list_term(customer: Customer, meter: str) -> UsageTerm:
    return next(term for term in USD_TERMS[customer.plan] if term.meter == meter)


RULES = {
    "late_usage": late_usage,
    "unmetered_usage": _unmetered_usage,
    "unattributed_usage": _unattributed_usage,
    "usage_after_cancellation": _usage_after_cancellation,
}
