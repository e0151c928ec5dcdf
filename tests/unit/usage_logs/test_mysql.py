"""A MySQL or MariaDB table is rolled up where it lives: by a MariaDB server of the test itself."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from leakage_pipeline.settings import USAGE_COLUMNS, Settings
from leakage_pipeline.usage_logs.load import load_usage
from tests.unit.usage_logs.reference import World, instant_of, reason_of, roll_up, value_of
from tests.unit.usage_logs.test_rollup import answer_of, dirty_rows

SERVER = shutil.which("mariadbd") or shutil.which("mysqld")
INSTALL = shutil.which("mariadb-install-db")
pytestmark = pytest.mark.skipif(
    not (SERVER and INSTALL),
    reason="no MariaDB server here (Debian: apt-get install mariadb-server)",
)


@pytest.fixture
def mysql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("pymysql", reason="the driver pymysql is not installed")
    folder = tmp_path_factory.mktemp("db")
    data, socket = folder / "data", folder / "s"
    assert SERVER
    assert INSTALL
    common = ["--no-defaults", f"--datadir={data}"]
    subprocess.run(
        [INSTALL, *common, "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True,
        capture_output=True,
    )
    server = subprocess.Popen(
        [SERVER, *common, f"--socket={socket}", "--skip-networking", "--user=root"],
        stderr=subprocess.DEVNULL,
    )
    url = f"mysql+pymysql://root@localhost/mysql?unix_socket={socket}&charset=utf8mb4"
    try:
        wait_for(url)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def wait_for(url: str) -> None:
    engine = sa.create_engine(url)
    for _ in range(100):
        try:
            with engine.begin() as connection:
                connection.execute(sa.text("create database app character set utf8mb4"))
        except sa.exc.OperationalError:
            time.sleep(0.2)
        else:
            return
    pytest.fail("the MariaDB server did not start")


@pytest.mark.parametrize("numbers", [False, True])
def test_a_mysql_table_gives_what_the_reference_gives(
    numbers: bool,
    mysql_url: str,
    known: psycopg2.extensions.connection,
    settings_for: Callable[..., Settings],
    world: World,
    tmp_path: Path,
) -> None:
    """Ids that differ in case or in blanks at the end are different ids, as in every engine."""
    rows = [row for row in dirty_rows(11) if is_typed(row, world)]
    rows += [
        rows[0] | {"event_id": "Case ", "customer_id": "cus_1"},
        rows[0] | {"event_id": "case", "customer_id": "cus_1"},
        rows[0] | {"event_id": "case ", "customer_id": "CUS_1"},
    ]
    url = mysql_url.replace("/mysql?", "/app?")
    write_table(url, rows, numbers=numbers)
    source = {"name": "app", "kind": "sql", "url_env": "APP_URL", "table": "Usage Log"}
    result = load_usage(settings_for([source], APP_URL=url), known, world.as_of)
    assert answer_of(known, result) == roll_up([("app", rows)], world)
    assert not list((tmp_path / "home").glob("usage_scan/*")), "it was rolled up over there"


def is_typed(row: dict[str, Any], world: World) -> bool:
    value = row["value"]
    if value is not None and (value_of(value) is None or not value):
        return False
    return reason_of(row | {"value": "1"}, world.as_of) != "bad occurred_at"


def write_table(url: str, rows: list[dict[str, Any]], *, numbers: bool) -> None:
    instants: Any = mysql.DECIMAL(24, 6) if numbers else mysql.DATETIME(fsp=6)
    kinds = {"value": mysql.DECIMAL(38, 15), "occurred_at": instants, "received_at": instants}
    engine = sa.create_engine(url)
    table = sa.Table(
        "Usage Log",
        sa.MetaData(),
        *(sa.Column(name, kinds.get(name, sa.String(200))) for name in USAGE_COLUMNS),
    )
    table.create(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), [typed(row, numbers=numbers) for row in rows])
    engine.dispose()


def typed(row: dict[str, Any], *, numbers: bool) -> dict[str, Any]:
    found = {**row, "value": None if row["value"] is None else Decimal(row["value"])}
    for name in ("occurred_at", "received_at"):
        at = instant_of(row[name])
        if at is not None:
            at = at.astimezone(UTC)
            found[name] = Decimal(str(at.timestamp())) if numbers else at.replace(tzinfo=None)
    return found
