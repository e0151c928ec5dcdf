"""Builders of raw Stripe objects in the shape of API version 2026-10-28.endive.

Money is integer minor units, decimals are text, timestamps are whole seconds. The objects are
complete; the simulated server hides and cuts what Stripe hides and cuts.
"""

from leakage_pipeline.simulator.stripe_objects.account import StripeAccount, meter_event
from leakage_pipeline.simulator.stripe_objects.catalog import (
    active_entitlement,
    coupon,
    currency_option,
    discount,
    feature,
    meter,
    price,
    product,
    promotion_code,
    tier,
)
from leakage_pipeline.simulator.stripe_objects.events import (
    event,
    meter_error_report,
    webhook_endpoint,
)
from leakage_pipeline.simulator.stripe_objects.invoices import invoice
from leakage_pipeline.simulator.stripe_objects.invoicing import (
    credit_note,
    credit_note_line,
    invoice_item,
    line,
    proration_line,
)
from leakage_pipeline.simulator.stripe_objects.payments import (
    balance_transaction,
    bank_debit,
    charge,
    dispute,
    invoice_payment,
    payment_method,
    refund,
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
    schedule_item,
    schedule_phase,
    subscription,
    subscription_item,
    subscription_schedule,
)

__all__ = [
    "API_VERSION",
    "JsonObject",
    "StripeAccount",
    "active_entitlement",
    "balance_transaction",
    "bank_debit",
    "billing_mode",
    "charge",
    "coupon",
    "credit_note",
    "credit_note_line",
    "currency_option",
    "customer",
    "decimal_text",
    "deleted_customer",
    "discount",
    "dispute",
    "event",
    "feature",
    "invoice",
    "invoice_item",
    "invoice_payment",
    "line",
    "meter",
    "meter_error_report",
    "meter_event",
    "payment_method",
    "price",
    "product",
    "promotion_code",
    "proration_line",
    "refund",
    "schedule_item",
    "schedule_phase",
    "subscription",
    "subscription_item",
    "subscription_schedule",
    "tax",
    "tier",
    "webhook_endpoint",
]
