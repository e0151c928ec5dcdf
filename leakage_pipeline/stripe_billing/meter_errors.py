"""Loads what Stripe itself reports about meter events that it took and then rejected.

A 200 for a meter event does not mean that it was billed: what is wrong with it is reported later,
as events of the newer kind (`/v2/core/events`), kept for 30 days. So rows of earlier audits stay.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import psycopg2.extensions
import pyarrow as pa

from leakage_pipeline.stripe_billing.client import Query, StripeReader
from leakage_pipeline.stripe_billing.columns import Flattener, Sync
from leakage_pipeline.stripe_billing.getters import ref
from leakage_pipeline.stripe_billing.group import GroupLoad
from leakage_pipeline.stripe_billing.objects import OBJECTS
from leakage_pipeline.stripe_billing.tables_changes import METER_ERRORS
from leakage_pipeline.stripe_billing.values import Json, at

NAME = "meter_errors"
TYPES = ("v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found")
KEPT_BY_STRIPE = timedelta(days=30)
# A report may show up in the list some time after the instant it bears.
_OVERLAP = timedelta(days=1)

_FLATTENER = Flattener(
    METER_ERRORS,
    {
        "code": "error.code",
        "event_id": "id",
        "type": "type",
        "meter_id": ref("related_object"),
        "error_count": "error.error_count",
        "sample_message": lambda item: at(next(iter(_samples(item)), {}), "error_message"),
        # The idempotency keys of the requests, which is all that tells which events they were.
        "sample_requests": lambda item: [
            at(sample, "request", "identifier") for sample in _samples(item)
        ],
        "summary": "data.developer_message_summary",
    },
    required=frozenset({"type", "error_count"}),
    payload_without="error",
)


def read_meter_errors(load: GroupLoad, as_of: datetime) -> None:
    """Read the reports since the newest that is stored, and keep their rows aside.

    Args:
        load: The load that they are written with; a refusal makes them a gap.
        as_of: Instant of the audit; later reports are left out.
    """

    def read() -> None:
        for reports in _reports(load.reader, _since(load.conn, as_of), as_of):
            load.add(NAME, flatten_meter_errors(reports, load.sync), len(reports))

    if not load.attempt(NAME, read):
        load.spool.discard([METER_ERRORS.name])


def flatten_meter_errors(reports: Sequence[Json], sync: Sync) -> dict[str, pa.RecordBatch]:
    """Flatten reports into one row per kind of error that they count."""
    rows = [report | {"error": error} for report in reports for error in _errors(report)]
    return {
        METER_ERRORS.name: _FLATTENER.batch(
            rows,
            sync,
            created=[_seconds(row.get("created")) for row in rows],
            window_start=[_seconds(at(row, "data", "validation_start")) for row in rows],
            window_end=[_seconds(at(row, "data", "validation_end")) for row in rows],
        )
    }


def _reports(reader: StripeReader, since: datetime, as_of: datetime) -> Iterator[list[Json]]:
    target = OBJECTS[NAME]
    params: Query = {
        "types": list(TYPES),
        "created": {"gte": _text(since), "lte": _text(as_of)},
        "limit": 100,
    }
    for events in reader.newer_pages(target, params):
        # A list shows events without what they tell; each is then asked for by its id.
        yield [
            event
            if isinstance(event.get("data"), dict)
            else reader.get(target, f"{target.path}/{event.get('id')}", {})
            for event in events
        ]


def _errors(report: Json) -> list[Json]:
    found = at(report, "data", "reason", "error_types")
    if isinstance(found, list) and found:
        return [error for error in found if isinstance(error, dict)]
    return [{"code": "unknown", "error_count": at(report, "data", "reason", "error_count") or 0}]


def _samples(row: Json) -> list[Json]:
    found = row["error"].get("sample_errors")
    return [sample for sample in found or () if isinstance(sample, dict)]


def _since(conn: psycopg2.extensions.connection, as_of: datetime) -> datetime:
    with conn.cursor() as cursor:
        cursor.execute(
            "select max(created) from raw_stripe.meter_errors where created <= %s", (as_of,)
        )
        row: tuple[datetime | None] | None = cursor.fetchone()
    conn.rollback()
    newest = row[0] if row else None
    oldest = as_of - KEPT_BY_STRIPE
    return max(oldest, newest - _OVERLAP) if newest else oldest


def _seconds(instant: object) -> int | None:
    if not isinstance(instant, str):
        return None
    parsed = datetime.fromisoformat(instant)
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
