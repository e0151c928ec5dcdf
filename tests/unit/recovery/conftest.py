"""A company with corrections to make: its marts as an audit leaves them, Stripe behind HTTP."""

from collections.abc import Iterator

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.recovery.stripe_writer import StripeWriter
from leakage_pipeline.simulator.stripe_server import StripeServer
from tests.unit.recovery import company
from tests.unit.recovery.company import NOW


@pytest.fixture
def ready(warehouse: Connection) -> Connection:
    """The warehouse after an audit, with an approver (ann) and a reviewer (rob)."""
    company.create_marts(warehouse)
    return warehouse


@pytest.fixture
def stripe_server() -> Iterator[StripeServer]:
    """The Stripe account of the company."""
    with StripeServer(company.account(), now=NOW) as server:
        yield server
        assert not server.crashes, server.crashes[0]


@pytest.fixture
def writer(stripe_server: StripeServer) -> StripeWriter:
    """Write access to it, impatient."""
    return StripeWriter(stripe_server.api_key, stripe_server.base_url, first_delay=0.001)
