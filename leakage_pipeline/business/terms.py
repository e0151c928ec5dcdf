"""Reads what a contract or list row says of each meter: what is included and what more costs.

Pure: from the cells of a row to rows of term_meters and term_tiers. A rate of a shape that is not
known makes the row unreadable; it is never taken for 0.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from leakage_pipeline.business import values
from leakage_pipeline.business.values import Cells, Unreadable

PACKAGE = "package"
_ROUNDINGS = ("up", "down", "none")
_MODES = ("graduated", "volume")
_ONE = Decimal(1)
_ZERO = Decimal(0)
# The shorthand: `api_calls_per_1000` is a price per started 1000 of `api_calls`.
_PER = re.compile(r"(?P<meter>.+)_per_(?P<per>[1-9][0-9]*)")


@dataclass(frozen=True)
class Tier:
    """A step of a rate: up to which billable quantity (None: no end), and what it costs."""

    up_to: Decimal | None
    unit_amount: Decimal
    flat_amount: Decimal = _ZERO


@dataclass(frozen=True)
class Rate:
    """What usage above the included quantity costs, in currency units.

    Attributes:
        kind: package (one open tier, the price of one package), graduated or volume.
        tiers: Ascending, the last one open.
        divide_by: Units in a package; None for tiers.
        round_mode: How a package that is begun counts; None for tiers.
    """

    kind: str
    tiers: tuple[Tier, ...]
    divide_by: Decimal | None = None
    round_mode: str | None = None


@dataclass(frozen=True)
class MeterTerm:
    """The terms of one meter; what is None is not said."""

    meter: str
    included: Decimal | None
    rate: Rate | None


def meter_terms(cells: Cells) -> list[MeterTerm]:
    """What `included_usage` and `overage_rates` say, by meter.

    Raises:
        Unreadable: One of them is no JSON, negative, contradictory or of an unknown shape.
    """
    included = {
        meter: values.number(quantity, f"included_usage.{meter}")
        for meter, quantity in values.mapping(cells, "included_usage").items()
        if quantity is not None
    }
    rates: dict[str, Rate] = {}
    for meter, rate in _rates(values.mapping(cells, "overage_rates")):
        if meter in rates:
            message = f"overage_rates gives {meter} two rates"
            raise Unreadable(message)
        rates[meter] = rate
    meters = sorted({*included, *rates})
    if any(not meter.strip() for meter in meters):
        message = "included_usage or overage_rates names an empty meter"
        raise Unreadable(message)
    return [MeterTerm(meter, included.get(meter), rates.get(meter)) for meter in meters]


def _rates(document: dict[str, Any]) -> Iterator[tuple[str, Rate]]:
    for key, value in document.items():
        if value is None:
            continue
        if isinstance(value, dict):
            yield key, _rate(value, f"overage_rates.{key}")
            continue
        shorthand = _PER.fullmatch(key)
        price = values.number(value, f"overage_rates.{key}")
        if shorthand:
            yield shorthand["meter"], _package(price, Decimal(shorthand["per"]), "up")
        else:
            yield key, _package(price, _ONE, "none")


def _rate(value: dict[str, Any], what: str) -> Rate:
    if "price" in value:
        _only(value, {"price", "per", "rounding"}, what)
        per = values.number(value["per"], f"{what}.per") if "per" in value else _ONE
        if not per:
            message = f"{what}.per is 0"
            raise Unreadable(message)
        # Whoever names a package means a started one; a bare price is per unit, exactly.
        rounding = value.get("rounding", "up" if "per" in value else "none")
        if rounding not in _ROUNDINGS:
            message = f"{what}.rounding {rounding!r} is none of {', '.join(_ROUNDINGS)}"
            raise Unreadable(message)
        return _package(values.number(value["price"], f"{what}.price"), per, rounding)
    if "tiers" in value:
        _only(value, {"tiers_mode", "tiers"}, what)
        mode = value.get("tiers_mode")
        if mode not in _MODES:
            message = f"{what}.tiers_mode {mode!r} is none of {', '.join(_MODES)}"
            raise Unreadable(message)
        return Rate(str(mode), _tiers(value["tiers"], f"{what}.tiers"))
    message = f"{what} has an unknown shape: it needs price or tiers"
    raise Unreadable(message)


def _package(price: Decimal, per: Decimal, rounding: str) -> Rate:
    return Rate(PACKAGE, (Tier(None, price),), per, rounding)


def _tiers(value: object, what: str) -> tuple[Tier, ...]:
    if not isinstance(value, list) or not value:
        message = f"{what} is no list of tiers"
        raise Unreadable(message)
    tiers = tuple(_tier(item, f"{what}[{index}]") for index, item in enumerate(value))
    bounds = [tier.up_to for tier in tiers]
    if bounds[-1] is not None or None in bounds[:-1]:
        message = f"{what}: the last tier, and no other, must be open (up_to null)"
        raise Unreadable(message)
    closed = [bound for bound in bounds if bound is not None]
    if any(low >= high for low, high in zip([_ZERO, *closed], closed, strict=False)):
        message = f"{what}: up_to must ascend from above 0"
        raise Unreadable(message)
    return tiers


def _tier(value: object, what: str) -> Tier:
    if not isinstance(value, dict):
        message = f"{what} is no JSON object"
        raise Unreadable(message)
    _only(value, {"up_to", "unit_amount", "flat_amount"}, what)
    unit, flat = value.get("unit_amount"), value.get("flat_amount")
    if unit is None and flat is None:
        message = f"{what} has neither unit_amount nor flat_amount"
        raise Unreadable(message)
    up_to = value.get("up_to")
    return Tier(
        None if up_to is None or up_to == "inf" else values.number(up_to, f"{what}.up_to"),
        _ZERO if unit is None else values.number(unit, f"{what}.unit_amount"),
        _ZERO if flat is None else values.number(flat, f"{what}.flat_amount"),
    )


def _only(value: dict[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(set(value) - known)
    if unknown:
        message = f"{what} has an unknown shape: {', '.join(unknown)} is not known"
        raise Unreadable(message)


def rows_of(
    kind: str, term_id: str, terms: list[MeterTerm]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of term_meters and of term_tiers.

    Args:
        kind: contract or price_book.
        term_id: The contract's or list row's id.
        terms: From `meter_terms`.
    """
    meters, tiers = [], []
    for term in terms:
        key = {"term_kind": kind, "term_id": term_id, "meter": term.meter}
        rate = term.rate
        meters.append(
            {
                **key,
                "included_quantity": values.plain(term.included),
                "has_rate": rate is not None,
                "rate_kind": rate and rate.kind,
                "divide_by": values.plain(rate.divide_by) if rate else None,
                "round_mode": rate and rate.round_mode,
            }
        )
        tiers += [
            {
                **key,
                "tier_index": index,
                "up_to": values.plain(tier.up_to),
                "unit_amount": values.plain(tier.unit_amount),
                "flat_amount": values.plain(tier.flat_amount),
            }
            for index, tier in enumerate(rate.tiers if rate else ())
        ]
    return meters, tiers
