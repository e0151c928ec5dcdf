"""A planted leak: the right world, the world as it is, and their difference as labels.

Both worlds are billed by the engine; a label is what the right one bills more (or less) for a
period. The variants stand in `random_company_leaks`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from leakage_pipeline.simulator.billing_engine.account import Billed, Life, bill
from leakage_pipeline.simulator.billing_engine.ledger import Line, Span
from leakage_pipeline.simulator.billing_engine.prices import exponent
from leakage_pipeline.simulator.ground_truth import Label
from leakage_pipeline.simulator.invoicing_periods import from_epoch
from leakage_pipeline.simulator.random_company_customers import Member, Scene
from leakage_pipeline.simulator.random_company_terms import MeterOffer

DAY = 86_400
DRAFT = 3600
GRACE = 3 * DAY  # how long an invoice may be missing
TOLERANCE = Decimal(5)  # percent of the metered quantity
ONLY_OVERBILLING = {"overbilled_price", "double_charge"}
OVERBILLING = {*ONLY_OVERBILLING, "incorrect_discount", "unbilled_proration"}
Matches = Callable[[Line], bool]


@dataclass
class Planted:
    """A leak as it was planted: `wrong` is what Stripe shows, `kind` its finding type.

    `meter` is the log's name; `counts` tells the lines that the leak is about; `is_open_too` that
    a running period's usage so far is judged; `grace` that a finding waits some days; `credited`
    is what was given back of an overcharge.
    """

    right: Life
    wrong: Life
    kind: str
    variant: str
    counts: Matches
    meter: str | None = None
    is_open_too: bool = False
    grace: int = 0
    published: Callable[[Billed, Billed, Span], bool] = lambda _right, _wrong, _span: True
    opposite: str | None = None
    minimum: int | None = None
    credited: int = 0


Variant = Callable[[Scene, Member, list[MeterOffer]], Planted | None]


def labels_of(planted: Planted, member: Member, as_of: int) -> list[Label]:
    """The findings that the audit must have, to the cent."""
    right, wrong = bill(planted.right, as_of), bill(planted.wrong, as_of)
    owed, billed = (_nets(planted, world, member.subscription_id) for world in (right, wrong))
    if planted.minimum is not None:
        owed = {start: (end, planted.minimum) for start, (end, _) in owed.items()}
        owed = {k: v for k, v in owed.items() if k >= (member.create.trial_end or 0)}
        billed = {k: v for k, v in billed.items() if k in owed}
    ended = wrong.subscriptions[0].ended_at
    found = []
    for start in sorted(owed.keys() | billed.keys()):
        natural_end = owed.get(start, billed.get(start, (0, 0)))[0]
        end = natural_end if ended is None else min(natural_end, ended)
        gap = owed.get(start, (0, 0))[1] - billed.get(start, (0, 0))[1]
        if gap < 0:
            gap = min(0, gap + planted.credited)
        is_late = end + planted.grace <= as_of or not planted.grace
        kind = planted.kind if gap > 0 or planted.kind in OVERBILLING else planted.opposite
        is_told = planted.published(right, wrong, (start, end)) and is_late and gap != 0
        if not is_told or kind is None or (gap > 0 and kind in ONLY_OVERBILLING):
            continue
        found.append(
            Label(
                customer_id=member.buyer.customer_id,
                subscription_id=member.subscription_id,
                leakage_type=kind,
                variant=planted.variant,
                meter=planted.meter,
                period_start=from_epoch(start),
                period_end=from_epoch(end),
                phase="closed" if end + DRAFT <= as_of else "open",
                currency=member.buyer.currency,
                amount=Decimal(abs(gap)).scaleb(-exponent(member.buyer.currency)),
            )
        )
    return found


def _nets(planted: Planted, billed: Billed, subscription_id: str) -> dict[int, tuple[int, int]]:
    """Period start to its end and the net amount of the lines that count."""
    found = [*billed.lines, *(billed.usage_so_far if planted.is_open_too else ())]
    lines = [line for sub, line in found if sub.plan.subscription_id == subscription_id]
    totals: dict[int, tuple[int, int]] = {}
    for line in lines:
        if planted.counts(line):
            start, end = line.service
            totals[start] = (end, totals.get(start, (end, 0))[1] + line.net)
    return totals


def is_fee(line: Line) -> bool:
    """A line of a licence: its fee or a proration of it."""
    return line.price.meter is None


def of_meter(offer: MeterOffer) -> Matches:
    """The lines of one meter."""
    return lambda line: line.price.meter == offer.meter
