"""Every engine and every form of the log must give what the plain Python reference gives."""

import csv
import gzip
import json
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from leakage_pipeline.settings import USAGE_COLUMNS, Settings
from leakage_pipeline.usage_logs.load import load_usage
from leakage_pipeline.usage_logs.meaning import UsageLoadResult
from tests.unit.usage_logs.conftest import CUT
from tests.unit.usage_logs.reference import Answer, World, instant_of, reason_of, roll_up, value_of

Row = dict[str, str | None]
Build = Callable[..., Settings]
REFS = ["cus_1", "cus_1", "cus_2", "acc_2", "cus_3", "cus_unknown", "acc_8", " ", None]
VALUES = ["1", "0.5", "1E3", "2.000000000001", "", None, "-1", "NaN", "inf", "x", "1_000", "0"]
SOURCES = ["gateway", "", None, "worker é", "a,b"]


def dirty_rows(seed: int, count: int = 400) -> list[Row]:
    """Events around a cut, many with repeated ids, in every notation, some unreadable."""
    draw = random.Random(seed)  # noqa: S311 - nothing secret
    rows: list[Row] = []
    for _ in range(count):
        offset = draw.choice(
            [
                timedelta(0),
                timedelta(microseconds=-1),
                timedelta(hours=2, microseconds=500),
                timedelta(seconds=draw.randint(-200_000, 200_000)),
            ]
        )
        at = CUT + offset
        received = draw.choice([None, at, at + timedelta(hours=draw.randint(0, 9))])
        rows.append(
            {
                "event_id": draw.choice([f"e{draw.randint(0, count)}", f"é{draw.randint(0, 9)}"]),
                "customer_id": draw.choice(REFS),
                "meter": draw.choice(["calls", "calls", "storage", "gigabytes"]),
                "value": draw.choice(VALUES),
                "occurred_at": notation(draw, at),
                "source": draw.choice(SOURCES),
                "received_at": notation(draw, received) if received else None,
            }
        )
    minute = timedelta(minutes=1)
    for seconds, ahead in enumerate((minute, minute + timedelta(microseconds=1), 90 * minute) * 3):
        at = CUT + timedelta(seconds=seconds)
        some = {"event_id": f"ahead{seconds}", "customer_id": "cus_1", "meter": "calls"}
        instants = {"occurred_at": notation(draw, at), "received_at": notation(draw, at - ahead)}
        rows.append(rows[0] | some | instants | {"value": "2"})
    rows.append(rows[0] | {"occurred_at": "2026-06-01T06:00:01Z", "customer_id": "cus_1"})
    rows.append(rows[0] | {"received_at": "2027-01-01", "event_id": "x", "customer_id": "cus_1"})
    rows.append(rows[0] | {"occurred_at": "yesterday", "customer_id": "cus_1", "value": "1"})
    return rows


def notation(draw: random.Random, at: datetime) -> str:
    naive = at.astimezone(UTC).replace(tzinfo=None)
    micros = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return draw.choice(
        [
            naive.isoformat() + "Z",
            naive.isoformat(" "),
            (naive + timedelta(hours=5, minutes=30)).isoformat() + "+05:30",
            (naive - timedelta(hours=3)).isoformat() + "-03:00",
            str(Decimal(micros) / 10**6),
            str(Decimal(micros) / 10**3),
        ]
    )


def as_csv(path: Path, rows: Sequence[Row], columns: Sequence[str], **options: Any) -> None:
    opener: Any = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "wt", encoding=options.pop("encoding", "utf-8"), newline="") as file:
        writer = csv.writer(file, **options)
        writer.writerow(columns)
        writer.writerows(
            [row.get(column.strip().lower(), "ignored") for column in columns] for row in rows
        )


def as_jsonl(path: Path, rows: Sequence[Row]) -> None:
    opener: Any = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "wt", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({key: text for key, text in row.items() if text is not None}))
            file.write("\n\n")


def as_parquet(path: Path, rows: Sequence[Row]) -> None:
    pq.write_table(pa.table({name: [row[name] for row in rows] for name in USAGE_COLUMNS}), path)


