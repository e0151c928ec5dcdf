"""Writes what the audit judges by into the warehouse, where the SQL models read it.

So a model rebuilt by hand judges by the same instant and thresholds as the run did.
"""

import json
from datetime import datetime

import psycopg2.extensions
import pyarrow as pa

from leakage_pipeline.business.tables import AUDIT_SETTINGS, METER_MAPPINGS
from leakage_pipeline.settings import Settings
from leakage_pipeline.warehouse import load


def load_audit_settings(
    settings: Settings, conn: psycopg2.extensions.connection, as_of: datetime
) -> None:
    """Replace the one row of audit_settings.

    Args:
        settings: What the user configured.
        conn: The warehouse.
        as_of: The instant that is now for the whole run.
    """
    policy, rollout = settings.policy, settings.rollout
    row = {
        "singleton": 1,
        "as_of": as_of,
        "company": settings.company,
        "reporting_currency": settings.reporting_currency,
        "lookback_periods": settings.lookback_periods,
        "usage_tolerance_pct": str(policy.usage_tolerance_pct),
        "min_amount": str(policy.min_amount),
        "severity_medium": str(policy.severity.medium),
        "severity_high": str(policy.severity.high),
        "severity_critical": str(policy.severity.critical),
        "payment_grace_days": policy.payment_grace_days,
        "invoice_grace_days": policy.invoice_grace_days,
        "refund_window_days": policy.refund_window_days,
        "soft_cap_pct": json.dumps(policy.soft_cap_pct),
        "finalization_delay_hours": policy.finalization_delay_hours,
        "rollout_customers": json.dumps(rollout.customers),
        "rollout_created_after": rollout.created_after,
        "rollout_max_customers": rollout.max_customers,
    }
    data = pa.Table.from_pylist([row], schema=AUDIT_SETTINGS.arrow_schema)
    load.replace(conn, AUDIT_SETTINGS, data)


def load_meter_mappings(settings: Settings, conn: psycopg2.extensions.connection) -> int:
    """Replace meter_mappings by the configured meters.

    Returns:
        How many there are.
    """
    rows = [
        {"meter": meter, "stripe_event_name": mapping.stripe_event_name}
        for meter, mapping in sorted(settings.meters.items())
    ]
    data = pa.Table.from_pylist(rows, schema=METER_MAPPINGS.arrow_schema)
    return load.replace(conn, METER_MAPPINGS, data)
