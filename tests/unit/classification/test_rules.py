"""The rules classify every type, read what the evidence says, and never act against a customer."""

from decimal import Decimal

import pytest

from leakage_pipeline.classification.finding_types import FINDING_TYPES, finding_type
from leakage_pipeline.classification.rules import decide, rules_hash
from leakage_pipeline.classification.schema import Category, NextAction
from tests.unit.classification.examples import finding


@pytest.mark.parametrize("leakage_type", FINDING_TYPES)
@pytest.mark.parametrize("phase", ["closed", "open"])
def test_every_type_gets_an_action_that_it_allows(leakage_type: str, phase: str) -> None:
    kind = FINDING_TYPES[leakage_type]
    decision = decide(finding(leakage_type=leakage_type, direction=kind.direction, phase=phase))
    assert decision.next_action in kind.actions
    assert decision.category in kind.categories
    assert 0 < decision.confidence < Decimal("0.95")
    assert decision.rationale


@pytest.mark.parametrize(
    ("changes", "category", "action"),
    [
        ({}, Category.TECHNICAL_ERROR, NextAction.FIX_METERING),
        ({"phase": "open"}, Category.TECHNICAL_ERROR, NextAction.REPORT_USAGE),
        (
            {"leakage_type": "outdated_pricing", "reason": "price_below_price_book"},
            Category.PRICING_MIGRATION,
            NextAction.MIGRATE_PRICE,
        ),
        (
            {"leakage_type": "outdated_pricing", "reason": "line_edited"},
            Category.CONTRACT_EXCEPTION,
            NextAction.CONFIRM_CONTRACT,
        ),
        (
            {"leakage_type": "outdated_pricing", "churn_risk": Decimal("0.9")},
            Category.PRICING_MIGRATION,
            NextAction.CONFIRM_CONTRACT,
        ),
        (
            {"leakage_type": "missing_overage", "reason": "no_overage_price_on_subscription"},
            Category.TECHNICAL_ERROR,
            NextAction.ADD_METERED_PRICE,
        ),
        (
            {"leakage_type": "missing_overage", "reason": "line_absent"},
            Category.TECHNICAL_ERROR,
            NextAction.INVOICE_DIFFERENCE,
        ),
        (
            {"leakage_type": "incorrect_discount", "reason": "referral_repeated"},
            Category.TECHNICAL_ERROR,
            NextAction.CORRECT_DISCOUNT,
        ),
        (
            {"leakage_type": "incorrect_discount", "reason": "coupon_without_contract"},
            Category.CONTRACT_EXCEPTION,
            NextAction.CONFIRM_CONTRACT,
        ),
        (
            {
                "leakage_type": "incorrect_discount",
                "direction": "overbilling",
                "reason": "discount_not_given",
            },
            Category.TECHNICAL_ERROR,
            NextAction.CREDIT_CUSTOMER,
        ),
        (
            {"leakage_type": "overbilled_usage", "direction": "overbilling", "phase": "open"},
            Category.TECHNICAL_ERROR,
            NextAction.FIX_METERING,
        ),
    ],
)
def test_evidence_decides_within_a_type(
    changes: dict[str, object], category: Category, action: NextAction
) -> None:
    decision = decide(finding(**changes))
    assert (decision.category, decision.next_action) == (category, action)


def test_the_rationale_cites_evidence_by_name_and_the_amount() -> None:
    rationale = decide(finding()).rationale
    assert "expected_quantity is 500,000" in rationale
    assert "billed_quantity is 460,000" in rationale
    assert "$4,000.00" in rationale


def test_the_hash_changes_with_the_evidence_and_not_with_the_customer() -> None:
    assert rules_hash(finding()) == rules_hash(finding(customer_id="cus_Other", detection_id="x"))
    changed = finding(evidence={"expected_quantity": 500001})
    assert rules_hash(finding()) != rules_hash(changed)


def test_an_unknown_type_is_looked_into_by_hand() -> None:
    decision = decide(finding(leakage_type="brand_new", direction="risk"))
    assert decision.next_action in finding_type("brand_new", "risk").actions
    assert decision.draft_body is None
