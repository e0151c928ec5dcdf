"""Prices of the oracle as Stripe objects, contract terms and price book rows, and honest invoices.

Every amount on an invoice comes from the oracle, line by line as Stripe writes them: one line for
the units of each tier, one for its fee.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from leakage_pipeline.simulator import stripe_objects as so
from tests.pricing import oracle
from tests.support.small_company import Item, SmallCompany, at

FIRST, SECOND, THIRD = "2026-10-10T14:23:07", "2026-11-10T14:23:07", "2026-12-10T14:23:07"
PERIODS = (FIRST, SECOND, THIRD)
CLOSED, OPEN = (FIRST, SECOND), (SECOND, THIRD)
DURING = "2026-10-20T09:30:00"

Json = dict[str, Any]


def plain(value: Decimal) -> str:
    """Decimal text without an exponent."""
    return format(value, "f")


def stripe_price(
    company: SmallCompany,
    name: str,
    price: oracle.Price,
    currency: oracle.Currency,
    **terms: Any,
) -> Json:
    """The price as a Stripe price of this currency."""
    shape: Json = {}
    if price.kind in {"graduated", "volume"}:
        shape["tiers_mode"] = price.kind
        shape["tiers"] = [
            so.tier(
                None if tier.up_to is None else int(tier.up_to),
                unit_amount=tier.unit_amount.scaleb(currency.exponent),
                flat_amount=tier.flat_amount.scaleb(currency.exponent),
            )
            for tier in price.tiers
        ]
    else:
        shape["unit_amount"] = price.tiers[0].unit_amount.scaleb(currency.exponent)
        if price.divide_by is not None:
            shape["transform_quantity"] = (int(price.divide_by), price.round_mode)
    return company.price(name, currency=currency.code, **shape, **terms)


def rate_terms(price: oracle.Price) -> Json:
    """The price as `overage_rates` of a contract or price book row states it for one meter."""
    if price.kind in {"graduated", "volume"}:
        tiers = [
            {
                "up_to": None if tier.up_to is None else plain(tier.up_to),
                "unit_amount": plain(tier.unit_amount),
                "flat_amount": plain(tier.flat_amount),
            }
            for tier in price.tiers
        ]
        return {"tiers_mode": price.kind, "tiers": tiers}
    stated: Json = {"price": plain(price.tiers[0].unit_amount)}
    if price.divide_by is not None:
        stated |= {"per": plain(price.divide_by), "rounding": price.round_mode}
    return stated


@dataclass
class Billed:
    """An item of a subscription and what its invoices carry for the closed period.

    Attributes:
        price: The Stripe price of the item.
        shape: The same as the oracle knows it.
        quantity: Units billed.
        is_usage: Whether it is billed in arrears.
    """

    price: Json
    shape: oracle.Price
    quantity: Decimal
    is_usage: bool = False


@dataclass
class Subscriber:
    """A customer with one monthly subscription, one closed period and one open.

    Attributes:
        coupons: Discounts on the first invoice.
        closed_extra: Further lines of the second invoice.
        later_quantity: Units of the licence in the open period, when they changed.
    """

    company: SmallCompany
    customer: str
    currency: oracle.Currency
    items: list[Billed]
    coupons: tuple[oracle.Coupon, ...] = ()
    closed_extra: list[Json] = field(default_factory=list)
    later_quantity: Decimal | None = None

    @property
    def subscription(self) -> str:
        """Id of the subscription."""
        return f"sub_{self.customer}"

    def bill(self) -> None:
        """Subscribe, and write the invoices at the start and at the end of the closed period."""
        discounts = list(self._discounts())
        self.company.subscribe(
            self.customer,
            [Item(item.price, _whole(item)) for item in self._later(self.items)],
            periods=PERIODS,
            currency=self.currency.code,
        )
        in_advance = [item for item in self.items if not item.is_usage]
        in_arrears = [item for item in self.items if item.is_usage]
        first = self._lines(in_advance, CLOSED, discounts)
        if first:
            self.company.invoice(
                self.customer, FIRST, first, discounts=[discount for discount, _ in discounts]
            )
        # The coupons of this company are for one invoice; usage of the period has its own.
        second = self._lines(self._later(in_advance), OPEN, []) + self._lines(
            in_arrears, CLOSED, []
        )
        if second or self.closed_extra:
            self.company.invoice(self.customer, SECOND, [*second, *self.closed_extra])

    @property
    def discount(self) -> Decimal:
        """What the coupons take off the licences of the closed period."""
        amounts = [
            amount
            for item in self.items
            if not item.is_usage
            for _, amount in line_parts(item, self.currency)
        ]
        taken = oracle.discounts(amounts, self.coupons, self.currency)
        return sum((off for coupon in taken for off in coupon), Decimal(0))

    def gross(self, item: Billed) -> Decimal:
        """What the item's lines for one period add up to."""
        return oracle.rate(oracle.Terms(item.shape), item.quantity, self.currency)

    def _later(self, items: Sequence[Billed]) -> list[Billed]:
        """The items of the open period."""
        if self.later_quantity is None:
            return list(items)
        return [
            item if item.is_usage else replace(item, quantity=self.later_quantity) for item in items
        ]

    def _discounts(self) -> Iterator[tuple[Json, oracle.Coupon]]:
        for index, coupon in enumerate(self.coupons):
            coupon_id = f"{self.customer}-{index}"
            off = coupon.amount_off
            self.company.account.coupons.append(
                so.coupon(
                    coupon_id,
                    created=self.company.created,
                    percent_off=coupon.percent_off,
                    amount_off=None if off is None else self.currency.minor(off),
                    currency=None if off is None else self.currency.code,
                    duration="once",
                )
            )
            yield (
                so.discount(
                    f"di_{coupon_id}",
                    coupon=coupon_id,
                    start=at(FIRST),
                    end=at(FIRST) + 60,
                    customer=self.customer,
                    subscription=self.subscription,
                ),
                coupon,
            )

    def _lines(
        self,
        items: Sequence[Billed],
        period: tuple[str, str],
        discounts: Sequence[tuple[Json, oracle.Coupon]],
    ) -> list[Json]:
        amounts: list[tuple[Billed, Decimal, Decimal]] = []
        for item in items:
            amounts += [(item, *part) for part in line_parts(item, self.currency)]
        taken = oracle.discounts(
            [amount for _, _, amount in amounts], [coupon for _, coupon in discounts], self.currency
        )
        lines = []
        for index, (item, quantity, amount) in enumerate(amounts):
            shares = [
                (discount["id"], self.currency.minor(off[index]))
                for (discount, _), off in zip(discounts, taken, strict=True)
            ]
            lines.append(
                self.company.line(
                    self.subscription,
                    item.price,
                    self.currency.minor(amount),
                    period,
                    line_id=f"il_{self.customer}_{item.price['id']}_{period[0]}_{index}",
                    quantity=quantity,
                    discount_amounts=shares,
                )
            )
        return lines


def line_parts(item: Billed, currency: oracle.Currency) -> list[tuple[Decimal, Decimal]]:
    """Quantity and amount of each line that Stripe writes for the item.

    A flat fee is a line of its own without quantity, and the lines' quantities add up to the units.
    """
    shape = item.shape
    if shape.kind in {"per_unit", "package"}:
        return [(item.quantity, oracle.rate(oracle.Terms(shape), item.quantity, currency))]
    lines = []
    for part in oracle.parts(oracle.Terms(shape), item.quantity):
        units = Decimal(part.units.numerator) / Decimal(part.units.denominator)
        lines.append((units, currency.nearest(part.units * part.unit_amount)))
        if part.flat_amount:
            lines.append((Decimal(0), currency.nearest(part.flat_amount)))
    return lines


def _whole(item: Billed) -> int:
    # The simulator's builder leaves the quantity of metered items out.
    return 1 if item.is_usage else int(item.quantity)
