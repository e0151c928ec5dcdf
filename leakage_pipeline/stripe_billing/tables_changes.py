"""The tables of schema raw_stripe that tell what happened or will happen to the other objects.

Conventions as in `tables.py`.
"""

from leakage_pipeline.stripe_billing.table_building import (
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
