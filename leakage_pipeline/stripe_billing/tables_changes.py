"""The tables of schema raw_stripe that tell what happened or will happen to the other objects.

Conventions as in `tables.py`.
"""

from leakage_pipeline.stripe_billing.table_building import (
    COUNT,
    FLAG,
    INSTANT,
    JSON,
    SMALL,
    TEXT,
    table,
)

EVENTS = table(
    "events",
    ("event_id",),
    "One row per event of a subscription or discount, and per event that was not delivered; kept "
    "for good, because Stripe forgets after 30 days.",
    event_id=TEXT,
    type=TEXT,
    created=INSTANT,
    object_type=TEXT,
    object_id=TEXT,
    customer_id=TEXT,
    subscription_id=TEXT,
    api_version=TEXT,  # of the body: the account's at the time, not ours
    pending_webhooks=SMALL,
    is_undelivered=FLAG,  # null when nobody could say
    request_id=TEXT,
    previous_attributes=JSON,
    data_object=JSON,
)

METER_ERRORS = table(
    "meter_errors",
    ("event_id", "code"),
    "One row per report of rejected meter events and kind of error; kept for good, because Stripe "
    "forgets after 30 days.",
    event_id=TEXT,
    code=TEXT,
    type=TEXT,
    meter_id=TEXT,  # null when no meter was found
    error_count=COUNT,
    sample_message=TEXT,
    sample_requests=JSON,  # idempotency keys of some of the requests
    summary=TEXT,
    window_start=INSTANT,  # when Stripe rejected them
    window_end=INSTANT,
    created=INSTANT,
)

WEBHOOK_ENDPOINTS = table(
    "webhook_endpoints",
    ("webhook_endpoint_id",),
    "One row per webhook endpoint, disabled ones included.",
    webhook_endpoint_id=TEXT,
    url=TEXT,
    status=TEXT,
    enabled_events=JSON,
    api_version=TEXT,
    created=INSTANT,
)

SUBSCRIPTION_SCHEDULES = table(
    "subscription_schedules",
    ("schedule_id",),
    "One row per subscription schedule in any status.",
    schedule_id=TEXT,
    customer_id=TEXT,
    subscription_id=TEXT,  # also of a schedule that has let go of it
    status=TEXT,
    current_phase_start=INSTANT,
    current_phase_end=INSTANT,
    released_at=INSTANT,
    completed_at=INSTANT,
    canceled_at=INSTANT,
    created=INSTANT,
)

SUBSCRIPTION_SCHEDULE_PHASES = table(
    "subscription_schedule_phases",
    ("schedule_id", "phase_index", "item_index"),
    "One row per item of a phase of a schedule.",
    schedule_id=TEXT,
    phase_index=SMALL,
    item_index=SMALL,
    start_at=INSTANT,
    end_at=INSTANT,
    price_id=TEXT,
    quantity=COUNT,  # null for metered prices
)

PROMOTION_CODES = table(
    "promotion_codes",
    ("promotion_code_id",),
    "One row per promotion code, inactive ones included.",
    promotion_code_id=TEXT,
    coupon_id=TEXT,
    code=TEXT,
    active=FLAG,
    customer_id=TEXT,
    expires_at=INSTANT,
    max_redemptions=SMALL,
    times_redeemed=SMALL,
    created=INSTANT,
)

TABLES = (
    EVENTS,
    METER_ERRORS,
    WEBHOOK_ENDPOINTS,
    SUBSCRIPTION_SCHEDULES,
    SUBSCRIPTION_SCHEDULE_PHASES,
    PROMOTION_CODES,
)
