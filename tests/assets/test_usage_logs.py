"""The usage log asset on a real Postgres, as a job runs it."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2.extensions
import pytest

from leakage_pipeline.defs.resources import AuditRun, SettingsResource, WarehouseResource
from leakage_pipeline.defs.usage_logs import assets, days

HEADER = "event_id,customer_id,meter,occurred_at\n"
AS_OF = "2026-06-01T06:00:00Z"


@pytest.fixture
def resources(
    warehouse: psycopg2.extensions.connection,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, object]:
    with warehouse.cursor() as cursor:
        cursor.execute(
            """
            create table intermediate.int_periods__usage_cuts (
                customer_id text, cut_at timestamptz
            );
            create table intermediate.int_periods__usage_finalizations (
                customer_id text, stripe_event_name text, period_start timestamptz,
                period_end timestamptz, finalized_at timestamptz
            );
            insert into raw_stripe.customers (customer_id) values ('cus_1')
            """
        )
    warehouse.commit()
    monkeypatch.setenv("LEAKAGE_HOME", str(tmp_path / "home"))
    config = tmp_path / "leakage.yaml"
    source = {"name": "log", "kind": "files", "uri": "log.csv"}
    config.write_text(json.dumps({"sources": {"usage": [source]}}), encoding="utf-8")
    settings = SettingsResource(config_path=str(config))
    return {
        "settings": settings,
        "warehouse": WarehouseResource(settings=settings, database_url=database_url),
        "audit_run": AuditRun(as_of=AS_OF),
    }


def _metadata(result: dg.ExecuteInProcessResult, table: str) -> dict[str, Any]:
    (event,) = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["raw_usage", table])
    ]
    return {name: entry.value for name, entry in event.materialization.metadata.items()}


def _checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def _days(first: str, last: str) -> list[date]:
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def test_a_clean_log_passes_every_check(resources: dict[str, object], tmp_path: Path) -> None:
    rows = [f"{day},cus_1,calls,{day}\n" for day in _days("2026-05-01", "2026-05-31")]
    (tmp_path / "log.csv").write_text(HEADER + "".join([*rows, rows[0]]))
    result = dg.materialize([assets.usage_log], resources=resources)
    windows = _metadata(result, "usage_windows")
    assert windows["dagster/row_count"] == 31
    assert (windows["events"], windows["duplicate_events"]) == (31, 1)
    assert _metadata(result, "log_coverage")["dagster/row_count"] == 1
    assert all(check.passed for check in _checks(result).values())
    assert not list((tmp_path / "home" / "duckdb").iterdir()), "no work files stay behind"


def test_unreadable_rows_and_silent_days_warn(resources: dict[str, object], tmp_path: Path) -> None:
    silent = {date(2026, 5, 30), date(2026, 5, 31)}
    daily = [
        f"d{day},{'cus_1' if day.day % 2 else 'cus_gone'},calls,{day}\n"
        for day in _days("2026-04-01", "2026-05-31")
        if day not in silent
    ]
    weekly = [f"w{day},cus_1,exports,{day}\n" for day in _days("2026-04-01", "2026-05-31")[::7]]
    (tmp_path / "log.csv").write_text(HEADER + "".join([*daily, *weekly, "x,cus_1,calls,soon\n"]))
    result = dg.materialize([assets.usage_log], resources=resources)
    assert result.success
    checks = _checks(result)
    assert not checks["few_rows_rejected"].passed
    assert checks["few_rows_rejected"].severity == dg.AssetCheckSeverity.WARN
    assert not checks["no_silent_day"].passed
    assert checks["no_silent_day"].description == (
        "The usage log was silent: calls has no event on 2026-05-30, "
        "calls has no event on 2026-05-31"
    )
    assert _metadata(result, "usage_windows")["rejected/log/bad occurred_at"] == 1
    assert _metadata(result, "unattributed_usage")["dagster/row_count"] == 29


def test_a_missing_log_stops_the_run_without_another_try(
    resources: dict[str, object],
) -> None:
    result = dg.materialize([assets.usage_log], resources=resources, raise_on_error=False)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    error = failure.step_failure_data.error
    assert error is not None
    assert "no file matches" in error.message


def test_days_are_reported_and_can_be_read_anew(
    resources: dict[str, object], tmp_path: Path
) -> None:
    """The audit tells which days it wrote; reading a year of days anew in one run mends nothing."""
    with dg.DagsterInstance.ephemeral() as instance:
        rows = [f"{day},cus_1,calls,{day}\n" for day in _days("2026-05-01", "2026-05-31")]
        (tmp_path / "log.csv").write_text(HEADER + "".join(rows))
        dg.materialize([assets.usage_log], resources=resources, instance=instance)
        assert len(instance.get_materialized_partitions(days.KEY)) == 31
        result = dg.materialize(
            [days.usage_days],
            resources=resources,
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": "2025-06-01",
                "dagster/asset_partition_range_end": "2026-05-31",
            },
        )
        (event, *others) = result.get_asset_materialization_events()
        assert event.materialization.metadata["events_of_the_log"].value == 31
        assert len(others) == 364
        # A late event of an old day moves that day, and is told so.
        (tmp_path / "log.csv").write_text(
            HEADER + "".join([*rows, "late,cus_1,calls,2026-05-02\n"])
        )
        dg.materialize([assets.usage_log], resources=resources, instance=instance)
