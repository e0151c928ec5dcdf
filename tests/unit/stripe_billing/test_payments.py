"""Payments, cards, schedules and balances: over HTTP into Postgres, refusals included."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg2.extensions
import pytest

from leakage_pipeline.failures import TransientFailure
from leakage_pipeline.simulator import stripe_objects as so
from leakage_pipeline.simulator.stripe_server import StripeServer
from leakage_pipeline.stripe_billing import load
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.events import load_events
from leakage_pipeline.stripe_billing.load_payments import (
    load_balance_transactions,
    load_payment_methods,
    load_payments,
)
from leakage_pipeline.stripe_billing.status import read_sync_status
from tests.unit.stripe_billing.conftest import ReaderOf, Request, Wire, as_list, error
from tests.unit.stripe_billing.trap_account import AS_OF, JAN, MAY, trap_account

Connection = psycopg2.extensions.connection

# Everything that came later than the first version of the audit, which ran without it.
LATER_LOADS: tuple[Callable[..., load.LoadResult], ...] = (
    load.load_schedules,
    load_events,
    load_payments,
    load_payment_methods,
    load_balance_transactions,
)
TABLES = (
    *("charges", "refunds", "disputes", "invoice_payments", "payment_methods"),
    *("customer_balance_transactions", "subscription_schedules", "subscription_schedule_phases"),
    *("events", "webhook_endpoints"),
)


def fetch(conn: Connection, query: str) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def load_all(reader: StripeReader, conn: Connection) -> None:
    for one in (load.load_subscriptions, load.load_invoices, load.load_customers, *LATER_LOADS):
        one(reader, conn, AS_OF)


def counts(conn: Connection) -> dict[str, int]:
    return {
        table: fetch(conn, f"select count(*) from raw_stripe.{table}")[0][0]  # noqa: S608
        for table in TABLES
    }


def statuses(conn: Connection) -> dict[str, str]:
    return {row.object: row.status for row in read_sync_status(conn)}


def test_an_old_charge_is_known_by_its_refund_and_dispute(
    reader: StripeReader, warehouse: Connection
) -> None:
    load_payments(reader, warehouse, AS_OF)
    assert fetch(
        warehouse,
        "select charge_id, customer_id, amount, status from raw_stripe.charges order by 1",
    ) == [("ch_new", "cus_1", 900, "succeeded"), ("ch_old", "cus_1", 900, "succeeded")]
    assert fetch(warehouse, "select charge_id, amount, status from raw_stripe.refunds") == [
        ("ch_old", 100, "succeeded")
    ]
    assert fetch(
        warehouse, "select charge_id, status, evidence_due_by from raw_stripe.disputes"
    ) == [("ch_old", "needs_response", datetime(2026, 7, 1, tzinfo=UTC))]
    assert fetch(
        warehouse,
        "select invoice_id, payment_type, payment_intent_id, status, amount_paid is not null "
        "from raw_stripe.invoice_payments",
    ) == [("in_1", "payment_intent", "pi_1", "paid", True)]


def test_a_card_is_found_on_customer_and_subscription_without_asking_for_it(
    stripe_server: StripeServer, reader: StripeReader, warehouse: Connection
) -> None:
    load_all(reader, warehouse)
    assert fetch(
        warehouse,
        "select payment_method_id, customer_id, method.type, card_last4, card_exp_year, "
        "is_customer_default, subscription_ids from raw_stripe.payment_methods as method",
    ) == [("pm_1", "cus_1", "card", "4242", 2034, True, ["sub_1"])]
    assert not [one for one in stripe_server.requests if "payment_methods" in one.path]
    assert statuses(warehouse)["payment_methods"] == "ok"


def test_a_key_that_may_not_expand_cards_still_reads_customers_and_subscriptions(
    wire: Wire, warehouse: Connection, reader_of: ReaderOf
) -> None:
    customer = so.customer("cus_1", created=JAN, default_payment_method="pm_1")

    def answer(request: Request) -> tuple[int, bytes]:
        if any("default_payment_method" in value for value in request.query.values()):
            return 403, error("no", code="more_permissions_required")
        return 200, as_list([customer] if request.path == "/v1/customers" else [])

    wire.answer = answer
    reader = reader_of(wire)
    result = load.load_customers(reader, warehouse, AS_OF)
    assert result == {"customers": 1}
    assert result.warnings == [
        "customers: the key does not allow to expand invoice_settings.default_payment_method"
    ]
    result = load_payment_methods(reader, warehouse, AS_OF)
    assert result == {"payment_methods": 0}
    assert "rak_payment_method_read" in result.warnings[0]
    assert statuses(warehouse) == {"customers": "ok", "payment_methods": "missing"}


def test_schedules_arrive_with_every_phase_also_when_released(
    reader: StripeReader, warehouse: Connection
) -> None:
    load.load_schedules(reader, warehouse, AS_OF)
    assert fetch(
        warehouse,
        "select subscription_id, status, current_phase_start "
        "from raw_stripe.subscription_schedules",
    ) == [("sub_1", "released", None)]
    assert fetch(
        warehouse,
        "select phase_index, item_index, start_at, price_id, quantity "
        "from raw_stripe.subscription_schedule_phases order by 1",
    ) == [
        (0, 0, datetime(2026, 1, 1, tzinfo=UTC), "price_seat", 1),
        (1, 0, datetime(2026, 5, 1, tzinfo=UTC), "price_seat", 1),
    ]


def test_only_customers_with_a_balance_are_asked_for_its_history(
    stripe_server: StripeServer, reader: StripeReader, warehouse: Connection
) -> None:
    load_all(reader, warehouse)
    assert fetch(
        warehouse,
        "select transaction_id, amount from raw_stripe.customer_balance_transactions",
    ) == [("cbtxn_1", -50)]  # the later one is not known yet
    asked = [one.path for one in stripe_server.requests if "balance" in one.path]
    assert asked == ["/v1/customers/cus_1/balance_transactions"]


def test_loading_twice_gives_the_same_rows(reader: StripeReader, warehouse: Connection) -> None:
    load_all(reader, warehouse)
    once = counts(warehouse)
    assert all(once.values())
    load_all(reader, warehouse)
    assert counts(warehouse) == once


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((403, error("no", code="more_permissions_required")), "forbidden"),
        ((404, error("Unrecognized request URL (GET: /v1/x)")), "missing"),
        ((404, error("no such thing", code="resource_missing")), "missing"),
        ((404, b"<html>not here</html>"), "missing"),
        ((404, b""), "missing"),
    ],
)
def test_a_server_that_knows_none_of_it_leaves_gaps_and_stops_nothing(
    answer: tuple[int, bytes],
    said: str,
    wire: Wire,
    warehouse: Connection,
    reader_of: ReaderOf,
    reader: StripeReader,
) -> None:
    load_all(reader, warehouse)
    wire.answer = lambda _: answer
    refusing = reader_of(wire)
    for one in LATER_LOADS:
        one(refusing, warehouse, AS_OF)
    found = counts(warehouse)
    # What was kept for good stays, and cards stand on the customers that were read before.
    assert {table for table, rows in found.items() if rows} == {"events", "payment_methods"}
    refused = {
        name: found
        for name, found in statuses(warehouse).items()
        if name not in {"customers", "invoices", "invoice_items", "subscriptions"}
        and name != "payment_methods"
    }
    if b"resource_missing" in answer[1]:
        # That one customer is gone is no gap.
        refused.pop("customer_balance_transactions")
    assert set(refused.values()) == {said}


def test_a_server_that_keeps_failing_ends_the_load_and_changes_nothing(
    wire: Wire, warehouse: Connection, reader_of: ReaderOf, reader: StripeReader
) -> None:
    load_payments(reader, warehouse, AS_OF)
    before = counts(warehouse)

    def answer(request: Request) -> tuple[int, bytes]:
        if request.path == "/v1/disputes":
            return 500, error("broken")
        return 200, as_list([])

    wire.answer = answer
    with pytest.raises(TransientFailure, match="disputes"):
        load_payments(reader_of(wire, max_attempts=2), warehouse, AS_OF)
    assert counts(warehouse) == before


def test_many_pages_arrive_whole(warehouse: Connection, reader_of: ReaderOf) -> None:
    account = trap_account()
    account.charges += [
        so.charge(f"ch_{n}", customer="cus_1", amount=n, currency="usd", created=MAY + n)
        for n in range(250)
    ]
    with StripeServer(account, now=AS_OF) as server:
        load_payments(reader_of(server), warehouse, AS_OF)
    assert fetch(warehouse, "select count(*), max(amount) from raw_stripe.charges") == [(252, 900)]


def test_payments_of_older_layouts_are_read(
    wire: Wire, warehouse: Connection, reader_of: ReaderOf
) -> None:
    old_code = {
        "id": "promo_old",
        "code": "OLD",
        "coupon": {"id": "co_1", "object": "coupon"},
        "active": True,
        "created": JAN,
    }
    plan = {"plan": "plan_1", "quantity": 2}
    old_schedule = {
        "id": "sched_old",
        "customer": "cus_1",
        "subscription": "sub_1",
        "created": JAN,
        "phases": [{"start_date": JAN, "end_date": MAY, "plans": [plan]}],
    }
    old_item = {
        "id": "ii_old",
        "object": "invoiceitem",
        "customer": "cus_1",
        "amount": 5,
        "currency": "usd",
        "date": MAY,
        "period": {"start": JAN, "end": MAY},
        "subscription": "sub_1",
        "subscription_item": "si_1",
        "price": {"id": "price_1"},
        "proration": True,
    }
    lists = {
        "/v1/promotion_codes": [old_code],
        "/v1/subscription_schedules": [old_schedule],
        "/v1/invoiceitems": [old_item],
    }
    wire.answer = lambda request: (200, as_list(lists.get(request.path, [])))
    reader = reader_of(wire)
    for one in (load.load_discounts, load.load_schedules, load.load_invoices):
        one(reader, warehouse, AS_OF)
    assert fetch(warehouse, "select coupon_id from raw_stripe.promotion_codes") == [("co_1",)]
    assert fetch(
        warehouse, "select price_id, quantity from raw_stripe.subscription_schedule_phases"
    ) == [("plan_1", 2)]
    assert fetch(
        warehouse,
        "select invoice_id, subscription_id, subscription_item_id, price_id, is_proration "
        "from raw_stripe.invoice_items",
    ) == [(None, "sub_1", "si_1", "price_1", True)]
