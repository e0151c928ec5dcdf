"""Counts what could not be read and keeps examples of it with place, text and reason."""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb
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
        self, source: str, reason: str, count: int, samples: Iterable[tuple[str, str | None]]
    ) -> None:
        """Note `count` rows of one reason.

        Args:
            source: The source's name.
            reason: Why they cannot be counted.
            count: How many.
            samples: Location and text of the first of them.
        """
        reasons = self.counts[source]
        reasons[reason] = reasons.get(reason, 0) + count
        kept = [
            RejectedRow(source, location, text, reason, self.as_of) for location, text in samples
        ]
        self.rows.extend(kept)
        if count > len(kept):
            rest = json.dumps({"rows": count, "kept": len(kept)})
            where = f"further rows as of {self.as_of.isoformat()}"
            self.rows.append(RejectedRow(source, where, rest, reason, self.as_of))


def limit_of(reason: str) -> int:
    """How many examples of a reason are kept."""
    return SAMPLES_LATER if reason in LATER_THAN_AUDIT else SAMPLES


def collect(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Part],
    valid: int,
    rejects: Rejects,
    base: Path,
) -> None:
    """Find the rejected rows of staged parts.

    Args:
        connection: The connection that holds the parts.
        parts: All of them.
        valid: Readable rows of all parts together. When that is every row, Parquet files are not
            scanned again.
        rejects: What is found is added here.
        base: The folder to which the files' names are told relatively.
    """
    total = sum(connection.view(part.view).shape[0] for part in parts)
    for part in parts:
        if part.malformed_count:
            samples = (
                (f"{files.shown(bad.path, base)}:{bad.record}", bad.text) for bad in part.malformed
            )
            rejects.add(part.source, Reason.MALFORMED, part.malformed_count, samples)
        if total > valid:
            _collect_part(connection, part, rejects, base)


def _collect_part(
    connection: duckdb.DuckDBPyConnection, part: Part, rejects: Rejects, base: Path
) -> None:
    bad = connection.view(part.view).filter(SQLExpression("reason is not null"))
    counts = bad.aggregate("reason, count(*)", "reason").order("reason").fetchall()
    firsts = _first_places(connection, part) if part.form in _FIRST_RECORD else {}
    for reason, count in counts:
        if reason != BLANK_LINE:
            rows = (
                bad.filter(ColumnExpression("reason") == ConstantExpression(reason))
                .select("file", "position", "place", _KEY, "payload")
                .limit(limit_of(reason))
                .fetchall()
            )
            rejects.add(part.source, reason, count, _samples(part, rows, firsts, base))


def _first_places(connection: duckdb.DuckDBPyConnection, part: Part) -> dict[str, int]:
    """The first place of each file in the part's table, in which files stand one after another."""
    rows = connection.view(part.view).aggregate("file, min(place)", "file").fetchall()
    return {str(file): int(first) for file, first in rows}


def _samples(
    part: Part,
    rows: Sequence[tuple[str, int | None, int, str, str]],
    firsts: dict[str, int],
    base: Path,
) -> Iterator[tuple[str, str]]:
    gaps: dict[str, list[int]] = defaultdict(list)
    for bad in part.malformed:
        # The place, among readable records, before which a malformed one stood.
        gaps[bad.path].append(bad.record - len(gaps[bad.path]))
    for file, position, place, key, payload in rows:
        if part.form == "sql":
            yield f"{file}:{key}", payload
            continue
        number = position
        if number is None:
            number = place - firsts[file] + _FIRST_RECORD[part.form]
            number += bisect_right(gaps[file], number)
        yield f"{files.shown(file, base)}:{number}", payload
