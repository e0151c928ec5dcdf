"""Invoice items and payments of every kind: which JSON key feeds which column, old ones too.

Card numbers never come this far: Stripe shows brand, last four digits and expiry alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import stripe

from leakage_pipeline.stripe_billing import tables_payments as tables
from leakage_pipeline.stripe_billing.columns import Flattener, Sync
from leakage_pipeline.stripe_billing.getters import declared, first, path, ref
from leakage_pipeline.stripe_billing.values import Json

Batches = dict[str, pa.RecordBatch]

# On the item itself until 2025-03-31, in its parent since.
_subscription_item = first(
    ref("parent", "subscription_details", "subscription_item"), ref("subscription_item")
)

_INVOICE_ITEMS = Flattener(
    tables.INVOICE_ITEMS,
    {
        "invoice_item_id": "id",
        "customer_id": ref("customer"),
        "invoice_id": ref("invoice"),
        "subscription_id": first(
            ref("parent", "subscription_details", "subscription"), ref("subscription")
        ),
        "subscription_item_id": _subscription_item,
        "price_id": first(ref("pricing", "price_details", "price"), ref("price"), ref("plan")),
        "currency": "currency",
        "amount": "amount",
        "quantity": first(path("quantity_decimal"), path("quantity")),
        "period_start": "period.start",
        "period_end": "period.end",
        "is_proration": lambda item: bool(item.get("proration", False)),
        "discountable": "discountable",
        "date": "date",
        "metadata": "metadata",
    },
    required=frozenset({"customer_id", "currency", "amount"}),
    known_keys=declared(
        stripe.InvoiceItem,
        *("subscription", "subscription_item", "price", "plan", "unit_amount"),
        "unit_amount_decimal",
    ),
)

_CHARGES = Flattener(
    tables.CHARGES,
    {
        "charge_id": "id",
        "customer_id": ref("customer"),
        "payment_intent_id": ref("payment_intent"),
        "amount": "amount",
        "amount_captured": "amount_captured",
        "amount_refunded": "amount_refunded",
        "currency": "currency",
        "status": "status",
        "paid": "paid",
        "captured": "captured",
        "disputed": "disputed",
        "refunded": "refunded",
        "created": "created",
        "failure_code": "failure_code",
    },
    required=frozenset({"amount", "currency"}),
    known_keys=declared(stripe.Charge, "invoice", "dispute", "order", "destination", "source"),
    known_values={"status": frozenset({"failed", "pending", "succeeded"})},
)

_REFUNDS = Flattener(
    tables.REFUNDS,
    {
        "refund_id": "id",
        "charge_id": ref("charge"),
        "payment_intent_id": ref("payment_intent"),
        "amount": "amount",
        "currency": "currency",
        "status": "status",
        "reason": "reason",
        "created": "created",
    },
    payload_without="charge",
    required=frozenset({"amount", "currency"}),
    known_keys=declared(stripe.Refund, "customer", "customer_account", "payment_method"),
    known_values={
        "status": frozenset({"canceled", "failed", "pending", "requires_action", "succeeded"})
    },
)

_DISPUTES = Flattener(
    tables.DISPUTES,
    {
        "dispute_id": "id",
        "charge_id": ref("charge"),
        "payment_intent_id": ref("payment_intent"),
        "amount": "amount",
        "currency": "currency",
        "status": "status",
        "reason": "reason",
        "created": "created",
        "evidence_due_by": "evidence_details.due_by",
    },
    payload_without="charge",
    required=frozenset({"amount", "currency", "status"}),
    known_keys=declared(stripe.Dispute, "balance_transaction", "network_reason_code"),
    known_values={
        "status": frozenset(
            {"appeal_needs_response", "appeal_under_review", "lost", "needs_response"}
            | {"prevented", "under_review", "warning_closed", "warning_needs_response"}
            | {"warning_under_review", "won"}
        )
    },
)

_INVOICE_PAYMENTS = Flattener(
    tables.INVOICE_PAYMENTS,
    {
        "invoice_payment_id": "id",
        "invoice_id": ref("invoice"),
        "payment_type": "payment.type",
        "payment_intent_id": ref("payment", "payment_intent"),
        "charge_id": ref("payment", "charge"),
        "amount_paid": "amount_paid",
        "amount_requested": "amount_requested",
        "currency": "currency",
        "status": "status",
        "is_default": "is_default",
        "paid_at": "status_transitions.paid_at",
        "created": "created",
    },
    required=frozenset({"invoice_id", "currency"}),
    known_keys=declared(stripe.InvoicePayment),
    known_values={"status": frozenset({"canceled", "open", "paid"})},
)

_PAYMENT_METHODS = Flattener(
    tables.PAYMENT_METHODS,
    {
        "payment_method_id": "id",
        "type": "type",
        "card_brand": "card.brand",
        "card_last4": "card.last4",
        "card_exp_month": "card.exp_month",
        "card_exp_year": "card.exp_year",
        "created": "created",
    },
)

_BALANCE_TRANSACTIONS = Flattener(
    tables.CUSTOMER_BALANCE_TRANSACTIONS,
    {
        "transaction_id": "id",
        "customer_id": ref("customer"),
        "type": "type",
        "amount": "amount",
        "ending_balance": "ending_balance",
        "currency": "currency",
        "invoice_id": ref("invoice"),
        "credit_note_id": ref("credit_note"),
        "created": "created",
    },
    required=frozenset({"customer_id", "amount", "currency"}),
    known_keys=declared(stripe.CustomerBalanceTransaction),
)


def invoice_items(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten invoice items, invoiced or waiting."""
    return {"invoice_items": _INVOICE_ITEMS.batch(objects, sync)}


def subscription_items_by_item(objects: Sequence[Json]) -> dict[str, str]:
    """Map invoice items to the subscription item they were made for, where there is one."""
    pairs = ((item.get("id"), _subscription_item(item)) for item in objects)
    return {str(item): found for item, found in pairs if item and found}


def charges(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten charges, failed ones included."""
    return {"charges": _CHARGES.batch(objects, sync)}


def refunds(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten refunds."""
    return {"refunds": _REFUNDS.batch(objects, sync)}


def disputes(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten disputes."""
    return {"disputes": _DISPUTES.batch(objects, sync)}


def invoice_payments(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten payments of invoices."""
    return {"invoice_payments": _INVOICE_PAYMENTS.batch(objects, sync)}


def balance_transactions(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten changes of customers' credit balances."""
    return {"customer_balance_transactions": _BALANCE_TRANSACTIONS.batch(objects, sync)}


@dataclass(frozen=True)
class FoundMethod:
    """A payment method and where it was found.

    Attributes:
        content: The PaymentMethod object.
        customer_id: The customer, also where the method itself does not name one.
        is_customer_default: Whether the customer pays with it unless a subscription says otherwise.
        subscription_ids: Subscriptions that name it as their own.
    """

    content: Json
    customer_id: str | None
    is_customer_default: bool
    subscription_ids: list[str]


def payment_methods(found: Sequence[FoundMethod], sync: Sync) -> Batches:
    """Flatten payment methods; each must be given once."""
    return {
        "payment_methods": _PAYMENT_METHODS.batch(
            [item.content for item in found],
            sync,
            customer_id=[item.customer_id for item in found],
            is_customer_default=[item.is_customer_default for item in found],
            subscription_ids=[item.subscription_ids for item in found],
        )
    }
