"""Scans delimited files and files of lines with DuckDB; what fits no record is kept apart.

The header is read by us, since DuckDB's sniffer guesses from data what a header already says.
"""

import csv
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.inputs import files

_MALFORMED = "malformed_records"
_SCANS = "malformed_scans"
_DELIMITERS = ",;\t|"
_LONGEST_HEADER = 1 << 20
# A record of more lines is taken for a quote that is never closed.
_LONGEST_RECORD = 1000
# A character that JSON does not allow, so that a line never has a second field.
_NEVER = "\x01"


@dataclass(frozen=True)
class Header:
    """The first record of a delimited file, and what separates its fields."""

    names: tuple[str, ...]
    delimiter: str


@dataclass(frozen=True)
class Malformed:
    """A record that does not fit its header or is no text.

    Attributes:
        path: The file.
        record: Its number in the file; the header is 1.
        text: The record as found.
        reason: What is wrong, in words.
    """

    path: str
    record: int
    text: str
    reason: str


def read_header(path: str, where: str) -> Header:
    """Read the header of a delimited file, which may be gzipped.

    Args:
        path: Absolute path or URI.
        where: What to begin a message with.

    Raises:
        ConfigurationError: The file cannot be opened, is no UTF-8 text or is empty.
    """
    # A row further down that is no text is for the reader of the rows to judge.
    with files.readable(path, where), files.open_text(path, errors="replace") as stream:
        first = stream.readline(_LONGEST_HEADER)
        if "\x00" in first or "\N{REPLACEMENT CHARACTER}" in first:
            message = f"{where}: {path} is no UTF-8 text; save it as CSV in UTF-8"
            raise ConfigurationError(message)
        delimiter = max(_DELIMITERS, key=first.count)
        records = csv.reader(itertools.chain([first], stream), delimiter=delimiter)
        try:
            names = tuple(next(records, []))
        except csv.Error as error:
            message = f"{where}: {path} has no readable header: {error}"
            raise ConfigurationError(message) from error
    if not any(name.strip() for name in names):
        message = f"{where}: {path} is empty; its first line must name the columns"
        raise ConfigurationError(message)
    return Header(names, delimiter)


@dataclass
class Batch:
    """Some records of a delimited file, read the careful way.

    Attributes:
        rows: The fields of each good record, as many as the header has.
        lines: The line on which each begins; the header's is 1.
        malformed: Records that do not fit the header.
        unclosed: The first line on which a quote is opened that is never closed.
    """

    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    malformed: list[tuple[int, str, str]] = field(default_factory=list)
    unclosed: int | None = None

    def columns(self) -> Iterator[tuple[str, ...]]:
        """The records column by column."""
        return zip(*self.rows, strict=True)


class _Lines:
    """Hands lines to the csv module and remembers them, so that they can be handed out again."""

    def __init__(self, stream: Iterable[str]) -> None:
        self.taken: list[str] = []
        self._stream = iter(stream)
        self._again: deque[str] = deque()

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if len(self.taken) >= _LONGEST_RECORD:
            raise StopIteration
        line = self._again.popleft() if self._again else next(self._stream)
        self.taken.append(line)
        return line

    def give_back(self) -> None:
        """Begin anew behind the first line of the current record."""
        self._again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]

    def text(self) -> str:
        """The current record as found."""
        return "".join(self.taken).rstrip("\r\n")


def read_batches(stream: Iterable[str], header: Header, size: int) -> Iterator[Batch]:
    """Read a delimited file, losing no line to a quote that is never closed.

    Slower than `scan`, which skips all up to the end of its buffer behind such a quote.

    Args:
        stream: The file's text, opened with `newline=""`.
        header: Its header, which is skipped.
        size: Records in a batch.
    """
    lines = _Lines(stream)
    reader = csv.reader(lines, delimiter=header.delimiter, strict=True)
    next(reader, None)
    line = 1 + len(lines.taken)
    more = True
    while more:
        batch = Batch()
        while more and len(batch.rows) + len(batch.malformed) < size:
            lines.taken.clear()
            more = _read_record(reader, lines, header, batch, line)
            line += len(lines.taken)
        yield batch


def _read_record(
    reader: Iterator[list[str]], lines: _Lines, header: Header, batch: Batch, line: int
) -> bool:
    """Add the next record to the batch; tell whether there was one."""
    try:
        fields = next(reader, None)
    except csv.Error as error:
        lines.give_back()
        if "unexpected end" in str(error) and batch.unclosed is None:
            batch.unclosed = line
        batch.malformed.append((line, lines.text(), str(error)))
        return True
    if fields is None:
        return False
    width = len(header.names)
    if len(fields) > width and not any(field.strip() for field in fields[width:]):
        del fields[width:]
    if len(fields) == width:
        batch.rows.append(fields)
        batch.lines.append(line)
    elif fields:
        reason = f"has {len(fields)} fields, the header has {width}"
        batch.malformed.append((line, lines.text(), reason))
    return True


