"""Loads each natural group of Stripe objects; a group's tables change together or not at all.

A refused optional object leaves its tables empty and says so in `raw_stripe.sync_status`; a refused
core object ends the load before anything is written. Meter event summaries are in `summaries.py`,
events in `events.py`, payments in `load_payments.py`.
Order: subscriptions, invoices and credit notes first: the others retrieve what these refer to.
"""

from collections.abc import Iterable, Sequence
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
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.columns import Sync
from leakage_pipeline.stripe_billing.discounts import coupons_inside, found_discounts
from leakage_pipeline.stripe_billing.group import Flatten, GroupLoad, LoadResult
from leakage_pipeline.stripe_billing.references import (
    Retrieved,
    prices_on_items,
    referenced,
    retrieve_all,
    with_all_tiers,
)
from leakage_pipeline.stripe_billing.tables_changes import (
    PROMOTION_CODES,
    SUBSCRIPTION_SCHEDULE_PHASES,
    SUBSCRIPTION_SCHEDULES,
)
from leakage_pipeline.stripe_billing.tables_payments import INVOICE_ITEMS
from leakage_pipeline.stripe_billing.values import Json

Connection = psycopg2.extensions.connection

_FINALISED = frozenset({"open", "paid", "uncollectible"})


def load_subscriptions(reader: StripeReader, conn: Connection, as_of: datetime) -> LoadResult:
    """Load subscriptions in every status, with all their items.

    Args:
        reader: Access to the account.
        conn: The warehouse.
        as_of: Instant of the audit; objects created later are left out.

    Returns:
        Rows by table.

    Raises:
        PermanentFailure: refused, or an object that cannot be read; nothing is written.
        TransientFailure: Stripe keeps failing; nothing is written.
    """
    specs = (tables.SUBSCRIPTIONS, tables.SUBSCRIPTION_ITEMS)
    with GroupLoad(reader, conn, as_of, specs) as load:
        load.read("subscriptions", flatten.subscriptions)
        return load.commit()


def load_schedules(reader: StripeReader, conn: Connection, as_of: datetime) -> LoadResult:
    """Load subscription schedules with the items of all their phases.

    Arguments and errors as for `load_subscriptions`; a refusal leaves the tables empty.
    """
    specs = (SUBSCRIPTION_SCHEDULES, SUBSCRIPTION_SCHEDULE_PHASES)
    with GroupLoad(reader, conn, as_of, specs) as load:
        load.read("subscription_schedules", flatten_changes.schedules)
        return load.commit()


def load_invoices(reader: StripeReader, conn: Connection, as_of: datetime) -> LoadResult:
    """Load invoices with all lines; `totals` are those of finalised invoices. Needs subscriptions.

    Arguments and errors as for `load_subscriptions`.
    """
    specs = (
        *(tables.INVOICES, tables.INVOICE_LINES, tables.INVOICE_LINE_DISCOUNTS),
        INVOICE_ITEMS,
    )
    with GroupLoad(reader, conn, as_of, specs) as load:
        item_of: dict[str, str] = {}

        def flatten_items(objects: Sequence[Json], sync: Sync) -> dict[str, pa.RecordBatch]:
            item_of.update(flatten_payments.subscription_items_by_item(objects))
            return flatten_payments.invoice_items(objects, sync)

        load.read("invoice_items", flatten_items)
        if load.refused("invoice_items"):
            load.note("invoice_items", "lines of pending items lack their subscription item")
        totals: dict[str, int] = {}

        def flatten_page(objects: Sequence[Json], sync: Sync) -> dict[str, pa.RecordBatch]:
            _add_totals(totals, objects)
            return flatten_invoices.invoices(objects, sync, item_of)

        load.read("invoices", flatten_page, floor=_oldest_subscription(conn))
        result = load.commit()
        result.totals = totals
        return result


def load_credit_notes(reader: StripeReader, conn: Connection, as_of: datetime) -> LoadResult:
    """Load credit notes with all lines.

    Arguments and errors as for `load_subscriptions`; a refusal leaves the tables empty.
    """
    specs = (tables.CREDIT_NOTES, tables.CREDIT_NOTE_LINES)
    with GroupLoad(reader, conn, as_of, specs) as load:
        load.read("credit_notes", flatten_invoices.credit_notes)
        return load.commit()


