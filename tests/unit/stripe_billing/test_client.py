import socket
import time
from collections.abc import Callable
from decimal import Decimal

import pytest
import stripe

from leakage_pipeline.failures import ConfigurationError, PermanentFailure, TransientFailure
from leakage_pipeline.simulator.stripe_server import Faults, ScriptedFault, StripeServer
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.concurrency import gather
from leakage_pipeline.stripe_billing.errors import (
    EndpointForbidden,
    EndpointMissing,
    RequestRefused,
)
from leakage_pipeline.stripe_billing.objects import OBJECTS, STRIPE_VERSION
from leakage_pipeline.stripe_billing.transport import usual_rate
from tests.unit.stripe_billing.conftest import ReaderOf, Wire, as_list, error


def _ids(reader: StripeReader, name: str, **params: object) -> list[str]:
    return [item["id"] for page in reader.list(name, **params) for item in page.objects]


# ---------------------------------------------------------------- what is sent


def test_every_request_pins_the_version_and_asks_for_full_pages(
    wire: Wire, reader_of: ReaderOf
) -> None:
    list(reader_of(wire).list("subscriptions"))
    (request,) = wire.requests
    assert request.headers["Stripe-Version"] == STRIPE_VERSION == "2026-10-28.endive"
    assert request.headers["Authorization"] == "Bearer rk_test_wire"
    assert request.query["limit"] == "100"
    assert request.query["status"] == "all"
    assert request.query["expand[0]"] == "data.discounts.source.coupon"


def test_no_expand_is_deeper_than_stripe_allows() -> None:
    for target in OBJECTS.values():
        choices = [*target.expands, *(choice for e in target.embedded for choice in e.expands)]
        assert all(1 + len(name.split(".")) <= 4 for choice in choices for name in choice)


def test_the_sdk_sends_no_telemetry(wire: Wire, reader_of: ReaderOf) -> None:
    reader = reader_of(wire)
    list(reader.list("customers"))
    list(reader.list("customers"))
    assert stripe.enable_telemetry is False
    assert all("X-Stripe-Client-Telemetry" not in request.headers for request in wire.requests)
    assert all("telemetry_id" not in str(request.headers) for request in wire.requests)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    wire: Wire, reader_of: ReaderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert _ids(reader_of(wire), "customers") == []


@pytest.mark.parametrize("key", ["", "  ", "rk test", "rk_\u00e9"])
def test_an_impossible_key_is_a_configuration_error(key: str) -> None:
    with pytest.raises(ConfigurationError, match="STRIPE_API_KEY"):
        StripeReader(key)


# ---------------------------------------------------------------- what comes back


def test_pages_follow_the_cursor_and_keep_their_filters(
    stripe_server: StripeServer, reader: StripeReader
) -> None:
    found = _ids(reader, "customers", created={"lte": 1_800_000_000})
    assert set(found) == {"cus_1", "cus_2", "cus_future"}
    assert "lte" in str(stripe_server.requests[0].params)


def test_numbers_with_a_point_are_exact_decimals(wire: Wire, reader_of: ReaderOf) -> None:
    coupon = b'{"id": "co_1", "percent_off": 33.333333333333333333, "n": 7}'
    wire.answer = lambda _: (200, b'{"data": [%s], "has_more": false}' % coupon)
    (page,) = reader_of(wire).list("coupons")
    assert page.objects[0]["percent_off"] == Decimal("33.333333333333333333")
    assert page.objects[0]["n"] == 7


def test_an_object_that_is_not_there_is_none(reader: StripeReader) -> None:
    assert reader.retrieve("coupons", "co_gone") is None
    assert reader.retrieve("customers", "cus_gone")["deleted"] is True


def test_a_server_that_repeats_its_pages_does_not_hold_us_for_ever(
    wire: Wire, reader_of: ReaderOf
) -> None:
    wire.answer = lambda _: (200, as_list([{"id": "cus_1"}], has_more=True))
    with pytest.raises(PermanentFailure, match="does not get past cus_1"):
        list(reader_of(wire).list("customers"))
    wire.answer = lambda _: (200, as_list([], has_more=True))
    with pytest.raises(PermanentFailure, match="repeats"):
        list(reader_of(wire).list("customers"))


def test_json_that_is_no_stripe_list_is_said_to_be_none(wire: Wire, reader_of: ReaderOf) -> None:
    wire.answer = lambda _: (200, b'{"hello": "world"}')
    with pytest.raises(PermanentFailure, match="STRIPE_API_BASE"):
        list(reader_of(wire).list("customers"))


def test_an_expand_that_a_server_refuses_is_given_up_and_noted(
    wire: Wire, reader_of: ReaderOf
) -> None:
    def answer(request: object) -> tuple[int, bytes]:
        deep = "source" in str(request.query)
        refusal = error("This property cannot be expanded (source).", param="expand")
        return (400, refusal) if deep else (200, as_list([{"id": "sub_1"}]))

    wire.answer = answer
    reader = reader_of(wire)
    assert _ids(reader, "subscriptions") == ["sub_1"]
    assert _ids(reader, "subscriptions") == ["sub_1"]
    assert "cannot be expanded" in reader.concessions["subscriptions"]
    assert len(wire.requests) == 4  # two choices are refused; the second list remembers


# ---------------------------------------------------------------- what passes by itself