def by_header(headers: Mapping[str, Header]) -> dict[Header, list[str]]:
    """Group files whose columns stand in the same order, to be read in one scan."""
    groups: dict[Header, list[str]] = {}
    for path, header in headers.items():
        groups.setdefault(header, []).append(path)
    return groups


def scan(
    connection: duckdb.DuckDBPyConnection, header: Header, paths: Iterable[str]
) -> duckdb.DuckDBPyRelation:
    """Scan delimited files of one header: text columns c0, c1, ... and filename.

    Records that do not fit the header are left out; `take_malformed` lists them after the scan.
    """
    return _read(
        connection,
        paths,
        header=True,
        sep=header.delimiter,
        quotechar='"',
        escapechar='"',
        columns={f"c{at}": "VARCHAR" for at in range(len(header.names))},
    )


def scan_lines(
    connection: duckdb.DuckDBPyConnection, paths: Iterable[str]
) -> duckdb.DuckDBPyRelation:
    """Scan files line by line: the columns line (null when blank) and filename."""
    return _read(
        connection,
        paths,
        header=False,
        sep=_NEVER,
        quotechar="",
        escapechar="",
        strict_mode=False,
        columns={"line": "VARCHAR"},
    )


def unclosed(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Files in which the scans so far have met a quote that is not closed as it should be.

    Behind such a quote `scan` may skip lines without a word; read these files with `read_batches`.
    """
    if not _has_malformed(connection):
        return []
    rows = connection.execute(
        """
        select distinct scans.file_path
        from malformed_records as records
        inner join malformed_scans as scans
            on records.scan_id = scans.scan_id and records.file_id = scans.file_id
        where records.error_type = 'UNQUOTED VALUE'
        order by scans.file_path
        """
    ).fetchall()
    return [files.as_listed(path) for (path,) in rows]


def take_malformed(
    connection: duckdb.DuckDBPyConnection, limit: int, without: Iterable[str] = ()
) -> tuple[dict[str, int], list[Malformed]]:
    """What the scans on this connection have left out since this was last asked.

    Args:
        connection: The connection; its lists of such records are emptied.
        limit: The most records to return.
        without: Files to leave out, since they are read again.

    Returns:
        How many there are in each file, and the first ones in the order of the files.
    """
    if not _has_malformed(connection):
        return {}, []
    connection.execute(
        """
        create or replace temp table malformed_once as
        select
            scans.file_path,
            records.line,
            any_value(rtrim(records.csv_line, chr(13) || chr(10))) as csv_line,
            min_by(records.error_message, records.column_idx) as reason
        from malformed_records as records
        inner join (select distinct scan_id, file_id, file_path from malformed_scans) as scans
            on records.scan_id = scans.scan_id and records.file_id = scans.file_id
        where
            not list_contains(
                $without, regexp_replace(scans.file_path, '^([a-z0-9]+:)/+', '\\1//')
            )
        group by scans.file_path, records.line
        """,
        {"without": list(without)},
    )
    counts = connection.execute(
        "select file_path, count(*) from malformed_once group by file_path"
    ).fetchall()
    rows = connection.execute(
        "select * from malformed_once order by file_path, line limit $1", [limit]
    ).fetchall()
    for table in ("malformed_once", _MALFORMED, _SCANS):
        connection.execute(f"drop table {table}")
    found = [Malformed(files.as_listed(path), *rest) for path, *rest in rows]
    return {files.as_listed(path): count for path, count in counts}, found


def _has_malformed(connection: duckdb.DuckDBPyConnection) -> bool:
    ((count,),) = connection.execute(
        "select count(*) from duckdb_tables() where table_name = 'malformed_records'"
    ).fetchall()
    return bool(count)


def _read(
    connection: duckdb.DuckDBPyConnection, paths: Iterable[str], **options: Any
) -> duckdb.DuckDBPyRelation:
    paths = list(paths)
    escaped: Any = [files.duckdb_path(path) for path in paths]  # the stubs know single paths only
    scan = connection.read_csv(
        escaped,
        auto_detect=False,
        filename=True,
        store_rejects=True,
        rejects_table=_MALFORMED,
        rejects_scan=_SCANS,
        **options,
    )
    return files.named_as_listed(scan, paths)
