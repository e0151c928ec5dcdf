"""The usage log as three tables: windows, what nobody could be found for, and what the log covers.

Runs after the billing periods, since usage is cut where billing cuts.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from leakage_pipeline.defs.failures import RETRY_POLICY, permanent_failures_end_the_run
from leakage_pipeline.defs.resources import AuditRun, SettingsResource, WarehouseResource
from leakage_pipeline.defs.usage_logs import checks, days
from leakage_pipeline.usage_logs import tables
from leakage_pipeline.usage_logs.load import load_usage
from leakage_pipeline.usage_logs.meaning import UsageLoadResult
from leakage_pipeline.usage_logs.outages import silent_days

GROUP = "usage_logs"
# A night may be missed for a restart; two may not.
NIGHTLY = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(hours=26), fail_window=timedelta(hours=50)
)
NEEDS = [
    dg.AssetKey(["intermediate", "int_periods__usage_cuts"]),
    dg.AssetKey(["intermediate", "int_periods__usage_finalizations"]),
    dg.AssetKey(["raw_stripe", "customers"]),
    dg.AssetKey(["raw_business", "accounts"]),
]


@dg.multi_asset(
    name="usage_log",
    specs=[
        dg.AssetSpec(
            key=dg.AssetKey([spec.schema, spec.name]),
            deps=NEEDS,
            description=spec.comment,
            group_name=GROUP,
            kinds={"duckdb", "postgres"},
            freshness_policy=NIGHTLY,
        )
        for spec in tables.TABLES
    ],
    check_specs=checks.SPECS,
    retry_policy=RETRY_POLICY,
    pool=days.POOL,
)
def usage_log(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Scan every usage source, count each event once, and roll it up into billing's own windows.

    Grain of usage_windows: customer, meter, source and window. Only files that changed are read,
    and all tables change in one transaction; the same log and as_of give the same rows.
    """
    with permanent_failures_end_the_run(), warehouse.connect() as conn:
        as_of = audit_run.as_of_for(context)
        result = load_usage(settings.get(), conn, as_of, anew=audit_run.full_refresh)
        silent = silent_days(conn, as_of)
    days.report(context, result)
    for spec in tables.TABLES:
        more = _metadata(result) if spec is tables.USAGE_WINDOWS else {}
        yield dg.MaterializeResult(
            asset_key=dg.AssetKey([spec.schema, spec.name]),
            metadata={"dagster/row_count": result.rows[spec.name], **more},
        )
    yield checks.few_rows_rejected(result)
    yield checks.no_clock_skew(result)
    yield checks.no_silent_day(silent)


def _metadata(result: UsageLoadResult) -> dict[str, Any]:
    return {
        "source_configured": not result.missing,
        "events": result.events,
        "duplicate_events": result.duplicates,
        "late_events": result.late_events,
        "skewed_events": result.skewed_events,
        "unattributed_events": result.unattributed_events,
        **{
            f"rejected/{source}/{reason}": count
            for source, reasons in sorted(result.rejected.items())
            for reason, count in sorted(reasons.items())
        },
    }
