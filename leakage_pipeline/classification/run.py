"""Classifies every finding of the marts into `ops.classifications`: cache, model, then rules.

A second run over the same findings pays nothing and writes nothing.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.classification import rules, store
from leakage_pipeline.classification.anthropic_classifier import (
    DEFAULT_MAX_CALLS,
    DEFAULT_MAX_DOLLARS,
    DEFAULT_MAX_RETRIES,
    DEFAULT_MODEL,
    Answered,
    AnthropicClassifier,
    Unavailable,
)
from leakage_pipeline.classification.cases import Case, build_cases
from leakage_pipeline.classification.drafts import (
    fill,
    messages_of,
    placeholder_values,
    write_message,
)
from leakage_pipeline.classification.findings import Finding, read_findings, read_incidents
from leakage_pipeline.classification.prompt import Prompt
from leakage_pipeline.classification.schema import RULES, ClassificationRow, Decision
from leakage_pipeline.classification.store import StoredAnswer
from leakage_pipeline.communication.messages import Message, Messages
from leakage_pipeline.settings import Settings

DEFAULT_WORKERS = 4


class Classifier(Protocol):
    """What `classify_with` needs of a model."""

    model: str

    def ask(self, prompt: Prompt) -> Answered | Unavailable:
        """Answer one question."""
        ...


@dataclass(frozen=True)
class Writer:
    """Who signs messages, and their templates."""

    company: str
    messages: Messages


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and what a run may spend on it."""

    model: str = DEFAULT_MODEL
    max_calls: int = DEFAULT_MAX_CALLS
    max_dollars: Decimal = DEFAULT_MAX_DOLLARS
    max_retries: int = DEFAULT_MAX_RETRIES
    workers: int = DEFAULT_WORKERS


@dataclass
class ClassificationSummary:
    """What a run did, for metadata and logs. `calls` counts questions that were paid for."""

    classifier: str
    findings: int = 0
    by_model: int = 0
    by_rules: int = 0
    written: int = 0
    answers_reused: int = 0
    calls: int = 0
    rejected: int = 0
    unavailable: int = 0
    over_budget: int = 0
    dollars: Decimal = Decimal(0)
    rejections: dict[str, int] = field(default_factory=dict)
    note: str = ""


def classify(
    conn: Connection, settings: Settings, as_of: datetime, options: ModelOptions | None = None
) -> ClassificationSummary:
    """Classify every finding, by the model when there is a key, else by the rules alone.

    Args:
        conn: Warehouse connection; committed as answers arrive and at the end.
        settings: For the company's name and the Anthropic key and address.
        as_of: The run's instant; becomes `created_at` of what changed.
        options: Model and budget of this run.

    Returns:
        Counts and dollars of the run.
    """
    options = options or ModelOptions()
    writer = Writer(settings.company, messages_of(settings))
    key = settings.environment.anthropic_api_key
    if key is None:
        return classify_with(conn, writer, as_of, None, workers=options.workers)
    model = AnthropicClassifier(
        key,
        base_url=settings.environment.anthropic_base_url,
        model=options.model,
        max_calls=options.max_calls,
        max_dollars=options.max_dollars,
        max_retries=options.max_retries,
    )
    try:
        return classify_with(conn, writer, as_of, model, workers=options.workers)
    finally:
        model.close()


def classify_with(
    conn: Connection,
    writer: Writer,
    as_of: datetime,
    model: Classifier | None,
    *,
    workers: int = DEFAULT_WORKERS,
) -> ClassificationSummary:
    """Classify every finding with a given model, or with the rules alone when it is None."""
    store.create_tables(conn)
    findings = read_findings(conn)
    summary = ClassificationSummary(model.model if model else RULES, findings=len(findings))
    rows: list[ClassificationRow] = []
    if model is None:
        summary.note = "No ANTHROPIC_API_KEY: the rules classified every finding."
        rows.extend(_rules_row(finding, writer, "") for finding in findings)
    else:
        cases = build_cases(findings, read_incidents(conn))
        for case, answer in _answers(conn, cases, model, as_of, workers, summary):
            rows.extend(_case_rows(case, answer, model.model, writer))
        summary.note = _note(summary)
    summary.by_rules = sum(row.classifier == RULES for row in rows)
    summary.by_model = len(rows) - summary.by_rules
    existing = store.read_classifications(conn)
    changed = [row for row in rows if existing.get(row.detection_id) != row]
    summary.written = store.write_classifications(
        conn, sorted(changed, key=lambda row: row.detection_id), as_of
    )
    return summary


