"""What every reader of a business source returns, and the loop that the small ones share."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pyarrow as pa

from leakage_pipeline.business.rows import Found, Rejected
from leakage_pipeline.business.values import Cells, Unreadable
from leakage_pipeline.warehouse.tables import TableSpec

Row: TypeAlias = dict[str, Any]
_NUL = "holds a NUL character"
DUPLICATE = "duplicate"


@dataclass
class Reading:
    """A source as rows of its tables.

    Attributes:
        tables: The rows of each table that the source fills.
        rejected: Rows that were set aside.
    """

    tables: list[tuple[TableSpec, pa.Table | pa.RecordBatchReader]]
    rejected: list[Rejected] = field(default_factory=list)


@dataclass(frozen=True)
class Parsed:
    """One readable row: its key, its place, and the rows it gives."""

    key: tuple[object, ...]
    location: str
    payload: str
    row: Any


def parse_rows(
    found: Found, parse: Callable[[Cells], tuple[tuple[object, ...], Any]]
) -> list[Parsed]:
    """Parse every row; set aside what cannot be read, and all but the last row of a key.

    Identical rows of one key are one row; of different ones the earlier are rejected.

    Args:
        found: The source's rows; rejected ones are added to its list.
        parse: From cells to the row's key and whatever the caller makes of it.

    Returns:
        One entry per key, in the order of the source.
    """
    kept: dict[tuple[object, ...], Parsed] = {}
    for location, cells in found.rows():
        payload = as_payload(cells)
        try:
            _refuse_nul(payload)
            key, row = parse(cells)
        except Unreadable as reason:
            found.rejected.append(Rejected(location, payload, str(reason)))
            continue
        earlier = kept.pop(key, None)
        if earlier is not None and earlier.row != row:
            reason_text = f"{DUPLICATE}: {location} has the same key and stands later"
            found.rejected.append(Rejected(earlier.location, earlier.payload, reason_text))
        kept[key] = Parsed(key, location, payload, row)
    return list(kept.values())


def _refuse_nul(payload: str) -> None:
    """Postgres stores no such text."""
    if "\\u0000" in payload:
        raise Unreadable(_NUL)


def as_payload(cells: Cells) -> str:
    """A row as found, as JSON text."""
    return json.dumps(cells, ensure_ascii=False)


def table(spec: TableSpec, rows: Iterator[Row] | list[Row]) -> pa.Table:
    """Rows as an Arrow table of the spec's shape."""
    return pa.Table.from_pylist(list(rows), schema=spec.arrow_schema)
