"""Never twice: whatever dies, repeats, is cut or runs side by side, Stripe has each action once."""

import threading
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg2.errors
import psycopg2.extensions
import pytest

from leakage_pipeline.failures import TransientFailure
from leakage_pipeline.recovery import guards, ledger, sending
from leakage_pipeline.recovery.guards import Stopped
from leakage_pipeline.recovery.outcome_errors import KeyRefusedError
from leakage_pipeline.recovery.stripe_writer import Json, StripeWriter
from leakage_pipeline.simulator.stripe_server import Faults, ScriptedFault, StripeServer
from leakage_pipeline.warehouse.connection import connect
from tests.unit.recovery import company
from tests.unit.recovery.company import END, NEXT, NOW, policy, statuses

Connection = psycopg2.extensions.connection
ITEMS = "/v1/invoiceitems"
EVENTS = "/v1/billing/meter_events"


class Died(BaseException):
    """The process is gone."""


class DyingWriter(StripeWriter):
    """Dies at the first write: before the request leaves, or when it has been carried out."""

    def __init__(self, server: StripeServer, *, after: bool) -> None:
        super().__init__(server.api_key, server.base_url, first_delay=0.001)
        self._after = after

    def post(self, path: str, params: Mapping[str, Any], idempotency_key: str) -> Json:
        if self._after:
            super().post(path, params, idempotency_key)
        raise Died


def per_action(server: StripeServer) -> Counter[str]:
    """How often each action stands in Stripe's own books."""
    items = Counter(item["metadata"]["leakage_action"] for item in company.items(server))
    events = Counter(event["identifier"] for event in server.posted_meter_events)
    return items + events


def writes(server: StripeServer) -> int:
    """How many writes reached Stripe."""
    return sum(record.method == "POST" for record in server.requests)


def send(conn: Connection, writer: StripeWriter, now: datetime = NOW, **limits: Any) -> list[str]:
    """One run; what became of each action."""
    report = sending.run(conn, policy(**limits), writer, now)
    return [outcome for _, outcome in report.outcomes]


def test_what_was_approved_is_sent_once_however_often_it_runs(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, *(company.owed(number) for number in range(3)))
    actions = company.approve_all(ready)
    assert send(ready, writer) == ["sent"] * 3
    assert send(ready, writer) == []
    company.offer(ready, *(company.owed(number) for number in range(3)))
    assert send(ready, writer) == []
    assert per_action(stripe_server) == {action.action_id: 1 for action in actions}
    assert [item["amount"] for item in company.items(stripe_server)] == [5000] * 3
    assert set(statuses(ready).values()) == {"confirmed"}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("hours", [1, 50], ids=["at once", "two days later"])
@pytest.mark.parametrize("kind", ["item", "usage"])
def test_who_dies_around_a_request_sends_it_once(
    ready: Connection,
    stripe_server: StripeServer,
    writer: StripeWriter,
    *,
    after: bool,
    hours: int,
    kind: str,
) -> None:
    row = company.owed() if kind == "item" else company.unmetered()
    company.offer(ready, row)
    (action,) = company.approve_all(ready)
    with pytest.raises(Died):
        send(ready, DyingWriter(stripe_server, after=after))
    ready.rollback()
    assert list(statuses(ready).values()) == ["sent"]
    later = NOW + timedelta(hours=hours)
    stripe_server.now = later  # two days: Stripe has forgotten keys and identifiers
    company.offer(ready, row, as_of=later - timedelta(hours=3))
    send(ready, writer, later)
    send(ready, writer, later)
    assert list(per_action(stripe_server).values()) == [1]
    assert list(statuses(ready).values()) == ["confirmed"]
    assert ledger.find(ready, action.action_id).status == "confirmed"


