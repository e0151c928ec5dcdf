"""What people did to simulated invoices, and to subscriptions between them, as raw Stripe objects.

Credit notes, one-off fees, and the event that tells of a change which no invoice bills.
"""

from leakage_pipeline.simulator import stripe_objects as build
from leakage_pipeline.simulator.customers import Customer
from leakage_pipeline.simulator.invoicing import DueInvoice
from leakage_pipeline.simulator.invoicing_periods import epoch
from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount


def add_credit_notes(due: DueInvoice, invoice: JsonObject, account: StripeAccount) -> None:
    """A goodwill credit on the invoice's last line for each of its credits."""
    suffix = invoice["id"][3:]
    for number, (amount, at) in enumerate(due.credits):
        line = build.credit_note_line(
            f"cnli_{suffix}_{number}",
            amount=amount,
            invoice_line_item=invoice["lines"]["data"][-1]["id"],
            quantity=1,
            unit_amount=amount,
        )
        account.credit_notes.append(
            build.credit_note(
                f"cn_{suffix}_{number}",
                invoice=invoice,
                created=epoch(at),
                lines=[line],
                reason="order_change",
                memo="Service credit for an outage",
            )
        )


def name_revisions(invoices: list[JsonObject]) -> None:
    """Let an invoice that was made again name the new one."""
    known = {invoice["id"]: invoice for invoice in invoices}
    for invoice in invoices:
        if invoice["from_invoice"] is not None:
            known[invoice["from_invoice"]["invoice"]]["latest_revision"] = invoice["id"]


def extra_lines(
    customer: Customer, due: DueInvoice, invoice_id: str, account: StripeAccount
) -> list[JsonObject]:
    """The line of a one-off fee that somebody added to an invoice, as an invoice item."""
    if not due.extra:
        return []
    suffix = invoice_id[3:]
    at = epoch(due.created)
    account.invoice_items.append(
        build.invoice_item(
            f"ii_{suffix}_extra",
            customer=customer.customer_id,
            amount=due.extra,
            currency=customer.currency,
            date=at,
            invoice=invoice_id,
            description="Set-up",
        )
    )
    return [
        build.line(
            f"il_{suffix}_extra",
            invoice=invoice_id,
            amount=due.extra,
            currency=customer.currency,
            period_start=at,
            period_end=at,
            invoice_item=f"ii_{suffix}_extra",
            description="Set-up",
        )
    ]


def add_change_events(
    customer: Customer,
    subscription: JsonObject,
    prices: dict[str, JsonObject],
    account: StripeAccount,
) -> None:
    """Tell of every change that was not prorated: only the event knows its second."""
    items = subscription["items"]["data"]
    for number, step in enumerate(customer.licence):
        if step.invoicing != "never":
            continue
        before = customer.licence[number - 1]
        old = {**items[0], "price": prices[before.price.price_id], "quantity": before.quantity}
        account.events.append(
            build.event(
                f"evt_{customer.subscription_id[4:]}_change_{number}",
                type="customer.subscription.updated",
                created=epoch(step.at),
                data_object=subscription,
                previous_attributes={
                    "items": {**subscription["items"], "data": [old, *items[1:]]},
                },
            )
        )
