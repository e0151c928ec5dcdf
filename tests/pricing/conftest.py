"""One audit over all worked cases and all drawn subscriptions, shared by the tests here."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pricing import case_customers, cases
from tests.pricing.case_customers import Proof
from tests.pricing.drawn_customers import Draw, Expectation
from tests.support.audit import audit_company
from tests.support.small_company import SmallCompany

DRAWN = 80
AS_OF = "2026-11-20T06:00:00Z"


@dataclass(frozen=True)
class Audited:
    """The warehouse after the audit, and what was put into it."""

    url: str
    stated: list[cases.Case]
    proofs: list[Proof]
    drawn: list[Expectation]
    directory: Path


def fill(company: SmallCompany) -> tuple[list[cases.Case], list[Proof], list[Expectation]]:
    """Put every case and the drawn customers into the company."""
    stated = cases.load()
    return stated, case_customers.add_all(company, stated), Draw(company).customers(DRAWN)


@pytest.fixture(scope="session")
def audited(session_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """One `leakage audit` over every case."""
    company = SmallCompany(as_of=AS_OF)
    stated, proofs, drawn = fill(company)
    directory: Path = tmp_path_factory.mktemp("pricing")
    audit_company(company, directory, session_database_url)
    return Audited(session_database_url, stated, proofs, drawn, directory)
