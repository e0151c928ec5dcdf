"""Calendar arithmetic of billing: month steps from an anchor, and a subscription's periods.

Half-open intervals in UTC, exact to the second. Nothing here knows money.
"""

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

MONTHS = {"month": 1, "year": 12}
MONTHS_PER_YEAR = 12


def add_months(instant: datetime, months: int) -> datetime:
    """The same second `months` later; the day is cut to the length of a shorter month."""
    count = instant.year * MONTHS_PER_YEAR + instant.month - 1 + months
    year, month0 = divmod(count, MONTHS_PER_YEAR)
    last_day = calendar.monthrange(year, month0 + 1)[1]
    return instant.replace(year=year, month=month0 + 1, day=min(instant.day, last_day))


def epoch(instant: datetime) -> int:
    """Whole seconds since 1970, as Stripe writes instants."""
    return int(instant.timestamp())


def from_epoch(seconds: int) -> datetime:
    """The UTC instant of `epoch` seconds."""
    return datetime.fromtimestamp(seconds, UTC)


def grid(anchor: datetime, interval: str) -> Iterator[tuple[datetime, datetime]]:
    """Periods from the anchor on, for ever; each bound is anchor + n intervals, never stepwise."""
    step = MONTHS[interval]
    n = 0
    while True:
        yield add_months(anchor, n * step), add_months(anchor, (n + 1) * step)
        n += 1


@dataclass(frozen=True)
class Period:
    """One billing period `[start, end)`; `natural_end` is where it would end uncancelled."""

    start: datetime
    end: datetime
    natural_end: datetime
    is_trial: bool = False

    def contains(self, seconds: int) -> bool:
        """Whether the instant (epoch seconds) lies in the period."""
        return epoch(self.start) <= seconds < epoch(self.end)


def billing_periods(
    start: datetime,
    trial_end: datetime | None,
    interval: str,
    ended_at: datetime | None,
    as_of: datetime,
) -> list[Period]:
    """All periods of a subscription that began by `as_of`, the running one last.

    A trial is a period of its own, and the anchor is where it ends. The last period of an ended
    subscription is cut at `ended_at`.
    """
    stop = ended_at or as_of
    periods: list[Period] = []
    if trial_end is not None:
        periods.append(Period(start, trial_end, trial_end, is_trial=True))
    for lower, upper in grid(trial_end or start, interval):
        if lower >= stop if ended_at else lower > stop:
            break
        end = min(upper, ended_at) if ended_at else upper
        periods.append(Period(lower, end, upper))
    return periods
