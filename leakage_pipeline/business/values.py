"""Reads single cells of business files: exact decimals, days, instants, booleans, JSON.

Pure functions from text to a value; each raises `Unreadable` with the reason that people read.
"""

import json
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NoReturn

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_BOOLEANS = {
    **dict.fromkeys(("true", "t", "1", "yes", "y"), True),
    **dict.fromkeys(("false", "f", "0", "no", "n"), False),
}
_DAY = timedelta(days=1)
_PERCENT = Decimal(100)
# A quantity or amount beyond these is a mistake, and its digits would fill a screen.
_LARGEST = Decimal(10) ** 24
_SMALLEST = Decimal(10) ** -24
Cells = dict[str, str | None]


class Unreadable(Exception):  # noqa: N818 - it says what a row is
    """A row cannot be read; the text is the reason, which names the column."""


def text(cells: Cells, column: str) -> str:
    """A cell that must not be empty.

    Raises:
        Unreadable: It is.
    """
    value = cells[column]
    if value is None:
        message = f"missing {column}"
        raise Unreadable(message)
    return value


def one_of(cells: Cells, column: str, allowed: tuple[str, ...]) -> str | None:
    """A word of a fixed list, in lower case; None for an empty cell.

    Raises:
        Unreadable: It is another word.
    """
    value = cells[column]
    if value is None:
        return None
    if value.lower() not in allowed:
        message = f"{column} {value!r} is none of {', '.join(allowed)}"
        raise Unreadable(message)
    return value.lower()


def currency(cells: Cells, column: str) -> str | None:
    """A currency code in lower case; None for an empty cell.

    Raises:
        Unreadable: It has not three letters.
    """
    value = cells[column]
    if value is not None and not re.fullmatch(r"[A-Za-z]{3}", value):
        message = f"{column} {value!r} is no currency code of three letters"
        raise Unreadable(message)
    return value.lower() if value else None


def number(value: object, what: str) -> Decimal:
    """An exact decimal >= 0 from text or from a number of a JSON document.

    Raises:
        Unreadable: It is no number, not finite, negative or beyond all sense.
    """
    found = value
    if isinstance(value, str):
        found = Decimal(value.strip()) if _NUMBER.fullmatch(value.strip()) else None
    if isinstance(found, bool) or not isinstance(found, (int, Decimal)):
        message = f"{what} {value!r} is no number"
        raise Unreadable(message)
    exact = Decimal(found)
    if exact < 0:
        message = f"{what} {value} is negative"
        raise Unreadable(message)
    if exact >= _LARGEST or (exact and exact < _SMALLEST):
        message = f"{what} is beyond what an amount can be"
        raise Unreadable(message)
    return exact


def amount(cells: Cells, column: str) -> Decimal | None:
    """A decimal >= 0; None for an empty cell."""
    value = cells[column]
    return None if value is None else number(value, column)


def percent(cells: Cells, column: str) -> Decimal | None:
    """A percentage from 0 to 100; None for an empty cell.

    Raises:
        Unreadable: It is outside, or no number.
    """
    value = amount(cells, column)
    if value is not None and value > _PERCENT:
        message = f"{column} {value} is not between 0 and 100"
        raise Unreadable(message)
    return value


def whole(cells: Cells, column: str) -> int | None:
    """A whole number >= 0; None for an empty cell.

    Raises:
        Unreadable: It is none.
    """
    value = amount(cells, column)
    if value is None:
        return None
    if value != value.to_integral_value() or value >= 2**63:
        message = f"{column} {cells[column]} is no whole number"
        raise Unreadable(message)
    return int(value)


def boolean(cells: Cells, column: str) -> bool | None:
    """true/false, yes/no or 1/0 in any case; None for an empty cell.

    Raises:
        Unreadable: It is another word.
    """
    value = cells[column]
    if value is None:
        return None
    if value.lower() not in _BOOLEANS:
        message = f"{column} {value!r} is neither true nor false"
        raise Unreadable(message)
    return _BOOLEANS[value.lower()]


def instant(cells: Cells, column: str) -> datetime | None:
    """An ISO 8601 date or time, UTC unless it has an offset; None for an empty cell.

    Raises:
        Unreadable: It is none.
    """
    value = cells[column]
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"{column} {value!r} is no ISO 8601 date or time"
        raise Unreadable(message) from None


def day(cells: Cells, column: str) -> date | None:
    """The UTC day of an ISO 8601 date or time; None for an empty cell."""
    found = instant(cells, column)
    return None if found is None else found.date()


def begin_of(value: date) -> datetime:
    """00:00 UTC of a day."""
    return datetime.combine(value, time(), UTC)


def end_of(value: date) -> datetime | None:
    """The instant at which a day that is included whole is over; None beyond the calendar."""
    return None if value >= date.max - _DAY else begin_of(value) + _DAY


def document(cells: Cells, column: str) -> Any:
    """A JSON document with exact numbers; None for an empty cell or `null`.

    Raises:
        Unreadable: It is no JSON, or an object holds a key twice.
    """
    value = cells[column]
    if value is None:
        return None
    try:
        found = json.loads(
            value,
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_repetition,
        )
        # A lone half of a surrogate pair is JSON, but no text that a database takes.
        json.dumps(found, ensure_ascii=False, default=str).encode()
    except (ValueError, RecursionError) as error:
        message = f"{column} is no valid JSON: {error}"
        raise Unreadable(message) from None
    if "\\u0000" in value:
        message = f"{column} holds a NUL character"
        raise Unreadable(message)
    return found


def mapping(cells: Cells, column: str) -> dict[str, Any]:
    """A JSON object; empty for an empty cell.

    Raises:
        Unreadable: It is no JSON or no object.
    """
    found = document(cells, column)
    if found is None:
        return {}
    if not isinstance(found, dict):
        message = f"{column} is no JSON object"
        raise Unreadable(message)
    return found


def words(cells: Cells, column: str) -> str | None:
    """A JSON list of texts, as JSON again; None for an empty cell.

    Raises:
        Unreadable: It is no JSON or no list of texts.
    """
    found = document(cells, column)
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        message = f"{column} is no JSON list of texts"
        raise Unreadable(message)
    return json.dumps(found, ensure_ascii=False)


def plain(value: Decimal | None) -> str | None:
    """A decimal as digits, for a numeric column."""
    return None if value is None else format(value, "f")


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is no number"
    raise ValueError(message)


def _refuse_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        message = "a key stands twice"
        raise ValueError(message)
    return found
