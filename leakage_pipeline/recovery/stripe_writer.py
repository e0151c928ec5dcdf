"""The one place that writes to Stripe: the official SDK, a key of its own, one request at a time.

Whether a request was carried out is always one of three: done, refused for certain, or unknown.
Nothing here decides to send; `sending` does, after the ledger has it.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import stripe

from leakage_pipeline.failures import ConfigurationError, PermanentFailure, TransientFailure
from leakage_pipeline.recovery.outcome_errors import (
    KeyRefusedError,
    NotSentError,
    RefusedError,
    UnknownOutcomeError,
)
from leakage_pipeline.settings import Settings
from leakage_pipeline.stripe_billing.objects import STRIPE_VERSION
from leakage_pipeline.stripe_billing.transport import is_loopback

Json = dict[str, Any]
KEY = "STRIPE_WRITE_API_KEY"
PAGE = 100
_TRIES = 4
_LONGEST_DELAY = 8.0
_LONGEST_TEXT = 300
_JITTER = secrets.SystemRandom()
# Said by the network layer before a byte of ours has left.
_NEVER_LEFT = (
    "Connection refused",
    "Name or service not known",
    "Temporary failure in name resolution",
    "CERTIFICATE_VERIFY_FAILED",
)
# What Stripe says of a meter event whose identifier it has.
_TAKEN_ALREADY = "already exists with identifier"


def mode_of(key: str) -> str:
    """`live` or `test`, as the key itself tells; empty when it does not."""
    parts = key.split("_")
    return parts[1] if len(parts) > 1 and parts[1] in {"live", "test"} else ""


class StripeWriter:
    """Write access to one Stripe account, and the reads that go with it.

    Args:
        key: The restricted write key.
        base_url: Other address of the API (tests, sandbox); None for Stripe itself.
        first_delay: Seconds before the second try; doubled each time.
    """

    def __init__(self, key: str, base_url: str | None = None, *, first_delay: float = 0.5) -> None:
        stripe.enable_telemetry = False
        base = (base_url or stripe.DEFAULT_API_BASE).rstrip("/")
        proxy: Any = {"http": "", "https": ""} if is_loopback(base) else None
        self._first_delay = first_delay
        self._client = stripe.StripeClient(
            key.strip(),
            stripe_version=STRIPE_VERSION,
            base_addresses={"api": base},
            max_network_retries=0,
            http_client=stripe.RequestsClient(timeout=(5.0, 60.0), proxy=proxy),
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> "StripeWriter":
        """The writer that the configuration allows.

        Raises:
            ConfigurationError: No write key, or one of another mode than the read key.
        """
        environment = settings.environment
        if environment.stripe_write_api_key is None:
            message = (
                f"environment: {KEY} is not set, so nothing can reach Stripe; create a restricted "
                "key for corrections (docs/recovery.md names its permissions) and export it"
            )
            raise ConfigurationError(message)
        key = environment.stripe_write_api_key.get_secret_value()
        reading = settings.stripe_key().get_secret_value()
        if mode_of(key) != mode_of(reading):
            message = (
                f"environment: {KEY} and STRIPE_API_KEY are not of the same mode, live or test"
            )
            raise ConfigurationError(message)
        return cls(key, environment.stripe_api_base)

    def post(self, path: str, params: Mapping[str, Any], idempotency_key: str) -> Json:
        """Send one write, again with the same key while its outcome is open.

        Returns:
            Stripe's answer; of a meter event that Stripe has already, an object that says so.

        Raises:
            RefusedError, KeyRefusedError, NotSentError: It was not carried out.
            UnknownOutcomeError: Nobody knows.
        """
        is_open = False  # an earlier try may have been carried out

        def once() -> Json:
            nonlocal is_open
            try:
                return self._request("post", path, params, idempotency_key)
            except stripe.StripeError as error:
                said = _said(error)
                if _TAKEN_ALREADY in said:
                    return {"object": "billing.meter_event", "was_there_already": True}
                is_open = is_open or _may_have_been_done(error)
                problem = f"POST {path}: {said}"
                if _may_pass(error):
                    kind = UnknownOutcomeError if is_open else NotSentError
                    raise kind(problem) from None
                if is_open:
                    raise _FinalUnknown(problem) from None
                raise _refusal(error, problem) from None

        try:
            return self._again_and_again(once)
        except _FinalUnknown as unknown:
            raise UnknownOutcomeError(str(unknown)) from None

    def delete(self, path: str) -> Json:
        """Delete one object; errors as for `post`."""

        def once() -> Json:
            try:
                return self._request("delete", path, {}, None)
            except stripe.StripeError as error:
                problem = f"DELETE {path}: {_said(error)}"
                if _may_pass(error):
                    raise UnknownOutcomeError(problem) from None
                raise _refusal(error, problem) from None

        return self._again_and_again(once)

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Json:
        """Read one object or page, numbers exact.

        Raises:
            RefusedError, KeyRefusedError: Stripe does not give it.
            NotSentError: No answer, after several tries.
        """

        def once() -> Json:
            try:
                return self._request("get", path, params or {}, None)
            except stripe.StripeError as error:
                problem = f"GET {path}: {_said(error)}"
                if _may_pass(error):
                    raise NotSentError(problem) from None
                raise _refusal(error, problem) from None

        return self._again_and_again(once)

    def every(self, path: str, params: Mapping[str, Any]) -> Iterator[Json]:
        """Every object of a list, page by page; errors as for `get`."""
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, {**params, **cursor, "limit": PAGE})
            yield from page["data"]
            if not page.get("has_more"):
                return
            cursor = {"starting_after": str(page["data"][-1]["id"])}

    def _request(
        self, method: str, path: str, params: Mapping[str, Any], idempotency_key: str | None
    ) -> Json:
        options = {} if idempotency_key is None else {"idempotency_key": idempotency_key}
        answer = self._client.raw_request(method, path, **params, **options)
        parsed = json.loads(answer.body, parse_float=Decimal)
        return dict(parsed)

    def _again_and_again(self, once: Callable[[], Json]) -> Json:
        for attempt in range(1, _TRIES + 1):
            try:
                return once()
            except TransientFailure:
                if attempt == _TRIES:
                    raise
            delay = min(_LONGEST_DELAY, self._first_delay * 2 ** (attempt - 1))
            time.sleep(delay * _JITTER.uniform(0.5, 1.0))
        raise AssertionError


class _FinalUnknown(Exception):  # noqa: N818 - never leaves this module
    pass


def _may_pass(error: stripe.StripeError) -> bool:
    status = error.http_status or 0
    return (
        isinstance(error, stripe.APIConnectionError)
        or status in {HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT}
        or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        or status < HTTPStatus.BAD_REQUEST  # an answer of success that could not be read
    )


def _may_have_been_done(error: stripe.StripeError) -> bool:
    """Whether Stripe may have carried the request out all the same."""
    if isinstance(error, stripe.APIConnectionError):
        text = f"{error} {error.__cause__ or ''}"
        return not any(sign in text for sign in _NEVER_LEFT)
    status = error.http_status or 0
    return _may_pass(error) and status != HTTPStatus.TOO_MANY_REQUESTS


def _refusal(error: stripe.StripeError, problem: str) -> PermanentFailure:
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        return KeyRefusedError(f"Stripe refuses the key in {KEY}: {problem}")
    if error.http_status == HTTPStatus.FORBIDDEN:
        return KeyRefusedError(f"the key in {KEY} lacks a permission: {problem}")
    return RefusedError(problem)


def _said(error: stripe.StripeError) -> str:
    text = error.user_message or str(error) or type(error).__name__
    return " ".join(text.split())[:_LONGEST_TEXT]
