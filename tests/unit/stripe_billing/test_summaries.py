import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal

import psycopg2.extensions
import pytest

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.simulator import stripe_objects as so
from leakage_pipeline.simulator.stripe_server import StripeServer
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.events import load_events
from leakage_pipeline.stripe_billing.load import load_meters
from leakage_pipeline.stripe_billing.status import read_sync_status
from leakage_pipeline.stripe_billing.summaries import (
    SummaryRequest,
    answers_of,
    load_meter_event_summaries,
)
from tests.unit.stripe_billing.conftest import ReaderOf, Request, Wire, as_list, error
from tests.unit.stripe_billing.test_load import fetch
from tests.unit.stripe_billing.trap_account import AS_OF, MAY, trap_account

Connection = psycopg2.extensions.connection
DAY = timedelta(days=1)


@pytest.fixture
def asked(warehouse: Connection) -> Connection:
    """A warehouse in which the spans to ask about are known."""
    with warehouse.cursor() as cursor:
        cursor.execute(
            """
            create table intermediate.int_usage__summary_requests (
                meter_id text, customer_id text, start_at timestamptz, end_at timestamptz
            );
            insert into intermediate.int_usage__summary_requests values
                ('mtr_calls', 'cus_1', '2026-05-01 00:00Z', '2026-05-01 00:02Z'),
                ('mtr_calls', 'cus_1', '2026-05-01 00:01Z', '2026-05-01 00:02Z'),
                ('mtr_calls', 'cus_1', '2026-04-01 00:00Z', '2026-05-01 00:00Z'),
                ('mtr_calls', 'cus_2', '2026-05-01 00:00Z', '2026-06-01 00:00Z'),
                ('mtr_old', 'cus_1', '2026-04-01 00:00Z', '2026-05-01 00:00Z')
            """
        )
    warehouse.commit()
    return warehouse


def _values(conn: Connection) -> dict[tuple[str, str, int, int], Decimal | None]:
    rows = fetch(
        conn,
        "select meter_id, customer_id, extract(epoch from start_at)::bigint, "
        "extract(epoch from end_at)::bigint, aggregated_value "
        "from raw_stripe.meter_event_summaries",
    )
    return {(meter, customer, start, end): value for meter, customer, start, end, value in rows}


def test_each_span_gets_its_exact_value_and_silence_is_null(
    reader: StripeReader, asked: Connection
) -> None:
    load_meters(reader, asked, AS_OF)
    result = load_meter_event_summaries(reader, asked, AS_OF)
    assert dict(result) == {"meter_event_summaries": 5}
    assert result.requests == {"meter_event_summaries": 5}
    values = _values(asked)
    assert values[("mtr_calls", "cus_1", MAY, MAY + 120)] == Decimal("3.25")
    assert values[("mtr_calls", "cus_1", MAY + 60, MAY + 120)] == Decimal("3.25")
    assert [value for value in values.values() if value is None] == [None, None, None]


def test_no_questions_no_requests(reader: StripeReader, asked: Connection) -> None:
    with asked.cursor() as cursor:
        cursor.execute("delete from intermediate.int_usage__summary_requests")
    asked.commit()
    result = load_meter_event_summaries(reader, asked, AS_OF)
    assert dict(result) == {"meter_event_summaries": 0}
    assert result.requests == {"meter_event_summaries": 0}
    assert read_sync_status(asked)[0].status == "ok"


def test_a_customer_that_stripe_does_not_know_is_null_and_counted(
    wire: Wire, reader_of: ReaderOf, asked: Connection
) -> None:
    row = {"id": "s_1", "aggregated_value": 4, "start_time": MAY, "end_time": MAY + 60}

    def answer(request: Request) -> tuple[int, bytes]:
        if request.query["customer"] == "cus_2":
            return 404, error("No such customer: 'cus_2'", code="resource_missing")
        return 200, as_list([row])

    wire.answer = answer
    result = load_meter_event_summaries(reader_of(wire), asked, AS_OF)
    values = _values(asked)
    assert [key[1] for key, value in values.items() if value is None] == ["cus_2"]
    assert len(values) == 5
    assert result.warnings == [
        "meter_event_summaries: Stripe does not know 1 pairs of meter and customer"
    ]