def load_catalog(reader: StripeReader, conn: Connection, as_of: datetime) -> LoadResult:
    """Load prices, with tiers and currencies, and products. Needs subscriptions and invoices.

    Arguments and errors as for `load_subscriptions`.
    """
    specs = (
        *(tables.PRICES, tables.PRICE_CURRENCY_OPTIONS, tables.PRICE_TIERS),
        tables.PRODUCTS,
    )
    with GroupLoad(reader, conn, as_of, specs) as load:
        products_of_prices: set[str] = set()

        def flatten_prices(objects: Sequence[Json], sync: Sync) -> dict[str, pa.RecordBatch]:
            batches = flatten.prices(list(with_all_tiers(reader, objects)), sync)
            products_of_prices.update(batches["prices"].column("product_id").to_pylist())
            return batches

        listed = load.read("prices", flatten_prices)
        unlisted = referenced(conn, "prices") - listed
        outcome = Retrieved()
        load.add_each("prices", retrieve_all(reader, "prices", unlisted, outcome), flatten_prices)
        shown = prices_on_items(conn, outcome.missing)
        load.add_each("prices", shown.values(), flatten.prices)
        load.note("prices", outcome.without(shown).describe())

        listed = load.read("products", flatten.products)
        unlisted = (products_of_prices | referenced(conn, "products")) - listed - {None}
        _retrieve(load, "products", unlisted, flatten.products)
        return load.commit()


def load_customers(reader: StripeReader, conn: Connection, as_of: datetime) -> LoadResult:
    """Load customers, and deleted ones that something refers to. Needs all kinds of documents.

    Arguments and errors as for `load_subscriptions`.
    """
    with GroupLoad(reader, conn, as_of, (tables.CUSTOMERS,)) as load:
        listed = load.read("customers", flatten.customers)
        _retrieve(load, "customers", referenced(conn, "customers") - listed, flatten.customers)
        return load.commit()


def load_discounts(reader: StripeReader, conn: Connection, as_of: datetime) -> LoadResult:
    """Load discounts, from the loaded objects that carry them, coupons and promotion codes.

    Arguments and errors as for `load_subscriptions`.
    """
    specs = (tables.DISCOUNTS, tables.COUPONS, PROMOTION_CODES)
    with GroupLoad(reader, conn, as_of, specs) as load:
        found = found_discounts(conn)
        batches = flatten.discounts(found, load.sync)
        load.spool.add(batches)
        wanted = set(batches["discounts"].column("coupon_id").to_pylist()) - {None}
        unlisted = wanted - load.read("coupons", flatten.coupons)
        outcome = Retrieved(missing=list(unlisted))
        if not load.refused("coupons"):
            outcome.missing = []
            retrieved = retrieve_all(reader, "coupons", unlisted, outcome)
            load.add_each("coupons", retrieved, flatten.coupons)
        shown = coupons_inside(found, outcome.missing)
        load.add_each("coupons", shown.values(), flatten.coupons)
        if not load.refused("coupons"):
            load.note("coupons", outcome.without(shown).describe())
        load.read("promotion_codes", flatten_changes.promotion_codes)
        return load.commit()


def load_meters(reader: StripeReader, conn: Connection, as_of: datetime) -> LoadResult:
    """Load billing meters, inactive ones too.

    Arguments and errors as for `load_subscriptions`; a refusal leaves the table empty.
    """
    with GroupLoad(reader, conn, as_of, (tables.METERS,)) as load:
        load.read("meters", flatten.meters)
        return load.commit()


def _retrieve(load: GroupLoad, object_name: str, ids: Iterable[str], rows: Flatten) -> None:
    outcome = Retrieved()
    load.add_each(object_name, retrieve_all(load.reader, object_name, ids, outcome), rows)
    load.note(object_name, outcome.describe())


def _oldest_subscription(conn: Connection) -> datetime | None:
    with conn.cursor() as cursor:
        cursor.execute("select min(least(created, start_date)) from raw_stripe.subscriptions")
        row: tuple[datetime | None] | None = cursor.fetchone()
    conn.rollback()
    return row[0] if row else None


def _add_totals(totals: dict[str, int], invoices: Iterable[Json]) -> None:
    for invoice in invoices:
        currency, total = invoice.get("currency"), invoice.get("total")
        if invoice.get("status") in _FINALISED and isinstance(total, int):
            totals[str(currency)] = totals.get(str(currency), 0) + total
