"""All loads of the Stripe account in the order of an audit, and what they leave."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg2.extensions

from leakage_pipeline.stripe_billing import load, load_payments, tables
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.events import load_events
from leakage_pipeline.stripe_billing.load_entitlements import load_entitlements
from leakage_pipeline.stripe_billing.load_result import LoadResult

Connection = psycopg2.extensions.connection

LOADS: tuple[Callable[..., LoadResult], ...] = (
    load_events,
    load.load_subscriptions,
    load.load_invoices,
    load.load_credit_notes,
    load.load_catalog,
    load.load_customers,
    load.load_discounts,
    load.load_meters,
    load.load_schedules,
    load_payments.load_payments,
    load_payments.load_payment_methods,
    load_payments.load_balance_transactions,
    load_entitlements,
)
# How many requests it took, and when, is not what was read.
_ASIDE = {"requests", "synced_at"}


def load_everything(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh
) -> list[LoadResult]:
    """Run every load once."""
    return [one(reader, conn, as_of, how) for one in LOADS]


def contents(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of Stripe, but for how it was read."""
    found = {}
    with conn.cursor() as cursor:
        for spec in tables.TABLES:
            columns = [f"{name}::text" for name in spec.columns if name not in _ASIDE]
            cursor.execute(f"select {', '.join(columns)} from {spec.schema}.{spec.name}")  # noqa: S608
            found[spec.name] = sorted(cursor.fetchall(), key=str)
        cursor.execute(
            "select object, status, rows, detail from raw_stripe.sync_status"
            " where object not in ('changes', 'events', 'undelivered_events')"
        )
        found["sync_status"] = sorted(cursor.fetchall(), key=str)
    conn.rollback()
    return found
