"""The nightly audit of a simulated company, as a user runs it: right, repeatable, and kill-safe."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from leakage_pipeline.simulator.company import Company, generate
from leakage_pipeline.simulator.scoring import score, score_text
from leakage_pipeline.simulator.stripe_server import StripeServer
from tests.support.audit import audit, rows

AS_OF = datetime(2026, 11, 20, 6, tzinfo=UTC)
SEED, CUSTOMERS = 11, 40
# What an audit leaves: everything in the marts and what publishing keeps, without clock times.
TABLES = {
    "marts.fct_expected_vs_billed": "*",
    "marts.fct_customer_usage": "*",
    "marts.fct_leakage_detections": "*",
    "marts.fct_incidents": "*",
    "marts.fct_charge_calculation": "*",
    "ops.detection_sightings": "*",
    "ops.detection_state": "detection_id, status",
    "ops.classifications": "detection_id, category, next_action, classifier, prompt_hash",
}


@pytest.fixture(scope="module")
def company() -> Company:
    """A small company with every kind of leak."""
    return generate(SEED, CUSTOMERS, AS_OF)


@pytest.fixture(scope="module")
def directory(company: Company, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The company's files."""
    folder: Path = tmp_path_factory.mktemp("company")
    company.write(folder)
    return folder


@pytest.fixture(scope="module")
def server(company: Company) -> Iterator[StripeServer]:
    """The company's Stripe account."""
    with StripeServer(company.account, now=AS_OF) as running:
        yield running


def _state(url: str) -> dict[str, list[dict[str, Any]]]:
    return {
        table: sorted(rows(url, f"select {columns} from {table}"), key=repr)  # noqa: S608 - ours
        for table, columns in TABLES.items()
    }


def _killed_audit(directory: Path, url: str, server: StripeServer, seconds: float) -> None:
    """Start an audit and kill it, and all that it started, after so many seconds."""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "LEAKAGE_HOME": str(directory / ".leakage"),
        "LEAKAGE_DATABASE_URL": url,
        "STRIPE_API_KEY": server.api_key,
        "STRIPE_API_BASE": server.base_url,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "leakage_pipeline.cli", "audit", "--as-of", AS_OF.isoformat()],
        cwd=directory,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)


def test_every_leak_is_found_to_the_cent_again_and_after_a_kill(
    company: Company, directory: Path, server: StripeServer, module_database_url: str
) -> None:
    """Killed in mid-run, run, run again: the labels are met and the second run changes nothing."""
    url = module_database_url
    _killed_audit(directory, url, server, 14)
    first = audit(directory, url, server, AS_OF.isoformat())
    assert first.code == 0, first.out + first.err
    state = _state(url)
    result = score(state["marts.fct_leakage_detections"], company.ground_truth)
    assert result.is_perfect, f"seed {SEED}\n{score_text(result)}"
    # Opportunities are nobody's mistake, so no label foresees them.
    assert set(result.unlabelled) <= {"approaching_limit", "outgrown_plan"}, result.unlabelled

    again = audit(directory, url, server, AS_OF.isoformat())
    assert again.code == 0, again.out + again.err
    assert _state(url) == state


def test_a_company_without_leaks_has_no_findings(database_url: str, tmp_path: Path) -> None:
    """None, in any period, in either direction, and nothing is unexplained."""
    honest = generate(SEED + 1, CUSTOMERS, AS_OF, leaks=False)
    honest.write(tmp_path)
    with StripeServer(honest.account, now=AS_OF) as server:
        done = audit(tmp_path, database_url, server, AS_OF.isoformat())
    assert done.code == 0, done.out + done.err
    found = "select * from marts.fct_leakage_detections where direction != 'opportunity'"
    assert rows(database_url, found) == []
    (bridge,) = rows(
        database_url,
        "select count(*) as periods, count(*) filter (where unexplained_amount <> 0) as broken,"
        " count(*) filter (where expected_amount is null) as unrated"
        " from marts.fct_expected_vs_billed",
    )
    assert bridge["periods"] > CUSTOMERS
    assert (bridge["broken"], bridge["unrated"]) == (0, 0)
