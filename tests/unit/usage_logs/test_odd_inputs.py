"""Logs as they come: odd files, odd values, odd names. What cannot be read is counted and told."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import psycopg2.extensions
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leakage_pipeline.failures import ConfigurationError, PermanentFailure
from leakage_pipeline.settings import Settings
from leakage_pipeline.usage_logs.load import load_usage
from leakage_pipeline.usage_logs.meaning import UsageLoadResult
from tests.unit.usage_logs.conftest import AS_OF, CUT

Build = Callable[..., Settings]
Warehouse = psycopg2.extensions.connection
HEADER = "event_id,customer_id,meter,value,occurred_at"


@pytest.fixture
def load(known: Warehouse, settings_for: Build, tmp_path: Path) -> Callable[..., UsageLoadResult]:
    """Write a log file and roll it up."""

    def run(name: str, content: str | bytes, **columns: str) -> UsageLoadResult:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load_usage(settings_of(settings_for, name, **columns), known, AS_OF)

    return run


def settings_of(build: Build, uri: str, **columns: str) -> Settings:
    return build([{"name": "log", "kind": "files", "uri": uri, "columns": columns}])


def windows(conn: Warehouse, *columns: str) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.execute(
            "select * from raw_usage.usage_windows order by customer_id, meter, window_start"
        )
        names = [column.name for column in cursor.description or ()]
        return [tuple(row[names.index(name)] for name in columns) for row in cursor.fetchall()]


def rejected(conn: Warehouse) -> dict[str, str]:
    with conn.cursor() as cursor:
        cursor.execute("select location, reason from ops.rejected_rows")
        return dict(cursor.fetchall())


def test_missing_optional_columns_have_their_defaults(
    load: Callable[..., UsageLoadResult], known: Warehouse
) -> None:
    result = load("a.csv", "event_id,customer_id,meter,occurred_at\n1,cus_1,calls,2026-05-01\n")
    assert windows(known, "source", "quantity_sum", "late_count") == [("", 1, 0)]
    assert (result.windows, result.events, result.rejected) == (1, 1, {})


def test_an_event_exactly_at_a_cut_belongs_to_the_later_window(
    load: Callable[..., UsageLoadResult], known: Warehouse
) -> None:
    load(
        "a.csv",
        f"{HEADER}\n1,cus_2,m,1,2026-05-04T14:23:06.999999Z\n2,cus_2,m,2,2026-05-04T14:23:07Z\n",
    )
    assert windows(known, "quantity_sum", "window_start", "window_end") == [
        (1, datetime(2026, 5, 4, tzinfo=UTC), CUT),
        (2, CUT, datetime(2026, 5, 5, tzinfo=UTC)),
    ]


def test_every_rejected_row_says_where_what_and_why(
    load: Callable[..., UsageLoadResult], known: Warehouse
) -> None:
    result = load(
        "a.csv",
        f"{HEADER}\n"
        "1,cus_1,calls,1,2026-05-01\n"
        "2,cus_1\n"
        ",cus_1,calls,1,2026-05-01\n"
        "3,cus_1,calls,1,2026-05-01,extra\n"
        "4, ,calls,1,2026-05-01\n"
        '5,cus_1,"",1,2026-05-01\n'
        "6,cus_1,calls,1e30,2026-05-01\n"
        "7,cus_1,calls,-0.1,2026-05-01\n"
        "8,cus_1,calls,1,20260501\n"
        "9,cus_1,calls,1,2026-06-01T06:00:00.000001\n",
    )
    assert rejected(known) == {
        "a.csv:3": "malformed line",
        "a.csv:4": "missing event_id",
        "a.csv:5": "malformed line",
        "a.csv:6": "missing customer_id",
        "a.csv:7": "missing meter",
        "a.csv:8": "bad value",
        "a.csv:9": "negative value",
        "a.csv:10": "bad occurred_at",
        "a.csv:11": "occurred_at after as_of",
    }
    assert sum(result.rejected["log"].values()) == 9
    assert result.unreadable == 8
    assert result.unreadable_share == pytest.approx(8 / 9)
    with known.cursor() as cursor:
        cursor.execute("select payload from ops.rejected_rows where location = 'a.csv:9'")
        (row,) = cursor.fetchall()
    assert json.loads(row[0])["value"] == "-0.1"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quote_that_is_never_closed_loses_its_line_alone(
    end: str, load: Callable[..., UsageLoadResult], known: Warehouse
) -> None:
    good = [f"e{n},cus_1,calls,1,2026-05-01" for n in range(30_000)]
    lines = [HEADER, *good[:10], '"open,cus_1,calls,1,2026-05-01', *good[10:]]
    lines.append('"quoted\nover lines",cus_1,calls,1,2026-05-01')
    result = load("a.csv", end.join(lines))
    assert result.events == 30_001
    assert rejected(known) == {"a.csv:12": "malformed line"}


def test_mixed_line_ends_are_read(load: Callable[..., UsageLoadResult], known: Warehouse) -> None:
    load("a.csv", f"{HEADER}\n1,cus_1,m,1,2026-05-01\r\n2,cus_1,m,1,2026-05-01\nbad,row\r\n")
    assert windows(known, "event_count") == [(2,)]
    assert rejected(known) == {"a.csv:4": "malformed line"}


def test_bytes_that_are_no_text_are_malformed(load: Callable[..., UsageLoadResult]) -> None:
    rows = [HEADER.encode(), b"1,cus_1,m,1,2026-05-01", b"2,z\xfcrich,m,1,2026-05-01"]
    assert load("a.csv", b"\n".join(rows)).rejected == {"log": {"malformed line": 1}}
    rows.append(b'"3,cus_1,m,1,2026-05-01')
    assert load("b.csv", b"\n".join(rows)).rejected == {"log": {"malformed line": 2}}
    assert load("c.jsonl", b'{"event_id": "\xff"}\n').rejected == {"log": {"malformed line": 1}}


def test_one_file_with_an_open_quote_does_not_count_the_others_twice(
    known: Warehouse, settings_for: Build, tmp_path: Path
) -> None:
    for name in "abc":
        rows = [f"{name}{n},cus_1,calls,1,2026-05-01" for n in range(100)]
        rows.insert(50, f"{'' if name != 'b' else chr(34)}x{name},cus_1,calls,-1,2026-05-01")
        (tmp_path / f"{name}.csv").write_text("\n".join([HEADER, *rows]))
    result = load_usage(settings_of(settings_for, "*.csv"), known, AS_OF)
    assert (result.events, result.duplicates) == (300, 0)
    assert rejected(known) == {
        "a.csv:52": "negative value",
        "b.csv:52": "malformed line",
        "c.csv:52": "negative value",
    }


def test_json_lines_keep_every_digit_and_name_the_line(
    load: Callable[..., UsageLoadResult], known: Warehouse
) -> None:
    event = '"customer_id": "cus_1", "meter": "m", "value": '
    lines = [
        f'{{"event_id": 1, {event} 123456789.123456789012, "occurred_at": 1777593600}}',
        "",
        f'{{"n": {{"value": 5}}, "event_id": "2", {event} "1e-12", "occurred_at": 1777593600123}}',
        "{broken",
        "[1, 2]",
        f'{{"event_id": "3", {event} true, "occurred_at": "2026-05-01", "received_at": null}}',
        f'{{"event_id": "4", {event} 1}}',
    ]
    load("a.jsonl.gz", gzip.compress(("\ufeff" + "\r\n".join(lines)).encode()))
    assert windows(known, "quantity_sum", "event_count", "last_at") == [
        (Decimal("123456789.123456789013"), 2, datetime(2026, 5, 1, 0, 0, 0, 123000, UTC))
    ]
    assert rejected(known) == {
        "a.jsonl.gz:4": "malformed line",
        "a.jsonl.gz:5": "malformed line",
        "a.jsonl.gz:6": "bad value",
        "a.jsonl.gz:7": "bad occurred_at",
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([0.1, 0.2], pa.float64()), "0.3"),
        (pa.array([0.1, 0.2], pa.float32()), "0.3"),
        (pa.array([123456789.1, None], pa.float64()), "123456790.1"),
        (pa.array([2**53 + 1, 1], pa.int64()), "9007199254740994"),
        (pa.array([2**64 - 1, 1], pa.uint64()), None),
        (pa.array([Decimal("1.23"), None], pa.decimal128(10, 2)), "2.23"),
        (pa.array([Decimal("1.1234567890125"), Decimal(1)], pa.decimal128(38, 13)),
         "2.123456789013"),
        (pa.array(["1E3", "+.5"], pa.string()), "1000.5"),
        (pa.array(["7", ""], pa.large_string()).dictionary_encode(), "8"),
        (pa.array([None, None], pa.null()), "2"),
        (pa.array([b"2", b"3"], pa.binary()), "5"),
    ],
)  # fmt: skip
def test_typed_values_are_exact(
    values: pa.Array, expected: str | None, known: Warehouse, settings_for: Build, tmp_path: Path
) -> None:
    columns = {
        "event_id": [1, 2],
        "customer_id": ["cus_1", "cus_1"],
        "meter": ["m", "m"],
        "value": values,
        "occurred_at": pa.array([datetime(2026, 5, 1)] * 2, pa.timestamp("us")),  # noqa: DTZ001
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    result = load_usage(settings_of(settings_for, "a.parquet"), known, AS_OF)
    if expected is None:
        assert result.rejected == {"log": {"bad value": 1}}
    else:
        assert windows(known, "quantity_sum") == [(Decimal(expected),)]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0, 1e18])
def test_values_that_are_no_quantity_are_rejected(
    bad: float, known: Warehouse, settings_for: Build, tmp_path: Path
) -> None:
    columns = {
        "event_id": ["1"],
        "customer_id": ["cus_1"],
        "meter": ["m"],
        "value": [bad],
        "occurred_at": ["2026-05-01"],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    result = load_usage(settings_of(settings_for, "a.parquet"), known, AS_OF)
    assert result.rejected == {"log": {"negative value" if bad == -1 else "bad value": 1}}
    assert list(rejected(known)) == ["a.parquet:1"]
    assert windows(known, "event_count") == []


MICROS = 1777593600123456
ALIKE = datetime(2026, 5, 1, 0, 0, 0, 123456, UTC)


@pytest.mark.parametrize(
    ("instants", "expected"),
    [
        (pa.array([MICROS], pa.timestamp("us")), ALIKE),
        (pa.array([MICROS], pa.timestamp("us", "Europe/Berlin")), ALIKE),
        (pa.array([MICROS * 1000 + 999], pa.timestamp("ns")), ALIKE),
        (pa.array([MICROS * 1000 + 999], pa.timestamp("ns", "UTC")), ALIKE),
        (pa.array([MICROS // 1000], pa.timestamp("ms")), ALIKE.replace(microsecond=123000)),
        (pa.array([MICROS // 1000], pa.int64()), ALIKE.replace(microsecond=123000)),
        (pa.array([MICROS // 10**6], pa.int32()), ALIKE.replace(microsecond=0)),
        (pa.array([MICROS / 10**6], pa.float64()), ALIKE),
        (pa.array([Decimal(MICROS) / 10**6], pa.decimal128(20, 6)), ALIKE),
        (pa.array([date(2026, 5, 1)], pa.date32()), ALIKE.replace(microsecond=0)),
        (pa.array(["20260501T000000.123456Z"]), ALIKE),
        (pa.array(["2026-05-01T05:30:00.123456+0530"]), ALIKE),
        (pa.array(["2026-04-30 14:00:00.123456-10"]), ALIKE),
        (pa.array([str(MICROS // 1000)]), ALIKE.replace(microsecond=123000)),
        (pa.array(["infinity"]), None),
        (pa.array(["01/05/2026"]), None),
        (pa.array([20260501], pa.int64()), None),
        (pa.array([True]), None),
        (pa.array([None], pa.int64()), None),
        (pa.array([2**63 - 1], pa.int64()), None),
    ],
)
def test_instants_in_every_notation(
    instants: pa.Array,
    expected: datetime | None,
    known: Warehouse,
    settings_for: Build,
    tmp_path: Path,
) -> None:
    columns = {"event_id": ["1"], "customer_id": ["cus_1"], "meter": ["m"], "at": instants}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    settings = settings_of(settings_for, "a.parquet", occurred_at="at")
    result = load_usage(settings, known, AS_OF)
    if expected is None:
        assert result.rejected == {"log": {"bad occurred_at": 1}}
    else:
        assert windows(known, "last_at") == [(expected,)]


def test_partition_folders_are_columns(
    known: Warehouse, settings_for: Build, tmp_path: Path
) -> None:
    folder = tmp_path / "usage" / "meter=007" / "day=2026-05-01"
    folder.mkdir(parents=True)
    columns = {"event_id": ["1"], "customer_id": ["cus_1"], "occurred_at": ["2026-05-01"]}
    pq.write_table(pa.table(columns), folder / "odd [1].parquet")
    (folder / "_SUCCESS").touch()
    (folder / ".part.crc").touch()
    load_usage(settings_of(settings_for, "usage"), known, AS_OF)
    assert windows(known, "meter", "event_count") == [("007", 1)]


def test_a_character_that_postgres_cannot_store_stops_nothing(
    load: Callable[..., UsageLoadResult], known: Warehouse
) -> None:
    load("a.csv", f"{HEADER}\n1,cus_1,a\x00b,1,2026-05-01\n2,cus_\x00,m,1,2026-05-01\n")
    assert windows(known, "meter") == [("a\N{REPLACEMENT CHARACTER}b",)]


def test_the_log_is_reread_whole_and_an_empty_one_is_empty(
    load: Callable[..., UsageLoadResult], known: Warehouse
) -> None:
    first = load("a.csv", f"{HEADER}\n1,cus_1,m,1,2026-05-01\n1,cus_1,m,1,2026-05-01\n")
    assert (first.events, first.duplicates) == (1, 1)
    before = windows(known, "customer_id", "duplicate_events")
    load("a.csv", f"{HEADER}\n1,cus_1,m,1,2026-05-01\n1,cus_1,m,1,2026-05-01\n")
    assert windows(known, "customer_id", "duplicate_events") == before == [("cus_1", 1)]
    assert load("a.csv", "").windows == 0
    assert load("a.csv", HEADER).events == 0
    assert windows(known, "customer_id") == []


def test_what_a_killed_run_left_behind_goes(
    load: Callable[..., UsageLoadResult], tmp_path: Path
) -> None:
    folder = tmp_path / "home" / "duckdb"
    (folder / "4194305-left" / "spill").mkdir(parents=True)  # no process has so high a number
    load("a.csv", HEADER)
    assert list(folder.iterdir()) == []


def test_without_usage_sources_the_tables_are_empty(
    load: Callable[..., UsageLoadResult], known: Warehouse, settings_for: Build
) -> None:
    load("a.csv", f"{HEADER}\n1,cus_1,m,1,2026-05-01\n")
    assert load_usage(settings_for([]), known, AS_OF).missing
    assert windows(known, "customer_id") == []


def test_a_past_day_audited_again_does_not_see_what_came_later(
    known: Warehouse, settings_for: Build, tmp_path: Path
) -> None:
    rows = [f"{n},cus_1,m,1,2026-05-{1 + n % 20:02},2026-05-21" for n in range(400)]
    (tmp_path / "a.csv").write_text("\n".join([HEADER + ",received_at", *rows]))
    settings = settings_of(settings_for, "a.csv")
    result = load_usage(settings, known, datetime(2026, 5, 10, tzinfo=UTC))
    assert result.events == 0
    assert result.rejected["log"] == {
        "occurred_at after as_of": 200,
        "received_at after as_of": 200,
    }
    assert result.unreadable_share == 0
    with known.cursor() as cursor:
        cursor.execute("select count(*), min(payload) filter (where location like 'further%')"
                       " from ops.rejected_rows")  # fmt: skip
        (row,) = cursor.fetchall()
    assert row == (202, '{"rows": 200, "kept": 100}')
    assert load_usage(settings, known, AS_OF).events == 400


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"event_id,meter,occurred_at\n", "a.csv: has no column customer_id"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\x00\x00", "no UTF-8 text"),
        ("a.csv.gz", b"event_id,meter", "cannot be read: Not a gzipped file"),
        ("a.parquet", b"PAR1 and then nothing", "cannot be read"),
        ("a.jsonl.gz", b"{}", "cannot be read"),
        ("a.txt", b"", "ends in none of"),
    ],
)
def test_a_log_that_is_unreadable_as_a_whole_is_one_clear_message(
    name: str, content: bytes, message: str, load: Callable[..., UsageLoadResult], known: Warehouse
) -> None:
    load("good.csv", f"{HEADER}\n1,cus_1,m,1,2026-05-01\n")
    with pytest.raises(ConfigurationError, match=message) as caught:
        load(name, content)
    assert "leakage.yaml: sources.usage[log]: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert windows(known, "customer_id") == [("cus_1",)], "the old result stays"


def test_a_pattern_that_matches_nothing(known: Warehouse, settings_for: Build) -> None:
    with pytest.raises(ConfigurationError, match=r"no file matches .*/nowhere/\*\*/\*\.parquet"):
        load_usage(settings_of(settings_for, "nowhere/**/*.parquet"), known, AS_OF)


def test_an_object_store_is_read_by_its_uri(known: Warehouse, settings_for: Build) -> None:
    store = fsspec.filesystem("memory")
    with store.open("/bucket/2026/a.jsonl", "wb") as file:
        file.write(b'{"event_id":1,"customer_id":"cus_1","meter":"m","occurred_at":"2026-05-01"}\n')
    with store.open("/bucket/2026/b.csv.gz", "wb") as file:
        file.write(gzip.compress(f"{HEADER}\n2,cus_1,m,1,2026-05-01\n3,c\n".encode()))
    names = ("event_id", "customer_id", "meter", "occurred_at")
    row = pa.table([["4"], ["cus_1"], ["m"], ["2026-05-01"]], names)
    pq.write_table(row, "bucket/2026/c.parquet", filesystem=store)
    load_usage(settings_of(settings_for, "memory://bucket/**/*.*"), known, AS_OF)
    assert windows(known, "event_count") == [(3,)]
    assert list(rejected(known).values()) == ["malformed line"]


def test_the_periods_must_have_been_computed(
    warehouse: Warehouse, settings_for: Build, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(HEADER)
    with pytest.raises(PermanentFailure, match="int_periods__usage_cuts does not exist yet"):
        load_usage(settings_of(settings_for, "a.csv"), warehouse, AS_OF)


def test_rejected_rows_of_a_database_are_told_by_their_id(
    known: Warehouse, database_url: str, settings_for: Build
) -> None:
    with known.cursor() as cursor:
        cursor.execute(
            "create table public.events"
            " (id bigint, who text, what text, at timestamptz, n numeric);"
            "insert into events values (1, 'cus_1', 'm', '2026-05-01', 2),"
            " (2, null, 'm', '2026-05-01', 2), (3, 'cus_1', 'm', 'infinity', 2),"
            " (null, 'cus_1', 'm', '2026-05-01', 2), (4, 'cus_1', 'm', '2026-05-01', 'NaN')"
        )
    known.commit()
    names = {"event_id": "id", "customer_id": "who", "meter": "what", "occurred_at": "at"}
    settings = settings_for(
        [
            {
                "name": "app",
                "kind": "sql",
                "url_env": "APP_URL",
                "table": "public.events",
                "columns": names | {"value": "n"},
            }
        ],
        APP_URL=database_url,
    )
    result = load_usage(settings, known, AS_OF)
    assert windows(known, "quantity_sum") == [(2,)]
    found = rejected(known)
    assert found["public.events:2"] == "missing customer_id"
    assert found["public.events:3"] == "bad occurred_at"
    assert found["public.events:4"] == "bad value"
    assert sorted(result.rejected["app"].values()) == [1, 1, 1, 1]