def answer_of(conn: psycopg2.extensions.connection, result: UsageLoadResult) -> Answer:
    """What the warehouse holds, in the reference's shape."""
    with conn.cursor() as cursor:
        cursor.execute("select * from raw_usage.usage_windows")
        windows = {row[:5]: (*row[5:12], row[13]) for row in cursor.fetchall()}
        cursor.execute("select * from raw_usage.unattributed_usage")
        lost = {row[:5]: (row[5], row[6]) for row in cursor.fetchall()}
        cursor.execute("select * from raw_usage.log_coverage")
        coverage = {row[0]: row[1:4] for row in cursor.fetchall()}
    return Answer(windows, lost, coverage, result.rejected, result.duplicates)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_file_form_gives_the_reference_result(
    seed: int,
    known: psycopg2.extensions.connection,
    settings_for: Build,
    world: World,
    tmp_path: Path,
) -> None:
    rows = dirty_rows(seed)
    expected = roll_up([("log", rows)], world)
    assert expected.windows
    assert expected.unattributed
    assert any(window[4] for window in expected.windows.values()), "some event must be late"
    assert any(window[7] for window in expected.windows.values()), "some clock must run ahead"
    log = tmp_path / "log"
    log.mkdir()
    shuffled = sorted(rows, key=lambda row: str(row["event_id"])[::-1])
    as_parquet(log / "a.parquet", shuffled[:100])
    as_parquet(log / "b.parquet", shuffled[100:])
    as_csv(log / "a.csv", shuffled[:100], USAGE_COLUMNS)
    as_csv(log / "b.csv", shuffled[100:200], ["extra", *reversed(USAGE_COLUMNS)])
    blanks = [f" {name.upper()} " for name in USAGE_COLUMNS]
    as_csv(log / "c.csv.gz", shuffled[200:], blanks, delimiter=";", encoding="utf-8-sig")
    as_jsonl(log / "a.jsonl", shuffled[:100])
    as_jsonl(log / "b.jsonl.gz", shuffled[100:])
    for pattern in ("log/*.parquet", "log/*.csv*", "log/*.jsonl*"):
        settings = settings_for([{"name": "log", "kind": "files", "uri": pattern}])
        assert answer_of(known, load_usage(settings, known, world.as_of)) == expected, pattern


def test_a_repeated_event_counts_once_over_several_sources(
    known: psycopg2.extensions.connection, settings_for: Build, world: World, tmp_path: Path
) -> None:
    rows = dirty_rows(7, 600)
    as_parquet(tmp_path / "first.parquet", rows[:200])
    as_jsonl(tmp_path / "second.jsonl", rows[200:400])
    url = f"sqlite:///{tmp_path / 'app.db'}"
    as_table(url, rows[400:])
    settings = settings_for(
        [
            {"name": "first", "kind": "files", "uri": "first.parquet"},
            {"name": "second", "kind": "files", "uri": "second.jsonl"},
            {"name": "app", "kind": "sql", "url_env": "APP_URL", "table": "Usage Log"},
        ],
        APP_URL=url,
    )
    expected = roll_up(
        [("first", rows[:200]), ("second", rows[200:400]), ("app", rows[400:])], world
    )
    assert answer_of(known, load_usage(settings, known, world.as_of)) == expected


def as_table(url: str, rows: Sequence[Row], types: dict[str, Any] | None = None) -> None:
    """The rows in a table with an awkward name; sources are read, never written, by us."""
    engine = sa.create_engine(url)
    table = sa.Table(
        "Usage Log",
        sa.MetaData(),
        *(sa.Column(name, (types or {}).get(name, sa.Text())) for name in USAGE_COLUMNS),
    )
    table.create(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), [dict(row) for row in rows])
    engine.dispose()


@pytest.mark.parametrize("instants", [sa.DateTime(timezone=True), sa.Numeric(), sa.Text()])
@pytest.mark.parametrize("values", [sa.Numeric(), sa.Text()])
def test_a_postgres_table_gives_what_its_events_as_a_file_give(
    instants: Any,
    values: Any,
    known: psycopg2.extensions.connection,
    database_url: str,
    settings_for: Build,
    world: World,
) -> None:
    rows: list[Any] = []
    for row in dirty_rows(11):
        if isinstance(values, sa.Numeric) and row["value"] not in {"NaN", "inf", None}:
            if value_of(row["value"]) is None or not row["value"]:
                continue
            row["value"] = Decimal(row["value"])  # type: ignore[assignment]
        if not isinstance(instants, sa.Text):
            if reason_of(row | {"value": "1"}, world.as_of) == "bad occurred_at":
                continue
            for name in ("occurred_at", "received_at"):
                at = instant_of(row[name])
                if at and isinstance(instants, sa.Numeric):
                    micros = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
                    row[name] = Decimal(micros) / 10**6  # type: ignore[assignment]
                else:
                    row[name] = at  # type: ignore[assignment]
        rows.append(row)
    types = {"value": values, "occurred_at": instants, "received_at": instants}
    as_table(database_url, rows, types)
    as_text = [
        {name: None if cell is None else str(cell) for name, cell in row.items()} for row in rows
    ]
    settings = settings_for(
        [{"name": "app", "kind": "sql", "url_env": "APP_URL", "table": "Usage Log"}],
        APP_URL=database_url.replace("postgresql+psycopg2", "postgresql"),
    )
    answer = answer_of(known, load_usage(settings, known, world.as_of))
    assert answer == roll_up([("app", as_text)], world)
