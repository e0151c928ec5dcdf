"""Parses CSV logs into a table: by DuckDB's scan, or record by record where that would lose lines.

DuckDB skips what follows a quote that is never closed, and refuses mixed line ends. Such files are
read again by Python's csv module, which is slower and loses nothing.
"""

from collections.abc import Iterable
from itertools import islice

import duckdb
import pyarrow as pa
from duckdb import (
    ColumnExpression,
    ConstantExpression,
    Expression,
    FunctionExpression,
    SQLExpression,
)

from leakage_pipeline.inputs import columns, delimited, files
from leakage_pipeline.inputs.delimited import Header, Malformed
from leakage_pipeline.settings import FileUsageSource
from leakage_pipeline.usage_logs import parsing
from leakage_pipeline.usage_logs.meaning import SAMPLES

_ROWS_PER_BATCH = 50_000


def stage(
    connection: duckdb.DuckDBPyConnection,
    source: FileUsageSource,
    table: str,
    paths: list[str],
    where: str,
) -> tuple[int, list[Malformed]]:
    """Parse CSV files into a new table, in their order.

    Args:
        connection: Prepared by `parsing.prepare`.
        source: The source.
        table: The table's name; its columns are those of `parsing.parse`.
        paths: The files, none of them empty.
        where: What to begin a message with.

    Returns:
        How many records do not fit their header, and the first of them.

    Raises:
        ConfigurationError: A file cannot be opened, or a required column is missing.
    """
    headers = {path: delimited.read_header(path, where) for path in paths}
    _insert(connection.from_arrow(parsing.NO_ROWS), table, _by_name(), ConstantExpression(""))
    again: list[tuple[Header, str, dict[str, Expression]]] = []
    for header, same in delimited.by_header(headers).items():
        positions = columns.match(
            parsing.wanted(source), parsing.REQUIRED, header.names, f"{where}: {same[0]}"
        )
        cells: dict[str, Expression] = {
            name: FunctionExpression("trim", ColumnExpression(f"c{at}"))
            for name, at in positions.items()
        }
        again += [
            (header, path, cells) for path in _scan(connection, table, header, same, cells)
        ]
    careful = [path for _, path, _ in again]
    count, malformed = delimited.take_malformed(connection, SAMPLES, without=careful)
    for header, path, cells in again:
        bad = _read(connection, table, header, path, cells)
        count += len(bad)
        malformed += bad[:SAMPLES]
    return count, malformed


def _scan(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    header: Header,
    paths: list[str],
    cells: dict[str, Expression],
) -> list[str]:
    """Scan files into the table; returns those that must be read record by record instead."""
    try:
        scan = delimited.scan(connection, header, paths)
        _insert(scan, table, cells, ColumnExpression("filename"))
    except duckdb.InvalidInputException:
        if len(paths) == 1:
            return paths
        return [
            bad for path in paths for bad in _scan(connection, table, header, [path], cells)
        ]
    unclosed = [path for path in delimited.unclosed(connection) if path in paths]
    if unclosed:
        files_table = pa.table({"file": pa.array(unclosed, pa.string())})
        connection.from_arrow(files_table).create_view("unclosed_files")
        connection.table(table).filter("true")
    return unclosed


def _read(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    header: Header,
    path: str,
    cells: dict[str, Expression],
) -> list[Malformed]:
    """Read a file record by record into the table; returns its malformed records."""
    bad: list[Malformed] = []
    with files.open_text(path, errors="replace") as stream:
        records = delimited.records(stream, header)
        while chunk := list(islice(records, _ROWS_PER_BATCH)):
            good = [record for record in chunk if not record.reason]
            bad += [
                Malformed(path, record.line, record.text, record.reason)
                for record in chunk
                if record.reason
            ]
            if good:
                _insert(_relation(connection, good), table, cells, ConstantExpression(path))
    return bad
