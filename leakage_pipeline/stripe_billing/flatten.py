"""Customers, catalogue, subscriptions, discounts and meters: which JSON key feeds which column.

The present layout of the API and older ones are read alike; what moved is said at each getter.
Invoices and credit notes are in `flatten_invoices.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import stripe
import stripe.billing

from leakage_pipeline.stripe_billing import tables
from leakage_pipeline.stripe_billing.columns import Flattener, Sync
from leakage_pipeline.stripe_billing.getters import (
    declared,
    elements,
    first,
    path,
    ref,
    without_counters,
)
from leakage_pipeline.stripe_billing.values import Json, at, reference

Batches = dict[str, pa.RecordBatch]


def _currency_of_items(item: Json) -> object:
    return next((at(element, "price", "currency") for element in elements(item, "items")), None)


_CUSTOMERS = Flattener(
    tables.CUSTOMERS,
    {
        "customer_id": "id",
        "email": "email",
        "name": "name",
        "currency": "currency",
        "balance": "balance",
        "delinquent": "delinquent",
        "deleted": lambda item: bool(item.get("deleted", False)),
        "created": "created",
        "discount_id": ref("discount"),
        "default_payment_method_id": ref("invoice_settings", "default_payment_method"),
        "metadata": "metadata",
        "test_clock": ref("test_clock"),
    },
    known_keys=declared(stripe.Customer),
)

_PRODUCTS = Flattener(
    tables.PRODUCTS,
    {
        "product_id": "id",
        "name": "name",
        # A tombstone has neither name nor `active`.
        "active": lambda item: False if item.get("deleted") else item.get("active"),
        "plan": "metadata.plan",
        "metadata": "metadata",
        "created": "created",
    },
    known_keys=declared(stripe.Product, "type", "attributes"),
)

_PRICES = Flattener(
    tables.PRICES,
    {
        "price_id": "id",
        "product_id": ref("product"),
        "active": "active",
        "currency": "currency",
        "type": "type",
        "billing_scheme": "billing_scheme",
        "unit_amount": "unit_amount",
        "unit_amount_decimal": first(path("unit_amount_decimal"), path("unit_amount")),
        "tiers_mode": "tiers_mode",
        "transform_divide_by": "transform_quantity.divide_by",
        "transform_round": "transform_quantity.round",
        "interval": "recurring.interval",
        "interval_count": "recurring.interval_count",
        "usage_type": "recurring.usage_type",
        "meter_id": ref("recurring", "meter"),
        "tax_behavior": "tax_behavior",
        "lookup_key": "lookup_key",
        "nickname": "nickname",
        "plan": "metadata.plan",
        "has_custom_unit_amount": lambda item: item.get("custom_unit_amount") is not None,
        "created": "created",
        "metadata": "metadata",
    },
    required=frozenset({"currency"}),
    known_keys=declared(stripe.Price),
    known_values={
        "billing_scheme": frozenset({"per_unit", "tiered"}),
        "tiers_mode": frozenset({"graduated", "volume"}),
        "transform_round": frozenset({"up", "down"}),
        "usage_type": frozenset({"licensed", "metered"}),
    },
)

_CURRENCY_OPTIONS = Flattener(
    tables.PRICE_CURRENCY_OPTIONS,
    {
        "unit_amount_decimal": first(path("unit_amount_decimal"), path("unit_amount")),
        "tax_behavior": "tax_behavior",
    },
)

_TIERS = Flattener(
    tables.PRICE_TIERS,
    {
        # `inf` is how an open end is written on creation.
        "up_to": lambda item: None if item.get("up_to") == "inf" else item.get("up_to"),
        "unit_amount_decimal": first(path("unit_amount_decimal"), path("unit_amount")),
        "flat_amount_decimal": first(path("flat_amount_decimal"), path("flat_amount")),
    },
)

_COUPONS = Flattener(
    tables.COUPONS,
    {
        "coupon_id": "id",
        "name": "name",
        "percent_off": "percent_off",
        "amount_off": "amount_off",
        "currency": "currency",
        "duration": "duration",
        "duration_in_months": "duration_in_months",
        "redeem_by": "redeem_by",
        "valid": "valid",
        "max_redemptions": "max_redemptions",
        "times_redeemed": "times_redeemed",
        "created": "created",
        "metadata": "metadata",
    },
    known_keys=declared(stripe.Coupon),
    known_values={"duration": frozenset({"once", "repeating", "forever"})},
)

_DISCOUNTS = Flattener(
    tables.DISCOUNTS,
    {
        "discount_id": "id",
        # `discount.coupon` until 2025-09-30, `discount.source.coupon` since.
        "coupon_id": first(ref("source", "coupon"), ref("coupon")),
        "promotion_code_id": ref("promotion_code"),
        "start_at": "start",
        "end_at": "end",
    },
)

_SUBSCRIPTIONS = Flattener(
    tables.SUBSCRIPTIONS,
    {
        "subscription_id": "id",
        "customer_id": ref("customer"),
        "status": "status",
        # Subscriptions had no currency of their own before 2022.
        "currency": first(path("currency"), _currency_of_items),
        "billing_mode": "billing_mode.type",
        "billing_cycle_anchor": "billing_cycle_anchor",
        "start_date": "start_date",
        "created": "created",
        "trial_start": "trial_start",
        "trial_end": "trial_end",
        "cancel_at": "cancel_at",
        "cancel_at_period_end": "cancel_at_period_end",
        "canceled_at": "canceled_at",
        "ended_at": "ended_at",
        "collection_method": "collection_method",
        "days_until_due": "days_until_due",
        "pause_behavior": "pause_collection.behavior",
        "pause_resumes_at": "pause_collection.resumes_at",
        "pause_transitioned_at": "status_details.paused.transitioned_at",
        "status_details": "status_details",
        "pending_update": "pending_update",
        "billing_mode_updated_at": "billing_mode.updated_at",
        "proration_discounts": "billing_mode.flexible.proration_discounts",
        "default_payment_method_id": ref("default_payment_method"),
        "schedule_id": ref("schedule"),
        "latest_invoice_id": ref("latest_invoice"),
        "account_id": "metadata.account_id",
        "metadata": "metadata",
        "test_clock": ref("test_clock"),
    },
    required=frozenset({"customer_id", "status"}),
    payload_without="items",
    known_keys=declared(stripe.Subscription, "plan", "quantity"),
    known_values={
        "status": frozenset(
            {"active", "canceled", "incomplete", "incomplete_expired", "past_due", "paused"}
            | {"trialing", "unpaid"}
        ),
        "billing_mode": frozenset({"classic", "flexible"}),
        "pause_behavior": frozenset({"keep_as_draft", "mark_uncollectible", "void"}),
    },
)

_ITEMS = Flattener(
    tables.SUBSCRIPTION_ITEMS,
    {
        "subscription_item_id": "id",
        "price_id": first(ref("price"), ref("plan")),
        "quantity": "quantity",
        "created": "created",
        "metadata": "metadata",
    },
    required=frozenset({"price_id"}),
    known_keys=declared(stripe.SubscriptionItem, "plan"),
)

_METERS = Flattener(
    tables.METERS,
    {
        "meter_id": "id",
        "event_name": "event_name",
        "display_name": "display_name",
        "status": "status",
        "formula": "default_aggregation.formula",
        "event_time_window": "event_time_window",
        "customer_event_key": "customer_mapping.event_payload_key",
        "value_event_key": "value_settings.event_payload_key",
        "created": "created",
    },
    required=frozenset({"event_name"}),
    known_keys=declared(stripe.billing.Meter),
    known_values={"formula": frozenset({"sum", "count", "last"})},
)


def customers(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten customers, tombstones included."""
    without_counters(objects)
    return {"customers": _CUSTOMERS.batch(objects, sync)}


