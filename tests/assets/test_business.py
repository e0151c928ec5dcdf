"""The business assets on a real Postgres, as a job runs them."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2.extensions
import pytest

from leakage_pipeline.defs.business import assets
from leakage_pipeline.defs.resources import AuditRun, SettingsResource, WarehouseResource
from leakage_pipeline.failures import ConfigurationError

STEPS = [
    assets.audit_settings,
    assets.meter_mappings,
    assets.terms,
    assets.accounts,
    assets.exceptions,
    assets.fx_rates,
]
CONFIG = {
    "company": "Ümlaut & Co",
    "sources": {"contracts": "contracts.csv", "accounts": "accounts.csv"},
    "meters": {"calls": {"stripe_event_name": "api_calls"}},
    "policy": {"min_amount": "2.50", "soft_cap_pct": [50, 100]},
    "rollout": {"customers": ["cus_1"], "created_after": "2026-01-01T00:00:00+02:00"},
}
CONTRACT = "contract_id,customer_id,effective_date,overage_rates\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEAKAGE_HOME", str(tmp_path / "home"))
    (tmp_path / "leakage.yaml").write_text(json.dumps(CONFIG), encoding="utf-8")
    (tmp_path / "contracts.csv").write_text(CONTRACT + 'c1,cus_1,2026-01-01,"{""calls"": 2}"\n')
    (tmp_path / "accounts.csv").write_text(
        "account_id,customer_id,plan,status,access_enabled,updated_at\n"
        "a1,cus_1,pro,active,true,2026-05-01\na2,cus_2,pro,dormant,true,2026-05-01\n"
    )
    return tmp_path


def _run(folder: Path, url: str, *, raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
    settings = SettingsResource(config_path=str(folder / "leakage.yaml"))
    return dg.materialize(
        STEPS,
        resources={
            "settings": settings,
            "warehouse": WarehouseResource(settings=settings, database_url=url),
            "audit_run": AuditRun(as_of="2026-06-01T06:00:00"),
        },
        raise_on_error=raise_on_error,
    )


def _metadata(result: dg.ExecuteInProcessResult, table: str) -> dict[str, Any]:
    (event,) = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["raw_business", table])
    ]
    return {name: entry.value for name, entry in event.materialization.metadata.items()}


def test_every_source_is_loaded_into_an_empty_database(
    folder: Path, database_url: str, conn: psycopg2.extensions.connection
) -> None:
    result = _run(folder, database_url)
    assert _metadata(result, "contracts")["dagster/row_count"] == 1
    assert _metadata(result, "term_tiers")["dagster/row_count"] == 1
    assert _metadata(result, "meter_mappings")["dagster/row_count"] == 1
    accounts = _metadata(result, "accounts")
    assert (accounts["dagster/row_count"], accounts["rows_rejected"]) == (1, 1)
    (reason,) = [name for name in accounts if name.startswith("rejected/")]
    assert reason.startswith("rejected/status 'dormant' is none of")
    for absent in ("price_book", "exceptions", "fx_rates"):
        metadata = _metadata(result, absent)
        assert (metadata["source_configured"], metadata["dagster/row_count"]) == (False, 0)
    passed = {
        check.asset_key.path[-1]: check.passed for check in result.get_asset_check_evaluations()
    }
    assert passed == {
        "contracts": True,
        "price_book": True,
        "accounts": False,
        "exceptions": True,
        "fx_rates": True,
    }
    with conn.cursor() as cursor:
        cursor.execute("select source, location from ops.rejected_rows")
        assert cursor.fetchall() == [("accounts", "accounts.csv:3")]


def test_the_audit_settings_are_one_row_of_what_the_run_judges_by(
    folder: Path, database_url: str, conn: psycopg2.extensions.connection
) -> None:
    _run(folder, database_url)
    _run(folder, database_url)
    with conn.cursor() as cursor:
        cursor.execute(
            "select as_of, company, min_amount, soft_cap_pct, rollout_customers,"
            " rollout_created_after, rollout_max_customers, finalization_delay_hours"
            " from raw_business.audit_settings"
        )
        ((as_of, company, min_amount, caps, customers, created, most, delay),) = cursor.fetchall()
    assert as_of.isoformat() == "2026-06-01T06:00:00+00:00"
    assert (company, str(min_amount), caps, customers) == (
        "Ümlaut & Co",
        "2.50",
        [50, 100],
        ["cus_1"],
    )
    assert created.isoformat() == "2025-12-31T22:00:00+00:00"
    assert (most, delay) == (None, 1)


def test_an_unreadable_source_stops_the_run_at_once_and_writes_nothing_of_it(
    folder: Path, database_url: str, conn: psycopg2.extensions.connection
) -> None:
    _run(folder, database_url)
    (folder / "contracts.csv").write_text("contract_id,customer_id\n")
    result = _run(folder, database_url, raise_on_error=False)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    error = failure.step_failure_data.error
    assert error is not None
    assert "has no column effective_date" in error.message
    assert error.cause is not None
    assert error.cause.cls_name == ConfigurationError.__name__
    with conn.cursor() as cursor:
        cursor.execute("select contract_id from raw_business.contracts")
        assert cursor.fetchall() == [("c1",)]
