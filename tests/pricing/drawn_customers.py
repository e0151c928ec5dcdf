"""Customers drawn at random: licences and usage under every authority, with gaps, coupons, changes.

Each is written down as Stripe JSON and input files, and beside it stands what the oracle expects of
the closed period. The seed is fixed and shown, so that a failure can be drawn again.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from tests.pricing import billing, oracle
from tests.pricing.billing import CLOSED, FIRST, SECOND, Billed, Subscriber
from tests.support.small_company import SmallCompany, at

SEED = 20261122
METERS = ("drawn_calls", "drawn_storage", "drawn_jobs")
KINDS: tuple[oracle.Kind, ...] = ("per_unit", "package", "graduated", "volume")


@dataclass(frozen=True)
class Expectation:
    """What a drawn customer should pay for the closed period, and what its invoices say, net.

    Attributes:
        slack: Smallest charges by which a discount at another price may round differently.
    """

    customer: str
    currency: oracle.Currency
    expected: Decimal
    billed: Decimal
    usage_gap: Decimal
    minimum_gap: Decimal
    slack: int
    authorities: frozenset[str]


@dataclass
class _Usage:
    meter: str
    used: Decimal
    metered: Decimal
    asked: oracle.Price | None
    agreed: oracle.Terms
    authority: str


class Draw:
    """One customer after another from one seed."""

    def __init__(self, company: SmallCompany, seed: int = SEED) -> None:
        """Make the meters that the customers use."""
        self.company = company
        self.random = random.Random(seed)  # noqa: S311 - nothing secret
        for meter in METERS:
            company.meter(meter)

    def customers(self, count: int) -> list[Expectation]:
        """Draw and add so many customers."""
        return [self._customer(f"cus_drawn_{index}") for index in range(count)]

    def _amount(self, highest: int, places: int) -> Decimal:
        return Decimal(self.random.randint(0, highest)).scaleb(-self.random.randint(0, places))

    def _price(self, kind: oracle.Kind, highest: int, *, whole: bool) -> oracle.Price:
        """A price; Stripe's own packages and tiers have whole units."""
        if kind == "per_unit":
            return oracle.per_unit(self._amount(highest, 4))
        places = 0 if whole else 1
        if kind == "package":
            mode = self.random.choice(("up", "down") if whole else ("up", "down", "none"))
            size = max(Decimal(1), self._amount(2000, places))
            return oracle.package(self._amount(highest, 2), size, mode)
        bounds: list[Decimal | None] = []
        top = Decimal(0)
        for _ in range(self.random.randint(0, 3)):
            top += max(Decimal(1), self._amount(4000, places))
            bounds.append(top)
        return oracle.Price(
            kind,
            tuple(
                oracle.Tier(bound, self._amount(highest, 4), self._amount(3000, 2) * (top % 2))
                for bound in [*bounds, None]
            ),
        )

    def _customer(self, customer: str) -> Expectation:
        currency = oracle.Currency(self.random.choice(("usd", "usd", "eur", "jpy", "kwd")))
        contract: dict[str, object] = {}
        listed: dict[str, object] = {}
        licence, agreed, authority = self._licence(customer, currency, contract, listed)
        usages = self._usages(contract, listed)
        coupon = self._coupon(currency) if self.random.random() < 0.5 else None
        if any(usage.asked is None for usage in usages) or not licence.quantity:
            coupon = None  # usage that only a contract charges for has no invoice to discount
        items = [licence]
        for usage in usages:
            if usage.asked is not None:
                name = f"{customer}_{usage.meter}"
                price = billing.stripe_price(
                    self.company,
                    name,
                    usage.asked,
                    currency,
                    usage_type="metered",
                    meter=f"mtr_{usage.meter}",
                )
                items.append(Billed(price, usage.asked, usage.metered, is_usage=True))
        subscriber = Subscriber(
            self.company, customer, currency, items, (coupon,) if coupon else ()
        )
        changed = None
        if coupon and not subscriber.gross(licence):
            subscriber.coupons = ()
            coupon = None
        if coupon is None and authority == "stripe" and self.random.random() < 0.4:
            changed = self._change(subscriber, licence)
        subscriber.bill()
        self._use(customer, usages)
        minimum = None
        if contract and self.random.random() < 0.4:
            minimum = Decimal(self.random.randint(1, 99) * 10 ** self.random.randint(0, 6))
            contract["minimum_commitment"] = billing.plain(minimum)
        self._agree(customer, currency, contract, listed)
        return _expectation(
            subscriber, (licence, agreed, authority), usages, coupon, changed, minimum
        )

    def _licence(
        self,
        customer: str,
        currency: oracle.Currency,
        contract: dict[str, object],
        listed: dict[str, object],
    ) -> tuple[Billed, oracle.Terms, str]:
        shape = self._price(self.random.choice(KINDS), 20000, whole=True)
        price = billing.stripe_price(
            self.company, f"{customer}_base", shape, currency, plan=f"plan {customer}"
        )
        licence = Billed(price, shape, Decimal(self.random.randint(0, 40)))
        authority = self.random.choice(("stripe", "stripe", "contract", "price_book"))
        base = self._amount(20000, 3)
        if authority == "contract":
            contract["base_price"] = billing.plain(base)
        # A row of the price book rules the licence, and usage that the contract is silent about.
        if authority == "price_book" or (authority == "contract" and self.random.random() < 0.5):
            list_base = base if authority == "price_book" else self._amount(20000, 3)
            listed["base_price"] = billing.plain(list_base)
        agreed = oracle.Terms(shape if authority == "stripe" else oracle.per_unit(base))
        return licence, agreed, authority

    def _usages(self, contract: dict[str, object], listed: dict[str, object]) -> list[_Usage]:
        usages = []
        rates: dict[str, dict[str, object]] = {"contract": {}, "price_book": {}}
        included: dict[str, dict[str, object]] = {"contract": {}, "price_book": {}}
        grace = self._amount(30, 1)
        for meter in self.random.sample(METERS, self.random.randint(0, len(METERS))):
            sides = [side for side, terms in (("price_book", listed),) if terms] + ["contract"]
            ruling = self.random.choice([*sides, "stripe"])
            asked = None
            if ruling == "stripe" or self.random.random() < 0.5:
                asked = self._price(self.random.choice(KINDS), 30, whole=True)
            used = self._amount(10**6, 3)
            metered = used
            if asked is not None and self.random.random() < 0.6:
                metered = max(Decimal(0), used + self.random.choice((-1, 1)) * self._amount(900, 1))
            if ruling == "stripe":
                assert asked is not None
                usages.append(_Usage(meter, used, metered, asked, oracle.Terms(asked), ruling))
                continue
            price = self._price(self.random.choice(KINDS), 30, whole=False)
            free = self._amount(5000, 1) if self.random.random() < 0.7 else Decimal(0)
            rates[ruling][meter] = billing.rate_terms(price)
            # Field by field: the included quantity may stand in the price book alone.
            side = "price_book" if listed and self.random.random() < 0.5 else ruling
            if free:
                included[side][meter] = billing.plain(free)
            agreed = oracle.Terms(price, free, grace)
            usages.append(_Usage(meter, used, metered, asked, agreed, ruling))
        for side, terms in (("contract", contract), ("price_book", listed)):
            if rates[side]:
                terms["overage_rates"] = rates[side]
            if included[side]:
                terms["included_usage"] = included[side]
        # The grace is the contract's to give; without one there is none.
        if any(usage.authority != "stripe" for usage in usages):
            contract["grace_percent"] = billing.plain(grace)
        return usages

    def _coupon(self, currency: oracle.Currency) -> oracle.Coupon:
        if self.random.random() < 0.5:
            return oracle.Coupon(percent_off=Decimal(self.random.randint(1, 200)) / 2)
        steps = self.random.randint(1, 4000)
        return oracle.Coupon(amount_off=currency.floored(currency.step * steps))

    def _change(self, subscriber: Subscriber, licence: Billed) -> tuple[Decimal, Decimal]:
        """Another quantity inside the closed period, with the pair of lines that Stripe writes."""
        start, end = at(FIRST), at(SECOND)
        instant = self.random.randint(start + 1, end - 1)
        quantity = Decimal(self.random.randint(0, 40))
        terms = oracle.Terms(licence.shape)
        pair = oracle.change(
            terms,
            licence.quantity,
            terms,
            quantity,
            subscriber.currency,
            Fraction(end - instant, end - start),
        )
        for side, count, amount in zip("ab", (licence.quantity, quantity), pair, strict=True):
            line = self.company.line(
                subscriber.subscription,
                licence.price,
                subscriber.currency.minor(amount),
                CLOSED,
                line_id=f"il_{subscriber.customer}_pro_{side}",
                quantity=count,
                proration=True,
                invoice_item=f"ii_{subscriber.customer}_{side}",
            )
            line["period"] = {"start": instant, "end": end}
            subscriber.closed_extra.append(line)
        subscriber.later_quantity = quantity
        return pair

    def _use(self, customer: str, usages: Sequence[_Usage]) -> None:
        for usage in usages:
            for part in _split(usage.used):
                self.company.use(customer, usage.meter, billing.plain(part), self._instant())
            if usage.asked is not None:
                for part in _split(usage.metered):
                    self.company.meter_event(
                        customer, usage.meter, billing.plain(part), self._instant()
                    )

    def _instant(self) -> str:
        """Inside the closed period, never in an edge minute."""
        return f"2026-10-{self.random.randint(12, 30)}T{self.random.randint(0, 23):02d}:17:00"

    def _agree(
        self,
        customer: str,
        currency: oracle.Currency,
        contract: dict[str, object],
        listed: dict[str, object],
    ) -> None:
        if contract:
            self.company.contracts.append(
                {
                    "contract_id": f"ctr_{customer}",
                    "customer_id": customer,
                    "currency": currency.code,
                    "interval": "month",
                    "effective_date": "2026-01-01",
                    **contract,
                }
            )
        if listed:
            self.company.price_book.append(
                {
                    "plan": f"plan {customer}",
                    "currency": currency.code,
                    "interval": "month",
                    "effective_from": "2023-01-01",
                    **listed,
                }
            )


