"""The weekly recovery report: one self-contained HTML file and the findings behind it as CSV.

Reads marts and `ops`; dated by `as_of`, so that the same inputs give the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from psycopg2.errors import InvalidSchemaName, UndefinedTable
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.classification.finding_types import RISK
from leakage_pipeline.classification.findings import read_findings, read_incidents
from leakage_pipeline.classification.wording import day, instant
from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.publishing import (
    charts,
    report_history,
    report_parts,
    report_queries,
    report_summary,
    report_view,
)
from leakage_pipeline.publishing.csv_export import write_findings_csv
from leakage_pipeline.publishing.files import reports_folder, write_text
from leakage_pipeline.publishing.leaks import group_leaks
from leakage_pipeline.publishing.mail import Mail
from leakage_pipeline.publishing.report_accuracy import accuracy_part
from leakage_pipeline.publishing.report_notes import data_notes
from leakage_pipeline.publishing.report_queries import BridgeTotal
from leakage_pipeline.publishing.review_state import dismissed_ids
from leakage_pipeline.publishing.shared_causes import shared_causes
from leakage_pipeline.publishing.week import ReportWeek, report_week
from leakage_pipeline.review.sample import accuracy
from leakage_pipeline.settings import Settings

TEMPLATE = "weekly_recovery.html.j2"
MAIL_TEMPLATE = "weekly_mail.html.j2"
_CAUSES = 12


@dataclass(frozen=True)
class ReportFiles:
    """The written report, and its main figures for metadata and logs."""

    html: Path
    csv: Path
    week: str
    summary: dict[str, Any]
    mail: Mail
    """What a mail about it says; the files are its attachments."""


def weekly_key(files: ReportFiles) -> str:
    """What makes a week's mail the same mail, whoever sends it."""
    return f"weekly/{files.week}"


def build_report(
    conn: Connection,
    settings: Settings,
    as_of: datetime,
    week: str | None = None,
    out_dir: Path | None = None,
    *,
    failed_checks: Sequence[str] = (),
) -> ReportFiles:
    """Write the report of one ISO week.

    Args:
        conn: Warehouse connection, read only.
        settings: Company, reporting currency, home folder, the mode of the Stripe key.
        as_of: The report's instant; nothing in it is dated by the clock.
        week: ISO week such as `2026-W47`; default the week that `as_of` lies in.
        out_dir: Folder to write to; default `reports` in the home folder.
        failed_checks: Checks that failed, in plain words; they stand in the data notes.

    Returns:
        The paths of the two files and the main figures.

    Raises:
        ConfigurationError: `week` is no ISO week, or lies after `as_of`.
        PermanentFailure: No audit has run yet.
    """
    chosen = report_week(as_of, week)
    try:
        context, summary = _context(conn, settings, as_of, chosen, failed_checks)
    except (UndefinedTable, InvalidSchemaName):
        message = "There is nothing to report yet: run `leakage audit` first"
        raise PermanentFailure(message) from None
    folder = reports_folder(settings.home, out_dir)
    stem = f"weekly_recovery_{chosen.label}"
    html = write_text(folder / f"{stem}.html", _render(context))
    csv = folder / f"{stem}.csv"
    summary["rows_in_csv"] = write_findings_csv(conn, csv)
    mail = Mail(
        subject=f"{settings.company}: recovery report {chosen.label}",
        html=_render(context, MAIL_TEMPLATE),
        text="\n\n".join(context["sentences"]),
        images={f"bridge-{part['currency'].lower()}": part["png"] for part in context["bridges"]},
    )
    return ReportFiles(html=html, csv=csv, week=chosen.label, summary=summary, mail=mail)


def _render(context: Mapping[str, Any], template: str = TEMPLATE) -> str:
    environment = Environment(
        loader=PackageLoader("leakage_pipeline.publishing"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(context)


def _context(
    conn: Connection,
    settings: Settings,
    as_of: datetime,
    week: ReportWeek,
    failed_checks: Sequence[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    dismissed = dismissed_ids(conn)
    findings = read_findings(conn)
    leaks = group_leaks((f for f in findings if f.detection_id not in dismissed), as_of)
    until = min(week.end, as_of)
    causes = report_view.cause_rows(shared_causes(leaks, read_incidents(conn)), _CAUSES)
    coverage = report_queries.coverage(conn)
    content = report_summary.SummaryInput(
        week=week,
        reporting_currency=settings.reporting_currency,
        leaks=leaks,
        bridge=_ordered(
            report_queries.bridge(conn, week.window_start, until), settings.reporting_currency
        ),
        recovered=report_queries.recovered(conn, week.start, week.end),
        resolved=report_queries.resolved_count(conn, week.start, week.end),
        causes=causes,
        examines_risk=report_view.examines(coverage, RISK),
    )
    first = settings.reporting_currency
    notes = data_notes(conn, as_of, week, failed_checks, len(dismissed))
    # "Nothing leaks" is a strong word: not over data that may be wrong or incomplete.
    all_clear = report_summary.is_all_clear(content) and not notes["serious"]
    context = {
        "company": settings.company,
        "week": week.label,
        "week_days": f"{day(week.start)} to {day(week.end - timedelta(days=1))}",
        "as_of": instant(as_of),
        "window_since": day(week.window_start),
        "all_clear": all_clear,
        "sentences": report_summary.sentences(content),
        "tiles": report_summary.tiles(content),
        "bridges": [
            report_parts.bridge_part(total, is_main=number == 0)
            for number, total in enumerate(content.bridge)
            if total.difference or any(total.steps.values())
        ],
        "exact_bridges": report_view.exact_rows(content.bridge),
        "sections": report_parts.sections(leaks, first),
        "reporting_currency": first.upper(),
        "causes": causes,
        "trends": report_parts.trends(leaks, week, first),
        "cards": report_parts.cards(conn, settings, leaks),
        "months": report_history.months(leaks, as_of, first),
        "open_for": report_history.open_for(leaks, as_of),
        "holds": report_history.holds(conn, dismissed),
        "exceptions": report_view.exception_rows(report_queries.approved_exceptions(conn)),
        "given_back": report_view.given_back_text(report_queries.given_back(conn, week.end)),
        "recoveries": report_view.recovery_rows(report_queries.recoveries(conn, week.end)),
        "coverage": report_view.coverage_rows(coverage),
        "accuracy": accuracy_part(accuracy(conn, until)),
        "notes": notes,
        "palette": charts,
    }
    return context, {"all_clear": all_clear, **_figures(content)}


def _ordered(bridge: Sequence[BridgeTotal], first_currency: str) -> list[BridgeTotal]:
    return sorted(bridge, key=lambda total: (total.currency != first_currency, total.currency))


def _figures(content: report_summary.SummaryInput) -> dict[str, Any]:
    """Return the main figures as plain values: sums per direction, basis and currency."""
    return {
        "leaks": len(content.leaks),
        "new_this_week": len(report_summary.new_this_week(content)),
        "totals": [
            {
                "direction": total.direction,
                "basis": total.basis,
                "currency": total.currency,
                "findings": total.leaks,
                "customers": total.customers,
                "closed_amount": total.closed_amount,
                "open_amount": total.open_amount,
                "monthly_amount": total.monthly_amount,
            }
            for total in content.totals
        ],
        "bridge": {
            total.currency: {
                "expected": total.expected,
                "billed": total.billed,
                "difference": total.difference,
            }
            for total in content.bridge
        },
        "recovered": {row["currency"]: row["amount"] for row in content.recovered},
    }
