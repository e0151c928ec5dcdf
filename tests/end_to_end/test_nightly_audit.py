"""The nightly audit of a simulated company, as a user runs it: right, repeatable, and kill-safe."""

import csv
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from leakage_pipeline.simulator import opportunities
from leakage_pipeline.simulator.company import (
    Company,
    company_of,
    generate,
    generate_side_by_side,
)
from leakage_pipeline.simulator.customers_profiles import PROFILES
from leakage_pipeline.simulator.scoring import disagreements_text, score, score_text
from leakage_pipeline.simulator.stripe_server import StripeServer
from tests.support import by_hand
from tests.support.audit import audit, killed_audit, leakage, rows
from tests.support.kept_tables import Tables, differences, tables

TYPES = Path(__file__).parents[2] / "dbt_project" / "seeds" / "finding_types.csv"
AS_OF = datetime(2026, 11, 20, 6, tzinfo=UTC)
# So soon that no projection to the end of a period differs by a cent.
EVE = AS_OF - timedelta(seconds=1)
SEEDS, CUSTOMERS, HONEST_SEED = (47, 48), 20, 41
# So many that the new ones cannot turn whether half of all have an account (rule 8.10).
HONEST_CUSTOMERS = 110
# A meter of which the log knew nothing concerns everybody.
NEW_METER = "nobody_prices_it"
HIGH_CONFIDENCE = Decimal("0.8")
# What an audit leaves: everything in the marts and what publishing keeps, without clock times.
TABLES = {
    "marts.fct_expected_vs_billed": "*",
    "marts.fct_customer_usage": "*",
    "marts.fct_leakage_detections": "*, evidence::text as evidence_text",
    "marts.fct_invoice_holds": "*",
    "marts.fct_approved_exceptions": "*",
    "marts.fct_incidents": "*",
    "marts.fct_charge_calculation": "*",
    "ops.detection_sightings": "*",
    "ops.detection_state": "detection_id, status",
    "ops.classifications": "detection_id, category, next_action, classifier, prompt_hash",
}


State = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class TwoNights:
    """The company after both nights, and what the first one left."""

    company: Company
    honest: Company
    all_clear: str
    first: State
    second: State
    again: State
    kept: Tables
    anew: Tables
    priced: set[str]
    told: str


