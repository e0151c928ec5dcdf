"""Nights that read what has changed leave what nights that read everything would have left."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import psycopg2.extensions
import pytest

from leakage_pipeline.simulator.company import generate
from leakage_pipeline.simulator.stripe_objects import StripeAccount
from leakage_pipeline.simulator.stripe_server import ApiKey, StripeServer
from leakage_pipeline.stripe_billing import load
from leakage_pipeline.stripe_billing.changes import Refresh, mark_changed, pending, take_off
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.events import load_events
from leakage_pipeline.stripe_billing.rereading import plan
from leakage_pipeline.stripe_billing.tracking import Mark
from leakage_pipeline.warehouse import schemas
from leakage_pipeline.warehouse.connection import connect
from tests.support.stripe_loads import contents, load_everything
from tests.support.stripe_nights import next_night
from tests.unit.stripe_billing.conftest import ReaderOf
from tests.unit.stripe_billing.trap_account import AS_OF

Connection = psycopg2.extensions.connection

FIRST = datetime(2026, 11, 18, 6, tzinfo=UTC)
DAY = timedelta(days=1)
PARTLY = Refresh(incremental=True, source="acct")
ENTIRELY = Refresh(source="acct")


@pytest.fixture(scope="module")
def account() -> StripeAccount:
    return generate(5, 25, FIRST).account


@pytest.fixture
def server(account: StripeAccount) -> Iterator[StripeServer]:
    with StripeServer(account, now=FIRST) as running:
        yield running
        assert running.crashes == []


@pytest.fixture
def other(module_database_url: str) -> Iterator[Connection]:
    """A second warehouse, in which everything is read every night."""
    connection = connect(module_database_url)
    schemas.drop_all(connection)
    schemas.create_all(connection)
    yield connection
    connection.close()


def _serve(server: StripeServer, account: StripeAccount, now: datetime) -> None:
    server.now = now
    server.load(account)
    server.forget_requests()


@pytest.mark.parametrize("seed", [1, 2])
def test_two_nights_of_changes_leave_the_tables_of_a_full_load(
    seed: int,
    account: StripeAccount,
    server: StripeServer,
    reader_of: ReaderOf,
    warehouse: Connection,
    other: Connection,
) -> None:
    reader: StripeReader = reader_of(server)
    for conn in (warehouse, other):
        load_everything(reader, conn, FIRST, PARTLY)
    now = FIRST
    for night in range(2):
        now += DAY
        account = next_night(account, int(now.timestamp()), seed * 10 + night)
        _serve(server, account, now)
        results = load_everything(reader, warehouse, now, PARTLY)
        assert all(result.since == now - DAY for result in results[1:])
        load_everything(reader, other, now, ENTIRELY)
        found, wanted = contents(warehouse), contents(other)
        for table, rows in wanted.items():
            assert found[table] == rows, (night, table)


def test_an_audit_of_the_past_reads_everything_and_the_next_one_catches_up(
    account: StripeAccount,
    server: StripeServer,
    reader_of: ReaderOf,
    warehouse: Connection,
    other: Connection,
) -> None:
    reader: StripeReader = reader_of(server)
    load_everything(reader, warehouse, FIRST, PARTLY)
    second, third = FIRST + DAY, FIRST + 2 * DAY
    account = next_night(account, int(second.timestamp()), seed=1)
    _serve(server, account, second)
    load_everything(reader, warehouse, second, PARTLY)
    back = load_everything(reader, warehouse, FIRST, PARTLY)
    assert all(result.since is None for result in back)
    account = next_night(account, int(third.timestamp()), seed=2)
    _serve(server, account, third)
    results = load_everything(reader, warehouse, third, PARTLY)
    assert all(result.since == FIRST for result in results[1:])
    load_everything(reader, other, third, Refresh())
    found, wanted = contents(warehouse), contents(other)
    # Events of nights that the other database never saw are kept for good.
    for table in wanted.keys() - {"events"}:
        assert found[table] == wanted[table], table


WHOLE = {
    "another key or address": (DAY, Refresh(incremental=True, source="other")),
    "switched off": (DAY, Refresh(source="acct")),
    "a week is over": (7 * DAY, PARTLY),
    "Stripe has forgotten": (30 * DAY, Refresh(incremental=True, full_load_days=99, source="acct")),
    "earlier than the newest": (-DAY, PARTLY),
}


@pytest.mark.parametrize("why", WHOLE)
def test_everything_is_read_where_changes_cannot_be_known(
    why: str, reader: StripeReader, warehouse: Connection
) -> None:
    later, how = WHOLE[why]
    for as_of, each in ((AS_OF, PARTLY), (AS_OF + later, how)):
        load_events(reader, warehouse, as_of, each)
        result = load.load_subscriptions(reader, warehouse, as_of, each)
        assert result.since is None


def test_what_was_refused_is_asked_for_again_in_full(
    stripe_server: StripeServer, reader: StripeReader, warehouse: Connection
) -> None:
    stripe_server.deny("/v1/credit_notes")
    load_events(reader, warehouse, AS_OF, PARTLY)
    assert load.load_credit_notes(reader, warehouse, AS_OF, PARTLY)["credit_notes"] == 0
    stripe_server.set_key(ApiKey(stripe_server.api_key))
    again = load.load_credit_notes(reader, warehouse, AS_OF, PARTLY)
    assert (again.since, again["credit_notes"]) == (None, 1)


def test_without_events_every_night_reads_everything(
    stripe_server: StripeServer, reader: StripeReader, warehouse: Connection
) -> None:
    stripe_server.deny("/v1/events")
    for as_of in (AS_OF, AS_OF + DAY):
        load_events(reader, warehouse, as_of, PARTLY)
        assert load.load_subscriptions(reader, warehouse, as_of, PARTLY).since is None


def test_a_mark_that_is_renewed_while_its_object_is_read_stays(
    reader: StripeReader, warehouse: Connection
) -> None:
    load_events(reader, warehouse, AS_OF, PARTLY)
    load.load_subscriptions(reader, warehouse, AS_OF, PARTLY)
    mark = [(Mark("subscriptions", "sub_1"), "customer.subscription.updated")]
    with warehouse.cursor() as cursor:
        mark_changed(cursor, mark, AS_OF)
    warehouse.commit()
    marks = pending(warehouse, "subscriptions")
    with warehouse.cursor() as cursor:
        mark_changed(cursor, mark, AS_OF)
        take_off(cursor, "subscriptions", list(marks.values()))
    warehouse.commit()
    assert pending(warehouse, "subscriptions").keys() == {"sub_1"}


def test_a_plan_reads_neighbours_by_the_page_and_the_rest_one_by_one() -> None:
    def density(instants: list[int]) -> list[int]:
        return [1 if second - first < 50 else 500 for first, second in pairwise([*instants, 10**9])]

    near = {f"near_{number}": 1000 + number for number in range(30)}
    far = {"far_1": 90_000, "far_2": 100_000, "unknown": None}
    windows = plan({**near, **far}, density)
    assert [(item.since, item.until, len(item.ids)) for item in windows] == [(1000, 1028, 29)]
