import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import stripe

from leakage_pipeline.simulator import stripe_objects as build
from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount
from leakage_pipeline.simulator.stripe_server import (
    ApiKey,
    Faults,
    ScriptedFault,
    StripeServer,
)
from tests.unit.simulator.stripe_spec import needs_spec, problems

NOW = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
HOUR, DAY = 3_600, 86_400
MIDNIGHT = SECONDS - 6 * HOUR
START = SECONDS - 100 * DAY
DEAL = build.discount(
    "di_1", coupon="co_gone", start=START, customer="cus_000", subscription="sub_000"
)
TIERED = build.price(
    "price_tiered",
    product="prod_1",
    currency="usd",
    created=START,
    tiers=[build.tier(100, unit_amount=2), build.tier(None, unit_amount="0.5")],
    tiers_mode="graduated",
    usage_type="metered",
    meter="mtr_calls",
    currency_options={"eur": build.currency_option(tiers=[build.tier(None, unit_amount=3)])},
)
FLAT = build.price(
    "price_flat", product="prod_1", currency="usd", created=START + 1, unit_amount="14900"
)
OLD = build.price(
    "price_old",
    product="prod_1",
    currency="usd",
    created=START + 2,
    unit_amount=9900,
    active=False,
)
INLINE = build.price("price_inline", product="prod_1", currency="usd", created=START, unit_amount=1)


def _items(subscription: str, prices: list[JsonObject]) -> list[JsonObject]:
    return [
        build.subscription_item(
            f"si_{subscription}_{number:02d}",
            subscription=subscription,
            price=sold,
            created=START,
            current_period_start=SECONDS - 10 * DAY,
            current_period_end=SECONDS + 20 * DAY,
        )
        for number, sold in enumerate(prices)
    ]


def _subscription(number: int, prices: list[JsonObject], **changes: Any) -> JsonObject:
    key = f"sub_{number:03d}"
    return build.subscription(
        key,
        customer=f"cus_{number:03d}",
        currency="usd",
        created=START + number,
        billing_cycle_anchor=START,
        items=_items(key, prices),
        latest_invoice=f"in_{number:03d}",
        **changes,
    )


def _invoice(number: int, lines: int, **changes: Any) -> JsonObject:
    key = f"in_{number:03d}"
    discounted = number == 0
    return build.invoice(
        key,
        customer=f"cus_{number:03d}",
        currency="usd",
        created=START + number * HOUR,
        subscription=f"sub_{number:03d}",
        discounts=[DEAL] if discounted else [],
        lines=[
            build.line(
                f"il_{number:03d}_{place:03d}",
                invoice=key,
                amount=100,
                currency="usd",
                period_start=START,
                period_end=START + 30 * DAY,
                price=FLAT,
                subscription=f"sub_{number:03d}",
                subscription_item=f"si_sub_{number:03d}_00",
                discount_amounts=[("di_1", 10)] if discounted else [],
            )
            for place in range(lines)
        ],
        **changes,
    )


def make_account() -> StripeAccount:
    account = StripeAccount(
        products=[build.product("prod_1", name="Pro", created=START, metadata={"plan": "pro"})],
        prices=[TIERED, FLAT, OLD],
        inline_prices=[INLINE],
        coupons=[
            build.coupon("co_1", created=START, percent_off=10, applies_to_products=["prod_1"]),
            build.coupon("co_gone", created=START, percent_off="12.5") | {"deleted": True},
        ],
        meters=[
            build.meter("mtr_calls", event_name="calls", created=START),
            build.meter("mtr_count", event_name="jobs", created=START, formula="count"),
            build.meter("mtr_last", event_name="storage", created=START, formula="last"),
            build.meter("mtr_day", event_name="daily", created=START, event_time_window="day"),
            build.meter("mtr_off", event_name="off", created=START, deactivated_at=SECONDS),
        ],
    )
    account.customers = [
        build.customer(f"cus_{n:03d}", created=START + n, email=f"c{n}@example.com")
        for n in range(25)
    ]
    account.customers[0]["discount"] = DEAL
    account.customers.append(build.deleted_customer("cus_dead"))
    account.customers.append(build.customer("cus_clock", created=START, test_clock="clock_1"))
    account.subscriptions = [
        _subscription(0, [FLAT, TIERED], discounts=[DEAL]),
        _subscription(1, [FLAT], status="canceled", ended_at=SECONDS),
        _subscription(2, [FLAT] * 23),
        _subscription(3, [INLINE], status="past_due"),
    ]
    account.invoices = [
        _invoice(0, 3),
        _invoice(1, 12, status="open"),
        _invoice(2, 1, status="draft"),
        _invoice(3, 10),
    ]
    account.invoice_items = [
        build.invoice_item("ii_1", customer="cus_001", amount=5, currency="usd", date=START),
        build.invoice_item(
            "ii_2", customer="cus_001", amount=7, currency="usd", date=START + 1, invoice="in_001"
        ),
    ]
    account.credit_notes = [
        build.credit_note(
            "cn_1",
            invoice=account.invoices[0],
            created=SECONDS,
            lines=[
                build.credit_note_line(f"cnli_{n:02d}", amount=1, invoice_line_item="il_000_000")
                for n in range(11)
            ],
        )
    ]
    return account


