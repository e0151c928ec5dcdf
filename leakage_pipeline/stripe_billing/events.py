"""Loads events: how subscriptions came to be what they are, and what nobody has been told.

Stripe forgets an event after 30 days, so the rows of earlier audits stay and new ones are merged.
Bodies are in the API version of their time; the models that read them know the old layouts.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg2.extensions
import pyarrow as pa
import stripe

from leakage_pipeline.stripe_billing.change_feed import OVERLAP, ChangeFeed
from leakage_pipeline.stripe_billing.changes import Refresh, progress_of
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.columns import Flattener, Sync
from leakage_pipeline.stripe_billing.flatten_changes import webhook_endpoints
from leakage_pipeline.stripe_billing.getters import Getter, declared
from leakage_pipeline.stripe_billing.group import GroupLoad
from leakage_pipeline.stripe_billing.load_result import LoadResult
from leakage_pipeline.stripe_billing.objects import HISTORY_EVENTS
from leakage_pipeline.stripe_billing.tables_changes import EVENTS, WEBHOOK_ENDPOINTS
from leakage_pipeline.stripe_billing.tracking import body_of, id_of
from leakage_pipeline.stripe_billing.values import Json

Connection = psycopg2.extensions.connection

KEPT_BY_STRIPE = timedelta(days=30)
_EVERYTHING = Refresh()
# A deaf endpoint can leave millions; these many tell what is wrong, at 100 requests.
_UNDELIVERED_AT_MOST = 10_000


def _in_body(name: str) -> Getter:
    return lambda event: id_of(body_of(event).get(name))


def _customer(event: Json) -> str | None:
    body = body_of(event)
    return id_of(body) if body.get("object") == "customer" else id_of(body.get("customer"))


def _subscription(event: Json) -> str | None:
    body = body_of(event)
    if body.get("object") == "subscription":
        return id_of(body)
    parent = body.get("parent")
    details = parent.get("subscription_details") if isinstance(parent, dict) else None
    # Invoices and discounts; on invoices inside `parent` since 2025-03-31.
    inside = details.get("subscription") if isinstance(details, dict) else None
    return id_of(inside) or id_of(body.get("subscription"))


_FLATTENER = Flattener(
    EVENTS,
    {
        "event_id": "id",
        "type": "type",
        "created": "created",
        "object_type": _in_body("object"),
        "object_id": _in_body("id"),
        "customer_id": _customer,
        "subscription_id": _subscription,
        "api_version": "api_version",
        "pending_webhooks": "pending_webhooks",
        # An id alone until 2017-05-25.
        "request_id": lambda event: id_of(event.get("request")),
        "previous_attributes": lambda event: (event.get("data") or {}).get("previous_attributes"),
        "data_object": lambda event: (event.get("data") or {}).get("object"),
    },
    required=frozenset({"type", "created"}),
    payload_without="data",
    known_keys=declared(stripe.Event),
)


def flatten_events(
    objects: Sequence[Json], sync: Sync, *, undelivered: bool | None = None
) -> dict[str, pa.RecordBatch]:
    """Flatten events; `undelivered` says whether an endpoint has yet to take them, if known."""
    flags = [undelivered] * len(objects)
    return {"events": _FLATTENER.batch(objects, sync, is_undelivered=flags)}


def load_events(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh = _EVERYTHING
) -> LoadResult:
    """Load webhook endpoints, and the events since the last audit, 30 days of them the first time.

    With them go the changes that later loads read: every event that was not applied before marks
    what it is about, in the same transaction.

    Args:
        reader: Access to the account.
        conn: The warehouse.
        as_of: Instant of the audit; later events are left out.
        how: Whether later loads read what changed alone.

    Returns:
        Rows by table; the ones that were there before are not counted.

    Raises:
        PermanentFailure: an event cannot be read; nothing is written.
        TransientFailure: Stripe keeps failing; nothing is written.
    """
    specs = (EVENTS, WEBHOOK_ENDPOINTS)
    of_this_account = replace(how, incremental=False)  # marks are for what comes after this load
    with GroupLoad(reader, conn, as_of, specs, merged=(EVENTS,), how=of_this_account) as load:
        load.read("webhook_endpoints", webhook_endpoints)
        oldest = as_of - KEPT_BY_STRIPE
        since = max(oldest, _resume_at(conn, as_of, how.source))
        history = load.read("events", flatten_events, since=since)
        undelivered = _Undelivered(oldest, history)
        is_marked = load.attempt("undelivered_events", lambda: undelivered.read(load))
        feed = ChangeFeed(load, how)
        if feed.is_wanted:
            load.attempt("changes", feed.read)

        def also(cursor: psycopg2.extensions.cursor) -> None:
            if is_marked:
                undelivered.mark(cursor)
            feed.apply(cursor)

        return load.commit(also)


class _Undelivered:
    """The events of the last days that some endpoint has not taken."""

    def __init__(self, since: datetime, stored: set[str]) -> None:
        self._since = int(since.timestamp())
        self._until = self._since
        self._stored = stored  # these have rows already
        self._ids: set[str] = set()

    def read(self, load: GroupLoad) -> None:
        """Read their list, newest first, up to a limit; add those that have no row yet."""
        self._until = int(load.as_of.timestamp())
        span = {"gte": self._since, "lte": self._until}
        for page in load.reader.list("undelivered_events", created=span):
            inside = [event for event in page.objects if self._inside(event)]
            fresh = [event for event in inside if event.get("id") not in self._stored]
            batches = flatten_events(fresh, load.sync, undelivered=True)
            load.add("undelivered_events", batches, len(inside))
            ids = {str(event.get("id")) for event in inside}
            self._ids |= ids
            self._stored |= ids
            if page.has_more and len(self._ids) >= _UNDELIVERED_AT_MOST:
                load.note("undelivered_events", f"only the newest {len(self._ids)} were read")
                self._since = min(event["created"] for event in inside) + 1
                return

    def mark(self, cursor: psycopg2.extensions.cursor) -> None:
        """Set the flag of every event of these days: one delivered since is no longer listed."""
        cursor.execute(
            """
            update raw_stripe.events
            set is_undelivered = event_id = any(%(ids)s)
            where created >= to_timestamp(%(since)s) and created <= to_timestamp(%(until)s)
                and is_undelivered is distinct from event_id = any(%(ids)s)
            """,
            {"ids": list(self._ids), "since": self._since, "until": self._until},
        )

    def _inside(self, event: Json) -> bool:
        created = event.get("created")
        return type(created) is not int or self._since <= created <= self._until


def _resume_at(conn: Connection, as_of: datetime, source: str) -> datetime:
    """Where the stored history ends, less an overlap; the beginning when it may have a hole.

    What was read of another account, or at another address, says nothing about this one.
    """
    beginning = datetime.min.replace(tzinfo=UTC)
    if progress_of(conn, EVENTS.name, source) is None:
        return beginning
    with conn.cursor() as cursor:
        cursor.execute(
            """
            select max(created) from raw_stripe.events
            where type = any(%s) and created <= %s and exists (
                select 1 from raw_stripe.sync_status where object = 'events' and status = 'ok'
            )
            """,
            (list(HISTORY_EVENTS), as_of),
        )
        row: tuple[datetime | None] | None = cursor.fetchone()
    conn.rollback()
    newest = row[0] if row else None
    return newest - OVERLAP if newest else beginning
