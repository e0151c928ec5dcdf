"""Credit notes over the simulated API do to invoice, balance and card what Stripe says they do."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from leakage_pipeline.simulator import stripe_objects as build
from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount
from leakage_pipeline.simulator.stripe_server import StripeServer
from tests.unit.simulator.stripe_spec import needs_spec, problems

NOW = datetime(2026, 11, 20, 6, tzinfo=UTC)
START = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp())
MONTH = 30 * 86_400


def _account() -> StripeAccount:
    """An open invoice with a discount of 10 % and 20 % tax on top; a paid one without either."""
    account = StripeAccount(customers=[build.customer("cus_1", created=START, currency="usd")])
    for status in ("open", "paid"):
        taxed = status == "open"
        line = build.line(
            f"il_{status}",
            invoice=f"in_{status}",
            amount=1000,
            currency="usd",
            period_start=START,
            period_end=START + MONTH,
            discount_amounts=[("di_1", 100)] if taxed else [],
            taxes=[build.tax(180, taxable_amount=900)] if taxed else [],
        )
        account.invoices.append(
            build.invoice(
                f"in_{status}",
                customer="cus_1",
                currency="usd",
                created=START,
                status=status,
                lines=[line],
            )
        )
    charge = build.charge(
        "ch_1",
        customer="cus_1",
        amount=1000,
        currency="usd",
        created=START,
        payment_intent="pi_1",
    )
    account.charges.append(charge)
    account.invoice_payments.append(
        build.invoice_payment(
            "inpay_1",
            invoice=account.invoices[1],
            created=START,
            payment_intent="pi_1",
        )
    )
    return account


@pytest.fixture
def server() -> Iterator[StripeServer]:
    with StripeServer(_account(), now=NOW) as running:
        yield running
        assert running.crashes == []


@pytest.fixture
def client(server: StripeServer) -> stripe.StripeClient:
    return stripe.StripeClient(
        server.api_key,
        stripe_version=build.API_VERSION,
        base_addresses={"api": server.base_url},
    )


def _line(invoice: str, amount: int) -> Any:
    return {"type": "invoice_line_item", "invoice_line_item": f"il_{invoice}", "amount": amount}


def _invoice(server: StripeServer, status: str) -> JsonObject:
    return next(e for e in server.account.invoices if e["id"] == f"in_{status}")


def test_a_note_on_an_open_invoice_lowers_what_is_due(
    server: StripeServer, client: stripe.StripeClient
) -> None:
    asked: Any = {"invoice": "in_open", "lines": [_line("open", 500)]}
    preview = client.v1.credit_notes.preview(asked)
    assert server.account.credit_notes == []
    assert (preview.subtotal, preview.discount_amount, preview.total) == (500, 50, 540)
    note = client.v1.credit_notes.create({**asked, "metadata": {"mark": "x"}})
    assert (note.type, note.pre_payment_amount, note.post_payment_amount) == (
        "pre_payment",
        540,
        0,
    )
    invoice = client.v1.invoices.retrieve("in_open")
    assert (invoice.amount_remaining, invoice.pre_payment_credit_notes_amount) == (540, 540)
    assert [e.id for e in client.v1.credit_notes.list({"invoice": "in_open"}).data] == [note.id]
    assert len(client.v1.credit_notes.line_items.list(note.id).data) == 1
    voided = client.v1.credit_notes.void_credit_note(note.id)
    assert (voided.status, _invoice(server, "open")["amount_remaining"]) == ("void", 1080)
    client.v1.credit_notes.create({**asked, "lines": [_line("open", 1000)]})
    assert client.v1.invoices.retrieve("in_open").status == "paid"


def test_what_was_paid_goes_to_the_balance_or_to_the_card(
    server: StripeServer, client: stripe.StripeClient
) -> None:
    asked: Any = {"invoice": "in_paid", "lines": [_line("paid", 300)]}
    to_balance = client.v1.credit_notes.create({**asked, "credit_amount": 300})
    assert to_balance.type == "post_payment"
    assert server.account.customers[0]["balance"] == -300
    (change,) = client.v1.customers.balance_transactions.list("cus_1").data
    assert (change.amount, change.credit_note) == (-300, to_balance.id)
    to_card = client.v1.credit_notes.create({**asked, "refund_amount": 300})
    assert to_card.refunds[0].refund == server.account.refunds[0]["id"]
    assert server.account.charges[0]["amount_refunded"] == 300
    assert _invoice(server, "paid")["post_payment_credit_notes_amount"] == 600
    with pytest.raises(stripe.InvalidRequestError, match="only void"):
        client.v1.credit_notes.void_credit_note(to_balance.id)


@pytest.mark.parametrize(
    ("invoice", "asked", "said"),
    [
        ("paid", {"lines": [_line("paid", 300)]}, "must equal the post payment amount"),
        ("paid", {"lines": [_line("paid", 1001)], "credit_amount": 1001}, "cannot exceed"),
        ("paid", {"amount": 2000, "credit_amount": 2000}, "maximum that can be credited"),
        ("open", {"lines": [_line("paid", 3)]}, "No such invoice line item"),
        ("open", {}, "Missing required param"),
        ("open", {"amount": 5, "reason": "mood"}, "Invalid reason"),
    ],
)
def test_notes_that_stripe_refuses(
    server: StripeServer, client: stripe.StripeClient, invoice: str, asked: Any, said: str
) -> None:
    for send in (client.v1.credit_notes.preview, client.v1.credit_notes.create):
        with pytest.raises(stripe.InvalidRequestError, match=said):
            send({"invoice": f"in_{invoice}", **asked})
    assert server.account.credit_notes == []


@needs_spec
def test_notes_are_valid_by_the_openapi_file(
    server: StripeServer, client: stripe.StripeClient
) -> None:
    asked: Any = {"invoice": "in_paid", "lines": [_line("paid", 300)], "refund_amount": 300}
    preview = client.v1.credit_notes.preview(asked)
    client.v1.credit_notes.create(asked)
    client.v1.credit_notes.create({**asked, "refund_amount": 0, "credit_amount": 300})
    assert problems(preview.to_dict(for_json=True)) == []
    for made in (*server.account.credit_notes, *server.account.refunds):
        assert problems(made) == []
    assert [problems(each) for each in server.account.balance_transactions] == [[]]
