"""Says once, in the log and in Slack, that a run failed, in the words of the failure itself."""

import re

import dagster as dg

from leakage_pipeline.defs.automation.jobs import (
    daily_digest,
    nightly_audit,
    recovery,
    usage_repair,
    weekly_report,
)
from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.publishing.failure_notice import post_failure
from leakage_pipeline.publishing.slack_sender import (
    CHANNEL_VARIABLE,
    DEFAULT_CHANNEL,
    main_channel,
    target_for,
)
from leakage_pipeline.settings import environment_from, load_environment, load_settings

_EXCEPTION_NAME = re.compile(r"^[A-Za-z_][\w.]*: ")


@dg.run_failure_sensor(
    monitored_jobs=[nightly_audit, daily_digest, weekly_report, recovery, usage_repair],
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def run_failed(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    """One message per failed run; a run that is about to be retried is not worth one."""
    run = context.dagster_run
    if run.tags.get("dagster/will_retry") == "true":
        return dg.SkipReason(f"{run.run_id} is retried")
    reason = root_message(context)
    context.log.error(f"{run.job_name} failed: {reason}")  # noqa: G004 - Dagster's logger
    variables = load_environment()
    try:
        settings = load_settings()
        channel = target_for(settings, main_channel(settings)).channel
    except ConfigurationError:  # which may be the very failure
        channel = variables.get(CHANNEL_VARIABLE) or DEFAULT_CHANNEL
    environment = environment_from(variables)
    if not post_failure(environment, channel, run.job_name, run.run_id, reason):
        return dg.SkipReason("Slack has no token or did not take the message; see the log")
    return None


def root_message(context: dg.RunFailureSensorContext) -> str:
    """What failed first, as one line: the error below Dagster's own wrappers."""
    errors = [event.step_failure_data.error for event in context.get_step_failure_events()]
    errors.append(context.failure_event.job_failure_data.error)
    for first in errors:
        error = first
        while error is not None and error.cause is not None and _is_wrapper(error.cls_name):
            error = error.cause
        if error is not None:
            return _EXCEPTION_NAME.sub("", error.message.strip(), count=1)
    return context.failure_event.message or "no reason given"


def _is_wrapper(name: str | None) -> bool:
    return name == "Failure" or (name or "").startswith("Dagster")
