"""Loads from Stripe that are killed at any moment: the next one ends as if nothing had happened.

`STRIPE_KILLS=20` kills that many; the default suite has time for a few.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2.extensions
import pytest

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.simulator.company import generate
from leakage_pipeline.simulator.stripe_objects import StripeAccount
from leakage_pipeline.simulator.stripe_server import ScriptedFault, StripeServer
from leakage_pipeline.stripe_billing import load
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.warehouse import schemas
from leakage_pipeline.warehouse.connection import connect
from tests.support.stripe_loads import contents, load_everything
from tests.support.stripe_nights import next_night

Connection = psycopg2.extensions.connection

FIRST = datetime(2026, 11, 18, 6, tzinfo=UTC)
KILLS = int(os.environ.get("STRIPE_KILLS", "3"))
HOW = Refresh(incremental=True, source="acct")
_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def account() -> StripeAccount:
    return generate(7, 40, FIRST).account


@pytest.fixture
def server(account: StripeAccount) -> Iterator[StripeServer]:
    with StripeServer(account, now=FIRST) as running:
        yield running


@pytest.fixture
def other(module_database_url: str) -> Iterator[Connection]:
    connection = connect(module_database_url)
    schemas.drop_all(connection)
    schemas.create_all(connection)
    yield connection
    connection.close()


def _reader(server: StripeServer) -> StripeReader:
    return StripeReader(server.api_key, server.base_url, rate_limit=500.0, first_delay=0.05)


def _start(url: str, server: StripeServer, as_of: datetime) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.support.load_stripe"),
            *(url, server.base_url, server.api_key, as_of.isoformat()),
        ],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stderr=subprocess.DEVNULL,
    )


def _killed(url: str, server: StripeServer, as_of: datetime, chance: random.Random) -> None:
    """Kill a load after a random number of requests, or shortly after the last of them."""
    server.forget_requests()
    after = chance.randrange(1, 60)
    with _start(url, server, as_of) as process:
        while process.poll() is None and len(server.requests) < after:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.1)
        process.send_signal(signal.SIGKILL)


def test_kills_at_random_moments_each_followed_by_a_run_leave_the_tables_of_a_calm_life(
    account: StripeAccount,
    server: StripeServer,
    database_url: str,
    warehouse: Connection,
    other: Connection,
) -> None:
    """Every kill is followed by a run of the same night; then comes a night of changes."""
    chance = random.Random(KILLS)  # noqa: S311 - reproducible
    now = FIRST
    for _ in range(KILLS):
        _killed(database_url, server, now, chance)
        with _start(database_url, server, now) as process:
            assert process.wait(120) == 0
        load_everything(_reader(server), other, now, Refresh())
        found, wanted = contents(warehouse), contents(other)
        for table, rows in wanted.items():
            assert found[table] == rows, (now, table)
        now += timedelta(days=1)
        account = next_night(account, int(now.timestamp()), seed=now.day)
        server.now = now
        server.load(account)


def test_a_list_goes_on_where_it_was_broken_off(
    server: StripeServer, warehouse: Connection
) -> None:
    """Of a list that breaks after some pages, these are not read again at the same instant."""

    def pages_asked() -> int:
        asked = sum(request.path == "/v1/invoices" for request in server.requests)
        server.forget_requests()
        return asked

    reader = StripeReader(server.api_key, server.base_url, rate_limit=500.0, workers=1)
    load.load_subscriptions(reader, warehouse, FIRST, HOW)
    load.load_invoices(reader, warehouse, FIRST, HOW)
    needed, before = pages_asked(), contents(warehouse)
    assert needed >= 3
    with warehouse.cursor() as cursor:
        cursor.execute("delete from raw_stripe.invoices; delete from ops.stripe_cursors")
    warehouse.commit()
    server.script(ScriptedFault("/v1/invoices", status=401, skip=2, times=1))
    with pytest.raises(PermanentFailure, match="401"):
        load.load_invoices(reader, warehouse, FIRST, HOW)
    assert pages_asked() == 3
    load.load_invoices(reader, warehouse, FIRST, HOW)
    assert pages_asked() == needed - 2
    assert contents(warehouse) == before
    with warehouse.cursor() as cursor:
        cursor.execute("select count(*) from ops.stripe_spool")
        assert cursor.fetchone() == (0,)
