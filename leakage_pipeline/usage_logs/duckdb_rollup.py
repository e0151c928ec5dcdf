"""Rolls staged events up with DuckDB, in three passes over the columns that each needs.

1. The hash of every event_id, to find those that may repeat: 8 bytes an event, spilled to disk when
   they exceed the memory limit. Only these events are compared by id. 2. All sums per window; a
   day is cut by joining the few (customer, day) pairs that have cuts inside. 3. Late events, only
   for windows whose latest arrival is not before their invoice, and only if there are any.
"""

from collections.abc import Sequence

import duckdb
from duckdb import ColumnExpression, ConstantExpression

from leakage_pipeline.usage_logs.parsing import EVENT_COLUMNS
from leakage_pipeline.usage_logs.staging import Part

_REPEATED = """
    create table repeated_hashes as
    select hash(event_id) as id_hash from events group by id_hash having count(*) > 1
"""
# The order is total over everything an event says, so that no engine and no thread may choose.
_WINNERS = """
    create table winners as
    select * exclude (place)
    from (
        select
            *,
            count(*) over same_event - 1 as copies,
            row_number() over (
                same_event
                order by
                    occurred_us, source_order, received_us nulls last,
                    customer_ref, meter, source, value
            ) as place
        from events
        where hash(event_id) in (select id_hash from repeated_hashes)
        window same_event as (partition by event_id)
    ) as ranked
    where place = 1
"""
_COUNTED = """
    create view counted as
    select
        events.event_id, events.customer_ref, events.meter, events.source, events.value,
        events.occurred_us, events.received_us, 0 as copies
    from events
    anti join repeated_hashes on repeated_hashes.id_hash = hash(events.event_id)
    union all by name
    select event_id, customer_ref, meter, source, value, occurred_us, received_us, copies
    from winners
"""
_PLACED = """
    create view placed as
    select
        counted.*,
        coalesce(
            list_max(list_filter(cut_days.cuts, lambda cut: cut <= counted.occurred_us)),
            counted.occurred_us // getvariable('day_us') * getvariable('day_us')
        ) as window_start_us
    from counted
    left join cut_days
        on cut_days.customer_ref = counted.customer_ref
        and cut_days.day = counted.occurred_us // getvariable('day_us')
"""
_SUMS = """
    create table window_sums as
    select
        customer_ref,
        meter,
        source,
        window_start_us,
        count(*) as event_count,
        cast(sum(value) as decimal(38, 12)) as quantity_sum,
        max(struct_pack(
            occurred_us := occurred_us,
            event_id := event_id,
            value := value
        )) as latest,
        min(occurred_us) as first_us,
        max(received_us) as received_us,
        cast(sum(copies) as bigint) as duplicate_events,
        count(*) filter (received_us < occurred_us - getvariable('skew_us')) as skewed_events
    from placed
    group by customer_ref, meter, source, window_start_us
"""
_LATE_WINDOWS = """
    create table late_windows as
    select
        sums.customer_ref,
        sums.meter,
        sums.source,
        sums.window_start_us,
        max(finalizations.finalized_us) as finalized_us
    from window_sums as sums
    inner join customers on sums.customer_ref = customers.customer_ref
    left join meter_names on sums.meter = meter_names.meter
    inner join finalizations
        on customers.customer_id = finalizations.customer_id
        and coalesce(meter_names.stripe_event_name, sums.meter) = finalizations.stripe_event_name
        and sums.window_start_us >= finalizations.period_start_us
        and sums.window_start_us < finalizations.period_end_us
    where sums.received_us is not null
    group by
        sums.customer_ref, sums.meter, sums.source, sums.window_start_us, sums.received_us
    having
        bool_and(finalizations.finalized_us is not null)
        and sums.received_us >= max(finalizations.finalized_us)
"""
_LATE_SUMS = """
    create table late_sums as
    select
        placed.customer_ref,
        placed.meter,
        placed.source,
        placed.window_start_us,
        count(*) as late_count,
        cast(sum(placed.value) as decimal(38, 12)) as late_sum
    from placed
    inner join late_windows
        on placed.customer_ref = late_windows.customer_ref
        and placed.meter = late_windows.meter
        and placed.source = late_windows.source
        and placed.window_start_us = late_windows.window_start_us
    where placed.received_us >= late_windows.finalized_us
    group by placed.customer_ref, placed.meter, placed.source, placed.window_start_us
"""
_NO_LATE_SUMS = """
    create table late_sums (
        customer_ref varchar,
        meter varchar,
        source varchar,
        window_start_us bigint,
        late_count bigint,
        late_sum decimal(38, 12)
    )
"""


def roll_up(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> None:
    """Create window_sums and late_sums from the staged parts.

    Args:
        connection: With the tables of `references`.
        parts: At least one.
    """
    _union(connection, parts).create_view("events")
    for statement in (_REPEATED, _WINNERS, _COUNTED, _PLACED, _SUMS, _LATE_WINDOWS):
        connection.execute(statement)
    any_late = connection.table("late_windows").shape[0] > 0
    connection.execute(_LATE_SUMS if any_late else _NO_LATE_SUMS)


def _union(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> duckdb.DuckDBPyRelation:
    relations = [
        connection.view(part.view)
        .filter(ColumnExpression("reason").isnull())
        .select(
            *(ColumnExpression(name) for name in EVENT_COLUMNS),
            ConstantExpression(part.order).alias("source_order"),
        )
        for part in parts
    ]
    union = relations[0]
    for relation in relations[1:]:
        union = union.union(relation)
    return union
