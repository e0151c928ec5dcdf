"""Brings the state of `scan_state` up to the log as it is now, reading as few files as will do.

Read are files that are new or changed, files that repeat an id of those, files with a day that
billing cuts otherwise now, and files with a window whose invoice was finalised since and may have
late usage. All of it is worked out before the state is touched; then one transaction changes it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
from duckdb import (
    ColumnExpression,
    ConstantExpression,
    Expression,
    FunctionExpression,
    SQLExpression,
)

from leakage_pipeline.settings import Settings
from leakage_pipeline.usage_logs import (
    duckdb_rollup,
    finals,
    lateness,
    rejects,
    scan_state,
    sources,
    staging,
)
from leakage_pipeline.usage_logs.meaning import BY_AUDIT, microseconds
from leakage_pipeline.usage_logs.parsing import EVENT_COLUMNS
from leakage_pipeline.usage_logs.sources import LogFile

_NEW, _AGAIN, _LATE = range(3)
_NO_EVENTS = pa.schema(
    [
        *((name, pa.string()) for name in ("event_id", "customer_ref", "meter", "source")),
        ("value", pa.int64()),
        ("occurred_us", pa.int64()),
        ("received_us", pa.int64()),
        ("file", pa.string()),
        ("sound", pa.bool_()),
        ("position", pa.int64()),
        ("place", pa.int64()),
    ]
)


@dataclass
class Plan:
    """What a scan reads and drops.

    Attributes:
        new: Files that are new or changed, by their new number.
        again: Known files that are read as a whole once more.
        late: Known files that are read for late usage alone.
        dropped: Numbers of files that are gone or have changed.
        unchanged: The known files that stay, by number.
        columns: Per source, the columns of unchanged Parquet files.
    """

    new: dict[int, LogFile] = field(default_factory=dict)
    again: dict[int, LogFile] = field(default_factory=dict)
    late: dict[int, LogFile] = field(default_factory=dict)
    dropped: list[int] = field(default_factory=list)
    unchanged: dict[int, LogFile] = field(default_factory=dict)
    columns: dict[int, list[str]] = field(default_factory=dict)

    @property
    def is_first(self) -> bool:
        """Nothing was known before, so that everything is summed."""
        return not self.unchanged and not self.dropped


def forget_days(connection: duckdb.DuckDBPyConnection, days: Iterable[date]) -> None:
    """Have the files that hold events of these UTC days read anew."""
    connection.execute(
        """
        update kept.files set stamp = ''
        where file_id in (
            select file_id from kept.partials
            where list_contains($days, date '1970-01-01' + cast(day as integer))
            union
            select file_id from kept.contested
            where list_contains($days, cast(make_timestamp(occurred_us) as date))
        )
        """,
        {"days": list(days)},
    )


def scan(
    connection: duckdb.DuckDBPyConnection, settings: Settings, as_of: datetime, token: str
) -> Plan:
    """Make the state that of the log as it is now.

    Args:
        connection: DuckDB with the state, the tables of `references` and `parsing.prepare`.
        settings: The sources.
        as_of: Now; not before that of the state.
        token: What the warehouse will know this state by.

    Returns:
        What was read; the temporary table `affected` says for which customers and days, unless it
        is the first scan.

    Raises:
        ConfigurationError: A source cannot be found or read, or lacks a column.
        TransientFailure: A source database does not answer.
    """
    plan = _compare(connection, sources.find(connection, settings), microseconds(as_of))
    parts = sources.stage(connection, settings, list(plan.new.values()), _NEW, plan.columns)
    _table(connection, "unchanged_files", plan.unchanged)
    _table_of_staged(connection, plan)
    connection.from_arrow(_NO_EVENTS.empty_table()).create("no_events")
    _union(connection, parts, "fresh_events", ("event_id",), plan)
    first = min(plan.new, default=_next_number(connection))
    # Ids without a file are leftovers of a scan that was cut short.
    connection.execute("delete from kept.ids where file_id >= $1", [first])
    duckdb_rollup.hash_ids(connection)
    again = duckdb_rollup.find_repeats(connection, first) + finals.find_changes(connection)
    plan.again = {number: plan.unchanged[number] for number in again if number in plan.unchanged}
    late = lateness.find_changes(connection)
    plan.late = {
        number: plan.unchanged[number]
        for number in late
        if number in plan.unchanged and number not in plan.again
    }
    for batch, wanted in ((_AGAIN, plan.again), (_LATE, plan.late)):
        parts += sources.stage(connection, settings, list(wanted.values()), batch, plan.columns)
    _table_of_staged(connection, plan)
    again_parts = [part for part in parts if part.batch == _AGAIN]
    _union(connection, again_parts, "again_events", ("event_id",), plan)
    duckdb_rollup.hash_ids_again(connection)
    _union(connection, parts, "staged_events", EVENT_COLUMNS, plan)
    duckdb_rollup.create_views(connection)
    connection.begin()
    try:
        _apply(connection, plan, parts, settings.base_dir, as_of)
        scan_state.set_scanned(connection, microseconds(as_of), token)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return plan


def _compare(connection: duckdb.DuckDBPyConnection, found: Sequence[LogFile], as_of: int) -> Plan:
    """Tell new, changed and dropped files from those that stay."""
    rows = connection.execute(
        """
        select
            file_id, source_order, path, form, stamp, columns,
            as_of_us <> $as_of and file_id in (
                select file_id from kept.rejects where list_contains($later, reason)
            ) as has_more
        from kept.files
        """,
        {"as_of": as_of, "later": sorted(BY_AUDIT)},
    ).fetchall()
    known = {(order, path, form): rest for rest in rows for order, path, form in [rest[1:4]]}
    plan = Plan()
    number = _next_number(connection)
    for file in found:
        row = known.pop((file.order, file.path, file.form), None)
        if row is not None and file.stamp and row[4] == file.stamp and not row[6]:
            plan.unchanged[row[0]] = file
            plan.columns.setdefault(file.order, []).extend(row[5] or ())
            continue
        if row is not None:
            plan.dropped.append(row[0])
        plan.new[number] = file
        number += 1
    plan.dropped += [row[0] for row in known.values()]
    plan.columns = {order: list(dict.fromkeys(names)) for order, names in plan.columns.items()}
    return plan


def _next_number(connection: duckdb.DuckDBPyConnection) -> int:
    ((number,),) = connection.execute(
        "select coalesce(max(file_id), 0) + 1 from kept.files"
    ).fetchall()
    return int(number)


def _apply(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    parts: Sequence[staging.Part],
    base: Path,
    as_of: datetime,
) -> None:
    """Change the state; nothing but the state and temporary tables is written here."""
    gone = [*plan.dropped, *plan.again]
    _temporary(connection, "read_again", list(plan.again))
    _temporary(connection, "touched_files", gone)
    duckdb_rollup.keep_contested_hashes(connection)
    finals.note_affected_before(connection)
    for table in ("partials", "contested", "barren"):
        _delete(connection, table, gone)
    for table in ("ids", "files", "rejects", "reject_samples"):
        _delete(connection, table, plan.dropped)
    _add_files(connection, plan, parts, microseconds(as_of))
    # Sums come out of many threads; to put them in order would keep all but one waiting.
    connection.execute("set preserve_insertion_order = false")
    duckdb_rollup.add_sums(connection)
    lateness.judge(connection)
    if not plan.is_first:
        _temporary(connection, "touched_files", [*plan.new, *plan.again, *plan.late])
        finals.note_affected_after(connection)
    finals.add_up(connection, everything=plan.is_first)
    connection.execute("reset preserve_insertion_order")
    numbers = {(file.order, file.path): number for number, file in plan.new.items()}
    rejects.collect(connection, [part for part in parts if part.batch == _NEW], numbers, base)
    _keep_references(connection)


def _keep_references(connection: duckdb.DuckDBPyConnection) -> None:
    for kept, now in (
        ("customers", "customers"),
        ("cut_days", "cut_days"),
        ("finalizations", "finalizations_now"),
    ):
        connection.execute(f"truncate kept.{kept}")
        connection.execute(f"insert into kept.{kept} by name from {now}")


def _add_files(
    connection: duckdb.DuckDBPyConnection, plan: Plan, parts: Sequence[staging.Part], as_of_us: int
) -> None:
    names = {(part.order, part.form): part.columns for part in parts if part.batch == _NEW}
    sources_of = {part.order: part.source for part in parts}
    rows = [
        {
            "file_id": number,
            "source": sources_of.get(file.order, ""),
            "source_order": file.order,
            "path": file.path,
            "stamp": file.stamp,
            "form": file.form,
            "as_of_us": as_of_us,
            "columns": list(names.get((file.order, file.form), ())),
        }
        for number, file in plan.new.items()
    ]
    if rows:
        schema = pa.schema(
            [
                ("file_id", pa.int32()),
                ("source", pa.string()),
                ("source_order", pa.int32()),
                ("path", pa.string()),
                ("stamp", pa.string()),
                ("form", pa.string()),
                ("as_of_us", pa.int64()),
                ("columns", pa.list_(pa.string())),
            ]
        )
        new_files = pa.Table.from_pylist(rows, schema=schema)
        connection.register("new_files", new_files)
        connection.execute("insert into kept.files by name from new_files")


def _delete(connection: duckdb.DuckDBPyConnection, table: str, numbers: Sequence[int]) -> None:
    if numbers:
        connection.execute(
            f"delete from kept.{table} where list_contains($1, file_id)",  # noqa: S608 - our names
            [list(numbers)],
        )


def _temporary(connection: duckdb.DuckDBPyConnection, name: str, numbers: Sequence[int]) -> None:
    connection.execute(
        f"create or replace temp table {name} as select unnest(cast($1 as integer[])) as file_id",
        [list(numbers)],
    )


def _table(connection: duckdb.DuckDBPyConnection, name: str, numbers: Iterable[int]) -> None:
    table = pa.table({"file_id": pa.array(list(numbers), pa.int32())})
    connection.from_arrow(table).create(name)


def _table_of_staged(connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Which file is which number; `whole` says that its sums are made anew."""
    staged = [
        (number, file.order, file.path, batch != _LATE, batch == _NEW)
        for batch, wanted in ((_NEW, plan.new), (_AGAIN, plan.again), (_LATE, plan.late))
        for number, file in wanted.items()
    ]
    schema = pa.schema(
        [
            ("file_id", pa.int32()),
            ("source_order", pa.int32()),
            ("path", pa.string()),
            ("whole", pa.bool_()),
            ("is_new", pa.bool_()),
        ]
    )
    table = pa.Table.from_pylist(
        [dict(zip(schema.names, row, strict=True)) for row in staged], schema
    )
    connection.execute("drop table if exists staged_files")
    connection.from_arrow(table).create("staged_files")


