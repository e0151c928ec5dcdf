"""Asks a night's questions as one Message Batch, at half price, and collects the answers later.

A batch survives a crash: planned in `ops` before it is sent, found again by the ids of its
questions, collected in one transaction. Nothing here raises over the API; see `BatchRun`.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

import anthropic
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.classification import batch_store, store
from leakage_pipeline.classification.anthropic_classifier import (
    AnthropicClassifier,
    is_worth_a_retry,
    wait_seconds,
)
from leakage_pipeline.classification.anthropic_request import (
    FAILURES,
    OVER_BUDGET,
    TOO_LARGE,
    Answered,
    Unavailable,
    UnreadableError,
    describe,
    judge_kept,
    never_connected,
    request_params,
    worst_case,
)
from leakage_pipeline.classification.batch_store import Batch, Question
from leakage_pipeline.classification.prompt import Prompt
from leakage_pipeline.warehouse.named_lock import locked

_Read = TypeVar("_Read")
_LOCK = "classification batches"
_POLL_SECONDS = 20.0
# A batch that nobody confirmed is searched among so many of the account's newest.
_SEARCHED = 1000
_RATE_LIMITED = 429


@dataclass
class BatchRun:
    """What became of the questions of this run, and what collecting earlier ones brought."""

    outcomes: dict[str, Unavailable] = field(default_factory=dict)
    """By prompt hash, for questions that have no answer."""
    answers: list[Answered] = field(default_factory=list)
    collected: int = 0
    pending: set[str] = field(default_factory=set)
    """Hashes of questions that a batch still holds."""
    is_running: bool = False
    """Whether one of those batches may be read a little later, so that waiting helps."""


class Batches:
    """A model's batches. One at a time per database: a named lock is held around each step.

    Args:
        model: Client, budget and retries.
        wait_seconds: How long `finish` waits for answers.
        poll_seconds: How often it asks.
        sleep: Waits; tests do not.
    """

    def __init__(
        self,
        model: AnthropicClassifier,
        wait_seconds: float,
        poll_seconds: float = _POLL_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._model = model
        self._wait = wait_seconds
        self._poll = poll_seconds
        self._sleep = sleep

    def collect(self, conn: Connection, as_of: datetime, *, find_lost: bool = True) -> BatchRun:
        """Read the answers of every batch that has ended.

        Args:
            conn: Warehouse connection; each batch is committed by itself.
            as_of: Stands on what is stored.
            find_lost: Search those that nobody confirmed. Not in the run that sent one: a request
                that timed out may become a batch a little later.
        """
        run = BatchRun()
        with locked(conn, _LOCK):
            for batch in batch_store.read_open(conn, self._model.model):
                if batch.remote_id is None and not find_lost:
                    self._put_off(batch, "nobody confirmed it; the next run looks it up", run)
                    continue
                try:
                    self._collect_one(conn, batch, as_of, run)
                except anthropic.NotFoundError:
                    conn.rollback()
                    batch_store.failed(conn, batch.batch_key, "Anthropic no longer has it")
                except FAILURES as error:
                    conn.rollback()
                    self._put_off(batch, describe(error), run)
                    run.is_running = True
        return run

    def submit(
        self, conn: Connection, questions: Mapping[str, Prompt], as_of: datetime
    ) -> BatchRun:
        """Send these questions, by hash, as one batch: as many as the budget holds, in order."""
        run = BatchRun()
        chosen: list[tuple[str, Prompt]] = []
        reserved: list[Decimal] = []
        for prompt_hash, prompt in questions.items():
            dollars = worst_case(self._model.model, prompt, batch=True)
            if prompt.is_too_large:
                run.outcomes[prompt_hash] = TOO_LARGE
            elif self._model.budget.reserve(dollars):
                chosen.append((prompt_hash, prompt))
                reserved.append(dollars)
            else:
                run.outcomes[prompt_hash] = OVER_BUDGET
        if not chosen:
            return run
        with locked(conn, _LOCK):
            self._send(conn, _batch(self._model.model, chosen), reserved, as_of, run)
        return run

    def finish(self, conn: Connection, as_of: datetime) -> BatchRun:
        """Wait for open batches as long as the night allows, and collect what has ended."""
        run = self.collect(conn, as_of, find_lost=False)
        waited = 0.0
        while run.is_running and waited < self._wait:
            step = min(self._poll, self._wait - waited)
            self._sleep(step)
            waited += step
            more = self.collect(conn, as_of, find_lost=False)
            more.answers = run.answers + more.answers
            more.collected += run.collected
            run = more
        return run

    def _send(
        self,
        conn: Connection,
        batch: Batch,
        reserved: list[Decimal],
        as_of: datetime,
        run: BatchRun,
    ) -> None:
        batch_store.plan(conn, batch, sum(reserved, Decimal(0)), as_of)
        try:
            remote_id = self._create(batch)
        except FAILURES as error:
            why = describe(error)
            if _certainly_refused(error):
                batch_store.failed(conn, batch.batch_key, why)
                for dollars in reserved:
                    self._model.budget.settle(dollars, Decimal(0))
                for question in batch.questions:
                    run.outcomes[question.prompt_hash] = Unavailable("api", why)
            else:
                self._put_off(batch, f"{why}; the batch is looked up on the next run", run)
            return
        batch_store.submitted(conn, batch.batch_key, remote_id)
        self._put_off(batch, "", run)

    def _create(self, batch: Batch) -> str:
        requests = [
            {
                "custom_id": question.custom_id,
                "params": request_params(batch.classifier, question.prompt, batch=True),
            }
            for question in batch.questions
        ]
        attempt = 0
        while True:
            try:
                created = self._model.client.messages.batches.create(requests=requests)  # type: ignore[arg-type]
            except anthropic.APIStatusError as error:
                # After any other failure the batch may be there already.
                if error.status_code != _RATE_LIMITED or attempt >= self._model.max_retries:
                    raise
                self._sleep(wait_seconds(error, attempt))
                attempt += 1
            else:
                if not isinstance(created, MessageBatch) or not isinstance(created.id, str):
                    raise UnreadableError
                return created.id

    def _collect_one(self, conn: Connection, batch: Batch, as_of: datetime, run: BatchRun) -> None:
        remote_id = batch.remote_id
        if remote_id is None:
            remote_id = self._find(conn, batch, run)
            if remote_id is None:
                return
        results = self._results(remote_id)
        if results is None:
            self._put_off(batch, "", run)
            run.is_running = True
            return
        # A list that was cut would open questions again that are paid for.
        if set(results) != {question.custom_id for question in batch.questions}:
            raise UnreadableError
        self._save(conn, batch, results, as_of, run)

    def _find(self, conn: Connection, batch: Batch, run: BatchRun) -> str | None:
        """Look for a batch that nobody confirmed: ours are told by the ids of their questions."""
        known = batch_store.known_remote_ids(conn)
        may_be_ours = False
        for number, remote in enumerate(self._listed()):
            if number >= _SEARCHED:
                break
            counts = remote.request_counts
            total = sum((counts.processing, counts.succeeded, counts.errored))
            total += counts.canceled + counts.expired
            if remote.id in known or total != len(batch.questions):
                continue
            if remote.processing_status != "ended":
                may_be_ours = True  # its questions can be seen only when it has ended
                continue
            results = self._results(remote.id) or {}
            if set(results) == {question.custom_id for question in batch.questions}:
                batch_store.submitted(conn, batch.batch_key, remote.id)
                return remote.id
        if may_be_ours:
            self._put_off(batch, "a batch that nobody confirmed may still be running", run)
        else:
            batch_store.failed(conn, batch.batch_key, "never arrived")
        return None

    def _listed(self) -> Iterator[MessageBatch]:
        for remote in self._repeated(lambda: self._model.client.messages.batches.list(limit=100)):
            if not isinstance(remote, MessageBatch) or remote.request_counts is None:
                raise UnreadableError
            yield remote

    def _results(self, remote_id: str) -> dict[str, MessageBatchIndividualResponse] | None:
        """The results by custom id, read completely; None while the batch is running."""
        api = self._model.client.messages.batches
        remote = self._repeated(lambda: api.retrieve(remote_id))
        if not isinstance(remote, MessageBatch) or not isinstance(remote.id, str):
            raise UnreadableError
        if remote.processing_status != "ended":
            return None
        lines = self._repeated(lambda: list(api.results(remote_id)))
        results = {line.custom_id: line for line in lines if line.custom_id}
        if len(results) != len(lines):
            raise UnreadableError
        return results

    def _repeated(self, call: Callable[[], _Read]) -> _Read:
        """Read again after a failure: reading costs nothing."""
        attempt = 0
        while True:
            try:
                return call()
            except FAILURES as error:
                if attempt >= self._model.max_retries or not is_worth_a_retry(error):
                    raise
                self._sleep(wait_seconds(error, attempt))
                attempt += 1

    def _save(
        self,
        conn: Connection,
        batch: Batch,
        results: Mapping[str, MessageBatchIndividualResponse],
        as_of: datetime,
        run: BatchRun,
    ) -> None:
        """Keep every answer and the batch's end in one transaction."""
        dollars = Decimal(0)
        without: dict[str, int] = {}
        answers: list[Answered] = []
        for question in batch.questions:
            result = results[question.custom_id].result
            if result.type != "succeeded":
                # Not charged for: the question is open again.
                without[result.type] = without.get(result.type, 0) + 1
                continue
            answer = judge_kept(result.message, question.prompt, batch.classifier)
            dollars += answer.dollars
            answers.append(answer)
            store.save_answer(
                conn, question.prompt_hash, batch.classifier, answer, as_of, batch.batch_key
            )
        note = ", ".join(f"{count} {kind}" for kind, count in sorted(without.items()))
        batch_store.collected(conn, batch.batch_key, dollars, note, as_of)
        conn.commit()
        run.answers += answers
        run.collected += 1

    def _put_off(self, batch: Batch, why: str, run: BatchRun) -> None:
        """The batch holds its questions until somebody knows its answers."""
        text = "the model's answer to this night's batch is not there yet"
        for question in batch.questions:
            run.pending.add(question.prompt_hash)
            run.outcomes[question.prompt_hash] = Unavailable(
                "pending", f"{text} ({why})" if why else text
            )


def _batch(model: str, chosen: list[tuple[str, Prompt]]) -> Batch:
    key = uuid.uuid4().hex
    questions = tuple(
        Question(f"{key[:16]}-{number:05d}", prompt_hash, prompt)
        for number, (prompt_hash, prompt) in enumerate(chosen)
    )
    return Batch(key, model, None, questions)


def _certainly_refused(error: Exception) -> bool:
    """Whether no batch can have been made of it."""
    if isinstance(error, anthropic.APIStatusError):
        return error.status_code == _RATE_LIMITED or not is_worth_a_retry(error)
    return never_connected(error)
