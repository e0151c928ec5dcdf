"""Marts in a real Postgres, empty or filled with the sample company."""

import psycopg2.extensions
import pytest

from tests.unit.publishing import company, sample


@pytest.fixture
def marts(warehouse: psycopg2.extensions.connection) -> psycopg2.extensions.connection:
    """Every mart, empty."""
    sample.create_marts(warehouse)
    return warehouse


@pytest.fixture
def filled(marts: psycopg2.extensions.connection) -> psycopg2.extensions.connection:
    """Every mart, filled with the sample company."""
    company.fill(marts)
    return marts
