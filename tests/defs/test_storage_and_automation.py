"""Dagster's storage in the warehouse, the one audit at a time, and the failure alert."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2.extensions
import pytest

from leakage_pipeline.commands.execution import Note, prepare_instance, root_failure
from leakage_pipeline.defs.automation.failure_alert import run_failed
from leakage_pipeline.defs.automation.progress import listen, progress_logger
from leakage_pipeline.defs.resources import AuditRun, SettingsResource, WarehouseResource
from leakage_pipeline.failures import ConfigurationError, PermanentFailure, TransientFailure
from leakage_pipeline.warehouse.audit_lock import audit_lock


@pytest.fixture
def instance(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """The instance that `leakage audit` uses, on an empty database."""
    monkeypatch.setenv("LEAKAGE_DATABASE_URL", database_url)
    monkeypatch.setenv("LEAKAGE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = prepare_instance(tmp_path)
    with dg.DagsterInstance.from_config(str(folder), "terminal.yaml") as made:
        yield made


@dg.asset
def audited(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, audit_run: AuditRun
) -> dg.MaterializeResult[None]:
    with warehouse.connect() as conn, conn.cursor() as cursor:
        cursor.execute("create table if not exists public.seen (as_of timestamptz)")
        cursor.execute("insert into public.seen values (%s)", (audit_run.as_of_for(context),))
    return dg.MaterializeResult(metadata={"dagster/row_count": 1})


@dg.asset
def broken() -> None:
    message = "wrapped"
    raise dg.Failure(message, allow_retries=False) from PermanentFailure("the key was revoked")


def job(database_url: str, *assets: dg.AssetsDefinition) -> dg.JobDefinition:
    warehouse = WarehouseResource(settings=SettingsResource(), database_url=database_url)
    return dg.Definitions(
        assets=assets,
        resources={"warehouse": warehouse, "audit_run": AuditRun()},
        jobs=[dg.define_asset_job("nightly_audit", executor_def=dg.in_process_executor)],
        loggers={"progress": progress_logger},
    ).resolve_job_def("nightly_audit")


def test_dagsters_tables_stay_in_their_own_schema(
    instance: dg.DagsterInstance, conn: psycopg2.extensions.connection
) -> None:
    assert instance.get_run_records() == []
    with conn.cursor() as cursor:
        cursor.execute("select distinct schemaname from pg_tables where tablename = 'runs'")
        assert cursor.fetchall() == [("dagster",)]
        cursor.execute("select count(*) from pg_tables where schemaname = 'public'")
        assert cursor.fetchone() == (0,)


def test_one_run_has_one_as_of_from_its_configuration_or_its_creation(
    instance: dg.DagsterInstance, database_url: str, conn: psycopg2.extensions.connection
) -> None:
    config = {"resources": {"audit_run": {"config": {"as_of": "2026-01-31T06:00:00"}}}}
    run = job(database_url, audited)
    run.execute_in_process(instance=instance, run_config=config)
    second = run.execute_in_process(instance=instance)
    created = instance.get_run_records(dg.RunsFilter(run_ids=[second.run_id]))[0].create_timestamp
    with conn.cursor() as cursor:
        cursor.execute("select as_of from public.seen order by 1")
        seen = [row[0] for row in cursor.fetchall()]
    assert seen[0] == datetime(2026, 1, 31, 6, tzinfo=UTC)
    assert seen[1] == created.replace(tzinfo=UTC, microsecond=0)


def test_an_audit_fails_at_once_while_another_one_runs(
    instance: dg.DagsterInstance, database_url: str
) -> None:
    run = job(database_url, audited)
    with audit_lock(database_url), pytest.raises(dg.DagsterError) as caught:
        run.execute_in_process(instance=instance)
    root = root_failure(caught.value)
    assert isinstance(root, TransientFailure)
    assert str(root).startswith("another audit has been running")
    assert run.execute_in_process(instance=instance).success


def test_the_terminal_hears_of_tables_and_their_rows(
    instance: dg.DagsterInstance, database_url: str
) -> None:
    heard: list[dg.DagsterEvent] = []
    listen(heard.append)
    try:
        job(database_url, audited).execute_in_process(
            instance=instance, run_config={"loggers": {"progress": {}}}
        )
    finally:
        listen(None)
    kinds = [event.event_type_value for event in heard]
    assert kinds.index("STEP_START") < kinds.index("ASSET_MATERIALIZATION")
    assert Note("step", "audited").rows is None


def test_the_root_of_a_failure_is_our_own_words() -> None:
    with pytest.raises(dg.Failure) as caught:
        dg.materialize([broken], instance=dg.DagsterInstance.ephemeral())
    root = root_failure(caught.value)
    assert isinstance(root, PermanentFailure)
    assert str(root) == "the key was revoked"
    assert str(root_failure(KeyError("a"))) == "KeyError: 'a'"
    ring, other = ValueError("first"), ValueError("second")
    ring.__context__, other.__context__ = other, ring
    assert isinstance(root_failure(ring), PermanentFailure)
    wrapped = ConfigurationError("file, key, fix")
    assert root_failure(wrapped) is wrapped


class _Slack(BaseHTTPRequestHandler):
    """Takes chat.postMessage as Slack does."""

    posted: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append(json.loads(body))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"ok": true, "ts": "1", "channel": "C1"}')

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    handler = type("Handler", (_Slack,), {"posted": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-test")
    monkeypatch.setenv("SLACK_API_BASE_URL", f"http://127.0.0.1:{server.server_port}/api/")
    yield handler.posted
    server.shutdown()
    server.server_close()


@pytest.fixture
def failed() -> Iterator[Any]:
    """What the sensor is told of a run that failed."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([broken], instance=instance, raise_on_error=False)
        yield dg.build_run_status_sensor_context(
            sensor_name="run_failed",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=result.get_run_failure_event(),
        ).for_run_failure()


def test_a_failed_run_is_posted_in_the_words_of_its_failure(
    slack: list[dict[str, Any]], failed: Any
) -> None:
    run_failed(failed)
    (message,) = slack
    assert "failed, nothing was published: the key was revoked (run " in message["text"]
    assert message["channel"] == "#revenue-leakage"


def test_without_a_token_a_failed_run_is_logged_alone(
    failed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(run_failed(failed), dg.SkipReason)


@pytest.mark.parametrize("name", ["usage_repair", "nightly_audit"])
def test_a_failed_run_is_told_by_one_tick_of_the_sensor_and_by_no_later_one(
    slack: list[dict[str, Any]], name: str
) -> None:
    """As the daemon does it, cursor by cursor, for the backfill of days as for the audit."""
    repair = dg.Definitions(
        assets=[broken], jobs=[dg.define_asset_job(name, executor_def=dg.in_process_executor)]
    ).resolve_job_def(name)
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = None
        told = []
        for fails in (False, True, False, False):
            if fails:
                repair.execute_in_process(instance=instance, raise_on_error=False)
            with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
                cursor = run_failed.evaluate_tick(context).cursor
            told.append(len(slack))
    assert told == [0, 1, 1, 1]
    assert name in slack[0]["text"]
