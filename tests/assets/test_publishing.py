"""The publishing assets write their files, post once, and show paths and amounts as metadata."""

import json
from pathlib import Path

import dagster as dg
import psycopg2.extensions
import pytest

from leakage_pipeline.defs.publishing.assets import (
    detection_state,
    findings_csv,
    slack_alerts,
    slack_digest,
    weekly_recovery_report,
)
from leakage_pipeline.defs.resources import AuditRun, SettingsResource, WarehouseResource
from tests.unit.publishing import company, sample, slack_server
from tests.unit.publishing.slack_server import Reply

Connection = psycopg2.extensions.connection
NIGHTLY = [detection_state, findings_csv, slack_alerts, slack_digest]


@pytest.fixture
def resources(
    warehouse: Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, object]:
    sample.create_marts(warehouse)
    company.fill(warehouse)
    settings = sample.settings(tmp_path)
    monkeypatch.setenv("LEAKAGE_HOME", str(settings.home))
    reader = SettingsResource(config_path=str(settings.config_path))
    return {
        "settings": reader,
        "warehouse": WarehouseResource(settings=reader, database_url=database_url),
        "audit_run": AuditRun(as_of=sample.AS_OF.isoformat()),
    }


def metadata(result: dg.ExecuteInProcessResult, node: str) -> dict[str, object]:
    (event,) = result.asset_materializations_for_node(node)
    return {key: value.value for key, value in event.metadata.items()}


def test_the_nightly_assets_write_state_csv_and_digest(
    resources: dict[str, object], tmp_path: Path
) -> None:
    result = dg.materialize(NIGHTLY, resources=resources)
    assert metadata(result, "publishing__detection_state")["new"] == len(company.findings())
    csv = metadata(result, "publishing__findings_csv")
    assert csv["dagster/row_count"] == len(company.findings())
    assert csv["path"] == str(tmp_path / "home" / "reports" / "findings_2026-11-20T060000Z.csv")
    digest = metadata(result, "publishing__slack_digest")
    assert digest["slack_posted"] is False
    assert Path(str(digest["message"])).name == "slack_digest.json"


def test_two_runs_of_one_day_post_one_digest(
    resources: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with slack_server.serve() as slack:
        monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-secret")
        monkeypatch.setenv("SLACK_API_BASE_URL", slack.base_url)
        for _ in range(2):
            dg.materialize(NIGHTLY, resources=resources)
        assert len(slack.messages) == 1


def test_a_revoked_slack_token_fails_once_with_one_clear_line(
    resources: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with slack_server.serve() as slack:
        slack.post_replies = [Reply(200, {"ok": False, "error": "token_revoked"})] * 3
        monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-secret")
        monkeypatch.setenv("SLACK_API_BASE_URL", slack.base_url)
        result = dg.materialize(NIGHTLY, resources=resources, raise_on_error=False)
    assert not result.success
    assert slack.calls.count("chat.postMessage") == 1
    failure = result.failure_data_for_node("publishing__slack_digest")
    assert failure is not None
    assert "token_revoked" in str(failure.error)
    assert "xoxb-secret" not in str(failure.error)
    # The other assets are done all the same.
    assert metadata(result, "publishing__findings_csv")["dagster/row_count"]


def test_a_check_that_failed_in_the_audit_stands_in_the_digest(
    resources: dict[str, object],
) -> None:
    @dg.asset_check(asset=detection_state, blocking=True)
    def totals_agree() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(
            passed=False, severity=dg.AssetCheckSeverity.WARN, description="Totals differ."
        )

    audit = dg.Definitions(
        assets=[detection_state],
        asset_checks=[totals_agree],
        jobs=[dg.define_asset_job("nightly_audit", executor_def=dg.in_process_executor)],
        resources=resources,
    ).resolve_job_def("nightly_audit")
    with dg.DagsterInstance.ephemeral() as instance:
        audit.execute_in_process(instance=instance)
        result = dg.materialize([slack_digest], resources=resources, instance=instance)
    digest = metadata(result, "publishing__slack_digest")
    text = Path(str(digest["text"])).read_text(encoding="utf-8")
    assert "Totals differ (check of detection_state)." in text


def test_the_weekly_report_shows_where_it_is_and_what_it_says(
    resources: dict[str, object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    name = "publishing__weekly_recovery_report"
    config = {"ops": {name: {"config": {"week": "2026-W46", "out_dir": str(out)}}}}
    result = dg.materialize([weekly_recovery_report], resources=resources, run_config=config)
    facts = metadata(result, name)
    assert facts["week"] == "2026-W46"
    assert facts["report"] == str(out / "weekly_recovery_2026-W46.html")
    assert str(facts["open"]).startswith("file://")
    assert "| leak | measured | 6 | 6 | $13,460.00 |" in str(facts["totals"])
    assert (out / "weekly_recovery_2026-W46.csv").exists()


def test_a_week_that_is_none_fails_without_a_retry(resources: dict[str, object]) -> None:
    name = "publishing__weekly_recovery_report"
    config = {"ops": {name: {"config": {"week": "soon"}}}}
    result = dg.materialize(
        [weekly_recovery_report], resources=resources, run_config=config, raise_on_error=False
    )
    failure = result.failure_data_for_node(name)
    assert failure is not None
    assert "write it as in 2026-W47" in str(failure.error)


def test_the_digest_file_is_the_body_that_would_be_posted(resources: dict[str, object]) -> None:
    result = dg.materialize(NIGHTLY, resources=resources)
    body = json.loads(
        Path(str(metadata(result, "publishing__slack_digest")["message"])).read_text("utf-8")
    )
    assert set(body) >= {"channel", "text", "blocks", "metadata"}
