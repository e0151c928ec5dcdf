"""Rolls all usage sources up and loads the result: one call, one transaction.

Events of several sources are brought together in DuckDB, since an event may stand in two of them.
A single SQL source is rolled up where it lives instead, in one query, when its database can.
"""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import uuid4

import duckdb
import psycopg2.extensions

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.inputs.engine import open_duckdb
from leakage_pipeline.settings import Settings, SqlUsageSource
from leakage_pipeline.usage_logs import (
    incremental,
    parsing,
    publish,
    pushdown,
    references,
    rejects,
    scan_state,
    sources,
    spark_rollup,
    windows,
)
from leakage_pipeline.usage_logs.meaning import UsageLoadResult, microseconds
from leakage_pipeline.usage_logs.tables import REPLACED, TABLES
from leakage_pipeline.warehouse import load

# The state of the last scan is broken; it is a cache.
_BROKEN = (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)


def load_usage(
    settings: Settings,
    conn: psycopg2.extensions.connection,
    as_of: datetime,
    *,
    memory_limit: str | None = None,
    anew: bool = False,
    repair: Sequence[date] = (),
) -> UsageLoadResult:
    """Bring raw_usage.* up to the usage log as it is now, in one transaction.

    Safe to repeat: the same log and the same as_of give the same rows, whatever was read before.

    Args:
        settings: Sources and meters.
        conn: The warehouse, with the tables of `usage_logs.tables` and `ops`.
        as_of: Now; later events are not counted.
        memory_limit: What DuckDB may keep in memory; default as configured.
        anew: Read the whole log, not only what changed since the last scan.
        repair: UTC days whose files are read anew even if they have not changed.

    Raises:
        ConfigurationError: A source cannot be found or read, or lacks a column.
        TransientFailure: A source database does not answer.
        PermanentFailure: The periods have not been computed, or a database refuses.
    """
    if not settings.sources.usage:
        for spec in REPLACED:
            load.replace(conn, spec, spec.empty(), commit=False)
        publish.note_written(conn, whole=True)
        conn.commit()
        return UsageLoadResult(rows={spec.name: 0 for spec in TABLES}, missing=True)
    run = _Load(settings, conn, as_of, memory_limit or settings.usage_scan.memory_limit)
    try:
        return run.load(anew=anew, repair=repair)
    except duckdb.Error as error:
        if not isinstance(error, _BROKEN) or anew:
            raise run.stopped(error) from error
    try:
        return run.load(anew=True, repair=())
    except duckdb.Error as error:
        raise run.stopped(error) from error


class _Load:
    """One load, which may be tried again without the state of the last scan."""

    def __init__(
        self,
        settings: Settings,
        conn: psycopg2.extensions.connection,
        as_of: datetime,
        memory_limit: str,
    ) -> None:
        self.settings = settings
        self.conn = conn
        self.as_of = as_of
        self.memory_limit = memory_limit

    def load(self, *, anew: bool, repair: Sequence[date]) -> UsageLoadResult:
        held = publish.held(self.conn)
        with open_duckdb(self.settings.home, memory_limit=self.memory_limit) as (
            connection,
            folder,
        ):
            parsing.prepare(connection, microseconds(self.as_of))
            references.load(connection, folder, self.conn, {"as_of": self.as_of})
            self.conn.commit()  # a scan may take long; no transaction waits for it
            references.load_meter_names(connection, self.settings.meters)
            if self.settings.usage_scan.engine == "spark":
                bad = rejects.Rejects(self.as_of)
                with scan_state.in_memory(connection):
                    spark_rollup.roll_up(connection, self.settings, bad)
                    return self._write(connection, bad, uuid4().hex, None)
            (first, *others) = self.settings.sources.usage
            if isinstance(first, SqlUsageSource) and not others:
                with sources.database(self.settings, first) as (engine, found):
                    if pushdown.can_roll_up(connection, engine, found):
                        bad = rejects.Rejects(self.as_of)
                        with scan_state.in_memory(connection):
                            pushdown.roll_up(connection, folder, engine, first, found, bad)
                            return self._write(connection, bad, uuid4().hex, None)
            with scan_state.attached(
                connection, self.settings, microseconds(self.as_of), anew=anew
            ) as previous:
                if repair:
                    incremental.forget_days(connection, repair)
                return self._scan(connection, previous, held)

    def _scan(
        self,
        connection: duckdb.DuckDBPyConnection,
        previous: scan_state.Previous,
        held: publish.Held,
    ) -> UsageLoadResult:
        token = uuid4().hex
        plan = incremental.scan(connection, self.settings, self.as_of, token)
        whole = plan.is_first or previous.token is None or previous.token != held.token
        bad = rejects.Rejects(self.as_of)
        rejects.gather(connection, bad, None if whole else list(plan.new))
        result = self._write(connection, bad, token, None if whole else plan)
        scan_state.set_taken(connection, token)
        return result

    def _write(
        self,
        connection: duckdb.DuckDBPyConnection,
        bad: rejects.Rejects,
        token: str,
        plan: incremental.Plan | None,
    ) -> UsageLoadResult:
        """Load what a scan found, all of it when it has no plan."""
        totals = windows.attribute(connection, whole=plan is None)
        rows = publish.publish(
            connection,
            self.conn,
            bad,
            token,
            whole=plan is None,
            files_changed=plan is not None and bool(plan.new or plan.dropped or plan.again),
        )
        return UsageLoadResult(
            rows=rows,
            events=totals.events,
            duplicates=totals.duplicates,
            late_events=totals.late_events,
            unattributed_events=totals.unattributed_events,
            skewed_events=totals.skewed_events,
            days=windows.due_days(connection),
            rejected={source: dict(reasons) for source, reasons in bad.counts.items()},
        )

    def stopped(self, error: duckdb.Error) -> PermanentFailure:
        reason = " ".join(str(error).split("\n\n")[0].split())
        return PermanentFailure(
            f"{self.settings.config_path}: sources.usage: the scan stopped: {reason}"
        )