def _union(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[staging.Part],
    name: str,
    columns: Sequence[str],
    plan: Plan,
) -> None:
    """The events of parts, in one view, with the number of their file.

    Of all columns, those that count; of ids alone, all: what else a row says is not read for it.
    """
    union = _selected(connection.table("no_events"), SQLExpression("0"), columns, 0, _NEW)
    for part in parts:
        view = connection.view(part.view)
        if part.form == "parquet":
            rows = _selected(view, _number_of(part, plan), columns, part.order, part.batch)
        else:
            numbers = connection.table("staged_files").filter(
                ColumnExpression("source_order") == ConstantExpression(part.order)
            )
            joined = view.join(numbers.select("path", "file_id"), "file = path")
            number = ColumnExpression("file_id")
            rows = _selected(joined, number, columns, part.order, part.batch)
        # A union with no rows of another type would slow the sums down.
        union = rows if part is parts[0] else union.union(rows)
    union.create_view(name)


def _number_of(part: staging.Part, plan: Plan) -> Expression:
    """The number of a row's file, from the file's place in the scan."""
    by_path = {
        (file.order, file.path): number
        for wanted in (plan.new, plan.again, plan.late)
        for number, file in wanted.items()
    }
    numbers = [by_path[part.order, path] for path in part.paths]
    if numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return SQLExpression(f"cast(file_index as integer) + {numbers[0]:d}")
    return FunctionExpression(
        "list_extract", ConstantExpression(numbers), SQLExpression("cast(file_index as bigint) + 1")
    )


def _selected(
    relation: duckdb.DuckDBPyRelation,
    number: Expression,
    columns: Sequence[str],
    order: int,
    batch: int,
) -> duckdb.DuckDBPyRelation:
    counted = relation
    if len(columns) > 1:
        counted = relation.filter(ColumnExpression("sound"))
    return counted.select(
        *(ColumnExpression(name) for name in columns),
        SQLExpression("coalesce(position, place)").alias("row_id"),
        number.cast("integer").alias("file_id"),
        ConstantExpression(order).alias("source_order"),
        ConstantExpression(batch != _LATE).alias("whole"),
    )
