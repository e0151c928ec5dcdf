"""Reads what the loads have written about themselves: which kinds of objects could be read.

Coverage of the audit is computed from the same table in SQL.
"""

from dataclasses import dataclass
from datetime import datetime

import psycopg2.extensions


@dataclass(frozen=True)
class SyncStatus:
    """One row of `raw_stripe.sync_status`.

    Attributes:
        object: Kind of Stripe object.
        status: ok, missing or forbidden.
        rows: Objects read.
        requests: Requests sent for them.
        detail: What could not be read, when something could not.
        synced_at: Instant of the audit that loaded them.
    """

    object: str
    status: str
    rows: int
    requests: int
    detail: str | None
    synced_at: datetime

    @property
    def is_ok(self) -> bool:
        """Whether it could be read at all."""
        return self.status == "ok"

    @property
    def complete(self) -> bool:
        """Whether everything could be read."""
        return self.status == "ok" and self.detail is None


def read_sync_status(conn: psycopg2.extensions.connection) -> list[SyncStatus]:
    """Give the status of every kind of object, by name."""
    with conn.cursor() as cursor:
        cursor.execute(
            """
            select object, status, rows, requests, detail, synced_at
            from raw_stripe.sync_status
            order by object
            """
        )
        return [SyncStatus(*row) for row in cursor]
