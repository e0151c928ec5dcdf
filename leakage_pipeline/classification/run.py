"""Classifies findings of the marts into `ops.classifications`: cache, model, then rules.

A second run over the same findings pays nothing and writes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.classification import rules, store
from leakage_pipeline.classification.answers import (
    ClassificationSummary,
    ModelOptions,
    find_answers,
    note,
)
from leakage_pipeline.classification.anthropic_classifier import AnthropicClassifier
from leakage_pipeline.classification.anthropic_request import Unavailable
from leakage_pipeline.classification.cases import Case, build_cases
from leakage_pipeline.classification.drafts import (
    fill,
    messages_of,
    placeholder_values,
    write_message,
)
from leakage_pipeline.classification.findings import (
    Finding,
    read_findings,
    read_incidents,
    read_states,
)
from leakage_pipeline.classification.schema import RULES, ClassificationRow, Decision
from leakage_pipeline.classification.store import StoredAnswer
from leakage_pipeline.communication.messages import Message, Messages
from leakage_pipeline.settings import Settings


@dataclass(frozen=True)
class Writer:
    """Who signs messages, and their templates."""

    company: str
    messages: Messages


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
    return _classify(conn, settings, as_of, options or ModelOptions(), None)


def classify_one(
    conn: Connection, settings: Settings, as_of: datetime, detection_id: str, options: ModelOptions
) -> ClassificationSummary:
    """Classify one finding at once, and with it the others that the same question covers.

    An answer that is paid for already is used; a question that a batch holds is not asked again.
    """
    return _classify(conn, settings, as_of, replace(options, batches=False), detection_id)


def _classify(
    conn: Connection,
    settings: Settings,
    as_of: datetime,
    options: ModelOptions,
    only: str | None,
) -> ClassificationSummary:
    writer = Writer(settings.company, messages_of(settings))
    store.create_tables(conn)
    cases = build_cases(read_findings(conn), read_incidents(conn), read_states(conn))
    if only is not None:
        cases = [case for case in cases if only in {f.detection_id for f in case.findings}]
    model = _model(settings, options)
    summary = ClassificationSummary(model.model if model else RULES)
    try:
        rows = _rows(conn, cases, model, as_of, options, writer, summary)
    finally:
        if model is not None:
            model.close()
    summary.findings = len(rows)
    summary.by_rules = sum(row.classifier == RULES for row in rows)
    summary.by_model = len(rows) - summary.by_rules
    existing = store.read_classifications(conn)
    changed = [row for row in rows if existing.get(row.detection_id) != row]
    summary.written = store.write_classifications(
        conn, sorted(changed, key=lambda row: row.detection_id), as_of
    )
    return summary


def _model(settings: Settings, options: ModelOptions) -> AnthropicClassifier | None:
    key = settings.environment.anthropic_api_key
    if key is None:
        return None
    return AnthropicClassifier(
        key,
        base_url=settings.environment.anthropic_base_url,
        model=options.model,
        max_calls=options.max_calls,
        max_dollars=options.max_dollars,
        max_retries=options.max_retries,
    )


def _rows(
    conn: Connection,
    cases: Sequence[Case],
    model: AnthropicClassifier | None,
    as_of: datetime,
    options: ModelOptions,
    writer: Writer,
    summary: ClassificationSummary,
) -> list[ClassificationRow]:
    if model is None:
        summary.note = "No ANTHROPIC_API_KEY: the rules classified every finding."
        return [_rules_row(f, writer, "") for case in cases for f in case.findings]
    answers = find_answers(conn, cases, model, as_of, options, summary)
    summary.note = note(summary)
    return [
        row
        for case in cases
        if case.prompt.hash in answers
        for row in _case_rows(case, answers[case.prompt.hash], model.model, writer)
    ]


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