def test_several_rows_over_several_pages_are_added_up(
    wire: Wire, reader_of: ReaderOf, asked: Connection
) -> None:
    def answer(request: Request) -> tuple[int, bytes]:
        first = "starting_after" not in request.query
        return 200, (
            b'{"object": "list", "data": [{"id": "s_%d", "aggregated_value": %s, "end_time": %d}], '
            b'"has_more": %s}'
            % ((1, b"0.1", 5, b"true") if first else (2, b"12345678901234567.2", 9, b"false"))
        )

    wire.answer = answer
    load_meter_event_summaries(reader_of(wire), asked, AS_OF)
    assert set(_values(asked).values()) == {Decimal("12345678901234567.3")}


def test_of_a_meter_that_keeps_the_last_value_the_latest_row_counts(
    wire: Wire, reader_of: ReaderOf
) -> None:
    rows = [
        {"id": "s_1", "aggregated_value": 7, "end_time": MAY + 120},
        {"id": "s_2", "aggregated_value": 3, "end_time": MAY + 60},
    ]
    wire.answer = lambda _: (200, as_list(rows))
    request = SummaryRequest("mtr_old", "cus_1", AS_OF, AS_OF, "last")
    (answer,) = answers_of(reader_of(wire), [request])
    assert answer.value() == "7"


def test_a_server_without_meters_is_a_gap_and_not_zero(
    stripe_server: StripeServer, reader: StripeReader, asked: Connection
) -> None:
    stripe_server.deny("/v1/billing/meters")
    result = load_meter_event_summaries(reader, asked, AS_OF)
    assert dict(result) == {"meter_event_summaries": 0}
    (status,) = read_sync_status(asked)
    assert status.status == "forbidden"


def test_a_server_that_does_not_know_the_address_is_a_gap(
    wire: Wire, reader_of: ReaderOf, asked: Connection
) -> None:
    wire.answer = lambda _: (404, error("Unrecognized request URL."))
    result = load_meter_event_summaries(reader_of(wire), asked, AS_OF)
    assert dict(result) == {"meter_event_summaries": 0}
    assert read_sync_status(asked)[0].status == "missing"


def test_without_the_table_of_spans_the_message_says_what_to_run(
    reader: StripeReader, warehouse: Connection
) -> None:
    with pytest.raises(PermanentFailure, match=r"int_usage__summary_requests.*dbt"):
        load_meter_event_summaries(reader, warehouse, AS_OF)


def test_there_is_one_call_at_a_time_per_customer_and_meter(
    wire: Wire, reader_of: ReaderOf
) -> None:
    """Stripe answers 429 to a second call for the same customer and meter."""
    open_calls: Counter[str] = Counter()
    most: Counter[str] = Counter()
    lock = threading.Lock()

    def answer(request: Request) -> tuple[int, bytes]:
        customer = request.query["customer"]
        with lock:
            open_calls[customer] += 1
            open_calls["all"] += 1
            most[customer] = max(most[customer], open_calls[customer])
            most["all"] = max(most["all"], open_calls["all"])
        time.sleep(0.01)
        with lock:
            open_calls[customer] -= 1
            open_calls["all"] -= 1
        return 200, as_list([])

    wire.answer = answer
    requests = [
        SummaryRequest("mtr_calls", f"cus_{number}", AS_OF, AS_OF)
        for number in range(8)
        for _ in range(5)
    ]
    answers = list(answers_of(reader_of(wire), requests))
    assert len(answers) == 40
    assert max(most[f"cus_{number}"] for number in range(8)) == 1
    assert most["all"] > 1


