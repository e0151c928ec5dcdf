"""Writes the result of a scan into the warehouse: everything, or the customers and days that moved.

One transaction, with a token that ties the warehouse to the state of the scan. When they do not
know each other, as after a restored backup or the audit of a past day, everything is written.
"""

from dataclasses import dataclass

import duckdb
import psycopg2.extensions
import pyarrow as pa
from psycopg2 import sql
from psycopg2.extras import execute_values

from leakage_pipeline.usage_logs import arrivals, windows
from leakage_pipeline.usage_logs.rejects import Rejects
from leakage_pipeline.usage_logs.tables import (
    LATE_ARRIVALS,
    LOG_COVERAGE,
    UNATTRIBUTED_USAGE,
    USAGE_WINDOWS,
)
from leakage_pipeline.warehouse import load, ops

_HELD = """
    select
        scan.token,
        scan.windows = (select count(*) from raw_usage.usage_windows)
        and scan.strays = (select count(*) from raw_usage.unattributed_usage)
    from ops.usage_scan as scan
"""
_NOTE_HELD = """
    insert into ops.usage_scan (token, windows, strays, as_of)
    values (
        %(token)s,
        (select count(*) from raw_usage.usage_windows),
        (select count(*) from raw_usage.unattributed_usage),
        %(as_of)s
    )
    on conflict (singleton) do update set
        token = excluded.token, windows = excluded.windows,
        strays = excluded.strays, as_of = excluded.as_of
    returning windows, strays
"""
_FILES = """
    select
        files.source, files.path, files.form, files.stamp,
        coalesce(counted.events, 0), coalesce(bad.rows, 0), make_timestamptz(files.as_of_us)
    from kept.files as files
    left join (
        select file_id, cast(sum(events) as bigint) as events
        from (
            select file_id, sum(event_count) as events from kept.partials group by file_id
            union all
            select file_id, count(*) from kept.contested group by file_id
        ) as sums
        group by file_id
    ) as counted on files.file_id = counted.file_id
    left join (
        select file_id, cast(sum(rows) as bigint) as rows from kept.rejects group by file_id
    ) as bad on files.file_id = bad.file_id
    where files.form <> 'sql'
"""

_ALL_WRITTEN = "insert into ops.usage_written values ('') on conflict do nothing"
_SOME_WRITTEN = """
    insert into ops.usage_written
    select distinct name from due_customers
    on conflict do nothing
"""


@dataclass(frozen=True)
class Held:
    """What the warehouse says it holds: the token of a scan; null when it was changed since."""

    token: str | None


def held(conn: psycopg2.extensions.connection) -> Held:
    """The scan whose result is in the warehouse."""
    with conn.cursor() as cursor:
        cursor.execute(_HELD)
        rows = cursor.fetchall()
    return Held(rows[0][0] if rows and rows[0][1] else None)


def publish(
    connection: duckdb.DuckDBPyConnection,
    conn: psycopg2.extensions.connection,
    bad: Rejects,
    token: str,
    *,
    whole: bool,
    files_changed: bool,
) -> dict[str, int]:
    """Write the result of a scan, in one transaction.

    Args:
        connection: After `windows.attribute`.
        conn: The warehouse.
        bad: Rejected rows to note; they say as of when, too.
        token: What ties this state and the warehouse.
        whole: Replace all rows; else those of the customers and days that are due.
        files_changed: The list of files is another.

    Returns:
        Rows in each table; of late_arrivals, rows noted.
    """
    as_of = bad.as_of
    try:
        if not whole:
            _copy_due(conn, "due_customers", windows.due_customers(connection))
            _copy_due(conn, "due_names", windows.due_names(connection))
        note_written(conn, whole=whole)
        arrivals.remember_previous(conn, as_of, whole=whole)
        _write_windows(connection, conn, whole=whole)
        rows = {
            LOG_COVERAGE.name: load.replace(
                conn, LOG_COVERAGE, windows.log_coverage(connection), commit=False
            ),
            LATE_ARRIVALS.name: arrivals.note_arrivals(conn, as_of, whole=whole),
        }
        ops.record_rejected(conn, bad.rows, commit=False)
        if whole or files_changed:
            _note_files(connection, conn)
        with conn.cursor() as cursor:
            cursor.execute(_NOTE_HELD, {"token": token, "as_of": as_of})
            ((found, strays),) = cursor.fetchall()
        conn.commit()
    except BaseException:
        conn.rollback()
        raise
    return {**rows, USAGE_WINDOWS.name: found, UNATTRIBUTED_USAGE.name: strays}


def note_written(conn: psycopg2.extensions.connection, *, whole: bool) -> None:
    """Tell the nights whose usage this transaction writes: all, or that of due_customers."""
    with conn.cursor() as cursor:
        cursor.execute(_ALL_WRITTEN if whole else _SOME_WRITTEN)


def _write_windows(
    connection: duckdb.DuckDBPyConnection, conn: psycopg2.extensions.connection, *, whole: bool
) -> None:
    for spec, rows_of, due, name in (
        (USAGE_WINDOWS, windows.usage_windows, "due_customers", "customer_id"),
        (UNATTRIBUTED_USAGE, windows.unattributed_usage, "due_names", "customer_ref"),
    ):
        if whole:
            load.replace(conn, spec, rows_of(connection), commit=False)
        else:
            part = arrivals.scope(due, name)
            load.replace_part(conn, spec, rows_of(connection), part, commit=False)


def _copy_due(conn: psycopg2.extensions.connection, table: str, due: pa.Table) -> None:
    pairs = list(zip(due["name"].to_pylist(), due["day"].to_pylist(), strict=True))
    name = sql.Identifier(table)
    with conn.cursor() as cursor:
        cursor.execute(
            sql.SQL("create temporary table {} (name text, day timestamptz) on commit drop").format(
                name
            )
        )
        if pairs:
            insert = sql.SQL("insert into {} values %s").format(name)
            execute_values(cursor, insert, pairs, page_size=10_000)
        cursor.execute(sql.SQL("analyze {}").format(name))


def _note_files(
    connection: duckdb.DuckDBPyConnection, conn: psycopg2.extensions.connection
) -> None:
    rows = connection.execute(_FILES).fetchall()
    with conn.cursor() as cursor:
        cursor.execute("delete from ops.usage_files")
        if rows:
            statement = "insert into ops.usage_files values %s"
            execute_values(cursor, statement, rows, page_size=10_000)
