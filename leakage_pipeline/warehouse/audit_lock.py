"""Lets one audit run at a time on a warehouse, whoever started it: terminal, schedule or UI.

A session lock of Postgres: it is gone with the process that held it, even after kill -9.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2.extensions

from leakage_pipeline.failures import TransientFailure
from leakage_pipeline.warehouse.connection import connect

_KEY = 7_215_002


@contextmanager
def audit_lock(url: str) -> Iterator[None]:
    """Hold the lock inside the block.

    Args:
        url: The warehouse.

    Raises:
        TransientFailure: Another audit holds it.
    """
    connection = connect(url, application_name="leakage audit")
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select pg_try_advisory_lock(%s)", (_KEY,))
            (granted,) = cursor.fetchone() or (False,)
        if not granted:
            raise TransientFailure(_who_holds_it(connection))
        yield
    finally:
        connection.close()


def _who_holds_it(connection: psycopg2.extensions.connection) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select activity.backend_start
            from pg_locks as lock
            inner join pg_stat_activity as activity on activity.pid = lock.pid
            where lock.locktype = 'advisory' and lock.granted and lock.objid = %s
                and lock.database = (select oid from pg_database where datname = current_database())
            """,
            (_KEY,),
        )
        row = cursor.fetchone()
    since = f" since {row[0]:%Y-%m-%d %H:%M:%S} UTC" if row and row[0] else ""
    return f"another audit has been running on this database{since}; wait until it ends"
