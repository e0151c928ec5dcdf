"""Counts what could not be read and keeps examples of it with place, text and reason.

Both are kept per file with the state of the scan, so that a file that stays is not asked again.
"""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from duckdb import ColumnExpression, ConstantExpression, SQLExpression

from leakage_pipeline.inputs import files
from leakage_pipeline.usage_logs.meaning import (
    LATER_THAN_AUDIT,
    SAMPLES,
    SAMPLES_LATER,
    Reason,
)
from leakage_pipeline.usage_logs.parsing import BLANK_LINE
from leakage_pipeline.usage_logs.staging import Part
from leakage_pipeline.warehouse.ops import RejectedRow

_COUNTS = pa.schema([("file_id", pa.int32()), ("reason", pa.string()), ("rows", pa.int64())])
_SAMPLES = pa.schema(
    [
        ("file_id", pa.int32()),
        ("number", pa.int32()),
        ("reason", pa.string()),
        ("location", pa.string()),
        ("payload", pa.string()),
    ]
)
_VALID_ROWS = """
    select files.source_order, files.form, sum(counted.rows)
    from (
        select file_id, sum(event_count) as rows from kept.partials group by file_id
        union all
        select file_id, count(*) as rows from kept.contested group by file_id
    ) as counted
    inner join kept.files as files on counted.file_id = files.file_id
    where files.file_id in (select file_id from staged_files where is_new)
    group by files.source_order, files.form
"""
# The header of a CSV is record 1; a row's place in its table counts from 0.
_FIRST_RECORD = {"csv": 2, "jsonl": 1}
# Rows of a database have no stable number; their id or their content does not move.
_KEY = SQLExpression("coalesce(event_id, md5(payload))").alias("key")


@dataclass
class Rejects:
    """Counts per source and reason, and the rows to note.

    Attributes:
        as_of: The audit's instant.
        counts: Source name to reason to number of rows.
        rows: Examples, and one row per source and reason that says how many more there are.
    """

    as_of: datetime
    counts: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    rows: list[RejectedRow] = field(default_factory=list)

    def add(
        self,
        source: str,
        reason: str,
        count: int,
        samples: Sequence[tuple[str, str | None]],
        kept: int | None = None,
    ) -> None:
        """Note `count` rows of one reason.

        Args:
            source: The source's name.
            reason: Why they cannot be counted.
            count: How many.
            samples: Location and text of the first of them.
            kept: How many examples there are in all; default those of `samples`.
        """
        reasons = self.counts[source]
        reasons[reason] = reasons.get(reason, 0) + count
        self.rows.extend(
            RejectedRow(source, location, text, reason, self.as_of) for location, text in samples
        )
        examples = len(samples) if kept is None else kept
        if count > examples and (samples or kept is None):
            rest = json.dumps({"rows": count, "kept": examples})
            where = f"further rows as of {self.as_of.isoformat()}"
            self.rows.append(RejectedRow(source, where, rest, reason, self.as_of))


def limit_of(reason: str) -> int:
    """How many examples of a reason are kept."""
    return SAMPLES_LATER if reason in LATER_THAN_AUDIT else SAMPLES


def collect(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Part],
    numbers: Mapping[tuple[int, str], int],
    base: Path,
) -> None:
    """Note the rejected rows of new files in the state.

    Args:
        connection: With the state, which has the files' valid rows already.
        parts: The new files.
        numbers: Their numbers by source and path.
        base: The folder to which the files' names are told relatively.
    """
    valid = {
        (order, form): count for order, form, count in connection.execute(_VALID_ROWS).fetchall()
    }
    counts: list[tuple[int, str, int]] = []
    samples: list[tuple[int, str, str, str]] = []
    for part in parts:
        for path, count in part.malformed_counts.items():
            counts.append((numbers[part.order, path], Reason.MALFORMED, count))
        samples += [
            (
                numbers[part.order, bad.path],
                Reason.MALFORMED,
                f"{files.shown(bad.path, base)}:{bad.record}",
                bad.text,
            )
            for bad in part.malformed
        ]
        # When every row is valid, Parquet files are not scanned once more.
        if connection.view(part.view).shape[0] > valid.get((part.order, part.form), 0):
            _collect_part(connection, part, numbers, base, counts, samples)
    _insert(connection, "rejects", _COUNTS, counts)
    numbered = [(number, place, *rest) for place, (number, *rest) in enumerate(samples)]
    _insert(connection, "reject_samples", _SAMPLES, numbered)


