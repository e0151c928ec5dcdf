"""Turns what the Stripe SDK raises into one clear line, and says whether another try may help.

A message names the endpoint, the permission or the variable to mend, and never shows the key.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import stripe

from leakage_pipeline.failures import PermanentFailure, is_transient_status
from leakage_pipeline.stripe_billing.objects import StripeObject

_UNAUTHORISED = 401
_FORBIDDEN = 403
_MISSING = 404
_RATE_LIMITED = 429

# Reasons of a 429 that concern the whole account; the others concern one endpoint or one customer.
_ACCOUNT_WIDE = ("global-rate", "global-concurrency", "")


class EndpointForbidden(PermanentFailure):
    """The key may not read this endpoint."""


class EndpointMissing(PermanentFailure):
    """The server does not know this endpoint, or no such list exists."""


class ObjectMissing(PermanentFailure):
    """One object that was named is not there (any more)."""


class RequestRefused(PermanentFailure):
    """Stripe calls the request itself wrong; `param` names the parameter when Stripe does."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param

    def is_about(self, param: str) -> bool:
        """Tell whether a parameter, or a part of it such as ``created[lte]``, is what is wrong."""
        if self.param is None:
            return param in str(self)
        return self.param.startswith(param)


@dataclass(frozen=True)
class Refusal:
    """What a failed request means.

    Attributes:
        message: One line without secrets.
        retry: Whether the same request may succeed later.
        retry_after: Seconds that the server asked to wait, when it did.
        limited: A limit was hit, so the rate should fall.
        account_wide: That limit is the account's, so every thread should wait.
        reached: An HTTP response came back at all.
    """

    message: str
    retry: bool
    retry_after: float | None = None
    limited: bool = False
    account_wide: bool = False
    reached: bool = True


def explain(error: stripe.StripeError, url: str, now: datetime | None = None) -> Refusal:
    """Judge an SDK error.

    Args:
        error: What the SDK raised.
        url: The address that was asked, without query and without key.
        now: The present instant, for a Retry-After that is a date.
    """
    if isinstance(error, stripe.APIConnectionError):
        reason, lasting = _network_reason(error)
        return Refusal(
            message=f"Stripe could not be reached at {url}: {reason}",
            retry=not lasting,
            reached=False,
        )
    status = error.http_status or 0
    headers = {key.lower(): value for key, value in (error.headers or {}).items()}
    limited = isinstance(error, stripe.RateLimitError) or status == _RATE_LIMITED
    reason = headers.get("stripe-rate-limited-reason", "")
    said = f" ({reason})" if limited and reason else ""
    return Refusal(
        message=f"Stripe answered {status} to GET {url}{said}: {_one_line(error)}",
        retry=limited or is_transient_status(status),
        retry_after=_seconds(headers.get("retry-after"), now),
        limited=limited,
        account_wide=limited and reason in _ACCOUNT_WIDE,
    )


def permanent(
    error: stripe.StripeError, target: StripeObject, path: str, key_variable: str
) -> PermanentFailure:
    """Say why a request will never succeed, and what to do about it.

    Args:
        error: What the SDK raised.
        target: The object that was asked for.
        path: The path that was asked.
        key_variable: Environment variable that holds the key.
    """
    status = error.http_status or 0
    said = _one_line(error)
    if status == _UNAUTHORISED:
        return PermanentFailure(
            f"Stripe refuses the key in {key_variable} (401: {said}); it may be revoked or "
            f"expired: create a restricted key in the dashboard and put it into {key_variable}"
        )
    if status == _FORBIDDEN:
        return EndpointForbidden(
            f"the Stripe key in {key_variable} may not read {target.name} (403 on GET {path}); "
            f"give it the read permission {target.permission}"
        )
    if status == _MISSING:
        kind = ObjectMissing if error.code == "resource_missing" else EndpointMissing
        return kind(f"Stripe answered 404 to GET {path}: {said}")
    if error.code == "resource_missing":
        return ObjectMissing(f"Stripe answered {status} to GET {path}: {said}")
    param = getattr(error, "param", None)
    named = f" (parameter {param})" if param else ""
    return RequestRefused(f"Stripe answered {status} to GET {path}{named}: {said}", param)


def _one_line(error: stripe.StripeError) -> str:
    # `str(error)` would put the request id in front; the plain message is what a person wants.
    text = error.user_message or str(error) or type(error).__name__
    return " ".join(text.split())[:300]


# What the text of a network error tells, and whether it lasts however often one tries.
_NETWORK_REASONS = {
    "CERTIFICATE_VERIFY_FAILED": ("its TLS certificate could not be verified", True),
    "Invalid URL": ("the address is no URL", True),
    "No connection adapters": ("the address must begin with http:// or https://", True),
    "Name or service not known": ("the host name is not known", False),
    "nodename nor servname": ("the host name is not known", False),
    "Temporary failure in name resolution": ("the host name could not be resolved", False),
    "Connection refused": ("connection refused", False),
    "timed out": ("no answer in time", False),
}


def _network_reason(error: stripe.APIConnectionError) -> tuple[str, bool]:
    text = f"{error} {error.__cause__ or ''}"
    found = (meaning for needle, meaning in _NETWORK_REASONS.items() if needle in text)
    return next(found, ("the connection broke", False))


def _seconds(header: str | None, now: datetime | None) -> float | None:
    """Read Retry-After, which is seconds or an HTTP date."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        instant = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (instant - (now or datetime.now(UTC))).total_seconds())
