"""Makes every usage source readable as one DuckDB view of parsed events.

Parquet stays in its files and is scanned as often as needed, by column. Text (CSV, JSON lines, rows
streamed from a database) is parsed once into a table on disk, since parsing is what costs there.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

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
from leakage_pipeline.settings import USAGE_COLUMNS, FileUsageSource
from leakage_pipeline.usage_logs import csv_staging, parsing
from leakage_pipeline.usage_logs.meaning import SAMPLES

_FORMATS = ("parquet", "csv", "jsonl")
# Without trimming: that would copy every line.
_IS_OBJECT = SQLExpression(
    r"(starts_with(line, '{') or regexp_matches(line, '^\s*\{')) and json_valid(line)"
)
_MALFORMED = SQLExpression(
    r"case when is_object then false when regexp_matches(line, '\S') then true end"
)


@dataclass(frozen=True)
class Part:
    """Some events of one source in one form, as a view.

    Attributes:
        source: The source's name.
        order: The source's place in the configuration.
        form: parquet, csv, jsonl or sql.
        batch: Tells parts of one source and form apart.
        columns: The columns that its files have; none for what has no header.
        paths: The files; a Parquet view tells the place of a row's file in them as `file_index`.
        malformed_counts: Records that are no event at all, per file; they are not in the view.
        malformed: The first of them.
    """

    source: str
    order: int
    form: str
    batch: int = 0
    columns: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    malformed_counts: Mapping[str, int] = field(default_factory=dict)
    malformed: tuple[delimited.Malformed, ...] = ()

    @property
    def view(self) -> str:
        """The view's name; its columns are those of `parsing.parse`, and `place`."""
        return f"events_{self.order}_{self.form}_{self.batch}"

    @property
    def table(self) -> str:
        """Where parsed text is kept."""
        return f"{self.view}_parsed"


def find_files(
    connection: duckdb.DuckDBPyConnection, pattern: str, where: str
) -> list[files.InputFile]:
    """The files of a source.

    Args:
        connection: The connection that will read them.
        pattern: The source's uri, absolute.
        where: What to begin a message with.

    Raises:
        ConfigurationError: There is none, or one has none of the formats.
    """
    return files.expand(connection, pattern, where, formats=_FORMATS)


def stage_files(
    connection: duckdb.DuckDBPyConnection,
    source: FileUsageSource,
    part: Part,
    found: Sequence[files.InputFile],
    where: str,
) -> list[Part]:
    """Make events of a file source readable.

    Args:
        connection: Prepared by `parsing.prepare`.
        source: The source.
        part: Its name and place, the batch, and the columns that other files of it have.
        found: The files to read.
        where: What to begin a message with.

    Raises:
        ConfigurationError: A file that cannot be read, or a required column missing.
    """
    parts = []
    for form, stage in (("parquet", _parquet), ("csv", _csv), ("jsonl", _jsonl)):
        paths = [file.path for file in found if file.format == form]
        full = [path for path in paths if not files.is_empty(path)]
        if full:
            named = full[0] if len(full) == 1 else source.uri
            with files.readable(named, where):
                named_part = replace(part, form=form, paths=tuple(full))
                parts.append(stage(connection, source, named_part, full, where))
    return parts


def stage_stream(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    order: int,
    table: str,
    batches: Iterable[pa.RecordBatch],
) -> Part:
    """Parse rows streamed from a database: string columns under our names.

    Args:
        connection: Prepared by `parsing.prepare`.
        source: The source's name.
        order: Its place in the configuration.
        table: Where the rows come from, for the location of bad ones.
        batches: The rows.
    """
    part = Part(source, order, "sql")
    _streamed(connection, table, parsing.NO_ROWS).create(part.table)
    for batch in batches:
        rows = pa.Table.from_batches([batch])
        _streamed(connection, table, rows).insert_into(part.table)
    _expose(connection, part)
    return part


def _streamed(
    connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table
) -> duckdb.DuckDBPyRelation:
    found = {name: ColumnExpression(name) for name in rows.column_names}
    return parsing.parse(
        connection.from_arrow(rows).select(
            *parsing.raw_columns(found),
            SQLExpression("false").alias("malformed"),
            ConstantExpression(table).alias("file"),
            parsing.no_position(),
        )
    )


