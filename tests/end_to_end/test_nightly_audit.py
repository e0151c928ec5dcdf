"""The nightly audit of a simulated company, as a user runs it: right, repeatable, and kill-safe."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from leakage_pipeline.simulator import opportunities
from leakage_pipeline.simulator.company import Company, generate, generate_side_by_side
from leakage_pipeline.simulator.customers_profiles import PROFILES
from leakage_pipeline.simulator.scoring import disagreements_text, score, score_text
from leakage_pipeline.simulator.stripe_server import StripeServer
from tests.support import by_hand
from tests.support.audit import audit, leakage, rows

TYPES = Path(__file__).parents[2] / "dbt_project" / "seeds" / "finding_types.csv"
AS_OF = datetime(2026, 11, 20, 6, tzinfo=UTC)
SEEDS, CUSTOMERS, HONEST_SEED = (47, 48), 20, 41
HIGH_CONFIDENCE = Decimal("0.8")
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
    """Two small companies side by side that have every finding type between them."""
    return generate_side_by_side(SEEDS, CUSTOMERS, AS_OF, leaky_share=1)


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


def killed_audit(
    directory: Path,
    url: str,
    server: StripeServer,
    as_of: datetime,
    *,
    seconds: float,
    has_begun: Callable[[], bool] = lambda: True,
) -> None:
    """Start an audit and kill it, and all that it started, so many seconds after it has begun."""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "LEAKAGE_HOME": str(directory / ".leakage"),
        "LEAKAGE_DATABASE_URL": url,
        "STRIPE_API_KEY": server.api_key,
        "STRIPE_API_BASE": server.base_url,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "leakage_pipeline.cli", "audit", "--as-of", as_of.isoformat()],
        cwd=directory,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 300
        while not has_begun() and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)


def test_every_leak_is_found_to_the_cent_again_and_after_a_kill(
    company: Company, directory: Path, server: StripeServer, module_database_url: str
) -> None:
    """Killed in mid-run, run, run again: the labels are met and the second run changes nothing."""
    url = module_database_url
    killed_audit(directory, url, server, AS_OF, seconds=14)
    first = audit(directory, url, server, AS_OF.isoformat())
    assert first.code == 0, first.out + first.err
    state = _state(url)
    result = score(
        state["marts.fct_leakage_detections"],
        company.ground_truth,
        holds=rows(url, "select * from marts.fct_invoice_holds"),
        exceptions=rows(url, "select * from marts.fct_approved_exceptions"),
    )
    assert result.is_perfect, f"{score_text(result)}\n{disagreements_text(result)}"
    assert not result.unlabelled
    assert company.holds

    again = audit(directory, url, server, AS_OF.isoformat())
    assert again.code == 0, again.out + again.err
    assert _state(url) == state


def test_every_finding_type_can_be_worked_out_again_from_its_evidence(
    module_database_url: str,
) -> None:
    """Every type that there is, from the evidence alone; a new type needs its own arithmetic."""
    with TYPES.open(newline="") as file:
        types = {row["leakage_type"] for row in csv.DictReader(file)}
    assert types == set(by_hand.BY_HAND)
    # Who comes near a limit leaks nothing: the company without leaks shows it.
    assert _worked_out(module_database_url) | {"approaching_limit"} == types


def _worked_out(url: str) -> set[str]:
    """The types of all findings, each of whose amounts is reached by hand."""
    query = (
        "select customer_id, leakage_type, period_start, currency, leakage_amount,"
        " evidence::text as evidence from marts.fct_leakage_detections"
    )
    found = [
        {**row, "evidence": json.loads(row["evidence"], parse_float=Decimal)}
        for row in rows(url, query)
    ]
    wrong = [
        (row["leakage_type"], row["customer_id"], row["leakage_amount"], by_hand.amount(row))
        for row in found
        if by_hand.amount(row) != row["leakage_amount"]
    ]
    assert wrong == []
    return {row["leakage_type"] for row in found}


def test_a_company_without_leaks_is_all_clear(database_url: str, tmp_path: Path) -> None:
    """Every kind of noise, and no finding in any period, in either direction; the report says so.

    What an approved exception covers is listed with its amounts, and is no finding.
    """
    honest = generate(HONEST_SEED, len(PROFILES), AS_OF, leaks=False)
    assert {history.customer.profile for history in honest.histories} == set(PROFILES)
    honest.write(tmp_path)
    with StripeServer(honest.account, now=AS_OF) as server:
        done = audit(tmp_path, database_url, server, AS_OF.isoformat())
        assert done.code == 0, done.out + done.err
        environment = {"LEAKAGE_DATABASE_URL": database_url, "STRIPE_API_KEY": server.api_key}
        told = leakage("report", "--out", str(tmp_path), cwd=tmp_path, env=environment)
    assert told.code == 0, told.out + told.err
    (page,) = tmp_path.glob("weekly_recovery_*.html")
    assert "Nothing leaks" in page.read_text(), told.out + done.out
    found = rows(database_url, "select * from marts.fct_leakage_detections")
    result = score(
        found,
        honest.ground_truth,
        holds=rows(database_url, "select * from marts.fct_invoice_holds"),
        exceptions=rows(database_url, "select * from marts.fct_approved_exceptions"),
    )
    assert result.is_perfect, disagreements_text(result)
    assert honest.covered
    assert {row["direction"] for row in found} == {"opportunity"}
    assert _worked_out(database_url) == set(opportunities.TYPES)
    assert all(row["confidence"] < HIGH_CONFIDENCE for row in found)
    (bridge,) = rows(
        database_url,
        "select count(*) as periods, count(*) filter (where unexplained_amount <> 0) as broken,"
        " count(*) filter (where expected_amount is null) as unrated"
        " from marts.fct_expected_vs_billed",
    )
    assert bridge["periods"] > len(PROFILES)
    assert (bridge["broken"], bridge["unrated"]) == (0, 0)