def add_events(account: StripeAccount, event_name: str, *events: tuple[int, str]) -> None:
    account.meter_events.extend(
        build.meter_event(
            event_name,
            customer="cus_000",
            value=value,
            timestamp=timestamp,
            identifier=f"{event_name}-{len(account.meter_events)}-{place}",
        )
        for place, (timestamp, value) in enumerate(events)
    )


@pytest.fixture
def server() -> Iterator[StripeServer]:
    with StripeServer(make_account(), now=NOW) as running:
        yield running
        assert running.crashes == []


def client_of(server: StripeServer, **options: Any) -> stripe.StripeClient:
    return stripe.StripeClient(
        server.api_key,
        stripe_version=build.API_VERSION,
        base_addresses={"api": server.base_url},
        http_client=stripe.RequestsClient(timeout=5),
        **options,
    )


@pytest.fixture
def client(server: StripeServer) -> stripe.StripeClient:
    return client_of(server)


def get(server: StripeServer, path: str, **headers: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {server.api_key}", **headers}
    return requests.get(server.base_url + path, headers=headers, timeout=5)


def body(server: StripeServer, path: str) -> Any:
    answer = get(server, path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(server: StripeServer, path: str) -> tuple[int, str | None, str | None]:
    answer = get(server, path)
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    return answer.status_code, error.get("code"), error.get("param")


def ids(listed: Any) -> list[str]:
    return [entry["id"] for entry in listed["data"]]


# ------------------------------------------------------------------ shape


LISTS = [
    "/v1/customers?limit=100",
    "/v1/products?expand[]=data.default_price",
    "/v1/prices?expand[]=data.tiers&expand[]=data.currency_options&expand[]=data.product",
    "/v1/coupons?expand[]=data.applies_to",
    "/v1/subscriptions?status=all&expand[]=data.discounts&expand[]=data.customer",
    "/v1/subscription_items?subscription=sub_002",
    "/v1/invoices?expand[]=data.lines.data.discounts&expand[]=data.discounts.source.coupon",
    "/v1/invoices/in_000/lines?expand[]=data.pricing.price_details.price",
    "/v1/invoiceitems",
    "/v1/credit_notes?expand[]=data.invoice",
    "/v1/credit_notes/cn_1/lines",
    "/v1/billing/meters",
]


@needs_spec
@pytest.mark.parametrize("path", LISTS)
def test_everything_listed_is_valid_by_the_openapi_file(server: StripeServer, path: str) -> None:
    listed = body(server, path)
    assert listed["data"]
    assert (listed["object"], listed["url"]) == ("list", path.partition("?")[0])
    for entry in listed["data"]:
        assert problems(entry) == []


@needs_spec
def test_summaries_events_and_errors_are_valid_by_the_openapi_file(server: StripeServer) -> None:
    account = make_account()
    add_events(account, "calls", (MIDNIGHT, "1.5"))
    server.load(account)
    window = f"customer=cus_000&start_time={MIDNIGHT}&end_time={MIDNIGHT + HOUR}"
    rows = body(server, f"/v1/billing/meters/mtr_calls/event_summaries?{window}")["data"]
    assert [problems(row) for row in rows] == [[]]
    assert problems(get(server, "/v1/nothing").json(), "error") == []


def test_headers_carry_request_id_and_version(server: StripeServer) -> None:
    plain = get(server, "/v1/customers")
    other = get(server, "/v1/customers", **{"Stripe-Version": "2025-09-30.clover"})
    assert plain.headers["Stripe-Version"] == build.API_VERSION
    assert other.headers["Stripe-Version"] == "2025-09-30.clover"
    assert plain.headers["Request-Id"] != other.headers["Request-Id"]
    assert get(server, "/v1/customers", **{"Stripe-Version": "new"}).status_code == 400


# ------------------------------------------------------------------ lists


@pytest.mark.parametrize("limit", [1, 7, 25, 100])
def test_the_sdk_pages_through_everything_newest_first(
    client: stripe.StripeClient, limit: int
) -> None:
    found = [c.id for c in client.v1.customers.list({"limit": limit}).auto_paging_iter()]
    assert found == [f"cus_{n:03d}" for n in reversed(range(25))]


def test_pages_backwards_are_newest_first_too(server: StripeServer) -> None:
    page = body(server, "/v1/customers?limit=3&ending_before=cus_010")
    assert (ids(page), page["has_more"]) == (["cus_013", "cus_012", "cus_011"], True)
    last = body(server, "/v1/customers?limit=3&ending_before=cus_022")
    assert (ids(last), last["has_more"]) == (["cus_024", "cus_023"], False)


def test_ten_objects_without_a_limit(server: StripeServer) -> None:
    page = body(server, "/v1/customers")
    assert (len(page["data"]), page["has_more"]) == (10, True)


def test_objects_of_one_second_keep_a_total_order(server: StripeServer) -> None:
    account = StripeAccount(customers=[build.customer(f"c{n}", created=5) for n in range(7)])
    server.load(account)
    found = [c.id for c in client_of(server).v1.customers.list({"limit": 2}).auto_paging_iter()]
    assert found == [f"c{n}" for n in reversed(range(7))]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        (f"created={START + 3}", [3]),
        (f"created[gte]={START + 3}&created[lt]={START + 6}", [5, 4, 3]),
        (f"created[gt]={START + 3}&created[lte]={START + 6}", [6, 5, 4]),
        (f"created[gt]={START + 100}", []),
        (f"created[lt]={START + 5}&starting_after=cus_003", [2, 1, 0]),
        ("email=c7@example.com", [7]),
    ],
)
def test_customers_by_time_and_email(server: StripeServer, query: str, numbers: list[int]) -> None:
    page = body(server, f"/v1/customers?limit=100&{query}")
    assert (ids(page), page["has_more"]) == ([f"cus_{n:03d}" for n in numbers], False)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/subscriptions", ["sub_003", "sub_002", "sub_000"]),
        ("/v1/subscriptions?status=all", ["sub_003", "sub_002", "sub_001", "sub_000"]),
        ("/v1/subscriptions?status=canceled", ["sub_001"]),
        ("/v1/subscriptions?status=ended", ["sub_001"]),
        ("/v1/subscriptions?status=active", ["sub_002", "sub_000"]),
        ("/v1/subscriptions?customer=cus_000", ["sub_000"]),
        ("/v1/subscriptions?customer=cus_001", []),
        ("/v1/subscriptions?price=price_tiered", ["sub_000"]),
        (f"/v1/subscriptions?current_period_end[gt]={SECONDS + 21 * DAY}", []),
        ("/v1/invoices", ["in_003", "in_002", "in_001", "in_000"]),
        ("/v1/invoices?status=open", ["in_001"]),
        ("/v1/invoices?customer=cus_002", ["in_002"]),
        ("/v1/invoices?subscription=sub_003&status=paid", ["in_003"]),
        ("/v1/invoices?customer=nobody", []),
        ("/v1/prices", ["price_flat", "price_tiered"]),
        ("/v1/prices?active=false", ["price_old"]),
        ("/v1/prices?recurring[usage_type]=metered", ["price_tiered"]),
        ("/v1/prices?product=prod_1&active=true", ["price_flat", "price_tiered"]),
        ("/v1/prices?type=one_time", []),
        ("/v1/products?active=true", ["prod_1"]),
        ("/v1/products?ids[]=prod_2", []),
        ("/v1/coupons", ["co_1"]),
        ("/v1/invoiceitems", ["ii_2", "ii_1"]),
        ("/v1/invoiceitems?pending=true", ["ii_1"]),
        ("/v1/invoiceitems?invoice=in_001", ["ii_2"]),
        ("/v1/credit_notes?invoice=in_000", ["cn_1"]),
        ("/v1/credit_notes?customer=cus_001", []),
        ("/v1/billing/meters?status=inactive", ["mtr_off"]),
        ("/v1/customers?test_clock=clock_1", ["cus_clock"]),
    ],
)
def test_filters(server: StripeServer, path: str, expected: list[str]) -> None:
    assert ids(body(server, path)) == expected


