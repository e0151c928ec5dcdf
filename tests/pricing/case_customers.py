"""Turns every worked case into customers: one for each way and currency that can state it.

Where an agreement rules, Stripe's own price is a token one, so that only the agreement can give the
expected amount.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from tests.pricing import billing, cases, oracle
from tests.pricing.billing import Billed, Subscriber
from tests.support.small_company import SmallCompany

USD = oracle.Currency("usd")
OTHERS = tuple(oracle.Currency(code) for code in ("eur", "jpy", "kwd", "gbp"))
TOKEN = oracle.per_unit("1")  # what Stripe asks where another authority rules
FREE = oracle.per_unit("0")
METERS = {
    "stripe_metered": "metered_units",
    "contract_rate": "contract_units",
    "list_rate": "listed_units",
}
_AUTHORITIES = {
    "stripe_licensed": "stripe",
    "stripe_metered": "stripe",
    "contract_rate": "contract",
    "list_rate": "price_book",
    "contract_base": "contract",
    "list_base": "price_book",
    "coupon": "stripe",
}


@dataclass(frozen=True)
class Proof:
    """A customer of the company that states a case one way, and what it should pay."""

    customer: str
    case: cases.Case
    way: str
    currency: oracle.Currency

    @property
    def expected(self) -> Decimal:
        """Net amount of the closed period."""
        amount = self.case.amount(self.currency)
        return self.case.quantity - amount if self.way == "coupon" else amount

    @property
    def authority(self) -> str:
        """Whose terms rule the charge that carries the case."""
        return _AUTHORITIES[self.way]


def add_all(company: SmallCompany, stated: list[cases.Case]) -> list[Proof]:
    """Add a customer for each case, way and currency: dollars, and one other in turn."""
    for meter in METERS.values():
        company.meter(meter)
        company.meter(f"{meter}_last", formula="last")
    proofs = []
    for index, case in enumerate(stated):
        for offset, way in enumerate(case.ways):
            # A coupon of 0.12 has no meaning in yen.
            others = OTHERS[:1] if way == "coupon" else OTHERS
            other = others[(index + offset) % len(others)]
            for currency in (USD, other):
                name = f"{case.case_id}_{way}_{currency.code}"
                proof = Proof(f"cus_{name}", case, way, currency)
                _BUILDERS[way](company, proof)
                proofs.append(proof)
    return proofs


def _name(proof: Proof) -> str:
    return proof.customer.removeprefix("cus_")


def _plan(proof: Proof) -> str:
    return f"plan {_name(proof)}"


def _subscriber(company: SmallCompany, proof: Proof, *items: Billed) -> Subscriber:
    return Subscriber(company, proof.customer, proof.currency, list(items), proof.case.coupons)


def _licence(company: SmallCompany, proof: Proof, shape: oracle.Price, quantity: Decimal) -> Billed:
    price = billing.stripe_price(
        company, f"base_{_name(proof)}", shape, proof.currency, plan=_plan(proof)
    )
    return Billed(price, shape, quantity)


def _terms(proof: Proof) -> oracle.Terms:
    assert proof.case.terms is not None
    return proof.case.terms


def _stripe_licensed(company: SmallCompany, proof: Proof) -> None:
    item = _licence(company, proof, _terms(proof).price, proof.case.quantity)
    _subscriber(company, proof, item).bill()


def _meter(proof: Proof) -> str:
    suffix = "_last" if proof.case.formula == "last" else ""
    return METERS[proof.way] + suffix


def _use(company: SmallCompany, proof: Proof, *, is_metered: bool) -> None:
    """The usage of the case in the log, and in Stripe's meter where Stripe bills it."""
    meter = _meter(proof)
    values = [*proof.case.earlier, billing.plain(proof.case.quantity)]
    for hour, value in enumerate(values):
        if Decimal(value):
            when = f"2026-10-20T{hour:02d}:30:00"
            company.use(proof.customer, meter, value, when)
            if is_metered:
                company.meter_event(proof.customer, meter, value, when)


def _stripe_metered(company: SmallCompany, proof: Proof) -> None:
    shape = _terms(proof).price
    price = billing.stripe_price(
        company,
        f"usage_{_name(proof)}",
        shape,
        proof.currency,
        usage_type="metered",
        meter=f"mtr_{_meter(proof)}",
    )
    _subscriber(company, proof, Billed(price, shape, proof.case.quantity, is_usage=True)).bill()
    _use(company, proof, is_metered=True)
    if proof.case.minimum is not None:
        _contract(company, proof, minimum_commitment=str(proof.case.minimum))


def _contract(company: SmallCompany, proof: Proof, **terms: object) -> None:
    company.contracts.append(
        {
            "contract_id": f"ctr_{_name(proof)}",
            "customer_id": proof.customer,
            "currency": proof.currency.code,
            "interval": "month",
            "effective_date": "2026-01-01",
            **terms,
        }
    )


def _agreed(proof: Proof) -> dict[str, object]:
    """The case's terms as a contract or price book row states them for its meter."""
    terms, meter = _terms(proof), _meter(proof)
    agreed: dict[str, object] = {"overage_rates": {meter: billing.rate_terms(terms.price)}}
    if terms.included:
        agreed["included_usage"] = {meter: billing.plain(terms.included)}
    return agreed


def _contract_rate(company: SmallCompany, proof: Proof) -> None:
    _subscriber(company, proof, _licence(company, proof, FREE, Decimal(1))).bill()
    _use(company, proof, is_metered=False)
    more: dict[str, object] = {}
    if proof.case.minimum is not None:
        more["minimum_commitment"] = str(proof.case.minimum)
    if _terms(proof).grace_percent:
        more["grace_percent"] = billing.plain(_terms(proof).grace_percent)
    _contract(company, proof, **_agreed(proof), **more)


def _list(company: SmallCompany, proof: Proof, base_price: Decimal, **terms: object) -> None:
    company.price_book.append(
        {
            "plan": _plan(proof),
            "currency": proof.currency.code,
            "interval": "month",
            "base_price": billing.plain(base_price),
            "effective_from": "2023-01-01",
            **terms,
        }
    )


def _list_rate(company: SmallCompany, proof: Proof) -> None:
    _subscriber(company, proof, _licence(company, proof, FREE, Decimal(1))).bill()
    _use(company, proof, is_metered=False)
    _list(company, proof, Decimal(0), **_agreed(proof))


def _contract_base(company: SmallCompany, proof: Proof) -> None:
    _subscriber(company, proof, _licence(company, proof, TOKEN, proof.case.quantity)).bill()
    _contract(company, proof, base_price=billing.plain(_terms(proof).price.tiers[0].unit_amount))


def _list_base(company: SmallCompany, proof: Proof) -> None:
    _subscriber(company, proof, _licence(company, proof, TOKEN, proof.case.quantity)).bill()
    _list(company, proof, _terms(proof).price.tiers[0].unit_amount)


def _coupon(company: SmallCompany, proof: Proof) -> None:
    shape = oracle.per_unit(proof.case.quantity)
    _subscriber(company, proof, _licence(company, proof, shape, Decimal(1))).bill()


_BUILDERS: dict[str, Callable[[SmallCompany, Proof], None]] = {
    "stripe_licensed": _stripe_licensed,
    "stripe_metered": _stripe_metered,
    "contract_rate": _contract_rate,
    "list_rate": _list_rate,
    "contract_base": _contract_base,
    "list_base": _list_base,
    "coupon": _coupon,
}
