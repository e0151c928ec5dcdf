"""The Stripe assets against a real server and a real Postgres, as a job runs them."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg2.extensions
import pytest

from leakage_pipeline.defs.resources import (
    AuditRun,
    SettingsResource,
    StripeResource,
    WarehouseResource,
)
from leakage_pipeline.defs.stripe_billing import assets
from leakage_pipeline.simulator.stripe_server import StripeServer
from leakage_pipeline.stripe_billing import tables
from leakage_pipeline.warehouse import schemas
from tests.unit.stripe_billing.trap_account import AS_OF, trap_account

STEPS = [
    assets.stripe_subscriptions,
    assets.stripe_invoices,
    assets.stripe_credit_notes,
    assets.stripe_catalog,
    assets.stripe_customers,
    assets.stripe_discounts,
    assets.stripe_meters,
    assets.stripe_events,
    assets.stripe_schedules,
    assets.stripe_payments,
    assets.stripe_payment_methods,
    assets.stripe_balance_transactions,
    assets.stripe_entitlements,
    assets.stripe_meter_event_summaries,
    assets.stripe_sync_status,
]


@pytest.fixture
def server() -> Iterator[StripeServer]:
    with StripeServer(trap_account(), now=AS_OF) as running:
        yield running


@pytest.fixture
def resources(
    server: StripeServer,
    database_url: str,
    conn: psycopg2.extensions.connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, object]:
    schemas.create_all(conn)
    with conn.cursor() as cursor:
        cursor.execute(
            """
            create table intermediate.int_usage__summary_requests (
                meter_id text, customer_id text, start_at timestamptz, end_at timestamptz
            );
            insert into intermediate.int_usage__summary_requests
            values ('mtr_calls', 'cus_1', '2026-05-01', '2026-06-01')
            """
        )
    conn.commit()
    config = tmp_path / "leakage.yaml"
    config.write_text("sources: {}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRIPE_API_KEY", server.api_key)
    monkeypatch.setenv("STRIPE_API_BASE", server.base_url)
    settings = SettingsResource(config_path=str(config))
    return {
        "settings": settings,
        "warehouse": WarehouseResource(settings=settings, database_url=database_url),
        "stripe": StripeResource(settings=settings),
        "audit_run": AuditRun(as_of=AS_OF.isoformat()),
    }


def _metadata(result: dg.ExecuteInProcessResult, table: str) -> dict[str, object]:
    (event,) = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["raw_stripe", table])
    ]
    return {key: value.value for key, value in event.materialization.metadata.items()}


def test_every_table_is_one_asset_with_its_rows_counted(
    resources: dict[str, object], conn: psycopg2.extensions.connection
) -> None:
    result = dg.materialize(STEPS, resources=resources)

    keys = {event.asset_key for event in result.get_asset_materialization_events()}
    assert keys == {dg.AssetKey(["raw_stripe", spec.name]) for spec in tables.TABLES}
    for spec in tables.TABLES:
        with conn.cursor() as cursor:
            cursor.execute(f"select count(*) from raw_stripe.{spec.name}")  # noqa: S608 - our names
            (rows,) = cursor.fetchone()
        assert _metadata(result, spec.name)["dagster/row_count"] == rows, spec.name
    invoices = _metadata(result, "invoices")
    assert invoices["minor_units/usd"] == 130260
    assert invoices["requests/invoices"] == 2
    assert _metadata(result, "sync_status")["gaps"] == 0


def test_a_gap_is_said_in_the_metadata_of_tables_and_status(
    resources: dict[str, object], server: StripeServer
) -> None:
    server.deny("/v1/credit_notes")

    result = dg.materialize(STEPS, resources=resources)

    assert result.success
    assert "rak_credit_note_read" in str(_metadata(result, "credit_notes")["warnings"])
    assert _metadata(result, "sync_status")["gaps"] == 1


def test_a_revoked_key_ends_the_step_at_once_without_retries(
    resources: dict[str, object], server: StripeServer
) -> None:
    server.revoke()

    result = dg.materialize(
        [assets.stripe_subscriptions], resources=resources, raise_on_error=False
    )

    (failure,) = result.get_step_failure_events()
    assert "STRIPE_API_KEY" in str(failure.step_failure_data.error)
    assert len(server.requests) == 1


def test_the_audit_settings_and_what_they_refer_to_come_first() -> None:
    graph = dg.Definitions(
        assets=STEPS,
        resources={
            "warehouse": None,
            "stripe": None,
            "audit_run": None,
        },
    ).resolve_asset_graph()

    def parents(table: str) -> set[str]:
        keys = graph.get(dg.AssetKey(["raw_stripe", table])).parent_keys
        return {key.to_user_string() for key in keys}

    assert all("raw_business/audit_settings" in parents(spec.name) for spec in tables.TABLES)
    assert "intermediate/int_usage__summary_requests" in parents("meter_event_summaries")
    assert {"raw_stripe/subscription_items", "raw_stripe/invoice_lines"} <= parents("prices")
    assert all(
        graph.get(dg.AssetKey(["raw_stripe", spec.name])).group_name == "stripe_billing"
        for spec in tables.TABLES
    )
