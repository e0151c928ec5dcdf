"""The leaks of random companies: each variant turns one honest customer into a leaky one.

A variant that does not fit the customer returns None and the next one is tried. What a leak costs
is worked out in `random_company_planted`.
"""

import copy
from dataclasses import replace
from decimal import Decimal

from leakage_pipeline.simulator.billing_engine.account import Billed, Life, bill
from leakage_pipeline.simulator.billing_engine.commands import (
    Cancel,
    Coupon,
    Create,
    Discount,
)
from leakage_pipeline.simulator.billing_engine.ledger import Span
from leakage_pipeline.simulator.billing_engine.prices import BilledPrice, exponent
from leakage_pipeline.simulator.ground_truth import Label
from leakage_pipeline.simulator.pricing import Rate
from leakage_pipeline.simulator.random_company_customers import (
    Member,
    Scene,
    contract_of,
)
from leakage_pipeline.simulator.random_company_leaks_changes import unbilled_change
from leakage_pipeline.simulator.random_company_leaks_invoices import (
    is_credited,
    line_edit,
    missing_invoice,
)
from leakage_pipeline.simulator.random_company_planted import (
    DAY,
    GRACE,
    TOLERANCE,
    Planted,
    Variant,
    is_fee,
    labels_of,
    of_meter,
)
from leakage_pipeline.simulator.random_company_terms import PRICED, MeterOffer

FINEST = Decimal("1e-12")  # of a Stripe price
HOUR = 3600
CREDITED_SHARE = 0.4


def _reprice(member: Member, name: str, price: BilledPrice) -> Life:
    items = tuple(
        replace(item, price=price) if item.name == name else item for item in member.create.items
    )
    member.own_prices.append(price)
    return replace(member, create=replace(member.create, items=items)).life()


def _scaled(rate: Rate, numerator: int) -> Rate:
    """The same shape at so many tenths of its amounts."""

    def part(unit: Decimal) -> Decimal:
        return (unit * numerator / 10).quantize(FINEST)

    tiers = tuple(replace(tier, unit=part(tier.unit)) for tier in rate.tiers)
    return replace(rate, unit=part(rate.unit), tiers=tiers)


def _licence_price(numerator: int, kind: str) -> Variant:
    def plant(_: Scene, member: Member, __: list[MeterOffer]) -> Planted | None:
        base = next((i for i in member.create.items if i.name == "base"), None)
        if base is None or not _is_ruled(member) or is_credited(member):
            return None
        price = replace(
            base.price,
            price_id=f"{base.price.price_id}_{member.code}_old",
            rate=_scaled(base.price.rate_in(member.buyer.currency), numerator),
            currency=member.buyer.currency,
            options={},
            created=PRICED - 300 * DAY,
        )
        wrong = _reprice(member, "base", price)
        return Planted(member.life(), wrong, kind, "licence", is_fee)

    return plant


def _is_ruled(member: Member) -> bool:
    """Whether contract or price book, not Stripe, say what the licence costs."""
    if member.contract is not None and "base_price" in member.contract:
        return True
    rows = [r for r in member.plan.list_rows if r["currency"] == member.buyer.currency]
    return any(row["effective_from"] == "2023-04-02" for row in rows)


def _meter_price(numerator: int, kind: str) -> Variant:
    def plant(scene: Scene, member: Member, offers: list[MeterOffer]) -> Planted | None:
        agreed = {} if member.contract is None else member.contract["overage_rates"]
        ruled = [offer for offer in offers if offer.log_name in agreed]
        if not ruled:
            return None
        offer = scene.rng.choice(ruled)
        price = replace(
            offer.price,
            price_id=f"{offer.price.price_id}_low",
            rate=_scaled(offer.price.rate, numerator),
        )
        wrong = _reprice(member, offer.log_name.rpartition("_")[2], price)
        return Planted(
            *(member.life(), wrong, kind, "meter", of_meter(offer)),
            meter=offer.log_name,
            is_open_too=True,
        )

    return plant