def products(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten products, tombstones included."""
    return {"products": _PRODUCTS.batch(objects, sync)}


def coupons(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten coupons."""
    return {"coupons": _COUPONS.batch(objects, sync)}


def meters(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten billing meters."""
    return {"meters": _METERS.batch(objects, sync)}


def prices(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten prices into prices, currency options and tiers."""
    options = [(price, *option) for price in objects for option in currency_options(price)]
    tiers = [
        (price, currency, index, tier)
        for price, currency, option in options
        for index, tier in enumerate(elements(option, "tiers"))
    ]
    return {
        "prices": _PRICES.batch(objects, sync),
        "price_currency_options": _CURRENCY_OPTIONS.batch(
            [option for _, _, option in options],
            sync,
            price_id=[price.get("id") for price, _, _ in options],
            currency=[currency for _, currency, _ in options],
        ),
        "price_tiers": _TIERS.batch(
            [tier for *_, tier in tiers],
            sync,
            price_id=[price.get("id") for price, *_ in tiers],
            currency=[currency for _, currency, _, _ in tiers],
            tier_index=[index for *_, index, _ in tiers],
        ),
    }


def currency_options(price: Json) -> Iterator[tuple[str, Json]]:
    """Every currency a price can be paid in with its amounts, its own currency first."""
    own = price.get("currency")
    options = price.get("currency_options") or {}
    if isinstance(own, str):
        same = {name: price.get(name) for name in _OPTION_KEYS if price.get(name) is not None}
        yield own, {**options.get(own, {}), **same}
    for currency, option in options.items():
        if currency != own:
            yield currency, option


_OPTION_KEYS = ("unit_amount", "unit_amount_decimal", "tax_behavior", "tiers")


def subscriptions(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten subscriptions into subscriptions and their items."""
    without_counters(objects)
    without_counters(item for owner in objects for item in elements(owner, "items"))
    items = [(owner, item) for owner in objects for item in elements(owner, "items")]

    def period(name: str) -> list[object]:
        # On the subscription until 2025-03-31, on each item since.
        return [item.get(name, owner.get(name)) for owner, item in items]

    return {
        "subscriptions": _SUBSCRIPTIONS.batch(objects, sync),
        "subscription_items": _ITEMS.batch(
            [item for _, item in items],
            sync,
            subscription_id=[owner.get("id") for owner, _ in items],
            current_period_start=period("current_period_start"),
            current_period_end=period("current_period_end"),
        ),
    }


@dataclass(frozen=True)
class FoundDiscount:
    """A discount and the object it was found on.

    Attributes:
        content: The Discount object, or its id where an expand was not honoured.
        owner: Columns of `raw_stripe.discounts` that name the object, used where the discount
            itself does not say whose it is.
    """

    content: Json | str
    owner: dict[str, str | None]


def discounts(found: Iterable[FoundDiscount], sync: Sync) -> Batches:
    """Flatten discounts; each id must be given once.

    A whole discount says itself what it belongs to, and what not: one of a subscription is shown on
    its invoices too. Of a bare id only the object that carried it is known.
    """
    rows = [
        (item, item.content if isinstance(item.content, dict) else {"id": item.content})
        for item in found
    ]

    def whose(column: str, name: str) -> list[object]:
        return [
            reference(row[name])
            if row.get(name) or (name in row and name != "customer")
            else item.owner.get(column)
            for item, row in rows
        ]

    owners = {
        "customer_id": "customer",
        "subscription_id": "subscription",
        "subscription_item_id": "subscription_item",
        "invoice_id": "invoice",
        "invoice_item_id": "invoice_item",
    }
    columns = {column: whose(column, name) for column, name in owners.items()}
    return {"discounts": _DISCOUNTS.batch([row for _, row in rows], sync, **columns)}
