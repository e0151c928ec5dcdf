"""The customers of the billing model's worked examples, one for each."""

from datetime import datetime
from typing import Any

from leakage_pipeline.simulator import stripe_objects as so
from tests.support.licence_story import Change, Licence, Story
from tests.support.small_company import Item, SmallCompany

FIRST, SECOND, THIRD = "2026-10-10T14:23:07", "2026-11-10T14:23:07", "2026-12-10T14:23:07"
PERIODS = (FIRST, SECOND, THIRD)
CLOSED, OPEN = (FIRST, SECOND), (SECOND, THIRD)


def _contract(company: SmallCompany, customer: str, **terms: Any) -> None:
    company.contracts.append(
        {
            "contract_id": f"ctr_{customer}",
            "customer_id": customer,
            "currency": "usd",
            "interval": "month",
            "effective_date": "2026-01-01",
            **terms,
        }
    )


def _example_1_outdated_pricing(company: SmallCompany) -> None:
    old = company.price("pro_2022", "pro", unit_amount=9900, created=company.created - 86400)
    company.subscribe("cus_1", [Item(old)], periods=PERIODS)
    company.licence_invoices("cus_1", old, 9900, PERIODS)


def _example_2_missing_overage(company: SmallCompany) -> None:
    price = company.price("custom_2", "custom", unit_amount=20000)
    company.subscribe("cus_2", [Item(price)], periods=PERIODS)
    company.licence_invoices("cus_2", price, 20000, PERIODS)
    _contract(
        company,
        "cus_2",
        included_usage={"api_calls": 10000},
        overage_rates={"api_calls": {"price": "5.00", "per": 1000, "rounding": "up"}},
    )
    company.use("cus_2", "api_calls", 25000, "2026-10-15T00:00:00")


def _example_3_incorrect_discount(company: SmallCompany, pro: so.JsonObject) -> None:
    company.account.coupons.append(
        so.coupon("annual15", created=company.created, percent_off=15, duration="forever")
    )
    discount = so.discount(
        "di_3", coupon="annual15", start=so_at(FIRST), customer="cus_3", subscription="sub_cus_3"
    )
    company.subscribe("cus_3", [Item(pro)], periods=PERIODS, discounts=[discount])
    for period in (CLOSED, OPEN):
        line = company.line("sub_cus_3", pro, 14900, period, discount_amounts=[("di_3", 2235)])
        company.invoice("cus_3", period[0], [line], discounts=[discount])
    _contract(
        company, "cus_3", plan="pro", discount_percent=15, discount_reason="annual_commitment"
    )


def _example_4_feature_leakage(company: SmallCompany, basic: so.JsonObject) -> None:
    company.subscribe("cus_4", [Item(basic)], periods=PERIODS)
    company.licence_invoices("cus_4", basic, 4900, PERIODS)
    company.accounts.append(
        {
            "account_id": "acc_4",
            "customer_id": "cus_4",
            "plan": "basic",
            "status": "active",
            "access_enabled": True,
            "seats": 1,
            "features": ["reports", "sso"],
            "updated_at": "2026-09-01T00:00:00Z",
        }
    )


def _metered(
    company: SmallCompany,
    customer: str,
    price: so.JsonObject,
    licence: so.JsonObject,
    usage_line: tuple[int, int] | None,
) -> None:
    """A subscription whose first period's usage line carries (quantity, amount in minor units)."""
    subscription = company.subscribe(customer, [Item(licence), Item(price)], periods=PERIODS)
    amount = licence["unit_amount"]
    company.invoice(customer, FIRST, [company.line(subscription, licence, amount, CLOSED)])
    lines = [company.line(subscription, licence, amount, OPEN)]
    if usage_line is not None:
        quantity, billed = usage_line
        lines.append(company.line(subscription, price, billed, CLOSED, quantity=quantity))
    company.invoice(customer, SECOND, lines)


def _example_5_unreported_usage(company: SmallCompany, basic: so.JsonObject) -> None:
    price = company.price(
        "minutes", unit_amount=10, usage_type="metered", meter=company.meter("transcode_min")
    )
    company.meters["transcode_minutes"] = "transcode_min"
    _metered(company, "cus_5", price, basic, (460_000, 4_600_000))
    company.use("cus_5", "transcode_minutes", 460_000, "2026-10-20T00:00:00", source="encode_hd")
    company.use("cus_5", "transcode_minutes", 40_000, "2026-10-21T00:00:00", source="encode_4k")
    company.meter_event("cus_5", "transcode_min", 460_000, "2026-10-20T00:00:00")


