"""Finds an answer to each question: paid for already, in a batch, or asked now; says what it cost.

Where there is none the caller lets the rules decide.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.classification import store
from leakage_pipeline.classification.anthropic_classifier import (
    DEFAULT_MAX_CALLS,
    DEFAULT_MAX_DOLLARS,
    DEFAULT_MAX_RETRIES,
    DEFAULT_MODEL,
    AnthropicClassifier,
)
from leakage_pipeline.classification.anthropic_request import Answered, Unavailable
from leakage_pipeline.classification.batches import Batches, BatchRun
from leakage_pipeline.classification.cases import Case
from leakage_pipeline.classification.prompt import Prompt
from leakage_pipeline.classification.store import StoredAnswer
from leakage_pipeline.settings import Settings

DEFAULT_WORKERS = 4
MODEL_VARIABLE = "ANTHROPIC_MODEL"
_NO_ANSWER = Unavailable("api", "the batch came back without an answer to it")
Answers = dict[str, StoredAnswer | Unavailable]


@dataclass(frozen=True)
class ModelOptions:
    """Which model, what a run may spend on it, and how it is asked.

    With `batches`, questions go out as one Message Batch and `wait_seconds` is how long the run
    waits for it. `collect_only` asks nothing and takes in what earlier batches answered.
    """

    model: str = DEFAULT_MODEL
    max_calls: int = DEFAULT_MAX_CALLS
    max_dollars: Decimal = DEFAULT_MAX_DOLLARS
    max_retries: int = DEFAULT_MAX_RETRIES
    workers: int = DEFAULT_WORKERS
    batches: bool = False
    wait_seconds: float = 0
    poll_seconds: float = 20
    collect_only: bool = False


def model_options(settings: Settings) -> ModelOptions:
    """How a night asks the model: what the policy and ANTHROPIC_MODEL say."""
    policy = settings.policy.classifier
    return ModelOptions(
        model=settings.environment.variables.get(MODEL_VARIABLE) or DEFAULT_MODEL,
        max_calls=policy.max_calls,
        max_dollars=policy.max_dollars,
        batches=policy.batches,
        wait_seconds=policy.wait_minutes * 60,
    )


@dataclass
class ClassificationSummary:
    """What a run did, for metadata and logs.

    `calls` counts the answers that were paid for, `dollars` what they cost, those of batches that
    an earlier run had sent included.
    """

    classifier: str
    findings: int = 0
    by_model: int = 0
    by_rules: int = 0
    written: int = 0
    answers_reused: int = 0
    calls: int = 0
    batches_collected: int = 0
    rejected: int = 0
    unavailable: int = 0
    over_budget: int = 0
    pending: int = 0
    dollars: Decimal = Decimal(0)
    rejections: dict[str, int] = field(default_factory=dict)
    note: str = ""


def find_answers(
    conn: Connection,
    cases: Sequence[Case],
    model: AnthropicClassifier,
    as_of: datetime,
    options: ModelOptions,
    summary: ClassificationSummary,
) -> Answers:
    """Return an answer or a reason by question; counts what happened into the summary.

    Args:
        conn: Warehouse connection; every paid answer is committed as soon as it is there.
        cases: The questions, the most urgent first.
        model: The model behind its budget.
        as_of: Stands on what is stored.
        options: How to ask.
        summary: Is added to.

    Returns:
        By prompt hash. With `collect_only`, questions without an answer are missing.
    """
    hashes = {case.prompt.hash for case in cases}
    answers: Answers = dict(store.read_answers(conn, hashes, model.model))
    summary.answers_reused = sum(case.prompt.hash in answers for case in cases)
    batches = Batches(model, options.wait_seconds, options.poll_seconds)
    run = batches.collect(conn, as_of)
    _count(summary, run)
    answers.update(store.read_answers(conn, hashes, model.model))
    # Equal questions are asked once; dict order keeps the most urgent first.
    questions = {
        case.prompt.hash: case.prompt
        for case in cases
        if case.prompt.hash not in answers and case.prompt.hash not in run.pending
    }
    if not options.collect_only:
        reasons: dict[str, Unavailable] = dict.fromkeys(questions, _NO_ANSWER)
        reasons |= run.outcomes
        if options.batches:
            reasons |= _in_a_batch(conn, batches, questions, as_of, summary)
        else:
            reasons |= _directly(conn, model, questions, as_of, options, summary)
        answers.update({key: why for key, why in reasons.items() if key in hashes})
        answers.update(store.read_answers(conn, hashes, model.model))
    for case in cases:
        _count_outcome(summary, answers.get(case.prompt.hash))
    return answers


def _in_a_batch(
    conn: Connection,
    batches: Batches,
    questions: Mapping[str, Prompt],
    as_of: datetime,
    summary: ClassificationSummary,
) -> dict[str, Unavailable]:
    sent = batches.submit(conn, questions, as_of)
    if not sent.pending:
        return sent.outcomes
    finished = batches.finish(conn, as_of)
    _count(summary, finished)
    left = {key: why for key, why in sent.outcomes.items() if key not in sent.pending}
    return {**left, **finished.outcomes}


def _directly(
    conn: Connection,
    model: AnthropicClassifier,
    questions: Mapping[str, Prompt],
    as_of: datetime,
    options: ModelOptions,
    summary: ClassificationSummary,
) -> dict[str, Unavailable]:
    reasons: dict[str, Unavailable] = {}
    with ThreadPoolExecutor(max_workers=options.workers) as pool:
        asked = {pool.submit(model.ask, prompt): key for key, prompt in questions.items()}
        for future in as_completed(asked):
            answer = future.result()
            if isinstance(answer, Answered):
                store.save_answer(conn, asked[future], model.model, answer, as_of)
                _count_answer(summary, answer)
            else:
                reasons[asked[future]] = answer
    return reasons


def _count(summary: ClassificationSummary, run: BatchRun) -> None:
    summary.batches_collected += run.collected
    for answer in run.answers:
        _count_answer(summary, answer)


def _count_answer(summary: ClassificationSummary, answer: Answered) -> None:
    summary.calls += 1
    summary.dollars += answer.dollars
    if answer.rejection:
        summary.rejections[answer.rejection] = summary.rejections.get(answer.rejection, 0) + 1


def _count_outcome(
    summary: ClassificationSummary, answer: StoredAnswer | Unavailable | None
) -> None:
    if isinstance(answer, Unavailable):
        if answer.kind == "budget":
            summary.over_budget += 1
        elif answer.kind == "pending":
            summary.pending += 1
        else:
            summary.unavailable += 1
    elif answer is not None and answer.decision is None:
        summary.rejected += 1


def note(summary: ClassificationSummary) -> str:
    """Say in one line where the rules had to decide, and why; empty where they had not."""
    parts: list[str] = []
    if summary.unavailable:
        parts.append(f"the API failed for {summary.unavailable} cases")
    if summary.over_budget:
        parts.append(f"the budget was used up before {summary.over_budget} cases")
    if summary.pending:
        parts.append(f"a batch still holds {summary.pending} cases")
    if summary.rejected:
        parts.append(f"{summary.rejected} answers were rejected")
    return f"Rules decided where {', '.join(parts)}." if parts else ""
