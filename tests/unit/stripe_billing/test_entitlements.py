"""What customers may use: asked only where it can be something, and again where it has changed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2.extensions
import pytest

from leakage_pipeline.simulator import stripe_objects as so
from leakage_pipeline.simulator.stripe_server import ScriptedFault, StripeServer
from leakage_pipeline.stripe_billing import load
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.events import load_events
from leakage_pipeline.stripe_billing.load_entitlements import load_entitlements
from leakage_pipeline.stripe_billing.status import read_sync_status
from tests.unit.stripe_billing.trap_account import trap_account

Connection = psycopg2.extensions.connection

FIRST = datetime(2026, 6, 20, 6, tzinfo=UTC)
NEXT = FIRST + timedelta(days=1)
HOW = Refresh(incremental=True, source="acct")
_PATH = "/v1/entitlements/active_entitlements"


@pytest.fixture
def server() -> Iterator[StripeServer]:
    with StripeServer(trap_account(), now=FIRST) as running:
        yield running


def _load(server: StripeServer, conn: Connection, as_of: datetime) -> int:
    """Load what entitlements need and them; tell how many customers were asked about."""
    reader = StripeReader(server.api_key, server.base_url, rate_limit=500.0)
    server.forget_requests()
    for one in (load_events, load.load_subscriptions, load.load_invoices, load.load_customers):
        one(reader, conn, as_of, HOW)
    load_entitlements(reader, conn, as_of, HOW)
    return sum(request.path == _PATH for request in server.requests)


def _held(conn: Connection) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.execute(
            "select customer_id, lookup_key from raw_stripe.active_entitlements order by 1, 2"
        )
        return cursor.fetchall()


def test_customers_are_asked_once_until_something_of_them_changes(
    server: StripeServer, warehouse: Connection
) -> None:
    assert _load(server, warehouse, FIRST) == 1  # who has no running subscription has nothing
    assert _held(warehouse) == [("cus_1", "exports")]
    assert _load(server, warehouse, NEXT) == 0
    assert _held(warehouse) == [("cus_1", "exports")]
    rows = {status.object: status.rows for status in read_sync_status(warehouse)}
    assert rows["active_entitlements"] == 1


def test_an_event_about_entitlements_has_the_customer_asked_again(
    server: StripeServer, warehouse: Connection
) -> None:
    _load(server, warehouse, FIRST)
    account = trap_account()
    account.active_entitlements = []
    account.events.append(
        so.event(
            "evt_ent",
            type="entitlements.active_entitlement_summary.updated",
            created=int(FIRST.timestamp()) + 60,
            data_object={
                "object": "entitlements.active_entitlement_summary",
                "customer": "cus_1",
                "entitlements": {"object": "list", "data": [], "has_more": False, "url": _PATH},
                "livemode": False,
            },
        )
    )
    server.now = NEXT
    server.load(account)
    assert _load(server, warehouse, NEXT) == 1
    assert _held(warehouse) == []


def test_without_features_nobody_is_asked(server: StripeServer, warehouse: Connection) -> None:
    account = trap_account()
    account.features = []
    server.load(account)
    assert _load(server, warehouse, FIRST) == 0
    assert _held(warehouse) == []


def test_a_key_without_the_permission_leaves_a_gap_that_is_told(
    server: StripeServer, warehouse: Connection
) -> None:
    _load(server, warehouse, FIRST)
    server.script(ScriptedFault("/v1/entitlements/features", status=403))
    assert _load(server, warehouse, NEXT) == 0
    assert _held(warehouse) == []
    told = {status.object: status.status for status in read_sync_status(warehouse)}
    assert (told["features"], told["active_entitlements"]) == ("forbidden", "missing")
    assert _load(server, warehouse, NEXT + timedelta(days=1)) == 1
    assert _held(warehouse) == [("cus_1", "exports")]
