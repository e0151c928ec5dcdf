"""Asks Anthropic about one finding or incident, with structured output, retries and a budget.

Knows nothing of the database. A failure of the API is an `Unavailable` answer, never an exception:
the audit goes on with the rules.
"""

import threading
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import anthropic
from anthropic.types import Message, Usage
from pydantic import SecretStr

from leakage_pipeline.classification import budget as money
from leakage_pipeline.classification.prompt import SYSTEM, Prompt
from leakage_pipeline.classification.schema import Decision
from leakage_pipeline.classification.validation import AnswerRejectedError, accept, parse_answer

DEFAULT_MODEL = "claude-haiku-5-5"
DEFAULT_MAX_CALLS = 200
DEFAULT_MAX_DOLLARS = Decimal("2.00")
MAX_OUTPUT_TOKENS = 1024
# A night has time; a person who waits does not. Four retries span about 15 seconds.
DEFAULT_MAX_RETRIES = 4
_TIMEOUT_SECONDS = 60.0
_FAILURES_BEFORE_GIVING_UP = 3


@dataclass(frozen=True)
class Answered:
    """The model answered and was paid. Without a decision the answer was rejected, and why."""

    decision: Decision | None
    rejection: str | None
    use: money.TokenUse
    dollars: Decimal


@dataclass(frozen=True)
class Unavailable:
    """No answer: the API failed, the budget is used up, or earlier failures ended the asking."""

    kind: Literal["api", "budget"]
    why: str


class AnthropicClassifier:
    """A model behind a budget. Safe to call from several threads.

    Args:
        api_key: Anthropic API key.
        base_url: Another address of the API, or None for the SDK's own.
        model: Model id; also what is stored as the classifier's name.
        max_calls: Calls allowed in this run.
        max_dollars: Dollars allowed in this run, reckoned before each call at its worst case.
        max_retries: Retries of the SDK on 408, 409, 429, 5xx and connection errors.
    """

    def __init__(
        self,
        api_key: SecretStr,
        *,
        base_url: str | None = None,
        model: str = DEFAULT_MODEL,
        max_calls: int = DEFAULT_MAX_CALLS,
        max_dollars: Decimal = DEFAULT_MAX_DOLLARS,
        max_retries: int = DEFAULT_MAX_RETRIES,
    ) -> None:
        self.model = model
        self.budget = money.Budget(max_calls, max_dollars)
        self._price = money.price_of(model)
        self._client = anthropic.Anthropic(
            api_key=api_key.get_secret_value(),
            base_url=base_url,
            max_retries=max_retries,
            timeout=_TIMEOUT_SECONDS,
        )
        self._lock = threading.Lock()
        self._failures_in_a_row = 0
        self._given_up: str | None = None

    def ask(self, prompt: Prompt) -> Answered | Unavailable:
        """Ask about one prompt.

        Returns:
            `Answered` with a decision that passed every check or with the reason of its rejection;
            `Unavailable` when there is no answer to judge.
        """
        if self._given_up:
            return Unavailable("api", self._given_up)
        size = len((SYSTEM + prompt.user_text + str(prompt.output_schema)).encode())
        reserved = money.worst_case(size, MAX_OUTPUT_TOKENS, self._price)
        if not self.budget.reserve(reserved):
            return Unavailable("budget", "the run's budget for the model is used up")
        try:
            message = self._send(prompt)
            use = _token_use(message)
        except anthropic.APIStatusError as error:
            # An error is not charged for; of a lost or unreadable answer nobody knows.
            self.budget.settle(reserved, Decimal(0))
            return Unavailable("api", self._failed(error))
        except (anthropic.APIError, ValueError) as error:
            return Unavailable("api", self._failed(error))
        dollars = money.cost(use, self._price)
        self.budget.settle(reserved, dollars)
        with self._lock:
            self._failures_in_a_row = 0
        try:
            decision = accept(parse_answer(_text(message)), prompt)
        except AnswerRejectedError as rejected:
            return Answered(None, str(rejected), use, dollars)
        return Answered(decision, None, use, dollars)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, prompt: Prompt) -> Message:
        system: list[Any] = [
            {"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}
        ]
        return self._client.messages.create(
            model=self.model,
            max_tokens=MAX_OUTPUT_TOKENS,
            system=system,
            messages=[{"role": "user", "content": prompt.user_text}],
            output_config={"format": {"type": "json_schema", "schema": prompt.output_schema}},
        )

    def _failed(self, error: Exception) -> str:
        why = _describe(error)
        # A wrong key or model stays wrong for the rest of the run.
        final = isinstance(
            error,
            anthropic.AuthenticationError
            | anthropic.PermissionDeniedError
            | anthropic.NotFoundError,
        )
        with self._lock:
            self._failures_in_a_row += 1
            if final or self._failures_in_a_row >= _FAILURES_BEFORE_GIVING_UP:
                self._given_up = why
        return why


def _describe(error: Exception) -> str:
    """Say what failed without quoting the answer, which may echo what we sent."""
    if isinstance(error, anthropic.APITimeoutError):
        return "Anthropic did not answer in time"
    if isinstance(error, anthropic.APIStatusError):
        return f"Anthropic answered with status {error.status_code}"
    if isinstance(error, anthropic.APIConnectionError):
        return "Anthropic could not be reached"
    return "Anthropic's answer could not be read"


def _token_use(message: object) -> money.TokenUse:
    """Read what a call used.

    The SDK does not check what it receives: a proxy's page arrives as text, foreign JSON as a
    message without its parts.

    Raises:
        ValueError: This is no message of the API.
    """
    usage = getattr(message, "usage", None)
    if not isinstance(message, Message) or not isinstance(usage, Usage):
        reason = "no message"
        raise ValueError(reason)  # noqa: TRY004 - it is the answer that is wrong, not our types
    return money.TokenUse(
        input=usage.input_tokens,
        output=usage.output_tokens,
        cache_write=usage.cache_creation_input_tokens or 0,
        cache_read=usage.cache_read_input_tokens or 0,
    )


def _text(message: Message) -> str:
    if message.stop_reason == "refusal":
        reason = "the model declined to answer"
        raise AnswerRejectedError(reason)
    if message.stop_reason == "max_tokens":
        reason = "the answer was cut off"
        raise AnswerRejectedError(reason)
    return "".join(block.text for block in message.content if block.type == "text")
