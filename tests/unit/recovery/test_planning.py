"""What is planned, exactly as it would leave; and what a person sees and takes back."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path

import psycopg2.extensions
import pytest
from rich.console import Console

from leakage_pipeline.commands import actions as commands
from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.recovery import ledger, sending, undo
from leakage_pipeline.recovery.stripe_writer import StripeWriter
from leakage_pipeline.settings import Settings
from leakage_pipeline.simulator.stripe_server import StripeServer
from tests.unit.publishing import sample
from tests.unit.recovery import company
from tests.unit.recovery.company import END, NOW, START, policy, statuses

Connection = psycopg2.extensions.connection


def test_an_invoice_item_is_the_difference_for_its_period_and_says_whose_it_is(
    ready: Connection,
) -> None:
    company.offer(ready, company.owed(tax_behavior="inclusive"))
    (action,) = ledger.read(ready)
    assert action.request == [
        {
            "method": "POST",
            "path": "/v1/invoiceitems",
            "idempotency_key": action.action_id,
            "params": {
                "customer": "cus_0",
                "subscription": "sub_cus_0",
                "currency": "usd",
                "amount": 5000,
                "description": (
                    "Correction for 2026-10-01 to 2026-11-01: "
                    "difference to the agreed price not billed at the time"
                ),
                "discountable": "false",
                "tax_behavior": "inclusive",
                "period": {"start": company.seconds(START), "end": company.seconds(END)},
                "metadata": {
                    "leakage_action": action.action_id,
                    "leakage_detection": "d0",
                    "leakage_type": "outdated_pricing",
                    "leakage_charge": "charge_0",
                },
            },
        }
    ]
    assert (action.before["billed"], action.after["billed"]) == (Decimal(99), Decimal(149))


def test_a_meter_event_is_the_missing_quantity_in_plain_digits(ready: Connection) -> None:
    row = company.unmetered(
        metered_after=Decimal("60.0000001"), quantity_change=Decimal("0.0000001000")
    )
    company.offer(ready, row)
    (action,) = ledger.read(ready)
    (request,) = action.request
    assert request["params"] == {
        "event_name": "calls",
        "identifier": f"{action.action_id}-1",
        "timestamp": company.seconds(END + timedelta(days=3)),
        "payload": {"stripe_customer_id": "cus_0", "value": "0.0000001"},
    }
    assert request["idempotency_key"] == f"{action.action_id}-1"


def test_over_reported_usage_is_taken_off_the_meter(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    row = company.unmetered(
        leakage_type="overbilled_usage",
        direction="overbilling",
        metered_after=Decimal(45),
        quantity_change=Decimal(-15),
    )
    company.offer(ready, row)
    company.approve_all(ready)
    sending.run(ready, policy(), writer, NOW)
    assert [event["value"] for event in stripe_server.posted_meter_events] == ["-15"]
    assert list(statuses(ready).values()) == ["confirmed"]


def test_planning_twice_plans_once_and_other_evidence_plans_anew(ready: Connection) -> None:
    company.offer(ready, company.owed())
    company.offer(ready, company.owed())
    (first,) = ledger.read(ready)
    company.offer(ready, company.owed(leakage_amount=Decimal("40.00"), minor_amount=4000))
    company.offer(ready, company.owed())
    states = {action.amount: action.status for action in ledger.read(ready)}
    assert states == {Decimal("50.00"): "planned", Decimal("40.00"): "reverted"}
    assert ledger.find(ready, first.action_id).status == "planned"


def test_what_a_person_withdrew_is_not_planned_again(ready: Connection) -> None:
    company.offer(ready, company.owed())
    (action,) = ledger.read(ready)
    undo.undo(ready, None, action, "partner", by="ann", at=NOW)
    company.offer(ready, company.owed())
    assert statuses(ready) == {"d0": "reverted"}
    with pytest.raises(ledger.Refused, match="cannot be approved"):
        ledger.release(ready, action.action_id, by="ann", at=NOW)


def test_what_is_held_cannot_be_released(ready: Connection) -> None:
    company.offer(ready, company.owed(held_because="no exchange rate"))
    (action,) = ledger.read(ready)
    with pytest.raises(ledger.Refused, match="no exchange rate"):
        ledger.release(ready, action.action_id, by="ann", at=NOW)


def test_a_pending_item_is_deleted_and_a_fresh_event_cancelled(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, company.owed(), company.unmetered(1))
    company.approve_all(ready)
    sending.run(ready, policy(), writer, NOW)
    for action in ledger.read(ready):
        with pytest.raises(ledger.Refused, match="no approver"):
            undo.undo(ready, writer, action, "wrong", by="rob", at=NOW)
        undo.undo(ready, writer, action, "wrong", by="ann", at=NOW)
    assert company.items(stripe_server) == []
    assert stripe_server.posted_meter_events == []
    company.offer(ready, company.owed(), company.unmetered(1))
    assert set(statuses(ready).values()) == {"reverted"}


def test_a_billed_item_and_an_old_event_are_not_taken_back(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, company.owed(), company.unmetered(1))
    company.approve_all(ready)
    sending.run(ready, policy(), writer, NOW)
    company.items(stripe_server)[0]["invoice"] = "in_1"
    for action in ledger.read(ready):
        with pytest.raises(ledger.Refused):
            undo.undo(ready, writer, action, "wrong", by="ann", at=NOW + timedelta(days=2))
    assert set(statuses(ready).values()) == {"confirmed"}


@contextmanager
def _terminal(
    tmp_path: Path, url: str, mode: str, **more: str
) -> Iterator[tuple[Settings, StringIO]]:
    (tmp_path / "leakage.yaml").write_text(f"sources: {{}}\npolicy: {{action_mode: {mode}}}\n")
    yield sample.settings(tmp_path, LEAKAGE_DATABASE_URL=url, **more), StringIO()


def test_a_dry_run_prints_exactly_what_would_be_sent_and_sends_nothing(
    ready: Connection, stripe_server: StripeServer, database_url: str, tmp_path: Path
) -> None:
    company.offer(ready, company.owed(), company.owed(1, held_because="its collection is paused"))
    with _terminal(tmp_path, database_url, "dry_run") as (settings, out):
        commands.run(settings, Console(file=out, width=200), now=NOW, dry=False)
    printed = out.getvalue()
    (action,) = [each for each in ledger.read(ready) if each.held_because is None]
    for part in (
        "POST /v1/invoiceitems",
        f"Idempotency-Key: {action.action_id}",
        '"amount": 5000',
        "billed: 99 -> 149",
        "its collection is paused",
        "1 action would be sent, 1 held; nothing was sent",
    ):
        assert part in printed
    assert stripe_server.requests == []


def test_without_a_write_key_of_the_same_mode_nothing_can_be_sent(
    ready: Connection, database_url: str, tmp_path: Path
) -> None:
    company.offer(ready, company.owed())
    company.approve_all(ready)
    for keys in (
        {},
        {"STRIPE_API_KEY": "rk_live_reads", "STRIPE_WRITE_API_KEY": "rk_test_writes"},
    ):
        with (
            _terminal(tmp_path, database_url, "approve", **keys) as (settings, out),
            pytest.raises(ConfigurationError, match="STRIPE_WRITE_API_KEY"),
        ):
            commands.run(settings, Console(file=out), now=NOW, dry=False)
    assert statuses(ready) == {"d0": "approved"}


def test_the_terminal_lists_approves_sends_and_takes_back(
    ready: Connection, stripe_server: StripeServer, database_url: str, tmp_path: Path
) -> None:
    company.offer(ready, company.owed())
    keys = {
        "STRIPE_API_KEY": stripe_server.api_key,
        "STRIPE_WRITE_API_KEY": stripe_server.api_key,
        "STRIPE_API_BASE": stripe_server.base_url,
    }
    with _terminal(tmp_path, database_url, "approve", **keys) as (settings, out):
        console = Console(file=out, width=200)
        (action,) = ledger.read(ready)
        commands.print_list(settings, (), console)
        commands.approve(settings, [action.action_id[:10]], console, by="ann", at=NOW)
        commands.run(settings, console, now=NOW, dry=False)
        commands.print_action(settings, action.action_id, console)
        commands.revert(settings, action.action_id, "wrong", console, by="ann", at=NOW)
        commands.resume(settings, console, by="ann", at=NOW)
    printed = out.getvalue()
    for part in ("outdated_pricing", "planned -> approved", ": sent\n", "-> reverted"):
        assert part in printed
    assert company.items(stripe_server) == []
    assert company.log(ready) == [
        ("ann", "action_approved"),
        ("recovery", "action_sent"),
        ("recovery", "action_confirmed"),
        ("ann", "action_reverted"),
    ]
