"""Keeps in `ops` what has been applied, what must be read again, and how far each group is read.

An event is applied by noting its id and marking its objects, in one transaction; reading an object
again takes its mark off in the transaction that writes its rows. So nothing is lost or done twice,
whatever breaks off when, and whoever else applies the same event at the same time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import psycopg2.extensions
from psycopg2.extras import execute_values

from leakage_pipeline.stripe_billing.tracking import Mark, id_of, marks_of
from leakage_pipeline.stripe_billing.values import Json

Connection = psycopg2.extensions.connection
Cursor = psycopg2.extensions.cursor

CHANGE_FEED = "change_feed"
# Stripe keeps events for 30 days; a day less leaves room for clocks and slow runs.
_FORGOTTEN_AFTER = timedelta(days=29)


@dataclass(frozen=True)
class Refresh:
    """How a load is to read.

    Attributes:
        incremental: Only what changed, where that can be known.
        full_load_days: After so many days everything is read again all the same.
        source: The account that is read; what was read of another one is worth nothing.
        read_budget: Reads in 30 days after which optional questions stop; None: Stripe's own limit.
    """

    incremental: bool = False
    full_load_days: int = 7
    source: str = ""
    read_budget: int | None = None


@dataclass(frozen=True)
class Progress:
    """How far something is read.

    Attributes:
        read_at: Instant of the newest audit that read it.
        full_at: Instant of the newest audit that read all of it; of the change feed, where its
            coverage without a gap begins.
    """

    read_at: datetime
    full_at: datetime


@dataclass(frozen=True)
class Pending:
    """A mark that waits, and which of several it is, if the object was marked again meanwhile."""

    object_id: str
    change_id: int
    created: int | None


def progress_of(conn: Connection, name: str, source: str) -> Progress | None:
    """How far a group, or the change feed, was read of this account; None when it never was."""
    with conn.cursor() as cursor:
        cursor.execute(
            "select read_at, full_at from ops.stripe_cursors where object = %s and source = %s",
            (name, source),
        )
        row = cursor.fetchone()
    conn.rollback()
    return Progress(*row) if row else None


def changed_since(conn: Connection, name: str, as_of: datetime, how: Refresh) -> datetime | None:
    """Since when a group must be read; None: all of it.

    All of it is read when that is asked for, when it is due, when the audit looks back behind the
    newest one, and when events are missing between the two.
    """
    if not how.incremental:
        return None
    group = progress_of(conn, name, how.source)
    feed = progress_of(conn, CHANGE_FEED, how.source)
    if group is None or feed is None or feed.read_at != as_of or group.read_at > as_of:
        return None
    if as_of - group.full_at >= timedelta(days=how.full_load_days):
        return None
    return group.read_at if feed.full_at <= group.read_at else None


def feed_since(conn: Connection, as_of: datetime, how: Refresh) -> datetime | None:
    """Since when events are needed; None when everything is read anyway and coverage begins."""
    feed = progress_of(conn, CHANGE_FEED, how.source) if how.incremental else None
    if feed is None or feed.read_at > as_of or as_of - feed.read_at > _FORGOTTEN_AFTER:
        return None
    return feed.read_at


def note_progress(cursor: Cursor, name: str, as_of: datetime, how: Refresh, *, full: bool) -> None:
    """Note that something was read, in the caller's transaction."""
    cursor.execute(
        """
        insert into ops.stripe_cursors (object, source, read_at, full_at)
        values (%(name)s, %(source)s, %(as_of)s, %(as_of)s)
        on conflict (object) do update set
            source = excluded.source,
            read_at = excluded.read_at,
            full_at = case when %(full)s then excluded.full_at else stripe_cursors.full_at end
        """,
        {"name": name, "source": how.source, "as_of": as_of, "full": full},
    )


def forget_progress(cursor: Cursor, name: str) -> None:
    """Let the next audit read everything of a group."""
    cursor.execute("delete from ops.stripe_cursors where object = %s", (name,))


def unapply_later(cursor: Cursor, as_of: datetime) -> None:
    """Forget that later events were applied: an audit of the past has undone what they did."""
    cursor.execute("delete from ops.stripe_events where created > %s", (as_of,))


def apply_events(
    cursor: Cursor, events: Iterable[Json], as_of: datetime, origin: str
) -> tuple[int, dict[str, str]]:
    """Apply events that were not applied before, in the caller's transaction.

    Args:
        cursor: Of that transaction.
        events: Whole events, each with an id, a type and a time; in any order, some twice.
        as_of: Instant of the audit.
        origin: Where they come from, such as `api`.

    Returns:
        How many were new; and by id those that could not be applied, with the reason. They are not
        noted as applied.
    """
    given = {str(event["id"]): event for event in events}
    marks, failed = {}, {}
    for name, event in given.items():
        try:
            marks[name] = list(marks_of(event))
        except (ValueError, TypeError, AttributeError) as error:
            failed[name] = str(error)
    # In order of their ids, so that two who apply the same events wait and never block each other.
    rows = [_row(given[name], as_of, origin) for name in sorted(marks)]
    fresh = execute_values(
        cursor,
        """
        insert into ops.stripe_events (event_id, type, api_version, created, processed_at, origin)
        values %s on conflict (event_id) do nothing returning event_id
        """,
        rows,
        page_size=1000,
        fetch=True,
    )
    wanted = [(mark, str(given[name]["type"])) for (name,) in fresh for mark in marks[name]]
    mark_changed(cursor, wanted, as_of)
    return len(fresh), failed


