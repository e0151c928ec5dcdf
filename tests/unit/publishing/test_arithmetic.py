"""The sum behind a finding can be checked with a calculator."""

from decimal import Decimal

from pydantic import SecretStr

from leakage_pipeline.publishing.arithmetic import (
    calculation,
    charge_lines,
    facts,
    price_from,
)
from leakage_pipeline.publishing.stripe_links import is_test_mode, link, links_of

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"


def tier(**changes: object) -> dict[str, object]:
    month = Decimal(2_592_000)
    return {
        "authority": "contract",
        "currency": "usd",
        "quantity": Decimal(75),
        "included_quantity": Decimal(0),
        "grace_percent": Decimal(0),
        "quantity_above": Decimal(75),
        "package_size": None,
        "package_rounding": None,
        "rated_quantity": Decimal(75),
        "sign": 1,
        "discount_inside_percent": Decimal(0),
        "rounding_rule": "half_away_from_zero",
        "units": Decimal(75),
        "unit_amount": Decimal(5),
        "flat_amount": Decimal(0),
        "multiplier": Decimal(1),
        "share_seconds": month,
        "full_seconds": month,
        "amount": Decimal(375),
        **changes,
    }


def test_a_tier_reads_as_a_product() -> None:
    assert calculation([tier()]) == [f"75 {TIMES} $5.00 = $375.00"]


def test_shares_flat_fees_and_fractions_of_a_cent_are_written_out() -> None:
    assert calculation(
        [
            tier(unit_amount=Decimal("0.0005"), amount=Decimal("0.04")),
            tier(share_seconds=Decimal(864_000), amount=Decimal(125)),
            tier(units=Decimal(0), flat_amount=Decimal(10), amount=Decimal(10)),
            tier(units=Decimal(0), amount=Decimal(0)),
        ]
    ) == [
        f"75 {TIMES} 0.0005 USD = $0.04",
        f"75 {TIMES} $5.00 {TIMES} 864,000 of 2,592,000 seconds = $125.00",
        "$10.00 flat = $10.00",
    ]


def test_what_is_free_and_what_counts_as_a_package_come_first() -> None:
    """Worked examples 2 and 7: 10,000 included, 5.00 per started 1,000."""
    included = {
        "quantity": Decimal(25000),
        "included_quantity": Decimal(10000),
        "quantity_above": Decimal(15000),
        "package_size": Decimal(1000),
        "package_rounding": "up",
        "rated_quantity": Decimal(15),
        "units": Decimal(15),
        "amount": Decimal(75),
    }
    assert calculation([tier(**included)]) == [
        f"25,000 {MINUS} 10,000 included = 15,000; in packages of 1,000, started ones count: 15",
        f"15 {TIMES} $5.00 = $75.00",
    ]
    within = {
        **included,
        "quantity": Decimal(10400),
        "grace_percent": Decimal(5),
        "quantity_above": Decimal(0),
        "units": Decimal(0),
    }
    assert calculation([tier(**within)]) == [
        f"10,400 {MINUS} 10,000 included {MINUS} 500 grace: nothing above"
    ]


def test_credits_and_yearly_prices_are_written_out() -> None:
    """Recorded: 10.00 with 1/400 of the period left is credited at -0.03."""
    credit = tier(
        units=Decimal(1),
        unit_amount=Decimal(10),
        sign=-1,
        share_seconds=Decimal(6480),
        rounding_rule="down",
        amount=Decimal("-0.03"),
    )
    discounted = tier(discount_inside_percent=Decimal(10), amount=Decimal("337.50"))
    monthly = tier(multiplier=Decimal("0.08333333333333333333"), amount=Decimal("31.25"))
    assert calculation([credit, discounted, monthly]) == [
        f"{MINUS}1 {TIMES} $10.00 {TIMES} 6,480 of 2,592,000 seconds = {MINUS}$0.03, rounded down",
        f"75 {TIMES} $5.00 {TIMES} 90 % = $337.50",
        f"75 {TIMES} $5.00 {TIMES} 1/12 = $31.25",
    ]


def test_the_authority_is_named_when_it_is_one() -> None:
    assert price_from([[tier()], [tier(), tier()]]) == "by the contract"
    assert price_from([[tier()], [tier(authority="stripe")]]) == ""
    assert price_from([]) == ""


def test_charges_that_differ_come_first() -> None:
    evidence = {
        "charges": [
            {"charge_id": "a", "kind": "fee", "expected_net": 49, "billed_net": 49},
            {"charge_id": "c", "kind": "usage", "expected_net": 0, "billed_net": 0},
            {
                "charge_id": "b",
                "kind": "usage",
                "expected_quantity": 500000,
                "billed_quantity": 460000,
                "expected_net": Decimal("50000.00"),
                "billed_net": Decimal("46000.00"),
            },
        ]
    }
    first, second = charge_lines(evidence, "minutes", "usd")
    assert first.name == "Usage of minutes"
    assert first.quantity == "500,000 used, 460,000 billed"
    assert (first.expected, first.billed) == ("$50,000.00", "$46,000.00")
    assert first.difference == "$4,000.00"
    assert second.name == "Licence"


def test_lists_of_lists_of_charges_are_read_too() -> None:
    nested = {"charges": [[{"charge_id": "a", "kind": "fee", "expected_net": 5, "billed_net": 0}]]}
    assert [line.name for line in charge_lines(nested, None, "usd")] == ["Licence"]


def test_facts_leave_ids_out_and_read_dates_and_money() -> None:
    evidence = {
        "account_id": "A-1",
        "plan": "basic",
        "plan_price": Decimal("49.0"),
        "features_enabled": ["sso", "audit_log"],
        "subscription_ended_at": "2026-08-02T10:00:00+00:00",
        "discount_percent_billed": 15,
        "price": "price_1ExampleABC",
    }
    assert facts(evidence, "usd") == [
        ("Plan", "basic"),
        ("List price of the plan", "$49.00"),
        ("Features switched on", "sso, audit_log"),
        ("Subscription ended", "2 Aug 2026"),
        ("Discount percent billed", "15\N{NO-BREAK SPACE}%"),
    ]


def test_only_an_id_under_a_key_of_ids_becomes_a_link() -> None:
    evidence = {
        "authority": "price_book",
        "stripe_price_id": "price_1Abc",
        "invoice_ids": ["in_1Abc", "in_1Abc"],
        "customer_id": 'cus_"><script>',
    }
    links = links_of(["cus_1Abc", None], evidence, test_mode=True)
    assert [page.url for page in links] == [
        "https://dashboard.stripe.com/test/customers/cus_1Abc",
        "https://dashboard.stripe.com/test/invoices/in_1Abc",
        "https://dashboard.stripe.com/test/prices/price_1Abc",
    ]


def test_the_key_tells_which_dashboard() -> None:
    assert is_test_mode(SecretStr("rk_test_abc"))
    assert not is_test_mode(SecretStr("rk_live_abc"))
    assert not is_test_mode(None)
    page = link("in_1Abc", test_mode=False)
    assert page is not None
    assert page.url == "https://dashboard.stripe.com/invoices/in_1Abc"