def test_filters_hold_across_pages(server: StripeServer) -> None:
    pages = client_of(server).v1.subscriptions.list({"status": "all", "limit": 1})
    assert [s.id for s in pages.auto_paging_iter()] == ["sub_003", "sub_002", "sub_001", "sub_000"]
    assert all(r.params["status"] == "all" for r in server.requests)


# ------------------------------------------------------------------ what Stripe hides and cuts


def test_inline_and_inactive_prices_are_retrieved_by_id(client: stripe.StripeClient) -> None:
    assert client.v1.prices.retrieve("price_inline").unit_amount == 1
    assert client.v1.prices.retrieve("price_old").active is False


def test_tiers_and_currencies_show_only_when_expanded(server: StripeServer) -> None:
    plain = body(server, "/v1/prices/price_tiered")
    assert plain["unit_amount"] is None
    assert not {"tiers", "currency_options"} & set(plain)
    price = body(
        server,
        "/v1/prices/price_tiered?expand[]=tiers&expand[]=currency_options"
        "&expand[]=currency_options.eur.tiers",
    )
    assert [tier["up_to"] for tier in price["tiers"]] == [100, None]
    assert price["currency_options"]["eur"]["tiers"][0]["unit_amount"] == 3
    assert "tiers" not in price["currency_options"]["usd"]


