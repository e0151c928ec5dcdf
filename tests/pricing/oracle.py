"""What a price gives for a quantity, written from Stripe's documentation and never from the SQL.

Amounts are currency units as Decimal; inside, fractions are exact, so that a tie is a tie. Sources:
docs.stripe.com/products-prices/pricing-models (per unit, packages, tiers, flat fees),
/billing/subscriptions/prorations and recorded proration lines (floor), /billing/subscriptions/
coupons (percent and amount off), /currencies (zero and three decimals). Included quantity, grace
and minimum are the contract's own and stand in docs/billing-model.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Literal

Kind = Literal["per_unit", "package", "graduated", "volume"]
RoundMode = Literal["up", "down", "none"]

ZERO = Decimal(0)
ONE = Fraction(1)

# docs.stripe.com/currencies: amounts without decimals, and with three of which the last is 0.
ZERO_DECIMAL = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split()  # noqa: SIM905
)
THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


@dataclass(frozen=True)
class Currency:
    """A currency's minor unit: `exponent` decimals, charged in steps of `step` minor units."""

    code: str

    @property
    def exponent(self) -> int:
        """Decimals of the minor unit."""
        return 0 if self.code in ZERO_DECIMAL else 3 if self.code in THREE_DECIMAL else 2

    @property
    def step(self) -> Fraction:
        """The smallest amount that can be charged, in currency units."""
        return Fraction(10 if self.code in THREE_DECIMAL else 1, 10**self.exponent)

    def nearest(self, amount: Fraction) -> Decimal:
        """Half away from zero to the smallest charge: how an ordinary line is rounded."""
        steps = floor(abs(amount) / self.step + Fraction(1, 2))
        return self._decimal(steps if amount >= 0 else -steps)

    def floored(self, amount: Fraction) -> Decimal:
        """Toward minus infinity: how a proration line is rounded (recorded: -2.5 gives -3)."""
        return self._decimal(floor(amount / self.step))

    def minor(self, amount: Decimal) -> int:
        """The amount as the integer that Stripe sends."""
        scaled = amount.scaleb(self.exponent)
        if scaled != scaled.to_integral_value():
            message = f"{amount} {self.code} is no whole minor unit"
            raise ValueError(message)
        return int(scaled)

    def _decimal(self, steps: int) -> Decimal:
        minor = steps * self.step * 10**self.exponent
        return Decimal(int(minor)).scaleb(-self.exponent)


@dataclass(frozen=True)
class Tier:
    """`up_to` is inclusive, None for the open last tier; amounts in currency units."""

    up_to: Decimal | None
    unit_amount: Decimal = ZERO
    flat_amount: Decimal = ZERO


@dataclass(frozen=True)
class Price:
    """How a quantity becomes money. Per unit and package have one open tier.

    A package divides the quantity by `divide_by` and rounds it before the price applies
    (transform_quantity); Stripe does not combine that with tiers.
    """

    kind: Kind
    tiers: tuple[Tier, ...]
    divide_by: Decimal | None = None
    round_mode: RoundMode = "up"


@dataclass(frozen=True)
class Part:
    """What one tier adds: units at its unit amount, and its flat fee; not rounded."""

    tier_index: int
    units: Fraction
    unit_amount: Fraction
    flat_amount: Fraction

    @property
    def exact(self) -> Fraction:
        """Both together, unrounded."""
        return self.units * self.unit_amount + self.flat_amount


@dataclass(frozen=True)
class Terms:
    """A price with what an agreement adds to it."""

    price: Price
    included: Decimal = ZERO
    grace_percent: Decimal = ZERO


def per_unit(unit_amount: Decimal | str) -> Price:
    """So much for each unit."""
    return Price("per_unit", (Tier(None, Decimal(unit_amount)),))


def package(amount: Decimal | str, divide_by: Decimal | str, round_mode: RoundMode = "up") -> Price:
    """So much for each package of `divide_by` units."""
    return Price("package", (Tier(None, Decimal(amount)),), Decimal(divide_by), round_mode)


def billable(terms: Terms, quantity: Decimal) -> Fraction:
    """Units or packages that the tiers apply to: first what is free, then the division.

    The grace widens the included quantity: 10,000 with 5 % leaves 10,500 free.
    """
    free = Fraction(terms.included) * (1 + Fraction(terms.grace_percent) / 100)
    left = max(Fraction(0), Fraction(quantity) - free)
    if terms.price.divide_by is None:
        return left
    packages = left / Fraction(terms.price.divide_by)
    if terms.price.round_mode == "none":
        return packages
    return Fraction(ceil(packages) if terms.price.round_mode == "up" else floor(packages))


