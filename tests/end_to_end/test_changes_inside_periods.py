"""Licences that change inside a period: what is billed as Stripe bills it, and what is left out."""

from datetime import datetime
from decimal import Decimal

import pytest

from tests.end_to_end.changes_inside_periods import HALF
from tests.support.audit import rows
from tests.support.one_company import OneCompany


@pytest.fixture(scope="module")
def audited(one_company: OneCompany) -> str:
    """URL of the warehouse after the audit."""
    return one_company.url


CHARGED, CREDITED = "change_not_charged", "change_not_credited"


LEAKS = {
    "upgrade_leak": ("50.00", CHARGED),
    "upgrade_debit_missing": ("74.50", CHARGED),
    "upgrade_credit_missing": ("24.50", CREDITED),
    "downgrade_not_credited": ("50.00", CREDITED),
    "swap_leak": ("50.00", CHARGED),
    "swap_silent": ("50.00", CHARGED),
    "added_leak": ("10.00", CHARGED),
    "added_silent": ("10.00", CHARGED),
    "removed_not_credited": ("10.00", CREDITED),
    "many_one_missing": ("40.00", CHARGED),
    "reset_not_credited": ("24.50", CREDITED),
    "cancelled_change_lost": ("50.00", CHARGED),
}


@pytest.mark.parametrize("customer", LEAKS)
def test_a_change_that_no_invoice_bills(audited: str, customer: str) -> None:
    """One finding, of the pair's amount, and no other finding about the same money."""
    amount, reason = LEAKS[customer]
    found = rows(
        audited,
        "select leakage_type, direction, leakage_amount, reason, amount_basis"
        " from marts.fct_leakage_detections where customer_id = %s",
        (customer,),
    )
    assert [tuple(row.values()) for row in found] == [
        (
            "unbilled_proration",
            "leak" if reason == CHARGED else "overbilling",
            Decimal(amount),
            reason,
            "measured",
        )
    ]


@pytest.mark.parametrize(
    ("customer", "step", "amount"),
    [
        ("price_400th_leak", "price_gap_amount", "0.01"),
        ("seats_400th_leak", "quantity_gap_amount", "0.04"),
        ("upgrade_leak", "price_gap_amount", "50.00"),
        ("many_one_missing", "quantity_gap_amount", "40.00"),
    ],
)
def test_a_change_stands_in_the_step_of_what_changed(
    audited: str, customer: str, step: str, amount: str
) -> None:
    """Recorded by Stripe: -3 and +4, -3 and +7 minor units with a 400th of the period left."""
    found = rows(
        audited,
        "select difference, price_gap_amount, quantity_gap_amount from marts.fct_expected_vs_billed"
        " where customer_id = %s and difference != 0",
        (customer,),
    )
    assert len(found) == 1
    assert found[0].pop("difference") == Decimal(amount)
    assert found[0][step] == Decimal(amount)


def test_whoever_is_billed_as_stripe_bills_has_no_gap(one_company: OneCompany) -> None:
    """Every other story: no finding, no step other than 0, in every period."""
    leaking = [*LEAKS, "price_400th_leak", "seats_400th_leak", "void_without_pause"]
    honest = sorted({*one_company.changed} - {*leaking})
    assert len(honest) == len(one_company.changed) - len(leaking)
    found = rows(
        one_company.url,
        "select customer_id, period_start, difference from marts.fct_expected_vs_billed"
        " where difference != 0 and customer_id = any(%s)",
        (honest,),
    )
    assert found == []


def test_the_bridge_adds_up_on_every_row(one_company: OneCompany) -> None:
    """difference is the sum of the steps, to the cent, and nothing is unexplained."""
    found = rows(
        one_company.url,
        "select count(*) filter (where unexplained_amount != 0) as broken, count(*) as all_rows"
        " from marts.fct_expected_vs_billed where customer_id = any(%s)",
        (one_company.changed,),
    )
    assert found[0]["broken"] == 0
    assert found[0]["all_rows"] > 60


def test_a_void_invoice_without_a_pause_is_missing(audited: str) -> None:
    """Rule 7.8: the pause of the other customer is over, and still explains its void invoice."""
    found = rows(
        audited,
        "select customer_id, missing_invoice_amount from marts.fct_expected_vs_billed"
        " where customer_id in ('pause_lifted', 'void_without_pause')"
        " and missing_invoice_amount != 0",
    )
    assert found == [
        {"customer_id": "void_without_pause", "missing_invoice_amount": Decimal("49.00")}
    ]


def test_the_evidence_lets_one_recompute_the_pair(audited: str) -> None:
    """Instant, both configurations, seconds left of how many, and both amounts."""
    (row,) = rows(
        audited,
        "select evidence -> 'charges' as charges from marts.fct_leakage_detections"
        " where customer_id = 'upgrade_leak'",
    )
    halves = [charge for charge in row["charges"] if "change" in charge]
    assert [half["expected_gross"] for half in halves] == [-24.50, 74.50]
    for half in [charge["change"] for charge in halves]:
        assert datetime.fromisoformat(half["changed_at"]) == datetime.fromisoformat(f"{HALF}+00:00")
        assert (half["old_price_id"], half["new_price_id"]) == (
            "price_changed_basic",
            "price_changed_pro",
        )
        assert (half["seconds_left"], half["seconds_of_interval"]) == (1339200, 2678400)
