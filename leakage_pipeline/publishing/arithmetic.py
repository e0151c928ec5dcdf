"""The arithmetic of a finding as a person can check it: charges with amounts, or facts.

Evidence of bridge findings holds `charges`, one entry per charge of the period; other findings hold
plain facts. Ids are left to the links.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from leakage_pipeline.classification.evidence import STRIPE_ID
from leakage_pipeline.classification.wording import MINUS, day, money, quantity, round_to_currency

_ID_KEY = re.compile(r"(^|_)ids?$")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")
_NUMERIC = re.compile(r"-?\d+(\.\d+)?")
_MONEY_KEY = re.compile(
    r"(amount|_price|_fee|_net|_gross|_total|shortfall|commitment)$|^(price|fee|line_discount)$"
)
_UNIT_PRICE_KEY = re.compile(r"(^|_)(unit|rate)(_|$)")
_PERCENT_KEY = re.compile(r"(^|_)(pct|percent)(_|$)")
_LABELS = {
    "authority": "Price taken from",
    "covering_plan": "Cheapest plan with all features",
    "covering_plan_price": "Its list price",
    "features_enabled": "Features switched on",
    "features_of_plan": "Features of the plan",
    "plan_price": "List price of the plan",
    "account_updated_at": "Account last changed",
    "subscription_ended_at": "Subscription ended",
    "threshold_min": "Discount needs at least",
    "threshold_quantity": "Quantity reached",
    "contract_reason": "Reason of the discount",
}
_LEFT_OUT = frozenset({"charges", "doubts", "reason", "meter", "intervals", "account_updated_at"})
_CHARGE_NAMES = {"fee": "Licence", "proration": "Proration"}
_AUTHORITIES = {
    "contract": "by the contract",
    "price_book": "by the price book",
    "stripe": "by Stripe's own price",
}
_PACKAGE_ROUNDINGS = {"up": ", started ones count", "down": ", full ones count"}
MAX_FACTS = 8
MAX_CHARGES = 5
_MAX_TEXT = 70


@dataclass(frozen=True)
class ChargeLine:
    """One charge of a period: what should have been billed, what was, and the difference."""

    charge_id: str
    name: str
    quantity: str
    expected: str
    billed: str
    difference: str


def charge_lines(
    evidence: Mapping[str, Any], meter: str | None, currency: str | None
) -> list[ChargeLine]:
    """Return the charges in the evidence, those that differ first, at most five."""
    charges = [item for item in evidence.get("charges") or [] if isinstance(item, Mapping)]
    # Several components may each bring their list of charges.
    for nested in evidence.get("charges") or []:
        if isinstance(nested, list):
            charges.extend(item for item in nested if isinstance(item, Mapping))
    # A meter that was not used and not billed explains nothing.
    charges = [c for c in charges if _decimal(c, "expected_net") or _decimal(c, "billed_net")]
    ordered = sorted(charges, key=lambda charge: (_difference(charge) == 0, _identity(charge)))
    return [_charge_line(charge, meter, currency) for charge in ordered[:MAX_CHARGES]]


def facts(evidence: Mapping[str, Any], currency: str | None) -> list[tuple[str, str]]:
    """Return label and value of up to eight plain facts, in the order the evidence holds them."""
    return list(_facts(evidence, currency))[:MAX_FACTS]


def label(key: str) -> str:
    """Turn `discount_percent_billed` into `Discount percent billed`."""
    if key in _LABELS:
        return _LABELS[key]
    text = " ".join(word for word in key.split("_") if word)
    return text[:1].upper() + text[1:]


def calculation(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write rows of `marts.fct_charge_calculation` as sums: `75 x 5.00 USD = $375.00`.

    What is free and what counts as a package comes first, on a line of its own.

    Args:
        rows: Rows of one charge, ordered by tier.
    """
    tiers = [_calculation_line(row) for row in rows if row["units"] or row["flat_amount"]]
    return [*(_billable_line(row) for row in rows[:1] if _has_steps_before(row)), *tiers]