# ---------------------------------------------------------------- usage


def _usage(reports: int) -> Variant:
    def plant(scene: Scene, member: Member, offers: list[MeterOffer]) -> Planted | None:
        fitting = [o for o in offers if reports == 0 or o.meter.formula != "last"]
        if not fitting:
            return None
        offer = scene.rng.choice(fitting)
        share = scene.rng.choice((0.4, 0.7, 1.0))
        log = [
            replace(event, reports=reports)
            if event.meter == offer.log_name and scene.rng.random() < share
            else event
            for event in member.log
        ]
        right, wrong = member.life(), replace(member, log=log).life()
        member.log = log

        def published(told: Billed, heard: Billed, span: Span) -> bool:
            true = told.usage.quantity(offer.meter, *span)
            metered = heard.usage.quantity(offer.meter, *span)
            return metered == 0 or abs(true - metered) * 100 > TOLERANCE * metered

        return Planted(
            *(right, wrong, "unreported_usage", f"reported {reports} times", of_meter(offer)),
            meter=offer.log_name,
            is_open_too=True,
            published=published,
            opposite="overbilled_usage",
        )

    return plant


def _no_item(scene: Scene, member: Member, offers: list[MeterOffer]) -> Planted | None:
    """A meter that contract or price book charge for, without an item at Stripe."""
    agreed = {} if member.contract is None else member.contract["overage_rates"]
    ruled = [o for o in offers if o.log_name in agreed or (o.is_listed and _is_listed(member))]
    if not ruled or not any(item.name == "base" for item in member.create.items):
        return None
    if _has_lump(member):
        return None
    offer = scene.rng.choice(ruled)
    name = offer.log_name.rpartition("_")[2]
    items = tuple(item for item in member.create.items if item.name != name)
    wrong = replace(member, create=replace(member.create, items=items)).life()
    return Planted(
        *(member.life(), wrong, "missing_overage", "no item", of_meter(offer)),
        meter=offer.log_name,
        is_open_too=True,
    )


def _is_listed(member: Member) -> bool:
    return any(r["effective_from"] == "2023-04-02" for r in member.plan.list_rows)


def _final_usage(scene: Scene, member: Member, offers: list[MeterOffer]) -> Planted | None:
    """Cancelled at once, and nobody asked for the final invoice."""
    if not offers or not member.later or not isinstance(member.later[0], Cancel):
        return None
    offer = scene.rng.choice(offers)
    if len(offers) > 1:
        return None
    at = member.later[0].at
    right = replace(member, later=[Cancel(at, invoice_now=True)]).life()
    wrong = replace(member, later=[Cancel(at)]).life()
    return Planted(
        *(right, wrong, "final_usage_lost", "cancelled at once", of_meter(offer)),
        meter=offer.log_name,
    )


# ---------------------------------------------------------------- seats, discounts, minimums


def _seats(scene: Scene, member: Member, _: list[MeterOffer]) -> Planted | None:
    base = next((i for i in member.create.items if i.name == "base"), None)
    if base is None or base.quantity is None or base.quantity < 2 or not member.plan.by_seat:  # noqa: PLR2004
        return None
    if member.end is not None:
        return None
    seats = base.quantity + scene.rng.randint(1, 9)
    items = tuple(
        replace(item, quantity=seats) if item.name == "base" else item
        for item in member.create.items
    )
    right = replace(member, create=replace(member.create, items=items)).life()
    wrong = member.life()
    member.account["seats"] = seats
    return Planted(right, wrong, "seat_leakage", "seats", is_fee)


