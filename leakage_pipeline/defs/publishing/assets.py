"""What is published: status of findings, CSV, alerts; the daily digest; the weekly report.

Every asset may run again: files are replaced, states keep what people set, messages go out once.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from leakage_pipeline.classification.wording import money
from leakage_pipeline.defs.failures import (
    RETRY_POLICY,
    permanent_failures_end_the_run,
)
from leakage_pipeline.defs.publishing.failed_checks import failed_checks_of_latest_audit
from leakage_pipeline.defs.resources import AuditRun, SettingsResource, WarehouseResource
from leakage_pipeline.publishing.alerts import publish_alerts
from leakage_pipeline.publishing.csv_export import findings_csv_name, write_findings_csv
from leakage_pipeline.publishing.detection_state import update_detection_state
from leakage_pipeline.publishing.digest import publish_digest
from leakage_pipeline.publishing.files import reports_folder
from leakage_pipeline.publishing.mail import send_mail_once
from leakage_pipeline.publishing.report import build_report, weekly_key
from leakage_pipeline.review.sample import draw, month_of

GROUP = "publishing"
WEEKLY_GROUP = "weekly_report"
DIGEST_GROUP = "daily_digest"
_CLASSIFICATIONS = dg.AssetKey(["ops", "classifications"])
_STATE = dg.AssetKey(["publishing", "detection_state"])


def _marts(*names: str) -> list[dg.AssetKey]:
    return [dg.AssetKey(["marts", name]) for name in names]


_TOLD_IN_SLACK = [
    _CLASSIFICATIONS,
    _STATE,
    *_marts("fct_leakage_detections", "fct_incidents", "dim_customers"),
    *_marts("fct_revenue_recovered", "fct_overbilling_corrected"),
]


@dg.asset(
    key=_STATE,
    deps=_marts("fct_leakage_detections"),
    group_name=GROUP,
    kinds={"postgres"},
    pool="warehouse",
)
def detection_state(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, audit_run: AuditRun
) -> dg.MaterializeResult[None]:
    """One row per finding ever seen: when first and last, and its review status.

    New findings become `new`, vanished ones `auto_resolved`; what a person set is left alone.
    """
    with warehouse.connect() as conn:
        changes = update_detection_state(conn, audit_run.as_of_for(context))
    return dg.MaterializeResult(
        metadata={
            "new": changes.new,
            "found_again": changes.found_again,
            "auto_resolved": changes.auto_resolved,
            "evidence_changed": changes.evidence_changed,
        }
    )


@dg.asset(
    key=["publishing", "findings_csv"],
    deps=[_CLASSIFICATIONS, _STATE, *_marts("fct_leakage_detections", "dim_customers")],
    group_name=GROUP,
    kinds={"csv"},
)
def findings_csv(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> dg.MaterializeResult[None]:
    """Every finding of the run as one CSV file, named after the run's instant."""
    folder = reports_folder(settings.get().home)
    path = folder / findings_csv_name(audit_run.as_of_for(context))
    with warehouse.connect() as conn:
        rows = write_findings_csv(conn, path)
    return dg.MaterializeResult(metadata={"dagster/row_count": rows, "path": _path(path)})


