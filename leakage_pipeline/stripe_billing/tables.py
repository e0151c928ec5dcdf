"""The tables of schema raw_stripe: what is kept of each object, typed, with its grain.

Amounts are integers in the currency's minor unit, quantities and decimal prices numeric, instants
UTC. Every row keeps the object it came from (`payload`), less embedded lists that are tables here.
Here are catalogue, subscriptions and documents; `tables_changes.py` has what tells their history,
`tables_payments.py` what tells how money moved.
"""

from leakage_pipeline.stripe_billing import (
    tables_changes,
    tables_entitlements,
    tables_payments,
)
from leakage_pipeline.stripe_billing.table_building import (
    COUNT,
    FLAG,
    INSTANT,
    JSON,
    MINOR_UNITS,
    NUMERIC,
    SMALL,
    TEXT,
    plain_table,
    table,
)
from leakage_pipeline.warehouse.tables import TableSpec

CUSTOMERS = table(
    "customers",
    ("customer_id",),
    "One row per customer; a deleted one is kept as a tombstone while anything refers to it.",
    customer_id=TEXT,
    email=TEXT,
    name=TEXT,
    currency=TEXT,
    balance=MINOR_UNITS,  # negative is a credit
    delinquent=FLAG,
    deleted=FLAG,
    created=INSTANT,
    discount_id=TEXT,
    default_payment_method_id=TEXT,
    metadata=JSON,
    test_clock=TEXT,
)

PRODUCTS = table(
    "products",
    ("product_id",),
    "One row per product.",
    product_id=TEXT,
    name=TEXT,
    active=FLAG,
    plan=TEXT,  # metadata.plan
    metadata=JSON,
    created=INSTANT,
)

PRICES = table(
    "prices",
    ("price_id",),
    "One row per price: active, inactive, and made inline for one subscription.",
    price_id=TEXT,
    product_id=TEXT,
    active=FLAG,
    currency=TEXT,
    type=TEXT,
    billing_scheme=TEXT,
    unit_amount=MINOR_UNITS,  # null for tiers and for fractions of a minor unit
    unit_amount_decimal=NUMERIC,
    tiers_mode=TEXT,
    transform_divide_by=COUNT,
    transform_round=TEXT,
    interval=TEXT,
    interval_count=SMALL,
    usage_type=TEXT,
    meter_id=TEXT,
    tax_behavior=TEXT,
    lookup_key=TEXT,
    nickname=TEXT,
    plan=TEXT,  # metadata.plan
    has_custom_unit_amount=FLAG,
    created=INSTANT,
    metadata=JSON,
)

PRICE_CURRENCY_OPTIONS = table(
    "price_currency_options",
    ("price_id", "currency"),
    "One row per price and currency it can be paid in; its own currency is one of them.",
    price_id=TEXT,
    currency=TEXT,
    unit_amount_decimal=NUMERIC,
    tax_behavior=TEXT,
)

PRICE_TIERS = table(
    "price_tiers",
    ("price_id", "currency", "tier_index"),
    "One row per tier of a price in one currency, from 0 upwards.",
    price_id=TEXT,
    currency=TEXT,
    tier_index=SMALL,
    up_to=NUMERIC,  # inclusive; null is without end
    unit_amount_decimal=NUMERIC,
    flat_amount_decimal=NUMERIC,
)

COUPONS = table(
    "coupons",
    ("coupon_id",),
    "One row per coupon that is listed or that a discount refers to and that still exists.",
    coupon_id=TEXT,
    name=TEXT,
    percent_off=NUMERIC,
    amount_off=MINOR_UNITS,
    currency=TEXT,
    duration=TEXT,
    duration_in_months=SMALL,
    redeem_by=INSTANT,
    valid=FLAG,
    max_redemptions=SMALL,
    times_redeemed=SMALL,
    created=INSTANT,
    metadata=JSON,
)