def _parquet(
    connection: duckdb.DuckDBPyConnection,
    source: FileUsageSource,
    part: Part,
    paths: list[str],
    where: str,
) -> Part:
    read = connection.read_parquet(
        [files.duckdb_path(path) for path in paths],
        binary_as_string=True,
        union_by_name=True,
        hive_partitioning=True,
        filename=True,
        file_row_number=True,
    )
    scan = files.named_as_listed(read.select("*", "file_index"), paths)
    # A column that only other files have is null here, as if all were scanned together.
    names = list(dict.fromkeys([*read.columns, *part.columns]))
    positions = columns.match(parsing.wanted(source), parsing.REQUIRED, names, where)
    found: dict[str, Expression] = {
        name: ColumnExpression(names[at])
        for name, at in positions.items()
        if at < len(read.columns)
    }
    raw = scan.select(
        *parsing.raw_columns(found),
        SQLExpression("false").alias("malformed"),
        ColumnExpression("filename").alias("file"),
        SQLExpression("file_row_number + 1").alias("position"),
        "file_index",
    )
    parsing.parse(raw, more=("file_index",)).select(
        "*", SQLExpression("0").alias("place")
    ).create_view(part.view)
    return replace(part, columns=tuple(read.columns))


def _csv(
    connection: duckdb.DuckDBPyConnection,
    source: FileUsageSource,
    part: Part,
    paths: list[str],
    where: str,
) -> Part:
    staged = csv_staging.stage(connection, source, part.table, paths, where)
    _expose(connection, part, staged.again)
    return replace(
        part,
        columns=(),
        malformed_counts=dict(staged.malformed_counts),
        malformed=tuple(staged.malformed),
    )


def _jsonl(
    connection: duckdb.DuckDBPyConnection,
    source: FileUsageSource,
    part: Part,
    paths: list[str],
    where: str,  # noqa: ARG001 - one signature for all forms; a JSON log has no header to judge
) -> Part:
    names = parsing.wanted(source)
    keys = [f'$."{_json_key(names[name])}"' for name in USAGE_COLUMNS]
    objects = delimited.scan_lines(connection, paths).select(
        "line", ColumnExpression("filename").alias("file"), _IS_OBJECT.alias("is_object")
    )
    # The parser raises on what is no JSON, so that such a line is replaced by an empty object.
    fields = FunctionExpression(
        "json_extract_string", SQLExpression("if(is_object, line, '{}')"), ConstantExpression(keys)
    )
    lines = objects.select("line", "file", _MALFORMED.alias("malformed"), fields.alias("fields"))
    found: dict[str, Expression] = {
        name: FunctionExpression("list_extract", ColumnExpression("fields"), ConstantExpression(at))
        for at, name in enumerate(USAGE_COLUMNS, 1)
    }
    found["value"] = _exact(found["value"], names["value"])
    raw = lines.select(
        *parsing.raw_columns(found), "malformed", "file", parsing.no_position(), "line"
    )
    parsing.parse(raw, payload=ColumnExpression("line")).create(part.table)
    _expose(connection, part)
    counts, malformed = delimited.take_malformed(connection, SAMPLES)
    return replace(part, columns=(), malformed_counts=counts, malformed=tuple(malformed))


def _exact(parsed: Expression, name: str) -> Expression:
    """A JSON number with more digits than a double holds is taken as its line writes it."""
    pattern = '"' + re.escape(name) + r'"\s*:\s*(-?[0-9][0-9.eE+-]*)'
    written = FunctionExpression(
        "regexp_extract",
        ColumnExpression("line"),
        ConstantExpression(pattern),
        ConstantExpression(1),
    )
    return FunctionExpression("exact_number", parsed, written)


def _json_key(name: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", name)


def _expose(connection: duckdb.DuckDBPyConnection, part: Part, again: Sequence[str] = ()) -> None:
    """The part's table as its view, with each row's place in the table.

    Rows stand in the order of their files, so that the place tells the record's number. Files that
    were read `again` have rows with a position of their own, and only those count.
    """
    rows = connection.table(part.table).select("*", SQLExpression("rowid").alias("place"))
    if again:
        twice = ColumnExpression("file").isin(*map(ConstantExpression, again))
        rows = rows.filter(~twice | ColumnExpression("position").isnotnull())
    rows.create_view(part.view)
