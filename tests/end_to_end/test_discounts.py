"""Discounts and credits in every mixture, from Stripe JSON over HTTP to findings and bridge."""

from decimal import Decimal

import pytest

from tests.support.audit import rows
from tests.support.one_company import OneCompany


@pytest.fixture(scope="module")
def audited(one_company: OneCompany) -> str:
    """URL of the warehouse after the audit."""
    return one_company.url


def test_honest_mixtures_leave_no_gap_in_any_step(audited: str) -> None:
    """Not one cent in the bridge of any honest customer, closed or open, and no finding."""
    gaps = rows(
        audited,
        "select customer_id, phase, difference, price_gap_amount, discount_gap_amount,"
        " rating_gap_amount, rounding_amount from marts.fct_expected_vs_billed"
        " where customer_id like 'honest%%' and (difference != 0 or discount_gap_amount != 0"
        " or rating_gap_amount != 0 or rounding_amount != 0 or price_gap_amount != 0)",
    )
    assert gaps == []
    found = rows(
        audited,
        "select customer_id, leakage_type, leakage_amount from marts.fct_leakage_detections"
        " where customer_id like 'honest%%'",
    )
    assert found == []


@pytest.mark.parametrize(
    ("customer", "findings"),
    [
        ("wrong_stack", [("incorrect_discount", "leak", "26.82", "exceeds_contract")]),
        ("wrong_first", [("incorrect_discount", "leak", "26.82", "discount_past_end")]),
        ("wrong_rounded", [("incorrect_discount", "leak", "1.80", "discount_past_end")]),
        ("wrong_amount", [("incorrect_discount", "leak", "7.00", "discount_past_end")]),
        ("wrong_amount_first", [("incorrect_discount", "leak", "5.00", "discount_past_end")]),
        ("wrong_price", [("outdated_pricing", "leak", "45.00", "price_below_price_book")]),
        (
            "wrong_too_little",
            [("incorrect_discount", "overbilling", "7.20", "discount_not_given")],
        ),
        ("missing_mixture", [("missing_invoice", "leak", "129.10", "no_invoice")]),
        ("missing_amount_percent", [("missing_invoice", "leak", "129.60", "no_invoice")]),
        ("missing_ended", [("missing_invoice", "leak", "149.00", "no_invoice")]),
        ("missing_once", [("missing_invoice", "leak", "149.00", "no_invoice")]),
        ("missing_other_product", [("missing_invoice", "leak", "149.00", "no_invoice")]),
        ("missing_split", [("missing_invoice", "leak", "25.00", "no_invoice")]),
        ("missing_euro", [("missing_invoice", "leak", "145.00", "no_invoice")]),
        ("credit_line", []),
        ("credit_custom", []),
        ("credit_above", [("over_credited", "leak", "14.90", "above_line")]),
        ("credit_several", [("over_credited", "leak", "25.90", "above_line")]),
        ("credit_late", [("over_credited", "leak", "40.00", "after_refund_window")]),
        ("credit_approved", []),
    ],
)
def test_what_is_wrong_is_found_to_the_cent(
    audited: str, customer: str, findings: list[tuple[str, str, str, str]]
) -> None:
    """Each closed period gives exactly the finding that the comments work out, and no other."""
    found = rows(
        audited,
        "select leakage_type, direction, leakage_amount, reason from marts.fct_leakage_detections"
        " where customer_id = %s and phase = 'closed'",
        (customer,),
    )
    expected = [(kind, way, Decimal(amount), why) for kind, way, amount, why in findings]
    assert [tuple(row.values()) for row in found] == expected


@pytest.mark.parametrize(
    ("customer", "credited"),
    [
        ("credit_line", "45.00"),
        ("credit_custom", "30.00"),
        ("credit_above", "149.00"),
        ("credit_several", "160.00"),
        ("credit_late", "40.00"),
        ("credit_approved", "40.00"),
    ],
)
def test_credits_have_their_own_step(audited: str, customer: str, credited: str) -> None:
    """What was credited, net of discount and tax, is the whole difference of the period."""
    (row,) = rows(
        audited,
        "select difference, credited_amount from marts.fct_expected_vs_billed"
        " where customer_id = %s and phase = 'closed'",
        (customer,),
    )
    assert row == {"difference": Decimal(credited), "credited_amount": Decimal(credited)}


def test_an_exception_covers_a_credit(audited: str) -> None:
    """What is approved is listed with its amount."""
    found = rows(
        audited,
        "select customer_id, leakage_type, covered_amount from marts.fct_approved_exceptions",
    )
    assert [tuple(row.values()) for row in found] == [
        ("credit_approved", "over_credited", Decimal("40.00"))
    ]


def test_every_invoice_is_settled_and_adds_up(one_company: OneCompany) -> None:
    """One row per finalised invoice that is not void, of all, and its parts come to its total."""
    (found,) = rows(
        one_company.url,
        "select count(*) as settled, count(*) filter (where unexplained_amount != 0) as broken,"
        " sum(credited_after_payment_amount) as credited from marts.fct_invoice_settlement",
    )
    # 45.00 + 9.00 tax, 30.00, 149.00, 100.00, 60.00, 40.00, 40.00
    assert found == {
        "settled": sum(each["status"] != "void" for each in one_company.company.account.invoices),
        "broken": 0,
        "credited": Decimal("473.00"),
    }


def test_the_bridge_adds_up_on_every_row(one_company: OneCompany) -> None:
    """Nothing is unexplained, and every customer of the company stands in the bridge."""
    (found,) = rows(
        one_company.url,
        "select count(*) filter (where unexplained_amount != 0) as broken,"
        " count(distinct customer_id) as customers from marts.fct_expected_vs_billed",
    )
    assert found == {"broken": 0, "customers": len(one_company.company.account.customers)}