DISCOUNTS = table(
    "discounts",
    ("discount_id",),
    "One row per discount found on a customer, subscription, item, invoice or line.",
    discount_id=TEXT,
    coupon_id=TEXT,
    customer_id=TEXT,
    subscription_id=TEXT,
    subscription_item_id=TEXT,
    invoice_id=TEXT,
    invoice_item_id=TEXT,
    promotion_code_id=TEXT,
    start_at=INSTANT,
    end_at=INSTANT,
)

SUBSCRIPTIONS = table(
    "subscriptions",
    ("subscription_id",),
    "One row per subscription in any status.",
    subscription_id=TEXT,
    customer_id=TEXT,
    status=TEXT,
    currency=TEXT,
    billing_mode=TEXT,
    billing_cycle_anchor=INSTANT,
    start_date=INSTANT,
    created=INSTANT,
    trial_start=INSTANT,
    trial_end=INSTANT,
    cancel_at=INSTANT,
    cancel_at_period_end=FLAG,
    canceled_at=INSTANT,
    ended_at=INSTANT,
    collection_method=TEXT,
    days_until_due=SMALL,
    pause_behavior=TEXT,
    pause_resumes_at=INSTANT,
    pause_transitioned_at=INSTANT,  # into status paused
    status_details=JSON,
    pending_update=JSON,
    billing_mode_updated_at=INSTANT,
    proration_discounts=TEXT,
    default_payment_method_id=TEXT,
    schedule_id=TEXT,
    latest_invoice_id=TEXT,
    account_id=TEXT,  # metadata.account_id
    metadata=JSON,
    test_clock=TEXT,
)

SUBSCRIPTION_ITEMS = table(
    "subscription_items",
    ("subscription_item_id",),
    "One row per item of a subscription, with its current period.",
    subscription_item_id=TEXT,
    subscription_id=TEXT,
    price_id=TEXT,
    quantity=COUNT,  # null for metered prices
    current_period_start=INSTANT,
    current_period_end=INSTANT,
    created=INSTANT,
    metadata=JSON,
)

INVOICES = table(
    "invoices",
    ("invoice_id",),
    "One row per invoice in any status.",
    invoice_id=TEXT,
    number=TEXT,
    customer_id=TEXT,
    subscription_id=TEXT,
    status=TEXT,
    billing_reason=TEXT,
    collection_method=TEXT,
    currency=TEXT,
    created=INSTANT,
    period_start=INSTANT,  # when items were collected, not the service period: see the lines
    period_end=INSTANT,
    finalized_at=INSTANT,
    paid_at=INSTANT,
    voided_at=INSTANT,
    marked_uncollectible_at=INSTANT,
    due_date=INSTANT,
    auto_advance=FLAG,
    automatically_finalizes_at=INSTANT,
    subtotal=MINOR_UNITS,
    total=MINOR_UNITS,
    total_exclusive_tax=MINOR_UNITS,
    total_inclusive_tax=MINOR_UNITS,
    total_discount=MINOR_UNITS,
    total_pretax_credits=MINOR_UNITS,  # null when Stripe did not send the key
    amount_shipping=MINOR_UNITS,
    amount_due=MINOR_UNITS,
    amount_paid=MINOR_UNITS,
    amount_remaining=MINOR_UNITS,
    starting_balance=MINOR_UNITS,
    ending_balance=MINOR_UNITS,
    pre_payment_credit_notes_amount=MINOR_UNITS,
    post_payment_credit_notes_amount=MINOR_UNITS,
    attempt_count=SMALL,
    next_payment_attempt=INSTANT,
    from_invoice_id=TEXT,
    latest_revision_id=TEXT,
    metadata=JSON,
)

INVOICE_LINES = table(
    "invoice_lines",
    ("line_id",),
    "One row per line of an invoice; all lines, also of invoices that Stripe sends cut.",
    line_id=TEXT,
    invoice_id=TEXT,
    line_index=SMALL,
    parent_type=TEXT,
    subscription_id=TEXT,
    subscription_item_id=TEXT,
    invoice_item_id=TEXT,
    price_id=TEXT,
    product_id=TEXT,
    currency=TEXT,
    amount=MINOR_UNITS,  # before discounts
    subtotal=MINOR_UNITS,
    quantity=NUMERIC,
    unit_amount_decimal=NUMERIC,  # null on proration lines
    period_start=INSTANT,
    period_end=INSTANT,
    is_proration=FLAG,
    credited_items=JSON,
    description=TEXT,
    discountable=FLAG,
    discount_amount=MINOR_UNITS,
    credit_balance_amount=MINOR_UNITS,  # prepaid credits that paid for a part
    exclusive_tax=MINOR_UNITS,
    inclusive_tax=MINOR_UNITS,
    metadata=JSON,
)

