"""Database addresses and sessions: usual URLs, UTC, exact JSON numbers, no password shown."""

import socket
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg2.extensions
import pytest
from sqlalchemy.engine import make_url

from leakage_pipeline.failures import ConfigurationError, PermanentFailure, TransientFailure
from leakage_pipeline.warehouse.connection import adbc, connect, describe, normalise, parameters

Connection = psycopg2.extensions.connection


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:p%40ss@h:5433/d?sslmode=require",
        "postgresql://u:p%40ss@h:5433/d?sslmode=require",
        "postgresql+psycopg2://u:p%40ss@h:5433/d?sslmode=require",
        " postgresql+psycopg://u:p%40ss@h:5433/d?sslmode=require\n",
    ],
)
def test_every_usual_form_means_the_same(url: str) -> None:
    same = normalise(url)
    assert same == "postgresql+psycopg2://u:p%40ss@h:5433/d?sslmode=require"
    assert parameters(same) == {
        "host": "h", "port": "5433", "user": "u", "password": "p@ss", "dbname": "d",
        "sslmode": "require",
    }  # fmt: skip
    assert describe(same) == "u@h:5433/d"


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "hunter2", "postgres://u:hunter2@h"])
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        normalise(url, "SOME_URL")
    assert "SOME_URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_sessions_are_utc_and_json_numbers_exact(conn: Connection) -> None:
    with conn.cursor() as cursor:
        cursor.execute("select '2026-07-01 12:00:00+02'::timestamptz, '{\"a\": 0.10}'::jsonb")
        instant, content = cursor.fetchone() or (None, None)
    assert instant == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert instant.utcoffset() == timedelta(0)
    assert str(content["a"]) == "0.10"
    assert isinstance(content["a"], Decimal)


def test_adbc_reaches_the_same_database_in_utc(database_url: str, conn: Connection) -> None:
    with conn.cursor() as cursor:
        cursor.execute("create table t as select 1::bigint as n")
    conn.commit()
    with adbc(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("select n, current_setting('TimeZone') as zone from t")
        assert cursor.fetch_arrow_table().to_pylist() == [{"n": 1, "zone": "UTC"}]


def test_a_search_path_may_be_given(database_url: str) -> None:
    connection = connect(database_url, search_path="marts")
    with connection.cursor() as cursor:
        cursor.execute("show search_path")
        assert cursor.fetchone() == ("marts",)
    connection.close()


def test_a_server_that_does_not_answer_may_answer_later() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = normalise(f"postgres://u:hunter2@127.0.0.1:{port}/d")
    for function in (connect, adbc):
        with pytest.raises(TransientFailure, match="LEAKAGE_DATABASE_URL") as caught:
            function(url)
        assert "hunter2" not in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_a_database_that_does_not_exist_is_a_permanent_failure(server_url: str) -> None:
    url = make_url(server_url).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(PermanentFailure, match='database "nowhere" does not exist'):
        connect(url)
