"""Asks Anthropic about one finding or incident at once, with retries and a budget.

For a person who waits, and for nights without batches. Knows nothing of the database. A failure of
the API is an `Unavailable` answer, never an exception: the audit goes on with the rules.
"""

import threading
import time
from decimal import Decimal

import anthropic
from pydantic import SecretStr

from leakage_pipeline.classification import budget as money
from leakage_pipeline.classification.anthropic_request import (
    FAILURES,
    OVER_BUDGET,
    TOO_LARGE,
    Answered,
    Unavailable,
    describe,
    judge,
    never_connected,
    request_params,
    worst_case,
)
from leakage_pipeline.classification.prompt import Prompt
from leakage_pipeline.failures import is_transient_status

DEFAULT_MODEL = "claude-haiku-5-5"
DEFAULT_MAX_CALLS = 200
DEFAULT_MAX_DOLLARS = Decimal("2.00")
# A night has time; a person who waits does not. Four retries span about 15 seconds.
DEFAULT_MAX_RETRIES = 4
_TIMEOUT_SECONDS = 60.0
_FAILURES_BEFORE_GIVING_UP = 3
_LONGEST_WAIT_SECONDS = 30.0


class AnthropicClassifier:
    """A model behind a budget. Safe to call from several threads.

    Args:
        api_key: Anthropic API key.
        base_url: Another address of the API, or None for the SDK's own.
        model: Model id; also what is stored as the classifier's name.
        max_calls: Requests allowed in this run, repeated ones included.
        max_dollars: Dollars allowed in this run, reckoned before each request at its worst case.
        max_retries: How often a question is asked again after 408, 409, 429, 5xx or a lost answer.
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
        self.max_retries = max_retries
        # The SDK's own retries would spend what nobody reserved.
        self.client = anthropic.Anthropic(
            api_key=api_key.get_secret_value(),
            base_url=base_url,
            max_retries=0,
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
        if prompt.is_too_large:
            return TOO_LARGE
        attempt = 0
        while True:
            if self._given_up:
                return Unavailable("api", self._given_up)
            answer = self._try(prompt)
            if not isinstance(answer, Exception):
                return answer
            if attempt >= self.max_retries or not is_worth_a_retry(answer):
                return Unavailable("api", self._failed(answer))
            time.sleep(wait_seconds(answer, attempt))
            attempt += 1

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _try(self, prompt: Prompt) -> Answered | Unavailable | Exception:
        reserved = worst_case(self.model, prompt, batch=False)
        if not self.budget.reserve(reserved):
            return OVER_BUDGET
        try:
            # Not `parse`: it raises over an answer that does not fit, and its cost would be lost.
            message = self.client.messages.create(**request_params(self.model, prompt, batch=False))
            answer = judge(message, prompt, self.model, batch=False)
        except anthropic.APIStatusError as error:
            # An error is not charged for; of a lost or unreadable answer nobody knows.
            self.budget.settle(reserved, Decimal(0))
            return error
        except FAILURES as error:
            if never_connected(error):
                self.budget.settle(reserved, Decimal(0))
            return error
        self.budget.settle(reserved, answer.dollars)
        with self._lock:
            self._failures_in_a_row = 0
        return answer

    def _failed(self, error: Exception) -> str:
        why = describe(error)
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


def is_worth_a_retry(error: Exception) -> bool:
    """Whether asking again may help: not after a page that is no API, or a refusal."""
    if isinstance(error, anthropic.APIStatusError):
        return is_transient_status(error.status_code)
    return isinstance(error, anthropic.APIConnectionError)


def wait_seconds(error: Exception, attempt: int) -> float:
    """How long to wait before the next attempt: as the API says, else longer each time."""
    asked = None
    if isinstance(error, anthropic.APIStatusError):
        headers = error.response.headers
        asked = _number(headers.get("retry-after-ms"), 1000) or _number(
            headers.get("retry-after"), 1
        )
    return min(asked if asked is not None else 0.5 * 2**attempt, _LONGEST_WAIT_SECONDS)


def _number(text: str | None, divisor: int) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value / divisor if value >= 0 else None
