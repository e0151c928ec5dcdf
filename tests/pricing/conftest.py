"""The pricing cases and drawn customers, in the one company that all hand-written cases share."""

import pytest

from tests.support.one_company import OneCompany


@pytest.fixture(scope="session")
def audited(one_company: OneCompany) -> OneCompany:
    """The warehouse after the audit, and what was put into it."""
    return one_company
