"""Billing dates: `anchor + n intervals`, never step by step, in whole seconds since 1970.

A period of an item is a cell of its anchor's grid, cut where the subscription starts or ends.
"""

from fractions import Fraction
from typing import Literal

from leakage_pipeline.simulator.invoicing_periods import MONTHS, add_months, epoch, from_epoch

Interval = Literal["day", "week", "month", "year"]

DAY = 86_400
SECONDS = {"day": DAY, "week": 7 * DAY}


def add_intervals(anchor: int, interval: str, count: int, n: int) -> int:
    """The instant `n` times `count` intervals after the anchor; month ends are clamped."""
    if interval in SECONDS:
        return anchor + SECONDS[interval] * count * n
    return epoch(add_months(from_epoch(anchor), MONTHS[interval] * count * n))


def intervals_between(start: int, interval: str, count: int, end: int) -> Fraction:
    """How many intervals counted from `start` lie before `end`; the last by its seconds."""
    whole = 0
    while add_intervals(start, interval, count, whole + 1) <= end:
        whole += 1
    begun = add_intervals(start, interval, count, whole)
    return whole + Fraction(end - begun, add_intervals(start, interval, count, whole + 1) - begun)


def cell_around(anchor: int, interval: str, count: int, at: int) -> tuple[int, int]:
    """The grid period `[start, end)` that the instant lies in, before or after the anchor."""
    typical = SECONDS.get(interval, MONTHS.get(interval, 1) * 30 * DAY) * count
    n = (at - anchor) // typical - 1
    while add_intervals(anchor, interval, count, n) > at:
        n -= 1
    while add_intervals(anchor, interval, count, n + 1) <= at:
        n += 1
    return (
        add_intervals(anchor, interval, count, n),
        add_intervals(anchor, interval, count, n + 1),
    )
