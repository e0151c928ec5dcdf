"""Reads a business source (CSV, Parquet or a table) as columns of text, each row with its place.

What the text means is for the reader of each source. A record that does not fit its header is set
aside here; a file that cannot be read as a whole is a mistake in the configuration.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
from duckdb import ColumnExpression, ConstantExpression, Expression, FunctionExpression

from leakage_pipeline.failures import ConfigurationError, PermanentFailure
from leakage_pipeline.inputs import columns, databases, delimited, files
from leakage_pipeline.inputs.engine import open_duckdb
from leakage_pipeline.settings import Settings, TableSource

TABLE = "found_rows"
_FORMATS = ("csv", "parquet")
_NESTED = frozenset({"list", "array", "struct", "map"})
_ROWS_PER_BATCH = 20_000


@dataclass(frozen=True)
class Layout:
    """The columns of a source.

    Attributes:
        source: The key below `sources`; also the name under which its rows are rejected.
        required: Columns that a header must have.
        optional: Columns that may be absent.
        order_by: Columns that give the rows of a table a stable order.
    """

    source: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    order_by: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns."""
        return (*self.required, *self.optional)


@dataclass(frozen=True)
class Rejected:
    """A row that was set aside: where it stands, what it says, why.

    A malformed one does not fit its header, so that it is no row of `found_rows`.
    """

    location: str
    payload: str | None
    reason: str
    malformed: bool = False


@dataclass
class Found:
    """A source as text, in the table `found_rows` of a DuckDB connection.

    The table has the layout's columns (varchar, blank cells null) and `location`, in order.

    Attributes:
        connection: The connection.
        layout: The columns.
        rejected: Records that do not fit their header.
    """

    connection: duckdb.DuckDBPyConnection
    layout: Layout
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Rows in the table."""
        return self.connection.table(TABLE).shape[0]

    def rows(self) -> Iterator[tuple[str, dict[str, str | None]]]:
        """The rows in order: location, and cells by column."""
        for batch in self.connection.table(TABLE).to_arrow_reader(_ROWS_PER_BATCH):
            for row in batch.to_pylist():
                yield row.pop("location"), row

    def add(self, batch: pa.RecordBatch) -> None:
        """Append rows: text columns and `location`; columns that are absent become null."""
        table = pa.Table.from_batches([batch])
        relation = self.connection.from_arrow(table)
        self.append(relation, {name: ColumnExpression(name) for name in table.column_names})

    def append(self, relation: duckdb.DuckDBPyRelation, expressions: dict[str, Expression]) -> None:
        """Append rows of any types; columns that are not among the expressions become null."""
        nothing = ConstantExpression(None).cast("varchar")
        types = dict(zip(relation.columns, relation.types, strict=True))
        cells = [
            _text(expressions[name], types).alias(name)
            if name in expressions
            else nothing.alias(name)
            for name in self.layout.names
        ]
        location = expressions["location"].alias("location")
        relation.select(*cells, location).insert_into(TABLE)


def _text(column: Expression, types: dict[str, duckdb.sqltypes.DuckDBPyType]) -> Expression:
    kind = str(types[column.get_name()].id)
    text = FunctionExpression("to_json", column) if kind in _NESTED else column
    trimmed = FunctionExpression("trim", text.cast("varchar"))
    return FunctionExpression("nullif", trimmed, ConstantExpression(""))


@contextmanager
def open_rows(settings: Settings, layout: Layout) -> Iterator[Found | None]:
    """Read one business source.

    Args:
        settings: Where it is.
        layout: Its columns.

    Yields:
        The rows; None when the source is not configured.

    Raises:
        ConfigurationError: The file is missing or unreadable, or lacks a required column.
        TransientFailure: The database does not answer.
    """
    source: str | TableSource | None = getattr(settings.sources, layout.source)
    if source is None:
        yield None
        return
    where = f"{settings.config_path}: sources.{layout.source}"
    with open_duckdb(settings.home) as (connection, _):
        names = (*layout.names, "location")
        schema = pa.schema([(name, pa.string()) for name in names])
        connection.from_arrow(schema.empty_table()).create(TABLE)
        found = Found(connection, layout)
        if isinstance(source, TableSource):
            _read_table(found, settings, source, where)
        else:
            pattern = settings.resolve(source)
            for file in files.expand(connection, pattern, where, formats=_FORMATS):
                read = _read_csv if file.format == "csv" else _read_parquet
                read(found, file.path, settings.base_dir, where)
        try:
            yield found
        except duckdb.Error as error:
            message = f"{where}: the rows cannot be checked: {' '.join(str(error).split())}"
            raise PermanentFailure(message) from error


def _read_csv(found: Found, path: str, base: Path, where: str) -> None:
    header = delimited.read_header(path, where)
    wanted = {name: name for name in found.layout.names}
    shown = files.shown(path, base)
    positions = columns.match(wanted, found.layout.required, header.names, f"{where}: {shown}")
    readable = False
    with files.readable(path, where), files.open_text(path) as stream:
        for batch in delimited.read_batches(stream, header, _ROWS_PER_BATCH):
            if batch.unclosed is not None:
                message = (
                    f"{where}: {shown}, line {batch.unclosed} opens a quote that is never closed; "
                    "close it, or double the quotes inside a quoted field"
                )
                raise ConfigurationError(message)
            found.rejected += [
                Rejected(f"{shown}:{line}", text, reason, malformed=True)
                for line, text, reason in batch.malformed
            ]
            if batch.rows:
                readable = True
                found.add(_as_arrow(batch, positions, shown))
    if found.rejected and not readable:
        message = (
            f"{where}: {shown} is no readable CSV: its first record {found.rejected[0].reason}"
        )
        raise ConfigurationError(message)


def _as_arrow(batch: delimited.Batch, positions: dict[str, int], shown: str) -> pa.RecordBatch:
    cells = list(batch.columns())
    arrays = {name: pa.array(cells[at], pa.string()) for name, at in positions.items()}
    places = pa.array([f"{shown}:{line}" for line in batch.lines], pa.string())
    return pa.RecordBatch.from_pydict({**arrays, "location": places})


def _read_parquet(found: Found, path: str, base: Path, where: str) -> None:
    shown = files.shown(path, base)
    with files.readable(path, where):
        scan = found.connection.read_parquet(
            files.duckdb_path(path), binary_as_string=True, file_row_number=True
        )
        wanted = {name: name for name in found.layout.names}
        positions = columns.match(wanted, found.layout.required, scan.columns, f"{where}: {shown}")
        expressions: dict[str, Expression] = {
            name: ColumnExpression(scan.columns[at]) for name, at in positions.items()
        }
        expressions["location"] = FunctionExpression(
            "concat",
            ConstantExpression(f"{shown}:"),
            ColumnExpression("file_row_number") + ConstantExpression(1),
        )
        found.append(scan, expressions)


def _read_table(found: Found, settings: Settings, source: TableSource, where: str) -> None:
    address = settings.variable(source.url_env)
    with databases.open_database(address, source.url_env, where) as engine:
        names = list(databases.columns_of(engine, source.table))
        wanted = {name: name for name in found.layout.names}
        positions = columns.match(
            wanted, found.layout.required, names, f"{where}: table {source.table}"
        )
        theirs = {ours: names[at] for ours, at in positions.items()}
        row = 0
        for batch in databases.stream(engine, source.table, theirs, found.layout.order_by):
            places = [f"{source.table}:{row + at}" for at in range(1, batch.num_rows + 1)]
            row += batch.num_rows
            arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
            found.add(pa.RecordBatch.from_pydict({**arrays, "location": pa.array(places)}))
