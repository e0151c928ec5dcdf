"""The HTTP below the SDK, and what the address that is read says about pace and proxy."""

import hashlib
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import stripe

from leakage_pipeline.stripe_billing.rate_limit import (
    DEFAULT_REQUESTS_PER_SECOND,
    LOCAL_REQUESTS_PER_SECOND,
)


class BodyKeeper(stripe.RequestsClient):
    """Hands the SDK an empty object for each success and keeps the body for us.

    The SDK would parse every body into nested OrderedDicts with floats, which nobody here reads and
    which takes twice the time of our own parse. Errors pass through whole, so that it types them.
    """

    _LOWEST_ERROR = 400

    def __init__(self, *, timeout: tuple[float, float], proxy: Any) -> None:
        super().__init__(timeout=timeout, proxy=proxy)
        self._kept = threading.local()

    def request(  # type: ignore[override] # bytes and no _usage, as in the SDK's own client
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send one request; see the class."""
        body, status, answered = super().request(method, url, headers, post_data)
        if status >= self._LOWEST_ERROR:
            return body, status, answered
        self._kept.body = body
        return b"{}", status, answered

    def take_body(self) -> bytes:
        """Give the body of this thread's last successful request, once."""
        body: bytes = self._kept.body
        self._kept.body = b""
        return body


def proxy_for(base_url: str) -> Any:
    """Keep requests to this machine away from a proxy that the environment names for the rest."""
    if is_loopback(base_url):
        return {"http": "", "https": ""}
    return None


def usual_rate(base_url: str | None) -> float:
    """The rate to choose when nobody has chosen one: gentle with Stripe, quick on this machine."""
    if base_url is not None and is_loopback(base_url):
        return LOCAL_REQUESTS_PER_SECOND
    return DEFAULT_REQUESTS_PER_SECOND


def is_loopback(base_url: str) -> bool:
    """Tell whether an address is on this machine."""
    host = urlsplit(base_url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def account_name(api_key: str, base_url: str | None) -> str:
    """A name for what a key reads at an address; another key may be another account.

    The key cannot be told from it.
    """
    digest = hashlib.sha256(f"leakage-pipeline:{api_key}".encode()).hexdigest()[:16]
    return f"{base_url or 'stripe'} {digest}"
