"""Marts of the contract's shape as plain tables, and a plausible company to fill them with.

The dbt models are not run here: what is tested is what stands downstream of them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2.extensions
from psycopg2.extras import execute_values

from leakage_pipeline.settings import Settings, load_settings
from leakage_pipeline.warehouse import ops

AS_OF = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)

_TABLES = """
    create schema if not exists marts;
    create schema if not exists raw_business;
    create table marts.fct_leakage_detections (
        detection_id text, customer_id text, subscription_id text, leakage_type text,
        direction text, phase text, period_start timestamptz, period_end timestamptz,
        currency text, leakage_amount numeric, monthly_leakage_amount numeric,
        reporting_amount numeric, amount_basis text, severity text, confidence numeric,
        priority_score numeric, incident_id text, meter text, reason text, cause text,
        description text, evidence jsonb, first_detected_at timestamptz,
        last_detected_at timestamptz
    );
    create table marts.fct_incidents (
        incident_id text, leakage_type text, direction text, meter text, source text, cause text,
        started_at timestamptz, ended_at timestamptz, is_running boolean, customers bigint,
        findings bigint, leakage_amount numeric, monthly_leakage_amount numeric,
        daily_leakage_amount numeric, currency text, first_detected_at timestamptz,
        description text
    );
    create table marts.fct_invoice_holds (
        invoice_id text, customer_id text, subscription_id text, currency text,
        drafted_amount numeric, expected_amount numeric, difference numeric, reasons jsonb,
        detection_ids jsonb, finalises_at timestamptz, description text
    );
    create table marts.fct_blocked_findings (
        detection_id text, explanation text, leakage_type text, direction text, currency text,
        blocked_amount numeric
    );
    create table marts.fct_expected_vs_billed (
        customer_id text, subscription_id text, period_start timestamptz, period_end timestamptz,
        phase text, currency text, plan text, expected_amount numeric, billed_amount numeric,
        difference numeric, usage_gap_amount numeric, price_gap_amount numeric,
        quantity_gap_amount numeric, discount_gap_amount numeric, minimum_gap_amount numeric,
        rating_gap_amount numeric, missing_invoice_amount numeric, rounding_amount numeric,
        credited_amount numeric, unexplained_amount numeric
    );
    create table marts.fct_control_coverage (
        leakage_type text, customers_examined bigint, customers_total bigint,
        revenue_examined numeric, revenue_total numeric, currency text, missing_inputs jsonb,
        as_of timestamptz
    );
    create table marts.fct_approved_exceptions (
        detection_id text, exception_id text, customer_id text, subscription_id text,
        leakage_type text, direction text, meter text, period_start timestamptz,
        period_end timestamptz, phase text, currency text, covered_amount numeric, reason text,
        approved_by text, description text
    );
    create table marts.dim_customers (
        customer_id text, name text, email text, plan text, currency text, mrr numeric,
        health_score numeric, churn_risk numeric, lifetime_value numeric
    );
    create table marts.fct_revenue_recovered (
        action_id text, detection_id text, customer_id text, leakage_type text, action text,
        currency text, billed_amount numeric, recovered_amount numeric, recovered_at timestamptz,
        outstanding_amount numeric, invoice_id text, billed_at timestamptz
    );
    create table marts.fct_overbilling_corrected (
        action_id text, detection_id text, customer_id text, leakage_type text, action text,
        currency text, corrected_amount numeric, corrected_at timestamptz, credit_note_id text
    );
    create table marts.fct_charge_calculation (
        charge_id text, authority text, currency text, quantity numeric,
        included_quantity numeric, grace_percent numeric, quantity_above numeric,
        package_size numeric, package_rounding text, rated_quantity numeric, tier_index int,
        units numeric, unit_amount numeric, flat_amount numeric, multiplier numeric, sign int,
        discount_inside_percent numeric, share_seconds numeric, full_seconds numeric,
        rounding_rule text, amount numeric
    );
    create table if not exists raw_business.audit_settings (singleton int, as_of timestamptz);
"""

STEP_COLUMNS = (
    "usage_gap_amount",
    "price_gap_amount",
    "quantity_gap_amount",
    "discount_gap_amount",
    "minimum_gap_amount",
    "rating_gap_amount",
    "missing_invoice_amount",
    "rounding_amount",
    "credited_amount",
    "unexplained_amount",
)


def create_marts(conn: psycopg2.extensions.connection) -> None:
    """Create the empty marts and the `ops` schema."""
    ops.create(conn)
    with conn.cursor() as cursor:
        cursor.execute(_TABLES)
    conn.commit()


def settings(tmp_path: Path, **environ: str) -> Settings:
    """Settings of a company in the given folder."""
    path = tmp_path / "leakage.yaml"
    if not path.exists():
        path.write_text("company: Acme Cloud\nsources: {}\n")
    return load_settings(path, {"LEAKAGE_HOME": str(tmp_path / "home"), **environ})


@dataclass
class Row:
    """One finding; every field has a plausible default."""

    detection_id: str
    customer_id: str | None = "cus_Borealis001"
    subscription_id: str | None = "sub_Borealis001"
    leakage_type: str = "outdated_pricing"
    direction: str = "leak"
    phase: str = "closed"
    period_start: datetime = datetime(2026, 10, 4, 14, 23, 7, tzinfo=UTC)
    period_end: datetime = datetime(2026, 11, 4, 14, 23, 7, tzinfo=UTC)
    currency: str | None = "usd"
    leakage_amount: Decimal | None = Decimal("50.00")
    monthly_leakage_amount: Decimal | None = Decimal("50.00")
    reporting_amount: Decimal | None = Decimal("50.00")
    amount_basis: str = "measured"
    severity: str = "low"
    confidence: Decimal = Decimal("0.95")
    priority_score: Decimal = Decimal(28)
    incident_id: str | None = None
    meter: str | None = None
    reason: str | None = None
    cause: str | None = None
    description: str = "Billed 99.00 USD instead of 149.00 USD: the list price is higher."
    evidence: Mapping[str, Any] = field(default_factory=dict)
    first_detected_at: datetime = AS_OF - timedelta(days=40)
    last_detected_at: datetime = AS_OF


def insert(conn: psycopg2.extensions.connection, table: str, rows: Sequence[Any]) -> None:
    """Insert rows, mappings or `Row`s, into a mart."""
    values = [dict(vars(row)) if isinstance(row, Row) else dict(row) for row in rows]
    if not values:
        return
    columns = list(values[0])
    with conn.cursor() as cursor:
        execute_values(
            cursor,
            f"insert into {table} ({', '.join(columns)}) values %s",  # noqa: S608
            [tuple(_plain(row[column]) for column in columns) for row in values],
        )
    conn.commit()


def _plain(value: Any) -> Any:
    return json.dumps(value, default=str) if isinstance(value, Mapping | list) else value


def bridge_row(
    customer: str, ended: datetime, expected: str, currency: str = "usd", **steps: str
) -> dict[str, Any]:
    """A row of the bridge that adds up."""
    amounts = {column: Decimal(steps.get(column, "0")) for column in STEP_COLUMNS}
    difference = sum(amounts.values(), Decimal(0))
    return {
        "customer_id": customer,
        "subscription_id": customer.replace("cus", "sub"),
        "period_start": ended - timedelta(days=30),
        "period_end": ended,
        "phase": "closed",
        "currency": currency,
        "plan": "pro",
        "expected_amount": Decimal(expected),
        "billed_amount": Decimal(expected) - difference,
        "difference": difference,
        **amounts,
    }
