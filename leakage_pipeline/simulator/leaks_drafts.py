"""Leaks that are still drafts: wrong invoices of renewals within the last hour, caught in time.

The finding types are those that the invoices would show as once they are final. `VARIANT_RULES`
says what each variant costs, instead of its type's own rule.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from leakage_pipeline.simulator.customers import Customer, HandEdits, Wish, World
from leakage_pipeline.simulator.customers_profiles_noise import renewed_just_now
from leakage_pipeline.simulator.history import Amounts, History
from leakage_pipeline.simulator.leaks_shared import Variant
from leakage_pipeline.simulator.pricing import amount


def _newest(world: World, customer: Customer) -> int:
    return len(customer.periods(world.as_of)) - 1


def _old_price_again(world: World, index: int) -> Customer:
    """Somebody put the old price back: with this renewal for the first time."""
    customer = renewed_just_now(world, index, Wish("basic", has_usage=False))
    start = customer.periods(world.as_of)[-1].start
    old = world.catalog.licences["basic", "usd", "month"][0]
    customer.licence.append(replace(customer.licence[-1], at=start, price=old))
    return customer


def _fee_edited(world: World, index: int) -> Customer:
    customer = renewed_just_now(world, index, Wish("business", has_usage=False))
    customer.edits = HandEdits(fees={_newest(world, customer): Decimal("0.6")})
    return customer


def _seats_added(world: World, index: int) -> Customer:
    customer = renewed_just_now(world, index, Wish("team", quantity=3 + index % 9))
    customer.account.seats += 4
    renewed_at = customer.periods(world.as_of)[-1].start
    customer.account.updated_at = renewed_at + timedelta(minutes=5)
    return customer


def _fee_twice(world: World, index: int) -> Customer:
    customer = renewed_just_now(world, index, Wish("basic", has_usage=False))
    customer.edits = HandEdits(repeated=frozenset({(None, _newest(world, customer))}))
    return customer


def _usage_line_lower(world: World, index: int) -> Customer:
    customer = renewed_just_now(world, index, Wish("basic"))
    customer.has_edge_events = False
    customer.lowered_lines["transcode_minutes", _newest(world, customer) - 1] = Decimal("0.5")
    return customer


VARIANTS: dict[str, tuple[tuple[str, str | None, Variant], ...]] = {
    # Further variants of types that stand in other files; all of them are on drafts.
    "outdated_pricing": (
        ("old_price_on_draft", None, _old_price_again),
        ("fee_edited_on_draft", None, _fee_edited),
    ),
    "seat_leakage": (("seats_missing_on_draft", None, _seats_added),),
    "double_charge": (("fee_twice_on_draft", None, _fee_twice),),
    "missing_overage": (("usage_lower_on_draft", "transcode_minutes", _usage_line_lower),),
}
ON_DRAFTS = frozenset(name for variants in VARIANTS.values() for name, _, _ in variants)


def _fee(history: History, index: int) -> int:
    customer = history.customer
    at = history.periods[index].start
    listed = history.world.catalog.licence(customer.plan, customer.currency, "month", at)
    return listed.unit_in(customer.currency)


def _billed_fee(history: History, index: int) -> int:
    return sum(
        line.charge.amount for line in history.written_lines(index) if line.kind == "licence"
    )


def _missing_fee(history: History) -> Amounts:
    """What the draft's fee is below the list price."""
    index = len(history.periods) - 1
    yield history.periods[index], _fee(history, index) - _billed_fee(history, index)


def fee_edited(history: History) -> Amounts:
    """What somebody took off the fees of single renewals."""
    for index in history.customer.edits.fees:
        yield history.periods[index], _fee(history, index) - _billed_fee(history, index)


def _missing_seats(history: History) -> Amounts:
    index = len(history.periods) - 1
    step = history.customer.licence[-1]
    yield (
        history.periods[index],
        _fee(history, index) * (history.customer.account.seats - step.quantity),
    )


def _second_fee(history: History) -> Amounts:
    index = len(history.periods) - 1
    yield history.periods[index], _fee(history, index)


def _missing_usage(history: History) -> Amounts:
    leak = history.customer.leak
    if leak is None or leak.meter is None:
        return
    index = len(history.periods) - 2
    price = next(p for p in history.customer.metered if p.meter == leak.meter)
    billed = sum(line.charge.amount for line in history.written_lines(index) if line.price is price)
    used = history.usage[leak.meter].true_quantity(index)
    yield history.periods[index], amount(price.rate_in(history.customer.currency), used) - billed


VARIANT_RULES: dict[str, Callable[[History], Amounts]] = {
    "old_price_on_draft": _missing_fee,
    "fee_edited_on_draft": fee_edited,
    "fee_edited": fee_edited,
    "seats_missing_on_draft": _missing_seats,
    "fee_twice_on_draft": _second_fee,
    "usage_lower_on_draft": _missing_usage,
}
