"""A scan that reads only what changed gives what a scan of the whole log gives."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from leakage_pipeline.settings import Settings
from leakage_pipeline.usage_logs.load import load_usage
from tests.unit.usage_logs.conftest import AS_OF
from tests.unit.usage_logs.reference import World, roll_up
from tests.unit.usage_logs.test_rollup import (
    Row,
    answer_of,
    as_csv,
    as_jsonl,
    as_parquet,
    dirty_rows,
)

Warehouse = psycopg2.extensions.connection
Build = Callable[..., Settings]
NAMES = ("a.parquet", "b.parquet", "c.csv", "d.jsonl")
SOURCE = {"name": "log", "kind": "files", "uri": "log"}
COLUMNS = ("event_id", "customer_id", "meter", "value", "occurred_at", "source", "received_at")


def write(path: Path, rows: list[Row]) -> None:
    if path.suffix == ".parquet":
        as_parquet(path, rows)
    elif path.suffix == ".csv":
        as_csv(path, rows, COLUMNS)
    else:
        as_jsonl(path, rows)


def files_read(conn: Warehouse) -> dict[str, datetime]:
    with conn.cursor() as cursor:
        cursor.execute("select path, read_as_of from ops.usage_files")
        return {Path(path).name: read_as_of for path, read_as_of in cursor.fetchall()}


def moved(instant: datetime) -> datetime:
    return instant + timedelta(hours=3, seconds=5)


@settings(
    derandomize=True,
    deadline=None,
    max_examples=6,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_order_of_changes_gives_what_the_whole_log_gives(
    data: st.DataObject,
    known: Warehouse,
    settings_for: Build,
    world: World,
    tmp_path: Path,
) -> None:
    """Files come, change and go, dirty and with repeated ids; billing moves cuts and invoices."""
    log = tmp_path / "log"
    log.mkdir(exist_ok=True)
    for path in log.iterdir():
        path.unlink()
    shutil.rmtree(tmp_path / "home" / "usage_scan", ignore_errors=True)
    bill(known, world)
    configured = settings_for([SOURCE])
    pool = dirty_rows(data.draw(st.integers(0, 1000)), 120)
    held: dict[str, list[Row]] = {}
    as_of = world.as_of
    for _ in range(data.draw(st.integers(2, 4))):
        for name in data.draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)):
            if name in held and len(held) > 1 and data.draw(st.booleans()):
                del held[name]
                (log / name).unlink()
            else:
                held[name] = data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=40))
                write(log / name, held[name])
        if data.draw(st.booleans()):
            world = moved_billing(world)
            bill(known, world)
        as_of += timedelta(hours=data.draw(st.integers(0, 30)))
        world.as_of = as_of
        before = usage_of(known)
        answer = answer_of(known, load_usage(configured, known, as_of))
        assert_told_to_nights(known, before)
        rows = [row for name in sorted(held) for row in held[name]]
        assert answer == roll_up([("log", rows)], world)
    assert answer_of(known, load_usage(configured, known, as_of, anew=True)) == answer


def usage_of(conn: Warehouse) -> dict[str, set[str]]:
    """Every customer's usage as text."""
    with conn.cursor() as cursor:
        cursor.execute(
            "select customer_id, own::text from raw_usage.usage_windows as own"
            " union all select customer_id, own::text from raw_usage.late_arrivals as own"
        )
        usage: dict[str, set[str]] = {}
        for customer, row in cursor:
            usage.setdefault(customer, set()).add(row)
    conn.rollback()
    return usage


def assert_told_to_nights(conn: Warehouse, before: dict[str, set[str]]) -> None:
    """Nights are told of every customer whose usage is not what it was; '' names all."""
    after = usage_of(conn)
    with conn.cursor() as cursor:
        cursor.execute("delete from ops.usage_written returning customer_id")
        written = {customer for (customer,) in cursor}
    conn.commit()
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert "" in written or changed <= written


def moved_billing(world: World) -> World:
    """Every cut of one customer and every known finalisation come later."""
    cuts = {**world.cuts, "cus_1": [moved(cut) for cut in world.cuts["cus_1"]]}
    finals = [
        (*final[:4], moved(final[4]) if final[4] is not None else None)
        for final in world.finalizations
    ]
    return World(world.as_of, world.customers, cuts, finals, world.meter_names)


