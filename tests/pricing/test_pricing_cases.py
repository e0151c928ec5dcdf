"""Worked cases of other billing engines and of our own, each through a whole audit.

A case whose source compares an unrounded amount is compared rounded here, half away from zero to
the minor unit, as an invoice line is; the oracle must give the unrounded figure itself.
"""

from collections import Counter
from fractions import Fraction

import pytest

from tests.pricing import cases, oracle
from tests.pricing.case_customers import Proof
from tests.support.audit import rows
from tests.support.one_company import OneCompany

USD = oracle.Currency("usd")
STATED = cases.load()


@pytest.mark.parametrize("case", STATED, ids=lambda case: case.case_id)
def test_the_oracle_gives_every_figure(case: cases.Case) -> None:
    if not case.ways:
        pytest.skip("no way to agree on a price can state it; the file says why")
    assert case.amount(USD) == USD.nearest(Fraction(case.expected))
    if case.is_exact and case.terms is not None:
        unrounded = oracle.exact(case.terms, case.quantity)
        assert max(unrounded, Fraction(case.minimum or 0)) == Fraction(case.expected)


def test_every_case_is_proven_or_says_why_not(audited: OneCompany) -> None:
    """All ways of all cases: a customer in the audit, or a reason in the file, never both."""
    assert len(STATED) >= 43 + 36
    assert len({case.case_id for case in STATED}) == len(STATED)
    proven = {(proof.case.case_id, proof.way) for proof in audited.proofs}
    reasons = {
        (case.case_id, way): text for case in STATED for way, text in case.other_ways.items()
    }
    assert all(len(text.split()) > 2 for text in reasons.values())
    every = {(case.case_id, way) for case in STATED for way in cases.WAYS}
    assert proven | set(reasons) == every
    assert not proven & set(reasons)
    assert [case.case_id for case in STATED if not case.ways] == ["om-flat-02"]


def test_every_case_is_expected_to_the_minor_unit(audited: OneCompany) -> None:
    """By every authority and in several currencies, in fct_expected_vs_billed."""
    found = _expected_by_customer(audited)
    wrong = [
        (proof.customer, proof.expected, found.get(proof.customer))
        for proof in audited.proofs
        if found.get(proof.customer) != proof.expected
    ]
    assert not wrong
    assert {proof.currency.code for proof in audited.proofs} == {"usd", "eur", "jpy", "kwd", "gbp"}


def test_dollar_customers_are_expected_at_the_figure_of_the_source(audited: OneCompany) -> None:
    """Without the oracle in between: the case file's own number against the mart."""
    found = _expected_by_customer(audited)
    for proof in audited.proofs:
        if proof.currency == USD:
            figure = USD.nearest(Fraction(proof.case.expected))
            net = proof.case.quantity - figure if proof.way == "coupon" else figure
            assert found[proof.customer] == net, proof.customer


def _expected_by_customer(audited: OneCompany) -> dict[str, object]:
    query = (
        "select customer_id, expected_amount from marts.fct_expected_vs_billed"
        " where phase = 'closed'"
    )
    return {row["customer_id"]: row["expected_amount"] for row in rows(audited.url, query)}


def test_the_authority_of_each_case_is_the_one_that_states_it(audited: OneCompany) -> None:
    found = Counter(
        (row["customer_id"], row["authority"])
        for row in rows(
            audited.url,
            "select distinct customer_id, authority from marts.fct_charge_calculation"
            " where phase = 'closed'",
        )
    )
    missing = [
        proof.customer for proof in audited.proofs if not found[proof.customer, proof.authority]
    ]
    assert not missing


def test_honest_invoices_of_every_shape_give_no_finding(audited: OneCompany) -> None:
    """What Stripe's own price rules and bills is right to the cent: nothing is found."""
    honest = [proof.customer for proof in audited.proofs if _is_honest(proof)]
    found = rows(
        audited.url,
        "select customer_id, leakage_type, leakage_amount from marts.fct_leakage_detections"
        " where customer_id = any(%s)",
        (honest,),
    )
    assert len(honest) > 150
    assert not found


def _is_honest(proof: Proof) -> bool:
    return proof.authority == "stripe" and proof.case.minimum is None
