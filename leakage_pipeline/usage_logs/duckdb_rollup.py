"""Rolls staged events up with DuckDB into the state of `scan_state`: files to sums, sums to days.

An event whose id occurs once lies in `partials`, the sums of its file. One whose id may occur again
(its hash does) is kept in full in `contested`, and only there are events compared by id. So a file
can come, change or go without the others being read, unless it repeats an id of theirs.
"""

import duckdb
import numpy as np
import pyarrow as pa

from leakage_pipeline.usage_logs.meaning import HASHES_AT_A_TIME

_IDS = """
    insert into kept.ids
    select file_id, hash(event_id) from fresh_events where not is_blank(event_id)
"""
# A table of their own, so that the planner knows that they are few and history many.
_FRESH = "create table fresh_ids as select id_hash from kept.ids where file_id >= $first"
_MATCHED = """
    insert into matched
    select file_id, id_hash
    from kept.ids
    where file_id < $first and id_hash in (select id_hash from fresh_ids)
"""
# In a step of its own: asked both at once, DuckDB takes a short history for the smaller side.
_MATCHED_IN_CHANGED = "delete from matched where file_id not in (from unchanged_files)"
# Half a hash sorts twice as fast, and is nearly always enough to tell that an id is alone.
_NEW_HALVES = """
    select cast(id_hash >> 32 as uinteger) as half
    from kept.ids
    where file_id >= $first and (id_hash & cast($mask as ubigint)) = cast($slice as ubigint)
"""
_REPEATED = """
    insert into repeated
    select id_hash
    from kept.ids
    where file_id >= $first and cast(id_hash >> 32 as uinteger) in (select half from doubtful)
    group by id_hash
    having count(*) > 1
"""
# Rows that cannot be counted have ids too; `barren` keeps their files from being read for nothing.
_REPEATING_FILES = """
    select distinct file_id
    from matched
    anti join (
        select file_id, id_hash from kept.contested
        union all
        select file_id, id_hash from kept.barren
    ) as known using (file_id, id_hash)
"""
_CONTESTED_HASHES = """
    create temp table contested_hashes as
    select id_hash from repeated
    union
    select id_hash from kept.contested where file_id in (select file_id from read_again)
"""
_WHOLE_FILES = """
    create or replace temp table whole_files as select file_id from staged_files where whole
"""
_BARREN = """
    insert into kept.barren
    select distinct file_id, id_hash
    from kept.ids
    anti join kept.contested using (file_id, id_hash)
    where
        file_id in (from whole_files)
        and id_hash in (select id_hash from contested_hashes)
"""
_UNCOUNTED = """
    select
        (select count(*) from kept.ids where file_id in (from whole_files))
        - (select coalesce(sum(event_count), 0) from kept.partials
            where file_id in (from whole_files))
        - (select count(*) from kept.contested where file_id in (from whole_files))
"""
_PLACED = """
    create view placed as
    select
        events.*,
        case
            when cut_days.cuts is null
                then events.occurred_us // getvariable('day_us') * getvariable('day_us')
            else coalesce(
                list_max(list_filter(cut_days.cuts, lambda cut: cut <= events.occurred_us)),
                events.occurred_us // getvariable('day_us') * getvariable('day_us')
            )
        end as window_start_us
    from staged_events as events
    left join cut_days
        on cut_days.customer_ref = events.customer_ref
        and cut_days.day = events.occurred_us // getvariable('day_us')
"""
# One scan for both: an event that must be compared in full is a group of its own.
_GROUPED = """
    create temp table grouped as
    select
        file_id,
        source_order,
        customer_ref,
        meter,
        source,
        window_start_us,
        contested_row,
        count(*) as event_count,
        cast(sum(value) as decimal(38, 12)) as quantity_sum,
        max(struct_pack(occurred_us := occurred_us, event_id := event_id, value := value))
            as latest,
        min(occurred_us) as first_us,
        max(received_us) as received_us,
        count(*) filter (received_us < occurred_us - getvariable('skew_us')) as skewed_events
    from (
        select
            *,
            case
                when hash(event_id) in (select id_hash from contested_hashes) then row_id
            end as contested_row
        from placed
        where whole
    ) as events
    group by
        file_id, source_order, customer_ref, meter, source, window_start_us, contested_row
"""
_CONTESTED = """
    insert into kept.contested
    select
        file_id, hash(latest.event_id), latest.event_id, customer_ref, meter, source,
        latest.value, latest.occurred_us, received_us, source_order
    from grouped
    where contested_row is not null
"""
_PARTIALS = """
    insert into kept.partials
    select
        file_id, customer_ref, meter, source, window_start_us // getvariable('day_us'),
        window_start_us, event_count, quantity_sum, latest, first_us, received_us, 0, 0, 0,
        skewed_events
    from grouped
    where contested_row is null
"""
_HALVES_PER_BATCH = 1_000_000


def hash_ids(connection: duckdb.DuckDBPyConnection) -> None:
    """Add the ids of the files that are new; they count only once their files are in the state."""
    connection.execute(_IDS)


def find_repeats(connection: duckdb.DuckDBPyConnection, first: int) -> list[int]:
    """Find the ids that occur more than once, now that those of new files are there.

    At most `HASHES_AT_A_TIME` new ids are in memory at once, whatever the length of the log.

    Args:
        connection: With `unchanged_files`; gets the tables matched and repeated.
        first: The number of the first new file.

    Returns:
        Files, not new, that hold an id which was theirs alone until now.
    """
    ((count,),) = connection.execute(
        "select count(*) from kept.ids where file_id >= $1", [first]
    ).fetchall()
    connection.execute("create table matched (file_id integer, id_hash ubigint)")
    if count and connection.table("unchanged_files").shape[0]:
        connection.execute(_FRESH, {"first": first})
        connection.execute(_MATCHED, {"first": first})
        connection.execute(_MATCHED_IN_CHANGED)
        connection.execute("drop table fresh_ids")
    connection.execute("create table repeated as select distinct id_hash from matched")
    connection.execute("create table doubtful (half uinteger)")
    slices = 1 << (int(count) // HASHES_AT_A_TIME).bit_length()
    for number in range(slices):
        values = {"first": first, "mask": slices - 1, "slice": number}
        found = connection.sql(_NEW_HALVES, params=values).to_arrow_reader(_HALVES_PER_BATCH)
        halves = np.concatenate([np.empty(0, np.uint32), *(batch[0] for batch in found)])
        halves.sort()  # faster than any hash table
        twice = halves[1:][halves[1:] == halves[:-1]]
        connection.from_arrow(pa.table({"half": twice})).insert_into("doubtful")
    connection.execute(_REPEATED, {"first": first})
    return [file_id for (file_id,) in connection.execute(_REPEATING_FILES).fetchall()]


def create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Put every staged event into its window."""
    connection.execute(_PLACED)


def keep_contested_hashes(connection: duckdb.DuckDBPyConnection) -> None:
    """Note which ids are compared in full; call before the files read again are taken out."""
    connection.execute(_CONTESTED_HASHES)


def add_sums(connection: duckdb.DuckDBPyConnection) -> None:
    """Add the staged files' events to the state: sums, and those that must be compared in full."""
    for statement in (_GROUPED, _CONTESTED, _PARTIALS, "drop table grouped", _WHOLE_FILES):
        connection.execute(statement)
    ((uncounted,),) = connection.execute(_UNCOUNTED).fetchall()
    if uncounted:
        connection.execute(_BARREN)
