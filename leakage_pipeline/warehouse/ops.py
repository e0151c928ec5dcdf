"""The `ops` schema: state that outlives every rebuild of raw tables and marts.

Its tables are written out in `ops.sql`. Only what several domains share is here; each domain writes
its own table.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import datetime
from pathlib import Path

import psycopg2.extensions
from psycopg2.extras import execute_values

from leakage_pipeline.warehouse.tables import DDL_LOCK

_DDL = Path(__file__).with_name("ops.sql")
_LONGEST_PAYLOAD = 10_000


@dataclass(frozen=True)
class RejectedRow:
    """An input row that could not be read.

    Attributes:
        source: Which input, such as `contracts` or the name of a usage source.
        location: Where in it: file and line, or the key of a table's row.
        payload: The row as found, as text.
        reason: What is wrong with it, in words.
        first_seen_at: The audit's as_of.
    """

    source: str
    location: str
    payload: str | None
    reason: str
    first_seen_at: datetime


def create(conn: psycopg2.extensions.connection, *, commit: bool = True) -> None:
    """Create every table of the schema that is not there yet."""
    with conn.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s)", (DDL_LOCK,))
        cursor.execute(_DDL.read_text(encoding="utf-8"))
    if commit:
        conn.commit()


def record_rejected(
    conn: psycopg2.extensions.connection, rows: Iterable[RejectedRow], *, commit: bool = True
) -> int:
    """Note rejected rows; one that was noted by an earlier audit keeps its first_seen_at.

    Returns:
        How many were not known before.
    """
    # Postgres text cannot hold NUL, and a row that is megabytes long helps nobody.
    values = [
        tuple(_storable(part) if isinstance(part, str) else part for part in astuple(row))
        for row in rows
    ]
    if not values:
        return 0
    statement = """
        insert into ops.rejected_rows (source, location, payload, reason, first_seen_at)
        values %s on conflict (source, location, reason) do nothing returning 1
    """
    with conn.cursor() as cursor:
        new = len(execute_values(cursor, statement, values, page_size=1000, fetch=True))
    if commit:
        conn.commit()
    return new


def _storable(text: str) -> str:
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")[:_LONGEST_PAYLOAD]
