"""Finds days on which the log itself was silent: an outage, not customers who stopped."""

from dataclasses import dataclass
from datetime import date, datetime

import psycopg2.extensions

# Of a meter with events on this share of all days, a day without any is suspicious.
_USUALLY_PRESENT = 0.9
# A meter is not known well enough before; older gaps have been told often enough.
_SHORTEST_SPAN_DAYS = 14
_DAYS_TOLD = 60
_MISSING_DAYS = """
    with present as (
        select distinct meter, cast(window_start at time zone 'UTC' as date) as day
        from (
            select meter, window_start from raw_usage.usage_windows
            union all
            select meter, window_start from raw_usage.unattributed_usage
        ) as windows
    ),
    meters as (
        select meter, min(day) as first_day, count(*) as days
        from present
        where day < %(today)s
        group by meter
        having
            %(today)s - min(day) >= %(shortest)s
            and count(*) >= %(present)s * (%(today)s - min(day))
    )
    select meters.meter, cast(expected.day as date)
    from meters
    cross join
        lateral generate_series(
            greatest(meters.first_day, %(today)s - %(told)s), %(today)s - 1, interval '1 day'
        ) as expected (day)
    left join present
        on meters.meter = present.meter and cast(expected.day as date) = present.day
    where present.day is null
    order by meters.meter, expected.day
"""


@dataclass(frozen=True)
class SilentDay:
    """A day without any event of a meter that nearly always has some."""

    meter: str
    day: date

    def __str__(self) -> str:
        """For a person."""
        return f"{self.meter} has no event on {self.day}"


def silent_days(conn: psycopg2.extensions.connection, as_of: datetime) -> list[SilentDay]:
    """The silent days of the last two months, today not among them.

    Args:
        conn: The warehouse, with the usage log loaded.
        as_of: Now.
    """
    values = {
        "today": as_of.date(),
        "present": _USUALLY_PRESENT,
        "shortest": _SHORTEST_SPAN_DAYS,
        "told": _DAYS_TOLD,
    }
    with conn.cursor() as cursor:
        cursor.execute(_MISSING_DAYS, values)
        return [SilentDay(meter, day) for meter, day in cursor.fetchall()]
