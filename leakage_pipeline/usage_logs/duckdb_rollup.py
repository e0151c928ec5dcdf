"""Rolls staged events up with DuckDB into the state of `scan_state`: files to sums, sums to days.

An event whose id occurs once lies in `partials`, the sums of its file. One whose id may occur again
(its hash does) is kept by itself in `contested`, and only there are events compared. So a file can
come, change or go without the others being read, unless it repeats an id of theirs.

Ids cost as much to read as all other columns together, and are read once: what they say of a row is
two hashes with its place. The scan that sums knows by the place which rows stand by themselves.
"""

from concurrent.futures import ThreadPoolExecutor

import duckdb
import numpy as np
import pyarrow as pa

from leakage_pipeline.usage_logs.meaning import HASHES_AT_A_TIME
from leakage_pipeline.usage_logs.pushdown import SEGMENTS

# A row's place: the number of its file, then that of the row, of which a file may have 2^36. Not
# temporary, since ids are written through a cursor, which sees no temporary macro.
_MACROS = """
    create macro place_of(file_id, row_id) as (cast(file_id as bigint) << 36) + row_id;
    create macro file_of(place) as cast(place >> 36 as integer)
"""
# Two hashes of another alignment: together 128 bits, so that an id need not be kept to be compared.
# The first branch spares nearly all rows the costly question for a blank id, whose hash is null.
_IDS = """
    create table {ids} as
    select
        place_of(file_id, row_id) as place,
        case when event_id >= '!' or not is_blank(event_id) then hash(event_id) end as id_hash,
        hash('.' || event_id) as id_check
    from {events}
"""
_KEEP_IDS = """
    insert into kept.ids select file_of(place), id_hash from fresh_ids where id_hash is not null
"""
_MATCHED = """
    insert into matched
    select file_id, id_hash
    from kept.ids
    where file_id < $first and id_hash in (select id_hash from fresh_ids)
"""
# In a step of its own: asked both at once, DuckDB takes a short history for the smaller side.
_MATCHED_IN_CHANGED = "delete from matched where file_id not in (from unchanged_files)"
# Half a hash sorts twice as fast, and is nearly always enough to tell that an id is alone.
_HALVES = """
    select cast(id_hash >> 32 as uinteger) as half
    from fresh_ids
    where id_hash is not null and (id_hash & cast($mask as ubigint)) = cast($slice as ubigint)
"""
_DOUBTFUL = "insert into doubtful select cast(id_hash >> 32 as uinteger) from matched"
_CANDIDATES = """
    create temp table candidates as
    select *
    from fresh_ids
    where id_hash is null or cast(id_hash >> 32 as uinteger) in (select half from doubtful)
"""
_REPEATED = """
    insert into repeated
    select id_hash
    from candidates
    where id_hash is not null
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
# Rows that no sum of a file may hold, with the place of each: contested ones, and those without id.
_SPECIAL_ROWS = """
    create temp table special_rows as
    select *
    from (from candidates union all from again_ids) as ids
    where id_hash is null or id_hash in (select id_hash from contested_hashes)
"""
# A bit for each row, in blocks of rows of one file: looked up faster than an id.
_SPECIAL_BLOCKS = """
    create temp table special_blocks as
    select
        place >> 11 as block,
        bitstring_agg(cast(place & 2047 as integer), 0, 2047) as bits
    from special_rows
    group by block
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
# A join that carries the lists of cuts would cost more. What is in no segment begins with its day.
_SEGMENTS = """
    create table segments as
    select * from ({segments}) where from_us <> day * getvariable('day_us')
"""
_PLACED = """
    select
        events.*,
        coalesce(
            segments.from_us, events.occurred_us // getvariable('day_us') * getvariable('day_us')
        ) as window_start_us
    from {events} as events
    left join segments
        on segments.customer_ref = events.customer_ref
        and segments.day = events.occurred_us // getvariable('day_us')
        and events.occurred_us >= segments.from_us
        and events.occurred_us < segments.until_us
"""
# Whole values and their instants make one number, which costs a third of comparing two.
_LATEST = {
    "packed": "max((cast(occurred_us as hugeint) << 64) + value)",
    "pair": "max(struct_pack(occurred_us := occurred_us, value := value))",
}
_UNPACKED = {
    "packed": """
        struct_pack(
            occurred_us := cast(latest >> 64 as bigint),
            value := cast(latest & 18446744073709551615 as decimal(38, 12))
        )
    """,
    "pair": "latest",
}
# Ids, which cost most, are not read for it.
_MARKED = """
    select
        events.* exclude (event_id),
        case
            when get_bit(blocks.bits, cast(events.place & 2047 as integer)) = 1
                then events.place
        end as special_place
    from (
        select *, place_of(file_id, row_id) as place from staged_events
    ) as events
    left join special_blocks as blocks on events.place >> 11 = blocks.block
    where events.whole
"""
# One scan for both: a special row is a group of its own.
_GROUPED = """
    create temp table grouped as
    select
        file_id,
        source_order,
        customer_ref,
        meter,
        source,
        window_start_us,
        special_place,
        count(*) as event_count,
        cast(sum(value) as decimal(38, 12)) as quantity_sum,
        {latest} as latest,
        min(occurred_us) as first_us,
        max(received_us) as received_us,
        count(*) filter (received_us < occurred_us - getvariable('skew_us')) as skewed_events
    from ({placed}) as placed
    group by file_id, source_order, customer_ref, meter, source, window_start_us, special_place
"""
_CONTESTED = """
    insert into kept.contested
    select
        grouped.file_id, special_rows.id_hash, special_rows.id_check, grouped.customer_ref,
        grouped.meter, grouped.source, grouped.quantity_sum, grouped.first_us, grouped.received_us,
        grouped.source_order
    from grouped
    inner join special_rows on grouped.special_place = special_rows.place
    where special_rows.id_hash is not null
"""
_PARTIALS = """
    insert into kept.partials
    select
        file_id, customer_ref, meter, source, window_start_us // getvariable('day_us'),
        window_start_us, event_count, quantity_sum, {unpacked}, first_us, received_us, 0, 0, 0,
        skewed_events
    from grouped
    where special_place is null
"""


