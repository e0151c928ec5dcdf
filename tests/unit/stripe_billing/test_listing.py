import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from leakage_pipeline.failures import TransientFailure
from leakage_pipeline.simulator import stripe_objects as so
from leakage_pipeline.simulator.stripe_server import Faults, ScriptedFault, StripeServer
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.listing import read_list
from tests.unit.stripe_billing.conftest import Answer, ReaderOf, Request, Wire, as_list, error
from tests.unit.stripe_billing.trap_account import AS_OF, JAN

JUST_NOW = int(AS_OF.timestamp())


def _ids(reader: StripeReader, name: str, as_of: datetime = AS_OF, **options: Any) -> list[str]:
    return [item["id"] for page in read_list(reader, name, as_of, **options) for item in page]


def _customers(times: list[int]) -> list[so.JsonObject]:
    return [so.customer(f"cus_{number}", created=time) for number, time in enumerate(times)]


def _rng() -> random.Random:
    return random.Random(7)  # noqa: S311 - reproducible, not secret


SPREADS = {
    "even": lambda rng: rng.randint(JAN, JUST_NOW),
    "one second": lambda _: JAN,
    "bursts": lambda rng: JAN + 86_400 * 30 * rng.randint(0, 4) + rng.randint(0, 2),
    "long history": lambda rng: rng.choice([rng.randint(1_400_000_000, JAN), JUST_NOW]),
}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("workers", [1, 5])
def test_a_long_list_is_read_whole_and_once_whatever_its_spread(
    spread: str, workers: int, reader_of: ReaderOf
) -> None:
    rng = _rng()
    account = so.StripeAccount(customers=_customers([SPREADS[spread](rng) for _ in range(1203)]))
    with StripeServer(account, now=AS_OF) as server:
        reader = reader_of(server, workers=workers)
        found = Counter(_ids(reader, "customers"))
    assert len(found) == 1203
    assert set(found.values()) == {1}
    # 13 pages are needed; a split costs at most one more each.
    assert reader.requests["customers"] <= 13 + 25


def test_a_short_list_is_one_request(reader: StripeReader) -> None:
    assert set(_ids(reader, "customers")) == {"cus_1", "cus_2"}
    assert reader.requests["customers"] == 1


def test_faults_in_mid_list_change_nothing(reader_of: ReaderOf) -> None:
    rng = _rng()
    times = [rng.randint(JAN, JUST_NOW) for _ in range(900)]
    faults = Faults(seed=5, rate_429=0.1, rate_500=0.1, rate_cut=0.1)
    with StripeServer(so.StripeAccount(customers=_customers(times)), now=AS_OF) as server:
        calm = sorted(_ids(reader_of(server), "customers"))
        server.set_faults(faults)
        assert sorted(_ids(reader_of(server), "customers")) == calm


def test_a_page_that_stays_broken_ends_the_reading(reader_of: ReaderOf) -> None:
    times = [JAN + number * 3600 for number in range(500)]
    with StripeServer(so.StripeAccount(customers=_customers(times)), now=AS_OF) as server:
        server.script(ScriptedFault("/v1/customers", status=500, skip=2, times=1000))
        with pytest.raises(TransientFailure, match="500"):
            _ids(reader_of(server, max_attempts=2), "customers")


def test_what_was_created_after_as_of_does_not_count(reader: StripeReader) -> None:
    assert "cus_future" not in _ids(reader, "customers")
    before = datetime(2025, 12, 1, tzinfo=UTC)
    assert _ids(reader, "customers", before) == []


def test_canceled_subscriptions_and_inactive_prices_and_meters_are_read(
    reader: StripeReader,
) -> None:
    assert set(_ids(reader, "subscriptions")) == {"sub_1", "sub_canceled"}
    assert set(_ids(reader, "prices")) == {"price_seat", "price_calls", "price_old"}
    assert set(_ids(reader, "meters")) == {"mtr_calls", "mtr_old"}


def test_embedded_lists_that_stripe_cuts_are_completed(
    stripe_server: StripeServer, reader: StripeReader
) -> None:
    subscriptions = [item for page in read_list(reader, "subscriptions", AS_OF) for item in page]
    by_id = {item["id"]: item for item in subscriptions}
    assert len(by_id["sub_1"]["items"]["data"]) == 24
    assert len(by_id["sub_canceled"]["items"]["data"]) == 1
    (invoice,) = [item for page in read_list(reader, "invoices", AS_OF) for item in page]
    assert [line["id"] for line in invoice["lines"]["data"]][:3] == ["il_0", "il_1", "il_2"]
    assert len(invoice["lines"]["data"]) == 16
    asked = [request.path for request in stripe_server.requests]
    assert asked.count("/v1/invoices/in_1/lines") == 1
    assert asked.count("/v1/subscription_items") == 1  # none for the one that was whole


def test_an_invoice_sent_without_lines_gets_them(wire: Wire, reader_of: ReaderOf) -> None:
    def answer(request: Request) -> tuple[int, bytes]:
        if request.path.endswith("/lines"):
            return 200, as_list([{"id": "il_1"}])
        return 200, as_list([{"id": "in_1", "created": JAN}])

    wire.answer = answer
    ((invoice,),) = read_list(reader_of(wire), "invoices", AS_OF)
    assert invoice["lines"]["data"] == [{"id": "il_1"}]


# ---------------------------------------------------------------- servers that are not quite Stripe


def _listing(
    objects: list[so.JsonObject], *, filters: bool = True, refuses: bool = False
) -> Answer:
    """A list endpoint over objects in the given order."""

    def answer(request: Request) -> tuple[int, bytes]:
        bounds = {key: int(value) for key, value in request.query.items() if "created" in key}
        if refuses and bounds:
            return 400, error("Received unknown parameter: created", param="created")
        low, high = bounds.get("created[gte]", 0), bounds.get("created[lte]", 2**40)
        shown = [item for item in objects if not filters or low <= item["created"] <= high]
        after = request.query.get("starting_after")
        ids = [item["id"] for item in shown]
        start = ids.index(after) + 1 if after else 0
        page = shown[start : start + 100]
        return 200, as_list(page, has_more=start + 100 < len(shown))

    return answer


@pytest.mark.parametrize(
    ("order", "options"),
    [
        ("newest first", {"filters": False}),
        ("newest first", {"refuses": True}),
        ("oldest first", {}),
        ("oldest first", {"filters": False}),
        ("shuffled", {"filters": False}),
    ],
)
def test_servers_with_another_order_or_without_the_filter_are_read_whole(
    order: str, options: dict[str, bool], wire: Wire, reader_of: ReaderOf
) -> None:
    customers = _customers([JAN + number * 7200 for number in range(850)])
    late = so.customer("cus_late", created=JUST_NOW + 1)
    objects = [*customers, late]
    if order == "newest first":
        objects.reverse()
    elif order == "shuffled":
        _rng().shuffle(objects)
    wire.answer = _listing(objects, **options)
    found = Counter(_ids(reader_of(wire), "customers"))
    assert found == Counter(customer["id"] for customer in customers)


def test_objects_shown_by_both_variants_of_a_list_count_once(
    wire: Wire, reader_of: ReaderOf
) -> None:
    wire.answer = lambda _: (200, as_list([{"id": "price_1", "created": JAN}]))
    assert _ids(reader_of(wire), "prices") == ["price_1"]
    assert len(wire.requests) == 2