def test_the_list_expand_needs_its_data_prefix(server: StripeServer) -> None:
    listed = body(server, "/v1/prices?expand[]=data.tiers&expand[]=data.currency_options.eur.tiers")
    by_id = {price["id"]: price for price in listed["data"]}
    assert "tiers" in by_id["price_tiered"]
    assert by_id["price_tiered"]["currency_options"]["eur"]["tiers"]
    assert "tiers" not in by_id["price_flat"]
    answer = get(server, "/v1/prices?expand[]=tiers")
    assert answer.status_code == 400
    assert "data.tiers" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/invoices?expand[]=data.nothing",
        "/v1/invoices?expand[]=data.lines.data.discounts.source",
        "/v1/subscriptions?expand[]=data.items.data.price.tiers",
        "/v1/customers?expand=discount",
        "/v1/customers?expand[]=",
    ],
)
def test_what_cannot_be_expanded_is_refused(server: StripeServer, path: str) -> None:
    assert refusal(server, path)[0] == 400


def test_discounts_are_ids_unless_expanded(server: StripeServer) -> None:
    plain = body(server, "/v1/subscriptions/sub_000")
    assert plain["discounts"] == ["di_1"]
    expanded = body(server, "/v1/subscriptions/sub_000?expand[]=discounts")
    assert expanded["discounts"][0]["source"] == {"coupon": "co_gone", "type": "coupon"}
    deeper = body(server, "/v1/subscriptions/sub_000?expand[]=discounts.source.coupon")
    assert deeper["discounts"][0]["source"]["coupon"]["percent_off"] == 12.5
    customer = body(server, "/v1/customers/cus_000")
    assert customer["discount"]["source"]["coupon"] == "co_gone"


def test_a_deleted_coupon_lives_on_in_its_discounts_only(server: StripeServer) -> None:
    assert refusal(server, "/v1/coupons/co_gone") == (404, "resource_missing", "id")
    assert "applies_to" not in body(server, "/v1/coupons/co_1")
    shown = body(server, "/v1/coupons/co_1?expand[]=applies_to")
    assert shown["applies_to"] == {"products": ["prod_1"]}


def test_ids_expand_into_objects_within_four_levels(client: stripe.StripeClient) -> None:
    found = client.v1.invoices.retrieve(
        "in_000",
        {
            "expand": [
                "customer.discount.source.coupon",
                "parent.subscription_details.subscription.latest_invoice",
                "lines.data.discount_amounts.discount",
                "total_discount_amounts.discount.customer",
            ]
        },
    )
    assert found.customer.discount.source.coupon.id == "co_gone"
    assert found.parent.subscription_details.subscription.latest_invoice.id == "in_000"
    assert found.lines.data[0].discount_amounts[0].discount.id == "di_1"
    assert found.total_discount_amounts[0].discount.customer.id == "cus_000"


def test_expanding_leaves_the_stored_object_alone(server: StripeServer) -> None:
    before = body(server, "/v1/subscriptions/sub_000")
    body(server, "/v1/subscriptions/sub_000?expand[]=discounts&expand[]=items.data.price.tiers")
    assert body(server, "/v1/subscriptions/sub_000") == before


@pytest.mark.parametrize(
    ("invoice", "shown", "more"), [("in_001", 10, True), ("in_003", 10, False)]
)
def test_invoices_show_ten_lines(
    client: stripe.StripeClient, invoice: str, shown: int, more: bool
) -> None:
    lines = client.v1.invoices.retrieve(invoice).lines
    assert (len(lines.data), lines.has_more) == (shown, more)
    every = [line.id for line in lines.auto_paging_iter()]
    number = invoice.removeprefix("in_")
    assert every == [f"il_{number}_{place:03d}" for place in range(12 if more else 10)]


