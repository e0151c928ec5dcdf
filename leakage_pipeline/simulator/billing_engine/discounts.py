"""What discounts take off invoice lines, and what is left of a price for a proration.

Percents stack in the order of the discounts, each on what the ones before it left. An amount is
split in proportion: floor for every line, the rest to the last (5.00 over 10 and 20: 1.66, 3.34).
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from leakage_pipeline.simulator.billing_engine.ledger import (
    ActiveDiscount,
    Item,
    Line,
    Subscription,
)
from leakage_pipeline.simulator.billing_engine.prices import rounding_unit
from leakage_pipeline.simulator.pricing import HUNDRED, exact_tiers, round_half_away


def take_off(
    lines: Sequence[Line], discounts: Sequence[ActiveDiscount], at: int, unit: int
) -> None:
    """Discount the lines of an invoice made at this second; prorations are not discountable."""
    for active in discounts:
        if not active.applies(at):
            continue
        wanted = [
            line
            for line in lines
            if line.kind != "proration" and line.is_discountable and line.net > 0
        ]
        if active.item_id is not None:
            wanted = [line for line in wanted if line.item_id == active.item_id]
        shares = _shares([line.net for line in wanted], active, unit)
        for line, share in zip(wanted, shares, strict=True):
            if share:
                line.off.append((active.discount.discount_id, share))
        if active.discount.coupon.duration == "once" and any(shares):
            active.used_at = at


def _shares(nets: Sequence[int], active: ActiveDiscount, unit: int) -> list[int]:
    coupon = active.discount.coupon
    if coupon.percent_off is not None:
        return [round_half_away(net * coupon.percent_off / HUNDRED / unit) * unit for net in nets]
    total = sum(nets)
    if not total:
        return []
    amount = min(coupon.amount_off or 0, total)
    shares = [amount * net // total for net in nets[:-1]]
    return [*shares, amount - sum(shares)]


def exact_gross(item: Item, currency: str) -> Fraction:
    """The full period's fee of an item in minor units, not rounded, whatever tiers it has."""
    rate = item.price.rate_in(currency)
    if rate.kind == "per_unit":
        return Fraction(rate.unit) * Fraction(item.units)
    if rate.kind == "package":
        return Fraction(item.price.gross(item.units, currency))
    return exact_tiers(rate, item.units)


def in_force(sub: Subscription, item: Item, at: int) -> list[ActiveDiscount]:
    """The discounts that count for an item at this second."""
    return [
        active
        for active in sub.discounts
        if active.applies(at) and active.item_id in {None, item.item_id}
    ]


def last_used(sub: Subscription, item: Item) -> list[ActiveDiscount]:
    """The discounts that the item's last charge was made with: what classic credits go by."""
    used = item.debits[-1].used if item.debits else set()
    return [active for active in sub.discounts if active.discount.discount_id in used]


def full_net(sub: Subscription, item: Item, discounts: Sequence[ActiveDiscount]) -> Fraction:
    """The full period's fee after discounts: what a proration takes its share of.

    Classic mode takes an amount off each item whole; flexible mode in proportion to the fees.
    """
    net = exact_gross(item, sub.currency)
    total = sum(
        (exact_gross(other, sub.currency) for other in sub.items if other.price.meter is None),
        Fraction(0),
    )
    for active in discounts:
        coupon = active.discount.coupon
        if coupon.percent_off is not None:
            net *= 1 - Fraction(coupon.percent_off) / 100
        elif total:
            alone = sub.mode == "classic" or active.item_id is not None
            share = Fraction(1) if alone else exact_gross(item, sub.currency) / total
            net = max(Fraction(0), net - (coupon.amount_off or 0) * share)
    return net


def floored(amount: Fraction, currency: str) -> int:
    """Whole minor units toward minus infinity: the rounding of every proration line."""
    unit = rounding_unit(currency)
    return int(amount / unit // 1) * unit


def rounded(amount: Fraction | Decimal, currency: str) -> int:
    """Whole minor units, ties away from zero: the rounding of every ordinary line."""
    unit = rounding_unit(currency)
    exact = Fraction(amount) / unit
    sign = -1 if exact < 0 else 1
    return sign * int((abs(exact) + Fraction(1, 2)) // 1) * unit