@pytest.mark.parametrize(
    "fault",
    [
        ScriptedFault("/v1/customers", status=429, times=2),
        ScriptedFault("/v1/customers", status=409, times=2),
        ScriptedFault("/v1/customers", status=500, times=3, should_retry=False),
        ScriptedFault("/v1/customers", status=503, times=2),
        ScriptedFault("/v1/customers", cut=True, times=2),
    ],
    ids=["429", "409", "500", "503", "cut"],
)
def test_a_passing_fault_is_ridden_out(
    fault: ScriptedFault, stripe_server: StripeServer, reader: StripeReader
) -> None:
    stripe_server.script(fault)
    assert len(_ids(reader, "customers")) == 3
    assert reader.retries["customers"] == fault.times
    assert reader.requests["customers"] == fault.times + 1


def test_half_a_body_is_asked_for_again(wire: Wire, reader_of: ReaderOf) -> None:
    whole = as_list([{"id": "cus_1"}])
    bodies = [whole[:20], b"<html>gateway</html>", whole]
    wire.answer = lambda _: (200, bodies[len(wire.requests) - 1])
    assert _ids(reader_of(wire), "customers") == ["cus_1"]


def test_a_stalled_answer_is_asked_for_again(
    stripe_server: StripeServer, reader_of: ReaderOf
) -> None:
    stripe_server.script(ScriptedFault("/v1/customers", status=None, stall_seconds=2.0))
    reader = reader_of(stripe_server, timeout=(1.0, 0.3))
    assert len(_ids(reader, "customers")) == 3
    assert reader.retries["customers"] == 1


def test_retry_after_is_honoured(stripe_server: StripeServer, reader: StripeReader) -> None:
    stripe_server.script(ScriptedFault("/v1/customers", status=429, retry_after=1))
    before = time.monotonic()
    assert len(_ids(reader, "customers")) == 3
    assert time.monotonic() - before >= 1


def test_a_limit_of_the_whole_account_makes_every_thread_wait(
    wire: Wire, reader_of: ReaderOf
) -> None:
    reader = reader_of(wire, first_delay=0.4)
    wire.answer = lambda _: (
        (429, error("slow down")) if len(wire.requests) == 1 else (200, as_list([]))
    )
    list(reader.list("customers"))  # no reason header: taken for the account's limit
    before = time.monotonic()
    reader._limiter.pause(0.3)
    list(reader.list("prices"))
    assert time.monotonic() - before >= 0.3


def test_a_server_that_stays_down_ends_in_one_line(
    stripe_server: StripeServer, reader_of: ReaderOf
) -> None:
    stripe_server.set_faults(Faults(rate_500=1.0))
    reader = reader_of(stripe_server, max_attempts=4)
    with pytest.raises(TransientFailure, match=r"500.*gave up after 4 tries") as caught:
        list(reader.list("customers"))
    assert "\n" not in str(caught.value)
    assert reader.requests["customers"] == 4


def test_an_address_where_nobody_answers_fails_within_seconds() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    before = time.monotonic()
    with pytest.raises(TransientFailure, match=r"connection refused.*STRIPE_API_BASE") as caught:
        list(StripeReader("rk_test_secret", address).list("customers"))
    assert time.monotonic() - before < 10
    assert "secret" not in str(caught.value)


def test_an_address_that_is_no_url_is_not_tried_again() -> None:
    with pytest.raises(PermanentFailure, match="STRIPE_API_BASE"):
        list(StripeReader("rk_test_1", "nonsense").list("customers"))


# ---------------------------------------------------------------- what does not


def test_a_revoked_key_is_named_by_its_variable_and_never_shown(
    stripe_server: StripeServer, reader: StripeReader
) -> None:
    stripe_server.revoke()
    with pytest.raises(PermanentFailure, match=r"STRIPE_API_KEY.*401") as caught:
        list(reader.list("customers"))
    assert stripe_server.api_key not in str(caught.value)
    assert len(stripe_server.requests) == 1


def test_a_missing_permission_is_named(stripe_server: StripeServer, reader: StripeReader) -> None:
    stripe_server.deny("/v1/credit_notes")
    with pytest.raises(EndpointForbidden, match="rak_credit_note_read"):
        list(reader.list("credit_notes"))
    assert len(stripe_server.requests) == 1


def test_a_wrong_parameter_is_named(reader: StripeReader) -> None:
    with pytest.raises(RequestRefused, match="colour") as caught:
        list(reader.list("customers", colour="red"))
    assert caught.value.is_about("colour")


def test_an_endpoint_that_a_server_does_not_have_is_told_from_a_missing_object(
    wire: Wire, reader_of: ReaderOf
) -> None:
    wire.answer = lambda _: (404, error("Unrecognized request URL (GET: /v1/billing/meters)."))
    with pytest.raises(EndpointMissing, match="404"):
        list(reader_of(wire).list("meters"))


# ---------------------------------------------------------------- how fast


def test_the_rate_is_never_exceeded_whatever_the_threads_do(
    stripe_server: StripeServer, reader_of: ReaderOf
) -> None:
    reader = reader_of(stripe_server, rate_limit=40.0)
    stripe_server.set_faults(Faults(rate_500=0.2, seed=3))

    def ask() -> Callable[[], list[object]]:
        return lambda: [reader.retrieve("customers", "cus_1")]

    workers = 6
    assert len(list(gather([ask() for _ in range(60)], workers=workers))) == 60
    # What a busy machine holds up on its way, a request per worker, may arrive together; that the
    # limiter itself lets nobody go early is tested with its own clock.
    assert stripe_server.max_rate() <= 40 + workers


def test_the_usual_rate_is_gentle_with_stripe_and_quick_on_this_machine() -> None:
    assert usual_rate(None) == usual_rate("https://api.stripe.com") == 20
    assert usual_rate("http://127.0.0.1:8080") == usual_rate("http://localhost:1") == 500
    assert usual_rate("http://localhost.example.com") == 20
