"""Rolls the log up on Apache Spark: events never pass through the machine that asks.

What an event's text means is said by `staging` and `parsing`, which run in Spark's workers, a file
each at a time; what a roll-up means is said by `rollup.sql`, which Spark runs. Only the sums come
back. Needs the extra `spark` here and this package in the workers' Python.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files as package_files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
from duckdb import ColumnExpression, ConstantExpression, SQLExpression

from leakage_pipeline.failures import ConfigurationError, PermanentFailure
from leakage_pipeline.inputs import files
from leakage_pipeline.inputs.engine import open_duckdb
from leakage_pipeline.settings import FileUsageSource, Settings
from leakage_pipeline.usage_logs import parsing, pushdown, rejects, sources, staging
from leakage_pipeline.usage_logs.meaning import DAY_US, SKEW_US, Reason, microseconds
from leakage_pipeline.usage_logs.parsing import BLANK_LINE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_EVENTS = pa.schema(
    [
        ("event_id", pa.string()),
        ("customer_ref", pa.string()),
        ("meter", pa.string()),
        ("source", pa.string()),
        ("value", pa.decimal128(38, 12)),
        ("occurred_us", pa.int64()),
        ("received_us", pa.int64()),
        ("source_order", pa.int32()),
        ("reason", pa.string()),
        ("location", pa.string()),
        ("payload", pa.string()),
    ]
)
_SPARK_EVENTS = (
    "event_id string, customer_ref string, meter string, source string, value decimal(38, 12),"
    " occurred_us bigint, received_us bigint, source_order int, reason string, location string,"
    " payload string"
)
_FILES = "source_order int, path string, form string"
_ROWS_PER_BATCH = 50_000


def roll_up(
    connection: duckdb.DuckDBPyConnection, settings: Settings, bad: rejects.Rejects
) -> None:
    """Fill `kept.finals` from the files of the log, all of them.

    Args:
        connection: DuckDB with the tables of `references`, prepared by `parsing.prepare`.
        settings: The sources, and Spark's own configuration.
        bad: What cannot be counted is added here.

    Raises:
        ConfigurationError: Spark is not installed, or a source cannot be read or is a table.
        PermanentFailure: Spark stopped.
    """
    found = sources.find(connection, settings)
    if any(file.form == "sql" for file in found):
        message = f"{settings.config_path}: usage_scan.engine: spark reads files, not tables"
        raise ConfigurationError(message)
    spark = _session(settings)
    try:
        events = _events(connection, spark, settings, found, microseconds(bad.as_of)).persist()
        _sum_up(connection, spark, events)
        _collect_rejects(events, settings, bad)
        events.unpersist()
    except _spark_error() as error:
        reason = str(error).strip().splitlines()[0]
        message = f"{settings.config_path}: usage_scan: Spark stopped: {reason}"
        raise PermanentFailure(message) from error
    finally:
        spark.stop()


def _session(settings: Settings) -> "SparkSession":
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415 - an optional extra
    except ImportError:
        message = (
            f"{settings.config_path}: usage_scan.engine: Spark is not installed; "
            "pip install 'leakage-pipeline[spark]'"
        )
        raise ConfigurationError(message) from None
    builder = SparkSession.builder.appName("leakage-pipeline usage scan")
    for name, value in settings.usage_scan.spark.items():
        builder = builder.config(name, value)
    # Instants travel as whole microseconds; nothing may shift them on the way.
    session: SparkSession = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    return session


def _spark_error() -> type[Exception]:
    from pyspark.errors import PySparkException  # noqa: PLC0415 - an optional extra

    kind: type[Exception] = PySparkException
    return kind


def _events(
    connection: duckdb.DuckDBPyConnection,
    spark: "SparkSession",
    settings: Settings,
    found: Sequence[sources.LogFile],
    as_of_us: int,
) -> "DataFrame":
    """Every row of the log, parsed by the workers."""
    log = [source for source in settings.sources.usage if isinstance(source, FileUsageSource)]
    known = {
        order: _columns(connection, [file.path for file in found if file.order == order])
        for order in range(len(log))
    }
    where = [sources.where_of(settings, source) for source in log]
    base = settings.base_dir

    def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                order = row["source_order"]
                part = staging.Part(log[order].name, order, "", columns=known[order])
                file = files.InputFile(row["path"], row["form"])
                yield from _parsed(log[order], part, file, where[order], base, as_of_us)

    rows = [(file.order, file.path, file.form) for file in found]
    listed = spark.createDataFrame(rows, _FILES)
    spread = listed.repartition(max(1, len(rows)), "path")
    return spread.mapInArrow(parse, _SPARK_EVENTS)


def _columns(connection: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> tuple[str, ...]:
    """The columns of all Parquet files together: one that only some have is null in the others."""
    parquet: Any = [files.duckdb_path(path) for path in paths if files.format_of(path) == "parquet"]
    if not parquet:
        return ()
    scan = connection.read_parquet(parquet, union_by_name=True, hive_partitioning=True)
    return tuple(scan.columns)


def _parsed(
    source: FileUsageSource,
    part: staging.Part,
    file: files.InputFile,
    where: str,
    base: Path,
    as_of_us: int,
) -> Iterator[pa.RecordBatch]:
    """The rows of one file, in a worker."""
    with (
        tempfile.TemporaryDirectory(prefix="usage-scan-") as home,
        open_duckdb(Path(home)) as (connection, _),
    ):
        parsing.prepare(connection, as_of_us)
        if "://" in file.path:
            files.expand(connection, file.path, where, formats=(file.format,))
        for staged in staging.stage_files(connection, source, part, [file], where):
            bad = list(rejects.malformed_of(staged, base))
            if bad:
                yield _as_batch(bad, part.order)
            kept = [
                *(ColumnExpression(name) for name in _EVENTS.names[:4]),
                ColumnExpression("value").cast("decimal(38, 12)").alias("value"),
                ColumnExpression("occurred_us"),
                ColumnExpression("received_us"),
                ConstantExpression(part.order).cast("integer").alias("source_order"),
                ColumnExpression("reason"),
                SQLExpression("concat(file, ':', coalesce(position, place + 1))").alias("location"),
                ColumnExpression("payload"),
            ]
            rows = connection.view(staged.view).select(*kept)
            for batch in rows.to_arrow_reader(_ROWS_PER_BATCH):
                yield pa.RecordBatch.from_arrays(
                    [column.cast(kind.type) for column, kind in zip(batch, _EVENTS, strict=True)],
                    schema=_EVENTS,
                )


def _as_batch(bad: Sequence[tuple[str, str]], order: int) -> pa.RecordBatch:
    rows = [
        {
            "source_order": order,
            "reason": str(Reason.MALFORMED),
            "location": location,
            "payload": text,
        }
        for location, text in bad
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_EVENTS)


def _sum_up(
    connection: duckdb.DuckDBPyConnection, spark: "SparkSession", events: "DataFrame"
) -> None:
    """Run `rollup.sql` and take its rows."""
    events.createOrReplaceTempView("log_events")
    small = {
        "segments": pushdown.SEGMENTS,
        "finalizations": pushdown.FINALIZATIONS,
        "meter_names": pushdown.METER_NAMES,
    }
    for name, query in small.items():
        table = connection.sql(query).to_arrow_table()
        spark.createDataFrame(table, _ddl(table.schema)).createOrReplaceTempView(f"small_{name}")
    template = package_files(__package__).joinpath("rollup.sql").read_text(encoding="utf-8")
    result = spark.sql(
        template.format(
            events="table log_events",
            **{name: f"table small_{name}" for name in small},
            div="div",
            day_us=DAY_US,
            skew_us=SKEW_US,
        )
    )
    connection.from_arrow(result.toArrow()).create("pushed_down")
    connection.execute(pushdown.FINALS)


def _ddl(schema: pa.Schema) -> str:
    return ", ".join(
        f"{field.name} {'bigint' if pa.types.is_int64(field.type) else 'string'}"
        for field in schema
    )


def _collect_rejects(events: "DataFrame", settings: Settings, bad: rejects.Rejects) -> None:
    names: Mapping[int, str] = {
        order: source.name for order, source in enumerate(settings.sources.usage)
    }
    rejected = events.where(events.reason.isNotNull() & (events.reason != BLANK_LINE))
    counts = rejected.groupBy("source_order", "reason").count().collect()
    for order, reason, count in sorted(tuple(row) for row in counts):
        same = rejected.where(rejected.source_order == order).where(rejected.reason == reason)
        rows = same.select("location", "payload").limit(rejects.limit_of(reason)).collect()
        bad.add(names[order], reason, count, [(row.location, row.payload) for row in rows])