def _example_6_graduated(company: SmallCompany) -> None:
    price = company.price("custom_6", "custom", unit_amount=20000)
    company.subscribe("cus_6", [Item(price)], periods=PERIODS)
    company.licence_invoices("cus_6", price, 20000, PERIODS)
    tiers = [
        {"up_to": 50000, "unit_amount": "0.005", "flat_amount": "0"},
        {"up_to": None, "unit_amount": "0.004"},
    ]
    _contract(
        company,
        "cus_6",
        included_usage={"api_calls": 10000},
        overage_rates={"api_calls": {"tiers_mode": "graduated", "tiers": tiers}},
    )
    company.use("cus_6", "api_calls", 85000, "2026-10-15T00:00:00")


def _examples_7_8_grace(company: SmallCompany) -> None:
    for customer, used in (("cus_7", 10_400), ("cus_8", 10_501)):
        price = company.price(f"custom_{customer}", "custom", unit_amount=20000)
        company.subscribe(customer, [Item(price)], periods=PERIODS)
        company.licence_invoices(customer, price, 20000, PERIODS)
        _contract(
            company,
            customer,
            included_usage={"api_calls": 10000},
            grace_percent=5,
            overage_rates={"api_calls_per_1000": 5.00},
        )
        company.use(customer, "api_calls", used, "2026-10-15T00:00:00")


def _example_9_unbilled_proration(
    company: SmallCompany, basic: so.JsonObject, pro: so.JsonObject
) -> None:
    """Basic goes and Pro comes half-way through 30 days: another item, so no event is needed."""
    bounds = (
        "2026-09-11T14:23:07",
        "2026-10-11T14:23:07",
        "2026-11-11T14:23:07",
        "2026-12-11T14:23:07",
    )
    half = "2026-09-26T14:23:07"
    changes = [
        Change(half, Licence(basic, 0), billed=()),
        Change(half, Licence(pro), item="b", billed=()),
    ]
    Story("cus_9", bounds, {"a": Licence(basic)}, changes).tell(company)


def _examples_10_to_12_usage_gaps(company: SmallCompany, basic: so.JsonObject) -> None:
    price = company.price("jobs", unit_amount=10, usage_type="metered", meter=company.meter("jobs"))
    for customer, metered, used in (
        ("cus_10", 1000, 1040),
        ("cus_11", 0, 40),
        ("cus_12", 1200, 1000),
    ):
        _metered(company, customer, price, basic, (metered, metered * 10))
        company.use(customer, "jobs", used, "2026-10-20T00:00:00")
        if metered:
            company.meter_event(customer, "jobs", metered, "2026-10-20T00:00:00")


def _example_13_yen(company: SmallCompany) -> None:
    price = company.price(
        "basic_jpy", "basic", unit_amount=4000, currency="jpy", created=company.created - 1
    )
    company.subscribe("cus_13", [Item(price)], periods=PERIODS, currency="jpy")
    company.licence_invoices("cus_13", price, 4000, PERIODS)


def _example_14_period_edge(company: SmallCompany, basic: so.JsonObject) -> None:
    meter = company.meter("edges")
    price = company.price("edges", unit_amount=100, usage_type="metered", meter=meter)
    bounds = ("2026-01-31T14:23:07", "2026-02-28T14:23:07", "2026-03-31T14:23:07")
    subscription = company.subscribe("cus_14", [Item(basic), Item(price)], periods=bounds)
    first, second = (bounds[0], bounds[1]), (bounds[1], bounds[2])
    company.invoice("cus_14", bounds[0], [company.line(subscription, basic, 4900, first)])
    lines = [
        company.line(subscription, basic, 4900, second),
        company.line(subscription, price, 700, first, quantity=7),
    ]
    company.invoice("cus_14", bounds[1], lines)
    for when, value in (("2026-02-28T14:23:06", 7), ("2026-02-28T14:23:07", 5)):
        company.use("cus_14", "edges", value, when)
        company.meter_event("cus_14", "edges", value, when)


def so_at(text: str) -> int:
    """Epoch seconds."""
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp())


def fill(company: SmallCompany) -> None:
    """Add the customers of all worked examples."""
    company.list_plan("basic", "49.00", features=["reports"], seats_included=1)
    company.list_plan("pro", "149.00", features=["reports", "exports"], seats_included=5)
    company.list_plan(
        "business", "199.00", features=["reports", "exports", "sso"], seats_included=20
    )
    company.list_plan("basic", "5000", currency="jpy")
    basic = company.price("basic", "basic", unit_amount=4900)
    pro = company.price("pro", "pro", unit_amount=14900)
    _example_1_outdated_pricing(company)
    _example_2_missing_overage(company)
    _example_3_incorrect_discount(company, pro)
    _example_4_feature_leakage(company, basic)
    _example_5_unreported_usage(company, basic)
    _example_6_graduated(company)
    _examples_7_8_grace(company)
    _example_9_unbilled_proration(company, basic, pro)
    _examples_10_to_12_usage_gaps(company, basic)
    _example_13_yen(company)
    _example_14_period_edge(company, basic)
