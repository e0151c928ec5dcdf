"""Leaks between the product and Stripe: plans, access, trials, accounts and subscriptions alone.

A variant makes one thing wrong about an honest customer; its rule says what that costs per period.
The honest neighbours of these leaks stand in `customers_profiles_accounts`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from leakage_pipeline.simulator.catalog import FEATURES
from leakage_pipeline.simulator.customers import (
    Cancellation,
    Customer,
    LicenceStep,
    Wish,
    World,
    is_settled,
    new_customer,
)
from leakage_pipeline.simulator.customers_profiles_accounts import TRIAL, second_subscription
from leakage_pipeline.simulator.history import Amounts, History
from leakage_pipeline.simulator.invoicing_periods import Period, add_months, grid
from leakage_pipeline.simulator.leaks_shared import Variant, settled
from leakage_pipeline.simulator.pricing import to_major

RECENT_CHANGE = timedelta(days=70)
ATTEMPTS = 200


def _settled(world: World, index: int, plan: str, quantity: int = 1) -> Customer:
    return settled(world, index, plan, has_usage=False, quantity=quantity)


def _changed_lately(world: World, customer: Customer, index: int) -> None:
    """Every third account was touched lately: only periods that begin after it count."""
    if index % 3 == 0:
        at = (world.as_of - RECENT_CHANGE).replace(microsecond=0)
        customer.account.updated_at = max(customer.account.updated_at, at)


# --- plan_mismatch and missing_local_access ------------------------------------------------------


def _product_gives(billed: str, given: str) -> Variant:
    def build(world: World, index: int) -> Customer:
        seats = world.rng("seats", index).randint(3, 9) if billed == "team" else 1
        customer = _settled(world, index, billed, seats)
        customer.account.plan, customer.account.features = given, FEATURES[given]
        _changed_lately(world, customer, index)
        return customer

    return build


def _shut_out(world: World, index: int) -> Customer:
    customer = _settled(world, index, "business" if index % 2 else "basic")
    customer.account.access_enabled = False
    customer.account.status = "suspended" if index % 2 else "cancelled"
    _changed_lately(world, customer, index)
    return customer


# --- trial_not_converted -------------------------------------------------------------------------


def _trial(world: World, index: int) -> Customer:
    """A trial whose end is no bound close to `as_of`."""
    for attempt in range(ATTEMPTS):
        again = replace(world, seed=world.seed + 1000 * attempt)
        customer = _settled(again, index, ("basic", "business")[index % 2])
        ended = customer.start + TRIAL
        if is_settled(ended, "month", world.as_of):
            break
    fresh = new_customer(world, index, Wish(customer.plan, has_usage=False))
    for name in ("start", "licence"):
        setattr(fresh, name, getattr(customer, name))
    fresh.trial_end = ended
    fresh.account.updated_at = customer.start
    fresh.account.status = "trialing" if index % 3 else "active"
    return fresh


def _trial_never_billed(world: World, index: int) -> Customer:
    customer = _trial(world, index)
    later = range(1, len(customer.periods(world.as_of)))
    customer.missing_invoices = dict.fromkeys(later, "absent")
    return customer


def _trial_cancelled(world: World, index: int) -> Customer:
    customer = _trial(world, index)
    ended = customer.trial_end or customer.start
    customer.cancellation = Cancellation(ended, customer.start, at_period_end=True)
    return customer


# --- accounts and subscriptions alone ------------------------------------------------------------


def _without_subscription(world: World, index: int) -> Customer:
    customer = _settled(world, index, ("business", "enterprise")[index % 2])
    customer.account.updated_at = customer.start  # settled
    customer.has_subscription = False
    return customer


def _unknown_customer(world: World, index: int) -> Customer:
    customer = _without_subscription(world, index)
    customer.is_known_to_stripe = False
    return customer


def _without_account(world: World, index: int) -> Customer:
    customer = _settled(world, index, ("business", "basic")[index % 2])
    customer.is_in_accounts = False
    return customer


def _subscribed_twice(world: World, index: int) -> Customer:
    """The second subscription begins some months after the first, and names the same account."""
    customer = _settled(world, index, "business" if index % 2 else "basic")
    for attempt in range(ATTEMPTS):
        days = world.rng("second", index, attempt).randint(5, 100)
        start = customer.start + timedelta(days=days, seconds=attempt)
        in_time = start < add_months(world.as_of, -1)
        if in_time and is_settled(start, "month", world.as_of):
            break
    second = second_subscription(customer, start)
    customer.beside.append(second)
    return customer


LEAKS: dict[str, tuple[tuple[str, str | None, Variant], ...]] = {
    "plan_mismatch": (
        ("basic_gets_business", None, _product_gives("basic", "business")),
        ("pro_gets_enterprise", None, _product_gives("pro", "enterprise")),
        ("team_gets_business", None, _product_gives("team", "business")),
    ),
    "missing_local_access": (
        ("business_gets_basic", None, _product_gives("business", "basic")),
        ("access_off", None, _shut_out),
        ("business_gets_pro", None, _product_gives("business", "pro")),
    ),
    "trial_not_converted": (
        ("cancelled_with_the_trial", None, _trial_cancelled),
        ("never_billed", None, _trial_never_billed),
    ),
    "missing_stripe_subscription": (
        ("no_subscription", None, _without_subscription),
        ("unknown_customer", None, _unknown_customer),
    ),
    "orphaned_subscription": (("no_account", None, _without_account),),
    "duplicate_subscription": (("subscribed_twice", None, _subscribed_twice),),
}


# --- what they cost ------------------------------------------------------------------------------


def _list_price(history: History, plan: str, at: datetime) -> int:
    """The list price of one unit in minor units."""
    customer = history.customer
    row = history.world.catalog.list_row(plan, customer.currency, customer.interval, at)
    return int(row.base_price / to_major(1, customer.currency))


def _known(history: History, start: datetime, end: datetime) -> bool:
    """Whether the account's snapshot speaks about the period: later closed ones, and the open."""
    return not history.is_closed(end) or history.customer.account.updated_at <= start