def hash_ids(connection: duckdb.DuckDBPyConnection) -> None:
    """Hash the ids of the files that are new."""
    connection.execute(_MACROS)
    connection.execute(_IDS.format(ids="fresh_ids", events="fresh_events"))


def hash_ids_again(connection: duckdb.DuckDBPyConnection) -> None:
    """Hash the ids of known files whose sums are made anew; the state has them already."""
    connection.execute(_IDS.format(ids="again_ids", events="again_events"))


def find_repeats(connection: duckdb.DuckDBPyConnection, first: int) -> list[int]:
    """Find the ids that occur more than once, and keep those of the files that are new.

    They count only once their files are in the state, so they are written while we search. At most
    `HASHES_AT_A_TIME` new ids are in memory at once, whatever the length of the log.

    Args:
        connection: With `unchanged_files`; gets the tables matched, repeated and candidates.
        first: The number of the first new file.

    Returns:
        Files, not new, that hold an id which was theirs alone until now.
    """
    with ThreadPoolExecutor(1) as pool, connection.cursor() as writer:
        written = pool.submit(writer.execute, _KEEP_IDS)
        _search(connection, first)
        written.result()
    connection.execute("drop table fresh_ids")
    return [file_id for (file_id,) in connection.execute(_REPEATING_FILES).fetchall()]


def _search(connection: duckdb.DuckDBPyConnection, first: int) -> None:
    count = connection.table("fresh_ids").shape[0]
    connection.execute("create table matched (file_id integer, id_hash ubigint)")
    if count and connection.table("unchanged_files").shape[0]:
        connection.execute(_MATCHED, {"first": first})
        connection.execute(_MATCHED_IN_CHANGED)
    connection.execute("create table repeated as select distinct id_hash from matched")
    connection.execute("create table doubtful (half uinteger)")
    connection.execute(_DOUBTFUL)
    slices = 1 << (int(count) // HASHES_AT_A_TIME).bit_length()
    for number in range(slices):
        values = {"mask": slices - 1, "slice": number}
        halves = np.asarray(connection.sql(_HALVES, params=values).fetchnumpy()["half"])
        halves.sort()  # faster than any hash table
        twice = halves[1:][halves[1:] == halves[:-1]]
        connection.from_arrow(pa.table({"half": twice})).insert_into("doubtful")
    connection.execute(_CANDIDATES)
    connection.execute(_REPEATED)


def create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Put every staged event into its window."""
    connection.execute(_SEGMENTS.format(segments=SEGMENTS))
    connection.execute("create view placed as " + _PLACED.format(events="staged_events"))


def keep_contested_hashes(connection: duckdb.DuckDBPyConnection) -> None:
    """Note which rows stand by themselves; call before the files read again are taken out."""
    for statement in (_CONTESTED_HASHES, _SPECIAL_ROWS, _SPECIAL_BLOCKS):
        connection.execute(statement)


def add_sums(connection: duckdb.DuckDBPyConnection) -> None:
    """Add the staged files' events to the state: sums, and those that stand by themselves."""
    (kind,) = connection.view("placed").select("value").types
    how = "packed" if str(kind.id) == "bigint" else "pair"
    placed = _PLACED.format(events=f"({_MARKED})")
    grouped = _GROUPED.format(latest=_LATEST[how], placed=placed)
    partials = _PARTIALS.format(unpacked=_UNPACKED[how])
    for statement in (grouped, _CONTESTED, partials, "drop table grouped", _WHOLE_FILES):
        connection.execute(statement)
    ((uncounted,),) = connection.execute(_UNCOUNTED).fetchall()
    if uncounted:
        connection.execute(_BARREN)
