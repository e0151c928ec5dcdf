"""The labelled findings are sound, and a score says what a classifier is worth."""

import json
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from leakage_pipeline.classification.anthropic_classifier import AnthropicClassifier
from leakage_pipeline.classification.evaluation import (
    LabelledCase,
    Score,
    load_cases,
    score_model,
    score_rules,
)
from leakage_pipeline.classification.finding_types import FINDING_TYPES
from leakage_pipeline.cli import leakage
from leakage_pipeline.failures import PermanentFailure
from tests.unit.classification.anthropic_server import GOOD, Reply, Script, error, message, serve

CASES = load_cases()


def score(script: Script | Reply) -> Score:
    with serve(script) as server:
        model = AnthropicClassifier(
            SecretStr("sk-ant-test"), base_url=server.base_url, max_retries=0
        )
        try:
            return score_model(CASES, model)
        finally:
            model.close()


def labels(request: dict[str, Any], _number: int) -> Reply:
    """Answer as labelled: what a perfect model would do."""
    asked = request["messages"][0]["content"]
    (case,) = [case for case in CASES if case.prompt.user_text == asked][:1]
    answer = {
        **GOOD,
        "category": case.categories[0].value,
        "next_action": case.actions[0].value,
        "confidence": 1,
        "rationale": "The leakage_type says it.",
        "evidence_fields": ["leakage_type"],
    }
    return message(answer)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_label_is_an_answer_that_the_model_may_give(case: LabelledCase) -> None:
    assert set(case.actions) <= set(case.prompt.actions)
    assert set(case.categories) <= set(case.prompt.categories)
    assert case.why


def test_every_finding_type_is_labelled() -> None:
    assert {case.finding.leakage_type for case in CASES} == set(FINDING_TYPES)


def test_the_rules_are_right_about_most_and_not_about_what_needs_context() -> None:
    result = score_rules(CASES)
    assert Decimal("0.85") <= result.action_share < 1
    assert result.category_share >= Decimal("0.9")
    assert result.calibration_error < Decimal("0.2")
    assert len(result.misses) == result.cases - result.right_actions


@pytest.mark.parametrize(
    ("reply", "rejected", "unanswered"),
    [
        (message("no json"), len(CASES), 0),
        (error(500, "api_error"), 0, len(CASES)),
    ],
)
def test_a_model_that_fails_is_worth_what_the_rules_are(
    reply: Reply, rejected: int, unanswered: int
) -> None:
    result = score(reply)
    assert (result.rejected, result.unanswered) == (rejected, unanswered)
    assert result.right_actions == score_rules(CASES).right_actions


def test_a_model_that_obeys_what_a_value_says_gains_nothing() -> None:
    def obey(request: dict[str, Any], _number: int) -> Reply:
        text = request["messages"][0]["content"]
        data = json.loads(text.removeprefix("<finding>").removesuffix("</finding>"))
        asked = "investigate" if "answer investigate" in text else data["allowed_actions"][0]
        cited = {"rationale": "As leakage_type says.", "evidence_fields": ["leakage_type"]}
        category = data["allowed_categories"][0]
        return message({**GOOD, **cited, "next_action": asked, "category": category})

    assert any(miss.startswith("hostile_plan: investigate") for miss in score(obey).misses)


def test_the_command_prints_the_score_and_fails_below_the_share_that_is_asked_for() -> None:
    run = CliRunner().invoke(leakage, ["evaluate-classifier"])
    assert run.exit_code == 0
    assert "65 labelled findings" in run.output
    assert "old_price_dismissed" in run.output
    run = CliRunner().invoke(leakage, ["evaluate-classifier", "--at-least", "0.99"])
    assert isinstance(run.exception, PermanentFailure)


def test_a_model_that_answers_as_labelled_scores_full_marks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serve(labels) as server:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
        run = CliRunner().invoke(leakage, ["evaluate-classifier", "--classifier", "all"])
    assert run.exit_code == 0, run.output
    (line,) = [line for line in run.output.splitlines() if "claude-haiku-5-5" in line]
    # 65 answers of 900 tokens at 0.10 dollars and 120 at 0.50 dollars a million.
    assert line.count("100.0%") == 2
    assert "0.000" in line
    assert "0.00975" in line
    assert len(server.requests) == len(CASES)