def _answers(
    conn: Connection,
    cases: Sequence[Case],
    model: Classifier,
    as_of: datetime,
    workers: int,
    summary: ClassificationSummary,
) -> Iterator[tuple[Case, StoredAnswer | Unavailable]]:
    known: dict[str, StoredAnswer | Unavailable] = dict(
        store.read_answers(conn, {case.prompt.hash for case in cases}, model.model)
    )
    summary.answers_reused = sum(case.prompt.hash in known for case in cases)
    # Equal questions are asked once; dict order keeps the most urgent first.
    open_questions = {c.prompt.hash: c.prompt for c in cases if c.prompt.hash not in known}
    with ThreadPoolExecutor(max_workers=workers) as pool:
        asked = {pool.submit(model.ask, prompt): key for key, prompt in open_questions.items()}
        for future in as_completed(asked):
            answer = future.result()
            if isinstance(answer, Answered):
                store.save_answer(conn, asked[future], model.model, answer, as_of)
                _count_answer(summary, answer)
                known[asked[future]] = StoredAnswer(answer.decision, answer.rejection)
            else:
                known[asked[future]] = answer
    for case in cases:
        yield case, known[case.prompt.hash]
        _count_outcome(summary, known[case.prompt.hash])


def _case_rows(
    case: Case, answer: StoredAnswer | Unavailable, classifier: str, writer: Writer
) -> list[ClassificationRow]:
    if isinstance(answer, Unavailable):
        why = f"Decided by rules because {answer.why}. "
    elif answer.decision is None:
        why = f"Decided by rules because the model's answer was rejected: {answer.rejection}. "
    else:
        prefix = f"{case.scope}. " if case.scope else ""
        return [
            _row(finding, answer.decision, writer, classifier, case.prompt.hash, prefix)
            for finding in case.findings
        ]
    return [_rules_row(finding, writer, why) for finding in case.findings]


def _rules_row(finding: Finding, writer: Writer, why: str) -> ClassificationRow:
    return _row(finding, rules.decide(finding), writer, RULES, rules.rules_hash(finding), why)


def _row(
    finding: Finding,
    decision: Decision,
    writer: Writer,
    classifier: str,
    prompt_hash: str,
    prefix: str,
) -> ClassificationRow:
    message = _message(decision, finding, writer)
    return ClassificationRow(
        detection_id=finding.detection_id,
        category=decision.category.value,
        next_action=decision.next_action.value,
        confidence=decision.confidence,
        rationale=prefix + decision.rationale,
        draft_subject=message.subject if message else None,
        draft_body=message.body if message else None,
        classifier=classifier,
        prompt_hash=prompt_hash,
    )


def _message(decision: Decision, finding: Finding, writer: Writer) -> Message | None:
    """The model's own draft with our numbers, else the action's template."""
    if decision.draft_subject and decision.draft_body:
        values = placeholder_values(finding, writer.company)
        return Message(fill(decision.draft_subject, values), fill(decision.draft_body, values))
    return write_message(writer.messages, decision.next_action.value, finding, writer.company)


def _count_answer(summary: ClassificationSummary, answer: Answered) -> None:
    summary.calls += 1
    summary.dollars += answer.dollars
    if answer.rejection:
        summary.rejections[answer.rejection] = summary.rejections.get(answer.rejection, 0) + 1


def _count_outcome(summary: ClassificationSummary, answer: StoredAnswer | Unavailable) -> None:
    if isinstance(answer, Unavailable):
        if answer.kind == "budget":
            summary.over_budget += 1
        else:
            summary.unavailable += 1
    elif answer.decision is None:
        summary.rejected += 1


def _note(summary: ClassificationSummary) -> str:
    parts: list[str] = []
    if summary.unavailable:
        parts.append(f"the API failed for {summary.unavailable} cases")
    if summary.over_budget:
        parts.append(f"the budget was used up before {summary.over_budget} cases")
    if summary.rejected:
        parts.append(f"{summary.rejected} answers were rejected")
    return f"Rules decided where {', '.join(parts)}." if parts else ""
