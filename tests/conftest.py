"""Fixtures that every test may use: a real Postgres, and an empty database of one's own on it.

The server is the embedded one unless LEAKAGE_TEST_DATABASE_URL names another, whose user must be
allowed to create databases. Everything lives in a temporary folder and is gone afterwards.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg2.extensions
import pytest
from psycopg2 import sql
from sqlalchemy.engine import make_url
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from leakage_pipeline.warehouse import schemas
from leakage_pipeline.warehouse.connection import connect, normalise
from leakage_pipeline.warehouse.embedded import Cluster
from tests.support.one_company import OneCompany, audited_company

_OURS = ("LEAKAGE_", "STRIPE_", "ANTHROPIC_", "SLACK_", "SMTP_", "DAGSTER_", "PG")
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
_OF_ONE_COMPANY = frozenset(
    {
        "tests/end_to_end/test_changes_inside_periods.py",
        "tests/end_to_end/test_discounts.py",
        "tests/end_to_end/test_usage_incidents.py",
        "tests/end_to_end/test_worked_examples.py",
        "tests/pricing/test_calculation.py",
        "tests/pricing/test_drawn_customers.py",
        "tests/pricing/test_pricing_cases.py",
    }
)
_KEPT = frozenset({"LEAKAGE_TEST_DATABASE_URL"})


class _ByAudit(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out whole files, and those that share the one company's audit together."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", maxsplit=1)[0]
        return "one company" if path in _OF_ONE_COMPANY else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByAudit:
    """Keep tests that share an audit in one process: an audit costs more than all its tests."""
    return _ByAudit(config, log)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the developer's shell reaches a test."""
    for name in list(os.environ):
        if name.startswith(_OURS) and name not in _KEPT:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """URL of a running Postgres, shared by the whole session; make no tables in it."""
    given = os.environ.get("LEAKAGE_TEST_DATABASE_URL")
    if given:
        yield normalise(given, "LEAKAGE_TEST_DATABASE_URL")
        return
    home = Path(tempfile.mkdtemp(prefix="leakage-tests-"))
    cluster = Cluster(home)
    try:
        url = cluster.ensure_running()
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            off = sql.SQL("alter system set {} = off").format(sql.Identifier(setting))
            _administer(url, off)  # nothing here outlives the session
        _administer(url, sql.SQL("select pg_reload_conf()"))
        yield url
    finally:
        cluster.stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """Name of a database with every schema and loaded table in place, empty, to copy."""
    name = f"test_template_{_WORKER}"
    for url in _database(server_url, name):
        connection = connect(url)
        schemas.create_all(connection)
        connection.close()
        yield name


@pytest.fixture
def database_url(server_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """SQLAlchemy URL of a database that only this test sees: empty, or with the tables in place."""
    template = request.getfixturevalue("template") if "warehouse" in request.fixturenames else None
    yield from _database(server_url, f"test_{uuid4().hex}", template)


@pytest.fixture(scope="module")
def module_database_url(server_url: str) -> Iterator[str]:
    """As `database_url`, shared by the tests of one module."""
    # The name stays the same: dbt parses the project anew for every other connection.
    yield from _database(server_url, f"test_module_{_WORKER}")


@pytest.fixture(scope="session")
def session_database_url(server_url: str) -> Iterator[str]:
    """As `database_url`, shared by every test of the session."""
    yield from _database(server_url, f"test_session_{_WORKER}")


def _database(server_url: str, name: str, template: str | None = None) -> Iterator[str]:
    drop = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
    create = sql.SQL("create database {} template {}").format(
        sql.Identifier(name), sql.Identifier(template or "template1")
    )
    _administer(server_url, drop)  # a run that was killed leaves its own
    _administer(server_url, create)
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    _administer(server_url, drop)


@pytest.fixture(scope="session")
def one_company(session_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> OneCompany:
    """The hand-written company after its one audit."""
    return audited_company(tmp_path_factory.mktemp("one_company"), session_database_url)


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg2.extensions.connection]:
    """A connection to this test's own, empty database."""
    connection = connect(database_url)
    yield connection
    connection.close()


@pytest.fixture
def warehouse(
    conn: psycopg2.extensions.connection,
) -> psycopg2.extensions.connection:
    """As `conn`, with every schema and loaded table in place, empty."""
    return conn


def _administer(url: str, statement: sql.Composed) -> None:
    connection = connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