def test_subscriptions_show_twenty_items(client: stripe.StripeClient) -> None:
    items = client.v1.subscriptions.retrieve("sub_002").items
    assert (len(items.data), items.has_more) == (20, True)
    listed = client.v1.subscription_items.list({"subscription": "sub_002", "limit": 9})
    assert len({item.id for item in listed.auto_paging_iter()}) == 23


def test_credit_notes_show_ten_lines(client: stripe.StripeClient) -> None:
    lines = client.v1.credit_notes.retrieve("cn_1").lines
    assert (len(lines.data), lines.has_more) == (10, True)
    assert len(list(client.v1.credit_notes.line_items.list("cn_1").auto_paging_iter())) == 11


def test_a_deleted_customer_is_a_tombstone(server: StripeServer) -> None:
    expected = {"id": "cus_dead", "object": "customer", "deleted": True}
    assert body(server, "/v1/customers/cus_dead") == expected


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/customers/cus_x", (404, "resource_missing", "id")),
        ("/v1/invoices/in_x/lines", (404, "resource_missing", "id")),
        ("/v1/customers?starting_after=cus_x", (400, "resource_missing", "starting_after")),
        ("/v1/customers?starting_after=cus_dead", (400, "resource_missing", "starting_after")),
        ("/v1/invoices/in_001/lines?ending_before=x", (400, "resource_missing", "ending_before")),
        ("/v1/customers?limit=0", (400, "parameter_invalid_integer", "limit")),
        ("/v1/customers?limit=101", (400, "parameter_invalid_integer", "limit")),
        ("/v1/customers?limit=many", (400, "parameter_invalid_integer", "limit")),
        ("/v1/customers?starting_after=cus_001&ending_before=cus_002", (400, None, None)),
        ("/v1/customers?status=active", (400, "parameter_unknown", "status")),
        ("/v1/customers?created[at]=1", (400, "parameter_unknown", "created[at]")),
        ("/v1/customers/cus_001?limit=1", (400, "parameter_unknown", "limit")),
        ("/v1/coupons?active=true", (400, "parameter_unknown", "active")),
        ("/v1/subscriptions?status=gone", (400, None, "status")),
        ("/v1/invoices?customer=", (400, "parameter_invalid_empty", "customer")),
        ("/v1/prices?active=yes", (400, None, "active")),
        ("/v1/subscription_items", (400, "parameter_missing", "subscription")),
        ("/v1/subscription_items?subscription=x", (400, "resource_missing", "subscription")),
        ("/v1/payouts", (404, None, None)),
        ("/v2/core/accounts", (404, None, None)),
    ],
)
def test_requests_that_stripe_refuses(
    server: StripeServer, path: str, expected: tuple[int, str | None, str | None]
) -> None:
    assert refusal(server, path) == expected


def test_a_wrong_key_is_an_authentication_error(server: StripeServer) -> None:
    wrong = stripe.StripeClient("sk_test_wrong_key_1234", base_addresses={"api": server.base_url})
    with pytest.raises(stripe.AuthenticationError, match=r"Invalid API Key provided: sk_test_\*"):
        wrong.v1.customers.list()
    assert requests.get(f"{server.base_url}/v1/customers", timeout=5).status_code == 401
    basic = requests.get(f"{server.base_url}/v1/customers", auth=(server.api_key, ""), timeout=5)
    assert basic.status_code == 200


def test_a_revoked_key_stops_working(server: StripeServer, client: stripe.StripeClient) -> None:
    client.v1.customers.list()
    server.revoke()
    with pytest.raises(stripe.AuthenticationError, match="Expired API Key") as caught:
        client.v1.customers.list()
    assert caught.value.error.code == "api_key_expired"  # the SDK fills .code for other errors only


def test_a_key_lacks_the_permission_for_one_resource(
    server: StripeServer, client: stripe.StripeClient
) -> None:
    server.deny("/v1/invoices")
    client.v1.customers.list()
    with pytest.raises(stripe.PermissionError, match="rak_invoice_read"):
        client.v1.invoices.line_items.list("in_001")
    client.v1.invoice_items.list()


def test_a_read_only_key_cannot_post(server: StripeServer) -> None:
    server.set_key(ApiKey(server.api_key, read_only=True))
    with pytest.raises(stripe.PermissionError):
        send(server, value="1")


# ------------------------------------------------------------------ meter events and summaries


def send(server: StripeServer, *, event_name: str = "calls", **fields: Any) -> Any:
    options = fields.pop("options", {})
    value = fields.pop("value", "1")
    customer = fields.pop("customer", "cus_000")
    return client_of(server).v1.billing.meter_events.create(
        {
            "event_name": event_name,
            "payload": {"stripe_customer_id": customer, "value": value},
            **fields,
        },
        options,
    )


