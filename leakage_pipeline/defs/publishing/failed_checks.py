"""Reads from Dagster which asset checks failed, in words for a report.

A failed check that does not block leaves the run green: report and digest have to say it.
"""

import json
from functools import cache

import dagster as dg

from leakage_pipeline.classification.wording import plural
from leakage_pipeline.defs.transform.project import load_project

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
    table = evaluation.asset_key.path[-1]
    test = evaluation.metadata.get("unique_id")
    if test is None:
        what = evaluation.description or evaluation.check_name
    else:
        rule = _rules().get(str(test.value)) or evaluation.check_name
        count = evaluation.metadata.get("dagster_dbt/failed_row_count")
        rows = plural(int(str(count.value)), "row") if count else "some rows"
        what = f"In {rows} this does not hold: {rule}"
    return f"{what.strip().rstrip('.')} (check of {table})."


@cache
def _rules() -> dict[str, str]:
    """What each dbt test expects, in the words of its yml; Dagster's events do not carry them."""
    manifest = json.loads(load_project().manifest_path.read_bytes())
    return {
        unique_id: node["description"]
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] == "test" and node.get("description")
    }