def test_answers_that_are_lost_change_nothing(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    rows = [company.owed(number) for number in range(6)]
    rows += [company.unmetered(number) for number in range(6)]
    company.offer(ready, *rows)
    company.approve_all(ready)
    stripe_server.set_faults(Faults(seed=5, rate_cut=0.35, rate_500=0.2, rate_429=0.1))
    for _ in range(12):
        send(ready, writer, error_pct=100)
    stripe_server.set_faults(Faults())
    send(ready, writer)
    assert set(per_action(stripe_server).values()) == {1}
    assert len(per_action(stripe_server)) == 12
    assert set(statuses(ready).values()) == {"confirmed"}


def test_runs_at_the_same_time_send_each_action_once(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter, database_url: str
) -> None:
    company.offer(ready, *(company.owed(number) for number in range(6)))
    company.approve_all(ready)
    refused: list[Exception] = []

    def one_run() -> None:
        conn = connect(database_url)
        try:
            send(conn, writer)
        except TransientFailure as failure:
            refused.append(failure)
        finally:
            conn.close()

    threads = [threading.Thread(target=one_run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    send(ready, writer)
    assert set(per_action(stripe_server).values()) == {1}
    assert len(company.items(stripe_server)) == 6
    assert all("another recovery run" in str(failure) for failure in refused)


def test_a_ledger_that_was_lost_takes_over_what_stripe_has(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, company.owed())
    company.approve_all(ready)
    send(ready, writer)
    with ready, ready.cursor() as cursor:
        cursor.execute("delete from ops.recovery_actions")
        cursor.execute("delete from ops.recovery_lanes")
    company.offer(ready, company.owed())
    company.approve_all(ready)
    assert send(ready, writer) == ["was there already"]
    assert len(company.items(stripe_server)) == 1


def test_another_number_for_a_finding_that_was_corrected_is_a_persons(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, company.owed())
    company.approve_all(ready)
    send(ready, writer)
    more = company.owed(leakage_amount=Decimal("60.00"), minor_amount=6000)
    company.offer(ready, more)
    (held,) = ledger.read(ready, ("planned",))
    assert held.held_because is not None
    # Even where our own ledger does not know of the first one.
    with ready, ready.cursor() as cursor:
        cursor.execute("delete from ops.recovery_actions")
    company.offer(ready, more)
    company.approve_all(ready)
    (outcome,) = send(ready, writer)
    assert "is there already" in outcome
    assert len(company.items(stripe_server)) == 1


def test_money_that_waits_for_an_invoice_is_not_asked_for_under_another_name(
    ready: Connection, writer: StripeWriter
) -> None:
    company.offer(ready, company.owed())
    company.approve_all(ready)
    send(ready, writer)
    company.offer(ready, company.owed(detection_id="e0", leakage_type="late_usage"))
    (held,) = ledger.read(ready, ("planned",))
    assert held.held_because == "what waits for an invoice already covers it"


def test_a_window_has_one_lane_in_the_database_itself(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    usage = company.unmetered()
    company.offer(ready, usage)
    company.approve_all(ready)
    send(ready, writer)
    same = {key: usage[key] for key in ("meter", "period_start", "period_end")}
    company.offer(ready, company.owed(leakage_type="unreported_usage", **same))
    (held,) = ledger.read(ready, ("planned",))
    assert "another lane already: meter event" in str(held.held_because)
    with ready, ready.cursor() as cursor:
        cursor.execute("update ops.recovery_actions set held_because = null, approved_by = 'ann'")
        cursor.execute("update ops.recovery_actions set status = 'approved' where status='planned'")
    (outcome,) = send(ready, writer)
    assert "another lane" in outcome
    assert company.items(stripe_server) == []
    with pytest.raises(psycopg2.errors.ForeignKeyViolation), ready, ready.cursor() as cursor:
        cursor.execute(
            "update ops.recovery_actions set status = 'sent', sent_at = now(),"
            " claimed_lane = 'invoice_item' where status = 'approved'"
        )
    with pytest.raises(psycopg2.errors.CheckViolation), ready, ready.cursor() as cursor:
        cursor.execute(
            "update ops.recovery_actions set status = 'sent', sent_at = now()"
            " where status = 'approved'"
        )


@pytest.mark.parametrize("mode", ["off", "dry_run"])
def test_other_modes_send_nothing(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter, mode: str
) -> None:
    company.offer(ready, company.owed())
    company.approve_all(ready)
    report = sending.run(ready, policy(mode), writer, NOW)
    assert report.stopped is not None
    assert stripe_server.requests == []


def test_without_an_approver_nothing_is_sent(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, company.owed())
    (action,) = ledger.read(ready, ("planned",))
    for name in ("rob", "nobody", "policy", "recovery"):
        with pytest.raises(ledger.Refused, match="no approver"):
            ledger.release(ready, action.action_id, by=name, at=NOW)
    assert send(ready, writer) == []
    assert stripe_server.requests == []


def test_mode_auto_sends_what_is_sure_enough_and_mode_approve_does_not(
    ready: Connection, writer: StripeWriter
) -> None:
    company.offer(ready, company.owed(), company.owed(1, confidence=Decimal("0.7")))
    assert send(ready, writer) == []
    sending.run(ready, policy("auto"), writer, NOW)
    assert statuses(ready) == {"d0": "confirmed", "d1": "planned"}
    assert ledger.read(ready, ("confirmed",))[0].approved_by == "policy"


def test_a_cap_per_customer_leaves_the_others_alone(
    ready: Connection, writer: StripeWriter
) -> None:
    company.offer(
        ready, company.owed(), company.owed(1, reporting_amount=Decimal("70.00")), company.owed(2)
    )
    company.approve_all(ready)
    outcomes = send(ready, writer, per_customer=60)
    assert sorted(outcomes)[:2] == ["sent", "sent"]
    assert statuses(ready)["d1"] == "approved"


@pytest.mark.parametrize(("cap", "runs"), [("per_run", 3), ("per_day", 1)])
def test_a_cap_ends_the_run(ready: Connection, writer: StripeWriter, cap: str, runs: int) -> None:
    company.offer(ready, *(company.owed(number) for number in range(6)))
    company.approve_all(ready)
    report = sending.run(ready, policy(**{cap: 100}), writer, NOW)
    assert report.stopped is not None
    assert Counter(statuses(ready).values())["confirmed"] == 2
    for _ in range(runs):
        send(ready, writer, **{cap: 100})
    assert Counter(statuses(ready).values())["confirmed"] == (6 if cap == "per_run" else 2)


def test_too_many_failures_stop_sending_until_a_person_clears_it(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, *(company.owed(number) for number in range(6)))
    company.approve_all(ready)
    stripe_server.script(ScriptedFault(ITEMS, status=400, times=99, method="POST"))
    report = sending.run(ready, policy(), writer, NOW)
    assert report.stopped == "3 of 3 requests failed"
    assert Counter(statuses(ready).values()) == {"failed": 3, "approved": 3}
    with pytest.raises(Stopped, match="leakage actions resume"):
        send(ready, writer)
    guards.clear(ready, by="ann", at=NOW)
    stripe_server.set_faults(Faults())
    assert send(ready, writer) == ["sent"] * 3
    for action in ledger.read(ready, ("failed",)):
        ledger.release(ready, action.action_id, by="ann", at=NOW)
    assert send(ready, writer) == ["sent"] * 3
    assert set(per_action(stripe_server).values()) == {1}


def test_a_key_without_the_permission_leaves_everything_waiting(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, company.owed(), company.owed(1))
    company.approve_all(ready)
    stripe_server.script(ScriptedFault(ITEMS, status=403, times=1, method="POST"))
    with pytest.raises(KeyRefusedError, match="STRIPE_WRITE_API_KEY"):
        send(ready, writer)
    assert set(statuses(ready).values()) == {"approved"}
    assert send(ready, writer) == ["sent", "sent"]


def test_nothing_is_sent_on_an_old_audit(ready: Connection, writer: StripeWriter) -> None:
    company.offer(ready, company.owed())
    company.approve_all(ready)
    with pytest.raises(Stopped, match="run an audit first"):
        send(ready, writer, NOW + timedelta(hours=40))


def test_what_the_newest_audit_no_longer_plans_is_not_sent(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, company.owed(), company.owed(1))
    company.approve_all(ready)
    company.offer(ready, company.owed(evidence={"charges": []}))
    assert statuses(ready)["d1"] == "reverted"
    assert send(ready, writer) == []
    # An audit that is running has changed as_of, and nothing is planned yet.
    company.approve_all(ready)
    with ready, ready.cursor() as cursor:
        cursor.execute("update raw_business.audit_settings set as_of = %s", (NOW,))
    assert send(ready, writer) == []
    assert writes(stripe_server) == 0
    assert ("pipeline", "action_withdrawn") in company.log(ready)


def test_a_dismissed_finding_is_not_acted_on(ready: Connection, writer: StripeWriter) -> None:
    company.offer(ready, company.owed())
    company.approve_all(ready)
    with ready, ready.cursor() as cursor:
        cursor.execute(
            "insert into ops.detection_state (detection_id, status, updated_at)"
            " values ('d0', 'dismissed', now())"
        )
    assert send(ready, writer) == ["waits: the finding was dismissed"]


def _void(server: StripeServer) -> None:
    server.account.invoices[0]["status"] = "void"


def _cancel(server: StripeServer) -> None:
    server.account.subscriptions[0]["status"] = "canceled"


def _pause(server: StripeServer) -> None:
    server.account.subscriptions[0]["pause_collection"] = {"behavior": "void", "resumes_at": None}


@pytest.mark.parametrize("change", [_void, _cancel, _pause])
def test_what_changed_at_stripe_since_the_audit_holds_an_invoice_item(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter, change: Any
) -> None:
    company.offer(ready, company.owed())
    company.approve_all(ready)
    change(stripe_server)
    stripe_server.load(stripe_server.account)
    (outcome,) = send(ready, writer)
    assert outcome.startswith("held: ")
    assert writes(stripe_server) == 0


def test_what_somebody_seems_to_have_billed_by_hand_is_held(
    ready: Connection, writer: StripeWriter
) -> None:
    company.offer(ready, company.owed(), company.owed(1), company.owed(2))
    company.approve_all(ready)
    for customer, amount, month in (("cus_0", 1200, 10), ("cus_1", 5000, 11), ("cus_2", 700, 11)):
        at = company.seconds(END.replace(month=month, day=9))
        by_hand = {"customer": customer, "currency": "usd", "amount": amount}
        writer.post(ITEMS, {**by_hand, "period": {"start": at, "end": at}}, customer)
    assert Counter(outcome[:4] for outcome in send(ready, writer)) == {"held": 2, "sent": 1}
    assert statuses(ready)["d2"] == "confirmed"  # another charge, of another time


@pytest.mark.parametrize("state", ["draft", "paid"])
def test_an_invoice_that_the_audit_had_not_yet_holds_an_invoice_item(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter, state: str
) -> None:
    company.offer(ready, company.owed())
    company.approve_all(ready)
    invoice = dict(stripe_server.account.invoices[0])
    made = company.seconds(NOW) - 7200
    final = None if state == "draft" else made + 3600
    transitions = {**invoice["status_transitions"], "finalized_at": final}
    invoice |= {"id": "in_new", "status": state, "created": made}
    stripe_server.account.invoices.append({**invoice, "status_transitions": transitions})
    stripe_server.load(stripe_server.account)
    (outcome,) = send(ready, writer)
    assert outcome == "held: the invoice in_new bills the period too; the audit had it not yet"


def test_usage_is_told_at_its_own_time_and_counted_when_the_meter_shows_it(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, company.unmetered())
    company.approve_all(ready)
    assert send(ready, writer) == ["sent"]
    (event,) = stripe_server.posted_meter_events
    assert event["value"] == "40"
    assert event["timestamp"] == company.seconds(END + timedelta(days=3))
    assert event["customer"] == "cus_0"


def test_usage_that_the_meter_does_not_show_yet_is_not_told_again(ready: Connection) -> None:
    with StripeServer(company.account(), now=NOW, summary_lag_seconds=7200) as server:
        slow = StripeWriter(server.api_key, server.base_url, first_delay=0.001)
        company.offer(ready, company.unmetered())
        company.approve_all(ready)
        assert send(ready, slow) == ["sent; the meter does not show it yet"]
        assert send(ready, slow) == ["sent; the meter does not show it yet"]
        # The audit sees the gap too, as long as the meter lags.
        company.offer(ready, company.unmetered(reporting_amount=Decimal("4.01")))
        assert list(statuses(ready).values()) == ["sent"]
        server.now = NOW + timedelta(hours=3)
        assert send(ready, slow, NOW + timedelta(hours=3)) == ["had arrived"]
        assert len(server.posted_meter_events) == 1


def test_a_counting_meter_gets_one_event_each(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    stripe_server.account.meters[0]["default_aggregation"]["formula"] = "count"
    stripe_server.load(stripe_server.account)
    row = company.unmetered(
        formula="count",
        metered_before=Decimal(1),
        metered_after=Decimal(4),
        quantity_change=Decimal(3),
    )
    company.offer(ready, row)
    company.approve_all(ready)
    stripe_server.script(ScriptedFault(EVENTS, times=4, skip=1, cut=True, method="POST"))
    send(ready, writer, error_pct=100)
    assert list(statuses(ready).values()) == ["sent"]
    assert send(ready, writer) in (["sent"], ["had arrived"])
    assert len(stripe_server.posted_meter_events) == 3


def test_the_last_formula_gets_the_whole_value(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    stripe_server.account.meters[0]["default_aggregation"]["formula"] = "last"
    stripe_server.load(stripe_server.account)
    company.offer(ready, company.unmetered(formula="last"))
    company.approve_all(ready)
    assert send(ready, writer) == ["sent"]
    assert [event["value"] for event in stripe_server.posted_meter_events] == ["100"]


def test_usage_that_somebody_has_told_meanwhile_is_held(
    ready: Connection, writer: StripeWriter
) -> None:
    company.offer(ready, company.unmetered())
    company.approve_all(ready)
    payload = {"stripe_customer_id": "cus_0", "value": "40"}
    by_hand = {"event_name": "calls", "payload": payload, "timestamp": company.seconds(END) + 60}
    writer.post(EVENTS, by_hand, "by hand")
    (outcome,) = send(ready, writer)
    assert outcome == "held: the meter has it already, by another hand"


def test_usage_of_a_period_that_is_over_is_held(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    later = NEXT + timedelta(hours=3)
    company.offer(ready, company.unmetered(), as_of=later)
    company.approve_all(ready)
    item = stripe_server.account.subscriptions[0]["items"]["data"][1]
    item["current_period_start"], item["current_period_end"] = item["current_period_end"], 2**31
    stripe_server.load(stripe_server.account)
    stripe_server.now = later
    (outcome,) = send(ready, writer, later)
    assert "is final" in outcome
    assert stripe_server.posted_meter_events == []


def test_what_nobody_can_decide_is_for_a_person(
    ready: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    company.offer(ready, company.unmetered())
    (action,) = company.approve_all(ready)
    with pytest.raises(Died):
        send(ready, DyingWriter(stripe_server, after=True))
    ready.rollback()
    payload = {"stripe_customer_id": "cus_0", "value": "7"}
    by_hand = {"event_name": "calls", "payload": payload, "timestamp": company.seconds(END) + 60}
    writer.post(EVENTS, by_hand, "by hand")
    later = NOW + timedelta(hours=30)
    stripe_server.now = later
    (outcome,) = send(ready, writer, later)
    assert outcome.startswith("for a person: the meter says 107")
    assert send(ready, writer, later) == []
    ledger.resolve(ready, action.action_id, arrived=True, by="ann", at=later)
    assert list(statuses(ready).values()) == ["confirmed"]
    assert len(stripe_server.posted_meter_events) == 2
