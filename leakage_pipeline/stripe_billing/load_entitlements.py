"""Loads what customers may use: features, and the active entitlements of each customer.

Entitlements have no list of the whole account: they cost a request per customer, so they are asked
only where the account has features, for customers with a running subscription, and again when that,
the customer, a feature or, as an event tells, the entitlements have changed.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import psycopg2.extensions
import pyarrow as pa
import stripe

from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.columns import Flattener, Sync
from leakage_pipeline.stripe_billing.concurrency import gather
from leakage_pipeline.stripe_billing.errors import ObjectMissing
from leakage_pipeline.stripe_billing.getters import declared, ref
from leakage_pipeline.stripe_billing.group import GroupLoad
from leakage_pipeline.stripe_billing.load_result import LoadResult
from leakage_pipeline.stripe_billing.objects import OBJECTS
from leakage_pipeline.stripe_billing.status import read_sync_status
from leakage_pipeline.stripe_billing.tables_entitlements import ACTIVE_ENTITLEMENTS, FEATURES
from leakage_pipeline.stripe_billing.values import Json

Connection = psycopg2.extensions.connection

_OBJECT = "active_entitlements"
_CUSTOMERS_AT_MOST = 2_000
_EVERYTHING = Refresh()

_FEATURES = Flattener(
    FEATURES,
    {
        "feature_id": "id",
        "lookup_key": "lookup_key",
        "name": "name",
        "active": "active",
        "metadata": "metadata",
    },
    known_keys=declared(stripe.entitlements.Feature),
)
_ENTITLEMENTS = Flattener(
    ACTIVE_ENTITLEMENTS,
    {
        "entitlement_id": "id",
        "customer_id": "customer",  # put there by `_lists`: the object itself does not say
        "feature_id": ref("feature"),
        "lookup_key": "lookup_key",
    },
    known_keys=declared(stripe.entitlements.ActiveEntitlement, "customer"),
)
_ENTITLED = """
    select
        customers.customer_id,
        customers.synced_at > %(since)s or bool_or(subscriptions.synced_at > %(since)s) as changed
    from raw_stripe.customers as customers
    inner join raw_stripe.subscriptions as subscriptions
        on customers.customer_id = subscriptions.customer_id
    where
        not customers.deleted
        and subscriptions.status in ('active', 'trialing', 'past_due')
    group by customers.customer_id
    order by max(subscriptions.created) desc, customers.customer_id
    limit %(limit)s
"""


def load_entitlements(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh = _EVERYTHING
) -> LoadResult:
    """Load features, and the entitlements of customers with a running subscription.

    Arguments and errors as for `load_subscriptions`. Needs customers and subscriptions.
    """
    was_complete = any(
        status.object == _OBJECT and status.is_ok for status in read_sync_status(conn)
    )
    with GroupLoad(reader, conn, as_of, (FEATURES, ACTIVE_ENTITLEMENTS), how=how) as load:
        before = _stored_features(conn)
        now: set[str] = set()

        def noting(objects: Sequence[Json], sync: Sync) -> dict[str, pa.RecordBatch]:
            now.update(str(item.get("id")) for item in objects if item.get("active"))
            return features(objects, sync)

        has_features = bool(load.read("features", noting))
        load.count(_OBJECT, 0)
        if load.refused("features"):
            load.refuse(_OBJECT, "not asked for, since features cannot be read")
        entitled = _entitled(conn, load.since or as_of) if has_features else {}
        # A feature that came or went may be in anybody's entitlements.
        if load.since is not None and was_complete and now == before:
            marked = load.pending(_OBJECT).keys()
            asked = [name for name, changed in entitled.items() if changed or name in marked]
            kept = sorted(set(entitled) - set(asked))
            load.count(_OBJECT, _held(conn, kept))
        else:
            asked, kept = list(entitled), []

        def read() -> None:
            for objects in gather(_lists(reader, asked), reader.workers):
                load.add(_OBJECT, entitlements(objects, load.sync), len(objects))

        if not load.attempt(_OBJECT, read):
            load.spool.discard([ACTIVE_ENTITLEMENTS.name])
            kept = []
        elif kept:
            load.merge_only(ACTIVE_ENTITLEMENTS)
        if len(entitled) == _CUSTOMERS_AT_MOST:
            load.note(_OBJECT, f"asked for the {_CUSTOMERS_AT_MOST} newest customers alone")
        return load.commit(lambda cursor: _forget_others(cursor, as_of, kept))


def features(objects: Sequence[Json], sync: Sync) -> dict[str, pa.RecordBatch]:
    """Flatten features."""
    return {FEATURES.name: _FEATURES.batch(objects, sync)}


def entitlements(objects: Sequence[Json], sync: Sync) -> dict[str, pa.RecordBatch]:
    """Flatten active entitlements that bear their customer."""
    return {ACTIVE_ENTITLEMENTS.name: _ENTITLEMENTS.batch(objects, sync)}


def _lists(
    reader: StripeReader, customers: Iterable[str]
) -> list[Callable[[], Iterable[list[Json]]]]:
    target = OBJECTS[_OBJECT]

    def lists_of(customer: str) -> Callable[[], Iterable[list[Json]]]:
        def pages() -> Iterable[list[Json]]:
            try:
                for page in reader.pages(target, target.path, {"customer": customer}):
                    yield [{**item, "customer": customer} for item in page.objects]
            except ObjectMissing:
                return  # deleted meanwhile

        return pages

    return [lists_of(customer) for customer in customers]


def _entitled(conn: Connection, since: datetime) -> dict[str, bool]:
    """Customers who may be entitled to something, and whether anything of them has changed."""
    with conn.cursor() as cursor:
        cursor.execute(_ENTITLED, {"since": since, "limit": _CUSTOMERS_AT_MOST})
        found = dict(cursor.fetchall())
    conn.rollback()
    return found


def _stored_features(conn: Connection) -> set[str]:
    with conn.cursor() as cursor:
        cursor.execute("select feature_id from raw_stripe.features where active")
        found = {name for (name,) in cursor}
    conn.rollback()
    return found


def _held(conn: Connection, customers: Sequence[str]) -> int:
    with conn.cursor() as cursor:
        cursor.execute(
            "select count(*) from raw_stripe.active_entitlements where customer_id = any(%s)",
            (list(customers),),
        )
        ((count,),) = cursor.fetchall()
    conn.rollback()
    return int(count)


def _forget_others(
    cursor: psycopg2.extensions.cursor, as_of: datetime, kept: Sequence[str]
) -> None:
    """Drop what was neither read now nor belongs to customers who were not asked again."""
    cursor.execute(
        """
        delete from raw_stripe.active_entitlements
        where synced_at <> %s and not customer_id = any(%s)
        """,
        (as_of, list(kept)),
    )
