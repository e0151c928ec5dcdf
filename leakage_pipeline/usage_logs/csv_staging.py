"""Parses CSV logs into a table: by DuckDB's scan, or record by record where that would lose lines.

DuckDB skips what follows a quote that is never closed, and refuses mixed line ends. Such files are
read again by Python's csv module, which is slower and loses nothing.
"""

from collections import Counter
from dataclasses import dataclass, field

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
from leakage_pipeline.inputs.delimited import Batch, Header, Malformed
from leakage_pipeline.settings import FileUsageSource
from leakage_pipeline.usage_logs import parsing
from leakage_pipeline.usage_logs.meaning import SAMPLES

_ROWS_PER_BATCH = 50_000
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass
class Staged:
    """What became of the files.

    Attributes:
        again: Files of which the table holds rows twice: those of the scan, without a position, do
            not count.
        malformed_counts: Records that do not fit their header, per file.
        malformed: The first of them.
    """

    again: list[str] = field(default_factory=list)
    malformed_counts: Counter[str] = field(default_factory=Counter)
    malformed: list[Malformed] = field(default_factory=list)


def stage(
    connection: duckdb.DuckDBPyConnection,
    source: FileUsageSource,
    table: str,
    paths: list[str],
    where: str,
) -> Staged:
    """Parse CSV files into a new table, in their order.

    Args:
        connection: Prepared by `parsing.prepare`.
        source: The source.
        table: The table's name; its columns are those of `parsing.parse`.
        paths: The files, none of them empty.
        where: What to begin a message with.

    Raises:
        ConfigurationError: A file cannot be opened, or a required column is missing.
    """
    headers = {path: delimited.read_header(path, where) for path in paths}
    _parsed(connection.from_arrow(parsing.NO_ROWS), {}, ConstantExpression("")).create(table)
    staged = Staged()
    again: dict[str, dict[str, Expression]] = {}
    for header, same in delimited.by_header(headers).items():
        positions = columns.match(
            parsing.wanted(source), parsing.REQUIRED, header.names, f"{where}: {same[0]}"
        )
        cells: dict[str, Expression] = {
            name: FunctionExpression("trimmed", ColumnExpression(f"c{at}"))
            for name, at in positions.items()
        }
        again |= dict.fromkeys(_scan(connection, table, header, same, cells), cells)
    staged.again = list(again)
    counts, staged.malformed = delimited.take_malformed(connection, SAMPLES, without=staged.again)
    staged.malformed_counts.update(counts)
    for path, cells in again.items():
        _read(connection, table, headers[path], path, cells, staged)
    return staged


def _parsed(
    raw: duckdb.DuckDBPyRelation,
    cells: dict[str, Expression],
    file: Expression,
    position: Expression | None = None,
) -> duckdb.DuckDBPyRelation:
    return parsing.parse(
        raw.select(
            *parsing.raw_columns(cells),
            SQLExpression("false").alias("malformed"),
            file.alias("file"),
            position.alias("position") if position is not None else parsing.no_position(),
        )
    )


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
        _parsed(scan, cells, ColumnExpression("filename")).insert_into(table)
    except duckdb.InvalidInputException:
        if len(paths) == 1:
            return paths
        return [bad for path in paths for bad in _scan(connection, table, header, [path], cells)]
    return [path for path in delimited.unclosed(connection) if path in paths]


def _read(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    header: Header,
    path: str,
    cells: dict[str, Expression],
    staged: Staged,
) -> None:
    """Read a file record by record into the table."""
    with files.open_text(path, errors="replace") as stream:
        for batch in delimited.read_batches(stream, header, _ROWS_PER_BATCH):
            _refuse_other_encodings(batch)
            staged.malformed_counts[path] += len(batch.malformed)
            staged.malformed += [
                Malformed(path, *bad)
                for bad in batch.malformed[: max(0, SAMPLES - len(staged.malformed))]
            ]
            if batch.rows:
                arrays = {
                    f"c{at}": pa.array(column, pa.string())
                    for at, column in enumerate(batch.columns())
                }
                lines = pa.array(batch.lines, pa.int64())
                relation = connection.from_arrow(pa.table({**arrays, "line": lines}))
                line = ColumnExpression("line")
                _parsed(relation, cells, ConstantExpression(path), line).insert_into(table)


def _refuse_other_encodings(batch: Batch) -> None:
    """Set aside records with bytes that are no UTF-8, as the scan does."""
    foreign = {
        at for at, row in enumerate(batch.rows) if any(_REPLACEMENT in field for field in row)
    }
    for at in sorted(foreign, reverse=True):
        text = ",".join(batch.rows.pop(at))
        batch.malformed.append((batch.lines.pop(at), text, "is no UTF-8 text"))
