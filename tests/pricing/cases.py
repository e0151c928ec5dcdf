"""The worked cases in `cases/*.json`: figures of other engines' own tests, and some of ours.

Each file holds one kind of price. `other_ways` says why a way of agreeing on a price cannot state a
case, for the whole file or for one case; every other way must be proven (test_pricing_cases).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.pricing import oracle

FOLDER = Path(__file__).parent / "cases"
WAYS = (
    "stripe_licensed",
    "stripe_metered",
    "contract_rate",
    "list_rate",
    "contract_base",
    "list_base",
    "coupon",
)
"""Ways to agree on a price: a Stripe price of licences or of metered usage, a rate above the
included quantity in a contract or in the price book, a base price in either, a coupon."""


@dataclass(frozen=True)
class Case:
    """One worked case; amounts in currency units.

    Attributes:
        terms: The price and what is included before it; None for a coupon.
        quantity: Units of the period; of a coupon, what the invoice comes to before it.
        expected: The figure of the source, for a coupon what it takes off.
        other_ways: Why a way cannot state the case, by way.
        earlier: Values that a meter which keeps the last one saw before `quantity`.
        is_exact: Whether the figure is not rounded.
    """

    case_id: str
    source: str
    terms: oracle.Terms | None
    quantity: Decimal
    expected: Decimal
    other_ways: Mapping[str, str]
    minimum: Decimal | None = None
    coupons: tuple[oracle.Coupon, ...] = ()
    formula: str = "sum"
    earlier: tuple[str, ...] = ()
    is_exact: bool = False

    @property
    def ways(self) -> list[str]:
        """The ways that can state the case."""
        return [way for way in WAYS if way not in self.other_ways]

    def amount(self, currency: oracle.Currency) -> Decimal:
        """What the oracle gives: the period's charges, or what the coupons take off."""
        if self.terms is None:
            taken = oracle.discounts([self.quantity], self.coupons, currency)
            return sum((line[0] for line in taken), Decimal(0))
        rated = oracle.rate(self.terms, self.quantity, currency)
        return rated if self.minimum is None else oracle.with_minimum(rated, self.minimum)


def load() -> list[Case]:
    """Every case of every file."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        document = json.loads(path.read_text())
        found += [_case(entry, document["other_ways"]) for entry in document["cases"]]
    return found


def _case(entry: Mapping[str, Any], other_ways: Mapping[str, str]) -> Case:
    terms = None
    if "price" in entry:
        terms = oracle.Terms(
            price_of(entry["price"]),
            Decimal(entry.get("included", 0)),
            Decimal(entry.get("grace_percent", 0)),
        )
    return Case(
        case_id=entry["id"],
        source=entry["source"],
        terms=terms,
        quantity=Decimal(entry.get("quantity", entry.get("base", 0))),
        expected=Decimal(entry["expected"]),
        other_ways={**other_ways, **entry.get("other_ways", {})},
        minimum=Decimal(entry["minimum"]) if "minimum" in entry else None,
        coupons=tuple(
            oracle.Coupon(**{key: Decimal(value) for key, value in coupon.items()})
            for coupon in entry.get("coupons", ())
        ),
        formula=entry.get("formula", "sum"),
        earlier=tuple(entry.get("earlier", ())),
        is_exact=entry["rounding"] == "none",
    )


def price_of(stated: Mapping[str, Any]) -> oracle.Price:
    """A price as the files state it."""
    kind = stated["kind"]
    if kind == "per_unit":
        return oracle.per_unit(stated["amount"])
    if kind == "package":
        return oracle.package(stated["amount"], stated["divide_by"], stated["round"])
    tiers = tuple(
        oracle.Tier(
            None if tier["up_to"] is None else Decimal(tier["up_to"]),
            Decimal(tier.get("unit_amount", 0)),
            Decimal(tier.get("flat_amount", 0)),
        )
        for tier in stated["tiers"]
    )
    return oracle.Price(kind, tiers)
