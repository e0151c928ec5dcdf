"""Events from webhooks: applied once, in any order, by whoever comes first, and only if true."""

import copy
import itertools
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest
import stripe

from leakage_pipeline.commands.events import import_files, replay
from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.settings import Settings, load_settings
from leakage_pipeline.simulator import stripe_objects as so
from leakage_pipeline.simulator.stripe_server import StripeServer
from leakage_pipeline.stripe_billing import load
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.events import load_events
from leakage_pipeline.stripe_billing.webhooks import (
    LONGEST_BODY,
    Applied,
    Delivery,
    apply_deliveries,
    deliveries_of,
)
from leakage_pipeline.stripe_settings import WebhookSource
from leakage_pipeline.warehouse.connection import connect
from tests.unit.stripe_billing.conftest import ReaderOf
from tests.unit.stripe_billing.trap_account import AS_OF, trap_account

Connection = psycopg2.extensions.connection

NOW = int(AS_OF.timestamp())
SECRET = "whsec_test"  # noqa: S105 - opens nothing


def event(number: int, **more: Any) -> so.JsonObject:
    body = {"id": "sub_1", "object": "subscription", "customer": "cus_1"}
    fields = {
        "type": "customer.subscription.updated",
        "created": NOW - 60 + number,
        "data_object": body,
    }
    return so.event(f"evt_{number}", **{**fields, **more})


def signed(body: str, at: int = NOW, secret: str = SECRET) -> str:
    return stripe.WebhookSignature._compute_signature(f"{at}.{body}", secret)


def delivery(shown: so.JsonObject, at: int = NOW, secret: str = SECRET) -> Delivery:
    body = json.dumps(shown)
    header = f"t={at},v1={signed(body, at, secret)}"
    return Delivery(body, header, datetime.fromtimestamp(NOW, UTC))


def rows(conn: Connection, query: str) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.execute(query)
        found = cursor.fetchall()
    conn.rollback()
    return found


def state(conn: Connection) -> list[list[tuple[Any, ...]]]:
    return [
        rows(conn, "select event_id, type, created from ops.stripe_events order by 1"),
        rows(conn, "select object, object_id from ops.stripe_changes order by 1, 2"),
        rows(conn, "select event_id, error from ops.dead_letters order by 1"),
    ]


def receive(conn: Connection, *deliveries: Delivery, secret: str | None = SECRET) -> Applied:
    return apply_deliveries(conn, deliveries, AS_OF, secret, "test")


def test_an_event_is_applied_once_in_whatever_order_and_however_often(
    warehouse: Connection,
) -> None:
    known: list[list[list[tuple[Any, ...]]]] = []
    for order in itertools.permutations([1, 2, 3]):
        with warehouse.cursor() as cursor:
            cursor.execute("delete from ops.stripe_events; delete from ops.stripe_changes")
        warehouse.commit()
        given = [delivery(event(number)) for number in order]
        assert receive(warehouse, *given).new == 3
        again = receive(warehouse, *given, given[0])
        assert (again.new, again.known) == (0, 4)
        known.append(state(warehouse))
    assert all(found == known[0] for found in known)
    assert known[0][1] == [("subscriptions", "sub_1")]


def test_events_that_many_apply_at_the_same_time_are_applied_once(
    warehouse: Connection, database_url: str
) -> None:
    given = [
        delivery(event(number, data_object={"id": f"sub_{number % 7}", "object": "subscription"}))
        for number in range(50)
    ]
    new: list[int] = []

    def work(start: int) -> None:
        conn = connect(database_url)
        mine = given[start:] + given[:start]
        new.append(apply_deliveries(conn, mine, AS_OF, SECRET, "test").new)
        conn.close()

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 10, 20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(new) == 50
    assert rows(warehouse, "select count(*) from ops.stripe_events") == [(50,)]
    assert rows(warehouse, "select count(*) from ops.stripe_changes") == [(7,)]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (delivery(event(1), secret="whsec_other"), "does not hold"),  # noqa: S106
        (Delivery(delivery(event(1)).body + " ", delivery(event(1)).signature), "does not hold"),
        (Delivery(json.dumps(event(1))), "no signature"),
        (Delivery(json.dumps(event(1)), "v1=,t=x"), "does not hold"),
        (delivery(event(1), at=NOW - 3600), "another time"),
        (delivery(event(1), at=NOW + 3600), "another time"),
        (Delivery("x" * (LONGEST_BODY + 1), "t=1,v1=x"), "longer"),
    ],
)
def test_what_nobody_vouches_for_changes_nothing_and_does_not_stand_in_the_way(
    given: Delivery, reason: str, warehouse: Connection
) -> None:
    applied = receive(warehouse, given)
    assert applied.new == 0
    events, changes, ((name, error),) = state(warehouse)
    assert (events, changes) == ([], [])
    assert reason in error
    assert name.startswith("unverified-")
    assert receive(warehouse, delivery(event(1))).new == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{", "no JSON"),
        ("[" * 20_000, "no JSON"),
        ("[]", "no JSON object"),
        ('{"id": "evt_1"}', "id or type"),
        ('{"id": "evt_1", "type": "invoice.paid"}', "lacks the time"),
        ('{"id": "evt_1", "type": "invoice.paid", "created": 1}', "names no object"),
        ('{"id": "evt_1", "type": "invoice.paid", "created": 1, "data": []}', "names no object"),
        ('{"id": "evt_1", "type": "invoice.paid", "created": 1e400}', "lacks the time"),
        ('{"id": "evt_\\u0000", "type": "invoice.paid", "created": "\\u0000"}', "lacks the time"),
    ],
)
def test_what_is_no_event_becomes_a_dead_letter_with_the_reason(
    body: str, reason: str, warehouse: Connection
) -> None:
    receive(warehouse, Delivery(body), delivery(event(2)), secret=None)
    events, _, ((_, error),) = state(warehouse)
    assert reason in error
    assert [name for name, *_ in events] == ["evt_2"]


