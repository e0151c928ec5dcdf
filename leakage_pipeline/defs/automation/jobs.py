"""The two jobs: the nightly audit (all but the weekly report) and the weekly report.

Both run in one process: the steps are few and large, and a process of its own would cost each 2-3
seconds.
"""

import dagster as dg

from leakage_pipeline.defs.automation.progress import progress_logger

WEEKLY_GROUP = "weekly_report"

_weekly_assets = dg.AssetSelection.groups(WEEKLY_GROUP)

nightly_audit = dg.define_asset_job(
    "nightly_audit",
    selection=dg.AssetSelection.all() - _weekly_assets,
    description="Load Stripe, usage and contracts, compute the bridge, publish the findings.",
    executor_def=dg.in_process_executor,
)

weekly_report = dg.define_asset_job(
    "weekly_report",
    selection=_weekly_assets,
    description="Render the weekly recovery report from the newest marts.",
    executor_def=dg.in_process_executor,
)


@dg.definitions
def jobs() -> dg.Definitions:
    """The jobs, and the logger that `leakage audit` draws its progress from."""
    return dg.Definitions(
        jobs=[nightly_audit, weekly_report], loggers={"progress": progress_logger}
    )