@dg.asset(
    key=["publishing", "slack_alerts"],
    deps=_TOLD_IN_SLACK,
    group_name=GROUP,
    kinds={"slack"},
    retry_policy=RETRY_POLICY,
)
def slack_alerts(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> dg.MaterializeResult[None]:
    """What is severe and new, told in Slack at once, each once and in a message of its own.

    From which severity on says `policy.slack.at_once`; the rest stands in the day's digest.
    """
    with permanent_failures_end_the_run(), warehouse.connect() as conn:
        result = publish_alerts(conn, settings.get(), audit_run.as_of_for(context))
    if result.note:
        context.log.info(result.note)
    return dg.MaterializeResult(
        metadata={"severe": result.severe, "posted": result.posted, "note": result.note}
    )


@dg.asset(
    key=["publishing", "slack_digest"],
    deps=_TOLD_IN_SLACK,
    group_name=DIGEST_GROUP,
    kinds={"slack"},
    retry_policy=RETRY_POLICY,
)
def slack_digest(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> dg.MaterializeResult[None]:
    """What is new, changed and recovered since the last digest, as one Slack message per day.

    Posted once, through the ledger in `ops.publications`; what changed is answered in the thread
    that first told of it. Without a token written to a file.
    """
    warnings = failed_checks_of_latest_audit(context.instance)
    with permanent_failures_end_the_run(), warehouse.connect() as conn:
        result = publish_digest(conn, settings.get(), audit_run.as_of_for(context), warnings)
    context.log.info(result.note)
    return dg.MaterializeResult(
        metadata={
            "slack_posted": result.sent,
            "messages": result.messages,
            "note": result.note,
            "channel": result.channel,
            "message": _path(result.json_path),
            "text": _path(result.text_path),
            "warnings": len(warnings),
        }
    )


@dg.asset(
    key=["publishing", "monthly_sample"],
    deps=[_STATE, *_marts("fct_leakage_detections", "fct_expected_vs_billed")],
    group_name=GROUP,
    kinds={"postgres"},
)
def monthly_sample(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, audit_run: AuditRun
) -> dg.MaterializeResult[None]:
    """Five audited customers a month, found and not found, for a person to check by hand.

    Drawn by the month's first audit and then left alone; verdicts become the measured accuracy.
    """
    as_of = audit_run.as_of_for(context)
    with warehouse.connect() as conn:
        drawn = draw(conn, as_of)
    return dg.MaterializeResult(metadata={"month": month_of(as_of), "drawn": drawn})


class WeeklyReportConfig(dg.Config):
    """Which week, and where to."""

    week: str | None = Field(
        default=None, description="ISO week such as 2026-W47; default the week of the run"
    )
    out_dir: str | None = Field(
        default=None, description="Folder to write to; default reports in LEAKAGE_HOME"
    )


@dg.asset(
    key=["publishing", "weekly_recovery_report"],
    deps=[
        _CLASSIFICATIONS,
        _STATE,
        *_marts(
            "fct_leakage_detections",
            "fct_incidents",
            "fct_expected_vs_billed",
            "fct_control_coverage",
            "fct_approved_exceptions",
            "fct_revenue_recovered",
            "fct_charge_calculation",
            "dim_customers",
        ),
    ],
    group_name=WEEKLY_GROUP,
    kinds={"html"},
)
def weekly_recovery_report(
    context: dg.AssetExecutionContext,
    config: WeeklyReportConfig,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> dg.MaterializeResult[None]:
    """The weekly recovery report: one HTML file and its findings as CSV, mailed once a week.

    Both files are replaced as a whole. The mail goes to REPORT_RECIPIENTS through the ledger in
    `ops.publications`; without SMTP_URL or recipients there are the files alone.
    """
    as_of = audit_run.as_of_for(context)
    with permanent_failures_end_the_run(), warehouse.connect() as conn:
        files = build_report(
            conn,
            settings.get(),
            as_of,
            config.week,
            Path(config.out_dir) if config.out_dir else None,
            failed_checks=failed_checks_of_latest_audit(context.instance),
        )
        mailed = send_mail_once(
            conn,
            settings.get(),
            as_of,
            weekly_key(files),
            files.mail,
            (files.html, files.csv),
        )
    context.log.info(mailed.note)
    return dg.MaterializeResult(
        metadata={
            "week": files.week,
            "report": _path(files.html),
            "open": dg.MetadataValue.url(files.html.resolve().as_uri()),
            "csv": _path(files.csv),
            "mailed": mailed.sent,
            "mail": mailed.note,
            "findings": files.summary["rows_in_csv"],
            "leaks": files.summary["leaks"],
            "new_this_week": files.summary["new_this_week"],
            "totals": dg.MetadataValue.md(_totals(files.summary["totals"])),
        }
    )


def _path(path: Path) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.path(path.resolve())


def _totals(totals: Sequence[Mapping[str, Any]]) -> str:
    head = (
        "| direction | basis | findings | customers | closed periods | open | a month now |\n"
        "|---|---|--:|--:|--:|--:|--:|\n"
    )
    return head + "\n".join(
        f"| {t['direction']} | {t['basis'].replace('_', ' ')} | {t['findings']} | {t['customers']} "
        f"| {money(t['closed_amount'], t['currency'])} | {money(t['open_amount'], t['currency'])} "
        f"| {money(t['monthly_amount'], t['currency'])} |"
        for t in totals
    )