def summary(server: StripeServer, meter: str, start: int, end: int, more: str = "") -> list[Any]:
    window = f"customer=cus_000&start_time={start}&end_time={end}{more}"
    answer = get(server, f"/v1/billing/meters/{meter}/event_summaries?{window}")
    assert answer.status_code == 200, answer.text
    rows = json.loads(answer.text, parse_float=str, parse_int=int)["data"]
    return [row["aggregated_value"] for row in rows]


def test_summaries_follow_the_formula_and_leave_the_end_out(server: StripeServer) -> None:
    account = make_account()
    events = [(MIDNIGHT + 60, "0.1"), (MIDNIGHT, "0.2"), (MIDNIGHT + 120, "7"), (MIDNIGHT - 1, "9")]
    for name in ("calls", "jobs", "storage"):
        add_events(account, name, *events)
    server.load(account)
    assert summary(server, "mtr_calls", MIDNIGHT, MIDNIGHT + 120) == ["0.3"]
    assert summary(server, "mtr_count", MIDNIGHT, MIDNIGHT + 120) == [2]
    assert summary(server, "mtr_last", MIDNIGHT, MIDNIGHT + 120) == ["0.1"]
    assert summary(server, "mtr_calls", MIDNIGHT - 60, MIDNIGHT + 180) == ["16.3"]
    assert summary(server, "mtr_calls", MIDNIGHT + 180, MIDNIGHT + 240) == []


def test_grouped_summaries_have_a_row_per_window_newest_first(server: StripeServer) -> None:
    account = make_account()
    add_events(account, "calls", (MIDNIGHT, "1"), (MIDNIGHT + HOUR, "2"), (MIDNIGHT - 1, "4"))
    server.load(account)
    start, end = MIDNIGHT - DAY, MIDNIGHT + DAY
    assert summary(server, "mtr_calls", start, end, "&value_grouping_window=day") == [3, 4]
    assert summary(server, "mtr_calls", start, end, "&value_grouping_window=hour") == [2, 1, 4]
    listed = client_of(server).v1.billing.meters.event_summaries.list(
        "mtr_calls",
        {
            "customer": "cus_000",
            "start_time": start,
            "end_time": end,
            "value_grouping_window": "hour",
            "limit": 1,
        },
    )
    assert [row.aggregated_value for row in listed.auto_paging_iter()] == [2, 1, 4]


def test_a_pre_aggregated_meter_keeps_the_last_event_of_each_window(server: StripeServer) -> None:
    account = make_account()
    add_events(account, "daily", (MIDNIGHT, "5"), (MIDNIGHT + HOUR, "7"), (MIDNIGHT - DAY, "2"))
    server.load(account)
    assert summary(server, "mtr_day", MIDNIGHT - DAY, MIDNIGHT + DAY) == [9]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("start_time=0&end_time=60", "customer"),
        ("customer=cus_000&end_time=60", "start_time"),
        ("customer=cus_000&start_time=0", "end_time"),
        ("customer=cus_000&start_time=1&end_time=60", "start_time"),
        ("customer=cus_000&start_time=0&end_time=61", "end_time"),
        ("customer=cus_000&start_time=60&end_time=60", "end_time"),
        ("customer=cus_x&start_time=0&end_time=60", "customer"),
        ("customer=cus_000&start_time=60&end_time=3600&value_grouping_window=hour", "start_time"),
        ("customer=cus_000&start_time=0&end_time=3600&value_grouping_window=day", "end_time"),
        (
            "customer=cus_000&start_time=0&end_time=60&value_grouping_window=week",
            "value_grouping_window",
        ),
    ],
)
def test_summary_windows_are_checked(server: StripeServer, query: str, param: str) -> None:
    status, _, named = refusal(server, f"/v1/billing/meters/mtr_calls/event_summaries?{query}")
    assert (status, named) == (400, param)


def test_new_events_show_after_the_lag() -> None:
    with StripeServer(make_account(), now=NOW, summary_lag_seconds=300) as server:
        sent = send(server, value="2.5", timestamp=SECONDS - 60, identifier="e1")
        assert (sent.identifier, sent.timestamp) == ("e1", SECONDS - 60)
        window = ("mtr_calls", SECONDS - HOUR, SECONDS + HOUR)
        assert summary(server, *window) == []
        server.now = NOW + timedelta(seconds=299)
        assert summary(server, *window) == []
        server.now = NOW + timedelta(seconds=300)
        assert summary(server, *window) == ["2.5"]
        assert server.meter_errors == []


