"""Whole audits of a Stripe that fails, changes, and is read by what changed: the same findings.

Takes several audits, so it waits for `STRIPE_AUDITS=1`:
`STRIPE_AUDITS=1 pytest -n 0 tests/end_to_end/test_stripe_nights.py`. The same for loads alone, in
seconds, is in `tests/assets/test_stripe_faults.py` and `test_stripe_kills.py`.
"""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leakage_pipeline.simulator.company import generate
from leakage_pipeline.simulator.stripe_server import Faults, StripeServer
from leakage_pipeline.warehouse.connection import connect
from tests.support.audit import audit, rows
from tests.support.stripe_loads import contents
from tests.support.stripe_nights import next_night

FIRST = datetime(2026, 11, 20, 6, tzinfo=UTC)
FAULTS = Faults(
    seed=1, rate_429=0.025, rate_500=0.025, rate_cut=0.025, rate_stall=0.025, stall_seconds=10
)
RATE, WORKERS = 500, 6
KILLS = int(os.environ.get("AUDIT_KILLS", "1"))
MARTS = (
    "marts.fct_expected_vs_billed",
    "marts.fct_customer_usage",
    "marts.fct_leakage_detections",
    "marts.fct_incidents",
)
pytestmark = pytest.mark.skipif(
    not os.environ.get("STRIPE_AUDITS"), reason="several whole audits; set STRIPE_AUDITS=1"
)


def _state(url: str) -> dict[str, list[Any]]:
    connection = connect(url)
    found: dict[str, list[Any]] = dict(contents(connection))
    connection.close()
    for table in MARTS:
        found[table] = sorted(rows(url, f"select * from {table}"), key=repr)  # noqa: S608 - ours
    return found


def _same(url: str, other: str) -> None:
    found, wanted = _state(url), _state(other)
    for table, expected in wanted.items():
        assert found[table] == expected, table


def _kill(directory: Path, url: str, server: StripeServer, as_of: str, seconds: float) -> None:
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "LEAKAGE_HOME": str(directory / ".leakage"),
        "LEAKAGE_DATABASE_URL": url,
        "STRIPE_API_KEY": server.api_key,
        "STRIPE_API_BASE": server.base_url,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "leakage_pipeline.cli", "audit", "--as-of", as_of],
        cwd=directory,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)


def test_faults_changes_and_kills_leave_what_calm_audits_of_everything_leave(
    database_url: str, module_database_url: str, tmp_path: Path
) -> None:
    company = generate(21, 15, FIRST)
    company.write(tmp_path)
    chance = random.Random(1)  # noqa: S311 - reproducible
    with StripeServer(company.account, now=FIRST) as server:
        as_of = FIRST.isoformat()
        calm = audit(tmp_path, module_database_url, server, as_of)
        assert calm.code == 0, calm.out + calm.err
        server.set_faults(FAULTS)
        server.forget_requests()
        troubled = audit(tmp_path, database_url, server, as_of)
        assert troubled.code == 0, troubled.out + troubled.err
        assert server.max_rate() <= RATE + WORKERS
        failed = [request.status for request in server.requests if request.status in {0, 429, 500}]
        assert failed
        _same(database_url, module_database_url)

        server.set_faults(Faults())
        now = FIRST + timedelta(days=1)
        account = next_night(company.account, int(now.timestamp()), seed=1)
        server.now = now
        server.load(account)
        as_of = now.isoformat()
        for _ in range(KILLS):
            _kill(tmp_path, database_url, server, as_of, chance.uniform(5, 90))
        partly = audit(tmp_path, database_url, server, as_of)
        assert partly.code == 0, partly.out + partly.err
        whole = audit(tmp_path, module_database_url, server, as_of, "--full-refresh")
        assert whole.code == 0, whole.out + whole.err
        _same(database_url, module_database_url)
