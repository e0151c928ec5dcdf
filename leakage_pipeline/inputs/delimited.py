"""Scans delimited files and files of lines with DuckDB; what fits no record is kept apart.

The header is read by us, since DuckDB's sniffer guesses from data what a header already says.
"""

import csv
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.inputs import files

_MALFORMED = "malformed_records"
_SCANS = "malformed_scans"
_DELIMITERS = ",;\t|"
_LONGEST_HEADER = 1 << 20
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
    with files.readable(path, where), files.open_text(path) as stream:
        first = stream.readline(_LONGEST_HEADER)
        if "\x00" in first:
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


def take_malformed(
    connection: duckdb.DuckDBPyConnection, limit: int
) -> tuple[int, list[Malformed]]:
    """What the scans on this connection have left out since this was last asked.

    Args:
        connection: The connection; its lists of such records are emptied.
        limit: The most records to return.

    Returns:
        How many there are, and the first ones in the order of the files.
    """
    ((known,),) = connection.execute(
        "select count(*) from duckdb_tables() where table_name = 'malformed_records'"
    ).fetchall()
    if not known:
        return 0, []
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
        group by scans.file_path, records.line
        """
    )
    count = connection.table("malformed_once").shape[0]
    rows = connection.execute(
        "select * from malformed_once order by file_path, line limit $1", [limit]
    ).fetchall()
    for table in ("malformed_once", _MALFORMED, _SCANS):
        connection.execute(f"drop table {table}")
    return count, [Malformed(*row) for row in rows]


def _read(
    connection: duckdb.DuckDBPyConnection, paths: Iterable[str], **options: Any
) -> duckdb.DuckDBPyRelation:
    escaped: Any = [files.duckdb_path(path) for path in paths]  # the stubs know single paths only
    return connection.read_csv(
        escaped,
        auto_detect=False,
        filename=True,
        store_rejects=True,
        rejects_table=_MALFORMED,
        rejects_scan=_SCANS,
        **options,
    )
