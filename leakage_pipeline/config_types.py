"""Types of configuration values: strict models, currencies, instants, amounts.

No key of leakage.yaml is named here; `settings.py` and `policy.py` own them.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_CURRENCY_LENGTH = 3


class StrictModel(BaseModel):
    """Refuses keys that it does not know, and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


def _currency(value: str) -> str:
    if len(value) != _CURRENCY_LENGTH or not value.isascii() or not value.isalpha():
        message = "must be a currency code of three letters, such as usd"
        raise ValueError(message)
    return value.lower()


def _variable_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        message = "must be the NAME of an environment variable that holds the address"
        raise ValueError(message)
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        message = "must be a time zone such as UTC or Europe/Berlin"
        raise ValueError(message) from None
    return value


def _instant(value: object) -> object:
    """Read an ISO 8601 instant; without an offset it is UTC."""
    if not isinstance(value, str):
        return value
    return parse_instant(value)


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 date or instant; without an offset it is UTC.

    Raises:
        ValueError: The text is no such instant.
    """
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError as error:
        message = "must be a date or time such as 2026-01-31 or 2026-01-31T06:00:00Z"
        raise ValueError(message) from error
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        message = "must be a number"
        raise ValueError(message)  # noqa: TRY004 - pydantic turns only ValueError into its own error
    return value


Text = Annotated[str, Field(min_length=1)]
Currency = Annotated[str, AfterValidator(_currency)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
Instant = Annotated[datetime, BeforeValidator(_instant)]
Count = Annotated[int, BeforeValidator(_no_bool)]
Amount = Annotated[Decimal, BeforeValidator(_no_bool), Field(ge=0, allow_inf_nan=False)]
TimeZone = Annotated[str, AfterValidator(_timezone)]
