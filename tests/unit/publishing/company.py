"""A company with a bit of everything: three currencies, shared causes, overbilling, exceptions."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg2.extensions

from tests.unit.publishing.sample import AS_OF, Row, bridge_row, insert

NAMES = (
    "Borealis Media",
    "Kestrel Logistics",
    "Nordlicht GmbH",
    "Harbour & Pine",
    "Sato Denki",
    "Lumen <Labs>",
    "Quarry Analytics",
    "Tidewater Health",
    "Ostra Robotics",
    "Fable Studios",
    "Juniper Freight",
    "Mistral Energie",
)
FIRST_END = datetime(2026, 9, 4, 14, 23, 7, tzinfo=UTC)


def customer(number: int) -> str:
    return f"cus_Sample{number:04d}"


def customers() -> list[dict[str, Any]]:
    return [
        {
            "customer_id": customer(number),
            "name": name,
            "email": f"billing{number}@example.com",
            "plan": ("basic", "pro", "scale")[number % 3],
            "currency": "usd",
            "mrr": Decimal(149),
            "health_score": Decimal("0.81"),
            "churn_risk": Decimal("0.12"),
            "lifetime_value": Decimal(4200),
        }
        for number, name in enumerate(NAMES)
    ]


def charge(
    kind: str, quantity: tuple[int, int], expected: str, billed: str, number: int
) -> dict[str, Any]:
    return {
        "charge_id": f"charge_{number}",
        "kind": kind,
        "authority": "price_book",
        "stripe_price_id": f"price_Sample{number:06d}",
        "expected_quantity": quantity[0],
        "billed_quantity": quantity[1],
        "expected_net": float(expected),
        "billed_net": float(billed),
        "invoice_ids": [f"in_1Sample{number:06d}"],
        "invoice_line_ids": [f"il_1Sample{number:06d}"],
    }


def _periods(count: int) -> list[tuple[datetime, datetime]]:
    ends = [FIRST_END + timedelta(days=30 * step) for step in range(count)]
    return [(end - timedelta(days=30), end) for end in ends]


def findings() -> list[Row]:
    rows: list[Row] = []
    rows += _outdated_pricing() + _unreported_usage() + _overage() + _estimated() + _others()
    return rows


def _outdated_pricing() -> list[Row]:
    rows = []
    for number in (0, 3):
        for step, (start, end) in enumerate(_periods(3)):
            rows.append(
                Row(
                    f"price-{number}-{step}",
                    customer(number),
                    customer(number).replace("cus", "sub"),
                    period_start=start,
                    period_end=end,
                    incident_id="inc-price",
                    cause="price_Sample000007",
                    reason="price_below_price_book",
                    severity="medium",
                    priority_score=Decimal(120 - number),
                    description=(
                        "Billed 99.00 USD instead of 149.00 USD: the price book price is higher "
                        "than the price on the subscription."
                    ),
                    evidence={
                        "reason": "price_below_price_book",
                        "authority": "price_book",
                        "expected_quantity": 1,
                        "billed_quantity": 1,
                        "charges": [charge("fee", (1, 1), "149.00", "99.00", 7)],
                    },
                )
            )
    return rows


def _unreported_usage() -> list[Row]:
    rows = []
    for number, (true, metered) in {
        1: (500_000, 460_000),
        6: (212_500, 198_000),
        7: (90_400, 83_000),
        8: (44_000, 40_100),
    }.items():
        for step, (start, end) in enumerate(_periods(3)):
            gap = Decimal(true - metered) / 10
            rows.append(
                Row(
                    f"usage-{number}-{step}",
                    customer(number),
                    customer(number).replace("cus", "sub"),
                    "unreported_usage",
                    phase="closed" if step < 2 else "open",
                    period_start=start,
                    period_end=end if step < 2 else end + timedelta(days=30),
                    leakage_amount=gap,
                    monthly_leakage_amount=gap,
                    reporting_amount=gap,
                    severity="high" if gap > 1000 else "medium",
                    priority_score=gap * Decimal("0.8"),
                    incident_id="inc-encode",
                    meter="minutes",
                    cause="encode_4k",
                    description=(
                        f"{true} minutes used, {metered} metered in the period: {gap} USD not "
                        "billed."
                    ),
                    evidence={
                        "meter": "minutes",
                        "authority": "contract",
                        "expected_quantity": true,
                        "billed_quantity": metered,
                        "charges": [
                            charge(
                                "usage",
                                (true, metered),
                                str(Decimal(true) / 10),
                                str(Decimal(metered) / 10),
                                100 + number,
                            )
                        ],
                    },
                    first_detected_at=AS_OF - timedelta(days=2 if number == 8 else 50),
                )
            )
    return rows


def _overage() -> list[Row]:
    start, end = _periods(2)[1]
    return [
        Row(
            "overage-2",
            customer(2),
            "sub_Sample0002",
            "missing_overage",
            period_start=start,
            period_end=end,
            currency="eur",
            leakage_amount=Decimal("350.00"),
            monthly_leakage_amount=Decimal("350.00"),
            reporting_amount=Decimal("381.50"),
            severity="medium",
            priority_score=Decimal(260),
            incident_id="inc-overage-2",
            meter="api_calls",
            reason="no_overage_price_on_subscription",
            description=(
                "85000 api_calls used in the period come to 350.00 EUR; billed 0.00 EUR. The "
                "subscription has no overage price."
            ),
            evidence={
                "meter": "api_calls",
                "authority": "contract",
                "contract_id": "C-2041",
                "expected_quantity": 85000,
                "billed_quantity": 85000,
                "charges": [charge("usage", (85000, 85000), "350.00", "0.00", 9)],
            },
            first_detected_at=AS_OF - timedelta(days=1),
        ),
        Row(
            "jpy-4",
            customer(4),
            "sub_Sample0004",
            period_start=start,
            period_end=end,
            currency="jpy",
            leakage_amount=Decimal(1000),
            monthly_leakage_amount=Decimal(1000),
            reporting_amount=None,
            incident_id="inc-jpy",
            priority_score=Decimal(4),
            description="Billed 4000 JPY instead of 5000 JPY: the contract price is higher.",
            evidence={"charges": [charge("fee", (1, 1), "5000", "4000", 11)]},
        ),
    ]


def _estimated() -> list[Row]:
    start, end = _periods(3)[2]
    return [
        Row(
            "feature-5",
            customer(5),
            "sub_Sample0005",
            "feature_leakage",
            period_start=start,
            period_end=end,
            leakage_amount=Decimal("150.00"),
            monthly_leakage_amount=Decimal("150.00"),
            reporting_amount=Decimal("150.00"),
            amount_basis="estimated",
            severity="medium",
            confidence=Decimal("0.80"),
            priority_score=Decimal(58),
            incident_id="inc-feature",
            description=(
                'Account A-77 has ["sso"] on plan basic (49.00); the cheapest plan with all of '
                "them is Enterprise (199.00 USD)."
            ),
            evidence={
                "account_id": "A-77",
                "features_enabled": ["sso"],
                "features_of_plan": ["api"],
                "plan": "basic",
                "plan_price": 49.0,
                "covering_plan": "Enterprise",
                "covering_plan_price": 199.0,
                "intervals": 1,
            },
        ),
        Row(
            "access-9",
            customer(9),
            "sub_Sample0009",
            "access_after_cancellation",
            period_start=start,
            period_end=end,
            leakage_amount=Decimal("49.00"),
            monthly_leakage_amount=Decimal("49.00"),
            reporting_amount=Decimal("49.00"),
            amount_basis="estimated",
            confidence=Decimal("0.80"),
            priority_score=Decimal(15),
            incident_id="inc-access",
            description="Account A-9 still has access although its subscription ended.",
            evidence={
                "account_status": "active",
                "subscription_ended_at": "2026-08-02T10:00:00+00:00",
                "plan": "basic",
                "unit_price": 49.0,
                "quantity": 1,
            },
        ),
    ]


def _others() -> list[Row]:
    start, end = _periods(2)[1]
    return [
        Row(
            "over-10",
            customer(10),
            "sub_Sample0010",
            "overbilled_usage",
            "overbilling",
            period_start=start,
            period_end=end,
            leakage_amount=Decimal("420.00"),
            monthly_leakage_amount=Decimal("420.00"),
            reporting_amount=Decimal("420.00"),
            severity="medium",
            priority_score=Decimal(380),
            incident_id="inc-over",
            meter="minutes",
            description="10000 minutes used, 14200 metered in the period: 420.00 USD too much.",
            evidence={
                "meter": "minutes",
                "authority": "contract",
                "expected_quantity": 10000,
                "billed_quantity": 14200,
                "charges": [charge("usage", (10000, 14200), "1000.00", "1420.00", 12)],
            },
        ),
        Row(
            "double-11",
            customer(11),
            "sub_Sample0011",
            "double_charge",
            "overbilling",
            period_start=start,
            period_end=end,
            leakage_amount=Decimal("149.00"),
            monthly_leakage_amount=Decimal(0),
            reporting_amount=Decimal("149.00"),
            severity="medium",
            priority_score=Decimal(130),
            incident_id="inc-double",
            reason="line_repeated",
            description="Invoice lines for the licence come to 149.00 USD more than the price.",
            evidence={"charges": [charge("fee", (1, 1), "149.00", "298.00", 13)]},
        ),
    ]


def incidents() -> list[dict[str, Any]]:
    return [
        {
            "incident_id": "inc-encode",
            "leakage_type": "unreported_usage",
            "direction": "leak",
            "meter": "minutes",
            "source": "encode_4k",
            "cause": "encode_4k",
            "started_at": datetime(2026, 8, 5, 14, 23, 7, tzinfo=UTC),
            "is_running": True,
            "customers": 4,
            "findings": 12,
            "leakage_amount": Decimal("19740.00"),
            "monthly_leakage_amount": Decimal("6580.00"),
            "currency": "usd",
            "first_detected_at": AS_OF - timedelta(days=50),
            "description": "`encode_4k`: unreported usage of minutes since 2026-08-05",
        },
        {
            "incident_id": "inc-price",
            "leakage_type": "outdated_pricing",
            "direction": "leak",
            "meter": None,
            "source": None,
            "cause": "price_Sample000007",
            "started_at": datetime(2026, 8, 5, 14, 23, 7, tzinfo=UTC),
            "is_running": True,
            "customers": 2,
            "findings": 6,
            "leakage_amount": Decimal("300.00"),
            "monthly_leakage_amount": Decimal("100.00"),
            "currency": "usd",
            "first_detected_at": AS_OF - timedelta(days=50),
            "description": "`price_Sample000007`: outdated pricing since 2026-08-05",
        },
    ]


def fill(conn: psycopg2.extensions.connection) -> None:
    """Fill every mart."""
    insert(conn, "marts.dim_customers", customers())
    insert(conn, "marts.fct_leakage_detections", findings())
    insert(conn, "marts.fct_incidents", incidents())
    insert(conn, "marts.fct_expected_vs_billed", _bridge())
    insert(conn, "marts.fct_control_coverage", _coverage())
    insert(conn, "marts.fct_approved_exceptions", _exceptions())
    insert(conn, "marts.fct_charge_calculation", _calculations())
    insert(conn, "marts.fct_revenue_recovered", _recovered())
    insert(conn, "raw_business.audit_settings", [{"singleton": 1, "as_of": AS_OF}])
    rejected = {
        "source": "gateway",
        "location": "part-3.parquet:17",
        "reason": "value is not a number",
        "payload": "{}",
        "first_seen_at": AS_OF,
    }
    insert(conn, "ops.rejected_rows", [rejected])


def _bridge() -> list[dict[str, Any]]:
    rows = []
    for step, (_, end) in enumerate(_periods(3)):
        rows.append(bridge_row(customer(0), end, "149.00", price_gap_amount="50.00"))
        rows.append(bridge_row(customer(3), end, "149.00", price_gap_amount="50.00"))
        rows.append(bridge_row(customer(1), end, "50000.00", usage_gap_amount="4000.00"))
        rows.append(bridge_row(customer(6), end, "21250.00", usage_gap_amount="1450.00"))
        rows.append(bridge_row(customer(7), end, "9040.00", usage_gap_amount="740.00"))
        rows.append(bridge_row(customer(8), end, "4400.00", usage_gap_amount="390.00"))
        rows.append(bridge_row(customer(10), end, "1000.00", usage_gap_amount="-420.00"))
        rows.append(bridge_row(customer(11), end, "149.00", rating_gap_amount="-149.00"))
        rows.append(
            bridge_row(customer(5), end, "1490.00", missing_invoice_amount="1490.00")
            if step == 1
            else bridge_row(customer(5), end, "1490.00", discount_gap_amount="223.50")
        )
        rows.append(bridge_row(customer(2), end, "350.00", "eur", price_gap_amount="350.00"))
        rows.append(bridge_row(customer(9), end, "149.00", "eur"))
        rows.append(bridge_row(customer(4), end, "5000", "jpy", price_gap_amount="1000"))
    return rows


def _coverage() -> list[dict[str, Any]]:
    usage = {"unreported_usage", "overbilled_usage", "missing_overage"}
    types = (
        "outdated_pricing",
        "missing_overage",
        "unreported_usage",
        "incorrect_discount",
        "seat_leakage",
        "missing_invoice",
        "overbilled_usage",
        "feature_leakage",
        "access_after_cancellation",
    )
    return [
        {
            "leakage_type": kind,
            "customers_examined": 9 if kind in usage else 12,
            "customers_total": 12,
            "revenue_examined": Decimal(84000) if kind in usage else Decimal(91000),
            "revenue_total": Decimal(91000),
            "currency": "usd",
            "missing_inputs": ["stripe meters"] if kind in usage else [],
            "as_of": AS_OF,
        }
        for kind in types
    ]


def _exceptions() -> list[dict[str, Any]]:
    return [
        {
            "detection_id": f"exc-{step}",
            "exception_id": "E-1",
            "customer_id": customer(9),
            "subscription_id": "sub_Sample0009",
            "leakage_type": "outdated_pricing",
            "direction": "leak",
            "meter": None,
            "period_start": start,
            "period_end": end,
            "phase": "closed",
            "currency": "usd",
            "covered_amount": Decimal("25.00"),
            "reason": "partner discount until 2027",
            "approved_by": "M. Keller",
            "description": "",
        }
        for step, (start, end) in enumerate(_periods(3))
    ]


def _calculations() -> list[dict[str, Any]]:
    month = Decimal(2_592_000)

    def row(charge_id: str, currency: str, index: int, units: str, unit: str, amount: str):
        return {
            "charge_id": charge_id,
            "authority": "contract",
            "currency": currency,
            "quantity": Decimal(units),
            "included_quantity": Decimal(0),
            "grace_percent": Decimal(0),
            "quantity_above": Decimal(units),
            "package_size": None,
            "package_rounding": None,
            "rated_quantity": Decimal(units),
            "sign": 1,
            "discount_inside_percent": Decimal(0),
            "rounding_rule": "half_away_from_zero",
            "tier_index": index,
            "units": Decimal(units),
            "unit_amount": Decimal(unit),
            "flat_amount": Decimal(0),
            "multiplier": Decimal(1),
            "share_seconds": month,
            "full_seconds": month,
            "amount": Decimal(amount),
        }

    return [
        row("charge_9", "eur", 0, "50", "5", "250.00"),
        row("charge_9", "eur", 1, "25", "4", "100.00"),
        row("charge_101", "usd", 0, "500000", "0.10", "50000.00"),
        row("charge_7", "usd", 0, "1", "149", "149.00"),
    ]


def _recovered() -> list[dict[str, Any]]:
    return [
        {
            "action_id": "a-1",
            "detection_id": "price-0-0",
            "customer_id": customer(0),
            "leakage_type": "outdated_pricing",
            "action": "invoice_item",
            "currency": "usd",
            "recovered_amount": Decimal("50.00"),
            "recovered_at": AS_OF - timedelta(days=3),
        }
    ]
