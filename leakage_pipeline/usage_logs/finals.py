"""Adds the sums of files up to the final sums of windows, for the days that may have changed alone.

`affected` lists customers, as the log names them, and days: all for which a file, a repeated event,
a cut, a finalisation or the customer behind the name is another than at the last scan.
"""

import duckdb

_MOVED_CUTS = """
    create table moved_cuts as
    select distinct customer_ref, day
    from (
        (from cut_days except from kept.cut_days)
        union all
        (from kept.cut_days except from cut_days)
    )
"""
_CHANGED_CUSTOMERS = """
    create table changed_customers as
    select distinct customer_ref
    from (
        (from customers except from kept.customers)
        union all
        (from kept.customers except from customers)
    )
"""
_FILES_CUT_ANEW = """
    select distinct file_id from kept.partials semi join moved_cuts using (customer_ref, day)
"""
_AFFECTED_BEFORE = """
    create temp table affected as
    select customer_ref, day from moved_cuts
    union
    select customer_ref, day from kept.finals semi join changed_customers using (customer_ref)
    union
    select sums.customer_ref, sums.day
    from kept.finals as sums
    left join meter_names on sums.meter = meter_names.meter
    inner join changed_finalizations as changed
        on sums.customer_ref = changed.customer_ref
        and coalesce(meter_names.stripe_event_name, sums.meter) = changed.stripe_event_name
        and sums.window_start_us >= changed.period_start_us
        and sums.window_start_us < changed.period_end_us
    where sums.received_us is not null
"""
_OF_FILES = """
    insert into affected
    select customer_ref, day
    from kept.partials
    where file_id in (select file_id from touched_files)
    union
    select customer_ref, occurred_us // getvariable('day_us')
    from kept.contested
    where
        id_hash in (
            select id_hash from kept.contested
            where file_id in (select file_id from touched_files)
        )
"""
# Copies are ordered by everything an event says, so that no engine may choose; an unknown arrival
# comes last. Instants and the order of sources make one number, which compares ten times as fast as
# a row, and decides unless copies differ in something else too. An arrival before 1970 is a clock
# that is set wrong, whichever it is.
_RANKED = """
    create temp table ranked as
    select
        id_hash,
        id_check,
        count(*) - 1 as copies,
        arg_min(
            copy,
            (cast(occurred_us as hugeint) << 72) + (cast(source_order as hugeint) << 56)
            + if(received_us is null, 72057594037927935, greatest(received_us, 0))
        ) as first_copy,
        min(content) <> max(content) as differ
    from (
        select
            *,
            rowid as copy,
            hash(customer_ref, meter, source, value) as content
        from kept.contested
        {due_ids}
    ) as contested
    group by id_hash, id_check
"""
_DUE_IDS = """
    where id_hash in (
        select contested.id_hash
        from kept.contested as contested
        semi join affected
            on contested.customer_ref = affected.customer_ref
            and contested.occurred_us // getvariable('day_us') = affected.day
    )
"""
_WINNERS = """
    create temp table winners as
    with compared as (
        select
            any_value(ranked.copies) as copies,
            min(struct_pack(
                occurred_us := contested.occurred_us, source_order := contested.source_order,
                arrival := coalesce(contested.received_us, 9223372036854775807),
                customer_ref := contested.customer_ref, meter := contested.meter,
                source := contested.source, value := contested.value,
                received_us := contested.received_us
            )) as first
        from kept.contested as contested
        inner join ranked using (id_hash, id_check)
        where ranked.differ
        group by id_hash, id_check
    ),
    firsts as (
        select
            ranked.copies, contested.customer_ref, contested.meter, contested.source,
            contested.value, contested.occurred_us, contested.received_us
        from kept.contested as contested
        inner join ranked on contested.rowid = ranked.first_copy
        where not ranked.differ
        union all
        select
            copies, first.customer_ref, first.meter, first.source, first.value, first.occurred_us,
            first.received_us
        from compared
    ),
    dated as (
        select *, occurred_us // getvariable('day_us') as day from firsts
    )
    select
        dated.*,
        coalesce(
            list_max(list_filter(cut_days.cuts, lambda cut: cut <= dated.occurred_us)),
            dated.day * getvariable('day_us')
        ) as window_start_us
    from dated
    left join cut_days on dated.customer_ref = cut_days.customer_ref and dated.day = cut_days.day
    {due_winners}
"""
_DUE_WINNERS = """
    semi join affected on dated.customer_ref = affected.customer_ref and dated.day = affected.day
"""
_WINNERS_INVOICES = """
    create temp table finalized_windows as
    select
        windows.customer_ref, windows.meter, windows.window_start_us,
        max(finalizations.finalized_us) as finalized_us
    from (
        select distinct customer_ref, meter, window_start_us
        from winners
        where received_us is not null
    ) as windows
    left join meter_names on windows.meter = meter_names.meter
    inner join finalizations_now as finalizations
        on windows.customer_ref = finalizations.customer_ref
        and coalesce(meter_names.stripe_event_name, windows.meter)
        = finalizations.stripe_event_name
        and windows.window_start_us >= finalizations.period_start_us
        and windows.window_start_us < finalizations.period_end_us
    group by windows.customer_ref, windows.meter, windows.window_start_us
    having bool_and(finalizations.finalized_us is not null)
"""
_FORGET = "delete from kept.finals where (customer_ref, day) in (from affected)"
_FINALS = """
    insert into kept.finals
    select
        customer_ref, meter, source, day, window_start_us,
        cast(sum(event_count) as bigint), sum(quantity_sum), max(latest),
        min(first_us), max(received_us), cast(sum(duplicate_events) as bigint),
        cast(sum(late_count) as bigint), sum(late_sum),
        cast(sum(skewed_events) as bigint)
    from (
        select * exclude (file_id) from kept.partials {due_partials}
        union all
        select
            winners.customer_ref, winners.meter, source, day, winners.window_start_us, 1, value,
            struct_pack(occurred_us := occurred_us, value := value),
            occurred_us, received_us, copies,
            if(received_us >= finalized_us, 1, 0), if(received_us >= finalized_us, value, 0),
            if(received_us < occurred_us - getvariable('skew_us'), 1, 0)
        from winners
        left join finalized_windows
            on winners.customer_ref = finalized_windows.customer_ref
            and winners.meter = finalized_windows.meter
            and winners.window_start_us = finalized_windows.window_start_us
    ) as sums
    group by customer_ref, meter, source, day, window_start_us
"""