@pytest.fixture(scope="module")
def nights(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> TwoNights:
    """A night of a company that leaks nothing; one on which others leak beside it, killed and
    repeated, which prices what changed alone; and that one again for everybody.
    """
    url, directory = module_database_url, tmp_path_factory.mktemp("company")
    honest = generate(HONEST_SEED, HONEST_CUSTOMERS, AS_OF, leaks=False)
    _write(honest, directory)
    with StripeServer(honest.account, now=EVE) as server:
        done = audit(directory, url, server, EVE.isoformat())
        assert done.code == 0, done.out + done.err
        environment = {"LEAKAGE_DATABASE_URL": url, "STRIPE_API_KEY": server.api_key}
        told = leakage("report", "--out", str(directory), cwd=directory, env=environment)
    assert told.code == 0, told.out + told.err
    (page,) = directory.glob("weekly_recovery_*.html")
    first = _state(url)

    company = _company(honest)
    _write(company, directory)
    with StripeServer(company.account, now=AS_OF) as server:
        assert killed_audit(
            directory, url, server, AS_OF, seconds=20, has_begun=lambda: _begun(url)
        )
        night = audit(directory, url, server, AS_OF.isoformat())
        assert night.code == 0, night.out + night.err
        second, kept = _state(url), tables(url)
        priced = {
            row["customer_id"] for row in rows(url, "select customer_id from night.customers")
        }
        again = audit(directory, url, server, AS_OF.isoformat(), "--full-refresh")
        assert again.code == 0, again.out + again.err
    return TwoNights(
        company=company,
        honest=honest,
        all_clear=page.read_text(),
        first=first,
        second=second,
        again=_state(url),
        kept=kept,
        anew=tables(url),
        priced=priced,
        told=night.out,
    )


def _company(honest: Company) -> Company:
    """The honest company beside two small ones that have every finding type between them.

    Its world draws which events stand in the log twice, so nothing changes for who was there.
    """
    leaky = generate_side_by_side(SEEDS, CUSTOMERS, AS_OF, leaky_share=1)
    new = {label.customer_id for label in leaky.labels if label.variant == NEW_METER}
    others = [each for each in leaky.histories if each.customer.customer_id not in new]
    return company_of(honest.world, [*honest.histories, *others])


def _write(company: Company, directory: Path) -> None:
    company.write(directory)
    path = directory / "leakage.yaml"
    configured = yaml.safe_load(path.read_text("utf-8"))
    policy = {**configured.get("policy", {}), "price_changed_only": True}
    path.write_text(yaml.safe_dump(configured | {"policy": policy}), "utf-8")


def _begun(url: str) -> bool:
    """Whether the second night has decided whom it prices."""
    return bool(rows(url, "select 1 from night.build where not is_done and not is_full"))


def _state(url: str) -> State:
    return {
        table: sorted(rows(url, f"select {columns} from {table}"), key=repr)  # noqa: S608 - ours
        for table, columns in TABLES.items()
    }


def test_every_leak_is_found_to_the_cent_after_a_kill(nights: TwoNights) -> None:
    """By the night that priced what changed: the labels are met, and nothing else is found."""
    result = score(
        nights.second["marts.fct_leakage_detections"],
        nights.company.ground_truth,
        holds=nights.second["marts.fct_invoice_holds"],
        exceptions=nights.second["marts.fct_approved_exceptions"],
    )
    assert result.is_perfect, f"{score_text(result)}\n{disagreements_text(result)}"
    assert not result.unlabelled
    assert nights.company.holds


def test_a_night_of_changes_prices_few_and_leaves_what_a_full_one_does(nights: TwoNights) -> None:
    """Row by row in every table; of those whom nothing has changed most are not priced."""
    assert "an audit that was cut off or repeated" in nights.told, nights.told
    old = {history.customer.customer_id for history in nights.honest.histories}
    new = {history.customer.customer_id for history in nights.company.histories} - old
    assert new <= nights.priced
    assert 2 * len(old & nights.priced) < len(old)
    assert nights.second == nights.again
    assert differences(nights.kept, nights.anew) == {}


def test_every_finding_type_can_be_worked_out_again_from_its_evidence(nights: TwoNights) -> None:
    """Every type that there is, from the evidence alone; a new type needs its own arithmetic."""
    with TYPES.open(newline="") as file:
        types = {row["leakage_type"] for row in csv.DictReader(file)}
    assert types == set(by_hand.BY_HAND)
    assert _worked_out(nights.second) == types


def _worked_out(state: State) -> set[str]:
    """The types of all findings, each of whose amounts is reached by hand."""
    found = [
        {**row, "evidence": json.loads(row["evidence_text"], parse_float=Decimal)}
        for row in state["marts.fct_leakage_detections"]
    ]
    wrong = [
        (row["leakage_type"], row["customer_id"], row["leakage_amount"], by_hand.amount(row))
        for row in found
        if by_hand.amount(row) != row["leakage_amount"]
    ]
    assert wrong == []
    return {row["leakage_type"] for row in found}


def test_a_company_without_leaks_is_all_clear(nights: TwoNights) -> None:
    """Every kind of noise, and no finding in any period, in either direction; the report says so.

    What an approved exception covers is listed with its amounts, and is no finding.
    """
    honest, state = nights.honest, nights.first
    assert {history.customer.profile for history in honest.histories} == set(PROFILES)
    assert "Nothing leaks" in nights.all_clear
    found = state["marts.fct_leakage_detections"]
    result = score(
        found,
        honest.ground_truth,
        holds=state["marts.fct_invoice_holds"],
        exceptions=state["marts.fct_approved_exceptions"],
    )
    assert result.is_perfect, disagreements_text(result)
    assert honest.covered
    assert {row["direction"] for row in found} == {"opportunity"}
    assert _worked_out(state) == set(opportunities.TYPES)
    assert all(row["confidence"] < HIGH_CONFIDENCE for row in found)
    bridge = state["marts.fct_expected_vs_billed"]
    assert len(bridge) > len(PROFILES)
    assert all(row["unexplained_amount"] == 0 for row in bridge)
    assert all(row["expected_amount"] is not None for row in bridge)