def test_events_of_types_that_nobody_follows_are_noted_and_change_nothing(
    warehouse: Connection,
) -> None:
    thin = {
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "v1.billing.meter.no_meter_found",
        "created": "2026-06-14T06:00:00.000Z",
    }
    other = event(1, type="payout.paid", data_object={"id": "po_1", "object": "payout"})
    later = event(2, created=NOW + 60)
    applied = receive(warehouse, delivery(thin), delivery(other), delivery(later))
    assert (applied.new, applied.later, applied.failed) == (2, 1, [])
    assert state(warehouse)[1] == []


def test_an_old_event_never_overwrites_newer_rows(
    reader_of: ReaderOf, warehouse: Connection
) -> None:
    """The body of an event is never stored as the object; the object is read again instead."""
    account = trap_account()
    how = Refresh(incremental=True, source="acct")
    with StripeServer(account, now=AS_OF) as server:
        reader = reader_of(server)
        for one in (load_events, load.load_subscriptions):
            one(reader, warehouse, AS_OF, how)
        before = rows(warehouse, "select subscription_id, status from raw_stripe.subscriptions")
        old = copy.deepcopy(account.subscriptions[0]) | {"status": "trialing"}
        receive(warehouse, delivery(event(1, data_object=old)))
        for one in (load_events, load.load_subscriptions):
            assert one(reader, warehouse, AS_OF, how) is not None
        assert "/v1/subscriptions/sub_1" in [r.path for r in server.requests]
    after = rows(warehouse, "select subscription_id, status from raw_stripe.subscriptions")
    assert sorted(after) == sorted(before)
    assert state(warehouse)[1] == []


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "leakage.yaml").write_text(
        "sources: {}\nstripe: {webhooks: {source: hooks/*.jsonl, secret_env: HOOK_SECRET}}\n",
        encoding="utf-8",
    )
    return load_settings(tmp_path / "leakage.yaml", {"HOOK_SECRET": SECRET})


def _line(given: Delivery) -> str:
    received = given.received_at.isoformat() if given.received_at else None
    return json.dumps({"body": given.body, "signature": given.signature, "received_at": received})


def test_a_file_is_tried_dry_first_then_applied(
    warehouse: Connection, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "hooks.jsonl"
    file.write_text("\n".join(_line(delivery(event(n))) for n in (1, 2, 1)) + "\n\nno\n")
    told = import_files(warehouse, settings, [file], AS_OF, dry_run=True)[file]
    assert (told.new, told.known, len(told.failed or ())) == (2, 1, 1)
    assert state(warehouse) == [[], [], []]
    assert import_files(warehouse, settings, [file], AS_OF, dry_run=False)[file] == told
    assert len(state(warehouse)[0]) == 2
    with pytest.raises(ConfigurationError, match="no such file"):
        import_files(warehouse, settings, [tmp_path / "none"], AS_OF, dry_run=False)


def test_a_dead_letter_is_replayed_after_a_dry_run_and_logged(
    warehouse: Connection, settings: Settings
) -> None:
    given = delivery(event(1))
    receive(warehouse, given, secret="whsec_old")  # noqa: S106 - the wrong one was configured
    receive(warehouse, delivery(event(2), secret="whsec_forged"))  # noqa: S106
    how = {"as_of": AS_OF, "actor": "kim"}
    dry = replay(warehouse, settings, [], dry_run=True, **how)
    assert sorted(str(outcome.error) for outcome in dry) == ["None", "its signature does not hold"]
    assert len(state(warehouse)[2]) == 2
    replay(warehouse, settings, [], dry_run=False, **how)
    events, changes, letters = state(warehouse)
    assert [name for name, *_ in events] == ["evt_1"]
    assert changes == [("subscriptions", "sub_1")]
    assert len(letters) == 1
    assert rows(warehouse, "select attempts from ops.dead_letters") == [(2,)]
    assert rows(warehouse, "select actor, action from ops.audit_log") == [("kim", "replay_event")]
    with pytest.raises(ConfigurationError, match="evt_9"):
        replay(warehouse, settings, ["evt_9"], dry_run=True, **how)


def test_a_table_of_received_webhooks_is_read_for_the_last_days(
    warehouse: Connection, database_url: str, tmp_path: Path
) -> None:
    source = WebhookSource.model_validate(
        {"source": {"kind": "sql", "url_env": "APP_URL", "table": "public.hooks"}}
    )
    with warehouse.cursor() as cursor:
        cursor.execute(
            "create table public.hooks (body jsonb, signature text, received_at timestamptz)"
        )
        for number, days in ((1, 0), (2, 30)):
            cursor.execute(
                "insert into public.hooks values (%s, null, %s)",
                (json.dumps(event(number)), AS_OF - timedelta(days=days)),
            )
    warehouse.commit()
    found = list(deliveries_of(source, tmp_path, {"APP_URL": database_url}, "here", AS_OF))
    assert [json.loads(item.body)["id"] for item in found] == ["evt_1"]
    with pytest.raises(ConfigurationError, match="APP_URL"):
        list(deliveries_of(source, tmp_path, {}, "here", AS_OF))
