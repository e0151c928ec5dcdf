"""The tables of raw_usage: windows per customer, usage without a customer, span, late arrivals."""

import pyarrow as pa

from leakage_pipeline.warehouse.tables import TableSpec

_INSTANT = pa.timestamp("us", tz="UTC")

USAGE_WINDOWS = TableSpec(
    schema="raw_usage",
    name="usage_windows",
    arrow_schema=pa.schema(
        [
            ("customer_id", pa.string()),
            ("meter", pa.string()),
            ("source", pa.string()),
            ("window_start", _INSTANT),
            ("window_end", _INSTANT),
            ("event_count", pa.int64()),
            ("quantity_sum", pa.string()),
            ("last_value", pa.string()),
            ("last_at", _INSTANT),
            ("late_count", pa.int64()),
            ("late_sum", pa.string()),
            ("duplicate_events", pa.int64()),
            ("has_arrivals", pa.bool_()),
            ("skewed_events", pa.int64()),
        ]
    ),
    primary_key=("customer_id", "meter", "source", "window_start"),
    comment="One row per customer, meter of the log, source and window: a UTC day, cut where "
    "billing cuts",
    numeric_columns=frozenset({"quantity_sum", "last_value", "late_sum"}),
)

UNATTRIBUTED_USAGE = TableSpec(
    schema="raw_usage",
    name="unattributed_usage",
    arrow_schema=pa.schema(
        [
            ("customer_ref", pa.string()),
            ("meter", pa.string()),
            ("source", pa.string()),
            ("window_start", _INSTANT),
            ("window_end", _INSTANT),
            ("event_count", pa.int64()),
            ("quantity_sum", pa.string()),
            ("reason", pa.string()),
        ]
    ),
    primary_key=("customer_ref", "meter", "source", "window_start"),
    comment="One row per unknown customer of the log, meter, source and UTC day",
    numeric_columns=frozenset({"quantity_sum"}),
)

LOG_COVERAGE = TableSpec(
    schema="raw_usage",
    name="log_coverage",
    arrow_schema=pa.schema(
        [
            ("meter", pa.string()),
            ("first_event_at", _INSTANT),
            ("last_event_at", _INSTANT),
            ("event_count", pa.int64()),
            ("as_of", _INSTANT),
        ]
    ),
    primary_key=("meter",),
    comment="One row per meter of the log: the span and number of its events, as an audit saw it",
)

LATE_ARRIVALS = TableSpec(
    schema="raw_usage",
    name="late_arrivals",
    arrow_schema=pa.schema(
        [
            ("customer_id", pa.string()),
            ("meter", pa.string()),
            ("source", pa.string()),
            ("window_start", _INSTANT),
            ("seen_at", _INSTANT),
            ("event_count", pa.int64()),
            ("quantity_sum", pa.string()),
        ]
    ),
    primary_key=("customer_id", "meter", "source", "window_start", "seen_at"),
    comment="Usage without received_at that an audit saw and the audit before it had not, though "
    "its window was over; kept for ever",
    numeric_columns=frozenset({"quantity_sum"}),
)

REPLACED = (USAGE_WINDOWS, UNATTRIBUTED_USAGE, LOG_COVERAGE)
"""What every audit computes anew."""

TABLES = (*REPLACED, LATE_ARRIVALS)
