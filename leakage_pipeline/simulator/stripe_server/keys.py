"""API keys of the simulated account: right, wrong, revoked, restricted.

Answers only whether a request may go on; keys are made up and open nothing.
"""

import base64
import binascii
from dataclasses import dataclass
from http import HTTPStatus

from leakage_pipeline.simulator.stripe_server.errors import ApiError
from leakage_pipeline.simulator.stripe_server.resources import RESOURCES

DEFAULT_API_KEY = "rk_test_simulated_company"


@dataclass(frozen=True)
class ApiKey:
    """A key; `denied` are path prefixes (`/v1/invoices`) for which it lacks the permission."""

    secret: str = DEFAULT_API_KEY
    revoked: bool = False
    read_only: bool = False
    denied: frozenset[str] = frozenset()

    @property
    def redacted(self) -> str:
        """The key as Stripe quotes it in messages."""
        head, tail = self.secret[:8], self.secret[-4:]
        return f"{head}{'*' * max(len(self.secret) - len(head) - len(tail), 0)}{tail}"

    def check(self, method: str, path: str) -> None:
        """Raises 401 for a revoked key, 403 for what the key may not do."""
        if self.revoked:
            message = f"Expired API Key provided: {self.redacted}"
            raise ApiError(HTTPStatus.UNAUTHORIZED, message, code="api_key_expired")
        refused = any(path == prefix or path.startswith(f"{prefix}/") for prefix in self.denied)
        if refused or (self.read_only and method != "GET"):
            message = (
                f"The provided key '{self.redacted}' does not have the required permissions for "
                f"this endpoint on account 'acct_simulated'. Having the '{_permission(path)}' "
                "permission would allow this request to continue."
            )
            raise ApiError(HTTPStatus.FORBIDDEN, message, code="more_permissions_required")


def _permission(path: str) -> str:
    for resource in RESOURCES:
        if path.startswith(resource.path):
            return resource.permission
    return "rak_subscription_read" if "subscription_items" in path else "rak_billing_meter_event"


def secret_of(authorization: str | None) -> str:
    """The key in an Authorization header, bearer or basic.

    Raises:
        ApiError: 401 when there is none.
    """
    scheme, _, credentials = (authorization or "").partition(" ")
    secret = ""
    if scheme.lower() == "bearer":
        secret = credentials.strip()
    elif scheme.lower() == "basic":
        try:
            secret = base64.b64decode(credentials).decode("ascii").partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            secret = ""
    if not secret:
        message = (
            "You did not provide an API key. You need to provide your API key in the "
            "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_KEY')."
        )
        raise ApiError(HTTPStatus.UNAUTHORIZED, message)
    return secret


def invalid_key(secret: str) -> ApiError:
    """401 for a key that the account does not know."""
    message = f"Invalid API Key provided: {ApiKey(secret).redacted}"
    return ApiError(HTTPStatus.UNAUTHORIZED, message)
