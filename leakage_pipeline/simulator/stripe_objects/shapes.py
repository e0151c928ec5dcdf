"""Pieces that several Stripe objects share: decimal text, embedded lists, discounts, taxes.

Builders of whole objects live in the modules beside this one; nothing here knows a server.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

API_VERSION = "2026-10-28.endive"

JsonObject = dict[str, Any]
Number = Decimal | int | str
DiscountShare = tuple[str, int]
"""Discount id and the amount it takes off, in minor units."""

MAX_DECIMAL_PLACES = 12  # of unit_amount_decimal, flat_amount_decimal and quantity_decimal


def decimal_text(value: Number) -> str:
    """Plain decimal text as Stripe writes it: no exponent, no trailing zeros, at most 12 places.

    Raises:
        TypeError: For a float, which has lost the exact number already.
        ValueError: For more than 12 decimal places.
    """
    if isinstance(value, float):
        message = f"{value!r} is a float; give an int, a Decimal or decimal text"
        raise TypeError(message)
    text = format(Decimal(value), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if len(text.partition(".")[2]) > MAX_DECIMAL_PLACES:
        message = f"{text} has more than {MAX_DECIMAL_PLACES} decimal places"
        raise ValueError(message)
    return "0" if text in {"", "-0"} else text


def whole(value: Number | None) -> int | None:
    """The value as an int, or None when it is none: `unit_amount` beside `unit_amount_decimal`."""
    if value is None:
        return None
    exact = Decimal(value)
    return int(exact) if exact == exact.to_integral_value() else None


def text_or_none(value: Number | None) -> str | None:
    """`decimal_text`, with None passed on."""
    return None if value is None else decimal_text(value)


def embedded_list(url: str, data: Iterable[JsonObject]) -> JsonObject:
    """A list object that holds everything; the server cuts it to one page when it answers."""
    return {"object": "list", "data": list(data), "has_more": False, "url": url}


def amounts_by_discount(shares: Iterable[DiscountShare]) -> list[JsonObject]:
    """`discount_amounts`: one entry per discount, amounts of the same discount added up."""
    totals: dict[str, int] = {}
    for discount_id, amount in shares:
        totals[discount_id] = totals.get(discount_id, 0) + amount
    return [{"amount": amount, "discount": key} for key, amount in totals.items()]


def pretax_credits(
    discounts: Sequence[JsonObject], credit_balance: Sequence[DiscountShare] = ()
) -> list[JsonObject]:
    """`pretax_credit_amounts`: the discounts, then what prepaid credits paid, one entry each."""
    from_discounts = [
        {"amount": d["amount"], "discount": d["discount"], "type": "discount"} for d in discounts
    ]
    from_credits = [
        {
            "amount": entry["amount"],
            "credit_balance_transaction": entry["discount"],
            "type": "credit_balance_transaction",
        }
        for entry in amounts_by_discount(credit_balance)
    ]
    return from_discounts + from_credits


def tax(
    amount: int,
    *,
    behavior: str = "exclusive",
    taxable_amount: int | None = None,
    tax_rate: str = "txr_simulated",
) -> JsonObject:
    """One entry of `taxes`; `behavior` is exclusive (on top) or inclusive (inside the amount)."""
    return {
        "amount": amount,
        "tax_behavior": behavior,
        "tax_rate_details": {"tax_rate": tax_rate},
        "taxability_reason": "standard_rated",
        "taxable_amount": taxable_amount,
        "type": "tax_rate_details",
    }


def sum_taxes(taxes: Iterable[JsonObject]) -> list[JsonObject]:
    """`total_taxes`: entries of the lines added up per rate and behaviour."""
    totals: dict[tuple[str, str], JsonObject] = {}
    for entry in taxes:
        key = (entry["tax_behavior"], entry["tax_rate_details"]["tax_rate"])
        if key not in totals:
            totals[key] = dict(entry)
            continue
        known = totals[key]
        known["amount"] += entry["amount"]
        if known["taxable_amount"] is not None and entry["taxable_amount"] is not None:
            known["taxable_amount"] += entry["taxable_amount"]
    return list(totals.values())


def tax_amount(taxes: Iterable[JsonObject], behavior: str) -> int:
    """Sum of the taxes with this behaviour, in minor units."""
    return sum(entry["amount"] for entry in taxes if entry["tax_behavior"] == behavior)


def nulls(*keys: str) -> JsonObject:
    """Keys that Stripe always sends and that a simulated company leaves empty."""
    return dict.fromkeys(keys)


def metadata_of(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """A copy of the metadata; Stripe sends an empty object, never null, on these objects."""
    return dict(metadata or {})


def id_of(reference: JsonObject | str) -> str:
    """The id of an object given whole or by id."""
    return reference if isinstance(reference, str) else str(reference["id"])
