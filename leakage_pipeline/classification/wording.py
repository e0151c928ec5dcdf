"""How amounts, quantities and dates read in every text that a person sees.

Only text is made here: nothing computes with what these functions return. Exponents are Stripe's,
not ISO's (an Icelandic krona has two decimals in Stripe's API).
"""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

_ZERO_DECIMAL = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split()  # noqa: SIM905
)
_THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "inr": "₹", "krw": "₩"}

_INSTANT = r"(\d{4}-\d\d-\d\d) \d\d:\d\d:\d\d"
_PERIOD_PHRASE = re.compile(rf" (?:in|for) {_INSTANT} to {_INSTANT} UTC")
_SINGLE_INSTANT = re.compile(rf"{_INSTANT}(?: UTC)?")

MINUS = "\N{MINUS SIGN}"
NARROW_SPACE = "\N{NO-BREAK SPACE}"


def exponent(currency: str) -> int:
    """Return how many decimals amounts of this currency have in Stripe: 0, 2 or 3."""
    code = currency.lower()
    if code in _ZERO_DECIMAL:
        return 0
    return 3 if code in _THREE_DECIMAL else 2


def round_to_currency(amount: Decimal, currency: str) -> Decimal:
    """Round to the currency's decimals, half away from zero, for showing only."""
    return amount.quantize(Decimal(1).scaleb(-exponent(currency)), rounding=ROUND_HALF_UP)


def money(amount: Decimal | None, currency: str | None, *, sign: bool = False) -> str:
    """Write an amount in currency units, such as `$1,234.50`, `¥5,000` or `CHF 12.00`.

    Args:
        amount: Currency units (not cents); None when nobody prices it.
        currency: Lower or upper case ISO code.
        sign: Put a plus sign before positive amounts too.

    Returns:
        Text with thousands separators; `not priced` for None.
    """
    if amount is None or currency is None:
        return "not priced"
    rounded = round_to_currency(amount, currency)
    digits = f"{abs(rounded):,.{exponent(currency)}f}"
    symbol = _SYMBOLS.get(currency.lower())
    text = f"{symbol}{digits}" if symbol else f"{currency.upper()}{NARROW_SPACE}{digits}"
    if rounded < 0:
        return MINUS + text
    return f"+{text}" if sign and rounded > 0 else text


def quantity(value: Decimal | int) -> str:
    """Write a quantity with thousands separators and without trailing zeros: `1,250.5`."""
    number = Decimal(value)
    whole = number == number.to_integral_value()
    text = f"{number:,.0f}" if whole else f"{number.normalize():,f}"
    return text.replace("-", MINUS)


def percent(share: Decimal) -> str:
    """Write a share of one as a percentage with at most one decimal: 0.125 is `12.5 %`."""
    value = (share * 100).quantize(Decimal("0.1"), rounding=ROUND_HALF_UP)
    text = f"{value:f}".removesuffix(".0")
    return f"{text.replace('-', MINUS)}{NARROW_SPACE}%"


def day(moment: datetime | date) -> str:
    """Write a UTC day: `4 May 2026`."""
    if isinstance(moment, datetime):
        moment = moment.astimezone(UTC).date()
    return f"{moment.day} {moment:%b %Y}"


def period(start: datetime | None, end: datetime | None) -> str:
    """Write a half-open period with its last day included, as an invoice does.

    A period that ends at midnight ends, for a reader, on the day before.
    """
    if start is None or end is None:
        return ""
    last = (end - timedelta(microseconds=1)).astimezone(UTC)
    first = start.astimezone(UTC)
    if first.date() == last.date():
        return day(first)
    if first.year == last.year:
        return f"{first.day} {first:%b} \N{EN DASH} {day(last)}"
    return f"{day(first)} \N{EN DASH} {day(last)}"


def instant(moment: datetime) -> str:
    """Write an instant to the minute: `22 Nov 2026, 06:00 UTC`."""
    return f"{day(moment)}, {moment.astimezone(UTC):%H:%M} UTC"


def plural(count: int, singular: str, plural_form: str | None = None) -> str:
    """Write a count with its noun: `1 customer`, `1,204 customers`."""
    return f"{count:,} {singular if count == 1 else plural_form or singular + 's'}"


def readable(description: str) -> str:
    """Write a finding's description for a page that shows its period anyway.

    The period to the second is left out; any other instant becomes its day. Numbers stay.
    """
    text = _PERIOD_PHRASE.sub("", description)
    return _SINGLE_INSTANT.sub(lambda match: day(date.fromisoformat(match.group(1))), text)
