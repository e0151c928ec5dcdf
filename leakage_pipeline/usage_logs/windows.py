"""Turns the sums per window and customer as the log names it into the rows that are loaded.

Names are resolved here, after the sums, since there are far fewer of them than of events. Every
engine ends in the same table, `kept.finals`, so this is written once.
"""

from dataclasses import dataclass
from datetime import date, datetime

import duckdb
import pyarrow as pa

# Exact decimals leave as text without the zeros that pad them to twelve places. Whole numbers, as
# most are, are written at a tenth of the cost.
_EXACT = """
    create or replace temp macro exact(number) as
    case when number = cast(try_cast(number as bigint) as decimal(38, 12))
    then cast(try_cast(number as bigint) as varchar)
    else rtrim(rtrim(cast(cast(number as decimal(38, 12)) as varchar), '0'), '.') end
"""
_STORABLE = """
    create or replace temp macro storable(name) as replace(name, chr(0), chr(65533))
"""
# Postgres stores no NUL character; names that hold one are told with a mark in its place.
_NAMED = """
    create or replace temp view named as
    select
        sums.* replace (
            storable(sums.customer_ref) as customer_ref,
            storable(sums.meter) as meter,
            storable(sums.source) as source
        ),
        sums.customer_ref as log_ref,
        customers.customer_id
    from kept.finals as sums
    left join customers on sums.customer_ref = customers.customer_ref
"""
_ATTRIBUTED = """
    create or replace temp view attributed as
    select
        due.*,
        coalesce(
            list_min(list_filter(cut_days.cuts, lambda cut: cut > due.window_start_us)),
            (due.window_start_us // getvariable('day_us') + 1) * getvariable('day_us')
        ) as window_end_us
    from due
    left join cut_days on due.log_ref = cut_days.customer_ref and due.day = cut_days.day
"""
_ALL_DUE = "create or replace temp view due as from named"
# A customer may have several names, and have had others at the last scan.
_SOME_DUE = (
    """
    create or replace temp table due_customers as
    select distinct names.customer_id, affected.day
    from affected
    inner join (from customers union from previous_customers) as names
        on affected.customer_ref = names.customer_ref
    """,
    """
    create or replace temp view due as
    from named
    where
        (customer_id, day) in (from due_customers)
        or customer_id is null and (log_ref, day) in (from affected)
    """,
)
# Two names of one customer (its Stripe id and an account) may stand in the same window.
_WINDOWS = """
    select
        customer_id,
        meter,
        source,
        make_timestamptz(window_start_us) as window_start,
        make_timestamptz(any_value(window_end_us)) as window_end,
        cast(sum(event_count) as bigint) as event_count,
        exact(sum(quantity_sum)) as quantity_sum,
        exact(max(latest).value) as last_value,
        make_timestamptz(max(latest).occurred_us) as last_at,
        cast(sum(late_count) as bigint) as late_count,
        exact(sum(late_sum)) as late_sum,
        cast(sum(duplicate_events) as bigint) as duplicate_events,
        max(received_us) is not null as has_arrivals,
        cast(sum(skewed_events) as bigint) as skewed_events
    from attributed
    where customer_id is not null
    group by customer_id, meter, source, window_start_us
"""
_UNATTRIBUTED = """
    select
        customer_ref,
        meter,
        source,
        make_timestamptz(window_start_us) as window_start,
        make_timestamptz(window_end_us) as window_end,
        cast(sum(event_count) as bigint) as event_count,
        exact(sum(quantity_sum)) as quantity_sum,
        'unknown_customer' as reason
    from attributed
    where customer_id is null
    group by customer_ref, meter, source, window_start_us, window_end_us
"""
_COVERAGE = """
    select
        meter,
        make_timestamptz(min(first_us)) as first_event_at,
        make_timestamptz(max(latest.occurred_us)) as last_event_at,
        cast(sum(event_count) as bigint) as event_count,
        make_timestamptz(getvariable('as_of_us')) as as_of
    from named
    group by meter
"""
_TOTALS = """
    select
        coalesce(sum(event_count), 0),
        coalesce(sum(duplicate_events), 0),
        coalesce(sum(late_count) filter (where customer_id is not null), 0),
        coalesce(sum(event_count) filter (where customer_id is null), 0),
        coalesce(sum(skewed_events), 0)
    from named
"""
# What is loaded anew, by the warehouse's names: customers, and names of unknown ones, and days.
_DUE_CUSTOMERS = """
    select customer_id as name, make_timestamptz(day * getvariable('day_us')) as day
    from due_customers
"""
_DUE_NAMES = """
    select distinct
        storable(customer_ref) as name, make_timestamptz(day * getvariable('day_us')) as day
    from affected
"""
_ROWS_PER_BATCH = 100_000


@dataclass(frozen=True)
class Totals:
    """Sums over the whole roll-up; `valid` rows are the counted events and their copies."""

    events: int
    duplicates: int
    late_events: int
    unattributed_events: int
    skewed_events: int

    @property
    def valid(self) -> int:
        """Readable rows."""
        return self.events + self.duplicates


def attribute(connection: duckdb.DuckDBPyConnection, *, whole: bool) -> Totals:
    """Resolve the names in `kept.finals`; call before the readers below.

    Args:
        connection: With the finals and the tables of `references`.
        whole: All windows are loaded; else those of `affected`.

    Returns:
        Of the whole log in any case.
    """
    due = (_ALL_DUE,) if whole else _SOME_DUE
    for statement in (_EXACT, _STORABLE, _NAMED, *due, _ATTRIBUTED):
        connection.execute(statement)
    (row,) = connection.execute(_TOTALS).fetchall()
    return Totals(*(int(number) for number in row))


def due_days(connection: duckdb.DuckDBPyConnection) -> tuple[date, ...]:
    """The UTC days of the windows that are loaded."""
    rows = connection.execute(
        "select distinct date '1970-01-01' + cast(day as integer) from due order by 1"
    ).fetchall()
    return tuple(day.date() if isinstance(day, datetime) else day for (day,) in rows)


def due_customers(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """The customers and days whose usage_windows are loaded anew: name, day."""
    return connection.sql(_DUE_CUSTOMERS).to_arrow_table()


def due_names(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """The names and days whose unattributed_usage is loaded anew: name, day."""
    return connection.sql(_DUE_NAMES).to_arrow_table()


def usage_windows(connection: duckdb.DuckDBPyConnection) -> pa.RecordBatchReader:
    """The rows of raw_usage.usage_windows."""
    return _stream(connection, _WINDOWS)


def unattributed_usage(connection: duckdb.DuckDBPyConnection) -> pa.RecordBatchReader:
    """The rows of raw_usage.unattributed_usage."""
    return _stream(connection, _UNATTRIBUTED)


def log_coverage(connection: duckdb.DuckDBPyConnection) -> pa.RecordBatchReader:
    """The rows of raw_usage.log_coverage."""
    return _stream(connection, _COVERAGE)


def _stream(connection: duckdb.DuckDBPyConnection, query: str) -> pa.RecordBatchReader:
    return connection.sql(query).to_arrow_reader(_ROWS_PER_BATCH)
