"""Counts reads against what Stripe grants: 500 for each transaction, over 30 days.

The count is kept by day and kind of object in `ops.stripe_requests`. It never stops what the audit
cannot do without; questions that are asked one customer at a time wait for the next month.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import psycopg2.extensions
from psycopg2.extras import execute_values

_SPAN = timedelta(days=30)
_PER_TRANSACTION = 500
_AT_LEAST = 10_000


@dataclass(frozen=True)
class Budget:
    """Reads of the last 30 days.

    Attributes:
        used: How many were sent.
        granted: How many may be.
    """

    used: int
    granted: int

    @property
    def left(self) -> int:
        """How many may still be sent."""
        return max(0, self.granted - self.used)

    def __str__(self) -> str:
        """For people: `1,234 of 10,000 reads in 30 days`."""
        return f"{self.used:,} of {self.granted:,} reads in 30 days"


def count_requests(
    cursor: psycopg2.extensions.cursor, as_of: datetime, requests: Mapping[str, int]
) -> None:
    """Add requests to the day of an audit."""
    rows = [(as_of.date(), name, count) for name, count in sorted(requests.items()) if count]
    execute_values(
        cursor,
        """
        insert into ops.stripe_requests (day, object, requests) values %s
        on conflict (day, object) do update
        set requests = stripe_requests.requests + excluded.requests
        """,
        rows,
    )


def read_budget(
    conn: psycopg2.extensions.connection, as_of: datetime, stated: int | None = None
) -> Budget:
    """How many reads were sent in the 30 days before an instant, and how many may be.

    Args:
        conn: The warehouse.
        as_of: The instant.
        stated: What the configuration grants; None: what Stripe does, by charges that succeeded.
    """
    with conn.cursor() as cursor:
        cursor.execute(
            """
            select
                (
                    select coalesce(sum(requests), 0)
                    from ops.stripe_requests
                    where day > %(since)s::date and day <= %(as_of)s::date
                ),
                (
                    select count(*) from raw_stripe.charges
                    where status = 'succeeded' and created > %(since)s and created <= %(as_of)s
                )
            """,
            {"since": as_of - _SPAN, "as_of": as_of},
        )
        row: tuple[int, int] = cursor.fetchone() or (0, 0)
    conn.rollback()
    granted = max(_AT_LEAST, _PER_TRANSACTION * row[1]) if stated is None else stated
    return Budget(int(row[0]), granted)


def newest_budget(conn: psycopg2.extensions.connection, stated: int | None = None) -> Budget:
    """As `read_budget`, at the newest day on which anything was read."""
    with conn.cursor() as cursor:
        cursor.execute("select max(day) from ops.stripe_requests")
        row: tuple[date | None] = cursor.fetchone() or (None,)
    conn.rollback()
    if row[0] is None:
        return Budget(0, _AT_LEAST if stated is None else stated)
    end_of_day = datetime.combine(row[0], time.max, tzinfo=UTC)
    return read_budget(conn, end_of_day, stated)
