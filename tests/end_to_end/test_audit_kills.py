"""Audits that are killed at any moment: the next one ends as if nothing had happened.

Takes an audit and a half for each kill, so it waits for `AUDIT_KILLS=20`:
`AUDIT_KILLS=20 pytest -n 0 tests/end_to_end/test_audit_kills.py`. Loads alone are killed, in
seconds, in `tests/assets/test_stripe_kills.py`.
"""

import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg2 import sql
from sqlalchemy.engine import make_url

from leakage_pipeline.simulator.company import generate
from leakage_pipeline.simulator.stripe_server import StripeServer
from leakage_pipeline.warehouse.connection import connect
from tests.support.audit import audit, killed_audit
from tests.support.audited_tables import difference, state
from tests.support.stripe_nights import next_night

FIRST = datetime(2026, 11, 20, 6, tzinfo=UTC)
KILLS = int(os.environ.get("AUDIT_KILLS", "0"))
pytestmark = pytest.mark.skipif(not KILLS, reason="many whole audits; set AUDIT_KILLS=20")


class _Evening:
    """The database and LEAKAGE_HOME as they are before the night that is killed."""

    def __init__(self, server_url: str, url: str, home: Path, aside: Path) -> None:
        self._server_url, self._home, self._aside = server_url, home, aside
        self._name = str(make_url(url).database)
        self._kept = f"{self._name}_evening"
        self._copy(self._name, self._kept)
        shutil.copytree(home, aside, symlinks=True)

    def restore(self) -> None:
        """Make everything as it was, under the same names."""
        self._copy(self._kept, self._name)
        shutil.rmtree(self._home)
        shutil.copytree(self._aside, self._home, symlinks=True)

    def forget(self) -> None:
        """Drop the copy of the database."""
        self._administer("drop database if exists {} with (force)", self._kept)

    def _copy(self, name: str, to: str) -> None:
        self._administer("drop database if exists {} with (force)", to)
        self._administer("create database {} template {}", to, name)

    def _administer(self, statement: str, *names: str) -> None:
        connection = connect(self._server_url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
        finally:
            connection.close()


@pytest.fixture
def evening() -> Iterator[list[_Evening]]:
    kept: list[_Evening] = []
    yield kept
    for one in kept:
        one.forget()


def test_an_audit_killed_at_any_moment_and_run_again_leaves_the_tables_of_an_undisturbed_one(
    server_url: str, database_url: str, tmp_path: Path, evening: list[_Evening]
) -> None:
    """The kills are spread over the whole length of a night, from its start to its end."""
    company = generate(21, 10, FIRST)
    company.write(tmp_path)
    chance = random.Random(KILLS)  # noqa: S311 - reproducible
    with StripeServer(company.account, now=FIRST) as server:
        first = audit(tmp_path, database_url, server, FIRST.isoformat())
        assert first.code == 0, first.out + first.err
        now = FIRST + timedelta(days=1)
        server.now = now
        server.load(next_night(company.account, int(now.timestamp()), seed=1))
        evening.append(
            _Evening(server_url, database_url, tmp_path / ".leakage", tmp_path / "evening")
        )
        began = time.monotonic()
        calm = audit(tmp_path, database_url, server, now.isoformat())
        length = time.monotonic() - began
        assert calm.code == 0, calm.out + calm.err
        wanted = state(database_url)
        for number in range(KILLS):
            while True:
                evening[0].restore()
                seconds = (number + chance.random()) / KILLS * length
                if killed_audit(tmp_path, database_url, server, now, seconds=seconds):
                    break
                length *= 0.9  # it had ended: the machine has less to do than before
            again = audit(tmp_path, database_url, server, now.isoformat())
            told = f"killed after {seconds:.0f} of {length:.0f} s"
            sys.stdout.write(f"{told}\n")
            assert again.code == 0, told + again.out + again.err
            assert difference(state(database_url), wanted) == {}, told
