"""What Stripe bills for a quantity, in exact decimals, written from Stripe's documentation.

The invoices and the known leaks of the simulated company come from here. The audit prices in SQL
and must never use this module, so that the two check each other.
"""

from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Literal

RateKind = Literal["per_unit", "package", "graduated", "volume"]

ZERO_DECIMAL_CURRENCIES = frozenset({"jpy", "krw", "vnd", "clp"})
"""Those of Stripe's zero-decimal currencies that a simulated company may sell in."""

ZERO = Decimal(0)
HUNDRED = Decimal(100)


@dataclass(frozen=True)
class Tier:
    """One tier: `up_to` is inclusive and None for the open last one; amounts in minor units."""

    up_to: int | None
    unit: Decimal = ZERO
    flat: Decimal | None = None


@dataclass(frozen=True)
class Rate:
    """The shape of a price: amounts in minor units of its currency, up to 12 decimals.

    `unit` prices one unit (per_unit) or one package of `divide_by` units (package); `tiers` rule
    the tiered kinds.
    """

    kind: RateKind
    unit: Decimal = ZERO
    tiers: tuple[Tier, ...] = ()
    divide_by: int = 1
    round_mode: Literal["up", "down"] = "up"


@dataclass(frozen=True)
class Charge:
    """One invoice line of a price: its quantity, its unit amount, its amount in minor units."""

    quantity: Decimal
    unit: Decimal | None
    amount: int


def per_unit(unit: str) -> Rate:
    """A rate per unit; `unit` in minor units."""
    return Rate("per_unit", Decimal(unit))


def package(unit: str, divide_by: int, round_mode: Literal["up", "down"] = "up") -> Rate:
    """A rate per package (Stripe's transform_quantity: divide, round, then price)."""
    return Rate("package", Decimal(unit), divide_by=divide_by, round_mode=round_mode)


def graduated(*tiers: tuple[int | None, str] | tuple[int | None, str, str]) -> Rate:
    """Graduated tiers, each `(up_to, unit)` or `(up_to, unit, flat)` in minor units."""
    return Rate("graduated", tiers=_tiers(tiers))


def volume(*tiers: tuple[int | None, str] | tuple[int | None, str, str]) -> Rate:
    """Volume tiers, each `(up_to, unit)` or `(up_to, unit, flat)` in minor units."""
    return Rate("volume", tiers=_tiers(tiers))


def _tiers(
    tiers: tuple[tuple[int | None, str] | tuple[int | None, str, str], ...],
) -> tuple[Tier, ...]:
    return tuple(
        Tier(entry[0], Decimal(entry[1]), Decimal(entry[2]) if len(entry) == 3 else None)  # noqa: PLR2004
        for entry in tiers
    )


def round_half_away(amount: Decimal) -> int:
    """Whole minor units, ties away from zero: how an ordinary invoice line is rounded."""
    return int(amount.to_integral_value(rounding=ROUND_HALF_UP))


def charges(rate: Rate, quantity: Decimal) -> list[Charge]:
    """The lines that Stripe writes for a metered quantity, each rounded by itself.

    A tiered price gives a unit line per tier in use and, when the price has flat amounts, a flat
    line of quantity 0 beside each. Quantity 0 still meets the first tier and its flat amount.
    """
    if rate.kind == "per_unit":
        return [Charge(quantity, rate.unit, round_half_away(quantity * rate.unit))]
    if rate.kind == "package":
        rounding = ROUND_CEILING if rate.round_mode == "up" else ROUND_FLOOR
        packages = (quantity / rate.divide_by).to_integral_value(rounding=rounding)
        return [Charge(quantity, rate.unit, round_half_away(packages * rate.unit))]
    slices = _graduated_slices if rate.kind == "graduated" else _volume_slice
    has_flats = any(tier.flat is not None for tier in rate.tiers)
    lines: list[Charge] = []
    for tier, part in slices(rate, quantity):
        lines.append(Charge(part, tier.unit, round_half_away(part * tier.unit)))
        if has_flats:
            lines.append(Charge(ZERO, None, round_half_away(tier.flat or ZERO)))
    return lines


