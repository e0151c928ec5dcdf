"""What makes an honest customer look odd once it has been billed: nothing of it is a leak.

Lost usage below the tolerance, events on the very second of a bound, credit notes, a minimum
commitment that is just reached.
"""

import random
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal

from leakage_pipeline.simulator.billing_engine.account import Billed, bill
from leakage_pipeline.simulator.billing_engine.ledger import Line, Span
from leakage_pipeline.simulator.billing_engine.prices import exponent
from leakage_pipeline.simulator.billing_engine.settlement import CreditNoteOrder
from leakage_pipeline.simulator.random_company_customers import (
    QUIET,
    Member,
    Scene,
    contract_of,
)
from leakage_pipeline.simulator.random_company_terms import MeterOffer, chance
from leakage_pipeline.simulator.random_company_usage import LogEvent

DAY = 86_400
TINY = Decimal("0.02")  # of what is metered: far below the tolerance
ROUNDING_ROOM = 50  # minor units that a minimum stays below the period's total


def season(scene: Scene, member: Member, offers: list[MeterOffer]) -> None:
    """Add the noise that this customer's billed life allows."""
    rng = scene.rng
    billed = bill(member.life(), scene.as_of)
    latest = min(scene.as_of - QUIET, member.end or scene.as_of)
    for offer in offers:
        spans = sorted({line.service for line in usage_lines(billed, offer)})
        if offer.meter.formula == "last" or not spans:
            continue
        if chance(rng, 0.4):
            member.log.extend(_on_the_bounds(rng, member, offer, spans, latest))
        if offer.meter.formula == "sum" and chance(rng, 0.4):
            span = rng.choice(spans)
            begin, end = _time_of(member, offer, latest)
            inside = (max(span[0], begin), min(span[1], end))
            member.log.extend(_small_loss(member, offer, inside))
    if chance(rng, 0.2):
        _credit(rng, scene.as_of, member, bill(member.life(), scene.as_of))
    if member.plan.rhythm == ("month", 1) and chance(rng, 0.15):
        _minimum(member, bill(member.life(), scene.as_of))


def usage_lines(billed: Billed, offer: MeterOffer) -> list[Line]:
    """The paid usage lines of one meter."""
    return [
        line
        for _, line in billed.lines
        if line.kind == "usage" and line.price.meter == offer.meter and line.unit != 0
    ]


def log_event(member: Member, offer: MeterOffer, name: str, at: int, value: Decimal) -> LogEvent:
    """An event that is put somewhere on purpose."""
    return LogEvent(
        f"ev_{member.code}_{offer.log_name}_{name}_{at}",
        member.buyer.customer_id,
        offer.log_name,
        offer.meter.event_name,
        at,
        value,
        "gateway",
    )


def _on_the_bounds(
    rng: random.Random, member: Member, offer: MeterOffer, spans: list[Span], latest: int
) -> list[LogEvent]:
    """The first second belongs to the period, the second of the end to the next one."""
    value = Decimal(1) if offer.meter.formula == "count" else Decimal(rng.randint(1, 3))
    start, end = rng.choice(spans)
    events = [
        log_event(member, offer, "first", start, value),
        log_event(member, offer, "last", end - 1, value),
    ]
    begin, end = _time_of(member, offer, latest)
    return [event for event in events if begin <= event.at < end]


def _time_of(member: Member, offer: MeterOffer, latest: int) -> Span:
    """When a meter is used: a pause, or another meter on the item, ends it."""
    return (
        max(member.create.at, member.log_from.get(offer.log_name, 0)),
        min(latest, member.log_until.get(offer.log_name, latest)),
    )


def _small_loss(member: Member, offer: MeterOffer, span: Span) -> list[LogEvent]:
    """A little that is never reported, beside an event that is: too little in any period."""
    for event in member.log:
        if event.meter == offer.log_name and span[0] <= event.at < span[1] - 1:
            lost = (event.value * TINY).quantize(Decimal("0.0001"), rounding=ROUND_FLOOR)
            if lost > 0:
                return [replace(log_event(member, offer, "lost", event.at + 1, lost), reports=0)]
    return []


def _credit(rng: random.Random, as_of: int, member: Member, billed: Billed) -> None:
    """A part of a paid line given back within a fortnight."""
    candidates = [
        (invoice, position, line)
        for sub in billed.subscriptions
        for invoice in sub.invoices
        for position, line in enumerate(invoice.lines)
        if line.net > 1 and invoice.collection is None and invoice.finalizes_at + 14 * DAY < as_of
    ]
    if not candidates:
        return
    invoice, position, line = rng.choice(candidates)
    at = invoice.finalizes_at + rng.randint(DAY, 13 * DAY)
    member.credits.append(
        CreditNoteOrder(
            invoice.invoice_id,
            position,
            rng.randint(1, line.net),
            at,
            rng.choice(("refund", "balance")),
            is_void=chance(rng, 0.2),
        )
    )


def _minimum(member: Member, billed: Billed) -> None:
    """A commitment that the smallest finished period just meets."""
    totals: dict[int, int] = {}
    lines = (
        line
        for invoice in billed.subscriptions[0].invoices
        if invoice.collection != "void"
        for line in invoice.lines
    )
    for line in lines:
        if line.service[0] >= (member.create.trial_end or 0):
            totals[line.service[0]] = totals.get(line.service[0], 0) + line.net
    least = min(totals.values(), default=0) - ROUNDING_ROOM
    if least > 0:
        value = Decimal(least).scaleb(-exponent(member.buyer.currency))
        contract_of(member)["minimum_commitment"] = format(value, "f")
