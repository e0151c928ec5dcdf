"""Keeps the pages of a list until the whole list is read, so that a crash need not read them again.

They are kept in the warehouse, where what they hold ends up anyway, and are worth something to the
same account at the same instant only. Each says which span of creation time it covers.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg2
import psycopg2.extensions

from leakage_pipeline.stripe_billing.values import Json, parse_page_body

Connection = psycopg2.extensions.connection

_FAST = 1


@dataclass(frozen=True)
class Covered:
    """A page and what it settles: all of one variant of a list created in ``[since, until]``.

    `since` is above `until` where a page settles no whole second, which others then do.
    """

    variant: int
    since: int
    until: int
    body: bytes


class KeptPages:
    """The pages of one list."""

    def __init__(self, conn: Connection, source: str, as_of: datetime, object_name: str) -> None:
        self._conn = conn
        self._key = (source, as_of, object_name)

    def keep(self, page: Covered) -> None:
        """Keep a page. Nobody waits for the disk: the newest may be read again."""
        packed = zlib.compress(page.body, _FAST)
        with self._conn.cursor() as cursor:
            cursor.execute("set local synchronous_commit = off")
            cursor.execute(
                "insert into ops.stripe_spool (source, as_of, object, variant, since, until, page)"
                " values (%s, %s, %s, %s, %s, %s, %s)",
                (*self._key, page.variant, page.since, page.until, psycopg2.Binary(packed)),
            )
        self._conn.commit()

    def covered(self, variant: int) -> list[tuple[int, int]]:
        """The spans of a variant that need not be read again, ascending and disjoint."""
        with self._conn.cursor() as cursor:
            cursor.execute(
                """
                select since, until from ops.stripe_spool
                where source = %s and as_of = %s and object = %s and variant = %s
                    and since <= until
                order by since
                """,
                (*self._key, variant),
            )
            found = cursor.fetchall()
        self._conn.rollback()
        merged: list[tuple[int, int]] = []
        for since, until in found:
            if merged and since <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], until))
            else:
                merged.append((since, until))
        return merged

    def objects(self) -> Iterator[list[Json]]:
        """What the kept pages hold, page by page; an object may occur more than once."""
        with self._conn.cursor() as cursor:
            cursor.execute(
                "select ctid::text from ops.stripe_spool"
                " where source = %s and as_of = %s and object = %s",
                self._key,
            )
            places = [place for (place,) in cursor]
            self._conn.rollback()
            for place in places:
                cursor.execute("select page from ops.stripe_spool where ctid = %s::tid", (place,))
                row: tuple[memoryview] | None = cursor.fetchone()
                self._conn.rollback()
                if row is not None:
                    yield parse_page_body(zlib.decompress(bytes(row[0])))


class PageSpool:
    """The kept pages of every list of one load."""

    def __init__(self, conn: Connection, source: str, as_of: datetime) -> None:
        self._conn = conn
        self._source = source
        self._as_of = as_of
        self._used: list[str] = []

    def of(self, object_name: str) -> KeptPages:
        """The pages of a list; those of other instants and accounts go."""
        self._used.append(object_name)
        with self._conn.cursor() as cursor:
            cursor.execute(
                "delete from ops.stripe_spool where object = %s and (source != %s or as_of != %s)",
                (object_name, self._source, self._as_of),
            )
        self._conn.commit()
        return KeptPages(self._conn, self._source, self._as_of, object_name)

    def clear(self, cursor: psycopg2.extensions.cursor) -> None:
        """Drop the pages of lists that are about to be committed."""
        cursor.execute("delete from ops.stripe_spool where object = any(%s)", (self._used,))


def gaps(covered: Sequence[tuple[int, int]], since: int, until: int) -> list[tuple[int, int]]:
    """What of ``[since, until]`` is not covered."""
    missing, start = [], since
    for first, last in covered:
        if first > start:
            missing.append((start, min(first - 1, until)))
        start = max(start, last + 1)
    if start <= until:
        missing.append((start, until))
    return [(first, last) for first, last in missing if first <= last]
