"""Reads from Dagster which asset checks failed, in words for a report.

A failed check that does not block leaves the run green: report and digest have to say it.
"""

import dagster as dg

_AUDIT_JOB = "nightly_audit"
_MAX_WARNINGS = 10


def failed_checks_of_run(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """Return the checks that failed in a run, one sentence each, at most ten."""
    records = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ).records
    sentences: dict[str, None] = {}
    for record in records:
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed:
            sentences[_sentence(evaluation)] = None
    return list(sentences)[:_MAX_WARNINGS]


def failed_checks_of_latest_audit(instance: dg.DagsterInstance) -> list[str]:
    """Return the checks that failed in the newest nightly audit; empty when there was none."""
    records = instance.get_run_records(dg.RunsFilter(job_name=_AUDIT_JOB), limit=1)
    return failed_checks_of_run(instance, records[0].dagster_run.run_id) if records else []


def _sentence(evaluation: dg.AssetCheckEvaluation) -> str:
    where = ".".join(evaluation.asset_key.path)
    what = (evaluation.description or evaluation.check_name).strip().rstrip(".")
    return f"A check of {where} failed: {what}."
