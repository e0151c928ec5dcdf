"""Amounts and dates read the same everywhere, with each currency's own decimals."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from leakage_pipeline.classification.wording import (
    money,
    percent,
    period,
    plural,
    quantity,
    readable,
)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("1234567.5", "usd", "$1,234,567.50"),
        ("5000", "jpy", "¥5,000"),
        ("12.3456", "kwd", "KWD\N{NO-BREAK SPACE}12.346"),
        ("-3", "eur", "\N{MINUS SIGN}€3.00"),
        ("0", "GBP", "£0.00"),
        ("0.005", "usd", "$0.01"),
        ("-0.001", "usd", "$0.00"),
    ],
)
def test_money_has_the_currency_s_decimals_and_thousands(
    amount: str, currency: str, text: str
) -> None:
    assert money(Decimal(amount), currency) == text


def test_an_amount_that_nobody_prices_is_not_zero() -> None:
    assert money(None, "usd") == "not priced"


def test_a_signed_amount_shows_its_plus() -> None:
    assert money(Decimal(3), "usd", sign=True) == "+$3.00"
    assert money(Decimal(0), "usd", sign=True) == "$0.00"


def test_quantities_lose_trailing_zeros_only() -> None:
    assert quantity(Decimal("500000.000")) == "500,000"
    assert quantity(Decimal("0.2500")) == "0.25"
    assert quantity(100) == "100"


def test_a_period_ends_on_its_last_day() -> None:
    month = (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
    assert period(*month) == "1 Oct \N{EN DASH} 31 Oct 2026"
    anchored = (
        datetime(2025, 12, 31, 14, 23, 7, tzinfo=UTC),
        datetime(2026, 1, 31, 14, 23, 7, tzinfo=UTC),
    )
    assert period(*anchored) == "31 Dec 2025 \N{EN DASH} 31 Jan 2026"


def test_shares_and_counts() -> None:
    assert percent(Decimal("0.1254")) == "12.5\N{NO-BREAK SPACE}%"
    assert plural(1, "customer") == "1 customer"
    assert plural(1204, "opportunity", "opportunities") == "1,204 opportunities"


def test_a_description_loses_the_seconds_of_its_period_and_no_number() -> None:
    text = (
        "500000 minutes used, 460000 metered in 2026-10-06 09:33:38 to 2026-11-06 09:33:38 UTC: "
        "4000.00 USD not billed since 2026-05-04 10:00:00 UTC."
    )
    assert readable(text) == (
        "500000 minutes used, 460000 metered: 4000.00 USD not billed since 4 May 2026."
    )
