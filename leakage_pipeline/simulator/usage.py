"""Usage events of the simulated customers: what the log says, and what Stripe's meters were told.

Sizes and times are drawn per customer and meter; faults decide which events Stripe never saw or
saw twice. Instants are microseconds since 1970.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal

from leakage_pipeline.simulator.catalog import LOG_ONLY_METERS, METERS, Meter
from leakage_pipeline.simulator.customers import Customer, UsageFault, World
from leakage_pipeline.simulator.invoicing_periods import Period, epoch
from leakage_pipeline.simulator.stripe_objects import JsonObject, meter_event

MICROS = 1_000_000
MINUTE = 60
HOUR = 3600
DAY = 86_400
FINALIZED_AFTER = HOUR
QUIET_SECONDS = 2 * HOUR  # nothing happens this short before as_of: all usage has settled
# A gap no larger than the last day's usage may still be on its way to Stripe. Faulty meters are
# quiet for longer, so that whoever waits for such usage and whoever does not see the same gap.
FAULTY_QUIET_SECONDS = 3 * DAY
LATE_SHARE = 0.02
LATE_LIMIT = 3 * DAY
SMALL_GAP = Decimal("0.02")
TENTH = Decimal("0.1")
FRACTIONAL_METERS = frozenset({"transcode_minutes", "storage_gb"})


@dataclass(slots=True)
class UsageEvent:
    """One event of the log; `reports` is how often Stripe's meter was told (0, 1 or 2).

    One that is not logged is what Stripe was told later about an event of the period before.
    """

    event_id: str
    at: int
    value: Decimal
    source: str
    received_at: int
    reports: int = 1
    is_late: bool = False
    is_logged: bool = True


@dataclass
class MeterUsage:
    """One customer's events of one meter, a list per billing period, each ordered by time."""

    meter: Meter
    periods: list[list[UsageEvent]]

    def true_quantity(self, index: int) -> Decimal:
        """What was really used in a period, folded by the meter's formula."""
        return self._fold((event, 1) for event in self.logged(index))

    def logged(self, index: int) -> list[UsageEvent]:
        """The events of a period that stand in the log."""
        return [event for event in self.periods[index] if event.is_logged]

    def metered_quantity(self, index: int) -> Decimal:
        """What Stripe's meter was told about a period."""
        return self._fold((event, event.reports) for event in self.periods[index] if event.reports)

    def late_quantity(self, index: int) -> Decimal:
        """What Stripe's meter was not told because it reached the log after the invoice."""
        late = (event for event in self.periods[index] if event.is_late and not event.reports)
        return self._fold((event, 1) for event in late)

    def _fold(self, events: Iterable[tuple[UsageEvent, int]]) -> Decimal:
        if self.meter.formula == "last":
            return max(((event.at, event.value) for event, _ in events), default=(0, Decimal(0)))[1]
        return sum((event.value * times for event, times in events), Decimal(0))


def generate_usage(
    world: World, customer: Customer, periods: Sequence[Period]
) -> dict[str, MeterUsage]:
    """The usage of every meter that the customer uses, cut by its billing periods."""
    usage: dict[str, MeterUsage] = {}
    for name, monthly in customer.volumes.items():
        rng = world.rng("usage", customer.index, name)
        meter = METERS.get(name) or LOG_ONLY_METERS[name]
        filled = MeterUsage(meter, [])
        for number, period in enumerate(periods):
            draw = _PeriodDraw(rng, world, customer, meter, period)
            events = draw.events(monthly, f"evt_{customer.customer_id[4:]}_{name}_{number}")
            filled.periods.append(events)
        if customer.usage_fault and customer.usage_fault.meter == name:
            _apply_fault(rng, customer.usage_fault, filled, periods)
        usage[name] = filled
    return usage


def stray_usage(world: World, customer: Customer, periods: Sequence[Period]) -> MeterUsage | None:
    """Usage of an id that nobody knows, over the customer's own periods; Stripe hears nothing."""
    if customer.stray_usage is None:
        return None
    ghost, name, monthly = customer.stray_usage
    rng = world.rng("stray usage", customer.index)
    draws = (_PeriodDraw(rng, world, customer, METERS[name], period) for period in periods)
    events = [draw.events(monthly, f"evt_{ghost}_{number}") for number, draw in enumerate(draws)]
    return MeterUsage(METERS[name], events)


