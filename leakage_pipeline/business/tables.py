"""The tables of raw_business: terms, accounts, exceptions, rates, and the audit's own settings."""

import pyarrow as pa

from leakage_pipeline.warehouse.tables import TableSpec

_TEXT = pa.string()
_INSTANT = pa.timestamp("us", tz="UTC")
_DATE = pa.date32()
_BOOL = pa.bool_()
_COUNT = pa.int64()
_INTEGER = pa.int32()
# Stored as numeric and jsonb; carried as exact text.
_NUMERIC = pa.string()
_JSON = pa.string()

CONTRACTS = TableSpec(
    schema="raw_business",
    name="contracts",
    arrow_schema=pa.schema(
        [
            ("contract_id", _TEXT),
            ("customer_id", _TEXT),
            ("plan", _TEXT),
            ("base_price", _NUMERIC),
            ("currency", _TEXT),
            ("interval", _TEXT),
            ("grace_percent", _NUMERIC),
            ("discount_percent", _NUMERIC),
            ("discount_reason", _TEXT),
            ("threshold_meter", _TEXT),
            ("threshold_min", _NUMERIC),
            ("minimum_commitment", _NUMERIC),
            ("grandfathered", _BOOL),
            ("effective_date", _DATE),
            ("end_date", _DATE),
            ("effective_from", _INSTANT),
            ("effective_until", _INSTANT),
            ("payload", _JSON),
        ]
    ),
    primary_key=("contract_id",),
    comment="One row per contract; null: the contract is silent and the price book rules",
    numeric_columns=frozenset(
        {
            "base_price",
            "grace_percent",
            "discount_percent",
            "threshold_min",
            "minimum_commitment",
        }
    ),
    json_columns=frozenset({"payload"}),
)

PRICE_BOOK = TableSpec(
    schema="raw_business",
    name="price_book",
    arrow_schema=pa.schema(
        [
            ("price_book_id", _TEXT),
            ("plan", _TEXT),
            ("currency", _TEXT),
            ("interval", _TEXT),
            ("base_price", _NUMERIC),
            ("seats_included", _COUNT),
            ("features", _JSON),
            ("effective_from", _INSTANT),
            ("payload", _JSON),
        ]
    ),
    primary_key=("price_book_id",),
    comment="One row per plan, currency, interval and day from which its list price holds",
    numeric_columns=frozenset({"base_price"}),
    json_columns=frozenset({"features", "payload"}),
)

TERM_METERS = TableSpec(
    schema="raw_business",
    name="term_meters",
    arrow_schema=pa.schema(
        [
            ("term_kind", _TEXT),
            ("term_id", _TEXT),
            ("meter", _TEXT),
            ("included_quantity", _NUMERIC),
            ("has_rate", _BOOL),
            ("rate_kind", _TEXT),
            ("divide_by", _NUMERIC),
            ("round_mode", _TEXT),
        ]
    ),
    primary_key=("term_kind", "term_id", "meter"),
    comment="One row per contract or price book row and meter that it includes or rates",
    numeric_columns=frozenset({"included_quantity", "divide_by"}),
)

TERM_TIERS = TableSpec(
    schema="raw_business",
    name="term_tiers",
    arrow_schema=pa.schema(
        [
            ("term_kind", _TEXT),
            ("term_id", _TEXT),
            ("meter", _TEXT),
            ("tier_index", _INTEGER),
            ("up_to", _NUMERIC),
            ("unit_amount", _NUMERIC),
            ("flat_amount", _NUMERIC),
        ]
    ),
    primary_key=("term_kind", "term_id", "meter", "tier_index"),
    comment="One row per tier of an overage rate, in currency units, counted from 0; a price per "
    "package is one open tier",
    numeric_columns=frozenset({"up_to", "unit_amount", "flat_amount"}),
)

ACCOUNTS = TableSpec(
    schema="raw_business",
    name="accounts",
    arrow_schema=pa.schema(
        [
            ("account_id", _TEXT),
            ("updated_at", _INSTANT),
            ("customer_id", _TEXT),
            ("plan", _TEXT),
            ("status", _TEXT),
            ("access_enabled", _BOOL),
            ("seats", _COUNT),
            ("features", _JSON),
            ("health_score", _NUMERIC),
            ("churn_risk", _NUMERIC),
            ("owner_email", _TEXT),
            ("gone_since", _INSTANT),
        ]
    ),
    primary_key=("account_id", "updated_at"),
    comment=(
        "One row per account and snapshot; earlier snapshots are kept. "
        "gone_since: as_of of the first load whose file no longer named the account"
    ),
    numeric_columns=frozenset({"health_score", "churn_risk"}),
    json_columns=frozenset({"features"}),
)

EXCEPTIONS = TableSpec(
    schema="raw_business",
    name="exceptions",
    arrow_schema=pa.schema(
        [
            ("exception_id", _TEXT),
            ("customer_id", _TEXT),
            ("leakage_type", _TEXT),
            ("reason", _TEXT),
            ("approved_by", _TEXT),
            ("valid_from", _INSTANT),
            ("valid_until", _INSTANT),
        ]
    ),
    primary_key=("exception_id",),
    comment="One row per deal that someone approved; valid_until is exclusive",
)

FX_RATES = TableSpec(
    schema="raw_business",
    name="fx_rates",
    arrow_schema=pa.schema(
        [
            ("rate_date", _DATE),
            ("from_currency", _TEXT),
            ("to_currency", _TEXT),
            ("rate", _NUMERIC),
        ]
    ),
    primary_key=("rate_date", "from_currency", "to_currency"),
    comment="One row per day and pair of currencies",
    numeric_columns=frozenset({"rate"}),
)

METER_MAPPINGS = TableSpec(
    schema="raw_business",
    name="meter_mappings",
    arrow_schema=pa.schema([("meter", _TEXT), ("stripe_event_name", _TEXT)]),
    primary_key=("meter",),
    comment="One row per meter of the usage log that Stripe calls otherwise or that is listed",
)

AUDIT_SETTINGS = TableSpec(
    schema="raw_business",
    name="audit_settings",
    arrow_schema=pa.schema(
        [
            ("singleton", _INTEGER),
            ("as_of", _INSTANT),
            ("company", _TEXT),
            ("reporting_currency", _TEXT),
            ("lookback_periods", _INTEGER),
            ("usage_tolerance_pct", _NUMERIC),
            ("min_amount", _NUMERIC),
            ("severity_medium", _NUMERIC),
            ("severity_high", _NUMERIC),
            ("severity_critical", _NUMERIC),
            ("payment_grace_days", _INTEGER),
            ("invoice_grace_days", _INTEGER),
            ("refund_window_days", _INTEGER),
            ("soft_cap_pct", _JSON),
            ("finalization_delay_hours", _INTEGER),
            ("rollout_customers", _JSON),
            ("rollout_created_after", _INSTANT),
            ("rollout_max_customers", _INTEGER),
        ]
    ),
    primary_key=("singleton",),
    comment="One row: the instant that is now for the audit, and the thresholds it judges by",
    numeric_columns=frozenset(
        {
            "usage_tolerance_pct",
            "min_amount",
            "severity_medium",
            "severity_high",
            "severity_critical",
        }
    ),
    json_columns=frozenset({"soft_cap_pct", "rollout_customers"}),
)

TABLES = (
    CONTRACTS,
    PRICE_BOOK,
    TERM_METERS,
    TERM_TIERS,
    ACCOUNTS,
    EXCEPTIONS,
    FX_RATES,
    METER_MAPPINGS,
    AUDIT_SETTINGS,
)
