"""Loads each natural group of Stripe objects; a group's tables change together or not at all.

A refused optional object leaves its tables empty and says so in `raw_stripe.sync_status`; a refused
core object ends the load before anything is written. Meter event summaries are in `summaries.py`,
events in `events.py`, payments in `load_payments.py`.
Order: subscriptions, invoices and credit notes first: the others retrieve what these refer to.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

import psycopg2.extensions
import pyarrow as pa

from leakage_pipeline.stripe_billing import (
    flatten,
    flatten_changes,
    flatten_invoices,
    flatten_payments,
    tables,
)
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.columns import Sync
from leakage_pipeline.stripe_billing.discounts import coupons_inside, found_discounts
from leakage_pipeline.stripe_billing.group import Flatten, GroupLoad
from leakage_pipeline.stripe_billing.homes import HOMES, stored_ids
from leakage_pipeline.stripe_billing.load_result import LoadResult
from leakage_pipeline.stripe_billing.meter_errors import read_meter_errors
from leakage_pipeline.stripe_billing.references import (
    Retrieved,
    drop_unreferenced,
    known_missing,
    note_unlisted,
    prices_on_items,
    referenced,
    retrieve_all,
    unknown_references,
    unlisted_so_far,
    with_all_tiers,
)
from leakage_pipeline.stripe_billing.rereading import Watch
from leakage_pipeline.stripe_billing.tables_changes import (
    METER_ERRORS,
    PROMOTION_CODES,
    SUBSCRIPTION_SCHEDULE_PHASES,
    SUBSCRIPTION_SCHEDULES,
)
from leakage_pipeline.stripe_billing.tables_payments import INVOICE_ITEMS
from leakage_pipeline.stripe_billing.values import Json

Connection = psycopg2.extensions.connection

_FINALISED = frozenset({"open", "paid", "uncollectible"})
_EVERYTHING = Refresh()
# Nothing tells how often a code was used; a business with more of them hardly reads them by hand.
_FEW_CODES = 1_000


def load_subscriptions(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh = _EVERYTHING
) -> LoadResult:
    """Load subscriptions in every status, with all their items.

    Args:
        reader: Access to the account.
        conn: The warehouse.
        as_of: Instant of the audit; objects created later are left out.
        how: Whether to read what changed alone, where that can be known.

    Returns:
        Rows by table.

    Raises:
        PermanentFailure: refused, or an object that cannot be read; nothing is written.
        TransientFailure: Stripe keeps failing; nothing is written.
    """
    specs = (tables.SUBSCRIPTIONS, tables.SUBSCRIPTION_ITEMS)
    with GroupLoad(reader, conn, as_of, specs, how=how) as load:
        load.read("subscriptions", flatten.subscriptions)
        return load.commit()


def load_schedules(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh = _EVERYTHING
) -> LoadResult:
    """Load subscription schedules with the items of all their phases.

    Arguments and errors as for `load_subscriptions`; a refusal leaves the tables empty.
    """
    specs = (SUBSCRIPTION_SCHEDULES, SUBSCRIPTION_SCHEDULE_PHASES)
    with GroupLoad(reader, conn, as_of, specs, how=how) as load:
        load.read("subscription_schedules", flatten_changes.schedules)
        return load.commit()


def load_invoices(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh = _EVERYTHING
) -> LoadResult:
    """Load invoices with all lines; `totals` are those of finalised invoices. Needs subscriptions.

    Arguments and errors as for `load_subscriptions`.
    """
    specs = (
        *(tables.INVOICES, tables.INVOICE_LINES, tables.INVOICE_LINE_DISCOUNTS),
        INVOICE_ITEMS,
    )
    with GroupLoad(reader, conn, as_of, specs, how=how) as load:
        item_of: dict[str, str] = {}

        def flatten_items(objects: Sequence[Json], sync: Sync) -> dict[str, pa.RecordBatch]:
            item_of.update(flatten_payments.subscription_items_by_item(objects))
            return flatten_payments.invoice_items(objects, sync)

        # Nothing tells when an invoice takes up an item, or that a draft has grown.
        load.read(
            "invoice_items", flatten_items, watch=Watch({"pending": True}, "invoice_id is null")
        )
        if load.refused("invoice_items"):
            load.note("invoice_items", "lines of pending items lack their subscription item")

        def flatten_page(objects: Sequence[Json], sync: Sync) -> dict[str, pa.RecordBatch]:
            if load.is_partial("invoices"):
                unknown = flatten_invoices.invoice_items_of(objects) - item_of.keys()
                item_of.update(_stored_items(conn, unknown))
            return flatten_invoices.invoices(objects, sync, item_of)

        drafts = Watch({"status": "draft"}, "status = 'draft'")
        load.read("invoices", flatten_page, floor=_oldest_subscription(conn), watch=drafts)
        if load.is_partial("invoices"):
            _items_of_gone_drafts(load, flatten_items)
        result = load.commit()
        result.totals = _totals(conn)
        return result


def load_credit_notes(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh = _EVERYTHING
) -> LoadResult:
    """Load credit notes with all lines.

    Arguments and errors as for `load_subscriptions`; a refusal leaves the tables empty.
    """
    specs = (tables.CREDIT_NOTES, tables.CREDIT_NOTE_LINES)
    with GroupLoad(reader, conn, as_of, specs, how=how) as load:
        load.read("credit_notes", flatten_invoices.credit_notes)
        return load.commit()


def load_catalog(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh = _EVERYTHING
) -> LoadResult:
    """Load prices, with tiers and currencies, and products. Needs subscriptions and invoices.

    Arguments and errors as for `load_subscriptions`.
    """
    specs = (
        *(tables.PRICES, tables.PRICE_CURRENCY_OPTIONS, tables.PRICE_TIERS),
        tables.PRODUCTS,
    )
    with GroupLoad(reader, conn, as_of, specs, how=how) as load:
        products_of_prices: set[str] = set()

        def flatten_prices(objects: Sequence[Json], sync: Sync) -> dict[str, pa.RecordBatch]:
            batches = flatten.prices(list(with_all_tiers(reader, objects)), sync)
            products_of_prices.update(batches["prices"].column("product_id").to_pylist())
            return batches

        listed = load.read("prices", flatten_prices, only_listed=True)
        prices = Retrieved()
        asked = retrieve_all(reader, "prices", _unlisted(load, "prices", listed), prices)
        _add_unlisted(load, "prices", asked, flatten_prices)
        shown = prices_on_items(conn, prices.missing)
        _add_unlisted(load, "prices", shown.values(), flatten.prices)
        prices = prices.without(shown)

        listed = load.read("products", flatten.products, only_listed=True)
        unlisted = _unlisted(load, "products", listed)
        if load.is_partial("products"):
            unlisted |= products_of_prices - listed - stored_ids(conn, HOMES["products"], "true")
        else:
            unlisted |= products_of_prices - listed
        products = _retrieve(load, "products", unlisted - {None}, flatten.products)
        return load.commit(_settling(load, {"prices": prices, "products": products}))


def load_customers(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh = _EVERYTHING
) -> LoadResult:
    """Load customers, and deleted ones that something refers to. Needs all kinds of documents.

    Arguments and errors as for `load_subscriptions`.
    """
    with GroupLoad(reader, conn, as_of, (tables.CUSTOMERS,), how=how) as load:
        moved = set() if load.since is None else _moved_balances(conn, load.since)
        listed = load.read("customers", flatten.customers, also=moved)
        unlisted = _unlisted(load, "customers", listed)
        outcome = _retrieve(load, "customers", unlisted, flatten.customers)
        return load.commit(_settling(load, {"customers": outcome}))


def load_discounts(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh = _EVERYTHING
) -> LoadResult:
    """Load discounts, from the loaded objects that carry them, coupons and promotion codes.

    Arguments and errors as for `load_subscriptions`.
    """
    specs = (tables.DISCOUNTS, tables.COUPONS, PROMOTION_CODES)
    with GroupLoad(reader, conn, as_of, specs, how=how) as load:
        found = found_discounts(conn)
        batches = flatten.discounts(found, load.sync)
        load.spool.add(batches)
        wanted = set(batches["discounts"].column("coupon_id").to_pylist()) - {None}
        unlisted = wanted - load.read("coupons", flatten.coupons)
        outcome = Retrieved(missing=sorted(unlisted))
        if not load.refused("coupons"):
            # A coupon that was deleted stays so; one made anew under its id is listed.
            gone = unlisted & known_missing(conn, "coupons") if load.since else set()
            outcome = Retrieved(asked=len(gone), missing=sorted(gone))
            retrieved = retrieve_all(reader, "coupons", unlisted - gone, outcome)
            load.add_each("coupons", retrieved, flatten.coupons)
        shown = coupons_inside(found, outcome.missing)
        load.add_each("coupons", shown.values(), flatten.coupons)
        if not load.refused("coupons"):
            load.note("coupons", outcome.without(shown).describe())
        load.read("promotion_codes", flatten_changes.promotion_codes, few=_FEW_CODES)

        def remember(cursor: psycopg2.extensions.cursor) -> None:
            note_unlisted(cursor, "coupons", outcome.found, outcome.missing, anew=True)

        return load.commit(remember)


def load_meters(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh = _EVERYTHING
) -> LoadResult:
    """Load billing meters, inactive ones too, and what Stripe reports of rejected meter events.

    Arguments and errors as for `load_subscriptions`; a refusal leaves the table empty.
    """
    specs = (tables.METERS, METER_ERRORS)
    with GroupLoad(reader, conn, as_of, specs, merged=(METER_ERRORS,), how=how) as load:
        load.read("meters", flatten.meters)
        read_meter_errors(load, as_of)
        return load.commit()


def _unlisted(load: GroupLoad, object_name: str, listed: set[str]) -> set[str]:
    """Ids that must be asked for, because something refers to them and no list shows them."""
    if not load.is_partial(object_name):
        return referenced(load.conn, object_name) - listed
    lost = load.outcome(object_name).gone & referenced(load.conn, object_name)
    return (unknown_references(load.conn, object_name) | lost) - listed


def _add_unlisted(load: GroupLoad, name: str, objects: Iterable[Json], rows: Flatten) -> None:
    def noting(page: Sequence[Json], sync: Sync) -> dict[str, pa.RecordBatch]:
        if load.is_partial(name):
            load.outcome(name).read.update(str(item.get("id")) for item in page)
        return rows(page, sync)

    load.add_each(name, objects, noting)


def _retrieve(load: GroupLoad, name: str, ids: Iterable[str], rows: Flatten) -> Retrieved:
    outcome = Retrieved()
    _add_unlisted(load, name, retrieve_all(load.reader, name, ids, outcome), rows)
    return outcome


def _settling(
    load: GroupLoad, retrieved: Mapping[str, Retrieved]
) -> Callable[[psycopg2.extensions.cursor], None]:
    """The rest of the transaction: remember what was asked for, drop what is not needed."""

    def settle(cursor: psycopg2.extensions.cursor) -> None:
        for name, outcome in retrieved.items():
            partial = load.is_partial(name)
            note_unlisted(cursor, name, outcome.found, outcome.missing, anew=not partial)
            if partial:
                drop_unreferenced(cursor, name)
                outcome = unlisted_so_far(cursor, name)  # noqa: PLW2901 - of all nights
            load.note(name, outcome.describe())

    return settle


def _oldest_subscription(conn: Connection) -> datetime | None:
    with conn.cursor() as cursor:
        cursor.execute("select min(least(created, start_date)) from raw_stripe.subscriptions")
        row: tuple[datetime | None] | None = cursor.fetchone()
    conn.rollback()
    return row[0] if row else None


def _totals(conn: Connection) -> dict[str, int]:
    with conn.cursor() as cursor:
        cursor.execute(
            "select currency, sum(total)::bigint from raw_stripe.invoices"
            " where status = any(%s) and total is not null group by currency",
            (list(_FINALISED),),
        )
        found = dict(cursor.fetchall())
    conn.rollback()
    return found


def _stored_items(conn: Connection, invoice_items: Collection[str]) -> dict[str, str]:
    """The subscription items that stored invoice items were made for."""
    with conn.cursor() as cursor:
        cursor.execute(
            "select invoice_item_id, subscription_item_id from raw_stripe.invoice_items"
            " where invoice_item_id = any(%s) and subscription_item_id is not null",
            (list(invoice_items),),
        )
        found = dict(cursor.fetchall())
    conn.rollback()
    return found


def _items_of_gone_drafts(load: GroupLoad, rows: Flatten) -> None:
    gone = load.outcome("invoices").gone
    if not gone or not load.is_partial("invoice_items"):
        return
    with load.conn.cursor() as cursor:
        cursor.execute(
            "select invoice_item_id from raw_stripe.invoice_items where invoice_id = any(%s)",
            (list(gone),),
        )
        items = {name for (name,) in cursor} - load.outcome("invoice_items").read
    load.conn.rollback()
    for objects in load.again("invoice_items", items):
        load.add("invoice_items", rows(objects, load.sync), len(objects))


def _moved_balances(conn: Connection, since: datetime) -> set[str]:
    """Customers whose balance an invoice has used that was read again since."""
    with conn.cursor() as cursor:
        cursor.execute(
            "select distinct customer_id from raw_stripe.invoices"
            " where synced_at > %s and starting_balance is distinct from ending_balance",
            (since,),
        )
        found = {name for (name,) in cursor if name is not None}
    conn.rollback()
    return found
