"""The leak of a change inside a period that nobody prorated.

What the change should have cost is what the engine bills when it does prorate.
"""

from dataclasses import replace

from leakage_pipeline.simulator.billing_engine.account import bill
from leakage_pipeline.simulator.billing_engine.commands import ChangeItem, Create
from leakage_pipeline.simulator.billing_engine.ledger import Line
from leakage_pipeline.simulator.pricing import per_unit
from leakage_pipeline.simulator.random_company_customers import Member, Scene, own_price
from leakage_pipeline.simulator.random_company_planted import DAY, DRAFT, Planted, is_fee
from leakage_pipeline.simulator.random_company_terms import MeterOffer

HOUR = 3600
EVENTS_KEPT = 29 * DAY


def unbilled_change(scene: Scene, member: Member, _: list[MeterOffer]) -> Planted | None:
    """Another quantity, or price, from the middle of a period on, and nothing prorated.

    Recent enough for Stripe's events to tell the second, and in a period that is over.
    """
    base = next((item for item in member.create.items if item.name == "base"), None)
    create = member.create
    if base is None or base.quantity is None or member.later or create.discounts:
        return None
    known_from = max(scene.as_of - EVENTS_KEPT, create.at)
    over = [
        line.service
        for _, line in bill(member.life(), scene.as_of).lines
        if is_fee(line)
        and line.amount
        and not (_is_short(line, create) and create.mode == "flexible")
        and line.service[1] + 4 * DRAFT <= scene.as_of
        and line.service[1] - HOUR > known_from
    ]
    if not over:
        return None
    start, end = scene.rng.choice(over)
    at = scene.rng.randrange(max(start, known_from) + 1, end)
    quantity: int | None = max(1, base.quantity + scene.rng.choice((-3, -1, 2, 5)))
    if quantity == base.quantity:
        quantity = base.quantity + 1
    price = None
    if not member.plan.list_rows and member.contract is None and scene.rng.choice((True, False)):
        price = own_price(member, base.price, per_unit(str(scene.rng.randint(10, 9_000) * 10)))
        quantity = None
    member.account["seats"] = min(base.quantity, quantity or base.quantity)
    change = ChangeItem(at, "base", price, quantity)
    right = replace(member, later=[change]).life()
    member.later = [replace(change, proration="none")]
    return Planted(right, member.life(), "unbilled_proration", "no proration", is_fee)


def _is_short(line: Line, create: Create) -> bool:
    """Whether the fee of a period before the anchor is itself a floored share.

    Flexible mode gives back a share of that line; from the price it is a unit off at most.
    """
    return create.anchor is not None and line.service[1] == create.anchor
