"""Changes inside a period that an honest customer makes: each is billed as Stripe bills it.

`WEIGHTS` says how often each is drawn; 0 switches one off.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from leakage_pipeline.simulator.billing_engine.account import bill
from leakage_pipeline.simulator.billing_engine.calendar import DAY
from leakage_pipeline.simulator.billing_engine.commands import (
    AddItem,
    ApplyDiscount,
    Cancel,
    ChangeItem,
    ChangeTrialEnd,
    Coupon,
    Create,
    Discount,
    NewItem,
    Pause,
    PauseCollection,
    Proration,
    RemoveItem,
    ResetAnchor,
    Resume,
)
from leakage_pipeline.simulator.billing_engine.ledger import Plan
from leakage_pipeline.simulator.billing_engine.prices import BilledPrice
from leakage_pipeline.simulator.invoicing_periods import from_epoch
from leakage_pipeline.simulator.pricing import per_unit
from leakage_pipeline.simulator.random_company_customers import (
    Member,
    Scene,
    draw_start,
    own_price,
)
from leakage_pipeline.simulator.random_company_terms import MeterOffer, chance, draw_rate

HOUR = 3600
WEIGHTS = {
    "none": 50,
    "quantity": 12,
    "quantity_twice": 6,
    "price": 6,
    "add_on": 8,
    "add_and_remove": 4,
    "meter_price": 5,
    "remove_meter": 3,
    "trial_end": 4,
    "reset_anchor": 4,
    "void_pause": 4,
    "draft_pause": 2,
    "uncollectible_pause": 2,
    "pause": 3,
    "coupon": 4,
}
EVENTS_KEPT = 29 * DAY
Change = Callable[[Scene, Member, list[MeterOffer]], None]


def draw_changes(scene: Scene, member: Member, offers: list[MeterOffer]) -> None:
    """Perhaps one kind of change; nothing where the kind does not fit the customer."""
    kind = scene.rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    if kind != "none":
        CHANGES[kind](scene, member, offers)


def draw_second(scene: Scene, member: Member) -> None:
    """Some have one more subscription, to another plan's licence, for an account of its own."""
    rng, currency = scene.rng, member.buyer.currency
    others = [
        plan
        for plan in scene.terms.plans
        if plan.licence is not None
        and plan.name != member.plan.name
        # A plan whose meters cost something unused cannot go without them.
        and not any(offer.costs_at_zero for offer in plan.meters)
        and currency in plan.currencies
    ]
    if not others or not chance(rng, 0.15):
        return
    plan = rng.choice(others)
    create = Create(
        draw_start(rng, plan.rhythm, scene.as_of),
        (NewItem("base", plan.licence, rng.randint(1, 9)),),  # type: ignore[arg-type]
        rng.choice(("classic", "flexible")),
    )
    account = {
        **member.account,
        "account_id": f"acc_{member.code}_b",
        "plan": plan.name,
        "status": "active",
        "access_enabled": "true",
        "seats": 1,
        "features": json.dumps(list(plan.features)),
        "updated_at": from_epoch(create.at).isoformat(),
    }
    metadata = (("account_id", account["account_id"]),)
    member.other_plans.append(Plan(f"sub_{member.code}_b", (create,), metadata=metadata))
    member.other_accounts.append(account)


def _moment(scene: Scene, member: Member, after: int | None = None) -> int | None:
    """A second of the billed life, not near its beginning, its end or now."""
    create = member.create
    first = max(after or 0, create.trial_end or 0, create.anchor or 0, create.at) + HOUR
    last = scene.as_of - 2 * HOUR
    if member.later:
        if not isinstance(member.later[0], Cancel):
            return None
        last = member.later[0].at - HOUR
    return scene.rng.randrange(first, last) if last > first + HOUR else None


def _how(scene: Scene) -> Proration:
    return scene.rng.choice(("create_prorations", "always_invoice"))


