"""The jobs: the nightly audit, the daily digest, the weekly report, recovery, usage days.

All run in one process: the steps are few and large, and a process of its own would cost each 2-3
seconds.
"""

import dagster as dg

from leakage_pipeline.defs.automation.progress import progress_logger

WEEKLY_GROUP = "weekly_report"
DIGEST_GROUP = "daily_digest"
SENDING_GROUP = "recovery_sending"

DAYS_GROUP = "usage_days"

_weekly_assets = dg.AssetSelection.groups(WEEKLY_GROUP)
_digest_assets = dg.AssetSelection.groups(DIGEST_GROUP)
_sending_assets = dg.AssetSelection.groups(SENDING_GROUP)
_day_assets = dg.AssetSelection.groups(DAYS_GROUP)
# What the classifier's batch answered since the night belongs into the digest.
_classifications = dg.AssetSelection.assets(["ops", "classifications"])

nightly_audit = dg.define_asset_job(
    "nightly_audit",
    selection=(
        dg.AssetSelection.all() - _weekly_assets - _digest_assets - _sending_assets - _day_assets
    ),
    description="Load Stripe, usage and contracts, compute the bridge, publish the findings.",
    executor_def=dg.in_process_executor,
)

weekly_report = dg.define_asset_job(
    "weekly_report",
    selection=_weekly_assets,
    description="Render the weekly recovery report from the newest marts.",
    executor_def=dg.in_process_executor,
)

daily_digest = dg.define_asset_job(
    "daily_digest",
    selection=_digest_assets | _classifications,
    description="Collect what the model answered, and tell Slack what is new since yesterday.",
    config={"ops": {"ops__classifications": {"config": {"collect_only": True}}}},
    executor_def=dg.in_process_executor,
)

recovery = dg.define_asset_job(
    "recovery",
    selection=_sending_assets,
    description="Send the corrections that were released; policy.action_mode decides.",
    executor_def=dg.in_process_executor,
)

usage_repair = dg.define_asset_job(
    "usage_repair",
    selection=_day_assets,
    description="Read days of the usage log anew; the next audit judges by them.",
    executor_def=dg.in_process_executor,
)


@dg.definitions
def jobs() -> dg.Definitions:
    """The jobs, and the logger that `leakage audit` draws its progress from."""
    return dg.Definitions(
        jobs=[nightly_audit, daily_digest, weekly_report, recovery, usage_repair],
        loggers={"progress": progress_logger},
    )
