"""Nights that read what has changed leave what nights that read everything would have left."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg2.extensions
import pytest

from leakage_pipeline.simulator.company import generate
from leakage_pipeline.simulator.stripe_objects import StripeAccount
from leakage_pipeline.simulator.stripe_server import StripeServer
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.warehouse import schemas
from leakage_pipeline.warehouse.connection import connect
from tests.support.stripe_loads import contents, load_everything
from tests.support.stripe_nights import next_night
from tests.unit.stripe_billing.conftest import ReaderOf

Connection = psycopg2.extensions.connection

FIRST = datetime(2026, 11, 18, 6, tzinfo=UTC)
DAY = timedelta(days=1)
PARTLY = Refresh(incremental=True, source="acct")


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
        load_everything(reader, other, now, Refresh())
        found, wanted = contents(warehouse), contents(other)
        for table, rows in wanted.items():
            assert found[table] == rows, (night, table)
