"""The tables of schema raw_stripe that tell what customers may use.

Conventions as in `tables.py`.
"""

from leakage_pipeline.stripe_billing.table_building import FLAG, JSON, TEXT, table

FEATURES = table(
    "features",
    ("feature_id",),
    "One row per feature that products may give access to, archived ones included.",
    feature_id=TEXT,
    lookup_key=TEXT,
    name=TEXT,
    active=FLAG,
    metadata=JSON,
)

ACTIVE_ENTITLEMENTS = table(
    "active_entitlements",
    ("entitlement_id",),
    "One row per feature that Stripe lets a customer with a running subscription use.",
    entitlement_id=TEXT,
    customer_id=TEXT,
    feature_id=TEXT,
    lookup_key=TEXT,
)

TABLES = (FEATURES, ACTIVE_ENTITLEMENTS)