def test_an_identifier_is_unique_for_a_day(server: StripeServer) -> None:
    send(server, identifier="once")
    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier once"):
        send(server, identifier="once")
    send(server, identifier="once", event_name="jobs")
    server.now = NOW + timedelta(days=1)
    send(server, identifier="once")
    assert summary(server, "mtr_calls", SECONDS - 60, SECONDS + 2 * DAY) == [2]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"timestamp": SECONDS - 35 * DAY - 1}, "timestamp_too_far_in_past"),
        ({"timestamp": SECONDS + 301}, "timestamp_in_future"),
        ({"value": "1234567890.123456"}, "meter_event_value_too_many_digits"),
        ({"event_name": "x" * 101}, None),
        ({"identifier": "x" * 101}, None),
        ({"amount": 5}, "parameter_unknown"),
    ],
)
def test_events_refused_at_once(
    server: StripeServer, fields: dict[str, Any], code: str | None
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        send(server, **fields)
    assert (caught.value.http_status, caught.value.code) == (400, code)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"event_name": "unknown"}, "no_meter"),
        ({"event_name": "off"}, "archived_meter"),
        ({"customer": "cus_x"}, "meter_event_customer_not_found"),
        ({"customer": ""}, "meter_event_no_customer_defined"),
        ({"value": "many"}, "meter_event_invalid_value"),
    ],
)
def test_events_accepted_and_rejected_later(
    server: StripeServer, fields: dict[str, Any], code: str
) -> None:
    send(server, identifier="e1", **fields)
    assert [(error.code, error.identifier) for error in server.meter_errors] == [(code, "e1")]
    assert summary(server, "mtr_calls", SECONDS - 60, SECONDS + 60) == []


@pytest.mark.parametrize(
    ("value", "total"), [("-3", 2), ("0.00001", "5.00001"), ("999999999999999", 1000000000000004)]
)
def test_values_stay_exact(server: StripeServer, value: str, total: object) -> None:
    send(server, value="5")
    send(server, value=value, timestamp=SECONDS - 35 * DAY)
    assert summary(server, "mtr_calls", SECONDS - 36 * DAY, SECONDS + 60) == [total]


def test_an_adjustment_cancels_an_event_for_a_day(server: StripeServer) -> None:
    client = client_of(server)
    cancel = {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "e1"}}
    with pytest.raises(stripe.InvalidRequestError, match="No meter event found"):
        client.v1.billing.meter_event_adjustments.create(cancel)
    send(server, identifier="e1", value="5")
    send(server, identifier="e2", value="7")
    assert client.v1.billing.meter_event_adjustments.create(cancel).status == "pending"
    assert summary(server, "mtr_calls", SECONDS - 60, SECONDS + 60) == [7]
    server.now = NOW + timedelta(days=1, seconds=1)
    cancel["cancel"] = {"identifier": "e2"}
    with pytest.raises(stripe.InvalidRequestError, match="within 24 hours"):
        client.v1.billing.meter_event_adjustments.create(cancel)


def test_an_idempotency_key_replays_and_guards(server: StripeServer) -> None:
    first = send(server, value="5", options={"idempotency_key": "k1"})
    again = send(server, value="5", options={"idempotency_key": "k1"})
    assert again.identifier == first.identifier
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        send(server, value="6", options={"idempotency_key": "k1"})
    assert summary(server, "mtr_calls", SECONDS - 60, SECONDS + 60) == [5]


# ------------------------------------------------------------------ faults


def test_rate_limits_reach_the_client_with_their_headers(server: StripeServer) -> None:
    server.script(ScriptedFault("/v1/customers", status=429, retry_after=2))
    with pytest.raises(stripe.RateLimitError) as caught:
        client_of(server).v1.customers.list()
    assert caught.value.headers["Retry-After"] == "2"
    assert caught.value.headers["stripe-rate-limited-reason"] == "endpoint-rate"
    assert len(client_of(server).v1.customers.list().data) == 10


def test_the_sdk_retries_what_the_header_allows(server: StripeServer) -> None:
    server.script(ScriptedFault("/v1/customers*", status=429, should_retry=True))
    client_of(server, max_network_retries=2).v1.customers.retrieve("cus_001")
    assert [record.status for record in server.requests] == [429, 200]


def test_the_sdk_retries_server_errors(server: StripeServer) -> None:
    server.script(ScriptedFault("/v1/prices", status=500))
    client = client_of(server, max_network_retries=3)
    assert len(client.v1.prices.list().data) == 2
    assert [record.status for record in server.requests] == [500, 200]


