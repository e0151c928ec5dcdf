"""The findings of a run as CSV for a spreadsheet, which must not be attacked with it.

A text cell that a spreadsheet would read as a formula gets an apostrophe in front; numbers stay
numbers, negative ones too.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extras import RealDictCursor

from leakage_pipeline.publishing.files import write_text

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

_QUERY = """
    select
        d.detection_id, d.customer_id, c.name as customer_name, d.subscription_id,
        d.leakage_type, d.direction, d.amount_basis, d.phase, d.period_start, d.period_end,
        d.currency, d.leakage_amount, d.monthly_leakage_amount, d.reporting_amount,
        d.severity, d.confidence, d.priority_score, d.meter, d.reason, d.incident_id,
        coalesce(s.status, 'new') as status, s.assignee, k.category, k.next_action,
        k.classifier, d.first_detected_at, d.last_detected_at, d.description,
        d.evidence::text as evidence
    from marts.fct_leakage_detections as d
    left join marts.dim_customers as c on d.customer_id = c.customer_id
    left join ops.detection_state as s on d.detection_id = s.detection_id
    left join ops.classifications as k on d.detection_id = k.detection_id
    order by d.direction, d.priority_score desc nulls last, d.detection_id
"""


def write_findings_csv(conn: Connection, path: Path) -> int:
    """Write every finding with its status and classification; return the number of rows.

    Args:
        conn: Warehouse connection, read only.
        path: File to replace. UTF-8 with a byte order mark, since Excel guesses otherwise.
    """
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(_QUERY)
        columns = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall()
    write_text(path, "\ufeff" + to_csv(columns, rows))
    return len(rows)


def findings_csv_name(as_of: datetime) -> str:
    """Return the file name of a run's export: `findings_2026-11-22T060000Z.csv`."""
    return f"findings_{as_of.astimezone(UTC):%Y-%m-%dT%H%M%SZ}.csv"


def to_csv(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as CSV text with a header line."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([cell(row[column]) for column in columns] for row in rows)
    return buffer.getvalue()


def cell(value: object) -> str:
    """Return one cell: plain numbers, ISO instants in UTC, text made harmless."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