def bill(conn: Warehouse, world: World) -> None:
    with conn.cursor() as cursor:
        cursor.execute(
            "delete from intermediate.int_periods__usage_cuts;"
            "delete from intermediate.int_periods__usage_finalizations"
        )
        cursor.executemany(
            "insert into intermediate.int_periods__usage_cuts values (%s, %s)",
            [(customer, cut) for customer, cuts in world.cuts.items() for cut in cuts],
        )
        cursor.executemany(
            "insert into intermediate.int_periods__usage_finalizations values (%s, %s, %s, %s, %s)",
            world.finalizations,
        )
    conn.commit()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of two days, one file each."""
    folder = tmp_path / "log"
    folder.mkdir()
    for day in (1, 2):
        write(folder / f"day{day}.csv", [event(f"{day}-{n}", day) for n in range(5)])
    return folder


def event(event_id: str, day: int, **more: Any) -> Row:
    at = datetime(2026, 5, day, 12, tzinfo=UTC).isoformat()
    row: Row = {"event_id": event_id, "customer_id": "cus_1", "meter": "calls", "value": "1"}
    return {**row, "occurred_at": at, "source": "", "received_at": None, **more}


def test_a_file_that_has_not_changed_is_not_read_again(
    known: Warehouse, settings_for: Build, log: Path
) -> None:
    load_usage(settings_for([SOURCE]), known, AS_OF)
    later = AS_OF + timedelta(days=1)
    write(log / "day3.csv", [event("3-0", 3)])
    assert load_usage(settings_for([SOURCE]), known, later).events == 11
    assert files_read(known) == {"day1.csv": AS_OF, "day2.csv": AS_OF, "day3.csv": later}


@pytest.mark.usefixtures("log")
def test_a_day_can_be_read_anew(known: Warehouse, settings_for: Build) -> None:
    load_usage(settings_for([SOURCE]), known, AS_OF)
    later = AS_OF + timedelta(days=1)
    day = datetime(2026, 5, 2, tzinfo=UTC).date()
    assert load_usage(settings_for([SOURCE]), known, later, repair=[day]).events == 10
    assert files_read(known) == {"day1.csv": AS_OF, "day2.csv": later}


def test_only_the_windows_that_moved_are_written(
    known: Warehouse, settings_for: Build, log: Path
) -> None:
    load_usage(settings_for([SOURCE]), known, AS_OF)
    assert_told_to_nights(known, {})
    before, usage = versions(known), usage_of(known)
    write(log / "day3.csv", [event("1-0", 3), event("late", 2, customer_id="cus_2")])
    load_usage(settings_for([SOURCE]), known, AS_OF + timedelta(days=1))
    assert_told_to_nights(known, usage)
    after = versions(known)
    # The repeat counts where the event came first; the other customer's window is new.
    assert {key for key in after if after[key] != before.get(key)} == {
        ("cus_1", datetime(2026, 5, 1, tzinfo=UTC)),
        ("cus_2", datetime(2026, 5, 2, tzinfo=UTC)),
    }


def versions(conn: Warehouse) -> dict[tuple[str, datetime], str]:
    with conn.cursor() as cursor:
        cursor.execute("select customer_id, window_start, xmin::text from raw_usage.usage_windows")
        return {(row[0], row[1]): row[2] for row in cursor.fetchall()}


@pytest.mark.usefixtures("log")
def test_the_audit_of_a_past_day_leaves_the_state_as_it_is(
    known: Warehouse, settings_for: Build
) -> None:
    configured = settings_for([SOURCE])
    load_usage(configured, known, AS_OF)
    assert load_usage(configured, known, datetime(2026, 5, 2, tzinfo=UTC)).events == 5
    assert load_usage(configured, known, AS_OF).events == 10
    with known.cursor() as cursor:
        cursor.execute("select sum(event_count) from raw_usage.usage_windows")
        assert cursor.fetchall() == [(10,)]


@pytest.mark.usefixtures("log")
def test_a_broken_state_and_a_changed_warehouse_are_mended(
    known: Warehouse, settings_for: Build, tmp_path: Path
) -> None:
    configured = settings_for([SOURCE])
    load_usage(configured, known, AS_OF)
    with known.cursor() as cursor:
        cursor.execute("delete from raw_usage.usage_windows")
    known.commit()
    assert load_usage(configured, known, AS_OF).windows == 2
    (tmp_path / "home" / "usage_scan" / "state.duckdb").write_bytes(b"no database" * 1000)
    assert load_usage(configured, known, AS_OF).windows == 2


def test_an_event_in_the_future_counts_when_its_time_has_come(
    known: Warehouse, settings_for: Build, log: Path
) -> None:
    configured = settings_for([SOURCE])
    write(log / "soon.csv", [event("soon", 31, occurred_at="2026-06-01T20:00Z")])
    assert load_usage(configured, known, AS_OF).rejected["log"] == {"occurred_at after as_of": 1}
    tomorrow = load_usage(configured, known, AS_OF + timedelta(days=1))
    assert (tomorrow.events, tomorrow.rejected) == (11, {})


@pytest.mark.usefixtures("log")
def test_a_late_cut_moves_the_events_of_its_day(known: Warehouse, settings_for: Build) -> None:
    configured = settings_for([SOURCE])
    load_usage(configured, known, AS_OF)
    with known.cursor() as cursor:
        cursor.execute(
            "insert into intermediate.int_periods__usage_cuts values ('cus_1', '2026-05-02T11:00Z')"
        )
    known.commit()
    load_usage(configured, known, AS_OF + timedelta(days=1))
    assert list(versions(known)) == [
        ("cus_1", datetime(2026, 5, 1, tzinfo=UTC)),
        ("cus_1", datetime(2026, 5, 2, 11, tzinfo=UTC)),
    ]
