"""What a reader has to know about the data behind the report: gaps, doubts, failed checks."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.classification.wording import instant, money, plural
from leakage_pipeline.publishing import report_queries
from leakage_pipeline.publishing.week import ReportWeek
from leakage_pipeline.stripe_billing.status import read_sync_status

_STALE_AFTER = timedelta(hours=36)
_MAX_REJECTIONS = 8


def data_notes(
    conn: Connection,
    as_of: datetime,
    week: ReportWeek,
    failed_checks: Sequence[str],
    dismissed: int,
) -> dict[str, list[str]]:
    """Collect the notes of the report's last section.

    Args:
        conn: Warehouse connection, read only.
        as_of: The report's instant.
        week: The report's week; doubts are counted over its trailing window.
        failed_checks: Checks that failed, in plain words.
        dismissed: How many findings people have dismissed; they are in no total.

    Returns:
        `serious`: what may make a number wrong. `remarks`: what is only good to know.
    """
    serious = [*failed_checks, *_doubts(conn, as_of, week), *_blocked(conn)]
    remarks = [
        f"{plural(row['rows'], 'input row')} of {row['source']} could not be read: {row['reason']}."
        for row in report_queries.rejected_rows(conn)[:_MAX_REJECTIONS]
    ]
    if dismissed:
        remarks.append(
            f"{plural(dismissed, 'finding')} that a reviewer dismissed "
            f"{'is' if dismissed == 1 else 'are'} left out of every total."
        )
    return {"serious": serious, "remarks": remarks}


def _blocked(conn: Connection) -> list[str]:
    """What the data cannot carry, and that it was therefore not published."""
    return [
        f"{plural(row['findings'], 'finding')} of {row['leakage_type'].replace('_', ' ')} "
        f"over {money(row['amount'], row['currency'])} "
        f"{'is' if row['findings'] == 1 else 'are'} not published. {row['explanation']}"
        for row in report_queries.blocked_findings(conn)
    ]


def _doubts(conn: Connection, as_of: datetime, week: ReportWeek) -> list[str]:
    doubts = [
        f"Stripe's {status.object.replace('_', ' ')} could not be read completely: "
        f"{status.detail or status.status}. What depends on them was not examined."
        for status in read_sync_status(conn)
        if not status.complete
    ]
    counts = report_queries.doubtful_periods(conn, week.window_start, min(week.end, as_of))
    if counts["broken_periods"]:
        doubts.append(
            f"The bridge of {plural(counts['broken_periods'], 'billing period')} does not add up. "
            "Do not rely on this report until that is mended."
        )
    if counts["unrated_periods"]:
        doubts.append(
            f"{plural(counts['unrated_periods'], 'billing period')} could not be rated, because "
            "the price has a shape that the audit does not know. They are in no amount here."
        )
    built = report_queries.data_as_of(conn)
    if built is None:
        doubts.append("No audit has run yet: the tables are empty.")
    elif as_of - built > _STALE_AFTER:
        doubts.append(f"The tables were last built for {instant(built)}.")
    elif built > as_of:
        doubts.append(f"The tables were built for {instant(built)}, after this report's instant.")
    return doubts
