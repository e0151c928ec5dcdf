"""Invoices as Stripe shows them: tax, the customer's balance, payment, voiding, credit notes.

One customer's invoices of all subscriptions are settled together in the order of finalisation,
because a credit that one leaves is used up by the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from leakage_pipeline.simulator import stripe_objects as build
from leakage_pipeline.simulator.billing_engine.discounts import rounded
from leakage_pipeline.simulator.billing_engine.ledger import Buyer, Invoice, Line, Subscription
from leakage_pipeline.simulator.billing_engine.prices import LEAST_CHARGE, price_object
from leakage_pipeline.simulator.billing_engine.rendering import DAYS_UNTIL_DUE, discount_object
from leakage_pipeline.simulator.pricing import HUNDRED
from leakage_pipeline.simulator.stripe_objects import JsonObject

DAY = 86_400
CHARGED_AFTER = 2  # seconds from finalisation to payment of a card
SENT_PAID_AFTER = 16 * DAY


@dataclass(frozen=True)
class CreditNoteOrder:
    """A credit that someone decides: `amount` in minor units off the invoice's line.

    `way` says where the money of a paid invoice goes; an open one is simply owed less.
    """

    invoice_id: str
    line: int
    amount: int
    at: int
    way: Literal["refund", "balance"] = "refund"
    is_void: bool = False


@dataclass
class Settlement:
    """The customer's rendered invoices and credit notes, and the balance that is left."""

    invoices: list[JsonObject] = field(default_factory=list)
    credit_notes: list[JsonObject] = field(default_factory=list)
    balance: int = 0


def settle(
    buyer: Buyer,
    subscriptions: Sequence[Subscription],
    as_of: int,
    orders: Sequence[CreditNoteOrder] = (),
) -> Settlement:
    """Render every invoice of the customer as it stands at `as_of`."""
    result = Settlement()
    owned = [(invoice, sub) for sub in subscriptions for invoice in sub.invoices]
    waiting = sorted(orders, key=lambda order: order.at)
    for number, (invoice, sub) in enumerate(
        sorted(owned, key=lambda pair: (pair[0].finalizes_at, pair[0].invoice_id)), start=1
    ):
        while waiting and waiting[0].at <= invoice.finalizes_at:
            _credit(result, waiting.pop(0), as_of)
        shown = _Renderer(buyer, sub, invoice, as_of).render(number, result.balance)
        if shown["status"] not in {"draft", "void"}:
            result.balance = shown["ending_balance"]
        result.invoices.append(shown)
    for order in waiting:
        _credit(result, order, as_of)
    return result


def _credit(result: Settlement, order: CreditNoteOrder, as_of: int) -> None:
    shown = next(entry for entry in result.invoices if entry["id"] == order.invoice_id)
    if order.at > as_of or shown["status"] not in {"paid", "open"}:
        return
    number = len(result.credit_notes) + 1
    line = build.credit_note_line(
        f"cnli_{order.invoice_id[3:]}_{number}",
        amount=order.amount,
        invoice_line_item=shown["lines"]["data"][order.line]["id"],
        quantity=1,
        unit_amount=order.amount,
    )
    paid_at = shown["status_transitions"]["paid_at"]
    is_paid = paid_at is not None and paid_at <= order.at
    note = build.credit_note(
        f"cn_{order.invoice_id[3:]}_{number}",
        invoice=shown,
        created=order.at,
        lines=[line],
        status="void" if order.is_void else "issued",
        voided_at=order.at + DAY if order.is_void else None,
        reason="order_change",
        post_payment_amount=None if is_paid else 0,
    )
    result.credit_notes.append(note)
    if order.is_void:
        return
    if is_paid:
        shown["post_payment_credit_notes_amount"] += note["amount"]
        if order.way == "balance":
            result.balance -= note["amount"]
            note["customer_balance_transaction"] = f"cbtxn_{note['id'][3:]}"
        return
    shown["pre_payment_credit_notes_amount"] += note["amount"]
    shown["amount_due"] -= note["amount"]
    # What is credited before it is paid is never paid.
    shown["amount_remaining" if shown["status"] == "open" else "amount_paid"] -= note["amount"]


