"""One more month for a company whose bills were corrected: the corrections billed by the engine.

The books are the difference of two worlds, one with what recovery sent to Stripe and one without;
nothing of the audit's SQL or of the ledger is asked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from leakage_pipeline.simulator.billing_engine.account import Life, add_to, bill
from leakage_pipeline.simulator.billing_engine.commands import AddInvoiceItem, Create
from leakage_pipeline.simulator.billing_engine.ledger import Plan
from leakage_pipeline.simulator.billing_engine.usage import MeterBook, Reported
from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount


def account_at(lives: Iterable[Life], catalogue: StripeAccount, as_of: datetime) -> StripeAccount:
    """The account as it stands at an instant: the catalogue, and everybody who was there by then.

    Args:
        lives: The customers.
        catalogue: An account with the products, prices and meters they are billed with.
        as_of: The instant.
    """
    account = StripeAccount(
        products=list(catalogue.products),
        prices=list(catalogue.prices),
        inline_prices=list(catalogue.inline_prices),
        meters=list(catalogue.meters),
    )
    now = int(as_of.timestamp())
    for life in lives:
        if present := _present(life, now):
            add_to(account, bill(present, now))
    return account


def corrected(
    lives: Iterable[Life], items: Sequence[JsonObject], events: Sequence[JsonObject]
) -> list[Life]:
    """The customers with what was sent to Stripe: its invoice items and meter events."""
    return [_corrected(life, items, events) for life in lives]


def _corrected(life: Life, items: Sequence[JsonObject], events: Sequence[JsonObject]) -> Life:
    customer = life.buyer.customer_id
    told = [
        Reported(
            event["event_name"], event["timestamp"], Decimal(event["value"]), event["identifier"]
        )
        for event in events
        if event["customer"] == customer
    ]
    plans = tuple(_with_items(plan, items) for plan in life.plans)
    return replace(life, plans=plans, usage=MeterBook([*life.usage.events, *told]))


def _with_items(plan: Plan, items: Sequence[JsonObject]) -> Plan:
    added = [
        AddInvoiceItem(
            at=item["date"],
            item_id=item["id"],
            amount=item["amount"],
            start=item["period"]["start"],
            end=item["period"]["end"],
            is_discountable=item["discountable"],
            description=item["description"],
            metadata=tuple(item["metadata"].items()),
        )
        for item in items
        if item["parent"]["subscription_details"]["subscription"] == plan.subscription_id
    ]
    return replace(plan, commands=(*plan.commands, *added))


def carry_over(account: StripeAccount, notes: Iterable[JsonObject]) -> None:
    """Credit notes that were issued earlier, in an account that the engine has billed anew.

    Each lowers its invoice again, and puts what had been paid on the customer's balance.
    """
    invoices = {invoice["id"]: invoice for invoice in account.invoices}
    customers = {customer["id"]: customer for customer in account.customers}
    for note in notes:
        invoice = invoices[note["invoice"]]
        before, after = note["pre_payment_amount"], note["post_payment_amount"]
        account.credit_notes.append(note)
        invoice["pre_payment_credit_notes_amount"] += before
        invoice["post_payment_credit_notes_amount"] += after
        invoice["amount_due"] -= before
        if invoice["status"] == "paid":
            invoice["amount_paid"] -= before
        else:
            invoice["amount_remaining"] -= before
        customers[note["customer"]]["balance"] -= after


def billed_additionally(before: Life, after: Life, as_of: datetime) -> int:
    """What a customer's counted invoices come to more with the corrections, in minor units."""
    now = int(as_of.timestamp())
    return _billed(after, now) - _billed(before, now)


def _billed(life: Life, as_of: int) -> int:
    present = _present(life, as_of)
    return sum(line.net for _, line in bill(present, as_of).lines) if present else 0


def _present(life: Life, as_of: int) -> Life | None:
    """The customer with the subscriptions that exist by then."""
    plans = tuple(
        plan
        for plan in life.plans
        if any(isinstance(each, Create) and each.at <= as_of for each in plan.commands)
    )
    events = [event for event in life.usage.events if event.at <= as_of]
    return replace(life, plans=plans, usage=MeterBook(events)) if plans else None
