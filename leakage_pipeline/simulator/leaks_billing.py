"""Leaks in what is written on invoices: prices too high, lines twice, changes and usage left out.

Like `leaks`: a variant makes one thing wrong, and `RULES` says what that costs per period.
"""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from leakage_pipeline.simulator.catalog import FEATURES, FIRST_LIST, PRICE_LEAD, midnight
from leakage_pipeline.simulator.customers import (
    Credit,
    Customer,
    HandEdits,
    LicenceStep,
    Wish,
    World,
    closed_periods,
    licence_steps,
    new_customer,
)
from leakage_pipeline.simulator.customers_profiles import (
    cancel_inside,
    close_account,
    own_price,
    sign,
)
from leakage_pipeline.simulator.customers_profiles_noise import late_credit
from leakage_pipeline.simulator.history import Amounts, History
from leakage_pipeline.simulator.invoicing_periods import add_months, epoch
from leakage_pipeline.simulator.leaks_shared import Variant, settled, some_closed
from leakage_pipeline.simulator.pricing import amount, per_unit, proration, to_minor

OLD = midnight(FIRST_LIST) - PRICE_LEAD
MINIMUM = Decimal(900)


def _licence_only(world: World, index: int, oldest_of: int = 4) -> Customer:
    plan = ("pro", "business", "basic")[index % 3]
    return settled(world, index, plan, oldest_of, has_usage=False)


# --- overbilled_price ----------------------------------------------------------------------------


def _above_the_list(world: World, index: int) -> Customer:
    customer = settled(world, index, "business" if index % 2 else "basic", has_usage=False)
    listed = customer.licence[-1].price
    dearer = per_unit(str(listed.unit_in("usd") + 2500))
    price = own_price(customer, listed, rate=dearer, created=OLD)
    customer.licence = [replace(customer.licence[0], price=price)]
    return customer


def _above_the_contract(world: World, index: int) -> Customer:
    customer = settled(world, index, "business", has_usage=False)
    sign(customer, base_price=Decimal(150), discount_reason="negotiated")
    return customer


# --- double_charge -------------------------------------------------------------------------------


def _line_twice(meter: str | None) -> Variant:
    def build(world: World, index: int) -> Customer:
        customer = settled(world, index, "basic", has_usage=meter is not None)
        period = [i for i in some_closed(world, customer, 9) if i > 0][-1]
        customer.edits = HandEdits(repeated=frozenset({(meter, period)}))
        return customer

    return build


# --- final_usage_lost ----------------------------------------------------------------------------


def _never_billed_to_the_end(world: World, index: int) -> Customer:
    customer = settled(world, index, "basic", 5)
    customer.metered = [price for price in customer.metered if price.meter == "transcode_minutes"]
    customer.volumes = {"transcode_minutes": customer.volumes["transcode_minutes"]}
    cancel_inside(world, customer, credits_rest=False)
    close_account(customer, customer.ended_at or world.as_of)
    customer.is_finally_billed = False
    return customer


# --- minimum_shortfall ---------------------------------------------------------------------------


def _below_the_minimum(world: World, index: int) -> Customer:
    customer = settled(world, index, "pro", 5, has_usage=index % 2 == 0)
    sign(customer, minimum_commitment=MINIMUM)
    return customer


# --- unbilled_proration --------------------------------------------------------------------------


def _changed_last_period(world: World, index: int, wish: Wish) -> tuple[Customer, LicenceStep]:
    """A customer whose last period ended some days ago, and its newest step before the change."""
    rng = world.rng("change", index)
    customer = new_customer(world, index, wish)
    moment = world.as_of - timedelta(days=rng.randint(6, 15), seconds=rng.randint(0, 80_000))
    customer.start = add_months(moment.replace(microsecond=0), -rng.randint(3, 9))
    customer.licence = licence_steps(world, wish, customer.start)
    changed_at = customer.periods(world.as_of)[-1].start - timedelta(
        days=rng.randint(4, 9), seconds=rng.randint(0, 80_000)
    )
    customer.licence = [step for step in customer.licence if step.at <= changed_at]
    customer.account.updated_at = changed_at
    before = customer.licence[-1]
    return customer, replace(before, at=changed_at, invoicing="never")


def _upgrade_not_billed(world: World, index: int) -> Customer:
    customer, step = _changed_last_period(world, index, Wish("basic", has_usage=False))
    price = world.catalog.licence("business", "usd", "month", step.at)
    customer.licence.append(replace(step, price=price))
    customer.account.plan, customer.account.features = "business", FEATURES["business"]
    return customer


def _seats(before: int, after: int) -> Variant:
    def build(world: World, index: int) -> Customer:
        customer, step = _changed_last_period(world, index, Wish("team", quantity=before))
        customer.licence.append(replace(step, quantity=after))
        customer.account.seats = min(before, after)
        return customer

    return build


# --- over_credited -------------------------------------------------------------------------------


def _credited_late(world: World, index: int) -> Customer:
    customer = _licence_only(world, index, 7)
    customer.credits = (late_credit(world, customer),)
    return customer


