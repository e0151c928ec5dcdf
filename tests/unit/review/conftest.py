"""The review page over the sample company, with one person of each role."""

import hashlib
from datetime import UTC, datetime

import psycopg2.extensions
import pytest
from starlette.applications import Starlette

from leakage_pipeline.review.web import Site, create_app
from leakage_pipeline.warehouse.connection import connect
from tests.unit.publishing import company, sample
from tests.unit.publishing.sample import Row, insert

Connection = psycopg2.extensions.connection
NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
PASSWORD = "correct horse battery"  # noqa: S105 - a test's
# Of the password, but not slow on purpose: a hash keeps the parameters that it was made with.
_SALT = bytes(16)
_KEY = hashlib.scrypt(PASSWORD.encode(), salt=_SALT, n=2, r=8, p=1, dklen=32)
_QUICK_HASH = f"scrypt$2$8$1${_SALT.hex()}${_KEY.hex()}"
ATTACK = "<script>alert(1)</script>"
WANTED = "price-0-0"


@pytest.fixture
def clock() -> list[datetime]:
    """What time it is for the page, in a list that a test may change."""
    return [NOW]


@pytest.fixture
def app(warehouse: Connection, database_url: str, clock: list[datetime]) -> Starlette:
    """The page; viewer-kim, reviewer-kim and approver-kim may sign in."""
    sample.create_marts(warehouse)
    company.fill(warehouse)
    insert(
        warehouse,
        "marts.fct_leakage_detections",
        [Row("attack01", description=ATTACK, evidence={"plan": ATTACK})],
    )
    with warehouse, warehouse.cursor() as cursor:
        cursor.execute(
            "insert into ops.reviewers (name, role, password_hash, is_active, updated_at)"
            " select r.role || '-kim', r.role, %s, true, %s"
            " from (values ('viewer'), ('reviewer'), ('approver')) as r (role)",
            (_QUICK_HASH, NOW),
        )
    site = Site(
        open=lambda: connect(database_url),
        company="Acme <Cloud>",
        test_mode=True,
        secret="a secret of this test",  # noqa: S106
        clock=lambda: clock[0],
    )
    return create_app(site)