def malformed_of(part: Part, base: Path) -> Iterator[tuple[str, str]]:
    """Location and text of the records that are no event at all; those beyond the first, a mark."""
    told: dict[str, int] = defaultdict(int)
    for bad in part.malformed:
        told[bad.path] += 1
        yield f"{files.shown(bad.path, base)}:{bad.record}", bad.text
    for path, count in part.malformed_counts.items():
        for _ in range(count - told[path]):
            yield f"{files.shown(path, base)}:more", ""


def gather(
    connection: duckdb.DuckDBPyConnection, rejects: Rejects, new: Sequence[int] | None
) -> None:
    """Tell all rejected rows of the log from the state; examples only of what is new.

    Args:
        connection: With the state.
        rejects: What is found is added here.
        new: The numbers of files whose examples are told; null: all.
    """
    counts = connection.execute(
        """
        select files.source, rejects.reason, sum(rejects.rows)
        from kept.rejects as rejects
        inner join kept.files as files on rejects.file_id = files.file_id
        group by files.source, files.source_order, rejects.reason
        order by files.source_order, rejects.reason
        """
    ).fetchall()
    for source, reason, count in counts:
        rows = connection.execute(
            """
            select samples.location, samples.payload, list_contains($new, files.file_id) or $all
            from kept.reject_samples as samples
            inner join kept.files as files on samples.file_id = files.file_id
            where files.source = $source and samples.reason = $reason
            order by files.file_id, samples.number
            limit $limit
            """,
            {
                "source": source,
                "reason": reason,
                "limit": limit_of(reason),
                "new": list(new or ()),
                "all": new is None,
            },
        ).fetchall()
        told = [(location, payload) for location, payload, is_new in rows if is_new]
        rejects.add(source, reason, int(count), told, kept=len(rows))


def _collect_part(
    connection: duckdb.DuckDBPyConnection,
    part: Part,
    numbers: Mapping[tuple[int, str], int],
    base: Path,
    counts: list[tuple[int, str, int]],
    samples: list[tuple[int, str, str, str]],
) -> None:
    bad = connection.view(part.view).filter(SQLExpression("reason is not null"))
    found = bad.aggregate("file, reason, count(*)", "file, reason").order("file, reason").fetchall()
    firsts = _first_places(connection, part) if part.form in _FIRST_RECORD else {}
    counts += [
        (numbers[part.order, file], reason, count)
        for file, reason, count in found
        if reason != BLANK_LINE
    ]
    for reason in dict.fromkeys(reason for _, reason, _ in found if reason != BLANK_LINE):
        rows = (
            bad.filter(ColumnExpression("reason") == ConstantExpression(reason))
            .select("file", "position", "place", _KEY, "payload")
            .limit(limit_of(reason))
            .fetchall()
        )
        samples += [
            (numbers[part.order, file], reason, location, text)
            for file, location, text in _samples(part, rows, firsts, base)
        ]


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, schema: pa.Schema, rows: Sequence[Any]
) -> None:
    if rows:
        columns = zip(*rows, strict=True)
        new_rows = pa.table(
            [pa.array(cells, kind.type) for cells, kind in zip(columns, schema, strict=True)],
            schema,
        )
        connection.register("new_rows", new_rows)
        connection.execute(f"insert into kept.{table} by name from new_rows")
        connection.unregister("new_rows")


def _first_places(connection: duckdb.DuckDBPyConnection, part: Part) -> dict[str, int]:
    """The first place of each file in the part's table, in which files stand one after another."""
    rows = connection.view(part.view).aggregate("file, min(place)", "file").fetchall()
    return {str(file): int(first) for file, first in rows}


def _samples(
    part: Part,
    rows: Sequence[tuple[str, int | None, int, str, str]],
    firsts: dict[str, int],
    base: Path,
) -> Iterator[tuple[str, str, str]]:
    gaps: dict[str, list[int]] = defaultdict(list)
    for bad in part.malformed:
        # The place, among readable records, before which a malformed one stood.
        gaps[bad.path].append(bad.record - len(gaps[bad.path]))
    for file, position, place, key, payload in rows:
        if part.form == "sql":
            yield file, f"{file}:{key}", payload
            continue
        number = position
        if number is None:
            number = place - firsts[file] + _FIRST_RECORD[part.form]
            number += bisect_right(gaps[file], number)
        yield file, f"{files.shown(file, base)}:{number}", payload