def _plan_gap(history: History) -> Iterator[tuple[Period, int]]:
    """List price of the product's plan - that of the billed plan; a flat plan has one unit."""
    customer = history.customer
    for _, period in history.paid_periods():
        if _known(history, period.start, period.end):
            billed = _list_price(history, customer.plan, period.start)
            units = customer.licence_at(period.start).quantity
            given = _list_price(history, customer.account.plan, period.start)
            yield period, given - billed * units


def _missing_local_access(history: History) -> Amounts:
    """The list difference, or with access off the whole licence as billed."""
    for period, gap in _plan_gap(history):
        if history.customer.account.access_enabled:
            yield period, -gap
        else:
            step = history.customer.licence_at(period.start)
            yield period, step.price.unit_in(history.customer.currency) * step.quantity


def _monthly(history: History, since: datetime) -> Amounts:
    customer = history.customer
    for start, end in grid(since, "month"):
        if start > history.world.as_of:
            return
        if _known(history, start, end):
            yield Period(start, end, end), _list_price(history, customer.account.plan, start)


def _trial_not_converted(history: History) -> Amounts:
    return _monthly(history, history.customer.trial_end or history.customer.start)


def _missing_stripe_subscription(history: History) -> Amounts:
    return _monthly(history, history.customer.account.updated_at)


def _orphaned_subscription(history: History) -> Amounts:
    """What the running period is billed, once."""
    period = history.periods[-1]
    step: LicenceStep = history.customer.licence_at(period.start)
    yield period, step.price.unit_in(history.customer.currency) * step.quantity


def _duplicate_subscription(history: History) -> Amounts:
    """The second subscription's licence, period by period."""
    customer = history.customer
    if not customer.is_beside:
        return
    for _, period in history.paid_periods():
        if _known(history, period.start, period.end):
            step = customer.licence_at(period.start)
            yield period, step.price.unit_in(customer.currency) * step.quantity


RULES: dict[str, Callable[[History], Amounts]] = {
    "plan_mismatch": _plan_gap,
    "missing_local_access": _missing_local_access,
    "trial_not_converted": _trial_not_converted,
    "missing_stripe_subscription": _missing_stripe_subscription,
    "orphaned_subscription": _orphaned_subscription,
    "duplicate_subscription": _duplicate_subscription,
}
