"""Addresses of Stripe dashboard pages for ids found in evidence.

Only an id of the exact form Stripe gives becomes a link, so that no text from outside becomes one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

_DASHBOARD = "https://dashboard.stripe.com/"
_ID = re.compile(r"(cus|sub|in|price|prod|cn|ch|pi|mtr)_[A-Za-z0-9_]{3,250}")
_ID_KEY = re.compile(r"(^|_)ids?$")
_PAGES = {
    "cus": ("customers", "Customer"),
    "sub": ("subscriptions", "Subscription"),
    "in": ("invoices", "Invoice"),
    "price": ("prices", "Price"),
    "prod": ("products", "Product"),
    "cn": ("credit_notes", "Credit note"),
    "ch": ("payments", "Payment"),
    "pi": ("payments", "Payment"),
    "mtr": ("meters", "Meter"),
}
_MAX_LINKS = 6


@dataclass(frozen=True)
class Link:
    """A dashboard page."""

    label: str
    stripe_id: str
    url: str


def is_test_mode(api_key: SecretStr | None) -> bool:
    """Tell from the key's prefix whether the account's objects live on the test pages."""
    return api_key is not None and "_test_" in api_key.get_secret_value()[:12]


def link(stripe_id: str, *, test_mode: bool) -> Link | None:
    """Return the dashboard page of an id, or None for anything that is not such an id."""
    match = _ID.fullmatch(stripe_id)
    if match is None:
        return None
    page, label = _PAGES[match.group(1)]
    prefix = "test/" if test_mode else ""
    return Link(label, stripe_id, f"{_DASHBOARD}{prefix}{page}/{stripe_id}")


def links_of(ids: list[str | None], evidence: Mapping[str, Any], *, test_mode: bool) -> list[Link]:
    """Return the pages of these ids and of those in the evidence, each once, at most six."""
    candidates = [value for value in ids if value] + _ids(evidence)
    found: dict[str, Link] = {}
    for candidate in candidates:
        page = link(candidate, test_mode=test_mode)
        if page is not None:
            found.setdefault(page.stripe_id, page)
    return list(found.values())[:_MAX_LINKS]


def _ids(value: Any, key: str = "") -> list[str]:
    """Return the texts under keys that are named like ids: a reason may look like one too."""
    if isinstance(value, str):
        return [value] if _ID_KEY.search(key) else []
    if isinstance(value, Mapping):
        return [text for name in sorted(value) for text in _ids(value[name], name)]
    if isinstance(value, list):
        return [text for item in value for text in _ids(item, key)]
    return []
