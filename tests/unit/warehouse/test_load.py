"""Bulk loads: exact values, all or nothing, and readers who never see half."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg2.extensions
import pyarrow as pa
import pytest

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.warehouse import load
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.tables import TableSpec

Connection = psycopg2.extensions.connection

SPEC = TableSpec(
    schema="raw_test",
    name="things",
    arrow_schema=pa.schema(
        {
            "thing_id": pa.string(),
            "amount": pa.int64(),
            "small": pa.int32(),
            "flag": pa.bool_(),
            "quantity": pa.string(),
            "share": pa.decimal128(38, 12),
            "seen_at": pa.timestamp("us", tz="UTC"),
            "day": pa.date32(),
            "payload": pa.string(),
            "note": pa.string(),
        }
    ),
    primary_key=("thing_id",),
    comment="One row per thing",
    json_columns=frozenset({"payload"}),
    numeric_columns=frozenset({"quantity"}),
)


def rows(*values: dict[str, Any]) -> pa.Table:
    blank = dict.fromkeys(SPEC.columns)
    return pa.Table.from_pylist([blank | value for value in values], schema=SPEC.arrow_schema)


def everything(conn: Connection) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.execute('select * from raw_test.things order by thing_id collate "C"')
        found = cursor.fetchall()
    conn.rollback()
    return found


@pytest.fixture
def table(conn: Connection) -> Connection:
    SPEC.create(conn)
    return conn


def test_every_type_comes_back_exactly(table: Connection) -> None:
    seen = datetime(2026, 1, 31, 14, 23, 7, 123456, tzinfo=UTC)
    loaded = load.replace(
        table,
        SPEC,
        rows(
            {
                "thing_id": "a",
                "amount": 2**63 - 1,
                "small": -1,
                "flag": True,
                "quantity": "12345678901234567890123456789012345678901234.000000000000000000001",
                "share": Decimal("0.000000000001"),
                "seen_at": seen,
                "day": date(2024, 2, 29),
                "payload": '{"a": [1.10, null], "b": "\\u00e9\\n\\"q\\""}',
                "note": "x",
            }
        ),
    )
    assert loaded == 1
    assert everything(table) == [
        (
            "a",
            2**63 - 1,
            -1,
            True,
            Decimal("12345678901234567890123456789012345678901234.000000000000000000001"),
            Decimal("0.000000000001"),
            seen,
            date(2024, 2, 29),
            {"a": [Decimal("1.10"), None], "b": 'é\n"q"'},
            "x",
        )
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\\.",
        "a\n\\.\nb",
        "\\N",
        "NULL",
        'say "hi", then',
        "a\r\nb\tc",
        "naïve ☃ 你好",
        "'; drop",
    ],
)
def test_strings_survive_and_the_empty_one_is_not_null(table: Connection, text: str) -> None:
    load.replace(table, SPEC, rows({"thing_id": "a", "note": text}, {"thing_id": "b"}))
    assert [row[-1] for row in everything(table)] == [text, None]


def test_an_empty_input_empties_the_table(table: Connection) -> None:
    load.replace(table, SPEC, rows({"thing_id": "a"}))
    assert load.replace(table, SPEC, SPEC.empty()) == 0
    assert everything(table) == []
    assert load.merge(table, SPEC, SPEC.empty()) == 0


def test_a_stream_of_batches_is_loaded_whole(table: Connection) -> None:
    batches = rows(*({"thing_id": f"{n:04}"} for n in range(100))).to_batches(max_chunksize=7)
    reader = pa.RecordBatchReader.from_batches(SPEC.arrow_schema, batches)
    assert load.replace(table, SPEC, reader) == 100
    assert len(everything(table)) == 100


def test_merge_updates_by_key_keeps_the_rest_and_writes_no_unchanged_row(table: Connection) -> None:
    load.merge(table, SPEC, rows({"thing_id": "a", "amount": 1}, {"thing_id": "b", "amount": 2}))
    with table.cursor() as cursor:
        cursor.execute("select thing_id, xmin::text from raw_test.things")
        before = dict(cursor.fetchall())
    load.merge(table, SPEC, rows({"thing_id": "a", "amount": 1}, {"thing_id": "b", "amount": 3}))
    with table.cursor() as cursor:
        cursor.execute("select thing_id, xmin::text, amount from raw_test.things order by 1")
        after = cursor.fetchall()
    assert after[0] == ("a", before["a"], 1)
    assert after[1][1] != before["b"]
    assert after[1][2] == 3


def test_a_key_that_occurs_twice_fails_by_name_and_changes_nothing(table: Connection) -> None:
    load.replace(table, SPEC, rows({"thing_id": "old"}))
    for function in (load.replace, load.merge):
        with pytest.raises(PermanentFailure, match=r"raw_test\.things: the database refuses"):
            function(table, SPEC, rows({"thing_id": "a"}, {"thing_id": "a", "amount": 1}))
    assert [row[0] for row in everything(table)] == ["old"]


@pytest.mark.parametrize(("column", "value"), [("quantity", "12,5"), ("payload", "{not json")])
def test_a_value_of_the_wrong_kind_fails_and_changes_nothing(
    table: Connection, column: str, value: str
) -> None:
    load.replace(table, SPEC, rows({"thing_id": "old"}))
    with pytest.raises(PermanentFailure, match="invalid input syntax"):
        load.replace(table, SPEC, rows({"thing_id": "a", column: value}))
    assert [row[0] for row in everything(table)] == ["old"]


def test_a_missing_or_unknown_column_is_refused_before_anything_changes(table: Connection) -> None:
    load.replace(table, SPEC, rows({"thing_id": "old"}))
    with pytest.raises(ValueError, match="missing: \\['note'\\]"):
        load.replace(table, SPEC, rows({"thing_id": "a"}).drop_columns(["note"]))
    with pytest.raises(ValueError, match="not known: \\['extra'\\]"):
        load.replace(table, SPEC, rows({"thing_id": "a"}).append_column("extra", pa.array([1])))
    assert [row[0] for row in everything(table)] == ["old"]


def test_readers_see_the_old_rows_until_the_commit(table: Connection, database_url: str) -> None:
    load.replace(table, SPEC, rows({"thing_id": "old"}))
    load.replace(table, SPEC, rows({"thing_id": "new"}), commit=False)
    reader = connect(database_url)
    try:
        assert [row[0] for row in everything(reader)] == ["old"]
        table.commit()
        assert [row[0] for row in everything(reader)] == ["new"]
    finally:
        reader.close()


def test_a_stream_that_breaks_off_leaves_the_old_rows(table: Connection) -> None:
    load.replace(table, SPEC, rows({"thing_id": "old"}))

    def broken() -> Any:
        yield rows({"thing_id": "a"}).to_batches()[0]
        message = "the source went away"
        raise OSError(message)

    with pytest.raises(OSError, match="went away"):
        load.replace(table, SPEC, pa.RecordBatchReader.from_batches(SPEC.arrow_schema, broken()))
    assert [row[0] for row in everything(table)] == ["old"]