def usage_after_end(world: World, customer: Customer) -> dict[str, MeterUsage]:
    """Usage from the end of the subscription on, as one period; Stripe hears nothing."""
    if customer.ended_at is None:
        return {}
    rest = Period(customer.ended_at, world.as_of, world.as_of)
    used: dict[str, MeterUsage] = {}
    for name, monthly in customer.uses_after_end.items():
        rng = world.rng("after the end", customer.index, name)
        draw = _PeriodDraw(rng, world, customer, METERS[name], rest)
        code = f"evt_{customer.customer_id[4:]}_{name}_after"
        used[name] = MeterUsage(METERS[name], [draw.events(monthly, code)])
    return used


class _PeriodDraw:
    """Draws the events of one meter in one billing period."""

    def __init__(
        self, rng: random.Random, world: World, customer: Customer, meter: Meter, period: Period
    ) -> None:
        self.rng = rng
        self.world = world
        self.customer = customer
        self.meter = meter
        self.period = period
        self.first = epoch(period.start)
        fault = customer.usage_fault
        is_faulty = fault is not None and fault.meter == meter.name
        quiet = FAULTY_QUIET_SECONDS if is_faulty else QUIET_SECONDS
        self.last = min(epoch(period.end), epoch(world.as_of) - quiet)
        self.known_by = epoch(world.as_of) - MINUTE

    def events(self, monthly: int, prefix: str) -> list[UsageEvent]:
        if self.last <= self.first + HOUR:
            return []
        full = epoch(self.period.natural_end) - self.first
        share = min(1.0, (self.last - self.first) / min(full, 31 * DAY))
        count = max(2, round(self.world.events_per_month * self.rng.uniform(0.6, 1.4) * share))
        # Whole edge minutes stay free of random events: what happens in them is placed on purpose.
        inside = (self.first + MINUTE, self.last - MINUTE)
        instants = sorted(
            self.rng.randrange(inside[0] * MICROS, inside[1] * MICROS) for _ in range(count)
        )
        values = self._values(monthly, share, count)
        events = [
            self._event(f"{prefix}_{number}", at, value)
            for number, (at, value) in enumerate(zip(instants, values, strict=True))
        ]
        if self.meter.formula == "sum" and not self.period.is_trial:
            events.extend(self._edge_events(prefix))
            events.extend(self._small_gap(prefix, events))
        return sorted(events, key=lambda event: event.at)

    def _values(self, monthly: int, share: float, count: int) -> list[Decimal]:
        if self.meter.formula == "last":
            return [
                (monthly * Decimal(self.rng.randint(90, 115)) / 100).quantize(TENTH)
                for _ in range(count)
            ]
        total = int(monthly * share * self.rng.uniform(0.85, 1.2) * 10)
        weights = [self.rng.uniform(0.4, 1.6) for _ in range(count)]
        scale = total / sum(weights)
        tenths = [max(10, round(weight * scale)) for weight in weights]
        if self.meter.name in FRACTIONAL_METERS:
            return [Decimal(value).scaleb(-1) for value in tenths]
        return [Decimal(value // 10) for value in tenths]

    def _event(self, event_id: str, at: int, value: Decimal, reports: int = 1) -> UsageEvent:
        source = self.rng.choice(self.meter.sources)
        delay = self.rng.randint(1, 40)
        if self.rng.random() < LATE_SHARE:
            delay = self.rng.randint(HOUR, LATE_LIMIT)
        # Late, but in time: the invoice is finalised an hour after the period's end.
        latest = min(epoch(self.period.end) + FINALIZED_AFTER - 5 * MINUTE, self.known_by)
        received = max(at, min(at + delay * MICROS, latest * MICROS))
        return UsageEvent(event_id, at, value, source, received, reports)

    def _edge_events(self, prefix: str) -> list[UsageEvent]:
        """On the very second of the start, and in the last second before a finished end."""
        if not self.customer.has_edge_events:
            return []
        events = [self._event(f"{prefix}_first", self.first * MICROS, Decimal(3))]
        end = epoch(self.period.end)
        if end == self.last:
            events.append(self._event(f"{prefix}_last", end * MICROS - MICROS // 4, Decimal(2)))
        return events

    def _small_gap(self, prefix: str, events: Sequence[UsageEvent]) -> list[UsageEvent]:
        """In every third finished period a little usage is lost: below the tolerance."""
        finished = epoch(self.period.end) == self.last
        if not (self.customer.has_small_gaps and finished and self.rng.random() < 1 / 3):
            return []
        total = sum((event.value for event in events), Decimal(0))
        lost = (total * SMALL_GAP).to_integral_value(rounding=ROUND_FLOOR)
        if not lost:
            return []
        at = (self.first + self.last) // 2 * MICROS
        return [self._event(f"{prefix}_lost", at, lost, reports=0)]


def _apply_fault(
    rng: random.Random, fault: UsageFault, usage: MeterUsage, periods: Sequence[Period]
) -> None:
    if fault.kind == "carried_over":
        _carry_over(fault, usage, periods)
        return
    since = epoch(fault.since) * MICROS
    until = epoch(fault.until) * MICROS if fault.until else None
    for period, events in zip(periods, usage.periods, strict=True):
        for number, event in enumerate(events):
            in_time = since <= event.at and (until is None or event.at < until)
            in_source = fault.source in (None, event.source)
            if in_time and in_source and rng.random() < fault.share:
                if "late" in fault.kind and (fault.kind != "late_and_lost" or number % 2):
                    event.is_late = True
                    event.received_at = (
                        epoch(period.end) + rng.randint(2 * HOUR, 4 * DAY)
                    ) * MICROS
                if fault.kind != "logged_late":
                    event.reports = 2 if fault.kind == "doubled" else 0


def _carry_over(fault: UsageFault, usage: MeterUsage, periods: Sequence[Period]) -> None:
    """The last event of a period came too late for its invoice; the next one bills it."""
    index = next(i for i, period in enumerate(periods) if period.start == fault.since)
    missed = usage.periods[index][-1]
    missed.value = (usage.true_quantity(index) * Decimal(str(fault.share))).to_integral_value()
    missed.reports, missed.is_late = 0, True
    missed.received_at = (epoch(periods[index].end) + 2 * HOUR) * MICROS
    told_at = (epoch(periods[index].end) + 3 * HOUR) * MICROS
    later = replace(missed, event_id=f"{missed.event_id}_carried", at=told_at)
    later.reports, later.is_late, later.is_logged = 1, False, False
    usage.periods[index + 1].append(later)
    usage.periods[index + 1].sort(key=lambda event: event.at)


def meter_events(
    customer: Customer, usage: MeterUsage, periods: Sequence[Period]
) -> list[JsonObject]:
    """What Stripe was told: per UTC day and period one event, or every event of a `last` meter.

    A day's event never reaches over a period's edge minute, so a summary over whole minutes holds
    exactly the usage of these minutes. Doubled usage is reported again under another identifier.
    """
    reported: list[JsonObject] = []
    for period, events in zip(periods, usage.periods, strict=True):
        buckets: dict[tuple[int, int, int], list[UsageEvent]] = {}
        for event in events:
            second = event.at // MICROS
            for repeat in range(event.reports):
                key = (repeat, *_bucket(second, period, usage.meter.formula))
                buckets.setdefault(key, []).append(event)
        for (repeat, _, _), members in buckets.items():
            second = members[-1].at // MICROS
            tail = "-again" if repeat else ""
            last_value = usage.meter.formula == "last"
            value = members[-1].value if last_value else sum((m.value for m in members), Decimal(0))
            reported.append(
                meter_event(
                    usage.meter.event_name,
                    customer=customer.customer_id,
                    value=value,
                    timestamp=second,
                    identifier=f"{members[-1].event_id}{tail}",
                )
            )
    return reported


def _bucket(second: int, period: Period, formula: str) -> tuple[int, int]:
    if formula == "last":
        return second, 0
    minute = second // MINUTE
    if minute == epoch(period.start) // MINUTE:
        return second // DAY, 1
    if minute == epoch(period.end) // MINUTE or epoch(period.end) - second <= MINUTE:
        return second // DAY, 2
    return second // DAY, 0
