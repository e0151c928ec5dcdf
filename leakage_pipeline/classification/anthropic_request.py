"""What goes to Anthropic and comes back: the same for a direct call and inside a batch.

Knows nothing of the database and sends nothing itself.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import anthropic
import httpx2
from anthropic.types import Message, Usage
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

from leakage_pipeline.classification import budget as money
from leakage_pipeline.classification.prompt import OUTPUT_SCHEMA, SYSTEM, Prompt
from leakage_pipeline.classification.schema import Decision
from leakage_pipeline.classification.validation import AnswerRejectedError, accept, parse_answer

# Newer models think before they answer, and that counts as output.
MAX_OUTPUT_TOKENS = 4096
_SHARED_BYTES = len((SYSTEM + str(OUTPUT_SCHEMA)).encode())


@dataclass(frozen=True)
class Answered:
    """The model answered and was paid. Without a decision the answer was rejected, and why."""

    decision: Decision | None
    rejection: str | None
    use: money.TokenUse
    dollars: Decimal


@dataclass(frozen=True)
class Unavailable:
    """No answer: the API failed, the budget is used up, or a batch is not ready yet."""

    kind: Literal["api", "budget", "pending"]
    why: str


TOO_LARGE = Unavailable("api", "the finding is too large to ask about")
OVER_BUDGET = Unavailable("budget", "the run's budget for the model is used up")


class UnreadableError(Exception):
    """This is no message of the API."""


# The SDK does not wrap what breaks while a list of results is read, and checks nothing it reads.
_FOREIGN = (ValueError, TypeError, AttributeError, KeyError)
FAILURES = (anthropic.AnthropicError, httpx2.HTTPError, UnreadableError, *_FOREIGN)


def request_params(model: str, prompt: Prompt, *, batch: bool) -> MessageCreateParamsNonStreaming:
    """The body of one question.

    A batch may take longer than the cache's usual five minutes, so it asks for an hour.
    """
    output: dict[str, Any] = {"format": {"type": "json_schema", "schema": OUTPUT_SCHEMA}}
    if money.price_of(model).effort:
        output["effort"] = "low"
    cache: dict[str, Any] = {"type": "ephemeral"}
    if batch:
        cache["ttl"] = "1h"
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": MAX_OUTPUT_TOKENS,
        "system": [{"type": "text", "text": SYSTEM, "cache_control": cache}],
        "messages": [{"role": "user", "content": prompt.user_text}],
        "output_config": output,
    }
    return body  # type: ignore[return-value] # the SDK's type for just this


def worst_case(model: str, prompt: Prompt, *, batch: bool) -> Decimal:
    """The most that this question can cost, in dollars."""
    size = _SHARED_BYTES + len(prompt.user_text.encode())
    return money.worst_case(size, MAX_OUTPUT_TOKENS, money.price_of(model), batch=batch)


def judge(message: object, prompt: Prompt, model: str, *, batch: bool) -> Answered:
    """Read an answer, reckon what it cost, and check it against its question.

    Raises:
        UnreadableError: It is no message; nobody knows whether it was charged.
    """
    use = _token_use(message)
    dollars = money.cost(use, money.price_of(model), batch=batch)
    try:
        decision = accept(parse_answer(_text(message)), prompt)
    except AnswerRejectedError as rejected:
        return Answered(None, str(rejected), use, dollars)
    return Answered(decision, None, use, dollars)


def judge_kept(message: object, prompt: Prompt, model: str) -> Answered:
    """The same for an answer that a batch keeps: unreadable once is unreadable for ever.

    Such an answer is taken as paid at its worst case and is not asked for again.
    """
    try:
        return judge(message, prompt, model, batch=True)
    except (UnreadableError, *_FOREIGN):
        dollars = worst_case(model, prompt, batch=True)
        return Answered(None, "the answer could not be read", money.TokenUse(0, 0), dollars)


def describe(error: Exception) -> str:
    """Say what failed without quoting the answer, which may echo what we sent."""
    if isinstance(error, anthropic.APITimeoutError):
        return "Anthropic did not answer in time"
    if isinstance(error, anthropic.APIStatusError):
        return f"Anthropic answered with status {error.status_code}"
    if isinstance(error, anthropic.APIConnectionError):
        return "Anthropic could not be reached"
    return "Anthropic's answer could not be read"


def never_connected(error: Exception) -> bool:
    """Whether nothing can have arrived: nobody listened at the address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError) or type(cause).__name__ == "ConnectError":
            return True
        cause = cause.__cause__
    return False


def _token_use(message: object) -> money.TokenUse:
    """Read what a call used.

    The SDK does not check what it receives: a proxy's page arrives as text, foreign JSON as a
    message without its parts.
    """
    usage = getattr(message, "usage", None)
    if not isinstance(message, Message) or not isinstance(usage, Usage):
        raise UnreadableError
    counts = (usage.input_tokens, usage.output_tokens)
    if not all(isinstance(count, int) for count in counts) or not isinstance(message.content, list):
        raise UnreadableError
    by_age = usage.cache_creation
    return money.TokenUse(
        input=usage.input_tokens,
        output=usage.output_tokens,
        cache_write=usage.cache_creation_input_tokens or 0,
        cache_read=usage.cache_read_input_tokens or 0,
        cache_write_hour=(by_age.ephemeral_1h_input_tokens or 0) if by_age else 0,
    )


def _text(message: object) -> str:
    if not isinstance(message, Message):
        raise UnreadableError
    if message.stop_reason == "refusal":
        reason = "the model declined to answer"
        raise AnswerRejectedError(reason)
    if message.stop_reason == "max_tokens":
        reason = "the answer was cut off"
        raise AnswerRejectedError(reason)
    if any(block.type == "tool_use" for block in message.content):
        reason = "the model called a tool that it was not given"
        raise AnswerRejectedError(reason)
    return "".join(block.text for block in message.content if block.type == "text")