INVOICE_LINE_DISCOUNTS = table(
    "invoice_line_discounts",
    ("line_id", "discount_id"),
    "One row per discount that reduces a line.",
    line_id=TEXT,
    discount_id=TEXT,
    position=SMALL,  # the order in which Stripe took the discounts off, from 0
    amount=MINOR_UNITS,
)

CREDIT_NOTES = table(
    "credit_notes",
    ("credit_note_id",),
    "One row per credit note, void ones included.",
    credit_note_id=TEXT,
    invoice_id=TEXT,
    customer_id=TEXT,
    status=TEXT,
    type=TEXT,
    reason=TEXT,
    currency=TEXT,
    amount=MINOR_UNITS,
    subtotal=MINOR_UNITS,
    total=MINOR_UNITS,
    pre_payment_amount=MINOR_UNITS,
    post_payment_amount=MINOR_UNITS,
    out_of_band_amount=MINOR_UNITS,
    created=INSTANT,
    effective_at=INSTANT,
    voided_at=INSTANT,
)

CREDIT_NOTE_LINES = table(
    "credit_note_lines",
    ("credit_note_line_id",),
    "One row per line of a credit note.",
    credit_note_line_id=TEXT,
    credit_note_id=TEXT,
    type=TEXT,
    invoice_line_id=TEXT,
    amount=MINOR_UNITS,
    discount_amount=MINOR_UNITS,
    quantity=NUMERIC,
    unit_amount_decimal=NUMERIC,
    exclusive_tax=MINOR_UNITS,
    inclusive_tax=MINOR_UNITS,
    description=TEXT,
)

METERS = table(
    "meters",
    ("meter_id",),
    "One row per meter, active or not.",
    meter_id=TEXT,
    event_name=TEXT,
    display_name=TEXT,
    status=TEXT,
    formula=TEXT,
    event_time_window=TEXT,
    customer_event_key=TEXT,
    value_event_key=TEXT,
    created=INSTANT,
)

METER_EVENT_SUMMARIES = table(
    "meter_event_summaries",
    ("meter_id", "customer_id", "start_at", "end_at"),
    "One row per meter, customer and span that was asked for.",
    meter_id=TEXT,
    customer_id=TEXT,
    start_at=INSTANT,
    end_at=INSTANT,  # exclusive
    aggregated_value=NUMERIC,  # null when Stripe had nothing to say, which is not 0
)

SYNC_STATUS = plain_table(
    "sync_status",
    ("object",),
    "One row per kind of Stripe object: could it be read? So that a gap is never taken for 0.",
    {
        "object": TEXT,
        "requests": COUNT,
        "rows": COUNT,
        "status": TEXT,  # ok | missing | forbidden
        "detail": TEXT,
        "synced_at": INSTANT,
    },
)

TABLES: tuple[TableSpec, ...] = (
    CUSTOMERS,
    PRODUCTS,
    PRICES,
    PRICE_CURRENCY_OPTIONS,
    PRICE_TIERS,
    COUPONS,
    DISCOUNTS,
    SUBSCRIPTIONS,
    SUBSCRIPTION_ITEMS,
    INVOICES,
    INVOICE_LINES,
    INVOICE_LINE_DISCOUNTS,
    CREDIT_NOTES,
    CREDIT_NOTE_LINES,
    METERS,
    METER_EVENT_SUMMARIES,
    *tables_changes.TABLES,
    *tables_entitlements.TABLES,
    *tables_payments.TABLES,
    SYNC_STATUS,
)