def _discount(variant: str) -> Variant:
    def plant(scene: Scene, member: Member, _: list[MeterOffer]) -> Planted | None:
        create = member.create
        if create.discounts or is_credited(member) or _has_lump(member):
            return None
        granted = 0
        percent = scene.rng.choice((10, 20, 25, 50))
        if variant in {"exceeds_contract", "not_given"}:
            granted = percent // 2 if variant == "exceeds_contract" else percent
            contract_of(member)["discount_percent"] = granted
            contract_of(member)["discount_reason"] = "negotiated"
        elif variant == "annual_commitment_not_met":
            contract = contract_of(member)
            contract["discount_percent"] = percent
            contract["discount_reason"] = "annual_commitment"
        given = 0 if variant == "not_given" else percent
        right = replace(member, create=_discounted(member, granted)).life()
        member.create = _discounted(member, given)
        kind = "incorrect_discount"
        return Planted(right, member.life(), kind, variant, lambda _: create is not None)

    return plant


def _has_lump(member: Member) -> bool:
    """Whether its first usage line spans the time before and after it was made, its fees do not.

    A label has one period for both; which one usage without an item falls in, no line can tell.
    """
    return member.create.backdate_to is not None and member.create.mode == "classic"


def _discounted(member: Member, percent: int) -> Create:
    if not percent:
        return member.create
    coupon = Coupon(f"co_{member.code}_{percent}", PRICED, percent_off=Decimal(percent))
    return replace(member.create, discounts=(Discount(f"di_{member.code}", coupon),))


def _minimum(scene: Scene, member: Member, _: list[MeterOffer]) -> Planted | None:
    """A commitment above what the periods come to, and no line that bills the rest."""
    create = member.create
    if member.plan.rhythm != ("month", 1) or member.end is not None or create.anchor is not None:
        return None
    if _has_lump(member):
        return None  # no minimum is asked for a period that is no whole one
    totals = [net for _, net in _totals(bill(member.life(), scene.as_of)).values()]
    minimum = max(totals, default=0) + scene.rng.randint(1, 5000) * 10
    value = Decimal(minimum).scaleb(-exponent(member.buyer.currency))
    contract_of(member)["minimum_commitment"] = format(value, "f")
    life = member.life()
    return Planted(
        *(life, life, "minimum_shortfall", "minimum", lambda _: True),
        grace=GRACE,
        minimum=minimum,
    )


def _totals(billed: Billed) -> dict[int, tuple[int, int]]:
    totals: dict[int, tuple[int, int]] = {}
    for _, line in billed.lines:
        start, end = line.service
        totals[start] = (end, totals.get(start, (end, 0))[1] + line.net)
    return totals


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "outdated_pricing": (
        _licence_price(7, "outdated_pricing"),
        _meter_price(7, "outdated_pricing"),
    ),
    "overbilled_price": (
        _licence_price(13, "overbilled_price"),
        _meter_price(13, "overbilled_price"),
    ),
    "missing_overage": (_no_item, line_edit("drop_line", "missing_overage")),
    "unreported_usage": (_usage(0),),
    "overbilled_usage": (_usage(2),),
    "double_charge": (line_edit("repeat_line", "double_charge"),),
    "seat_leakage": (_seats,),
    "incorrect_discount": tuple(
        _discount(variant)
        for variant in (
            *("coupon_without_contract", "exceeds_contract", "annual_commitment_not_met"),
            "not_given",
        )
    ),
    "missing_invoice": (missing_invoice,),
    "final_usage_lost": (_final_usage,),
    "unbilled_proration": (unbilled_change,),
    "minimum_shortfall": (_minimum,),
}


def plant(scene: Scene, member: Member, offers: list[MeterOffer]) -> tuple[Life, list[Label]]:
    """Plant the first leak in a drawn order that fits and costs something; none may fit."""
    kinds = list(VARIANTS)
    scene.rng.shuffle(kinds)
    if any(isinstance(command, Cancel) for command in member.later):
        kinds.sort(key=lambda kind: kind != "final_usage_lost")  # nobody else can lose it
    for kind in kinds:
        trial = copy.deepcopy(member)
        planted = scene.rng.choice(VARIANTS[kind])(scene, trial, offers)
        if planted is None:
            continue
        labels = labels_of(planted, trial, scene.as_of)
        if labels:
            vars(member).update(vars(trial))
            return planted.wrong, labels
    return member.life(), []
