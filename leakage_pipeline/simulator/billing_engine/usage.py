"""Meter events of one customer and what Stripe's meters make of them.

A meter's quantity of a span is its formula over the events whose timestamps lie in it.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from leakage_pipeline.simulator.billing_engine.prices import BilledMeter

ZERO = Decimal(0)


@dataclass(frozen=True)
class Reported:
    """One meter event that Stripe accepted."""

    event_name: str
    at: int
    value: Decimal
    identifier: str


class MeterBook:
    """The customer's events by meter, in time order (in order of receipt within a second)."""

    def __init__(self, events: Iterable[Reported] = ()) -> None:
        self.events = list(events)
        self._by_name: dict[str, list[Reported]] = {}
        for event in self.events:
            self._by_name.setdefault(event.event_name, []).append(event)
        for entries in self._by_name.values():
            entries.sort(key=lambda event: event.at)

    def quantity(self, meter: BilledMeter, start: int, end: int) -> Decimal:
        """The billed quantity of `[start, end)`; a negative total bills 0."""
        entries = self._by_name.get(meter.event_name, [])
        low = bisect_left(entries, start, key=lambda event: event.at)
        high = bisect_left(entries, end, key=lambda event: event.at)
        inside = entries[low:high]
        if not inside:
            return ZERO
        if meter.formula == "count":
            return Decimal(len(inside))
        if meter.formula == "last":
            return max(ZERO, inside[-1].value)
        return max(ZERO, sum((event.value for event in inside), ZERO))
