"""Stripe's objects as assets: one step per natural group, each after those that it needs.

Events come before all others, since they say which objects have changed. Then subscriptions,
invoices and credit notes; prices, products, customers and coupons follow, because those that no
list shows are found by what refers to them.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import dagster as dg
import psycopg2.extensions

from leakage_pipeline.defs.failures import (
    RETRY_POLICY,
    permanent_failures_end_the_run,
)
from leakage_pipeline.defs.resources import AuditRun, StripeResource, WarehouseResource
from leakage_pipeline.stripe_billing import tables
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.events import load_events
from leakage_pipeline.stripe_billing.load import (
    load_catalog,
    load_credit_notes,
    load_customers,
    load_discounts,
    load_invoices,
    load_meters,
    load_schedules,
    load_subscriptions,
)
from leakage_pipeline.stripe_billing.load_entitlements import load_entitlements
from leakage_pipeline.stripe_billing.load_payments import (
    load_balance_transactions,
    load_payment_methods,
    load_payments,
)
from leakage_pipeline.stripe_billing.load_result import LoadResult
from leakage_pipeline.stripe_billing.status import SyncStatus, read_sync_status
from leakage_pipeline.stripe_billing.summaries import load_meter_event_summaries
from leakage_pipeline.stripe_billing.table_building import SCHEMA
from leakage_pipeline.stripe_billing.tables_changes import (
    EVENTS,
    METER_ERRORS,
    PROMOTION_CODES,
    SUBSCRIPTION_SCHEDULE_PHASES,
    SUBSCRIPTION_SCHEDULES,
    WEBHOOK_ENDPOINTS,
)
from leakage_pipeline.stripe_billing.tables_entitlements import ACTIVE_ENTITLEMENTS, FEATURES
from leakage_pipeline.stripe_billing.tables_payments import (
    CHARGES,
    CUSTOMER_BALANCE_TRANSACTIONS,
    DISPUTES,
    INVOICE_ITEMS,
    INVOICE_PAYMENTS,
    PAYMENT_METHODS,
    REFUNDS,
)
from leakage_pipeline.warehouse.tables import TableSpec

Load = Callable[[StripeReader, psycopg2.extensions.connection, datetime, Refresh], LoadResult]
Results = Iterator[dg.MaterializeResult[None]]

GROUP = "stripe_billing"
POOL = "stripe_api"
AUDIT_SETTINGS = dg.AssetKey(["raw_business", "audit_settings"])
SUMMARY_REQUESTS = dg.AssetKey(["intermediate", "int_usage__summary_requests"])


def _key(spec: TableSpec) -> dg.AssetKey:
    return dg.AssetKey([spec.schema, spec.name])


def _assets(*specs: TableSpec, needs: tuple[TableSpec, ...] = ()) -> list[dg.AssetSpec]:
    return [
        dg.AssetSpec(
            key=_key(spec),
            deps=[AUDIT_SETTINGS, *map(_key, needs), *(() if spec is EVENTS else (_key(EVENTS),))],
            description=spec.comment,
            group_name=GROUP,
            kinds={"stripe", "postgres"},
        )
        for spec in specs
    ]


def _load(
    context: dg.AssetExecutionContext,
    load: Load,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """Run one load and report each of its tables."""
    with permanent_failures_end_the_run():
        as_of = audit_run.as_of_for(context)
        how = stripe.refresh(full=audit_run.full_refresh)
        with warehouse.connect() as conn:
            result = load(stripe.reader(), conn, as_of, how)
            budget = stripe.budget(conn, as_of)
    for warning in result.warnings:
        context.log.warning(warning)
    shared: dict[str, Any] = {
        "as_of": dg.MetadataValue.timestamp(as_of),
        "read": "changes" if result.since else "everything",
        "read_budget": str(budget),
        **{f"requests/{name}": count for name, count in result.requests.items()},
        **{f"minor_units/{currency}": total for currency, total in result.totals.items()},
    }
    if result.warnings:
        shared["warnings"] = dg.MetadataValue.md("\n".join(f"- {line}" for line in result.warnings))
    if result.unknown:
        shared["unknown_to_this_version"] = ", ".join(result.unknown)
    for table, rows in result.items():
        yield dg.MaterializeResult(
            asset_key=dg.AssetKey([SCHEMA, table]),
            metadata={**shared, "dagster/row_count": rows},
        )


@dg.multi_asset(
    specs=_assets(tables.SUBSCRIPTIONS, tables.SUBSCRIPTION_ITEMS),
    pool=POOL,
    retry_policy=RETRY_POLICY,
)
def stripe_subscriptions(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per subscription in any status, one per item; replaced as a whole by id."""
    yield from _load(context, load_subscriptions, stripe, warehouse, audit_run)


