"""`leakage report`: the weekly recovery report of the newest audit, or of an earlier week."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg2.extensions

from leakage_pipeline.commands.execution import failed_checks
from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.publishing.mail import send_mail_once
from leakage_pipeline.publishing.report import ReportFiles, build_report, weekly_key
from leakage_pipeline.settings import Settings
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.server import ensure_running


def report(settings: Settings, week: str | None, out: Path | None) -> ReportFiles:
    """Write the report from what the newest audit left in the marts.

    Args:
        settings: The configuration.
        week: ISO week such as 2026-W47; default the newest audit's.
        out: Folder to write to; default LEAKAGE_HOME/reports.

    Raises:
        ConfigurationError: `week` is no week of the past.
        PermanentFailure: No audit has run yet.
    """
    connection = connect(ensure_running(settings))
    try:
        as_of = newest_audit(connection)
        checks = failed_checks(settings.home)
        return build_report(connection, settings, as_of, week, out, failed_checks=checks)
    finally:
        connection.close()


def mail_report(settings: Settings, files: ReportFiles) -> str:
    """Mail a report that was just written, once per week, as the schedule does.

    Args:
        settings: SMTP_URL, REPORT_RECIPIENTS and REPORT_SENDER.
        files: The report; both files are attached.

    Returns:
        What became of it, in words.

    Raises:
        ConfigurationError: An address or SMTP_URL is no such thing.
        PermanentFailure: The server refused it.
        TransientFailure: The server could not be reached, or did not confirm.
    """
    connection = connect(ensure_running(settings))
    try:
        as_of, key = newest_audit(connection), weekly_key(files)
        attached = (files.html, files.csv)
        return send_mail_once(connection, settings, as_of, key, files.mail, attached).note
    finally:
        connection.close()


def newest_audit(conn: psycopg2.extensions.connection) -> datetime:
    """The as_of of the audit whose results the marts hold.

    Raises:
        PermanentFailure: No audit has run yet.
    """
    with conn.cursor() as cursor:
        cursor.execute(
            "select to_regclass('raw_business.audit_settings') is not null"
            " and to_regclass('marts.fct_leakage_detections') is not null"
        )
        (exists,) = cursor.fetchone() or (False,)
        row = None
        if exists:
            cursor.execute("select as_of from raw_business.audit_settings")
            row = cursor.fetchone()
    if row is None:
        message = (
            "there is nothing to report yet: no audit has run on this database; run leakage audit"
        )
        raise PermanentFailure(message)
    as_of: datetime = row[0]
    return as_of.astimezone(UTC)
