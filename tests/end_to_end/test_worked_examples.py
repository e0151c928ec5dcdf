"""The worked examples of the billing model, from Stripe JSON over HTTP to the findings table.

One company holds them all, a customer an example, so that one audit serves every test.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from leakage_pipeline.defs.transform.assets import dbt_environment
from leakage_pipeline.defs.transform.project import PROJECT_DIR
from leakage_pipeline.simulator import stripe_objects as so
from tests.support.audit import audit_company, rows
from tests.support.licence_story import Change, Licence, Story
from tests.support.small_company import Item, SmallCompany

AS_OF = "2026-11-20T06:00:00Z"
FIRST, SECOND, THIRD = "2026-10-10T14:23:07", "2026-11-10T14:23:07", "2026-12-10T14:23:07"
PERIODS = (FIRST, SECOND, THIRD)
CLOSED, OPEN = (FIRST, SECOND), (SECOND, THIRD)


def _book(company: SmallCompany, plan: str, price: str, **more: Any) -> None:
    company.price_book.append(
        {
            "plan": plan,
            "currency": more.pop("currency", "usd"),
            "interval": "month",
            "base_price": price,
            "effective_from": "2023-01-01",
            **more,
        }
    )


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


def build() -> SmallCompany:
    """The company of all worked examples."""
    company = SmallCompany(as_of=AS_OF)
    _book(company, "basic", "49.00", features=["reports"], seats_included=1)
    _book(company, "pro", "149.00", features=["reports", "exports"], seats_included=5)
    _book(company, "business", "199.00", features=["reports", "exports", "sso"], seats_included=20)
    _book(company, "basic", "5000", currency="jpy")
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
    return company


@pytest.fixture(scope="module")
def audited(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the warehouse after one audit of the company."""
    company = build()
    directory: Path = tmp_path_factory.mktemp("worked_examples")
    audit_company(company, directory, module_database_url)
    return module_database_url


def _closed(url: str, customer: str) -> list[tuple[str, Decimal]]:
    found = rows(
        url,
        "select leakage_type, leakage_amount from marts.fct_leakage_detections"
        " where customer_id = %s and phase = 'closed' order by leakage_type, period_start",
        (customer,),
    )
    return [(row["leakage_type"], row["leakage_amount"]) for row in found]


@pytest.mark.parametrize(
    ("customer", "findings"),
    [
        ("cus_1", [("outdated_pricing", "50.00")]),
        ("cus_2", [("missing_overage", "75.00")]),
        ("cus_3", [("incorrect_discount", "22.35")]),
        ("cus_4", [("feature_leakage", "150.00")]),
        ("cus_5", [("unreported_usage", "4000.00")]),
        ("cus_6", [("missing_overage", "350.00")]),
        ("cus_7", []),
        ("cus_8", [("missing_overage", "5.00")]),
        ("cus_9", [("unbilled_proration", "50.00")]),
        ("cus_10", []),
        ("cus_11", [("unreported_usage", "4.00")]),
        ("cus_12", [("overbilled_usage", "20.00")]),
        ("cus_13", [("outdated_pricing", "1000")]),
    ],
)
def test_worked_example(audited: str, customer: str, findings: list[tuple[str, str]]) -> None:
    """Each example gives exactly the findings that it names, and no other."""
    assert _closed(audited, customer) == [(kind, Decimal(amount)) for kind, amount in findings]


def test_a_gap_within_the_tolerance_stays_visible_in_the_bridge(audited: str) -> None:
    """Example 10: 40 units at 0.10 are no finding, and still in usage_gap_amount."""
    (row,) = rows(
        audited,
        "select usage_gap_amount, unexplained_amount from marts.fct_expected_vs_billed"
        " where customer_id = 'cus_10' and phase = 'closed'",
    )
    assert row == {"usage_gap_amount": Decimal("4.00"), "unexplained_amount": Decimal("0.00")}


def test_an_incident_names_the_source_whose_volume_is_the_gap(audited: str) -> None:
    """Example 5: all missing minutes come from encode_4k."""
    found = rows(
        audited,
        "select source, leakage_amount from marts.fct_incidents"
        " where leakage_type = 'unreported_usage' and meter = 'transcode_minutes'",
    )
    assert found == [{"source": "encode_4k", "leakage_amount": Decimal("4000.00")}]


def test_an_event_at_the_end_of_a_period_belongs_to_the_next(audited: str) -> None:
    """Example 14: half-open to the second, across a clamped month end."""
    found = rows(
        audited,
        "select true_quantity from marts.fct_customer_usage"
        " where customer_id = 'cus_14' and meter = 'edges' order by period_start limit 2",
    )
    assert [row["true_quantity"] for row in found] == [Decimal(7), Decimal(5)]


def test_the_bridge_adds_up_on_every_row(audited: str) -> None:
    """difference is the sum of the steps, to the cent, and nothing is unexplained."""
    found = rows(
        audited,
        "select count(*) filter (where unexplained_amount != 0) as broken, count(*) as all_rows"
        " from marts.fct_expected_vs_billed",
    )
    assert found[0]["broken"] == 0
    assert found[0]["all_rows"] > 20


def test_every_dbt_unit_test_holds(audited: str, tmp_path: Path) -> None:
    """The models by themselves, rule by rule; audits leave these tests out."""
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("dbt"), "test", "--quiet"),
            *("--select", "test_type:unit", "--project-dir", PROJECT_DIR),
            *("--profiles-dir", PROJECT_DIR, "--target-path", tmp_path, "--log-path", tmp_path),
        ],
        env={**os.environ, **dbt_environment(audited)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
