"""Whole audits of a Stripe that fails and changes, and is read by what changed: the same findings.

Takes several audits, so it waits for `STRIPE_AUDITS=1`:
`STRIPE_AUDITS=1 pytest -n 0 tests/end_to_end/test_stripe_nights.py`. The same for loads alone, in
seconds, is in `tests/assets/test_stripe_faults.py`; audits are killed in `test_audit_kills.py`.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from leakage_pipeline.simulator.company import generate
from leakage_pipeline.simulator.stripe_server import Faults, StripeServer
from tests.support.audit import audit
from tests.support.audited_tables import difference, state
from tests.support.stripe_nights import next_night

FIRST = datetime(2026, 11, 20, 6, tzinfo=UTC)
FAULTS = Faults(
    seed=1, rate_429=0.025, rate_500=0.025, rate_cut=0.025, rate_stall=0.025, stall_seconds=10
)
RATE, WORKERS = 500, 6
pytestmark = pytest.mark.skipif(
    not os.environ.get("STRIPE_AUDITS"), reason="several whole audits; set STRIPE_AUDITS=1"
)


def test_faults_and_changes_leave_what_calm_audits_of_everything_leave(
    database_url: str, module_database_url: str, tmp_path: Path
) -> None:
    company = generate(21, 10, FIRST)
    company.write(tmp_path)
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
        assert difference(state(database_url), state(module_database_url)) == {}

        server.set_faults(Faults())
        now = FIRST + timedelta(days=1)
        account = next_night(company.account, int(now.timestamp()), seed=1)
        server.now = now
        server.load(account)
        as_of = now.isoformat()
        partly = audit(tmp_path, database_url, server, as_of)
        assert partly.code == 0, partly.out + partly.err
        whole = audit(tmp_path, module_database_url, server, as_of, "--full-refresh")
        assert whole.code == 0, whole.out + whole.err
        assert difference(state(database_url), state(module_database_url)) == {}
