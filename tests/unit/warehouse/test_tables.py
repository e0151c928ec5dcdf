"""Table specs: what they create, and what they refuse."""

from dataclasses import replace

import psycopg2.extensions
import pyarrow as pa
import pytest

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.warehouse.tables import TableSpec

Connection = psycopg2.extensions.connection

SPEC = TableSpec(
    schema="raw_test",
    name="prices",
    arrow_schema=pa.schema({"price_id": pa.string(), "amount": pa.int64(), "data": pa.string()}),
    primary_key=("price_id",),
    comment="One row per price; it's Stripe's",
    json_columns=frozenset({"data"}),
)


def columns(conn: Connection) -> list[tuple[str, str]]:
    with conn.cursor() as cursor:
        cursor.execute(
            "select column_name, data_type from information_schema.columns "
            "where table_schema = 'raw_test' order by ordinal_position"
        )
        return cursor.fetchall()


def test_create_makes_typed_columns_key_and_comment_and_may_be_repeated(conn: Connection) -> None:
    SPEC.create(conn)
    SPEC.create(conn)
    assert columns(conn) == [("price_id", "text"), ("amount", "bigint"), ("data", "jsonb")]
    with conn.cursor() as cursor:
        cursor.execute("select obj_description('raw_test.prices'::regclass)")
        assert cursor.fetchone() == ("One row per price; it's Stripe's",)


def test_a_new_column_is_added_to_an_older_table(conn: Connection) -> None:
    SPEC.create(conn)
    wider = SPEC.arrow_schema.append(pa.field("created", pa.timestamp("us", tz="UTC")))
    replace(SPEC, arrow_schema=wider).create(conn)
    assert columns(conn)[-1] == ("created", "timestamp with time zone")


def test_a_column_of_another_type_is_named_with_the_fix(conn: Connection) -> None:
    SPEC.create(conn)
    other = pa.schema({"price_id": pa.string(), "amount": pa.string(), "data": pa.string()})
    with pytest.raises(PermanentFailure, match=r"prices\.amount is bigint, not text; drop"):
        replace(SPEC, arrow_schema=other).create(conn)


@pytest.mark.parametrize(
    "change",
    [
        {"primary_key": ()},
        {"primary_key": ("nothing",)},
        {"json_columns": frozenset({"amount"})},
        {"numeric_columns": frozenset({"nothing"})},
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"raw_test\.prices"):
        replace(SPEC, **change)  # type: ignore[arg-type]


def test_an_arrow_type_without_a_postgres_type_is_refused(conn: Connection) -> None:
    floats = pa.schema({"price_id": pa.string(), "amount": pa.float64(), "data": pa.string()})
    with pytest.raises(TypeError, match="no Postgres type for Arrow type double"):
        replace(SPEC, arrow_schema=floats).create(conn)
