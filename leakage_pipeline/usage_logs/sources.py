"""Finds what the configured sources hold now, and stages the files that a scan has to read."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import sqlalchemy as sa

from leakage_pipeline.inputs import columns, databases, files
from leakage_pipeline.settings import FileUsageSource, Settings, SqlUsageSource
from leakage_pipeline.usage_logs import parsing, staging

Columns = Mapping[str, tuple[str, object]]


@dataclass(frozen=True)
class LogFile:
    """A file of a source as it is now; a table counts as a file that is always new.

    Attributes:
        order: The source's place in the configuration.
        path: Absolute path, URI or table.
        form: parquet, csv, jsonl or sql.
        stamp: Changes when the file or what the configuration says of it does; empty: always new.
    """

    order: int
    path: str
    form: str
    stamp: str


def find(connection: duckdb.DuckDBPyConnection, settings: Settings) -> list[LogFile]:
    """All files of all sources, in order.

    Raises:
        ConfigurationError: A source has no file, or one of an unknown form.
    """
    found: list[LogFile] = []
    for order, source in enumerate(settings.sources.usage):
        if isinstance(source, SqlUsageSource):
            found.append(LogFile(order, source.table, "sql", ""))
            continue
        told = hashlib.sha256(
            json.dumps([order, source.model_dump(mode="json")], sort_keys=True).encode()
        ).hexdigest()
        pattern = settings.resolve(source.uri)
        for file in staging.find_files(connection, pattern, where_of(settings, source)):
            stamp = f"{file.stamp}|{told}" if file.stamp else ""
            found.append(LogFile(order, file.path, file.format, stamp))
    return found


def stage(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    wanted: Sequence[LogFile],
    batch: int,
    known_columns: Mapping[int, Sequence[str]],
) -> list[staging.Part]:
    """Make files readable as views.

    Args:
        connection: Prepared by `parsing.prepare`.
        settings: The sources.
        wanted: The files.
        batch: Tells the views of several calls apart.
        known_columns: Per source, the columns of its files that are not among the wanted.

    Raises:
        ConfigurationError: A file cannot be read, or a required column is missing.
        TransientFailure: A source database does not answer.
    """
    parts: list[staging.Part] = []
    for order, source in enumerate(settings.sources.usage):
        ours = [file for file in wanted if file.order == order]
        if not ours:
            continue
        if isinstance(source, FileUsageSource):
            part = staging.Part(
                source.name, order, "", batch, columns=tuple(known_columns.get(order, ()))
            )
            inputs = [files.InputFile(file.path, file.form) for file in ours]
            where = where_of(settings, source)
            parts += staging.stage_files(connection, source, part, inputs, where)
        else:
            with database(settings, source) as (engine, found):
                names = {ours: name for ours, (name, _) in found.items()}
                batches = databases.stream(engine, source.table, names)
                parts.append(
                    staging.stage_stream(connection, source.name, order, source.table, batches)
                )
    return parts


@contextmanager
def database(settings: Settings, source: SqlUsageSource) -> Iterator[tuple[sa.Engine, Columns]]:
    """A source's database, and its column names and types by ours.

    Raises:
        ConfigurationError: The address or the table is wrong, or a required column is missing.
        TransientFailure: The database does not answer.
    """
    where = where_of(settings, source)
    address = settings.variable(source.url_env)
    with databases.open_database(address, source.url_env, where) as engine:
        types = databases.columns_of(engine, source.table)
        names = list(types)
        positions = columns.match(
            parsing.wanted(source), parsing.REQUIRED, names, f"{where}: table {source.table}"
        )
        yield engine, {ours: (names[at], types[names[at]]) for ours, at in positions.items()}


def where_of(settings: Settings, source: FileUsageSource | SqlUsageSource) -> str:
    """What a message about a source begins with."""
    return f"{settings.config_path}: sources.usage[{source.name}]"
