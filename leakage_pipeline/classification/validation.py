"""Whether a model's answer may stand: closed lists, numbers, cited fields, placeholders, tone.

Each check returns a reason in words or None; the first reason rejects the answer, and the rules
decide.
"""

import json
import re
from collections.abc import Callable
from decimal import Decimal

from pydantic import ValidationError

from leakage_pipeline.classification.drafts import placeholders_in
from leakage_pipeline.classification.evidence import numbers_in
from leakage_pipeline.classification.prompt import Prompt
from leakage_pipeline.classification.schema import MESSAGE_ACTIONS, Decision, ModelAnswer

_LINK_OR_MAIL = re.compile(r"https?:|www\.|@|\]\(|<[a-z/]", re.IGNORECASE)
_UNKIND = re.compile(
    r"\b(fraud|steal|stole|theft|cheat|abus|violat|breach|illegal|lawyer|attorney|legal action"
    r"|prosecut|penalt|dishonest|exploit)",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"\{[a-z][a-z0-9_]*\}")
_DIGIT = re.compile(r"\d")
_NOT_IN_A_DRAFT = (
    (_DIGIT, "the draft writes numbers itself"),
    (re.compile(r"[{}]"), "the draft has a broken placeholder"),
    (_LINK_OR_MAIL, "the draft has a link, an address or markup"),
    (_UNKIND, "the draft is accusatory"),
)


def forbidden_in_draft(text: str) -> str | None:
    """Say what no message to a customer may hold: digits, braces, links, accusations."""
    return next((reason for pattern, reason in _NOT_IN_A_DRAFT if pattern.search(text)), None)


class AnswerRejectedError(Exception):
    """The answer does not hold; the message says why and does not quote it."""


def parse_answer(text: str) -> ModelAnswer:
    """Read the model's JSON.

    Raises:
        AnswerRejectedError: Not JSON, or not the shape that was asked for.
    """
    try:
        loaded = json.loads(text, parse_float=Decimal)
    except ValueError:
        reason = "the answer is not valid JSON"
        raise AnswerRejectedError(reason) from None
    try:
        return ModelAnswer.model_validate(loaded)
    except ValidationError as error:
        fields = sorted({".".join(map(str, item["loc"])) or "answer" for item in error.errors()})
        reason = f"the answer has no valid {', '.join(fields)}"
        raise AnswerRejectedError(reason) from None


def accept(answer: ModelAnswer, prompt: Prompt) -> Decision:
    """Check an answer against its question and turn it into a decision.

    Raises:
        AnswerRejectedError: The first check that failed.
    """
    checks: tuple[Callable[[ModelAnswer, Prompt], str | None], ...] = (
        _check_lists,
        _check_cited_fields,
        _check_numbers,
        _check_draft,
    )
    for check in checks:
        reason = check(answer, prompt)
        if reason:
            raise AnswerRejectedError(reason)
    subject, body = answer.draft_subject, answer.draft_body
    # A draft for an internal action has no reader; half a draft is none.
    if answer.next_action not in MESSAGE_ACTIONS or not (subject and body):
        subject = body = None
    return Decision(
        category=answer.category,
        next_action=answer.next_action,
        confidence=answer.confidence.quantize(Decimal("0.01")),
        rationale=" ".join(answer.rationale.split()),
        draft_subject=subject,
        draft_body=body,
    )


def _check_lists(answer: ModelAnswer, prompt: Prompt) -> str | None:
    if answer.next_action not in prompt.actions:
        return f"the action {answer.next_action.value} is not allowed for this finding type"
    if answer.category not in prompt.categories:
        return f"the category {answer.category.value} is not allowed for this finding"
    return None


def _check_cited_fields(answer: ModelAnswer, prompt: Prompt) -> str | None:
    names = prompt.shown.field_names
    # A path such as evidence.true_quantity cites its last part.
    unknown = [f for f in answer.evidence_fields if f.rsplit(".", 1)[-1] not in names]
    return "the rationale cites a field that the evidence does not have" if unknown else None


def _check_numbers(answer: ModelAnswer, prompt: Prompt) -> str | None:
    text = answer.rationale
    # Names may hold digits (encode_4k); longest first, so that no part of one is left standing.
    for name in sorted(prompt.shown.strings | prompt.shown.field_names, key=len, reverse=True):
        if _DIGIT.search(name) and not name.replace("-", "").isdigit():
            text = text.replace(name, " ")
    if numbers_in(text) - prompt.shown.numbers:
        return "the rationale has a number that the evidence does not hold"
    return None


def _check_draft(answer: ModelAnswer, prompt: Prompt) -> str | None:
    if answer.next_action not in MESSAGE_ACTIONS:
        return None
    subject, body = answer.draft_subject or "", answer.draft_body or ""
    text = f"{subject}\n{body}"
    if placeholders_in(text) - prompt.placeholders:
        return "the draft uses an unknown placeholder"
    return forbidden_in_draft(_PLACEHOLDER.sub("", text)) or (
        "the draft's subject has more than one line" if "\n" in subject else None
    )