def _base(member: Member) -> NewItem | None:
    """The licence, if there is one."""
    return next((item for item in member.create.items if item.name == "base"), None)


def _quantity(times: int) -> Change:
    def change(scene: Scene, member: Member, _: list[MeterOffer]) -> None:
        base, at = _base(member), None
        if base is None or base.quantity is None:
            return
        seats = [base.quantity]
        for _number in range(times):
            at = _moment(scene, member, at)
            if at is None:
                break
            seats.append(max(1, seats[-1] + scene.rng.choice((-5, -2, -1, 1, 2, 7))))
            command = ChangeItem(at, "base", quantity=seats[-1], proration=_how(scene))
            _insert(member, command)
        member.account["seats"] = min(seats)

    return change


def _insert(member: Member, command: ChangeItem | AddItem | RemoveItem) -> None:
    """Before the cancellation, if there is one."""
    ends = [entry for entry in member.later if isinstance(entry, Cancel)]
    member.later = [entry for entry in member.later if entry not in ends] + [command, *ends]


def _price(scene: Scene, member: Member, _: list[MeterOffer]) -> None:
    """Another price of the same plan, where neither contract nor price book name one."""
    base, at = _base(member), _moment(scene, member)
    if base is None or at is None or member.plan.list_rows or member.contract is not None:
        return
    price = own_price(member, base.price, per_unit(str(scene.rng.randint(100, 50_000) * 10)))
    _insert(member, ChangeItem(at, "base", price=price, proration=_how(scene)))


def _add_on_price(scene: Scene, member: Member, base: NewItem) -> BilledPrice:
    price = replace(
        base.price,
        price_id=f"price_addon_{member.code}",
        product_id=f"prod_{scene.terms.code}_addon",
        plan=None,
        currency=member.buyer.currency,
        rate=per_unit(str(scene.rng.randint(1, 9) * 10)),
        options={},
        created=member.create.at - HOUR,
    )
    member.own_prices.append(price)
    return price


def _add_on(*, removed: bool) -> Change:
    def change(scene: Scene, member: Member, _: list[MeterOffer]) -> None:
        base, at = _base(member), _moment(scene, member)
        if base is None or at is None:
            return
        item = NewItem("addon", _add_on_price(scene, member, base), scene.rng.randint(1, 9))
        _insert(member, AddItem(at, item, _how(scene)))
        gone = _moment(scene, member, at)
        if removed and gone is not None:
            _insert(member, RemoveItem(gone, "addon", _how(scene)))

    return change


def _free_meter(scene: Scene, member: Member, offers: list[MeterOffer]) -> MeterOffer | None:
    """A meter that Stripe's price alone rules, in flexible mode."""
    free = [offer for offer in offers if not member.plan.list_rows]
    if member.create.mode != "flexible" or member.contract is not None or not free:
        return None
    return scene.rng.choice(free)


def _moment_of(scene: Scene, member: Member, offer: MeterOffer) -> int | None:
    """A second inside a period of the meter, billed or running."""
    if member.later:
        return None
    billed = bill(member.life(), scene.as_of)
    spans = [
        line.service
        for _, line in billed.lines
        if line.price.meter == offer.meter and line.unit != 0
    ]
    spans += [
        (item.start, min(item.end, scene.as_of))
        for item in billed.subscriptions[0].items
        if item.price.meter == offer.meter and not item.is_trial
    ]
    if not spans:
        return None
    start, end = scene.rng.choice(spans)
    start = max(start, member.create.at)
    return scene.rng.randrange(start + HOUR, end - HOUR) if end > start + 3 * HOUR else None


