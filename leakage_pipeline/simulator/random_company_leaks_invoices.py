"""The leaks of invoices: one that is missing, a line that is there twice or not at all."""

from dataclasses import replace

from leakage_pipeline.simulator.billing_engine.account import Billed, Life, bill
from leakage_pipeline.simulator.billing_engine.commands import Cancel
from leakage_pipeline.simulator.billing_engine.edits import InvoiceEdit
from leakage_pipeline.simulator.billing_engine.ledger import Line, Subscription
from leakage_pipeline.simulator.billing_engine.prices import rounding_unit
from leakage_pipeline.simulator.billing_engine.settlement import CreditNoteOrder
from leakage_pipeline.simulator.random_company_customers import Member, Scene
from leakage_pipeline.simulator.random_company_planted import (
    DAY,
    GRACE,
    Planted,
    Variant,
)
from leakage_pipeline.simulator.random_company_terms import MeterOffer

HOUR = 3600
CREDITED_SHARE = 0.4


def is_credited(member: Member) -> bool:
    """Whether a cancellation gives back a part of the fee: rounded by itself, cent by cent."""
    return any(isinstance(command, Cancel) and command.prorate for command in member.later)


def missing_invoice(scene: Scene, member: Member, _: list[MeterOffer]) -> Planted | None:
    """A renewal's invoice is void, or was never made."""
    right = member.life()
    ending = member.later[-1] if member.later else None
    if member.create.discounts and is_credited(member):
        return None  # what the credit of a fee without a line holds of a discount, nobody can tell
    billed = bill(right, scene.as_of)
    renewals = [
        invoice
        for invoice in billed.subscriptions[0].invoices
        if invoice.reason == "subscription_cycle"
        and invoice.finalizes_at < scene.as_of
        # A final invoice that is not made is another leak: the last usage is lost.
        and not (isinstance(ending, Cancel) and invoice.created >= ending.at)
    ]
    if not renewals:
        return None
    act = scene.rng.choice(("remove", "void"))
    invoice_id = scene.rng.choice(renewals).invoice_id
    if act == "remove" and _alone_tells_of_a_coupon(invoice_id, billed, member):
        return None
    edit = InvoiceEdit(invoice_id, act)  # type: ignore[arg-type]
    wrong = replace(right, edits=(edit,))
    return Planted(right, wrong, "missing_invoice", act, lambda _: True, grace=GRACE)


def _alone_tells_of_a_coupon(invoice_id: str, billed: Billed, member: Member) -> bool:
    """Whether a coupon that is over was taken off no other invoice: then nothing tells of it."""
    passing = {
        discount.discount_id
        for discount in member.create.discounts
        if discount.coupon.duration != "forever"
    }
    carriers = [line for _, line in billed.lines if any(i in passing for i, _ in line.off)]
    return {line.invoice_id for line in carriers} == {invoice_id}


def line_edit(act: str, kind: str) -> Variant:
    """A line is repeated, dropped or changed on a finalised invoice."""

    def plant(scene: Scene, member: Member, _: list[MeterOffer]) -> Planted | None:
        right = member.life()
        billed = bill(right, scene.as_of)
        lines = [
            line
            for sub, line in billed.lines
            if line.net > 0
            and line.kind != "proration"
            # A unit for each line is rounding: a line that small says nothing.
            and (act != "repeat_line" or line.net > 20 * rounding_unit(member.buyer.currency))
            and (act == "repeat_line" or line.price.meter is not None)
            # What the final invoice lacks is final_usage_lost, what is alone a missing invoice.
            and not (act == "drop_line" and (_is_final(line, member) or _is_alone(line, sub)))
        ]
        if not lines:
            return None
        line = scene.rng.choice(lines)
        edit = InvoiceEdit(line.invoice_id or "", act, line.line_id)  # type: ignore[arg-type]
        meter = line.price.meter
        log_name = next(
            (o.log_name for o in member.plan.meters if meter and o.meter == meter), None
        )
        wrong = replace(right, edits=(edit,))
        credit = _credit_of_repetition(scene, wrong, line) if act == "repeat_line" else None
        if credit is not None:
            wrong = replace(wrong, credits=(*wrong.credits, credit))
        return Planted(
            *(right, wrong, kind, act),
            counts=lambda other: other.item_id == line.item_id,
            meter=log_name,
            credited=0 if credit is None else credit.amount,
        )

    return plant


def _credit_of_repetition(scene: Scene, wrong: Life, line: Line) -> CreditNoteOrder | None:
    """Somebody may have noticed: a part of the repeated line, or all of it, is credited."""
    billed = bill(wrong, scene.as_of)
    owner = next(
        invoice
        for invoice in billed.subscriptions[0].invoices
        if invoice.invoice_id == line.invoice_id
    )
    latest = min(owner.finalizes_at + 13 * DAY, scene.as_of - 2 * HOUR)
    if latest <= owner.finalizes_at + HOUR or scene.rng.random() >= CREDITED_SHARE:
        return None
    amount = scene.rng.choice((line.net, scene.rng.randint(1, line.net)))
    at = scene.rng.randint(owner.finalizes_at + HOUR, latest)
    return CreditNoteOrder(owner.invoice_id, len(owner.lines) - 1, amount, at)


def _is_final(line: Line, member: Member) -> bool:
    """Whether the line bills the last usage of a subscription that was cancelled at once."""
    return any(isinstance(command, Cancel) and line.end == command.at for command in member.later)


def _is_alone(line: Line, sub: Subscription) -> bool:
    """Whether the invoice would bill nothing else of its instant."""
    owner = next(entry for entry in sub.invoices if entry.invoice_id == line.invoice_id)
    return all(other is line or other.kind == "proration" for other in owner.lines)
