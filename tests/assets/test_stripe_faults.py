"""A Stripe that fails one call in ten: the same tables, and never faster than allowed."""

from datetime import UTC, datetime, timedelta

import psycopg2.extensions

from leakage_pipeline.simulator.company import generate
from leakage_pipeline.simulator.stripe_server import Faults, ScriptedFault, StripeServer
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.warehouse import schemas
from leakage_pipeline.warehouse.connection import connect
from tests.support.stripe_loads import contents, load_everything
from tests.support.stripe_nights import next_night

Connection = psycopg2.extensions.connection

FIRST = datetime(2026, 11, 18, 6, tzinfo=UTC)
HOW = Refresh(incremental=True, source="acct")
RATE, WORKERS = 60, 4
FAULTS = Faults(
    seed=3, rate_429=0.025, rate_500=0.025, rate_cut=0.025, rate_stall=0.025, stall_seconds=0.5
)


def test_a_server_that_fails_one_call_in_ten_changes_nothing_but_the_time_it_takes(
    warehouse: Connection, module_database_url: str
) -> None:
    account = generate(9, 20, FIRST).account
    other = connect(module_database_url)
    schemas.create_all(other)
    with StripeServer(account, now=FIRST) as server:
        calm = StripeReader(server.api_key, server.base_url, rate_limit=500.0)
        troubled = StripeReader(
            server.api_key,
            server.base_url,
            rate_limit=RATE,
            workers=WORKERS,
            first_delay=0.05,
        )
        now = FIRST
        for night in range(2):
            server.set_faults(Faults())
            load_everything(calm, other, now, HOW)
            server.set_faults(FAULTS)
            server.forget_requests()
            load_everything(troubled, warehouse, now, HOW)
            # In a second no more than are allowed, and those in flight, which arrive when they can.
            assert server.max_rate() <= RATE + WORKERS
            assert server.max_rate(5.0) <= 5 * RATE
            found, wanted = contents(warehouse), contents(other)
            for table, rows in wanted.items():
                assert found[table] == rows, (night, table)
            now += timedelta(days=1)
            account = next_night(account, int(now.timestamp()), seed=night)
            server.now = now
            server.load(account)
        assert troubled.retries.total() > 0
    other.close()


def test_the_rate_falls_when_stripe_says_so_and_its_wait_is_kept(warehouse: Connection) -> None:
    """A 429 of the whole account holds every thread back for as long as Stripe asks."""
    account = generate(9, 5, FIRST).account
    with StripeServer(account, now=FIRST) as server:
        reader = StripeReader(server.api_key, server.base_url, rate_limit=200.0, first_delay=0.01)
        server.script(ScriptedFault("/v1/subscriptions", status=429, retry_after=1))
        load_everything(reader, warehouse, FIRST, HOW)
        refused, again = (
            request for request in server.requests if request.path == "/v1/subscriptions"
        )
        assert again.at - refused.at >= 1
        assert reader.pace < 1