def price_from(charges: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """Say whose terms rule these charges, when they are the same for all: `by the contract`."""
    authorities = {row["authority"] for rows in charges for row in rows}
    return _AUTHORITIES.get(authorities.pop(), "") if len(authorities) == 1 else ""


def _has_steps_before(row: Mapping[str, Any]) -> bool:
    return bool(row["included_quantity"]) or row["package_size"] not in (None, 1)


def _billable_line(row: Mapping[str, Any]) -> str:
    """Write `25,000 - 10,000 included = 15,000; in packages of 1,000, started ones count: 15`."""
    text = quantity(row["quantity"])
    if row["included_quantity"]:
        text += f" {MINUS} {quantity(row['included_quantity'])} included"
        if row["grace_percent"]:
            grace = row["included_quantity"] * row["grace_percent"] / 100
            text += f" {MINUS} {quantity(grace)} grace"
        if not row["quantity_above"]:
            return f"{text}: nothing above"
        text += f" = {quantity(row['quantity_above'])}"
    if row["package_size"] not in (None, 1):
        text += f"; in packages of {quantity(row['package_size'])}"
        text += _PACKAGE_ROUNDINGS.get(str(row["package_rounding"]), "")
        text += f": {_units(row['rated_quantity'])}"
    return text


def _calculation_line(row: Mapping[str, Any]) -> str:
    currency = str(row["currency"])
    parts: list[str] = []
    if row["units"]:
        unit = _unit(row["unit_amount"], currency)
        parts.append(f"{_units(row['units'])} \N{MULTIPLICATION SIGN} {unit}{_factors(row)}")
    if row["flat_amount"]:
        parts.append(f"{money(row['flat_amount'], currency)} flat{_factors(row)}")
    text = f" {MINUS if row['sign'] < 0 else '+'} ".join(parts)
    if row["sign"] < 0:
        text = f"{MINUS}{text}"
    down = ", rounded down" if row["rounding_rule"].startswith("down") else ""
    return f"{text} = {money(row['amount'], currency)}{down}"


def _factors(row: Mapping[str, Any]) -> str:
    """What else a price is multiplied with: intervals, a discount inside, a share of the period."""
    factors = ""
    if row["multiplier"] not in (None, 1):
        factors += f" \N{MULTIPLICATION SIGN} {_ratio(row['multiplier'])}"
    if row["discount_inside_percent"]:
        left = 100 - row["discount_inside_percent"]
        factors += f" \N{MULTIPLICATION SIGN} {quantity(left)} %"
    if row["share_seconds"] != row["full_seconds"]:
        share = f"{quantity(row['share_seconds'])} of {quantity(row['full_seconds'])} seconds"
        factors += f" \N{MULTIPLICATION SIGN} {share}"
    return factors


def _units(units: Decimal) -> str:
    """Units of a tier; a package in parts may have endless digits."""
    return quantity(round(units, 6))


def _ratio(multiplier: Decimal) -> str:
    """Intervals in an interval, exactly: a yearly price has a twelfth for each month."""
    exact = Fraction(multiplier).limit_denominator(12)
    return quantity(multiplier) if exact == Fraction(multiplier) else str(exact)


def _unit(amount: Decimal, currency: str) -> str:
    """Write a unit price exactly: it may be a fraction of a cent, and rounding breaks the sum."""
    if round_to_currency(amount, currency) == amount:
        return money(amount, currency)
    return f"{amount.normalize():,f} {currency.upper()}"


def _charge_line(charge: Mapping[str, Any], meter: str | None, currency: str | None) -> ChargeLine:
    kind = str(charge.get("kind") or "charge")
    name = _CHARGE_NAMES.get(kind, f"Usage of {meter}" if meter and kind == "usage" else kind)
    expected, billed = _decimal(charge, "expected_net"), _decimal(charge, "billed_net")
    discount = _decimal(charge, "discount_percent_billed")
    if discount:
        name += f", {quantity(discount)}\N{NO-BREAK SPACE}% discount"
    return ChargeLine(
        charge_id=_identity(charge),
        name=name[:1].upper() + name[1:],
        quantity=_quantities(charge),
        expected=money(expected, currency),
        billed=money(billed, currency),
        difference=money(_difference(charge), currency),
    )


def _quantities(charge: Mapping[str, Any]) -> str:
    expected, billed = charge.get("expected_quantity"), charge.get("billed_quantity")
    shown = [quantity(Decimal(q)) for q in (expected, billed) if isinstance(q, int | Decimal)]
    if not shown:
        return ""
    return shown[0] if len(set(shown)) == 1 else f"{shown[0]} used, {shown[1]} billed"


def _identity(charge: Mapping[str, Any]) -> str:
    return str(charge.get("charge_id") or "")


def _difference(charge: Mapping[str, Any]) -> Decimal:
    return (_decimal(charge, "expected_net") or Decimal(0)) - (
        _decimal(charge, "billed_net") or Decimal(0)
    )


def _decimal(charge: Mapping[str, Any], key: str) -> Decimal | None:
    value = charge.get(key)
    return Decimal(value) if isinstance(value, int | Decimal) else None


def _facts(evidence: Mapping[str, Any], currency: str | None) -> Iterator[tuple[str, str]]:
    for key, value in evidence.items():
        text = None if key in _LEFT_OUT or _ID_KEY.search(key) else _text(key, value, currency)
        if text:
            yield label(key), text


def _text(key: str, value: Any, currency: str | None) -> str | None:
    if value is None or isinstance(value, Mapping):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | Decimal):
        return _number(key, Decimal(value), currency)
    if isinstance(value, str):
        return _string(key, value, currency)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(item for item in value if not STRIPE_ID.fullmatch(item))[:_MAX_TEXT]
    return None


def _number(key: str, value: Decimal, currency: str | None) -> str:
    if _PERCENT_KEY.search(key):
        return f"{quantity(value)}\N{NO-BREAK SPACE}%"
    if currency and _UNIT_PRICE_KEY.search(key):
        return _unit(value, currency)
    return money(value, currency) if currency and _MONEY_KEY.search(key) else quantity(value)


def _string(key: str, value: str, currency: str | None) -> str | None:
    text = " ".join(value.split())
    if not text or STRIPE_ID.fullmatch(text):
        return None
    if _DATE.fullmatch(text):
        return _day(text)
    if _NUMERIC.fullmatch(text):
        return _number(key, Decimal(text), currency)
    return text.replace("_", " ")[:_MAX_TEXT] if key == "authority" else text[:_MAX_TEXT]


def _day(text: str) -> str:
    try:
        return day(datetime.fromisoformat(text))
    except ValueError:
        return text