def _split(quantity: Decimal) -> list[Decimal]:
    """The quantity in two events, when there is any."""
    if not quantity:
        return []
    half = (quantity / 2).quantize(Decimal("0.001"))
    return [part for part in (half, quantity - half) if part]


def _expectation(
    subscriber: Subscriber,
    licence: tuple[Billed, oracle.Terms, str],
    usages: Sequence[_Usage],
    coupon: oracle.Coupon | None,
    changed: tuple[Decimal, Decimal] | None,
    minimum: Decimal | None,
) -> Expectation:
    """Add up what the oracle gives for each charge of the closed period."""
    currency = subscriber.currency
    item, agreed, authority = licence
    fee = oracle.rate(agreed, item.quantity, currency)
    asked = subscriber.gross(item)
    taken = [coupon] if coupon else []
    # The discount stands on the licence's lines; at another fee it is what the coupon takes there.
    off_billed = subscriber.discount
    off = off_billed
    if coupon is not None and fee != asked:
        off = oracle.discounts([fee], taken, currency)[0][0]
    expected = fee - off + sum(changed or (), Decimal(0))
    billed = asked - off_billed + sum(changed or (), Decimal(0))
    usage_gap = Decimal(0)
    for usage in usages:
        rated = oracle.rate(usage.agreed, usage.used, currency)
        expected += rated
        usage_gap += rated - oracle.rate(usage.agreed, usage.metered, currency)
        if usage.asked is not None:
            billed += oracle.rate(oracle.Terms(usage.asked), usage.metered, currency)
    net = expected
    if minimum is not None:
        expected = oracle.with_minimum(expected, minimum)
    return Expectation(
        customer=subscriber.customer,
        currency=currency,
        expected=expected,
        billed=billed,
        usage_gap=usage_gap,
        minimum_gap=expected - net,
        slack=2 if coupon is not None and fee != asked else 0,
        authorities=frozenset({authority, *(usage.authority for usage in usages)}),
    )
