"""What leaks of every area start from: an honest customer with some history, and its periods."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from leakage_pipeline.simulator.customers import (
    HISTORY_MONTHS,
    Customer,
    Wish,
    World,
    closed_periods,
    new_customer,
)

Variant = Callable[[World, int], Customer]
"""Takes the world and the customer's index, returns a customer with one thing wrong."""

INVOICE_GRACE = timedelta(days=40)
"""Faults lie in periods older than this: no grace of the policy is running for them."""


def settled(world: World, index: int, plan: str, oldest_of: int = 4, **wish: object) -> Customer:
    """An honest customer of at least so many months, without a period's bound near `as_of`."""
    full = Wish(plan, months=(oldest_of, HISTORY_MONTHS), is_settled=True)
    return new_customer(world, index, replace(full, **wish))  # type: ignore[arg-type]


def some_closed(world: World, customer: Customer, count: int) -> list[int]:
    """So many of the customer's older closed periods, drawn by its index."""
    closed = closed_periods(customer, world.as_of, INVOICE_GRACE)
    return sorted(world.rng("periods", customer.index).sample(closed, min(count, len(closed))))
