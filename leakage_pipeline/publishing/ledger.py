"""The ledger of what was published: each message is planned, then sent, and never sent twice.

The plan is committed before anything leaves the house. A message that was planned and never
confirmed, because the process died in between, is looked up at the receiver before it is sent
again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import pyarrow as pa
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.warehouse.named_lock import locked
from leakage_pipeline.warehouse.tables import TableSpec

PUBLICATIONS = TableSpec(
    schema="ops",
    name="publications",
    arrow_schema=pa.schema(
        [
            ("key", pa.string()),
            ("channel", pa.string()),
            ("payload_hash", pa.string()),
            ("status", pa.string()),
            ("sent_at", pa.timestamp("us", "UTC")),
            ("remote_id", pa.string()),
        ]
    ),
    primary_key=("key",),
    comment="Messages that left the house, or were about to: one row per message.",
)


class Status(StrEnum):
    """Where a message stands."""

    PLANNED = "planned"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True)
class Publication:
    """One message: where to, under which key, and what it says."""

    channel: str
    key: str
    payload_hash: str


@dataclass(frozen=True)
class Outcome:
    """What became of a message in this run."""

    sent: bool
    remote_id: str | None
    note: str


class UnconfirmedError(Exception):
    """The receiver's answer was lost: the message may or may not have arrived."""


class NotSentError(Exception):
    """The receiver refused the message for certain; the text says why."""


def publish_once(
    conn: Connection,
    publication: Publication,
    as_of: datetime,
    send: Callable[[], str],
    find: Callable[[], str | None],
) -> Outcome:
    """Send a message unless the ledger says that it is out already.

    Args:
        conn: Warehouse connection; committed around the sending.
        publication: The message; its key is what makes it the same message.
        as_of: Stored as `sent_at`.
        send: Sends it and returns the receiver's id.
        find: Looks an earlier, unconfirmed sending up at the receiver; None when it never arrived.

    Returns:
        Whether this call sent it, and under which id it is known.

    Raises:
        NotSentError: Refused for certain; recorded as failed, a later run may try again.
        UnconfirmedError: Nobody knows; stays planned, a later run looks it up first.
    """
    PUBLICATIONS.create(conn)
    with locked(conn, publication.key):
        status, remote_id = _state(conn, publication.key)
        if status == Status.SENT:
            return Outcome(sent=False, remote_id=remote_id, note="already sent")
        if status == Status.PLANNED:
            remote_id = find()
            if remote_id is not None:
                _record(conn, publication, Status.SENT, as_of, remote_id)
                return Outcome(sent=False, remote_id=remote_id, note="already sent, now confirmed")
        _record(conn, publication, Status.PLANNED, None, None)
        try:
            remote_id = send()
        except NotSentError:
            _record(conn, publication, Status.FAILED, None, None)
            raise
        _record(conn, publication, Status.SENT, as_of, remote_id)
        return Outcome(sent=True, remote_id=remote_id, note="sent")


def _state(conn: Connection, key: str) -> tuple[str | None, str | None]:
    with conn.cursor() as cursor:
        cursor.execute("select status, remote_id from ops.publications where key = %s", (key,))
        row: tuple[str, str | None] | None = cursor.fetchone()
    return row if row else (None, None)


def _record(
    conn: Connection,
    publication: Publication,
    status: Status,
    sent_at: datetime | None,
    remote_id: str | None,
) -> None:
    with conn.cursor() as cursor:
        cursor.execute(
            "insert into ops.publications"
            " (channel, key, payload_hash, status, sent_at, remote_id)"
            " values (%s, %s, %s, %s, %s, %s)"
            " on conflict (key) do update set channel = excluded.channel,"
            " payload_hash = excluded.payload_hash, status = excluded.status,"
            " sent_at = excluded.sent_at, remote_id = excluded.remote_id",
            (
                publication.channel,
                publication.key,
                publication.payload_hash,
                status.value,
                sent_at,
                remote_id,
            ),
        )
    conn.commit()