@dg.multi_asset(
    specs=_assets(
        *(tables.INVOICES, tables.INVOICE_LINES, tables.INVOICE_LINE_DISCOUNTS, INVOICE_ITEMS),
        needs=(tables.SUBSCRIPTIONS,),
    ),
    pool=POOL,
    retry_policy=RETRY_POLICY,
)
def stripe_invoices(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per invoice, line, discount on a line, and invoice item; replaced as a whole."""
    yield from _load(context, load_invoices, stripe, warehouse, audit_run)


@dg.multi_asset(
    specs=_assets(tables.CREDIT_NOTES, tables.CREDIT_NOTE_LINES),
    pool=POOL,
    retry_policy=RETRY_POLICY,
)
def stripe_credit_notes(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per credit note and per line of one; replaced as a whole by id."""
    yield from _load(context, load_credit_notes, stripe, warehouse, audit_run)


@dg.multi_asset(
    specs=_assets(
        *(tables.PRICES, tables.PRICE_CURRENCY_OPTIONS, tables.PRICE_TIERS, tables.PRODUCTS),
        needs=(tables.SUBSCRIPTION_ITEMS, tables.INVOICE_LINES),
    ),
    pool=POOL,
    retry_policy=RETRY_POLICY,
)
def stripe_catalog(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per price, currency, tier and product; replaced as a whole by id."""
    yield from _load(context, load_catalog, stripe, warehouse, audit_run)


@dg.multi_asset(
    specs=_assets(
        tables.CUSTOMERS, needs=(tables.SUBSCRIPTIONS, tables.INVOICES, tables.CREDIT_NOTES)
    ),
    pool=POOL,
    retry_policy=RETRY_POLICY,
)
def stripe_customers(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per customer, deleted ones that are still referred to included."""
    yield from _load(context, load_customers, stripe, warehouse, audit_run)


@dg.multi_asset(
    specs=_assets(
        *(tables.DISCOUNTS, tables.COUPONS, PROMOTION_CODES),
        needs=(
            *(tables.CUSTOMERS, tables.SUBSCRIPTIONS, tables.SUBSCRIPTION_ITEMS),
            *(tables.INVOICES, tables.INVOICE_LINES),
        ),
    ),
    pool=POOL,
    retry_policy=RETRY_POLICY,
)
def stripe_discounts(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per discount that a loaded object carries, one per coupon and promotion code."""
    yield from _load(context, load_discounts, stripe, warehouse, audit_run)


@dg.multi_asset(specs=_assets(tables.METERS, METER_ERRORS), pool=POOL, retry_policy=RETRY_POLICY)
def stripe_meters(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per billing meter, active or not; one per report of rejected meter events."""
    yield from _load(context, load_meters, stripe, warehouse, audit_run)


@dg.multi_asset(specs=_assets(EVENTS, WEBHOOK_ENDPOINTS), pool=POOL, retry_policy=RETRY_POLICY)
def stripe_events(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per event, merged by id, since Stripe forgets after 30 days; one per endpoint.

    Webhooks that the product received are applied first, where the configuration names them.
    """
    with permanent_failures_end_the_run(), warehouse.connect() as conn:
        received = stripe.receive_webhooks(conn, audit_run.as_of_for(context))
    for reason in received.failed or ():
        context.log.warning(f"a received webhook was not applied: {reason}")  # noqa: G004
    yield from _load(context, load_events, stripe, warehouse, audit_run)


@dg.multi_asset(
    specs=_assets(SUBSCRIPTION_SCHEDULES, SUBSCRIPTION_SCHEDULE_PHASES),
    pool=POOL,
    retry_policy=RETRY_POLICY,
)
def stripe_schedules(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per subscription schedule, one per item of a phase; replaced as a whole by id."""
    yield from _load(context, load_schedules, stripe, warehouse, audit_run)


@dg.multi_asset(
    specs=_assets(CHARGES, REFUNDS, DISPUTES, INVOICE_PAYMENTS),
    pool=POOL,
    retry_policy=RETRY_POLICY,
)
def stripe_payments(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per charge, refund, dispute, payment of an invoice; replaced as a whole by id."""
    yield from _load(context, load_payments, stripe, warehouse, audit_run)


@dg.multi_asset(
    specs=_assets(PAYMENT_METHODS, needs=(tables.CUSTOMERS, tables.SUBSCRIPTIONS)),
    pool=POOL,
    retry_policy=RETRY_POLICY,
)
def stripe_payment_methods(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per default payment method that customers and subscriptions show; asks nothing."""
    yield from _load(context, load_payment_methods, stripe, warehouse, audit_run)


@dg.multi_asset(
    specs=_assets(CUSTOMER_BALANCE_TRANSACTIONS, needs=(tables.CUSTOMERS, tables.INVOICES)),
    pool=POOL,
    retry_policy=RETRY_POLICY,
)
def stripe_balance_transactions(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per change of the credit balance of customers who have or used one."""
    yield from _load(context, load_balance_transactions, stripe, warehouse, audit_run)


@dg.multi_asset(
    specs=_assets(FEATURES, ACTIVE_ENTITLEMENTS, needs=(tables.CUSTOMERS, tables.SUBSCRIPTIONS)),
    pool=POOL,
    retry_policy=RETRY_POLICY,
)
def stripe_entitlements(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per feature, and per feature that a customer may use now."""
    yield from _load(context, load_entitlements, stripe, warehouse, audit_run)


@dg.multi_asset(
    specs=[
        spec.merge_attributes(deps=[SUMMARY_REQUESTS])
        for spec in _assets(tables.METER_EVENT_SUMMARIES, needs=(tables.METERS,))
    ],
    pool=POOL,
    retry_policy=RETRY_POLICY,
)
def stripe_meter_event_summaries(
    context: dg.AssetExecutionContext,
    stripe: StripeResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """One row per meter, customer and span that the billing periods ask about."""
    yield from _load(context, load_meter_event_summaries, stripe, warehouse, audit_run)


@dg.multi_asset(
    specs=_assets(
        tables.SYNC_STATUS, needs=tuple(t for t in tables.TABLES if t is not tables.SYNC_STATUS)
    )
)
def stripe_sync_status(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Results:
    """One row per kind of object, written by the steps before; shown here so that gaps are seen."""
    with warehouse.connect() as conn:
        statuses = read_sync_status(conn)
    for status in statuses:
        if not status.complete:
            context.log.warning(f"{status.object}: {status.status}: {status.detail}")  # noqa: G004
    yield dg.MaterializeResult(
        asset_key=_key(tables.SYNC_STATUS),
        metadata={
            "dagster/row_count": len(statuses),
            "requests": sum(status.requests for status in statuses),
            "gaps": sum(not status.complete for status in statuses),
            "objects": dg.MetadataValue.md(_as_table(statuses)),
        },
    )


def _as_table(statuses: list[SyncStatus]) -> str:
    head = "| object | status | rows | requests | detail |\n|---|---|---|---|---|\n"
    return head + "\n".join(
        f"| {s.object} | {s.status} | {s.rows} | {s.requests} | {s.detail or ''} |"
        for s in statuses
    )
