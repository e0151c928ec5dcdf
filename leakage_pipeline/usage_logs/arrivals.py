"""Keeps what an earlier audit had not seen yet: when usage without `received_at` reached the log.

Every audit reads the whole log, and the windows of the audit before are still in the warehouse when
the new ones come. What grew in windows that were over by then arrived in between (billing model
7.10). The first audit has nothing to compare with: all that it sees counts as known in time.
"""

from datetime import datetime

import psycopg2.extensions
from psycopg2 import sql

from leakage_pipeline.usage_logs.references import CUSTOMERS

# Windows of other customers and days are what they were, and cannot have grown.
_SCOPE = """
    windows.window_start >= (select min(day) from {due})
    and windows.window_start < (select max(day) + interval '1 day' from {due})
    and exists (
        select 1 from {due} as due
        where due.name = windows.{name} and due.day = date_trunc('day', windows.window_start, 'UTC')
    )
"""

# Usage that only changed hands, because an account was mapped since, was seen before.
_REMEMBER = """
    create temporary table previous_usage on commit drop as
    with loaded as (
        select max(as_of) as as_of from raw_usage.log_coverage
    ),
    customers as ({customers})
    select
        windows.customer_id, windows.meter, windows.source, windows.window_start,
        windows.event_count, windows.quantity_sum, loaded.as_of
    from raw_usage.usage_windows as windows
    inner join loaded on windows.window_end <= loaded.as_of
    where {customers_due}
    union all
    select
        customers.customer_id, windows.meter, windows.source, windows.window_start,
        windows.event_count, windows.quantity_sum, loaded.as_of
    from raw_usage.unattributed_usage as windows
    inner join customers on windows.customer_ref = customers.customer_ref
    inner join loaded on windows.window_end <= loaded.as_of
    where {names_due}
"""
# Windows are cut anew when billing is: a day is compared as a whole, and what it grew by stands at
# the window that grew most. Events with a received_at tell their arrival themselves.
_NOTE = """
    with previous as (
        select
            customer_id, meter, source, window_start,
            sum(event_count) as event_count, sum(quantity_sum) as quantity_sum
        from previous_usage
        group by customer_id, meter, source, window_start
    ),
    grown as (
        select
            windows.customer_id, windows.meter, windows.source, windows.window_start,
            date_trunc('day', windows.window_start, 'UTC') as day,
            windows.event_count - coalesce(previous.event_count, 0) as more_events
        from raw_usage.usage_windows as windows
        left join previous
            on windows.customer_id = previous.customer_id
            and windows.meter = previous.meter
            and windows.source = previous.source
            and windows.window_start = previous.window_start
        where
            windows.window_end <= (select max(as_of) from previous_usage)
            and not windows.has_arrivals
            and windows.event_count > coalesce(previous.event_count, 0)
            and {customers_due}
    ),
    grown_days as (
        select distinct on (customer_id, meter, source, day)
            customer_id, meter, source, day, window_start
        from grown
        order by customer_id, meter, source, day, more_events desc, window_start
    ),
    now_there as (
        select
            grown_days.customer_id, grown_days.meter, grown_days.source, grown_days.day,
            sum(windows.event_count) as event_count, sum(windows.quantity_sum) as quantity_sum
        from grown_days
        inner join raw_usage.usage_windows as windows
            on grown_days.customer_id = windows.customer_id
            and grown_days.meter = windows.meter
            and grown_days.source = windows.source
            and windows.window_start >= grown_days.day
            and windows.window_start < grown_days.day + interval '1 day'
        where windows.window_end <= (select max(as_of) from previous_usage)
        group by 1, 2, 3, 4
    ),
    there_before as (
        select
            grown_days.customer_id, grown_days.meter, grown_days.source, grown_days.day,
            sum(previous.event_count) as event_count, sum(previous.quantity_sum) as quantity_sum
        from grown_days
        inner join previous
            on grown_days.customer_id = previous.customer_id
            and grown_days.meter = previous.meter
            and grown_days.source = previous.source
            and previous.window_start >= grown_days.day
            and previous.window_start < grown_days.day + interval '1 day'
        group by 1, 2, 3, 4
    )
    insert into raw_usage.late_arrivals as known
        (customer_id, meter, source, window_start, seen_at, event_count, quantity_sum)
    select
        now_there.customer_id, now_there.meter, now_there.source, grown_days.window_start,
        %(as_of)s,
        now_there.event_count - coalesce(there_before.event_count, 0),
        greatest(0, now_there.quantity_sum - coalesce(there_before.quantity_sum, 0))
    from now_there
    inner join grown_days using (customer_id, meter, source, day)
    left join there_before using (customer_id, meter, source, day)
    where now_there.event_count > coalesce(there_before.event_count, 0)
    on conflict (customer_id, meter, source, window_start, seen_at) do update set
        event_count = known.event_count + excluded.event_count,
        quantity_sum = known.quantity_sum + excluded.quantity_sum
"""


def remember_previous(
    conn: psycopg2.extensions.connection, as_of: datetime, *, whole: bool
) -> None:
    """Keep the windows of the audit before, in this transaction, that are about to be replaced.

    Args:
        conn: The warehouse.
        as_of: Now; what an account is called now decides whose usage it was.
        whole: All are; else those that the temporary tables due_customers and due_names list.
    """
    with conn.cursor() as cursor:
        query = sql.SQL(_REMEMBER).format(customers=sql.SQL(CUSTOMERS), **_scopes(whole=whole))
        cursor.execute(query, {"as_of": as_of})


def note_arrivals(conn: psycopg2.extensions.connection, as_of: datetime, *, whole: bool) -> int:
    """Note what the new windows hold more than those remembered, as seen first at `as_of`.

    Returns:
        Windows noted.
    """
    with conn.cursor() as cursor:
        cursor.execute("analyze previous_usage")
        query = sql.SQL(_NOTE).format(customers_due=_scopes(whole=whole)["customers_due"])
        cursor.execute(query, {"as_of": as_of})
        return int(cursor.rowcount)


def scope(due: str, name: str) -> sql.Composed:
    """The rows of `windows` whose `name` and day the table `due` lists, as a condition."""
    return sql.SQL(_SCOPE).format(due=sql.Identifier(due), name=sql.Identifier(name))


def _scopes(*, whole: bool) -> dict[str, sql.Composable]:
    if whole:
        return {"customers_due": sql.SQL("true"), "names_due": sql.SQL("true")}
    return {
        "customers_due": scope("due_customers", "customer_id"),
        "names_due": scope("due_names", "customer_ref"),
    }
