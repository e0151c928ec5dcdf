"""Scores a classifier on labelled findings: how often it names the right action and category.

The findings are data, in `labelled_findings.json`: each with what people who know billing would do
and why. Some need the context that the rules do not read, so that a score tells classifiers apart.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any, Protocol

from leakage_pipeline.classification import rules
from leakage_pipeline.classification.anthropic_request import Answered, Unavailable
from leakage_pipeline.classification.cases import may_be_noise
from leakage_pipeline.classification.evidence import History, show_finding
from leakage_pipeline.classification.finding_types import finding_type
from leakage_pipeline.classification.findings import Finding
from leakage_pipeline.classification.prompt import Prompt, build_prompt
from leakage_pipeline.classification.schema import RULES, Category, Decision, NextAction

_FILE = "labelled_findings.json"
_START = datetime(2026, 10, 1, tzinfo=UTC)
_END = datetime(2026, 11, 1, tzinfo=UTC)
_FOUND = datetime(2026, 11, 2, tzinfo=UTC)


@dataclass(frozen=True)
class LabelledCase:
    """A finding, its history, and every answer that is right; the first is the best."""

    name: str
    finding: Finding
    history: History
    categories: tuple[Category, ...]
    actions: tuple[NextAction, ...]
    why: str

    @property
    def prompt(self) -> Prompt:
        """What a model is asked about it."""
        kind = finding_type(self.finding.leakage_type, self.finding.direction)
        shown = show_finding(self.finding, self.history)
        return build_prompt(shown, kind, may_be_noise=may_be_noise([self.finding]))


@dataclass(frozen=True)
class Score:
    """How a classifier did. What was rejected or not answered counts as decided by the rules."""

    classifier: str
    cases: int
    right_actions: int
    right_categories: int
    rejected: int
    unanswered: int
    calibration_error: Decimal
    """Mean squared distance of the confidence from 1 where the action is right, from 0 elsewhere
    (Brier): 0 is best, and 0.25 is what always saying one half gives."""
    dollars: Decimal
    misses: tuple[str, ...]

    @property
    def action_share(self) -> Decimal:
        """Share of right actions."""
        return Decimal(self.right_actions) / self.cases

    @property
    def category_share(self) -> Decimal:
        """Share of right categories."""
        return Decimal(self.right_categories) / self.cases


class Model(Protocol):
    """What scoring needs of a model."""

    model: str

    def ask(self, prompt: Prompt) -> Answered | Unavailable:
        """Answer one question."""
        ...


def load_cases() -> list[LabelledCase]:
    """Read the labelled findings."""
    text = (files("leakage_pipeline.classification") / _FILE).read_text(encoding="utf-8")
    return [_case(item) for item in json.loads(text, parse_float=Decimal)]


def score_rules(cases: Sequence[LabelledCase]) -> Score:
    """Score the rules."""
    decisions = [rules.decide(case.finding) for case in cases]
    return _score(RULES, cases, decisions, rejected=0, unanswered=0, dollars=Decimal(0))


def score_model(cases: Sequence[LabelledCase], model: Model) -> Score:
    """Score a model as it is used: where its answer does not hold, the rules have decided."""
    decisions: list[Decision] = []
    rejected = unanswered = 0
    dollars = Decimal(0)
    for case in cases:
        answer = model.ask(case.prompt)
        decision = None
        if isinstance(answer, Answered):
            dollars += answer.dollars
            decision = answer.decision
            rejected += decision is None
        else:
            unanswered += 1
        decisions.append(decision or rules.decide(case.finding))
    return _score(
        model.model, cases, decisions, rejected=rejected, unanswered=unanswered, dollars=dollars
    )


def _score(
    classifier: str,
    cases: Sequence[LabelledCase],
    decisions: Sequence[Decision],
    *,
    rejected: int,
    unanswered: int,
    dollars: Decimal,
) -> Score:
    pairs = list(zip(cases, decisions, strict=True))
    right = [decision.next_action in case.actions for case, decision in pairs]
    squares = [
        (decision.confidence - int(is_right)) ** 2
        for (_, decision), is_right in zip(pairs, right, strict=True)
    ]
    return Score(
        classifier=classifier,
        cases=len(pairs),
        right_actions=sum(right),
        right_categories=sum(d.category in case.categories for case, d in pairs),
        rejected=rejected,
        unanswered=unanswered,
        calibration_error=sum(squares, Decimal(0)) / len(pairs),
        dollars=dollars,
        misses=tuple(
            f"{case.name}: {d.next_action.value}, right is "
            f"{' or '.join(action.value for action in case.actions)} ({case.why})"
            for (case, d), is_right in zip(pairs, right, strict=True)
            if not is_right
        ),
    )


def _case(item: Mapping[str, Any]) -> LabelledCase:
    given = item["finding"]
    amount = _decimal(given.get("amount"))
    finding = Finding(
        detection_id=item["name"],
        customer_id="cus_Labelled",
        subscription_id="sub_Labelled",
        leakage_type=given["leakage_type"],
        direction=given.get("direction", "leak"),
        phase=given.get("phase", "closed"),
        period_start=_START,
        period_end=_END,
        currency=given.get("currency", "usd"),
        amount=amount,
        monthly_amount=amount,
        reporting_amount=amount,
        amount_basis=given.get("amount_basis", "measured"),
        severity=given.get("severity", "medium"),
        confidence=_decimal(given.get("confidence")) or Decimal("0.9"),
        priority_score=Decimal(0),
        incident_id=None,
        description="",
        evidence=given.get("evidence", {}),
        first_detected_at=_FOUND,
        last_detected_at=_FOUND,
        meter=given.get("meter"),
        reason=given.get("reason"),
        customer_name=given.get("customer_name", "Labelled Customer"),
        plan=given.get("plan", "pro"),
        health_score=_decimal(given.get("health_score")),
        churn_risk=_decimal(given.get("churn_risk")),
        mrr=_decimal(given.get("mrr")),
    )
    told = item.get("history", {})
    history = History(
        periods=told.get("periods", 1),
        earlier_amounts=tuple(_decimal(amount) for amount in told.get("earlier_amounts", ())),
        decided=told.get("decided", {}),
    )
    return LabelledCase(
        name=item["name"],
        finding=finding,
        history=history,
        categories=tuple(Category(name) for name in item["categories"]),
        actions=tuple(NextAction(name) for name in item["actions"]),
        why=item["why"],
    )


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))
