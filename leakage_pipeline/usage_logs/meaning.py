"""What the roll-up of usage events means, for every engine that computes it.

An event counts once per `event_id` over all files and sources. Of its copies the one with the
earliest `occurred_at` counts, then source order decides, then the arrival, then the content, so
that no engine may choose; the window of the winner counts the others as duplicates.

A window is a UTC day, cut at each instant of the customer's `int_periods__usage_cuts`; an event
exactly at a cut belongs to the later window. A window's last value is that of its latest event,
of several at one instant the greatest value. An event is late when it was received
at or after the instant at which the invoice of the period that holds its window was finalised;
where several invoices were, the last of them counts.

Nothing arrives before it happens: an event that was received more than a minute before its
`occurred_at` was stamped by a clock that runs ahead, and is counted as skewed in its window. One
that had arrived, though its `occurred_at` lies after the audit's instant, cannot be placed at all.

Values are exact to twelve decimals, as Stripe's are; further ones are rounded. An empty value is 1.
A number as `occurred_at` is epoch seconds, or milliseconds from 1e11 on. Text without an offset is
UTC. An unreadable `received_at` is an unknown arrival, and such an event is never late.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

SCALE = 12
# Sums of fifty million such values still fit a 38-digit decimal.
VALUE_LIMIT = 10**18
MILLISECONDS_FROM = 10**11
DAY_US = 86_400_000_000
# Clocks of two machines differ by seconds; what differs by more than a minute is set wrong.
SKEW_US = 60_000_000
# Older instants are mistakes (a date read as epoch seconds): Stripe itself is younger.
EARLIEST_US = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
# Rejected rows kept as examples, per source and reason; the rest is counted.
SAMPLES = 10_000
SAMPLES_LATER = 100
# Ids of new events that are looked at together for repeats: under three quarters of a gigabyte.
HASHES_AT_A_TIME = 64_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(instant: datetime) -> int:
    """An instant as whole microseconds since 1970."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


class Reason(StrEnum):
    """Why an event is not counted; the first that holds is given."""

    MALFORMED = "malformed line"
    NO_EVENT_ID = "missing event_id"
    NO_CUSTOMER = "missing customer_id"
    NO_METER = "missing meter"
    BAD_VALUE = "bad value"
    NEGATIVE_VALUE = "negative value"
    BAD_INSTANT = "bad occurred_at"
    AHEAD_OF_CLOCK = "occurred_at after as_of, received before"
    IN_FUTURE = "occurred_at after as_of"
    NOT_YET_RECEIVED = "received_at after as_of"


# Not mistakes when a past day is audited again: the log has simply grown since.
LATER_THAN_AUDIT = frozenset({Reason.IN_FUTURE, Reason.NOT_YET_RECEIVED})
# A later audit may count such rows.
BY_AUDIT = LATER_THAN_AUDIT | {Reason.AHEAD_OF_CLOCK}


@dataclass(frozen=True)
class UsageLoadResult:
    """What one roll-up found.

    Attributes:
        rows: Rows loaded, by table.
        events: Events counted, those of unknown customers too.
        duplicates: Repeated events that were not counted.
        late_events: Events received after their invoice was finalised.
        unattributed_events: Events of unknown customers.
        skewed_events: Counted events that were received before they happened.
        rejected: Source name to reason to number of rows that could not be read.
        missing: No usage source is configured.
        days: The UTC days whose windows were written.
    """

    rows: dict[str, int] = field(default_factory=dict)
    events: int = 0
    duplicates: int = 0
    late_events: int = 0
    unattributed_events: int = 0
    skewed_events: int = 0
    rejected: dict[str, dict[str, int]] = field(default_factory=dict)
    missing: bool = False
    days: tuple[date, ...] = ()

    @property
    def ahead_of_clock(self) -> int:
        """Rejected rows that had arrived before the audit and say that they happened after it."""
        return sum(reasons.get(Reason.AHEAD_OF_CLOCK, 0) for reasons in self.rejected.values())

    @property
    def windows(self) -> int:
        """Rows of usage_windows."""
        return self.rows.get("usage_windows", 0)

    @property
    def unreadable(self) -> int:
        """Rejected rows, without those that are only later than the audit."""
        return sum(
            count
            for reasons in self.rejected.values()
            for reason, count in reasons.items()
            if reason not in LATER_THAN_AUDIT
        )

    @property
    def unreadable_share(self) -> float:
        """Unreadable rows over all rows read; 0 for an empty log."""
        read = self.events + self.duplicates + self.unreadable
        return self.unreadable / read if read else 0.0