def _meter_price(scene: Scene, member: Member, offers: list[MeterOffer]) -> None:
    offer = _free_meter(scene, member, offers)
    at = None if offer is None else _moment_of(scene, member, offer)
    if offer is None or at is None:
        return
    rate, _ = draw_rate(scene.rng, offer.volume, member.buyer.currency)
    price = own_price(member, offer.price, rate)
    taken = {other.log_name for other in (*offers, *member.plan.meters)}
    others = [pair for pair in scene.terms.meters if pair[0] not in taken]
    if others and chance(scene.rng, 0.5):
        log_name, meter = scene.rng.choice(others)
        price = replace(price, meter=meter)
        member.own_prices[-1] = price
        member.log_until[offer.log_name] = at
        member.log_from[log_name] = at
        offers.append(replace(offer, log_name=log_name, meter=meter, price=price))
    member.later.append(ChangeItem(at, offer.log_name.rpartition("_")[2], price=price))


def _remove_meter(scene: Scene, member: Member, offers: list[MeterOffer]) -> None:
    offer = _free_meter(scene, member, offers)
    at = None if offer is None else _moment_of(scene, member, offer)
    if offer is None or at is None or len(member.create.items) == 1:
        return
    member.later.append(RemoveItem(at, offer.log_name.rpartition("_")[2]))
    member.log_until[offer.log_name] = at


def _trial_end(scene: Scene, member: Member, _: list[MeterOffer]) -> None:
    trial_end = member.create.trial_end
    if trial_end is None or member.later or trial_end > scene.as_of:
        return
    at = scene.rng.randrange(member.create.at + HOUR, trial_end)
    wanted = at if chance(scene.rng, 0.4) else trial_end + scene.rng.randint(-HOUR, 5 * DAY)
    if wanted >= at:
        member.later.append(ChangeTrialEnd(at, wanted))


def _reset_anchor(scene: Scene, member: Member, _: list[MeterOffer]) -> None:
    at = _moment(scene, member)
    if at is not None and not member.later and _base(member) is not None:
        member.later.append(ResetAnchor(at))


def _collection(behavior: str) -> Change:
    def change(scene: Scene, member: Member, _: list[MeterOffer]) -> None:
        at = _moment(scene, member)
        if at is not None and not member.later:
            member.later.append(PauseCollection(at, behavior))  # type: ignore[arg-type]

    return change


def _pause(scene: Scene, member: Member, offers: list[MeterOffer]) -> None:
    at = _moment(scene, member)
    if at is None or member.later or member.create.mode != "flexible" or member.sends_invoices:
        return
    back = _moment(scene, member, at)
    credits_from = scene.rng.choice(("now", "now", "item_current_period_start", "none"))
    pause = Pause(at, credits_from=credits_from, invoices=chance(scene.rng, 0.5))  # type: ignore[arg-type]
    member.later.append(pause)
    for offer in offers:
        member.log_until[offer.log_name] = at
    # Once it is over, only Stripe's events tell that there was a pause.
    if back is not None and at > scene.as_of - EVENTS_KEPT:
        member.later.append(Resume(back))


def _coupon(scene: Scene, member: Member, _: list[MeterOffer]) -> None:
    at = _moment(scene, member)
    if at is None or member.later or member.create.discounts or member.contract is not None:
        return
    coupon = Coupon(
        f"co_{member.code}_later",
        at - DAY,
        percent_off=Decimal(scene.rng.choice((10, 20, 30))),
        duration="repeating",
        months=scene.rng.randint(1, 3),
    )
    member.later.append(ApplyDiscount(at, Discount(f"di_{member.code}_later", coupon)))


CHANGES: dict[str, Change] = {
    "quantity": _quantity(1),
    "quantity_twice": _quantity(2),
    "price": _price,
    "add_on": _add_on(removed=False),
    "add_and_remove": _add_on(removed=True),
    "meter_price": _meter_price,
    "remove_meter": _remove_meter,
    "trial_end": _trial_end,
    "reset_anchor": _reset_anchor,
    "void_pause": _collection("void"),
    "draft_pause": _collection("keep_as_draft"),
    "uncollectible_pause": _collection("mark_uncollectible"),
    "pause": _pause,
    "coupon": _coupon,
}
