"""Overbilling is given back once, as the preview says, and only when a person says so."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg2.extensions
import pytest

from leakage_pipeline.recovery import ledger, sending, undo
from leakage_pipeline.recovery.stripe_writer import StripeWriter
from leakage_pipeline.simulator.stripe_server import Faults, StripeServer
from tests.unit.recovery import company
from tests.unit.recovery.company import NOW, policy, statuses
from tests.unit.recovery.test_sending import Died, DyingWriter, send

Connection = psycopg2.extensions.connection
NOTES = "/v1/credit_notes"


def notes(server: StripeServer) -> list[dict[str, Any]]:
    """Straight from the account."""
    return server.account.credit_notes


def unpaid(server: StripeServer, number: int = 0) -> None:
    """Customer `number` has not paid the invoice."""
    invoice = server.account.invoices[number]
    invoice |= {"status": "open", "amount_paid": 0, "amount_remaining": 9900}
    server.load(server.account)


def test_a_note_credits_the_line_and_puts_what_was_paid_on_the_balance(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, company.overbilled())
    (action,) = company.approve_all(ready)
    assert action.request == [
        {
            "method": "POST",
            "path": NOTES,
            "idempotency_key": action.action_id,
            "params": {
                "invoice": "in_cus_0",
                "lines": [
                    {
                        "type": "invoice_line_item",
                        "invoice_line_item": "il_cus_0",
                        "amount": 2000,
                    }
                ],
                "credit_amount": 2000,
                "memo": "Credit for 2026-10-01 to 2026-11-01: billed above the agreed price",
                "email_type": "none",
                "metadata": {
                    "leakage_action": action.action_id,
                    "leakage_detection": "o0",
                    "leakage_type": "overbilled_price",
                    "leakage_charge": "charge_0",
                },
            },
        }
    ]
    assert (action.before["billed"], action.after["billed"]) == (Decimal(99), Decimal(79))
    assert send(ready, writer) == ["sent"]
    assert send(ready, writer) == []
    company.offer(ready, company.overbilled())
    assert send(ready, writer) == []
    (note,) = notes(stripe_server)
    assert (note["total"], note["post_payment_amount"]) == (2000, 2000)
    assert stripe_server.account.customers[0]["balance"] == -2000
    (known,) = ledger.read(ready, ("confirmed",))
    assert known.remote_id == note["id"]


def test_an_unpaid_invoice_asks_for_less_and_the_note_can_be_voided(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    unpaid(stripe_server)
    company.offer(ready, company.overbilled(amount_remaining=9900, post_payment_amount=0))
    company.approve_all(ready)
    assert send(ready, writer) == ["sent"]
    assert stripe_server.account.invoices[0]["amount_remaining"] == 7900
    (action,) = ledger.read(ready)
    undo.undo(ready, writer, action, "agreed otherwise", by="ann", at=NOW)
    assert stripe_server.account.invoices[0]["amount_remaining"] == 9900
    assert statuses(ready) == {"o0": "reverted"}


def test_what_was_given_back_cannot_be_taken_again(ready: Connection, writer: StripeWriter) -> None:
    company.offer(ready, company.overbilled())
    company.approve_all(ready)
    send(ready, writer)
    (action,) = ledger.read(ready)
    with pytest.raises(ledger.Refused, match="does not void"):
        undo.undo(ready, writer, action, "wrong", by="ann", at=NOW)
    assert statuses(ready) == {"o0": "confirmed"}


def test_a_refund_is_asked_for_where_the_policy_says_so(ready: Connection) -> None:
    company.offer(ready, company.overbilled(), paid_back_to="card")
    (action,) = ledger.read(ready)
    params = action.request[0]["params"]
    assert (params["refund_amount"], "credit_amount" in params) == (2000, False)


def test_no_mode_gives_money_back_without_a_person(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, company.overbilled(confidence=Decimal(1)))
    sending.run(ready, policy("auto"), writer, NOW)
    assert notes(stripe_server) == []
    company.approve_all(ready)
    sending.run(ready, policy("auto"), writer, NOW)
    assert len(notes(stripe_server)) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("hours", [1, 50], ids=["at once", "two days later"])
def test_who_dies_around_a_note_issues_it_once(
    ready: Connection,
    stripe_server: StripeServer,
    writer: StripeWriter,
    *,
    after: bool,
    hours: int,
) -> None:
    company.offer(ready, company.overbilled())
    company.approve_all(ready)
    with pytest.raises(Died):
        send(ready, DyingWriter(stripe_server, after=after))
    ready.rollback()
    later = NOW + timedelta(hours=hours)
    stripe_server.now = later
    company.offer(ready, company.overbilled(), as_of=later - timedelta(hours=3))
    send(ready, writer, later)
    send(ready, writer, later)
    assert len(notes(stripe_server)) == 1
    assert stripe_server.account.customers[0]["balance"] == -2000
    assert statuses(ready) == {"o0": "confirmed"}


def test_answers_that_are_lost_give_nothing_twice(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, *(company.overbilled(number) for number in range(6)))
    company.approve_all(ready)
    stripe_server.set_faults(Faults(seed=5, rate_cut=0.35, rate_500=0.2, rate_429=0.1))
    for _ in range(12):
        send(ready, writer, error_pct=100)
    stripe_server.set_faults(Faults())
    send(ready, writer)
    assert sorted(note["invoice"] for note in notes(stripe_server)) == [
        f"in_cus_{number}" for number in range(6)
    ]
    assert set(statuses(ready).values()) == {"confirmed"}


def test_a_ledger_that_was_lost_takes_over_the_note(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, company.overbilled())
    company.approve_all(ready)
    send(ready, writer)
    with ready, ready.cursor() as cursor:
        cursor.execute("delete from ops.recovery_actions")
        cursor.execute("delete from ops.recovery_lanes")
    company.offer(ready, company.overbilled())
    company.approve_all(ready)
    assert send(ready, writer) == ["was there already"]
    assert len(notes(stripe_server)) == 1


def test_an_invoice_that_was_paid_since_the_audit_is_planned_anew(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, company.overbilled(amount_remaining=9900, post_payment_amount=0))
    company.approve_all(ready)
    (outcome,) = send(ready, writer)
    assert "the next one plans it anew" in outcome
    company.offer(ready, company.overbilled())
    assert sorted(each.status for each in ledger.read(ready)) == ["planned", "reverted"]
    company.approve_all(ready)
    assert send(ready, writer) == ["sent"]
    assert len(notes(stripe_server)) == 1


def _by_hand(server: StripeServer) -> None:
    writer = StripeWriter(server.api_key, server.base_url)
    line = company.overbilled()["credit_lines"][0]
    given = {"invoice": "in_cus_0", "lines": [line], "credit_amount": 2000}
    writer.post(NOTES, given, "by hand")


def _void(server: StripeServer) -> None:
    server.account.invoices[0]["status"] = "void"
    server.load(server.account)


def _taxed(server: StripeServer) -> None:
    line = server.account.invoices[0]["lines"]["data"][0]
    tax = {"amount": 990, "tax_behavior": "exclusive", "taxable_amount": 9900}
    line["taxes"] = [{**tax, "tax_rate_details": None, "taxability_reason": None, "type": "x"}]
    server.load(server.account)


@pytest.mark.parametrize("change", [_by_hand, _void, _taxed])
def test_what_stripe_would_do_otherwise_is_held(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter, change: Any
) -> None:
    company.offer(ready, company.overbilled())
    company.approve_all(ready)
    change(stripe_server)
    before = len(notes(stripe_server))
    (outcome,) = send(ready, writer)
    assert outcome.startswith("held: ")
    assert len(notes(stripe_server)) == before


def test_more_than_the_line_has_is_refused_by_the_preview(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    lines = [{**company.overbilled()["credit_lines"][0], "amount": 10_000}]
    company.offer(ready, company.overbilled(credit_lines=lines))
    company.approve_all(ready)
    (outcome,) = send(ready, writer)
    assert "cannot exceed" in outcome
    assert notes(stripe_server) == []


def test_a_balance_that_nothing_would_use_up_is_a_persons(ready: Connection) -> None:
    company.offer(ready, company.overbilled(subscription_status="canceled"))
    (held,) = ledger.read(ready)
    assert "no invoice would use up" in str(held.held_because)
    company.offer(ready, company.overbilled(subscription_status="canceled"), paid_back_to="card")
    assert [each.held_because for each in ledger.read(ready, ("planned",))] == [None]


def test_what_is_left_after_a_note_is_a_persons(ready: Connection, writer: StripeWriter) -> None:
    company.offer(ready, company.overbilled())
    company.approve_all(ready)
    send(ready, writer)
    company.offer(ready, company.overbilled(leakage_amount=Decimal("5.00"), minor_amount=500))
    (held,) = ledger.read(ready, ("planned",))
    assert "was issued before" in str(held.held_because)


def test_credits_count_against_the_caps(ready: Connection, writer: StripeWriter) -> None:
    company.offer(ready, company.overbilled(), company.overbilled(1))
    company.approve_all(ready)
    report = sending.run(ready, policy(per_run=30), writer, NOW)
    assert report.stopped is not None
    assert sorted(statuses(ready).values()) == ["approved", "confirmed"]
