"""When the jobs run by themselves. The scheduled time, not the clock, is *now* for the run.

So a tick that is caught up later audits the instant it stands for.
"""

import dagster as dg

from leakage_pipeline.defs.automation.jobs import nightly_audit, weekly_report


def _request(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    as_of = context.scheduled_execution_time.isoformat()
    return dg.RunRequest(
        run_key=as_of,
        run_config={"resources": {"audit_run": {"config": {"as_of": as_of}}}},
    )


@dg.schedule(
    job=nightly_audit,
    cron_schedule="0 6 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def nightly_audit_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Every day at 06:00 UTC."""
    return _request(context)


@dg.schedule(
    job=weekly_report,
    cron_schedule="0 7 * * 5",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def weekly_report_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Every Friday at 07:00 UTC, after that day's audit."""
    return _request(context)
