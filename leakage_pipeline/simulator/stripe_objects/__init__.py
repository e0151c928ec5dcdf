"""Builders of raw Stripe objects in the shape of API version 2026-10-28.endive.

Money is integer minor units, decimals are text, timestamps are whole seconds. The objects are
complete; the simulated server hides and cuts what Stripe hides and cuts.
"""

from leakage_pipeline.simulator.stripe_objects.account import StripeAccount, meter_event
from leakage_pipeline.simulator.stripe_objects.catalog import (
    coupon,
    currency_option,
    discount,
    meter,
    price,
    product,
    tier,
)
from leakage_pipeline.simulator.stripe_objects.events import event
from leakage_pipeline.simulator.stripe_objects.invoices import invoice
from leakage_pipeline.simulator.stripe_objects.invoicing import (
    credit_note,
    credit_note_line,
    invoice_item,
    line,
    proration_line,
)
from leakage_pipeline.simulator.stripe_objects.shapes import (
    API_VERSION,
    JsonObject,
    decimal_text,
    tax,
)
from leakage_pipeline.simulator.stripe_objects.subscriptions import (
    billing_mode,
    customer,
    deleted_customer,
    subscription,
    subscription_item,
)

__all__ = [
    "API_VERSION",
    "JsonObject",
    "StripeAccount",
    "billing_mode",
    "coupon",
    "credit_note",
    "credit_note_line",
    "currency_option",
    "customer",
    "decimal_text",
    "deleted_customer",
    "discount",
    "event",
    "invoice",
    "invoice_item",
    "line",
    "meter",
    "meter_event",
    "price",
    "product",
    "proration_line",
    "subscription",
    "subscription_item",
    "tax",
    "tier",
]
