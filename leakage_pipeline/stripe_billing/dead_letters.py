"""Events that could not be applied, with the reason, kept as they came and open to a replay.

One that nobody vouches for is kept under a name of its own: it must not stand in the way of the
true event with the id that it claims.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

import psycopg2.extensions

from leakage_pipeline.stripe_billing.tracking import id_of
from leakage_pipeline.stripe_billing.values import Json, json_text

_LONGEST_BODY = 1_000_000


@dataclass(frozen=True)
class DeadLetter:
    """One row of `ops.dead_letters`.

    Attributes:
        event_id: The event's id, or a name made from its text.
        type: Its type, when it says one.
        error: Why it could not be applied.
        attempts: How often that was tried.
        last_failed_at: When it was tried last.
        origin: Where it came from: `api`, or the file or table.
        body: Its text as received; None for one from the API.
        signature: The header that came with it.
        received_at: When it was received.
        payload: The event as Stripe's API gave it, when that was where it came from.
    """

    event_id: str
    type: str | None
    error: str
    attempts: int
    last_failed_at: datetime
    origin: str | None
    body: str | None
    signature: str | None
    received_at: datetime | None
    payload: str | None


def bury(  # noqa: PLR0913 - what came, and why it stays behind
    cursor: psycopg2.extensions.cursor,
    event: Json | None,
    reason: str,
    as_of: datetime,
    *,
    origin: str,
    body: str | None = None,
    signature: str | None = None,
    received_at: datetime | None = None,
    is_trusted: bool = True,
) -> None:
    """Keep an event that could not be applied, or count one more attempt.

    Args:
        cursor: Of the caller's transaction.
        event: The event, when the text is one.
        reason: What is wrong with it, in words.
        as_of: Instant of the audit.
        origin: Where it came from.
        body: The text as received.
        signature: The header that came with it.
        received_at: When it was received.
        is_trusted: Whether it is what it claims to be.
    """
    name = id_of(event) if event is not None and is_trusted else None
    text = body if body is not None else json_text(event) or ""
    name = name or "unverified-" + hashlib.sha256(text.encode()).hexdigest()[:32]
    kind = event.get("type") if event is not None else None
    cursor.execute(
        """
        insert into ops.dead_letters (
            event_id, type, payload, error, first_failed_at, last_failed_at,
            body, signature, received_at, origin
        )
        values (
            %(name)s, %(type)s, %(payload)s::jsonb, %(error)s, %(as_of)s, %(as_of)s,
            %(body)s, %(signature)s, %(received_at)s, %(origin)s
        )
        on conflict (event_id) do update set
            error = excluded.error,
            attempts = dead_letters.attempts + 1,
            last_failed_at = excluded.last_failed_at
        """,
        {
            "name": name,
            "type": kind if isinstance(kind, str) else None,
            "payload": json_text(event) if event is not None else None,
            "error": reason[:500],
            "as_of": as_of,
            "body": body[:_LONGEST_BODY].replace("\x00", "\ufffd") if body is not None else None,
            "signature": signature,
            "received_at": received_at,
            "origin": origin,
        },
    )


def dead_letters(conn: psycopg2.extensions.connection) -> list[DeadLetter]:
    """Every event that could not be applied, the oldest failure first."""
    with conn.cursor() as cursor:
        cursor.execute(
            """
            select event_id, type, error, attempts, last_failed_at, origin, body, signature,
                received_at, payload::text
            from ops.dead_letters order by first_failed_at, event_id
            """
        )
        found = [DeadLetter(*row) for row in cursor]
    conn.rollback()
    return found


def drop(
    cursor: psycopg2.extensions.cursor, letter: DeadLetter, actor: str, as_of: datetime
) -> None:
    """Drop a dead letter that was applied, and log who did it, in the caller's transaction."""
    cursor.execute("delete from ops.dead_letters where event_id = %s", (letter.event_id,))
    cursor.execute(
        """
        insert into ops.audit_log (actor, action, subject, before, after, at)
        values (%s, 'replay_event', %s, jsonb_build_object('error', %s::text), null, %s)
        """,
        (actor, letter.event_id, letter.error, as_of),
    )


def retried(
    cursor: psycopg2.extensions.cursor, letter: DeadLetter, error: str, as_of: datetime
) -> None:
    """Count one more attempt that failed, in the caller's transaction."""
    cursor.execute(
        "update ops.dead_letters set error = %s, attempts = attempts + 1, last_failed_at = %s"
        " where event_id = %s",
        (error[:500], as_of, letter.event_id),
    )