class _Renderer:
    """One invoice."""

    def __init__(self, buyer: Buyer, sub: Subscription, invoice: Invoice, as_of: int) -> None:
        self.buyer = buyer
        self.sub = sub
        self.invoice = invoice
        self.as_of = as_of

    def render(self, number: int, balance: int) -> JsonObject:
        status, life = self._life()
        invoice, sub = self.invoice, self.sub
        sent = sub.plan.sends_invoices
        known = {active.discount.discount_id: active for active in sub.discounts}
        shown = build.invoice(
            invoice.invoice_id,
            customer=self.buyer.customer_id,
            currency=self.buyer.currency,
            created=invoice.created,
            lines=[self._line(line) for line in invoice.lines],
            period_start=invoice.window[0],
            period_end=invoice.window[1],
            status=status,
            number=f"{self.buyer.customer_id[4:].upper()}-{number:04d}",
            billing_reason=invoice.reason,
            subscription=sub.plan.subscription_id,
            subscription_metadata=dict(sub.plan.metadata),
            collection_method="send_invoice" if sent else "charge_automatically",
            due_date=invoice.finalizes_at + DAYS_UNTIL_DUE * DAY if sent else None,
            automatically_finalizes_at=(
                None if invoice.collection == "keep_as_draft" else invoice.finalizes_at
            ),
            auto_advance=False if invoice.collection is not None else None,
            starting_balance=0 if status in {"draft", "void"} else balance,
            discounts=[
                discount_object(known[key], sub)
                for key in invoice.discounts
                if known[key].item_id is None
            ],
            **life,
        )
        if status not in {"draft", "void"}:
            self._carry_small_amounts(shown)
        return shown

    def _life(self) -> tuple[str, dict[str, Any]]:
        """Status at `as_of`, and when each step was taken."""
        invoice = self.invoice
        finalized = invoice.finalizes_at
        if finalized > self.as_of or invoice.collection == "keep_as_draft":
            return "draft", {}
        if invoice.collection == "void":
            return "void", {"finalized_at": finalized, "voided_at": finalized}
        if invoice.collection == "mark_uncollectible":
            return "uncollectible", {
                "finalized_at": finalized,
                "marked_uncollectible_at": finalized,
            }
        paid = finalized + (SENT_PAID_AFTER if self.sub.plan.sends_invoices else CHARGED_AFTER)
        if paid > self.as_of:
            return "open", {"finalized_at": finalized}
        return "paid", {"finalized_at": finalized, "paid_at": paid}

    def _carry_small_amounts(self, shown: JsonObject) -> None:
        """Below the least amount that can be charged nothing is due: the balance carries it."""
        due = shown["amount_due"]
        if 0 < due < LEAST_CHARGE.get(self.buyer.currency, 0):
            shown.update(amount_due=0, amount_paid=0, amount_remaining=0, ending_balance=due)
            if shown["status"] == "open":
                transitions = shown["status_transitions"]
                transitions["paid_at"] = transitions["finalized_at"]
                shown["status"] = "paid"

    def _line(self, line: Line) -> JsonObject:
        sub = self.sub
        own = [
            discount_object(active, sub)
            for active in sub.discounts
            if active.item_id == line.item_id
            and active.discount.discount_id in {key for key, _ in line.off}
        ]
        if line.kind == "item":
            return self._item_line(line)
        is_metered = line.price.meter is not None
        return build.line(
            line.line_id,
            invoice=self.invoice.invoice_id,
            amount=line.amount,
            currency=self.buyer.currency,
            period_start=line.start,
            period_end=line.end,
            price=price_object(line.price),
            quantity=line.quantity,
            unit_amount=line.unit,
            subscription=sub.plan.subscription_id,
            subscription_item=line.item_id,
            invoice_item=line.invoice_item,
            proration=line.kind == "proration",
            credited_items=self._credited(line),
            discounts=own,
            discount_amounts=line.off,
            taxes=self._taxes(line),
            discountable=line.kind != "proration",
            description=line.description or ("usage" if is_metered else "fee"),
        )

    def _item_line(self, line: Line) -> JsonObject:
        """An invoice item's line: it names the subscription and no item of it."""
        return build.line(
            line.line_id,
            invoice=self.invoice.invoice_id,
            amount=line.amount,
            currency=self.buyer.currency,
            period_start=line.start,
            period_end=line.end,
            subscription=self.sub.plan.subscription_id,
            invoice_item=line.invoice_item,
            discount_amounts=line.off,
            taxes=self._taxes(line),
            discountable=line.is_discountable,
            description=line.description,
            metadata=dict(line.metadata),
        )

    def _credited(self, line: Line) -> tuple[str, list[str]] | None:
        if line.credited_line is None:
            return None
        owners = (
            invoice.invoice_id
            for invoice in self.sub.invoices
            for entry in invoice.lines
            if entry.line_id == line.credited_line
        )
        owner = next(owners, None)  # an invoice that somebody deleted
        return None if owner is None else (owner, [line.credited_line])

    def _taxes(self, line: Line) -> list[JsonObject]:
        if self.buyer.tax is None:
            return []
        percent, behavior = self.buyer.tax
        base = HUNDRED if behavior == "exclusive" else HUNDRED + percent
        amount = rounded(Decimal(line.net) * percent / base, self.buyer.currency)
        return [build.tax(amount, behavior=behavior, taxable_amount=line.net)]