def parts(terms: Terms, quantity: Decimal) -> list[Part]:
    """The tiers that a quantity reaches.

    Graduated: each tier prices its own slice and its fee is due once the slice is entered. Volume:
    the tier that holds the quantity prices all of it. The first tier's fee is due at zero too,
    unless an included quantity stands before it (docs/billing-model.md).
    """
    units = billable(terms, quantity)
    if terms.price.kind == "volume":
        index, tier = next(
            (index, tier)
            for index, tier in enumerate(terms.price.tiers)
            if tier.up_to is None or units <= Fraction(tier.up_to)
        )
        owed = units > 0 or terms.included == 0
        return [_part(index, tier, units, is_fee_due=owed)]
    found = []
    below = Fraction(0)
    for index, tier in enumerate(terms.price.tiers):
        if units <= below and index > 0:
            break
        top = units if tier.up_to is None else min(units, Fraction(tier.up_to))
        owed = units > below or terms.included == 0
        found.append(_part(index, tier, top - below, is_fee_due=owed))
        below = top if tier.up_to is None else Fraction(tier.up_to)
    return found


def _part(index: int, tier: Tier, units: Fraction, *, is_fee_due: bool) -> Part:
    fee = Fraction(tier.flat_amount) if is_fee_due else Fraction(0)
    return Part(index, units, Fraction(tier.unit_amount), fee)


def exact(terms: Terms, quantity: Decimal) -> Fraction:
    """The amount before any rounding."""
    return sum((part.exact for part in parts(terms, quantity)), Fraction(0))


def rate(
    terms: Terms,
    quantity: Decimal,
    currency: Currency,
    *,
    share: Fraction = ONE,
    intervals: Fraction = ONE,
    is_credit: bool = False,
    is_floored: bool = False,
    by_line: bool = False,
) -> Decimal:
    """The amount as invoice lines give it: each tier's units and each fee rounded by itself.

    Args:
        terms: Price, and what is free before it.
        quantity: Units of the whole period.
        currency: Rounds the components.
        share: Part of the period that is charged.
        intervals: Intervals of the price in the period: a twelfth of a yearly price for a month.
        is_credit: Whether the old configuration is given back.
        is_floored: Whether proration rounds it: the share of the whole fee, once.
        by_line: Whether proration gives back each line of the fee by itself.
    """
    factor = share * (-1 if is_credit else 1)
    lines = [
        amount * intervals
        for part in parts(terms, quantity)
        for amount in (part.units * part.unit_amount, part.flat_amount)
    ]
    if by_line:
        charged = [Fraction(currency.nearest(line)) for line in lines]
        return sum((currency.floored(line * factor) for line in charged), ZERO)
    if is_floored:
        return currency.floored(sum(lines, Fraction(0)) * factor)
    return sum((currency.nearest(line * factor) for line in lines), ZERO)


def change(
    old: Terms,
    old_quantity: Decimal,
    new: Terms,
    new_quantity: Decimal,
    currency: Currency,
    remaining: Fraction,
) -> tuple[Decimal, Decimal]:
    """Credit of the old configuration and debit of the new one for what remains of the period.

    Recorded from Stripe: 10.00 to 18.00 with 1/400 left is -0.03 and +0.04; one to three at 10.00
    is -0.03 and +0.07. Each configuration stands whole, never the difference between them.
    """
    credit = rate(old, old_quantity, currency, share=remaining, is_credit=True, is_floored=True)
    debit = rate(new, new_quantity, currency, share=remaining, is_floored=True)
    return credit, debit


def with_minimum(net: Decimal, minimum: Decimal) -> Decimal:
    """A period's charges, filled up to the least that is agreed."""
    return max(net, minimum)


@dataclass(frozen=True)
class Coupon:
    """Percent off, or an amount off in currency units."""

    percent_off: Decimal | None = None
    amount_off: Decimal | None = None


def discounts(
    lines: Sequence[Decimal], coupons: Sequence[Coupon], currency: Currency
) -> list[list[Decimal]]:
    """What each coupon takes off each line, in the order in which Stripe applies them.

    A percent is of what the coupons before it left. An amount is spread over the lines by what is
    left on them, rounded down, the rest on the last line (5.00 over 10.00 and 20.00 is 1.66 and
    3.34), and never takes more than there is.

    Returns:
        A list per coupon with an amount per line.
    """
    left = list(lines)
    taken: list[list[Decimal]] = []
    for coupon in coupons:
        if coupon.percent_off is not None:
            share = Fraction(coupon.percent_off) / 100
            amounts = [currency.nearest(Fraction(amount) * share) for amount in left]
        else:
            amounts = _spread(coupon.amount_off or ZERO, left, currency)
        left = [amount - off for amount, off in zip(left, amounts, strict=True)]
        taken.append(amounts)
    return taken


def _spread(amount_off: Decimal, left: Sequence[Decimal], currency: Currency) -> list[Decimal]:
    total = sum(left, ZERO)
    off = min(amount_off, total)
    if not total:
        return [ZERO for _ in left]
    shares = [
        currency.floored(Fraction(off) * Fraction(amount) / Fraction(total)) for amount in left
    ]
    last = max(index for index, amount in enumerate(left) if amount)
    shares[last] += off - sum(shares, ZERO)
    return shares