def _credited_above_the_line(world: World, index: int) -> Customer:
    """Two people gave back more than half of one fee each; the invoice had room for it."""
    customer = settled(world, index, "basic", 6)
    closed = [i for i in closed_periods(customer, world.as_of, timedelta(days=40)) if i > 0]
    period = world.rng("credit", index).choice(closed)
    customer.volumes["transcode_minutes"] = 1_500
    share = Decimal("0.6")
    customer.credits = (
        Credit(period, share, timedelta(days=2)),
        Credit(period, share, timedelta(days=4)),
    )
    return customer


LEAKS: dict[str, tuple[tuple[str, str | None, Variant], ...]] = {
    "overbilled_price": (
        ("above_the_list", None, _above_the_list),
        ("above_the_contract", None, _above_the_contract),
    ),
    "double_charge": (
        ("licence_twice", None, _line_twice(None)),
        ("usage_twice", "transcode_minutes", _line_twice("transcode_minutes")),
    ),
    "final_usage_lost": (("cancelled_at_once", "transcode_minutes", _never_billed_to_the_end),),
    "minimum_shortfall": (("below_the_minimum", None, _below_the_minimum),),
    "unbilled_proration": (
        ("upgrade_not_billed", None, _upgrade_not_billed),
        ("seats_not_billed", None, _seats(4, 12)),
        ("seats_not_credited", None, _seats(15, 6)),
    ),
    "over_credited": (
        ("credited_late", None, _credited_late),
        ("credited_above_the_line", None, _credited_above_the_line),
    ),
}


# --- what they cost ------------------------------------------------------------------------------


def _overbilled_price(history: History) -> Amounts:
    """(Stripe price - agreed or list price) x quantity."""
    customer, contract = history.customer, history.customer.contract
    for _, period in history.paid_periods():
        step = customer.licence_at(period.start)
        row = history.world.catalog.list_row(
            customer.plan, customer.currency, customer.interval, period.start
        )
        agreed = contract.base_price if contract and contract.base_price else row.base_price
        billed = step.price.unit_in(customer.currency)
        yield period, (billed - to_minor(agreed, customer.currency)) * step.quantity


def _double_charge(history: History) -> Amounts:
    """What the second copy of the lines says."""
    for meter, index in history.customer.edits.repeated:
        lines = [line for line in history.finalized_lines(index) if line.price.meter == meter]
        yield history.periods[index], sum(line.charge.amount for line in lines) // 2


def _final_usage_lost(history: History) -> Amounts:
    index = len(history.periods) - 1
    for price in history.customer.metered:
        if price.meter is not None:
            used = history.usage[price.meter].true_quantity(index)
            yield history.periods[index], amount(price.rate_in(history.customer.currency), used)


def _minimum_shortfall(history: History) -> Amounts:
    """The commitment - (licence + usage), once the period is over."""
    customer, contract = history.customer, history.customer.contract
    if contract is None or contract.minimum_commitment is None:
        return
    for index, period in history.paid_periods():
        step = customer.licence_at(period.start)
        total = step.price.unit_in(customer.currency) * step.quantity
        for price in customer.metered:
            if price.meter is not None:
                used = history.usage[price.meter].true_quantity(index)
                total += amount(price.rate_in(customer.currency), used)
        if history.is_closed(period.end):
            yield period, max(0, to_minor(contract.minimum_commitment, customer.currency) - total)


def _unbilled_proration(history: History) -> Amounts:
    """The pair of lines that Stripe would have written, as a magnitude."""
    customer = history.customer
    for before, step in zip(customer.licence, customer.licence[1:], strict=False):
        if step.invoicing != "never":
            continue
        period = next(p for p in history.periods if p.contains(epoch(step.at)))
        left = epoch(period.natural_end) - epoch(step.at)
        full = epoch(period.natural_end) - epoch(period.start)
        old, new = (each.price.unit_in(customer.currency) for each in (before, step))
        credit = proration(-old, before.quantity, left, full)
        yield period, abs(credit + proration(new, step.quantity, left, full))


def over_credited(history: History) -> Amounts:
    """Credits that came too late, and what the others give back above their line."""
    for credited in {credit.period for credit in history.customer.credits}:
        notes = [each for each in history.customer.credits if each.period == credited]
        start = history.periods[credited].start
        invoice = next(entry for entry in history.invoices if entry.instant == start)
        late = sum(
            given
            for credit, (given, _) in zip(notes, invoice.credits, strict=True)
            if credit.after > REFUND_WINDOW
        )
        in_time = sum(given for given, _ in invoice.credits) - late
        yield history.periods[credited], late + max(0, in_time - invoice.lines[-1].charge.amount)


REFUND_WINDOW = timedelta(days=30)
RULES = {
    "overbilled_price": _overbilled_price,
    "double_charge": _double_charge,
    "final_usage_lost": _final_usage_lost,
    "minimum_shortfall": _minimum_shortfall,
    "unbilled_proration": _unbilled_proration,
    "over_credited": over_credited,
}
