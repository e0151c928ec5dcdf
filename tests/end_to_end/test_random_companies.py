"""Random companies through a whole audit: honest ones give no finding, leaky ones exactly theirs.

All companies of a run stand in one warehouse, so that one audit judges them. RANDOM_COMPANIES sets
how many of each kind (default 12), RANDOM_COMPANIES_FROM the first seed.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leakage_pipeline.simulator.random_company import AS_OF, RandomCompany, merge, random_company
from leakage_pipeline.simulator.scoring import score
from leakage_pipeline.simulator.stripe_server import StripeServer
from tests.support.audit import audit, rows

COMPANIES = int(os.environ.get("RANDOM_COMPANIES", "12"))
FIRST = int(os.environ.get("RANDOM_COMPANIES_FROM", "0"))
SHOWN = 20


@pytest.fixture(scope="module")
def companies() -> RandomCompany:
    """Honest (h) and leaky (l) companies, side by side."""
    seeds = range(FIRST, FIRST + COMPANIES)
    return merge(random_company(seed, leaks=leaks) for leaks in (False, True) for seed in seeds)


@pytest.fixture(scope="module")
def audited(
    companies: RandomCompany, module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """URL of the warehouse after one audit of all of them."""
    directory: Path = tmp_path_factory.mktemp("random_companies")
    companies.write(directory)
    with StripeServer(companies.account, now=AS_OF) as server:
        done = audit(directory, module_database_url, server, AS_OF.isoformat())
    assert done.code == 0, done.out + done.err
    return module_database_url


def _findings(url: str, kind: str) -> list[dict[str, Any]]:
    """What is said to be wrong; an opportunity (a limit ahead, say) is no mistake of anybody's."""
    return rows(
        url,
        "select * from marts.fct_leakage_detections where direction in ('leak', 'overbilling')"
        " and customer_id like %s order by customer_id, leakage_type, period_start",
        (f"cus\\_{kind}%",),
    )


def _told(finding: dict[str, Any]) -> str:
    """A finding in a line; the customer's id holds the seed: cus_h12_3 is customer 3 of seed 12."""
    keys = ("customer_id", "leakage_type", "meter", "phase", "period_start", "leakage_amount")
    return " ".join(str(finding.get(key)) for key in keys) + f": {finding.get('description')}"


def test_an_honest_company_has_no_finding(audited: str) -> None:
    """In no period and in neither direction."""
    found = [_told(finding) for finding in _findings(audited, "h")]
    assert not found, "\n".join(found[:SHOWN])


def test_a_leaky_company_has_exactly_its_leaks(audited: str, companies: RandomCompany) -> None:
    """Every label is found, to the cent, with its period and phase, and nothing else."""
    labels = [label.as_row() for label in companies.labels]
    # What a draft will say when it goes out (phase preflight) is foreseen by no label.
    found = [finding for finding in _findings(audited, "l") if finding["phase"] != "preflight"]
    result = score(found, {"labels": labels})
    problems = [
        *(f"missed: {label}" for label in result.missed),
        *(f"unexpected: {_told(dict(finding))}" for finding in result.unexpected),
        *(
            f"{label['amount']} expected: {_told(dict(finding))}"
            for label, finding in result.wrong_amounts
        ),
    ]
    assert not problems, "\n".join(problems[:SHOWN])
    phases = {(row["customer_id"], row["period_start"]): row["phase"] for row in labels}
    assert all(
        phases[finding["customer_id"], finding["period_start"].isoformat()] == finding["phase"]
        for finding in found
    )


def test_the_bridge_explains_every_cent(audited: str) -> None:
    """Expected less billed is the sum of the steps, on every row of every company."""
    broken = rows(
        audited,
        "select customer_id, period_start, unexplained_amount from marts.fct_expected_vs_billed"
        " where unexplained_amount is distinct from 0"
        " or difference is distinct from usage_gap_amount + price_gap_amount + quantity_gap_amount"
        " + discount_gap_amount + minimum_gap_amount + rating_gap_amount + missing_invoice_amount"
        " + rounding_amount + credited_amount",
    )
    assert not broken, broken[:SHOWN]


def test_honest_bills_are_what_is_expected(audited: str) -> None:
    """Only usage below the tolerance, credits and rounding stand between the two.

    Of what is billed: the invoice of a period that has just ended is a draft for an hour, and what
    a draft or a pending invoice item holds back is missing in the bridge until it is finalised.
    """
    odd = rows(
        audited,
        "select customer_id, period_start, phase, price_gap_amount, quantity_gap_amount,"
        " discount_gap_amount, minimum_gap_amount, rating_gap_amount, missing_invoice_amount"
        " from marts.fct_expected_vs_billed as bridge"
        " where customer_id like 'cus\\_h%%' and period_end < %s"
        " and (price_gap_amount, quantity_gap_amount, discount_gap_amount, minimum_gap_amount,"
        " rating_gap_amount, case when exists (select 1 from raw_stripe.invoices as drafts"
        " where drafts.subscription_id = bridge.subscription_id and drafts.status = 'draft')"
        " or exists (select 1 from raw_stripe.invoice_items as pending"
        " where pending.subscription_id = bridge.subscription_id and pending.invoice_id is null)"
        " then 0 else missing_invoice_amount end) is distinct from (0, 0, 0, 0, 0, 0)",
        (AS_OF - timedelta(hours=2),),
    )
    assert not odd, odd[:SHOWN]