def test_an_inactive_meter_still_answers_for_its_past(
    reader_of: ReaderOf, asked: Connection
) -> None:
    account = trap_account()
    account.meter_events.append(
        so.meter_event("old", customer="cus_1", value="5", timestamp=MAY - 3600, identifier="late")
    )
    with StripeServer(account, now=AS_OF) as server:
        load_meter_event_summaries(reader_of(server), asked, AS_OF)
    april = [value for (meter, _, start, _), value in _values(asked).items() if meter == "mtr_old"]
    assert april == [Decimal(5)]


# ---------------------------------------------------------------- asked again, or not


class Nights:
    """Audits of one account, each of which reads what has changed."""

    def __init__(self, server: StripeServer, conn: Connection, reader: StripeReader) -> None:
        self._server, self._conn, self._reader = server, conn, reader

    def __call__(self, as_of: datetime, **more: int) -> int:
        """Audit and give the number of spans that were asked about."""
        self._server.now = as_of
        self._server.forget_requests()
        how = Refresh(incremental=True, source="acct", full_load_days=28, **more)
        for one in (load_events, load_meters, load_meter_event_summaries):
            one(self._reader, self._conn, as_of, how)
        return sum(r.path.endswith("/event_summaries") for r in self._server.requests)


@pytest.fixture
def nights(stripe_server: StripeServer, reader: StripeReader, asked: Connection) -> Nights:
    return Nights(stripe_server, asked, reader)


def _execute(conn: Connection, statement: str) -> None:
    with conn.cursor() as cursor:
        cursor.execute(statement)
    conn.commit()


def test_an_answer_holds_for_a_week_while_the_log_says_the_same(
    nights: Nights, asked: Connection
) -> None:
    assert nights(AS_OF) == 5
    before = _values(asked)
    assert nights(AS_OF + DAY) == 0
    assert _values(asked) == before
    # Asked 36 days after their end, those that ended on the first of May are final.
    assert nights(AS_OF + 8 * DAY) == 1
    assert _values(asked) == before


def test_usage_that_changes_and_spans_that_change_are_asked_about(
    nights: Nights, asked: Connection
) -> None:
    assert nights(AS_OF) == 5
    _execute(
        asked,
        "insert into raw_usage.usage_windows (customer_id, meter, source, window_start,"
        " window_end, event_count, quantity_sum) values ('cus_2', 'calls', '', '2026-05-10',"
        " '2026-05-11', 3, 3);"
        "insert into raw_business.meter_mappings values ('calls', 'calls')"
        " on conflict do nothing;"
        "update intermediate.int_usage__summary_requests set end_at = '2026-05-01 00:03Z'"
        " where start_at = '2026-05-01 00:01Z'",
    )
    with asked.cursor() as cursor:
        cursor.execute(
            "update raw_business.meter_mappings set stripe_event_name ="
            " (select event_name from raw_stripe.meters where meter_id = 'mtr_calls')"
        )
    asked.commit()
    assert nights(AS_OF + DAY) == 2
    assert len(_values(asked)) == 5
    assert nights(AS_OF + 2 * DAY) == 0


def test_an_answer_that_was_given_too_early_is_asked_for_again(
    nights: Nights, asked: Connection
) -> None:
    end = AS_OF - timedelta(hours=3)
    _execute(
        asked,
        f"update intermediate.int_usage__summary_requests set end_at = '{end.isoformat()}'"  # noqa: S608
        " where customer_id = 'cus_2'",
    )
    assert nights(AS_OF) == 5
    assert nights(AS_OF + DAY) == 1
    assert nights(AS_OF + 2 * DAY) == 0


def test_a_used_up_budget_stops_the_questions_and_says_so(
    nights: Nights, asked: Connection
) -> None:
    assert nights(AS_OF, read_budget=8) == 2  # the other six were spent on events and meters
    (detail,) = fetch(
        asked, "select detail from raw_stripe.sync_status where object = 'meter_event_summaries'"
    )
    assert detail[0] == "3 spans were not asked about: the read budget is used up"
    assert nights(AS_OF + DAY, read_budget=1000) == 3
