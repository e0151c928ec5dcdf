"""Findings to classify, without a database."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from leakage_pipeline.classification.findings import Finding

BASE = Finding(
    detection_id="d-1",
    customer_id="cus_Example0001",
    subscription_id="sub_Example0001",
    leakage_type="unreported_usage",
    direction="leak",
    phase="closed",
    period_start=datetime(2026, 10, 1, tzinfo=UTC),
    period_end=datetime(2026, 11, 1, tzinfo=UTC),
    currency="usd",
    amount=Decimal("4000.00"),
    monthly_amount=Decimal("4000.00"),
    reporting_amount=Decimal("4000.00"),
    amount_basis="measured",
    severity="high",
    confidence=Decimal("0.95"),
    priority_score=Decimal(3000),
    incident_id=None,
    description="500000 minutes used, 460000 metered: 4000.00 USD not billed.",
    evidence={"expected_quantity": 500000, "billed_quantity": 460000, "authority": "contract"},
    first_detected_at=datetime(2026, 11, 2, tzinfo=UTC),
    last_detected_at=datetime(2026, 11, 20, tzinfo=UTC),
    meter="encode_minutes",
    reason=None,
    customer_name="Kestrel Logistics",
    plan="pro",
    health_score=Decimal("0.8"),
    churn_risk=Decimal("0.1"),
)


def finding(**changes: Any) -> Finding:
    """A plausible finding with these fields changed."""
    return replace(BASE, **changes)
