"""One JSON value of Stripe at a time: exact decimals, ids behind optional expansion, JSON text.

No layout knowledge here; which key means what is said in `flatten*.py`.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import orjson

Json = dict[str, Any]

# Postgres can store U+0000 neither in text nor in jsonb, so it is replaced before any parsing.
_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def without_nul(body: bytes) -> bytes:
    r"""Replace every ``\u0000`` escape of a JSON body by U+FFFD."""
    if b"\\u0000" not in body:
        return body
    return _ESCAPED_NUL.sub(rb"\1\\ufffd", body)


def parse_page_body(body: bytes) -> list[Json]:
    """The objects of a list's answer, every number with a point or an exponent as a Decimal."""
    parsed = json.loads(without_nul(body), parse_float=Decimal)
    return list(parsed["data"])


def decimal_text(value: object) -> str | None:
    """Give an exact plain decimal text, never with an exponent.

    Args:
        value: Decimal text as Stripe sends it (``"1E-12"`` occurs), a Decimal, an int or None.

    Returns:
        Text that Postgres casts to numeric, or None.

    Raises:
        TypeError: for a bool, a float or anything that is no number.
        ValueError: for text that is no finite decimal.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, Decimal):
        return _finite(value)
    if type(value) is int:
        return str(value)
    message = f"{value!r} is no decimal"
    raise TypeError(message)


@lru_cache(maxsize=65_536)
def _plain(text: str) -> str:
    try:
        return _finite(Decimal(text))
    except InvalidOperation:
        message = f"{text!r} is no decimal"
        raise ValueError(message) from None


def _finite(value: Decimal) -> str:
    if not value.is_finite():
        message = f"{value} is not finite"
        raise ValueError(message)
    return format(value, "f")


def reference(value: object) -> str | None:
    """Give the id of a reference that may be expanded.

    Args:
        value: An id, an object with an ``id``, or None.

    Raises:
        TypeError: for anything else.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        found = value.get("id")
        if isinstance(found, str):
            return found
    message = f"{value!r} is neither an id nor an object with one"
    raise TypeError(message)


def at(value: Any, *path: str) -> Any:
    """Walk down a path of keys; a missing key or a null on the way gives None.

    Raises:
        AttributeError: when something on the way is neither an object nor null.
    """
    for key in path:
        if value is None:
            return None
        value = value.get(key)
    return value


def json_text(value: object) -> str | None:
    """Write JSON with every number as Stripe sent it: a Decimal is a bare number, not text."""
    if value is None:
        return None
    return orjson.dumps(value, default=_bare_number).decode()


def _bare_number(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    message = f"{type(value).__name__} is no JSON"
    raise TypeError(message)
