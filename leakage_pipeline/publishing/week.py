"""ISO weeks: reading `2026-W47`, and the twelve weeks that a report looks back on."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from leakage_pipeline.failures import ConfigurationError

_WEEK = re.compile(r"(\d{4})-W(\d{2})")
TRAILING_WEEKS = 12


@dataclass(frozen=True)
class ReportWeek:
    """An ISO week in UTC, half-open, and the trailing weeks that end with it."""

    monday: date

    @property
    def label(self) -> str:
        """`2026-W47`."""
        iso = self.monday.isocalendar()
        return f"{iso.year}-W{iso.week:02d}"

    @property
    def start(self) -> datetime:
        """Monday 00:00 UTC."""
        return datetime.combine(self.monday, time(), UTC)

    @property
    def end(self) -> datetime:
        """The next Monday 00:00 UTC."""
        return self.start + timedelta(weeks=1)

    @property
    def window_start(self) -> datetime:
        """Monday of the first of the trailing weeks."""
        return self.start - timedelta(weeks=TRAILING_WEEKS - 1)

    @property
    def mondays(self) -> list[date]:
        """The Mondays of the trailing weeks, the oldest first."""
        return [self.window_start.date() + timedelta(weeks=n) for n in range(TRAILING_WEEKS)]


def report_week(as_of: datetime, text: str | None = None) -> ReportWeek:
    """Return the week that is named, else the one that `as_of` lies in.

    Raises:
        ConfigurationError: The text is no ISO week, or the week begins after `as_of`.
    """
    if text is None:
        today = as_of.astimezone(UTC).date()
        return ReportWeek(today - timedelta(days=today.weekday()))
    match = _WEEK.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError  # noqa: TRY301 - one message for every text that is no week
        week = ReportWeek(date.fromisocalendar(int(match.group(1)), int(match.group(2)), 1))
    except ValueError:
        message = f"--week: {text} is no ISO week; write it as in 2026-W47"
        raise ConfigurationError(message) from None
    if week.start > as_of:
        message = f"--week: {week.label} has not begun at {as_of:%Y-%m-%d}; choose an earlier week"
        raise ConfigurationError(message)
    return week


def monday_of(moment: datetime) -> date:
    """Return the Monday of the ISO week that an instant lies in, in UTC."""
    day = moment.astimezone(UTC).date()
    return day - timedelta(days=day.weekday())
