"""The deterministic classifier: for every finding type a category, an action and why.

It works alone without an API key and decides whenever the model cannot or may not.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from leakage_pipeline.classification.finding_types import OVERBILLING, FindingType, finding_type
from leakage_pipeline.classification.findings import Finding
from leakage_pipeline.classification.schema import ACTIONS, Category, Decision, NextAction
from leakage_pipeline.classification.wording import money, quantity

RULES_VERSION = "1"

_USUAL = Decimal("0.90")
"""Share of the detection's confidence that a type's usual answer keeps: the type rarely lies."""
_GUESS = Decimal("0.65")
"""The same when the rule reads the cause from a weaker sign."""
_LIKELY_TO_LEAVE = Decimal("0.7")
_MAX_CITED = 3
_CITED_FIRST = (
    "reason",
    "expected_quantity",
    "billed_quantity",
    "discount_percent_billed",
    "discount_percent_entitled",
    "plan",
    "authority",
)
_MAX_TEXT = 60


@dataclass(frozen=True)
class _Choice:
    category: Category
    action: NextAction
    weight: Decimal
    because: str


def decide(finding: Finding) -> Decision:
    """Classify one finding by its type, phase, reason and evidence.

    Returns:
        A decision whose action the finding type allows; its message is the template's.
    """
    kind = finding_type(finding.leakage_type, finding.direction)
    usual = _Choice(
        kind.categories[0], kind.actions[0], _USUAL, f"the usual answer to {kind.title.lower()!r}"
    )
    refine = _REFINEMENTS.get(finding.leakage_type)
    refined = refine(finding) if refine and finding.direction == kind.direction else None
    choice = refined if refined and refined.action in kind.actions else usual
    if finding.direction == OVERBILLING and finding.phase == "open":
        choice = _before_the_invoice(choice, kind)
    return Decision(
        category=choice.category,
        next_action=choice.action,
        confidence=(finding.confidence * choice.weight).quantize(Decimal("0.01")),
        rationale=_rationale(finding, choice),
        draft_subject=None,
        draft_body=None,
    )


def rules_hash(finding: Finding) -> str:
    """SHA-256 over everything the rules look at, and their version: equal hash, equal decision."""
    seen = [
        RULES_VERSION,
        finding.leakage_type,
        finding.direction,
        finding.phase,
        finding.reason,
        finding.currency,
        finding.amount,
        finding.confidence,
        finding.churn_risk,
        finding.evidence,
    ]
    return hashlib.sha256(json.dumps(seen, default=str, sort_keys=True).encode()).hexdigest()


# ---------------------------------------------------------------------- refinements by type


def _metering(finding: Finding) -> _Choice | None:
    if finding.phase == "open":
        return _Choice(
            Category.TECHNICAL_ERROR,
            NextAction.REPORT_USAGE,
            _USUAL,
            "the period is still open, so the usage can reach the meter before the invoice",
        )
    if finding.reason == "nothing_metered":
        return _Choice(
            Category.TECHNICAL_ERROR,
            NextAction.FIX_METERING,
            _USUAL,
            "nothing of it reached the meter, so the reporting itself is broken",
        )
    return None


def _pricing(finding: Finding) -> _Choice | None:
    if finding.reason == "line_edited":
        return _Choice(
            Category.CONTRACT_EXCEPTION,
            NextAction.CONFIRM_CONTRACT,
            _GUESS,
            "someone edited the invoice line, which is often a promise that nobody recorded",
        )
    if (finding.churn_risk or Decimal(0)) >= _LIKELY_TO_LEAVE:
        return _Choice(
            Category.PRICING_MIGRATION,
            NextAction.CONFIRM_CONTRACT,
            _GUESS,
            "the customer may leave, so the account owner speaks first",
        )
    return None


def _overage(finding: Finding) -> _Choice | None:
    if finding.reason in {"line_absent", "line_too_low"}:
        return _Choice(
            Category.TECHNICAL_ERROR,
            NextAction.INVOICE_DIFFERENCE,
            _USUAL,
            "the subscription has the price, yet the invoice lacks the line or part of it",
        )
    return None


_DISCOUNT_REASONS: dict[str, tuple[Category, NextAction, Decimal, str]] = {
    "annual_commitment_not_met": (
        Category.CONTRACT_EXCEPTION,
        NextAction.CORRECT_DISCOUNT,
        _USUAL,
        "the discount is for a yearly commitment that the contract does not make",
    ),
    "volume_threshold_not_met": (
        Category.CONTRACT_EXCEPTION,
        NextAction.CORRECT_DISCOUNT,
        _USUAL,
        "the usage stays below the volume that the discount asks for",
    ),
    "referral_repeated": (
        Category.TECHNICAL_ERROR,
        NextAction.CORRECT_DISCOUNT,
        _USUAL,
        "a referral discount holds for one period and was given again",
    ),
    "exceeds_contract": (
        Category.CONTRACT_EXCEPTION,
        NextAction.CORRECT_DISCOUNT,
        _USUAL,
        "the discount is larger than the contract's",
    ),
    "discount_past_end": (
        Category.TECHNICAL_ERROR,
        NextAction.CORRECT_DISCOUNT,
        _USUAL,
        "the discount was given after its own end",
    ),
    "redeemed_after_expiry": (
        Category.TECHNICAL_ERROR,
        NextAction.CORRECT_DISCOUNT,
        _USUAL,
        "the coupon was redeemed after its last day",
    ),
    "coupon_without_contract": (
        Category.CONTRACT_EXCEPTION,
        NextAction.CONFIRM_CONTRACT,
        _GUESS,
        "no contract names this coupon, which may be a deal that nobody recorded",
    ),
}


def _discount(finding: Finding) -> _Choice | None:
    reason = finding.reason or str(finding.evidence.get("reason", ""))
    found = _DISCOUNT_REASONS.get(reason)
    return _Choice(*found) if found else None


def _expansion(finding: Finding) -> _Choice | None:
    if (finding.churn_risk or Decimal(0)) >= _LIKELY_TO_LEAVE:
        return _Choice(
            Category.EXPANSION_OPPORTUNITY,
            NextAction.CONFIRM_CONTRACT,
            _GUESS,
            "the customer may leave, so the account owner speaks first",
        )
    return None


def _limit(finding: Finding) -> _Choice | None:
    used = finding.evidence.get("used_pct")
    full = 100
    if isinstance(used, int | Decimal) and used >= full:
        return _Choice(
            Category.EXPANSION_OPPORTUNITY,
            NextAction.OFFER_UPGRADE,
            _USUAL,
            "the included quantity is used up",
        )
    return None


_REFINEMENTS: Mapping[str, Callable[[Finding], _Choice | None]] = {
    "unreported_usage": _metering,
    "outdated_pricing": _pricing,
    "missing_overage": _overage,
    "incorrect_discount": _discount,
    "seat_leakage": _expansion,
    "feature_leakage": _expansion,
    "approaching_limit": _limit,
}


def _before_the_invoice(choice: _Choice, kind: FindingType) -> _Choice:
    """Mend what is not invoiced yet: there is nothing to credit."""
    if choice.action is not NextAction.CREDIT_CUSTOMER:
        return choice
    for better in (NextAction.FIX_METERING, NextAction.FIX_SUBSCRIPTION):
        if better in kind.actions:
            because = "the period is still open, so it can be mended before the customer is charged"
            return replace(choice, action=better, because=because)
    return choice


# ---------------------------------------------------------------------- rationale


def _rationale(finding: Finding, choice: _Choice) -> str:
    cited = _cited(finding)
    facts = f" Evidence: {'; '.join(cited)}." if cited else ""
    amount = money(finding.amount, finding.currency)
    action = ACTIONS[choice.action]
    return (
        f"{action.label} ({action.owner.value}): {choice.because}. "
        f"Amount {amount}, {finding.amount_basis.replace('_', ' ')}.{facts}"
    )


def _cited(finding: Finding) -> list[str]:
    known: dict[str, Any] = {"reason": finding.reason, **finding.evidence}
    facts: list[str] = []
    for key in dict.fromkeys([*_CITED_FIRST, *sorted(known)]):
        text = None if key.endswith("_id") else _fact(key, known.get(key), finding.currency)
        if text and len(facts) < _MAX_CITED:
            facts.append(text)
    return facts


def _fact(key: str, value: Any, currency: str | None) -> str | None:
    if isinstance(value, bool):
        return f"{key} is {'true' if value else 'false'}"
    if isinstance(value, int | Decimal):
        is_money = key.endswith(("amount", "_net", "_gross", "shortfall", "commitment"))
        return f"{key} is {money(Decimal(value), currency) if is_money else quantity(value)}"
    if isinstance(value, str) and value:
        return f"{key} is {' '.join(value.split())[:_MAX_TEXT]}"
    return None
