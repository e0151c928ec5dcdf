"""Events over HTTP into Postgres: merged, kept, and read in the layout of their time."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg2.extensions
import pytest

from leakage_pipeline.simulator import stripe_objects as so
from leakage_pipeline.simulator.stripe_server import StripeServer
from leakage_pipeline.stripe_billing import events
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.columns import Sync
from leakage_pipeline.stripe_billing.events import load_events
from leakage_pipeline.stripe_billing.objects import HISTORY_EVENTS
from leakage_pipeline.stripe_billing.status import read_sync_status
from tests.unit.simulator.stripe_spec import FIXTURES
from tests.unit.stripe_billing.conftest import ReaderOf, Wire, as_list, error
from tests.unit.stripe_billing.trap_account import AS_OF, JAN

Connection = psycopg2.extensions.connection
LEGACY = FIXTURES / "legacy_events"

NOW = int(AS_OF.timestamp())
DAY = 86_400


def updated(number: int, created: int, **more: Any) -> so.JsonObject:
    body = {"id": "sub_1", "object": "subscription", "customer": "cus_1"}
    fields = {"type": "customer.subscription.updated", "data_object": body, **more}
    return so.event(f"evt_{number}", created=created, **fields)


def paid(number: int, created: int, pending: int = 1) -> so.JsonObject:
    body = {"id": "in_1", "object": "invoice", "customer": "cus_1", "subscription": "sub_old"}
    return so.event(
        f"evt_{number}",
        type="invoice.paid",
        created=created,
        data_object=body,
        pending_webhooks=pending,
    )


def stored(conn: Connection) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.execute(
            "select event_id, is_undelivered, subscription_id from raw_stripe.events order by 1"
        )
        return cursor.fetchall()


Serve = Callable[..., StripeServer]


@pytest.fixture
def account() -> so.StripeAccount:
    return so.StripeAccount(
        webhook_endpoints=[so.webhook_endpoint("we_1", url="https://a.example", created=JAN)],
        events=[
            updated(1, NOW - 31 * DAY),
            updated(2, NOW - 20 * DAY, previous_attributes={"status": "trialing"}),
            updated(3, NOW - DAY, pending_webhooks=1),
            paid(4, NOW - DAY),
            paid(5, NOW - DAY, pending=0),
            updated(6, NOW + 1),
        ],
    )


def test_history_and_undelivered_events_of_thirty_days_arrive(
    account: so.StripeAccount, warehouse: Connection, reader_of: ReaderOf
) -> None:
    with StripeServer(account, now=AS_OF) as server:
        result = load_events(reader_of(server), warehouse, AS_OF)
    assert result == {"events": 3, "webhook_endpoints": 1}
    assert result.requests == {"events": 1, "undelivered_events": 1, "webhook_endpoints": 1}
    assert stored(warehouse) == [
        ("evt_2", False, "sub_1"),
        ("evt_3", True, "sub_1"),
        ("evt_4", True, "sub_old"),
    ]
    with warehouse.cursor() as cursor:
        cursor.execute(
            "select previous_attributes, data_object ->> 'id', payload ? 'data' "
            "from raw_stripe.events where event_id = 'evt_2'"
        )
        assert cursor.fetchone() == ({"status": "trialing"}, "sub_1", False)


def test_a_second_audit_asks_from_the_newest_on_and_keeps_the_old(
    account: so.StripeAccount, warehouse: Connection, reader_of: ReaderOf
) -> None:
    with StripeServer(account, now=AS_OF) as server:
        load_events(reader_of(server), warehouse, AS_OF)
        before = stored(warehouse)
        load_events(reader_of(server), warehouse, AS_OF)
        assert stored(warehouse) == before
    later = AS_OF + timedelta(days=40)
    account.events[3]["pending_webhooks"] = 0
    account.events.append(updated(7, NOW + 39 * DAY))
    with StripeServer(account, now=later) as server:
        load_events(reader_of(server), warehouse, later)
    assert [name for name, *_ in stored(warehouse)] == ["evt_2", "evt_3", "evt_4", "evt_7"]


def test_an_event_delivered_since_is_no_longer_marked(
    account: so.StripeAccount, warehouse: Connection, reader_of: ReaderOf
) -> None:
    with StripeServer(account, now=AS_OF) as server:
        load_events(reader_of(server), warehouse, AS_OF)
    account.events[2]["pending_webhooks"] = account.events[3]["pending_webhooks"] = 0
    with StripeServer(account, now=AS_OF) as server:
        load_events(reader_of(server), warehouse, AS_OF)
    assert [flag for _, flag, _ in stored(warehouse)] == [False, False, False]


def test_later_runs_ask_from_the_newest_stored_event_less_a_day(
    wire: Wire, warehouse: Connection, reader_of: ReaderOf
) -> None:
    asked = []

    def answer(request: Any) -> tuple[int, bytes]:
        if request.path != "/v1/events":
            return 200, as_list([])
        asked.append((request.query.get("created[gte]"), request.query.get("delivery_success")))
        return 200, as_list([updated(1, NOW - 5 * DAY)] if "types[0]" in request.query else [])

    wire.answer = answer
    load_events(reader_of(wire), warehouse, AS_OF)
    load_events(reader_of(wire), warehouse, AS_OF)
    assert asked == [
        (str(NOW - 30 * DAY), None),
        (str(NOW - 30 * DAY), "false"),
        (str(NOW - 6 * DAY), None),
        (str(NOW - 30 * DAY), "false"),
    ]
    assert wire.requests[1].query["types[8]"] == HISTORY_EVENTS[8]


def test_the_history_of_another_account_is_read_from_its_beginning(
    account: so.StripeAccount, warehouse: Connection, reader_of: ReaderOf
) -> None:
    """Also when its events are older than the newest of the account that was read before."""
    how = [Refresh(incremental=True, source=source) for source in ("one", "another")]
    with StripeServer(account, now=AS_OF) as server:
        load_events(reader_of(server), warehouse, AS_OF, how[0])
    account.events = [updated(8, NOW - 9 * DAY)]
    with StripeServer(account, now=AS_OF) as server:
        load_events(reader_of(server), warehouse, AS_OF, how[1])
    assert [name for name, *_ in stored(warehouse)] == ["evt_2", "evt_3", "evt_4", "evt_8"]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, error("no", code="more_permissions_required"), "forbidden"),
        (404, error("Unrecognized request URL"), "missing"),
        (404, error("Unrecognized request URL", code="resource_missing"), "missing"),
        (404, b"<html>not here</html>", "missing"),
        (400, error("Received unknown parameter: types", param="types"), "missing"),
    ],
)
def test_an_endpoint_that_refuses_is_a_gap_and_what_was_stored_stays(
    status: int,
    body: bytes,
    said: str,
    account: so.StripeAccount,
    wire: Wire,
    warehouse: Connection,
    reader_of: ReaderOf,
) -> None:
    with StripeServer(account, now=AS_OF) as server:
        load_events(reader_of(server), warehouse, AS_OF)
    before = stored(warehouse)
    wire.answer = lambda _: (status, body)
    result = load_events(reader_of(wire), warehouse, AS_OF)
    assert stored(warehouse) == before
    assert len(result.warnings) == 3
    statuses = {row.object: row.status for row in read_sync_status(warehouse)}
    assert set(statuses) == {"events", "undelivered_events", "webhook_endpoints"}
    assert set(statuses.values()) == {said}


def test_after_a_gap_the_whole_month_is_asked_for_again(
    wire: Wire, warehouse: Connection, reader_of: ReaderOf
) -> None:
    wire.answer = lambda request: (
        200,
        as_list([updated(1, NOW - DAY)] if request.path == "/v1/events" else []),
    )
    load_events(reader_of(wire), warehouse, AS_OF)
    wire.answer = lambda _: (403, error("no", code="more_permissions_required"))
    load_events(reader_of(wire), warehouse, AS_OF)
    wire.requests.clear()
    wire.answer = lambda _: (200, as_list([]))
    load_events(reader_of(wire), warehouse, AS_OF)
    assert wire.requests[1].query["created[gte]"] == str(NOW - 30 * DAY)


def test_of_very_many_undelivered_events_the_newest_are_read_and_no_older_one_is_unmarked(
    wire: Wire, warehouse: Connection, reader_of: ReaderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_UNDELIVERED_AT_MOST", 2)
    old = paid(1, NOW - 9 * DAY)

    def answer(request: Any) -> tuple[int, bytes]:
        if "delivery_success" not in request.query:
            return 200, as_list([])
        return 200, as_list(batches[0], has_more=len(batches[0]) > 1)

    wire.answer = answer
    batches = [[old]]
    load_events(reader_of(wire), warehouse, AS_OF)
    batches[0] = [paid(3, NOW - 10), paid(2, NOW - 20)]
    result = load_events(reader_of(wire), warehouse, AS_OF)
    assert result.warnings == ["undelivered_events: only the newest 2 were read"]
    assert [flag for _, flag, _ in stored(warehouse)] == [True, True, True]


@pytest.mark.skipif(not LEGACY.exists(), reason="recorded events are not at hand")
def test_events_of_every_layout_are_read() -> None:
    bodies = [json.loads(path.read_text()) for path in sorted(LEGACY.glob("*.json"))]
    rows = events.flatten_events(bodies, Sync(AS_OF))["events"].to_pylist()
    assert len(rows) == 25
    by_type = {row["type"]: row for row in rows}
    change = by_type["customer.subscription.updated"]
    assert change["subscription_id"] == "sub_JLEPMp81LApOJl"
    assert change["customer_id"] == "cus_IhGfebO16cMIGN"
    assert change["api_version"] == "2020-03-02"
    assert json.loads(change["previous_attributes"]) == {"metadata": {"test": None}}
    assert by_type["invoice.paid"]["subscription_id"] is not None
    assert by_type["customer.updated"]["customer_id"] == by_type["customer.updated"]["object_id"]


def test_bodies_of_any_shape_do_no_harm() -> None:
    odd = [
        {"id": "evt_1", "type": "x", "created": JAN, "data": {"object": {"id": 5, "customer": []}}},
        {"id": "evt_2", "type": "x", "created": JAN, "data": None, "request": "req_old"},
    ]
    rows = events.flatten_events(odd, Sync(AS_OF))["events"].to_pylist()
    assert [row["object_id"] for row in rows] == [None, None]
    assert rows[1]["request_id"] == "req_old"