def find_changes(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Compare cuts and customers with those of the last scan.

    Returns:
        Files with events on days that are cut otherwise now.
    """
    connection.execute(_MOVED_CUTS)
    connection.execute(_CHANGED_CUSTOMERS)
    return [file_id for (file_id,) in connection.execute(_FILES_CUT_ANEW).fetchall()]


def note_affected_before(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `affected` with what changed besides files, and what is in files that go."""
    connection.execute("create temp table previous_customers as from kept.customers")
    connection.execute(_AFFECTED_BEFORE)
    connection.execute(_OF_FILES)


def note_affected_after(connection: duckdb.DuckDBPyConnection) -> None:
    """Add what is in files that came."""
    connection.execute(_OF_FILES)
    connection.execute("create or replace temp table affected as select distinct * from affected")


def add_up(connection: duckdb.DuckDBPyConnection, *, everything: bool) -> None:
    """Compute the final sums anew.

    Args:
        connection: With `affected`.
        everything: Of all days, not of those in `affected` alone.
    """
    due = {
        "due_ids": _DUE_IDS,
        "due_winners": _DUE_WINNERS,
        "due_partials": "semi join affected using (customer_ref, day)",
    }
    if everything:
        due = dict.fromkeys(due, "")
    else:
        connection.execute(_FORGET)
    for statement in (_RANKED, _WINNERS, _WINNERS_INVOICES, _FINALS):
        connection.execute(statement.format_map(due))
