"""Honest customers whose data are untidy: edited by hand, logged abroad, reported late, approved.

What looks like a leak here was decided by somebody, evens out, or stays within a tolerance.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from leakage_pipeline.simulator.customers import (
    HISTORY_MONTHS,
    Approval,
    Credit,
    Customer,
    HandEdits,
    UsageFault,
    Wish,
    World,
    closed_periods,
    licence_steps,
    new_customer,
)
from leakage_pipeline.simulator.invoicing_periods import add_months

Profile = Callable[[World, int], Customer]

SEASONED = (5, HISTORY_MONTHS)
OFFSETS = tuple(timedelta(hours=hours) for hours in (-8, 5.5, 13))
SETTLED_AGO = timedelta(days=40)
JUST_NOW = timedelta(minutes=30)  # a draft waits for an hour


def _old_renewal(world: World, customer: Customer, topic: str) -> int:
    """One of the renewals whose period is long over."""
    closed = [i for i in closed_periods(customer, world.as_of, SETTLED_AGO) if i > 0]
    return world.rng(topic, customer.index).choice(closed)


def renewed_just_now(world: World, index: int, wish: Wish) -> Customer:
    """A customer whose newest invoice is a draft: it goes out within the hour."""
    customer = new_customer(world, index, wish)
    moment = (world.as_of - JUST_NOW - timedelta(seconds=index % 600)).replace(microsecond=0)
    # The day must be there in the month it began, else the anchor is another one.
    months = (5 + (index + skipped) % 7 for skipped in range(7))
    started = (add_months(moment, -count) for count in months)
    customer.start = next((at for at in started if at.day == moment.day), add_months(moment, -12))
    customer.licence = licence_steps(world, wish, customer.start)
    customer.account.updated_at = customer.start
    return customer


def _renews_now(world: World, index: int) -> Customer:
    plan = ("business", "pro", "basic")[index % 3]
    return renewed_just_now(world, index, Wish(plan, has_usage=index % 2 == 0))


# --- by hand -------------------------------------------------------------------------------------


def _fee_added(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("business", months=SEASONED, has_usage=False))
    renewal = _old_renewal(world, customer, "extra")
    customer.edits = HandEdits(extras={renewal: 25_000})
    return customer


def _invoice_replaced(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("pro" if index % 2 else "basic", months=SEASONED))
    customer.edits = HandEdits(replaced=frozenset({_old_renewal(world, customer, "replaced")}))
    return customer


# --- approved ------------------------------------------------------------------------------------


def _approved_price(world: World, index: int) -> Customer:
    customer = new_customer(
        world, index, Wish("basic", months=SEASONED, version=0, is_settled=True, has_usage=False)
    )
    customer.approval = Approval("outdated_pricing", "approved_price", "Founding customer")
    return customer


def _approved_edit(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("business", months=SEASONED, has_usage=False))
    renewal = _old_renewal(world, customer, "edit")
    customer.edits = HandEdits(fees={renewal: Decimal("0.5")})
    customer.approval = Approval("outdated_pricing", "fee_edited", "Half a month after an outage")
    return customer


def _approved_credit(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("pro", months=(7, HISTORY_MONTHS), has_usage=False))
    customer.credits = (late_credit(world, customer),)
    customer.approval = Approval("over_credited", "credited_late", "Service level missed in May")
    return customer


def late_credit(world: World, customer: Customer) -> Credit:
    """A credit note that comes when the refund window is over."""
    oldest = [i for i in closed_periods(customer, world.as_of, timedelta(days=90)) if i > 0]
    period = world.rng("late credit", customer.index).choice(oldest)
    return Credit(period, Decimal("0.3"), timedelta(days=45))


# --- the usage log -------------------------------------------------------------------------------


def _logged_abroad(world: World, index: int) -> Customer:
    """Its events are logged in local time; its periods begin around midnight there or here."""
    customer = new_customer(world, index, Wish("pro" if index % 2 else "basic", months=SEASONED))
    customer.log_offset = OFFSETS[index % len(OFFSETS)]
    midnight = customer.start.replace(hour=0, minute=0, second=0)
    shift = timedelta(0) if index % 2 else customer.log_offset
    _start_at(world, customer, midnight - shift - timedelta(seconds=1 + index % 7))
    return customer


def _start_at(world: World, customer: Customer, start: datetime) -> None:
    customer.start = start
    customer.licence = licence_steps(world, Wish(customer.plan), start)
    customer.account.updated_at = start - timedelta(hours=1)


def _reported_next_period(world: World, index: int) -> Customer:
    """A little usage missed its invoice, and was billed with the next one."""
    customer = new_customer(world, index, Wish("basic", months=SEASONED))
    customer.has_edge_events = False
    period = customer.periods(world.as_of)[_old_renewal(world, customer, "carried")]
    customer.usage_fault = UsageFault(
        "carried_over", "api_calls", period.start, period.end, share=0.03
    )
    return customer


def _heavy_basic(world: World, index: int) -> Customer:
    """So much usage on a small plan that a larger one would be cheaper: no leak, but a call."""
    customer = new_customer(world, index, Wish("basic", months=SEASONED, is_settled=True))
    customer.volumes = {"api_calls": 20_000, "transcode_minutes": 40_000 + 100 * (index % 90)}
    return customer


def _near_the_limit(world: World, index: int) -> Customer:
    """Nearly at the end of a period, and nearly at what the plan includes."""
    wish = Wish("pro")
    customer = new_customer(world, index, wish)
    begun = (world.as_of - timedelta(days=26, seconds=index)).replace(microsecond=0)
    customer.start = add_months(begun, -(3 + index % 5))
    customer.licence = licence_steps(world, wish, customer.start)
    customer.account.updated_at = customer.start
    customer.volumes = {"api_calls": 40_000, "transcode_minutes": 410, "sms": 2_000}
    return customer


NOISE_PROFILES: dict[str, Profile] = {
    "renews_now": _renews_now,
    "fee_added_by_hand": _fee_added,
    "invoice_replaced": _invoice_replaced,
    "approved_price": _approved_price,
    "approved_edit": _approved_edit,
    "approved_credit": _approved_credit,
    "logged_abroad": _logged_abroad,
    "reported_next_period": _reported_next_period,
    "heavy_basic": _heavy_basic,
    "near_the_limit": _near_the_limit,
}
