"""What Stripe reports of meter events that it rejected: read once, kept, a gap if refused."""

from datetime import timedelta
from typing import Any

import psycopg2.extensions
import pytest

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.simulator import stripe_objects as so
from leakage_pipeline.simulator.stripe_server import StripeServer
from leakage_pipeline.stripe_billing.columns import Sync
from leakage_pipeline.stripe_billing.load import load_meters
from leakage_pipeline.stripe_billing.meter_errors import flatten_meter_errors
from leakage_pipeline.stripe_billing.status import read_sync_status
from tests.unit.stripe_billing.conftest import ReaderOf, Wire, as_list, error
from tests.unit.stripe_billing.trap_account import AS_OF, trap_account

Connection = psycopg2.extensions.connection
WINDOW = ("2026-06-10T00:00:00.000Z", "2026-06-10T01:00:00.000Z")


def report(number: int, created: str = "2026-06-10T01:05:00.000Z", **more: Any) -> so.JsonObject:
    fields: dict[str, Any] = {"errors": {"archived_meter": 3}, "window": WINDOW, **more}
    return so.meter_error_report(f"evt_thin_{number:03d}", created=created, **fields)


def stored(conn: Connection) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.execute(
            "select event_id, code, meter_id, error_count, sample_requests,"
            " to_char(window_start, 'DD HH24:MI') from raw_stripe.meter_errors order by 1, 2"
        )
        return cursor.fetchall()


def test_reports_arrive_with_one_row_per_kind_of_error(
    reader_of: ReaderOf, warehouse: Connection
) -> None:
    account = trap_account()
    account.thin_events = [
        report(
            1,
            meter="mtr_calls",
            errors={"archived_meter": 3, "timestamp_in_future": 1},
            requests=["key-1", "key-2"],
        ),
        report(2, errors={"no_meter": 5}),
        report(3, created="2026-06-16T00:00:00.000Z", meter="mtr_calls"),  # later than the audit
        report(4, created="2026-05-01T00:00:00.000Z", meter="mtr_calls"),  # forgotten
    ]
    with StripeServer(account, now=AS_OF) as server:
        result = load_meters(reader_of(server), warehouse, AS_OF)
    assert dict(result) == {"meters": 2, "meter_errors": 3}
    assert result.unknown == []
    assert stored(warehouse) == [
        ("evt_thin_001", "archived_meter", "mtr_calls", 3, ["key-1", "key-2"], "10 00:00"),
        ("evt_thin_001", "timestamp_in_future", "mtr_calls", 1, ["key-1", "key-2"], "10 00:00"),
        ("evt_thin_002", "no_meter", None, 5, [], "10 00:00"),
    ]


def test_all_pages_are_read_and_later_audits_ask_for_what_is_new(
    reader_of: ReaderOf, warehouse: Connection
) -> None:
    account = trap_account()
    account.thin_events = [report(number, meter="mtr_calls") for number in range(230)]
    with StripeServer(account, now=AS_OF) as server:
        load_meters(reader_of(server), warehouse, AS_OF)
        assert len(stored(warehouse)) == 230
        account.thin_events = [report(900, created="2026-06-15T05:00:00.000Z", meter="mtr_calls")]
        server.load(account)
        server.forget_requests()
        load_meters(reader_of(server), warehouse, AS_OF + timedelta(hours=1))
        asked = [r.params for r in server.requests if r.path == "/v2/core/events"]
    assert asked[0]["created"]["gte"] == "2026-06-09T01:05:00Z"
    assert len(stored(warehouse)) == 231


def test_a_server_without_them_leaves_a_gap_and_what_was_stored(
    wire: Wire, reader_of: ReaderOf, warehouse: Connection
) -> None:
    wire.answer = lambda request: (
        (404, error("Unrecognized request URL")) if "v2" in request.path else (200, as_list([]))
    )
    load_meters(reader_of(wire), warehouse, AS_OF)
    status = {row.object: row.status for row in read_sync_status(warehouse)}
    assert status == {"meters": "ok", "meter_errors": "missing"}


def test_a_report_of_another_shape_is_counted_and_one_that_is_wrong_is_named() -> None:
    sync = Sync(AS_OF)
    bare = report(1) | {"data": {"reason": {"error_count": 7}}}
    batch = flatten_meter_errors([bare], sync)["meter_errors"]
    assert batch.column("code").to_pylist() == ["unknown"]
    assert batch.column("error_count").to_pylist() == [7]
    wrong = report(2)
    wrong["data"]["reason"]["error_types"][0]["error_count"] = "many"
    with pytest.raises(PermanentFailure, match="evt_thin_002: error_count"):
        flatten_meter_errors([wrong], sync)
