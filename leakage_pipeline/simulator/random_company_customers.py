"""Honest random customers: what they bought, how their subscription went, what they used.

Everything that is drawn here is billed right, and looks odd on purpose: odd prices, trials,
coupons, contracts, cancellations, credit notes, taxes, lost usage below the tolerance.
"""

import json
import random
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from leakage_pipeline.simulator.billing_engine.account import Life
from leakage_pipeline.simulator.billing_engine.calendar import DAY, SECONDS, add_intervals
from leakage_pipeline.simulator.billing_engine.commands import (
    Cancel,
    CancelAtPeriodEnd,
    Command,
    Coupon,
    Create,
    Discount,
    NewItem,
)
from leakage_pipeline.simulator.billing_engine.ledger import Buyer, Plan
from leakage_pipeline.simulator.billing_engine.prices import BilledPrice, exponent
from leakage_pipeline.simulator.billing_engine.settlement import CreditNoteOrder
from leakage_pipeline.simulator.billing_engine.usage import MeterBook
from leakage_pipeline.simulator.invoicing_periods import from_epoch
from leakage_pipeline.simulator.pricing import Rate, per_unit, with_included
from leakage_pipeline.simulator.random_company_terms import (
    COARSE,
    MeterOffer,
    PlanOffer,
    Terms,
    chance,
    coarse,
    day_text,
    draw_rate,
    rate_json,
)
from leakage_pipeline.simulator.random_company_usage import LogEvent, draw_usage, reported

HOUR = 3600
QUIET = 3 * HOUR  # nothing is used this short before as_of
# A gap no larger than the last day's usage waits a night, so leaky meters are quiet for longer.
LEAKY_QUIET = 3 * DAY
TAXES = ((Decimal(20), "exclusive"), (Decimal("8.25"), "exclusive"), (Decimal(10), "inclusive"))


@dataclass
class Member:
    """One customer of a random company as it is put together, before it is billed."""

    buyer: Buyer
    plan: PlanOffer
    create: Create
    later: list[Command] = field(default_factory=list)
    log: list[LogEvent] = field(default_factory=list)
    contract: dict[str, Any] | None = None
    account: dict[str, Any] = field(default_factory=dict)
    own_prices: list[BilledPrice] = field(default_factory=list)
    sends_invoices: bool = False
    end: int | None = None
    credits: list[CreditNoteOrder] = field(default_factory=list)
    log_until: dict[str, int] = field(default_factory=dict)
    log_from: dict[str, int] = field(default_factory=dict)
    other_plans: list[Plan] = field(default_factory=list)
    other_accounts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def code(self) -> str:
        """The customer's id without its prefix."""
        return self.buyer.customer_id[4:]

    @property
    def subscription_id(self) -> str:
        """The id of its subscription."""
        return f"sub_{self.code}"

    def life(self) -> Life:
        """What the engine plays."""
        plan = Plan(
            self.subscription_id,
            (self.create, *self.later),
            sends_invoices=self.sends_invoices,
            metadata=(("account_id", self.account["account_id"]),),
        )
        plans = (plan, *self.other_plans)
        return Life(self.buyer, plans, MeterBook(reported(self.log)), tuple(self.credits))


@dataclass(frozen=True)
class Scene:
    """Where a customer is drawn: its company, its place in it, and now."""

    rng: random.Random
    terms: Terms
    as_of: int
    is_leaky: bool = False


def draw_member(scene: Scene, number: int) -> tuple[Member, list[MeterOffer]]:
    """An honest customer, and the meters it subscribes to."""
    rng = scene.rng
    plan = rng.choice(scene.terms.plans)
    currency = rng.choice(plan.currencies)
    start = draw_start(rng, plan.rhythm, scene.as_of)
    code = f"{scene.terms.code}_{number}"
    tax = rng.choice(TAXES) if chance(rng, 0.3) else None
    buyer = Buyer(f"cus_{code}", f"Customer {code}", currency, start - 3 * DAY, tax)
    quantity = rng.randint(1, 40) if plan.by_seat or chance(rng, 0.3) else 1
    member = Member(buyer, plan, Create(start, (), rng.choice(("classic", "flexible"))))
    member.sends_invoices = chance(rng, 0.25)
    if member.create.mode == "flexible" and chance(rng, 0.3):
        member.create = replace(member.create, itemizes_prorations=True)
    offers = agree(scene, member)
    items = [NewItem(o.log_name.rpartition("_")[2], o.price) for o in offers]
    licence = own_licence(scene, member)
    if licence is not None:
        items.insert(0, NewItem("base", licence, quantity))
    member.create = replace(member.create, items=tuple(items))
    draw_beginning(scene, member)
    draw_discount(scene, member)
    draw_end(scene, member)
    member.account = account_of(scene, member, quantity)
    return member, offers


