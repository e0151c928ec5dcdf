"""What the company itself says: the audit's settings first, then contracts, price book, accounts.

Each asset reads its sources of leakage.yaml and replaces its tables (accounts are merged). A source
that is not configured gives an empty table and says so.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import dagster as dg
import psycopg2.extensions

from leakage_pipeline.business import load, tables
from leakage_pipeline.business.audit_settings import load_audit_settings, load_meter_mappings
from leakage_pipeline.defs.business import checks
from leakage_pipeline.defs.failures import RETRY_POLICY, permanent_failures_end_the_run
from leakage_pipeline.defs.resources import AuditRun, SettingsResource, WarehouseResource
from leakage_pipeline.settings import Settings
from leakage_pipeline.warehouse import schemas
from leakage_pipeline.warehouse.tables import TableSpec

Load = Callable[[Settings, psycopg2.extensions.connection, datetime], load.LoadResult]
Results = Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]

GROUP = "business"
KINDS = {"python", "postgres"}
# Reasons name the cell they are about, so that a broken file may have as many as rows.
_REASONS_TOLD = 20


def _key(spec: TableSpec) -> dg.AssetKey:
    return dg.AssetKey([spec.schema, spec.name])


AUDIT_SETTINGS = _key(tables.AUDIT_SETTINGS)


def _spec(spec: TableSpec) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=_key(spec),
        deps=[AUDIT_SETTINGS],
        description=spec.comment,
        group_name=GROUP,
        kinds=KINDS,
    )


def _metadata(result: load.LoadResult, rows: int) -> dict[str, Any]:
    reasons = sorted(result.rejected.items(), key=lambda item: (-item[1], item[0]))
    return {
        "dagster/row_count": rows,
        "source_configured": not result.missing,
        "rows_read": result.read,
        "rows_rejected": sum(result.rejected.values()),
        **{f"rejected/{reason}": count for reason, count in reasons[:_REASONS_TOLD]},
    }


@dg.asset(
    key=AUDIT_SETTINGS,
    description=tables.AUDIT_SETTINGS.comment,
    group_name=GROUP,
    kinds=KINDS,
    retry_policy=RETRY_POLICY,
)
def audit_settings(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> dg.MaterializeResult[None]:
    """Create what is missing of the warehouse, and write what this run judges by: one row.

    Source: leakage.yaml and the run's configuration. SQL models read it instead of the clock.
    """
    with permanent_failures_end_the_run(), warehouse.connect() as conn:
        schemas.create_all(conn)
        as_of = audit_run.as_of_for(context)
        load_audit_settings(settings.get(), conn, as_of)
    return dg.MaterializeResult(
        metadata={"dagster/row_count": 1, "as_of": dg.MetadataValue.timestamp(as_of)}
    )


@dg.asset(
    key=_key(tables.METER_MAPPINGS),
    deps=[AUDIT_SETTINGS],
    description=tables.METER_MAPPINGS.comment,
    group_name=GROUP,
    kinds=KINDS,
    retry_policy=RETRY_POLICY,
)
def meter_mappings(
    settings: SettingsResource, warehouse: WarehouseResource
) -> dg.MaterializeResult[None]:
    """Which Stripe meter each meter of the usage log corresponds to, from leakage.yaml."""
    with permanent_failures_end_the_run(), warehouse.connect() as conn:
        rows = load_meter_mappings(settings.get(), conn)
    return dg.MaterializeResult(metadata={"dagster/row_count": rows})


@dg.multi_asset(
    name="terms",
    specs=[
        _spec(spec)
        for spec in (tables.CONTRACTS, tables.PRICE_BOOK, tables.TERM_METERS, tables.TERM_TIERS)
    ],
    check_specs=[checks.spec(_key(tables.CONTRACTS)), checks.spec(_key(tables.PRICE_BOOK))],
    retry_policy=RETRY_POLICY,
)
def terms(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Results:
    """Contracts and price book with their rates, replaced together in one transaction."""
    with permanent_failures_end_the_run(), warehouse.connect() as conn:
        results = load.load_terms(settings.get(), conn, audit_run.as_of_for(context))
    for source, result in results.items():
        key = dg.AssetKey(["raw_business", source])
        metadata = _metadata(result, result.rows.get(source, 0))
        yield dg.MaterializeResult(asset_key=key, metadata=metadata)
        yield checks.few_rows_rejected(key, result)
    for spec in (tables.TERM_METERS, tables.TERM_TIERS):
        rows = sum(result.rows.get(spec.name, 0) for result in results.values())
        yield dg.MaterializeResult(asset_key=_key(spec), metadata={"dagster/row_count": rows})


def _source_asset(spec: TableSpec, read: Load) -> dg.AssetsDefinition:
    """An asset for a source with one table, and the check of its rejected rows."""

    @dg.multi_asset(
        name=spec.name,
        specs=[_spec(spec)],
        check_specs=[checks.spec(_key(spec))],
        retry_policy=RETRY_POLICY,
    )
    def load_source(
        context: dg.AssetExecutionContext,
        settings: SettingsResource,
        warehouse: WarehouseResource,
        audit_run: AuditRun,
    ) -> Results:
        with permanent_failures_end_the_run(), warehouse.connect() as conn:
            result = read(settings.get(), conn, audit_run.as_of_for(context))
        metadata = _metadata(result, result.rows.get(spec.name, 0))
        yield dg.MaterializeResult(asset_key=_key(spec), metadata=metadata)
        yield checks.few_rows_rejected(_key(spec), result)

    return load_source


accounts = _source_asset(tables.ACCOUNTS, load.load_accounts)
exceptions = _source_asset(tables.EXCEPTIONS, load.load_exceptions)
fx_rates = _source_asset(tables.FX_RATES, load.load_fx_rates)
