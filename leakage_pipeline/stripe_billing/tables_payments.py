"""The tables of schema raw_stripe that tell how money moved, and what waits to be invoiced.

Conventions as in `tables.py`.
"""

from leakage_pipeline.stripe_billing.table_building import (
    FLAG,
    INSTANT,
    JSON,
    MINOR_UNITS,
    NUMERIC,
    SMALL,
    TEXT,
    table,
)

INVOICE_ITEMS = table(
    "invoice_items",
    ("invoice_item_id",),
    "One row per invoice item; one without an invoice waits for the next.",
    invoice_item_id=TEXT,
    customer_id=TEXT,
    invoice_id=TEXT,  # null while it waits
    subscription_id=TEXT,
    subscription_item_id=TEXT,
    price_id=TEXT,
    currency=TEXT,
    amount=MINOR_UNITS,
    quantity=NUMERIC,
    period_start=INSTANT,
    period_end=INSTANT,
    is_proration=FLAG,
    discountable=FLAG,
    date=INSTANT,
    metadata=JSON,
)

CHARGES = table(
    "charges",
    ("charge_id",),
    "One row per attempt to charge of the last 400 days, and per older charge that was refunded or "
    "disputed.",
    charge_id=TEXT,
    customer_id=TEXT,
    payment_intent_id=TEXT,
    amount=MINOR_UNITS,
    amount_captured=MINOR_UNITS,
    amount_refunded=MINOR_UNITS,
    currency=TEXT,
    status=TEXT,
    paid=FLAG,
    captured=FLAG,
    disputed=FLAG,
    refunded=FLAG,  # wholly
    created=INSTANT,
    failure_code=TEXT,
)

REFUNDS = table(
    "refunds",
    ("refund_id",),
    "One row per refund in any status.",
    refund_id=TEXT,
    charge_id=TEXT,
    payment_intent_id=TEXT,
    amount=MINOR_UNITS,
    currency=TEXT,
    status=TEXT,
    reason=TEXT,
    created=INSTANT,
)

DISPUTES = table(
    "disputes",
    ("dispute_id",),
    "One row per dispute in any status.",
    dispute_id=TEXT,
    charge_id=TEXT,
    payment_intent_id=TEXT,
    amount=MINOR_UNITS,  # may differ from that of the charge
    currency=TEXT,
    status=TEXT,
    reason=TEXT,
    created=INSTANT,
    evidence_due_by=INSTANT,
)

INVOICE_PAYMENTS = table(
    "invoice_payments",
    ("invoice_payment_id",),
    "One row per payment towards an invoice of the last 400 days; an invoice may have several.",
    invoice_payment_id=TEXT,
    invoice_id=TEXT,
    payment_type=TEXT,
    payment_intent_id=TEXT,
    charge_id=TEXT,
    amount_paid=MINOR_UNITS,  # null until paid
    amount_requested=MINOR_UNITS,
    currency=TEXT,
    status=TEXT,
    is_default=FLAG,
    paid_at=INSTANT,
    created=INSTANT,
)

PAYMENT_METHODS = table(
    "payment_methods",
    ("payment_method_id",),
    "One row per payment method that a customer or subscription pays with by default.",
    payment_method_id=TEXT,
    customer_id=TEXT,
    type=TEXT,
    card_brand=TEXT,
    card_last4=TEXT,
    card_exp_month=SMALL,
    card_exp_year=SMALL,
    is_customer_default=FLAG,
    subscription_ids=JSON,  # subscriptions that name it as their own default
    created=INSTANT,
)

CUSTOMER_BALANCE_TRANSACTIONS = table(
    "customer_balance_transactions",
    ("transaction_id",),
    "One row per change of the credit balance of a customer who has or lately had one.",
    transaction_id=TEXT,
    customer_id=TEXT,
    type=TEXT,
    amount=MINOR_UNITS,  # negative gives the customer credit
    ending_balance=MINOR_UNITS,
    currency=TEXT,
    invoice_id=TEXT,
    credit_note_id=TEXT,
    created=INSTANT,
)

TABLES = (
    INVOICE_ITEMS,
    CHARGES,
    REFUNDS,
    DISPUTES,
    INVOICE_PAYMENTS,
    PAYMENT_METHODS,
    CUSTOMER_BALANCE_TRANSACTIONS,
)
