"""The code location loads anywhere, without environment, network or database."""

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml

from leakage_pipeline.definitions import defs
from leakage_pipeline.defs.automation.schedules import digest_schedule, slack_policy
from leakage_pipeline.defs.resources import EXCLUSIVE_JOB
from leakage_pipeline.nights.ownership import FIXED, GROWING, OWNED
from leakage_pipeline.policy import SlackPolicy

ROOT = Path(__file__).resolve().parents[2]
LOAD = """
import socket, sys

def refuse(*_arguments, **_options):
    raise AssertionError("the network was touched while loading")

socket.socket.connect = refuse
from leakage_pipeline.definitions import defs
defs().get_repository_def().load_all_definitions()
print("loaded")
"""


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    return defs().get_repository_def()


def test_loads_with_an_empty_environment_and_no_network(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert done.stdout.strip().endswith("loaded"), done.stderr
    assert not (tmp_path / ".leakage").exists()


def test_whom_a_night_prices_is_decided_after_all_of_their_rows_are_loaded(
    repository: dg.RepositoryDefinition,
) -> None:
    """It is decided when the periods are built, before usage, which is cut by them."""
    graph = repository.asset_graph
    step = graph.get(dg.AssetKey(["intermediate", "int_periods__usage_cuts"])).assets_def
    loaded = {parent for key in step.keys for parent in graph.get(key).parent_keys}
    counted = {*OWNED, *GROWING, *FIXED}
    assert {dg.AssetKey(key) for key in counted if key[0] != "raw_usage"} <= loaded


def test_the_jobs_share_all_assets_between_them(repository: dg.RepositoryDefinition) -> None:
    nightly = repository.get_job("nightly_audit").asset_layer.selected_asset_keys
    weekly = repository.get_job("weekly_report").asset_layer.selected_asset_keys
    assert weekly == {dg.AssetKey(["publishing", "weekly_recovery_report"])}
    digest = repository.get_job("daily_digest").asset_layer.selected_asset_keys
    assert digest - nightly == {dg.AssetKey(["publishing", "slack_digest"])}
    # What the model's batch answered since the night belongs into the digest.
    assert digest & nightly == {dg.AssetKey(["ops", "classifications"])}
    assert not nightly & weekly
    # Nothing is sent by an audit: that is a job of its own, which nobody starts by default.
    recovery = repository.get_job("recovery").asset_layer.selected_asset_keys
    assert recovery == {dg.AssetKey(["recovery", "sent_actions"])}
    assert not recovery & nightly
    schedule = repository.get_schedule_def("recovery_schedule")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    days = repository.get_job("usage_repair").asset_layer.selected_asset_keys
    assert days == {dg.AssetKey(["raw_usage", "usage_days"])}
    assert not days & nightly
    materializable = {
        key for key, spec in repository.assets_defs_by_key.items() if spec.is_materializable
    }
    assert nightly | digest | weekly | recovery | days == materializable
    assert dg.AssetKey(["marts", "fct_leakage_detections"]) in nightly
    assert EXCLUSIVE_JOB == "nightly_audit"


@pytest.mark.parametrize(
    ("name", "cron", "tick"),
    [
        ("nightly_audit_schedule", "0 6 * * *", "2026-11-21T06:00:00+00:00"),
        ("daily_digest_schedule", "0 17 * * *", "2026-11-21T17:00:00+00:00"),
        ("weekly_report_schedule", "0 7 * * 5", "2026-11-27T07:00:00+00:00"),
    ],
)
def test_a_scheduled_run_takes_the_scheduled_time_for_now(
    repository: dg.RepositoryDefinition, name: str, cron: str, tick: str
) -> None:
    schedule = repository.get_schedule_def(name)
    assert schedule.cron_schedule == cron
    assert schedule.execution_timezone == "UTC"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime.fromisoformat(tick), repository_def=repository
    )
    (request,) = schedule.evaluate_tick(context).run_requests or []
    config = request.run_config["resources"]["audit_run"]["config"]
    assert datetime.fromisoformat(config["as_of"]) == datetime.fromisoformat(tick)
    assert request.run_key == config["as_of"]
    assert dg.validate_run_config(repository.get_job(schedule.job_name), request.run_config)


def test_the_digest_is_told_at_the_policy_s_hour_in_its_time_zone() -> None:
    schedule = digest_schedule(SlackPolicy(digest_at="08:05", timezone="Europe/Berlin"))
    assert schedule.cron_schedule == "5 8 * * *"
    assert schedule.execution_timezone == "Europe/Berlin"


def test_a_configuration_that_cannot_be_read_leaves_the_schedule_at_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leakage.yaml").write_text("sources: {}\npolicy: {slack: {digest_at: 5 pm}}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEAKAGE_CONFIG", raising=False)
    assert slack_policy() == SlackPolicy()
    good = "sources: {}\npolicy: {slack: {digest_at: '09:30', timezone: Asia/Tokyo}}\n"
    (tmp_path / "leakage.yaml").write_text(good)
    assert slack_policy().timezone == "Asia/Tokyo"


def test_dagster_yaml_stores_in_postgres_and_sends_no_telemetry() -> None:
    text = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert text["storage"]["custom"]["class"] == "WarehouseStorage"
    assert text["telemetry"] == {"enabled": False}
    assert text["run_retries"]["retry_on_asset_or_op_failure"] is False
