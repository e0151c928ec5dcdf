"""The classification asset fills its table and reports what it did and spent."""

from pathlib import Path

import dagster as dg
import psycopg2.extensions
import pytest

from leakage_pipeline.defs.classification.assets import classifications
from leakage_pipeline.defs.resources import AuditRun, SettingsResource, WarehouseResource
from tests.unit.classification.anthropic_server import GOOD, error, message, serve
from tests.unit.publishing import company, sample

Connection = psycopg2.extensions.connection


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


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    (event,) = result.asset_materializations_for_node("ops__classifications")
    return {key: value.value for key, value in event.metadata.items()}


def test_rules_classify_every_finding_without_a_key(
    resources: dict[str, object], warehouse: Connection
) -> None:
    result = dg.materialize([classifications], resources=resources)
    with warehouse.cursor() as cursor:
        cursor.execute("select count(*), min(created_at) from ops.classifications")
        assert cursor.fetchone() == (len(company.findings()), sample.AS_OF)
    facts = metadata(result)
    assert facts["dagster/row_count"] == facts["by_rules"] == len(company.findings())
    assert facts["classifier"] == "rules"
    assert facts["dollars"] == "0"


def test_an_api_that_is_down_does_not_fail_the_run(
    resources: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(message(GOOD)) as server:
        server.batch_replies = [error(401, "authentication_error")]
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
        monkeypatch.setenv("ANTHROPIC_MODEL", "claude-test-1")
        result = dg.materialize([classifications], resources=resources)
    facts = metadata(result)
    assert facts["classifier"] == "claude-test-1"
    assert facts["by_rules"] == len(company.findings())
    assert facts["cases_without_answer"] == 8
    assert "sk-ant-secret" not in str(facts)


def test_the_run_s_configuration_caps_the_calls(
    resources: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(message(GOOD)) as server:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
        config = {"ops": {"ops__classifications": {"config": {"max_calls": 0}}}}
        dg.materialize([classifications], resources=resources, run_config=config)
    assert server.asked == 0


def test_the_night_s_questions_are_one_batch(
    resources: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(message(GOOD)) as server:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
        facts = metadata(dg.materialize([classifications], resources=resources))
    assert (len(server.batches), server.requests) == (1, [])
    assert facts["batches_collected"] == 1
    assert facts["cases_in_a_batch"] == 0