def use(scene: Scene, member: Member, offers: list[MeterOffer]) -> None:
    """Let the customer use what it subscribed to, for as long as it did."""
    quiet = LEAKY_QUIET if scene.is_leaky else QUIET
    for offer in offers:
        latest = min(scene.as_of - quiet, member.log_until.get(offer.log_name, scene.as_of))
        first = member.log_from.get(offer.log_name, 0)
        events = (e for e in draw_usage(scene.rng, latest, member, offer) if e.at >= first)
        if scene.terms.is_coarse:
            events = (replace(event, value=event.value // 1) for event in events)
        member.log.extend(events)


def draw_start(rng: random.Random, rhythm: tuple[str, int], as_of: int) -> int:
    """The second at which a subscription begins: some periods ago, off every round time."""
    interval, count = rhythm
    periods = rng.uniform(0.1, 2.2 if interval == "year" else 7)
    length = SECONDS.get(interval, 30 * DAY if interval == "month" else 365 * DAY) * count
    start = as_of - int(length * periods) - rng.randint(60, 40 * HOUR)
    if interval in {"month", "year"} and chance(rng, 0.25):
        # Month ends are where calendars go wrong.
        start = add_intervals(1_738_281_600, "month", 1, (start - 1_738_281_600) // (30 * DAY))
        start += rng.randint(0, 20 * HOUR)
    return min(start, as_of - 2 * HOUR)


def agree(scene: Scene, member: Member) -> list[MeterOffer]:
    """The meters the customer subscribes to, at list terms or at those of a contract."""
    rng, plan = scene.rng, member.plan
    offers = [
        o for o in plan.meters if plan.licence is None or o.costs_at_zero or chance(rng, 0.85)
    ]
    if not plan.meters or not chance(rng, 0.35):
        return offers
    if plan.rhythm[0] not in {"month", "year"} or len(plan.currencies) > 1:
        return offers
    return [_contracted(scene, member, offer) for offer in offers]


def _contracted(scene: Scene, member: Member, offer: MeterOffer) -> MeterOffer:
    """Terms of the customer's own for a meter, in a contract and in a Stripe price."""
    rng, currency = scene.rng, member.buyer.currency
    terms, included = draw_rate(rng, offer.volume, currency)
    if scene.terms.is_coarse:
        terms = coarse(terms)
    months = contract_months(member)
    grace = Decimal(rng.choice((0, 0, 5, 10)))
    contract = contract_of(member)
    if "grace_percent" in contract:
        grace = Decimal(contract["grace_percent"])
    contract["grace_percent"] = grace
    # Said even when it is 0: what a contract leaves out, the price book fills in.
    contract["included_usage"][offer.log_name] = included
    contract["overage_rates"][offer.log_name] = rate_json(terms, currency)
    free = int(included * months * (100 + grace) / 100)
    price = own_price(member, offer.price, with_included(terms, free))
    return replace(offer, price=price, terms=terms, included=included * months)


def contract_months(member: Member) -> int:
    """How many of the contract's (monthly) quantities fit into a billing period."""
    interval, count = member.plan.rhythm
    return 12 if interval == "year" else count


def contract_of(member: Member) -> dict[str, Any]:
    """The customer's contract: monthly, from the day of its subscription, silent at first."""
    if member.contract is None:
        member.contract = {
            "contract_id": f"ctr_{member.code}",
            "customer_id": member.buyer.customer_id,
            "plan": member.plan.name,
            "currency": member.buyer.currency,
            "interval": "month",
            "included_usage": {},
            "overage_rates": {},
            "effective_date": _agreed_on(member.create),
        }
    return member.contract


def _agreed_on(create: Create) -> str:
    """Well before the first period, also where that is backdated."""
    return day_text((create.backdate_to or create.at) - 400 * DAY)


def own_price(member: Member, like: BilledPrice, rate: Rate) -> BilledPrice:
    """A price made for this customer alone."""
    price = replace(
        like,
        price_id=f"{like.price_id}_{member.code}",
        rate=rate,
        currency=member.buyer.currency,
        options={},
        created=member.create.at - HOUR,
        is_inline=len(member.code) % 2 == 0,
    )
    member.own_prices.append(price)
    return price


def own_licence(scene: Scene, member: Member) -> BilledPrice | None:
    """The licence's price: the plan's, or that of a contract."""
    rng, licence = scene.rng, member.plan.licence
    if licence is None or licence.rate.kind != "per_unit":
        return licence
    if member.plan.rhythm[0] not in {"month", "year"} or not chance(rng, 0.2):
        return licence
    contract = contract_of(member)
    step = COARSE if scene.terms.is_coarse else 10 if member.buyer.currency == "kwd" else 1
    monthly = Decimal(rng.randint(10, 5000) * step)
    contract["base_price"] = format(monthly.scaleb(-exponent(member.buyer.currency)), "f")
    return own_price(member, licence, per_unit(str(monthly * contract_months(member))))


def draw_beginning(scene: Scene, member: Member) -> None:
    """Some begin with a trial, some off their anchor, some are billed for time already gone."""
    rng, create = scene.rng, member.create
    interval, count = member.plan.rhythm
    kind = rng.choices(("plain", "trial", "anchor", "backdate"), (70, 14, 8, 8))[0]
    if kind == "trial":
        days = rng.randint(1, 3 if interval == "day" else 20)
        member.create = replace(create, trial_end=create.at + days * DAY)
        return
    if kind == "anchor" and interval != "day":
        # Anything short of a whole period, prorated by the second.
        full = add_intervals(create.at, interval, count, 1) - create.at
        member.create = replace(create, anchor=create.at + rng.randint(2 * HOUR, full - 1))
    elif kind == "backdate":
        begun = add_intervals(create.at, interval, count, -rng.randint(0, 2))
        begun -= rng.randint(1, DAY - 1 if interval == "day" else 5 * DAY)
        member.create = replace(create, backdate_to=begun)
        if member.contract is not None:
            member.contract["effective_date"] = _agreed_on(member.create)


def draw_discount(scene: Scene, member: Member) -> None:
    """Coupons for a time, or for ever where a contract names the percent."""
    rng, create = scene.rng, member.create
    if not chance(rng, 0.35):
        return
    # The cents of a leak beside a discount are only certain where the discount has none.
    if scene.is_leaky and (not scene.terms.is_coarse or create.anchor is not None):
        return
    coupon = Coupon(f"co_{member.code}", create.at - 30 * DAY, percent_off=Decimal(1))
    percents = ("10", "15", "20") if scene.is_leaky else ("10", "15", "12.5", "33.33", "100")
    percent = Decimal(rng.choice(percents))
    kind = rng.choice(("once", "repeating", "contract", "amount")[: 3 if scene.is_leaky else 4])
    if kind == "contract":
        contract = contract_of(member)
        contract["discount_percent"] = percent
        contract["discount_reason"] = rng.choice(("negotiated", ""))
        coupon = replace(coupon, percent_off=percent)
    elif kind == "amount":
        amount = rng.randint(1, 3000) * (10 if member.buyer.currency == "kwd" else 1)
        coupon = replace(
            coupon,
            percent_off=None,
            amount_off=amount,
            currency=member.buyer.currency,
            duration="repeating",
            months=rng.randint(1, 4),
        )
    elif kind == "once":
        coupon = replace(coupon, percent_off=percent, duration="once")
    else:
        months = rng.randint(1, 4)
        coupon = replace(coupon, percent_off=percent, duration="repeating", months=months)
    if chance(rng, 0.3):
        coupon = replace(coupon, redeem_by=create.at + DAY)
    discount = Discount(f"di_{member.code}", coupon)
    member.create = replace(create, discounts=(discount,))


def draw_end(scene: Scene, member: Member) -> None:
    """Some have left: at once with a final invoice, or with their period."""
    rng, create = scene.rng, member.create
    begin = create.trial_end or create.anchor or create.at
    room = scene.as_of - begin - 2 * DAY
    if room < 3 * DAY or not chance(rng, 0.2):
        return
    at = begin + rng.randint(DAY, room)
    if chance(rng, 0.5):
        member.later.append(Cancel(at, prorate=chance(rng, 0.5), invoice_now=True))
        member.end = at
        return
    member.later.append(CancelAtPeriodEnd(at))
    interval, count = member.plan.rhythm
    is_flexible = create.mode == "flexible"
    anchor = create.backdate_to if is_flexible and create.backdate_to is not None else begin
    n = 0
    while add_intervals(anchor, interval, count, n) <= at:
        n += 1  # the end of the running period
    end = add_intervals(anchor, interval, count, n)
    member.end = end if end <= scene.as_of else None


def account_of(scene: Scene, member: Member, quantity: int) -> dict[str, Any]:
    """What the product believes: the same plan, no more seats than billed, the plan's features."""
    rng = scene.rng
    is_over = member.end is not None
    return {
        "account_id": f"acc_{member.code}",
        "customer_id": member.buyer.customer_id,
        "plan": member.plan.name,
        "status": "cancelled" if is_over else "active",
        "access_enabled": "false" if is_over else "true",
        "seats": rng.randint(1, quantity),
        "features": json.dumps(list(member.plan.features)),
        "updated_at": _iso(member.end or member.create.backdate_to or member.create.at),
        "health_score": "0.8",
        "churn_risk": "0.1",
        "owner_email": "owner@example.com",
    }


def _iso(seconds: int) -> str:
    return from_epoch(seconds).isoformat()


def contract_row(contract: dict[str, Any]) -> dict[str, Any]:
    """The contract as a row of the file: JSON in its columns."""
    packed = ("included_usage", "overage_rates", "discount_threshold")
    return {
        key: json.dumps(value) if key in packed else value
        for key, value in contract.items()
        if value != {}
    }
