"""A lock with a name, held by one session across its commits, gone with the process."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class


@contextmanager
def locked(conn: Connection, name: str) -> Iterator[None]:
    """Hold the name against every other session; waits until it is free.

    What the caller has not committed when the block ends is rolled back.
    """
    with conn.cursor() as cursor:
        cursor.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (name,))
    try:
        yield
    finally:
        conn.rollback()
        with conn.cursor() as cursor:
            cursor.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (name,))
        conn.commit()
