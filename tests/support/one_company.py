"""The one hand-written company: examples, discounts, changes, the video case, every pricing case.

All of them are judged by one audit, since an audit costs far more than its customers do.
"""

from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end import (
    changes_inside_periods,
    discounts,
    usage_incidents,
    worked_examples,
)
from tests.pricing import case_customers, cases
from tests.pricing.case_customers import Proof
from tests.pricing.drawn_customers import Draw, Expectation
from tests.support.audit import audit_company

AS_OF = "2026-11-20T06:00:00Z"
DRAWN = 80


@dataclass(frozen=True)
class OneCompany:
    """The company, what was put into it, and the warehouse after its audit."""

    url: str
    directory: Path
    company: discounts.Company
    stated: list[cases.Case]
    proofs: list[Proof]
    drawn: list[Expectation]
    changed: list[str]


def audited_company(directory: Path, url: str) -> OneCompany:
    """Build the company, audit it once with `leakage audit`, and say what is in it."""
    company = discounts.Company(as_of=AS_OF)
    worked_examples.fill(company)
    discounts.fill(company)
    usage_incidents.fill(company)
    stated = cases.load()
    proofs = case_customers.add_all(company, stated)
    drawn = Draw(company).customers(DRAWN)
    changed = changes_inside_periods.fill(company)
    audit_company(company, directory, url)
    return OneCompany(url, directory, company, stated, proofs, drawn, changed)