def mark_changed(cursor: Cursor, marks: Iterable[tuple[Mark, str]], as_of: datetime) -> None:
    """Mark objects to be read again, each with the type of the event that says so."""
    by_object: dict[tuple[str, str], tuple[int | None, str]] = {}
    for mark, why in marks:
        key = mark.object_name, mark.object_id
        known = by_object.get(key, (None, why))[0]
        by_object[key] = (mark.created if known is None else known, why)
    carriers = {key: why for key, (_, why) in by_object.items() if key[0] in _CARRYING}
    rows = [
        (*key, None if created is None else _instant(created), why, as_of)
        for key, (created, why) in sorted(by_object.items())
        if key not in carriers
    ]
    execute_values(
        cursor,
        f"{_MARK} values %s {_AGAIN}",
        rows,
        page_size=1000,
    )
    for (kind, object_id), why in sorted(carriers.items()):
        for statement in _CARRYING[kind]:
            cursor.execute(
                f"{_MARK} {statement} {_AGAIN}",
                {"id": object_id, "why": why, "as_of": as_of},
            )


def pending(conn: Connection, object_name: str) -> dict[str, Pending]:
    """The marks that wait for an object, by its id."""
    with conn.cursor() as cursor:
        cursor.execute(
            """
            select object_id, change_id, extract(epoch from object_created)::bigint
            from ops.stripe_changes where object = %s
            """,
            (object_name,),
        )
        found = {row[0]: Pending(*row) for row in cursor}
    conn.rollback()
    return found


def newest_mark(conn: Connection) -> int:
    """The number of the newest mark of any object."""
    with conn.cursor() as cursor:
        cursor.execute("select coalesce(max(change_id), 0) from ops.stripe_changes")
        row: tuple[int] = cursor.fetchone() or (0,)
    conn.rollback()
    return row[0]


def take_off(cursor: Cursor, object_name: str, marks: Sequence[Pending]) -> None:
    """Take marks off, but for those that were renewed meanwhile."""
    execute_values(
        cursor,
        """
        delete from ops.stripe_changes as changes
        using (values %s) as done (object, object_id, change_id)
        where changes.object = done.object and changes.object_id = done.object_id
            and changes.change_id = done.change_id
        """,
        [(object_name, mark.object_id, mark.change_id) for mark in marks],
        page_size=1000,
    )


def take_all_off(cursor: Cursor, object_names: Sequence[str], newest: int) -> None:
    """Take off every mark of objects that were read whole, up to the newest of that time."""
    cursor.execute(
        "delete from ops.stripe_changes where object = any(%s) and change_id <= %s",
        (list(object_names), newest),
    )


_MARK = """
    insert into ops.stripe_changes (object, object_id, object_created, event_type, noted_at)
"""
_AGAIN = """
    on conflict (object, object_id) do update set
        change_id = default,
        object_created = coalesce(stripe_changes.object_created, excluded.object_created),
        event_type = excluded.event_type,
        noted_at = excluded.noted_at
"""
_SUBSCRIPTIONS = """
    select distinct 'subscriptions', subscription_id, null::timestamptz, %(why)s,
        %(as_of)s::timestamptz
    from
"""
_INVOICES = """
    select distinct 'invoices', invoice_id, null::timestamptz, %(why)s, %(as_of)s::timestamptz
    from
"""
_CUSTOMERS = """
    select 'customers', customer_id, null::timestamptz, %(why)s, %(as_of)s::timestamptz
    from raw_stripe.customers where
"""
_HOLDS_COUPON = """
    jsonb_path_exists(
        payload,
        '$.**.source.coupon ? (@.id == $id)',
        jsonb_build_object('id', %(id)s::text)
    )
"""
# Whose stored rows hold a part of the object that has changed.
_CARRYING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "price_carriers": (
            f"{_SUBSCRIPTIONS} raw_stripe.subscription_items where price_id = %(id)s",
        ),
        "payment_method_carriers": (
            f"{_SUBSCRIPTIONS} raw_stripe.subscriptions where default_payment_method_id = %(id)s",
            f"{_CUSTOMERS} default_payment_method_id = %(id)s",
        ),
        "coupon_carriers": (
            f"{_CUSTOMERS} {_HOLDS_COUPON}",
            f"{_SUBSCRIPTIONS} raw_stripe.subscriptions where {_HOLDS_COUPON}",
            f"{_SUBSCRIPTIONS} raw_stripe.subscription_items where {_HOLDS_COUPON}",
            f"{_INVOICES} raw_stripe.invoices where {_HOLDS_COUPON}",
            f"{_INVOICES} raw_stripe.invoice_lines where {_HOLDS_COUPON}",
        ),
    }
)


def _row(event: Json, as_of: datetime, origin: str) -> tuple[object, ...]:
    version = event.get("api_version")
    created = event["created"]
    instant = _instant(created) if type(created) is int else created
    name = id_of(event)
    return (
        name,
        event["type"],
        version if isinstance(version, str) else None,
        instant,
        as_of,
        origin,
    )


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
