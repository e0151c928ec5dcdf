"""Rolls all usage sources up and loads the result: one call, one transaction.

Events of several sources are brought together in DuckDB, since an event may stand in two of them.
A single SQL source on Postgres is rolled up where it lives instead, in one query, when its columns
have types that need no parsing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import duckdb
import psycopg2.extensions
import sqlalchemy as sa

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.inputs import columns, databases
from leakage_pipeline.inputs.engine import MEMORY_LIMIT, open_duckdb
from leakage_pipeline.settings import FileUsageSource, Settings, SqlUsageSource
from leakage_pipeline.usage_logs import (
    arrivals,
    duckdb_rollup,
    parsing,
    postgres_rollup,
    references,
    rejects,
    staging,
    windows,
)
from leakage_pipeline.usage_logs.meaning import UsageLoadResult, microseconds
from leakage_pipeline.usage_logs.tables import (
    LATE_ARRIVALS,
    LOG_COVERAGE,
    REPLACED,
    TABLES,
    UNATTRIBUTED_USAGE,
    USAGE_WINDOWS,
)
from leakage_pipeline.warehouse import load, ops

_RESULTS = (
    (USAGE_WINDOWS, windows.usage_windows),
    (UNATTRIBUTED_USAGE, windows.unattributed_usage),
    (LOG_COVERAGE, windows.log_coverage),
)


def load_usage(
    settings: Settings,
    conn: psycopg2.extensions.connection,
    as_of: datetime,
    *,
    memory_limit: str = MEMORY_LIMIT,
) -> UsageLoadResult:
    """Roll the usage log up and replace raw_usage.* with the result, in one transaction.

    Safe to repeat: the same log and the same as_of give the same rows.

    Args:
        settings: Sources and meters.
        conn: The warehouse, with the tables of `usage_logs.tables` and `ops`.
        as_of: Now; later events are not counted.
        memory_limit: What DuckDB may keep in memory.

    Raises:
        ConfigurationError: A source cannot be found or read, or lacks a column.
        TransientFailure: A source database does not answer.
        PermanentFailure: The periods have not been computed, or a database refuses.
    """
    if not settings.sources.usage:
        for spec in REPLACED:
            load.replace(conn, spec, spec.empty(), commit=False)
        conn.commit()
        return UsageLoadResult(rows={spec.name: 0 for spec in TABLES}, missing=True)
    with open_duckdb(settings.home, memory_limit=memory_limit) as (connection, folder):
        parsing.prepare(connection, microseconds(as_of))
        references.load(connection, folder, conn, {"as_of": as_of})
        conn.commit()  # a scan may take long; no transaction waits for it
        references.load_meter_names(connection, settings.meters)
        bad = rejects.Rejects(as_of)
        try:
            totals = _roll_up(connection, folder, settings, bad)
            return _write(connection, conn, totals, bad, as_of)
        except duckdb.Error as error:
            reason = " ".join(str(error).split("\n\n")[0].split())
            message = f"{settings.config_path}: sources.usage: the scan stopped: {reason}"
            raise PermanentFailure(message) from error


def _roll_up(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    settings: Settings,
    bad: rejects.Rejects,
) -> windows.Totals:
    sources = settings.sources.usage
    if len(sources) == 1 and isinstance(sources[0], SqlUsageSource):
        with _database(settings, sources[0]) as (engine, found):
            if postgres_rollup.can_roll_up(engine, found):
                postgres_rollup.roll_up(connection, folder, engine, sources[0], found, bad)
                return windows.attribute(connection)
    parts = [
        part
        for order, source in enumerate(sources)
        for part in _stage(connection, settings, source, order)
    ]
    duckdb_rollup.roll_up(connection, parts or [staging.stage_nothing(connection)])
    totals = windows.attribute(connection)
    rejects.collect(connection, parts, totals.valid, bad, settings.base_dir)
    return totals


def _stage(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    source: FileUsageSource | SqlUsageSource,
    order: int,
) -> list[staging.Part]:
    if isinstance(source, FileUsageSource):
        pattern = settings.resolve(source.uri)
        return staging.stage_files(connection, source, order, pattern, _where(settings, source))
    with _database(settings, source) as (engine, found):
        names = {ours: name for ours, (name, _) in found.items()}
        batches = databases.stream(engine, source.table, names)
        return [staging.stage_stream(connection, source.name, order, source.table, batches)]


@contextmanager
def _database(
    settings: Settings, source: SqlUsageSource
) -> Iterator[tuple[sa.Engine, postgres_rollup.Columns]]:
    """A source's database, and its column names and types by ours."""
    where = _where(settings, source)
    address = settings.variable(source.url_env)
    with databases.open_database(address, source.url_env, where) as engine:
        types = databases.columns_of(engine, source.table)
        names = list(types)
        positions = columns.match(
            parsing.wanted(source), parsing.REQUIRED, names, f"{where}: table {source.table}"
        )
        yield engine, {ours: (names[at], types[names[at]]) for ours, at in positions.items()}


def _where(settings: Settings, source: FileUsageSource | SqlUsageSource) -> str:
    return f"{settings.config_path}: sources.usage[{source.name}]"


def _write(
    connection: duckdb.DuckDBPyConnection,
    conn: psycopg2.extensions.connection,
    totals: windows.Totals,
    bad: rejects.Rejects,
    as_of: datetime,
) -> UsageLoadResult:
    try:
        arrivals.remember_previous(conn, as_of)
        rows = {
            spec.name: load.replace(conn, spec, rows_of(connection), commit=False)
            for spec, rows_of in _RESULTS
        }
        rows[LATE_ARRIVALS.name] = arrivals.note_arrivals(conn, as_of)
        ops.record_rejected(conn, bad.rows, commit=False)
        conn.commit()
    except BaseException:
        conn.rollback()
        raise
    return UsageLoadResult(
        rows=rows,
        events=totals.events,
        duplicates=totals.duplicates,
        late_events=totals.late_events,
        unattributed_events=totals.unattributed_events,
        skewed_events=totals.skewed_events,
        rejected={source: dict(reasons) for source, reasons in bad.counts.items()},
    )
