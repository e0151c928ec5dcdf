"""Judges which usage is late: received at or after its invoice was finalised.

Files are read for it only where the latest arrival of a window is not before its invoice, and
again only for windows whose finalisation has changed since.
"""

import duckdb

# The finalisations by the names that the log uses, and those that differ from the last scan's.
_NOW = """
    create table finalizations_now as
    select customers.customer_ref, finalizations.* exclude (customer_id)
    from finalizations
    inner join customers on finalizations.customer_id = customers.customer_id
"""
_CHANGED = """
    create table changed_finalizations as
    select distinct customer_ref, stripe_event_name, period_start_us, period_end_us
    from (
        (from finalizations_now except from kept.finalizations)
        union all
        (from kept.finalizations except from finalizations_now)
    )
"""
_REJUDGED = """
    create table rejudged as
    select distinct
        sums.file_id, sums.customer_ref, sums.meter, sums.source, sums.window_start_us,
        sums.received_us
    from kept.partials as sums
    left join meter_names on sums.meter = meter_names.meter
    inner join changed_finalizations as changed
        on sums.customer_ref = changed.customer_ref
        and coalesce(meter_names.stripe_event_name, sums.meter) = changed.stripe_event_name
        and sums.window_start_us >= changed.period_start_us
        and sums.window_start_us < changed.period_end_us
    where sums.received_us is not null
"""
_JUDGED = """
    create temp table judged as
    select
        file_id, customer_ref, meter, source, window_start_us, received_us
    from kept.partials
    where
        received_us is not null
        and file_id in (select file_id from staged_files where whole)
    union
    from rejudged
    where
        file_id in (select file_id from unchanged_files)
        and file_id not in (select file_id from read_again)
"""
_LATE_WINDOWS = """
    create or replace temp table late_windows as
    select
        judged.file_id, judged.customer_ref, judged.meter, judged.source,
        judged.window_start_us, max(finalizations.finalized_us) as finalized_us
    from judged
    left join meter_names on judged.meter = meter_names.meter
    inner join finalizations_now as finalizations
        on judged.customer_ref = finalizations.customer_ref
        and coalesce(meter_names.stripe_event_name, judged.meter) = finalizations.stripe_event_name
        and judged.window_start_us >= finalizations.period_start_us
        and judged.window_start_us < finalizations.period_end_us
    group by
        judged.file_id, judged.customer_ref, judged.meter, judged.source,
        judged.window_start_us, judged.received_us
    having
        bool_and(finalizations.finalized_us is not null)
        and judged.received_us >= max(finalizations.finalized_us)
"""
_LATE_SUMS = """
    create temp table late_sums as
    select
        placed.file_id, placed.customer_ref, placed.meter, placed.source,
        placed.window_start_us, count(*) as late_count,
        cast(sum(placed.value) as decimal(38, 12)) as late_sum
    from placed
    inner join late_windows
        on placed.file_id = late_windows.file_id
        and placed.customer_ref = late_windows.customer_ref
        and placed.meter = late_windows.meter
        and placed.source = late_windows.source
        and placed.window_start_us = late_windows.window_start_us
    where
        placed.received_us >= late_windows.finalized_us
        and not is_blank(placed.event_id)
        and hash(placed.event_id) not in (select id_hash from kept.contested)
    group by all
"""
_FORGET = """
    update kept.partials as sums set late_count = 0, late_sum = 0
    from judged
    where
        sums.late_count > 0 and sums.file_id = judged.file_id
        and sums.customer_ref = judged.customer_ref and sums.meter = judged.meter
        and sums.source = judged.source and sums.window_start_us = judged.window_start_us
"""
_NOTE = """
    update kept.partials as sums set late_count = late.late_count, late_sum = late.late_sum
    from late_sums as late
    where
        sums.file_id = late.file_id and sums.customer_ref = late.customer_ref
        and sums.meter = late.meter and sums.source = late.source
        and sums.window_start_us = late.window_start_us
"""


def find_changes(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Compare the finalisations with those of the last scan.

    Returns:
        Files with windows in which some usage, but maybe not all, is late now.
    """
    for statement in (_NOW, _CHANGED, _REJUDGED):
        connection.execute(statement)
    connection.execute("create temp table judged as from rejudged")
    connection.execute(_LATE_WINDOWS)
    found = connection.execute("select distinct file_id from late_windows").fetchall()
    connection.execute("drop table judged")
    return [file_id for (file_id,) in found]


def judge(connection: duckdb.DuckDBPyConnection) -> None:
    """Note the late usage of the files that were read, and of the windows judged anew."""
    connection.execute(_JUDGED)
    connection.execute(_LATE_WINDOWS)
    connection.execute(_FORGET)
    if connection.table("late_windows").shape[0] > 0:
        connection.execute(_LATE_SUMS)
        connection.execute(_NOTE)