def _graduated_slices(rate: Rate, quantity: Decimal) -> list[tuple[Tier, Decimal]]:
    lower = ZERO
    slices: list[tuple[Tier, Decimal]] = []
    for tier in rate.tiers:
        upper = quantity if tier.up_to is None else min(quantity, Decimal(tier.up_to))
        slices.append((tier, upper - lower))
        if tier.up_to is None or quantity <= tier.up_to:
            break
        lower = Decimal(tier.up_to)
    return slices


def _volume_slice(rate: Rate, quantity: Decimal) -> list[tuple[Tier, Decimal]]:
    for tier in rate.tiers:
        if tier.up_to is None or quantity <= tier.up_to:
            return [(tier, quantity)]
    message = "the last tier must be open"
    raise ValueError(message)


def exact_tiers(rate: Rate, quantity: Decimal) -> Fraction:
    """The sum over the tiers without any rounding, for what takes a share of it."""
    slices = _volume_slice if rate.kind == "volume" else _graduated_slices
    return sum(
        (
            Fraction(units) * Fraction(tier.unit) + Fraction(tier.flat or 0)
            for tier, units in slices(rate, quantity)
        ),
        Fraction(0),
    )


def amount(rate: Rate, quantity: Decimal) -> int:
    """The whole charge for a quantity in minor units: the sum of its rounded lines."""
    return sum(charge.amount for charge in charges(rate, quantity))


def overage_amount(rate: Rate, quantity: Decimal, free: Decimal) -> int:
    """The charge by contract terms: the rate counts from the first unit above the free ones."""
    billable = max(ZERO, quantity - free)
    if billable == 0 and free > 0:
        return 0
    return amount(rate, billable)


def free_quantity(included: int, grace_percent: Decimal) -> Decimal:
    """Included quantity plus its grace: the first x percent above it cost nothing."""
    return Decimal(included) * (1 + grace_percent / HUNDRED)


def with_included(rate: Rate, free: int) -> Rate:
    """The Stripe price of a rate that starts above `free` units: one more tier at 0 before it.

    Raises:
        ValueError: For a rate that Stripe cannot combine with free units.
    """
    if free == 0:
        return rate
    if rate.kind == "per_unit":
        return Rate("graduated", tiers=(Tier(free), Tier(None, rate.unit)))
    if rate.kind == "graduated":
        shifted = (
            replace(tier, up_to=None if tier.up_to is None else tier.up_to + free)
            for tier in rate.tiers
        )
        return Rate("graduated", tiers=(Tier(free), *shifted))
    message = f"Stripe has no {rate.kind} price with free units"
    raise ValueError(message)


def discount_share(amount_minor: int, percent: Decimal) -> int:
    """What a percent discount takes off one line, in minor units."""
    return round_half_away(amount_minor * percent / HUNDRED)


def proration(unit_minor: int, quantity: int, remaining_seconds: int, total_seconds: int) -> int:
    """A proration line: floor toward minus infinity of price x quantity x share of the period.

    The unused time of the old configuration is credited with a negative `unit_minor`.
    """
    return unit_minor * quantity * remaining_seconds // total_seconds


def exponent(currency: str) -> int:
    """Decimal places of the currency's minor unit."""
    return 0 if currency in ZERO_DECIMAL_CURRENCIES else 2


def to_minor(amount_major: Decimal, currency: str) -> int:
    """Currency units to minor units.

    Raises:
        ValueError: When the amount has a fraction of a minor unit.
    """
    scaled = amount_major.scaleb(exponent(currency))
    if scaled != scaled.to_integral_value():
        message = f"{amount_major} {currency} is no whole number of minor units"
        raise ValueError(message)
    return int(scaled)


def to_major(amount_minor: Decimal | int, currency: str) -> Decimal:
    """Minor units to currency units, exact."""
    return Decimal(amount_minor).scaleb(-exponent(currency))
