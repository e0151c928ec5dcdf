"""Honest customers whose product and Stripe look as if they disagreed, and do not.

The neighbours of the leaks in `leaks_accounts`: each looks like one of them at first sight.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from leakage_pipeline.simulator.catalog import FEATURES
from leakage_pipeline.simulator.customers import (
    HISTORY_MONTHS,
    Account,
    Cancellation,
    Contract,
    Customer,
    Wish,
    World,
    licence_steps,
    new_customer,
)

Profile = Callable[[World, int], Customer]

TRIAL = timedelta(days=14)
SEASONED = (5, HISTORY_MONTHS)


def _customer(world: World, index: int, plan: str) -> Customer:
    return new_customer(world, index, Wish(plan, months=SEASONED, has_usage=False))


def second_subscription(
    customer: Customer, start: datetime, account: Account | None = None
) -> Customer:
    """Another subscription of the same Stripe customer, on the same price.

    Without an account of its own it names the first one's.
    """
    step = customer.licence[-1]
    return Customer(
        index=customer.index,
        customer_id=customer.customer_id,
        subscription_id=f"{customer.subscription_id}b",
        name=customer.name,
        currency=customer.currency,
        interval=customer.interval,
        start=start,
        licence=[replace(step, at=start)],
        account=account or customer.account,
        is_beside=True,
        is_in_accounts=account is not None,
    )


def _second_account(customer: Customer, updated_at: datetime) -> Account:
    account = replace(customer.account, account_id=f"{customer.account.account_id}b")
    account.updated_at = updated_at
    return account


def _cancelled_and_made_again(world: World, index: int) -> Customer:
    """The first subscription ended, another goes on, and the account never lost access."""
    customer = _customer(world, index, "business")
    period = customer.periods(world.as_of)[2]
    customer.cancellation = Cancellation(period.start, period.start, at_period_end=True)
    customer.beside.append(second_subscription(customer, period.start + timedelta(minutes=9)))
    return customer


def _two_workspaces(world: World, index: int) -> Customer:
    """Two subscriptions to one product, each for an account of its own."""
    customer = _customer(world, index, "business")
    start = customer.start + timedelta(days=33, seconds=index)
    account = _second_account(customer, start - timedelta(hours=1))
    customer.beside.append(second_subscription(customer, start, account))
    return customer


def _one_subscription_for_two_accounts(world: World, index: int) -> Customer:
    customer = _customer(world, index, "business")
    account = _second_account(customer, customer.start + timedelta(days=3))
    other = second_subscription(customer, customer.start, account)
    other.has_subscription = False
    customer.beside.append(other)
    return customer


def _free_account(world: World, index: int) -> Customer:
    customer = _customer(world, index, "basic")
    customer.account.plan, customer.account.features = "free", FEATURES["free"]
    customer.has_subscription = False
    return customer


def _contract_grants_more(world: World, index: int) -> Customer:
    """A contract gives Business at the price of Basic."""
    customer = _customer(world, index, "basic")
    customer.account.plan, customer.account.features = "business", FEATURES["business"]
    customer.contract = Contract(
        contract_id=f"ctr_{customer.customer_id[4:]}",
        plan="business",
        currency=customer.currency,
        effective_date=customer.start.date(),
        base_price=Decimal(49),
        discount_reason="negotiated",
    )
    return customer


def _tries_a_higher_plan(world: World, index: int) -> Customer:
    customer = _customer(world, index, "business")
    account = customer.account
    account.plan, account.features, account.status = (
        "enterprise",
        FEATURES["enterprise"],
        "trialing",
    )
    return customer


def _leaves_and_is_shut_out(world: World, index: int) -> Customer:
    """Cancelled to the period's end; the product ended access at once."""
    customer = _customer(world, index, "basic")
    customer.cancels_at_period_end = True
    account = customer.account
    account.status, account.access_enabled = "cancelled", False
    shut_out_at = customer.periods(world.as_of)[-1].start + timedelta(hours=5)
    account.updated_at = min(shut_out_at, world.as_of - timedelta(minutes=1))
    return customer


def _trial_left(world: World, index: int) -> Customer:
    """Left with the end of the trial, and shut out then."""
    customer = _customer(world, index, "business")
    ended = customer.start + TRIAL
    customer.trial_end = ended
    customer.cancellation = Cancellation(ended, customer.start, at_period_end=True)
    account = customer.account
    account.status, account.access_enabled, account.updated_at = "cancelled", False, ended
    return customer


def _written_otherwise(world: World, index: int) -> Customer:
    """The product writes plan and features in capitals."""
    customer = _customer(world, index, "business")
    customer.licence = licence_steps(world, Wish("business"), customer.start)
    customer.account.plan = " Business "
    customer.account.features = tuple(name.upper() for name in FEATURES["business"])
    return customer


ACCOUNT_PROFILES: dict[str, Profile] = {
    "cancelled_and_made_again": _cancelled_and_made_again,
    "two_workspaces": _two_workspaces,
    "one_subscription_for_two_accounts": _one_subscription_for_two_accounts,
    "free_account": _free_account,
    "contract_grants_more": _contract_grants_more,
    "tries_a_higher_plan": _tries_a_higher_plan,
    "leaves_and_is_shut_out": _leaves_and_is_shut_out,
    "trial_left": _trial_left,
    "written_otherwise": _written_otherwise,
}
