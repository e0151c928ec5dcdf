"""Bulk-loads Arrow data into a table so that readers see the old rows or the new ones, never half.

COPY in CSV form into a temporary table of the same session, then one statement into the target.
COPY reads numeric, jsonb and timestamptz from text exactly, and one session means one transaction
with whatever the caller does besides: a second (ADBC) session could offer neither.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias
from uuid import uuid4

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import pyarrow as pa
import pyarrow.csv
from psycopg2 import sql

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.warehouse.tables import TableSpec

ArrowData: TypeAlias = pa.Table | pa.RecordBatchReader
_ROWS_PER_CHUNK = 50_000
# The last one is how Postgres says that a merge holds one key twice.
_REFUSALS = (
    psycopg2.DataError,
    psycopg2.IntegrityError,
    psycopg2.errors.CardinalityViolation,
)


def replace(
    conn: psycopg2.extensions.connection,
    spec: TableSpec,
    data: ArrowData,
    *,
    commit: bool = True,
) -> int:
    """Make the table hold exactly `data`.

    Args:
        conn: An open connection; its current transaction is joined.
        spec: The table, which must exist.
        data: All columns of the spec, in any order.
        commit: Commit at the end; False leaves that to the caller, to join several loads.

    Returns:
        Rows loaded.

    Raises:
        PermanentFailure: Postgres refuses the rows, for example a key that occurs twice.
        ValueError: `data` lacks a column or has one of a type that does not fit.
    """
    with _transaction(conn, spec, commit=commit) as cursor:
        # Writers wait for each other; readers go on reading the old rows until the commit.
        cursor.execute(sql.SQL("lock table {} in share row exclusive mode").format(spec.identifier))
        stage, rows = _stage(cursor, spec, data)
        cursor.execute(sql.SQL("delete from {}").format(spec.identifier))
        cursor.execute(_insert(spec, stage))
        _finish(cursor, spec, stage)
    return rows


def merge(
    conn: psycopg2.extensions.connection,
    spec: TableSpec,
    data: ArrowData,
    *,
    commit: bool = True,
) -> int:
    """Insert `data`, or update the rows whose key is there already; other rows stay.

    A row that would not change is not written. Arguments and errors as for `replace`.

    Returns:
        Rows handed in.
    """
    with _transaction(conn, spec, commit=commit) as cursor:
        cursor.execute(sql.SQL("lock table {} in share row exclusive mode").format(spec.identifier))
        stage, rows = _stage(cursor, spec, data)
        cursor.execute(_insert(spec, stage) + _on_conflict(spec))
        _finish(cursor, spec, stage)
    return rows


def patch(
    conn: psycopg2.extensions.connection,
    spec: TableSpec,
    data: ArrowData,
    *,
    owners: Sequence[str],
    belongs: str,
    commit: bool = True,
) -> int:
    """Make `data` all the rows that belong to some owners; the rows of others stay.

    Args:
        conn: An open connection; its current transaction is joined.
        spec: The table, which must exist.
        data: All columns of the spec, in any order.
        owners: Ids of the owners, those that have no rows any more included.
        belongs: SQL condition of our own that tells a row of theirs, with `%(owners)s` for the ids.
        commit: Commit at the end; False leaves that to the caller.

    Returns:
        Rows handed in. Errors as for `replace`.
    """
    with _transaction(conn, spec, commit=commit) as cursor:
        cursor.execute(sql.SQL("lock table {} in share row exclusive mode").format(spec.identifier))
        stage, rows = _stage(cursor, spec, data)
        delete = sql.SQL("delete from {} where {}").format(spec.identifier, sql.SQL(belongs))
        cursor.execute(delete, {"owners": list(owners)})
        changed = cursor.rowcount
        cursor.execute(_insert(spec, stage))
        _finish(cursor, spec, stage, analyze=bool(changed or rows))
    return rows


def replace_part(
    conn: psycopg2.extensions.connection,
    spec: TableSpec,
    data: ArrowData,
    part: sql.Composable,
    *,
    commit: bool = True,
) -> int:
    """Make the part of the table that a condition selects hold exactly `data`.

    A row that would not change is not written. Errors as for `replace`.

    Args:
        conn: An open connection; its current transaction is joined.
        spec: The table, which must exist.
        data: All columns of the spec, in any order; its rows meet the condition.
        part: A condition on the table, which is called `windows` there.
        commit: Commit at the end.

    Returns:
        Rows handed in.
    """
    with _transaction(conn, spec, commit=commit) as cursor:
        cursor.execute(sql.SQL("lock table {} in share row exclusive mode").format(spec.identifier))
        stage, rows = _stage(cursor, spec, data)
        cursor.execute(sql.SQL("analyze {}").format(stage))
        same = [
            sql.SQL("new_rows.{0} = windows.{0}").format(sql.Identifier(column))
            for column in spec.primary_key
        ]
        cursor.execute(
            sql.SQL(
                "delete from {} as windows where {}"
                " and not exists (select 1 from {} as new_rows where {})"
            ).format(spec.identifier, part, stage, sql.SQL(" and ").join(same))
        )
        cursor.execute(_insert(spec, stage) + _on_conflict(spec))
        cursor.execute(sql.SQL("drop table {}").format(stage))
    return rows


@contextmanager
def _transaction(
    conn: psycopg2.extensions.connection, spec: TableSpec, *, commit: bool
) -> Iterator[psycopg2.extensions.cursor]:
    try:
        with conn.cursor() as cursor:
            yield cursor
        if commit:
            conn.commit()
    except _REFUSALS as error:
        conn.rollback()
        primary = (error.diag.message_primary or str(error)).strip()
        detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
        message = f"{spec.schema}.{spec.name}: the database refuses a row: {primary}{detail}"
        raise PermanentFailure(message) from error
    except BaseException:
        if not conn.closed:
            conn.rollback()
        raise


def _stage(
    cursor: psycopg2.extensions.cursor, spec: TableSpec, data: ArrowData
) -> tuple[sql.Identifier, int]:
    stage = sql.Identifier(f"stage_{uuid4().hex}")
    cursor.execute(
        sql.SQL(
            "create temporary table {} on commit drop as select {} from {} with no data"
        ).format(stage, _columns(spec), spec.identifier)
    )
    source = _CsvStream(spec, data)
    copy = sql.SQL("copy {} from stdin with (format csv, encoding 'utf8')").format(stage)
    try:
        cursor.copy_expert(copy, source)
    except psycopg2.errors.QueryCanceled:
        # psycopg2 reports a failure of the source as a cancelled COPY; the cause is what matters.
        if source.failure is not None:
            raise source.failure from None
        raise
    return stage, source.rows


def _insert(spec: TableSpec, stage: sql.Identifier) -> sql.Composed:
    return sql.SQL("insert into {} ({columns}) select {columns} from {}").format(
        spec.identifier, stage, columns=_columns(spec)
    )


def _on_conflict(spec: TableSpec) -> sql.Composable:
    others = [column for column in spec.columns if column not in spec.primary_key]
    key = sql.SQL(", ").join(map(sql.Identifier, spec.primary_key))
    if not others:
        return sql.SQL(" on conflict ({}) do nothing").format(key)
    assignments = [
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column)) for column in others
    ]
    old = [sql.SQL("{}.{}").format(spec.identifier, sql.Identifier(column)) for column in others]
    new = [sql.SQL("excluded.{}").format(sql.Identifier(column)) for column in others]
    return sql.SQL(
        " on conflict ({}) do update set {} where row({}) is distinct from row({})"
    ).format(
        key,
        sql.SQL(", ").join(assignments),
        sql.SQL(", ").join(old),
        sql.SQL(", ").join(new),
    )


def _finish(
    cursor: psycopg2.extensions.cursor,
    spec: TableSpec,
    stage: sql.Identifier,
    *,
    analyze: bool = True,
) -> None:
    cursor.execute(sql.SQL("drop table {}").format(stage))
    if analyze:
        # The planner of the dbt models that follow must not believe yesterday's row counts.
        cursor.execute(sql.SQL("analyze {}").format(spec.identifier))


def _columns(spec: TableSpec) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, spec.columns))


class _CsvStream(io.RawIOBase):
    """Arrow data as a readable stream of CSV: nulls are empty, every string is quoted."""

    def __init__(self, spec: TableSpec, data: ArrowData) -> None:
        self.rows = 0
        self.failure: Exception | None = None
        self._spec = spec
        self._chunks = self._encode(data)
        self._buffer = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; nothing at the end."""
        while not self._buffer:
            try:
                chunk = next(self._chunks, None)
            except Exception as error:
                self.failure = error
                raise
            if chunk is None:
                return b""
            self._buffer = memoryview(chunk)
        end = len(self._buffer) if size < 0 else size
        part, self._buffer = self._buffer[:end], self._buffer[end:]
        return bytes(part)

    def _encode(self, data: ArrowData) -> Iterator[bytes]:
        options = pa.csv.WriteOptions(include_header=False, quoting_style="needed")
        for batch in _batches(data):
            table = _conform(self._spec, batch)
            self.rows += table.num_rows
            sink = pa.BufferOutputStream()
            pa.csv.write_csv(table, sink, options)
            yield sink.getvalue().to_pybytes()


def _batches(data: ArrowData) -> Iterator[pa.RecordBatch]:
    if isinstance(data, pa.Table):
        yield from data.to_batches(max_chunksize=_ROWS_PER_CHUNK)
        if data.num_rows == 0 and len(data.schema):
            yield pa.RecordBatch.from_pylist([], schema=data.schema)
        return
    for batch in data:
        for start in range(0, batch.num_rows, _ROWS_PER_CHUNK):
            yield batch.slice(start, _ROWS_PER_CHUNK)


def _conform(spec: TableSpec, batch: pa.RecordBatch) -> pa.Table:
    given, wanted = set(batch.schema.names), set(spec.columns)
    if given != wanted:
        message = (
            f"{spec.schema}.{spec.name}: columns missing: {sorted(wanted - given)}, "
            f"not known: {sorted(given - wanted)}"
        )
        raise ValueError(message)
    table = pa.Table.from_batches([batch]).select(list(spec.columns))
    nullable = pa.schema([pa.field(item.name, item.type) for item in spec.arrow_schema])
    try:
        return table.cast(nullable)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        message = f"{spec.schema}.{spec.name}: {error}"
        raise ValueError(message) from error