def test_an_answer_cut_in_the_middle_is_an_error_that_the_sdk_does_not_retry(
    server: StripeServer,
) -> None:
    server.script(ScriptedFault("/v1/*", cut=True))
    with pytest.raises(stripe.APIConnectionError, match="IncompleteRead"):
        client_of(server, max_network_retries=3).v1.customers.list()
    assert [record.status for record in server.requests] == [0]


def test_an_event_whose_answer_was_cut_is_counted_once(server: StripeServer) -> None:
    server.script(ScriptedFault("/v1/billing/meter_events", method="POST", cut=True))
    options = {"idempotency_key": "k1"}
    with pytest.raises(stripe.APIConnectionError):
        send(server, value="3", options=options)
    send(server, value="3", options=options)
    assert [record.status for record in server.requests] == [0, 200]
    assert summary(server, "mtr_calls", SECONDS - 60, SECONDS + 60) == [3]


def test_scripts_skip_and_run_out(server: StripeServer) -> None:
    server.script(ScriptedFault("/v1/customers", status=503, skip=1, times=2))
    answers = [get(server, "/v1/customers").status_code for _ in range(5)]
    assert answers == [200, 503, 503, 200, 200]


def test_random_faults_repeat_with_their_seed(server: StripeServer) -> None:
    def run(seed: int) -> list[int]:
        server.forget_requests()
        server.set_faults(Faults(seed=seed, rate_429=0.3, rate_500=0.2, rate_cut=0.2))
        for _ in range(30):
            try:
                get(server, "/v1/coupons")
            except requests.RequestException:
                continue
        return [record.status for record in server.requests]

    first = run(1)
    assert set(first) == {200, 429, 500, 0}
    assert first == run(1)
    assert first != run(2)


def test_a_stalled_answer_does_not_hold_up_the_end() -> None:
    faults = Faults(rate_stall=1.0, stall_seconds=60)
    begun = time.monotonic()
    with StripeServer(make_account(), now=NOW, faults=faults) as server:
        headers = {"Authorization": f"Bearer {server.api_key}"}
        with pytest.raises(requests.Timeout):
            requests.get(f"{server.base_url}/v1/coupons", headers=headers, timeout=0.2)
    assert time.monotonic() - begun < 10


def test_a_rate_limit_of_its_own_and_the_rate_that_was_seen(server: StripeServer) -> None:
    server.set_faults(Faults(requests_per_second=3))
    statuses = [get(server, "/v1/coupons").status_code for _ in range(6)]
    assert statuses[:3] == [200, 200, 200]
    assert server.max_rate(60) == 6
    assert {record.path for record in server.requests} == {"/v1/coupons"}


# ------------------------------------------------------------------ running


def test_many_clients_at_once_get_whole_answers(server: StripeServer) -> None:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    def read(_: int) -> int:
        pages = client_of(server).v1.customers.list({"limit": 5})
        return len(list(pages.auto_paging_iter()))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(16))) == [25] * 16
    assert len(server.requests) == 16 * 5


def test_a_page_of_a_hundred_invoices_is_quick() -> None:
    account = make_account()
    account.invoices = [_invoice(number, 5) for number in range(1_000)]
    with StripeServer(account, now=NOW) as server, requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {server.api_key}"
        url = f"{server.base_url}/v1/invoices?limit=100&starting_after=in_500"
        assert len(session.get(url, timeout=5).json()["data"]) == 100
        taken = []
        for _ in range(5):
            begun = time.perf_counter()
            session.get(url, timeout=5)
            taken.append(time.perf_counter() - begun)
    assert min(taken) < 0.1


def test_an_account_with_one_id_twice_is_refused() -> None:
    account = StripeAccount(customers=[build.customer("cus_1", created=1)] * 2)
    with pytest.raises(ValueError, match="customer cus_1 is in the account twice"):
        StripeServer(account, now=NOW)


def test_it_runs_from_the_command_line(tmp_path: Path) -> None:
    make_account().to_json(tmp_path / "account.json")
    command = [sys.executable, "-m", "leakage_pipeline.simulator.stripe_server"]
    arguments = [str(tmp_path / "account.json"), "--port", "0", "--as-of", "2026-11-20T06:00:00"]
    with subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as process:
        try:
            assert process.stdout is not None
            found = dict(process.stdout.readline().strip().split("=") for _ in range(2))
            answer = requests.get(
                f"{found['STRIPE_API_BASE']}/v1/coupons",
                headers={"Authorization": f"Bearer {found['STRIPE_API_KEY']}"},
                timeout=5,
            )
            assert ids(answer.json()) == ["co_1"]
        finally:
            process.terminate()
