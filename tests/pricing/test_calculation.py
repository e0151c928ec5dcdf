"""Every figure again from the marts and the evidence alone, as an analyst with a calculator would.

`fct_charge_calculation` gives the gross amount of each charge, a finding's evidence the rest.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any

import pytest

from tests.support.audit import rows
from tests.support.one_company import OneCompany

Row = Mapping[str, Any]
ZERO = Decimal(0)
# A quotient that never ends has at least 16 digits in the mart.
ENDLESS = Fraction(1, 10**9)


@pytest.fixture(scope="module")
def calculation(audited: OneCompany) -> dict[str, list[Row]]:
    """Rows of the mart by charge, in the order of their tiers."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows(
        audited.url, "select * from marts.fct_charge_calculation order by charge_id, tier_index"
    ):
        found[row["charge_id"]].append(row)
    return found


@pytest.fixture(scope="module")
def findings(audited: OneCompany) -> list[Row]:
    """Every finding with its evidence, whose numbers stay exact."""
    query = (
        "select customer_id, leakage_type, leakage_amount, evidence::text as evidence"
        " from marts.fct_leakage_detections"
    )
    return [
        {**row, "evidence": json.loads(row["evidence"], parse_float=Decimal)}
        for row in rows(audited.url, query)
    ]


def test_every_row_can_be_recomputed_from_its_own_columns(
    calculation: dict[str, list[Row]],
) -> None:
    wrong = []
    for charge_id, tiers in calculation.items():
        before = Fraction(0)
        for row in sorted(tiers, key=lambda tier: tier["tier_index"]):
            units = _units(row)
            if abs(units - Fraction(row["units"])) > ENDLESS:
                wrong.append((charge_id, "units", units, row["units"]))
            parts = []
            for amount in (units * Fraction(row["unit_amount"]), Fraction(row["flat_amount"])):
                parts.append(_rounded(row, amount, before))
                before += _steps(row, amount)
            if parts != [row["unit_part"], row["flat_part"]] or sum(parts) != row["amount"]:
                wrong.append((charge_id, row["tier_index"], parts, row["amount"]))
    assert not wrong
    assert sum(map(len, calculation.values())) > 1000


def _units(row: Row) -> Fraction:
    """Units of the tier: what is above the included quantity, in packages, between its bounds."""
    free = Fraction(row["included_quantity"]) * (1 + Fraction(row["grace_percent"]) / 100)
    above = max(Fraction(0), Fraction(row["quantity"]) - free)
    assert above == Fraction(row["quantity_above"])
    rated = above
    if row["package_size"] is not None:
        rated /= Fraction(row["package_size"])
        rounding = {"up": ceil, "down": floor, "none": Fraction}[row["package_rounding"]]
        rated = Fraction(rounding(rated))
    assert abs(rated - Fraction(row["rated_quantity"])) <= ENDLESS
    if row["tiers_mode"] == "volume":
        return rated
    top = rated if row["up_to"] is None else min(rated, Fraction(row["up_to"]))
    return top - Fraction(row["from_quantity"])


def _rounded(row: Row, amount: Fraction, before: Fraction) -> Decimal:
    """A part as its rule rounds it; `before` are the smallest amounts of the parts before it."""
    step = Fraction(row["smallest_amount"])
    steps = _steps(row, amount)
    if row["rounding_rule"] == "down":
        return _decimal((floor(before + steps) - floor(before)) * step)
    if row["rounding_rule"] == "down_by_line":
        charged = _half_away(amount * _multiplier(row) / step) * step
        return _decimal(floor(_steps(row, charged / _multiplier(row))) * step)
    return _decimal(_half_away(steps) * step)


def _steps(row: Row, amount: Fraction) -> Fraction:
    """The part's exact share of the period, in smallest amounts."""
    inside = 1 - Fraction(row["discount_inside_percent"]) / 100
    share = Fraction(row["share_seconds"]) / Fraction(row["full_seconds"])
    step = Fraction(row["smallest_amount"])
    return amount * _multiplier(row) * row["sign"] * inside * share / step


def _multiplier(row: Row) -> Fraction:
    # Months of one interval in months of another.
    return Fraction(row["multiplier"]).limit_denominator(12)


def _half_away(steps: Fraction) -> int:
    whole = floor(abs(steps) + Fraction(1, 2))
    return whole if steps >= 0 else -whole


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def test_the_tiers_come_to_the_gross_amount_in_the_evidence(
    calculation: dict[str, list[Row]], findings: list[Row]
) -> None:
    seen = 0
    for finding in findings:
        for charge in _charges(finding):
            tiers = calculation.get(charge["charge_id"], [])
            assert sum(tier["amount"] for tier in tiers) == charge["expected_gross"]
            assert {tier["authority"] for tier in tiers} <= {charge["authority"]}
            seen += 1
    assert seen > 200


def test_the_amount_of_every_finding_is_a_difference_in_its_evidence(findings: list[Row]) -> None:
    """The steps of docs/billing-model.md, taken from the net amounts that the evidence holds."""
    wrong = []
    for finding in findings:
        if finding["leakage_type"] not in {*_STEP_OF, "minimum_shortfall"}:
            continue  # estimated from list prices, not read off the bridge
        amount = _amount(finding)
        if amount != finding["leakage_amount"]:
            wrong.append((finding["leakage_type"], finding["customer_id"], amount))
    assert not wrong
    kinds = {finding["leakage_type"] for finding in findings}
    assert {
        "missing_overage",
        "outdated_pricing",
        "overbilled_price",
        "unreported_usage",
        "overbilled_usage",
        "minimum_shortfall",
    } <= kinds


def _amount(finding: Row) -> Decimal:
    evidence, kind = finding["evidence"], finding["leakage_type"]
    if kind == "minimum_shortfall":
        return evidence["minimum_commitment"] - evidence["expected_net"]
    charges = [_numbers(charge) for charge in _charges(finding)]
    steps = [_bridge_steps(charge) for charge in charges]
    step_name = _STEP_OF[kind]
    if evidence.get("reason") in {"line_absent", "line_too_low", "line_edited"}:
        step_name = "rating"
    amount = abs(sum((step[step_name] for step in steps), ZERO))
    return amount - Decimal(evidence.get("already_credited", ZERO))


_STEP_OF = {
    "missing_overage": "price",
    "outdated_pricing": "price",
    "overbilled_price": "price",
    "unreported_usage": "quantity",
    "overbilled_usage": "quantity",
    "incorrect_discount": "discount",
    "double_charge": "rating",
}


def _bridge_steps(charge: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {
        "discount": charge["expected_net"] - charge["net_at_billed_discount"],
        "quantity": charge["net_at_billed_discount"] - charge["net_at_billed_quantity"],
        "price": charge["net_at_billed_quantity"] - charge["net_at_stripe_price"],
        "rating": charge["net_at_stripe_price"] - charge["billed_net"],
    }


def _numbers(charge: Row) -> dict[str, Decimal]:
    return {
        key: Decimal(value)
        for key, value in charge.items()
        if isinstance(value, int | Decimal) and not isinstance(value, bool)
    }


def _charges(finding: Row) -> Sequence[Row]:
    found = finding["evidence"].get("charges", [])
    return [charge for part in found for charge in (part if isinstance(part, list) else [part])]
