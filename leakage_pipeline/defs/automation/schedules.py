"""When the jobs run by themselves. The scheduled time, not the clock, is *now* for the run.

So a tick that is caught up later audits the instant it stands for.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from leakage_pipeline.defs.automation.jobs import (
    daily_digest,
    nightly_audit,
    recovery,
    weekly_report,
)
from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.policy import SlackPolicy
from leakage_pipeline.settings import load_settings


def _request(
    context: dg.ScheduleEvaluationContext, ops: Mapping[str, Any] | None = None
) -> dg.RunRequest:
    as_of = context.scheduled_execution_time.isoformat()
    config = {"resources": {"audit_run": {"config": {"as_of": as_of}}}}
    return dg.RunRequest(run_key=as_of, run_config={**config, **({"ops": ops} if ops else {})})


def slack_policy() -> SlackPolicy:
    """When the digest is told; the defaults while there is no configuration that can be read."""
    try:
        return load_settings().policy.slack
    except ConfigurationError:
        return SlackPolicy()


def digest_schedule(policy: SlackPolicy) -> dg.ScheduleDefinition:
    """Every day at the policy's hour, in the policy's time zone."""
    hour, minute = policy.digest_at.split(":")

    @dg.schedule(
        name="daily_digest_schedule",
        job=daily_digest,
        cron_schedule=f"{int(minute)} {int(hour)} * * *",
        execution_timezone=policy.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every day at policy.slack.digest_at, in policy.slack.timezone.",
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return _request(context, {"ops__classifications": {"config": {"collect_only": True}}})

    return tick


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


daily_digest_schedule = digest_schedule(slack_policy())


@dg.schedule(job=recovery, cron_schedule="0 12 * * *", execution_timezone="UTC")
def recovery_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Every day at 12:00 UTC, once somebody has turned it on."""
    return _request(context)
