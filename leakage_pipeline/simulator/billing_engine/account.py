"""A billed customer as objects of a Stripe account: everything the API would show of it.

Products, prices and meters are added once by whoever owns the catalogue.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from leakage_pipeline.simulator import stripe_objects as build
from leakage_pipeline.simulator.billing_engine.commands import Coupon
from leakage_pipeline.simulator.billing_engine.discounts import take_off
from leakage_pipeline.simulator.billing_engine.edits import InvoiceEdit, apply_edits
from leakage_pipeline.simulator.billing_engine.engine import play
from leakage_pipeline.simulator.billing_engine.ledger import Buyer, Line, Plan, Subscription
from leakage_pipeline.simulator.billing_engine.prices import price_object, rounding_unit
from leakage_pipeline.simulator.billing_engine.rendering import subscription_object
from leakage_pipeline.simulator.billing_engine.settlement import (
    CreditNoteOrder,
    Settlement,
    settle,
)
from leakage_pipeline.simulator.billing_engine.subscription_events import KEPT_FOR
from leakage_pipeline.simulator.billing_engine.usage import MeterBook
from leakage_pipeline.simulator.billing_engine.writer import LineWriter
from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount


@dataclass(frozen=True)
class Billed:
    """What billing a customer gave."""

    buyer: Buyer
    subscriptions: list[Subscription]
    settlement: Settlement
    usage: MeterBook
    as_of: int

    @property
    def lines(self) -> Iterable[tuple[Subscription, Line]]:
        """Lines of the invoices that count (neither draft nor void), with their subscription."""
        status = {entry["id"]: entry["status"] for entry in self.settlement.invoices}
        for sub in self.subscriptions:
            for invoice in sub.invoices:
                if status[invoice.invoice_id] not in {"draft", "void"}:
                    yield from ((sub, line) for line in invoice.lines)

    @property
    def usage_so_far(self) -> Iterable[tuple[Subscription, Line]]:
        """What the running periods' usage would be billed at now, discounts included."""
        for sub in self.subscriptions:
            if sub.status != "active":
                continue
            writer = LineWriter(sub, self.usage, "preview")
            lines = [line for item in sub.items for line in writer.used(item, self.as_of)]
            # The invoice comes at the period's end, with the discounts of that second.
            for end in {line.service[1] for line in lines}:
                together = [line for line in lines if line.service[1] == end]
                take_off(together, sub.discounts, end, rounding_unit(sub.currency))
            for line in lines:
                line.end = line.service[1]
                yield sub, line


@dataclass(frozen=True)
class Life:
    """Everything that decides a customer's bills: its plans, its meter events, its credits."""

    buyer: Buyer
    plans: tuple[Plan, ...]
    usage: MeterBook = field(default_factory=MeterBook)
    credits: tuple[CreditNoteOrder, ...] = ()
    edits: tuple[InvoiceEdit, ...] = ()


def bill(life: Life, as_of: int) -> Billed:
    """Bill a customer up to `as_of`."""
    subscriptions = [play(life.buyer, plan, life.usage, as_of) for plan in life.plans]
    for sub in subscriptions:
        apply_edits(sub, life.edits)
    settlement = settle(life.buyer, subscriptions, as_of, life.credits)
    return Billed(life.buyer, subscriptions, settlement, life.usage, as_of)


def add_to(account: StripeAccount, billed: Billed) -> None:
    """Append the customer with everything of it to an account."""
    buyer, as_of = billed.buyer, billed.as_of
    account.customers.append(
        build.customer(
            buyer.customer_id,
            created=buyer.created,
            name=buyer.name,
            email=f"billing@{buyer.customer_id[4:].replace('_', '-')}.example",
            currency=buyer.currency,
            balance=billed.settlement.balance,
        )
    )
    account.invoices.extend(billed.settlement.invoices)
    account.credit_notes.extend(billed.settlement.credit_notes)
    for sub in billed.subscriptions:
        account.subscriptions.append(subscription_object(sub, as_of))
        account.invoice_items.extend(invoice_items(sub))
        account.events.extend(recent_events(sub, as_of))
        account.coupons.extend(
            coupon_object(coupon, as_of)
            for coupon in {active.discount.coupon for active in sub.discounts}
        )
    account.meter_events.extend(
        build.meter_event(
            event.event_name,
            customer=buyer.customer_id,
            value=event.value,
            timestamp=event.at,
            identifier=event.identifier,
        )
        for event in billed.usage.events
    )


def recent_events(sub: Subscription, as_of: int) -> list[JsonObject]:
    """The events that Stripe still shows: those of the last 30 days."""
    return [event for event in sub.events if as_of - KEPT_FOR <= event["created"] <= as_of]


def invoice_items(sub: Subscription) -> list[JsonObject]:
    """The subscription's invoice items: billed ones with their invoice, pending ones without."""
    billed = [line for invoice in sub.invoices for line in invoice.lines if line.is_pending_item]
    return [
        build.invoice_item(
            line.invoice_item or "",
            customer=sub.buyer.customer_id,
            amount=line.amount,
            currency=sub.currency,
            date=line.start if line.kind == "proration" else line.end,
            metadata=dict(line.metadata),
            period_start=line.start,
            period_end=line.end,
            price=None if line.kind == "item" else price_object(line.price),
            quantity=line.quantity,
            invoice=line.invoice_id,
            subscription=sub.plan.subscription_id,
            subscription_item=line.item_id or None,
            proration=line.kind == "proration",
            discountable=line.kind != "proration" and line.is_discountable,
            description=line.description,
        )
        for line in (*billed, *sub.pending)
    ]


def coupon_object(coupon: Coupon, as_of: int) -> JsonObject:
    """The coupon behind a discount."""
    return build.coupon(
        coupon.coupon_id,
        created=coupon.created,
        percent_off=coupon.percent_off,
        amount_off=coupon.amount_off,
        currency=coupon.currency,
        duration=coupon.duration,
        duration_in_months=coupon.months,
        name=coupon.name,
        redeem_by=coupon.redeem_by,
        valid=coupon.redeem_by is None or coupon.redeem_by > as_of,
        times_redeemed=1,
        metadata=dict(coupon.metadata),
    )
