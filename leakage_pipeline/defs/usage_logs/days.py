"""The usage log by days: which are there, when each was last mended, and reading some of them anew.

The nightly audit reads what changed by itself and reports the days that moved, late ones too. To
materialize days in the UI, one or twelve months of them, reads their files again whatever their
stamps say; the windows end the same as after a scan of the whole log.
"""

from datetime import date

import dagster as dg

from leakage_pipeline.defs.failures import RETRY_POLICY, permanent_failures_end_the_run
from leakage_pipeline.defs.resources import AuditRun, SettingsResource, WarehouseResource
from leakage_pipeline.usage_logs.load import load_usage
from leakage_pipeline.usage_logs.meaning import UsageLoadResult
from leakage_pipeline.warehouse.audit_lock import audit_lock

GROUP = "usage_days"
POOL = "warehouse"
KEY = dg.AssetKey(["raw_usage", "usage_days"])
# Today is a day, too: the audit at 06:00 has six hours of it.
DAYS = dg.DailyPartitionsDefinition(start_date="2023-01-01", timezone="UTC", end_offset=1)


@dg.asset(
    key=KEY,
    partitions_def=DAYS,
    # Twelve months in one run: each file is read once, however many days it has.
    backfill_policy=dg.BackfillPolicy.single_run(),
    group_name=GROUP,
    kinds={"duckdb", "postgres"},
    retry_policy=RETRY_POLICY,
    pool=POOL,
)
def usage_days(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> dg.MaterializeResult[None]:
    """Read the files that hold events of these UTC days anew, and mend the windows that differ."""
    days = [date.fromisoformat(key) for key in context.partition_keys]
    with (
        permanent_failures_end_the_run(),
        audit_lock(warehouse.url()),
        warehouse.connect() as conn,
    ):
        result = load_usage(settings.get(), conn, audit_run.as_of_for(context), repair=days)
    return dg.MaterializeResult(metadata={"events_of_the_log": result.events, "days": len(days)})


def report(context: dg.AssetExecutionContext, result: UsageLoadResult) -> None:
    """Tell Dagster which days a scan has written."""
    known = set(DAYS.get_partition_keys())
    for day in sorted(result.days):
        key = day.isoformat()
        if key in known:
            context.log_event(dg.AssetMaterialization(asset_key=KEY, partition=key))
