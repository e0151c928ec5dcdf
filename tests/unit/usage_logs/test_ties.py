"""Many events at one instant, days with many cuts, blank and repeated ids far down a file."""

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg2.extensions
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leakage_pipeline.settings import Settings
from leakage_pipeline.usage_logs.load import load_usage
from tests.unit.usage_logs.conftest import CUT
from tests.unit.usage_logs.reference import World, roll_up
from tests.unit.usage_logs.test_rollup import Row, answer_of, as_csv, as_parquet

_LOG = [{"name": "log", "kind": "files", "uri": "log"}]


@pytest.fixture
def world(world: World) -> World:
    """With a day that is cut three times."""
    third = CUT + timedelta(hours=3)
    return World(
        world.as_of,
        world.customers,
        {**world.cuts, "cus_1": sorted([*world.cuts["cus_1"], third])},
        world.finalizations,
        world.meter_names,
    )


def _events(count: int) -> list[Row]:
    """Many at one second, some with the id of another, far away or near, some with none."""
    draw = random.Random(7)  # noqa: S311 - nothing secret
    events: list[Row] = []
    for number in range(count):
        at = CUT + timedelta(hours=number // 40 % 10 - 4)
        known = draw.choice([f"e{draw.randrange(count)}", f"e{max(0, number - 3)}", "", "  ", None])
        events.append(
            {
                "event_id": f"e{number}" if draw.random() > 0.05 else known,
                "customer_id": draw.choice(["cus_1", "cus_1", "acc_2", "cus_unknown", None]),
                "meter": draw.choice(["calls", "storage"]),
                "value": draw.choice(["1", "0.25", "17", "-1", None]),
                "occurred_at": at.isoformat(),
                "source": draw.choice(["gateway", None]),
                "received_at": (at + timedelta(minutes=draw.randrange(99))).isoformat(),
            }
        )
    return events


def test_ties_and_repeats_far_down_a_file_give_the_reference_result(
    known: psycopg2.extensions.connection,
    settings_for: Callable[..., Settings],
    world: World,
    tmp_path: Path,
) -> None:
    """In a first load, and when a file more repeats the ids of all others."""
    events = _events(6_000)
    log = tmp_path / "log"
    log.mkdir()
    as_parquet(log / "a.parquet", events[:5_000])
    as_csv(log / "b.csv", events[5_000:5_500], list(events[0]))
    first = load_usage(settings_for(_LOG), known, world.as_of)
    assert answer_of(known, first) == roll_up([("log", events[:5_500])], world)
    as_parquet(log / "c.parquet", events[5_500:])
    more = load_usage(settings_for(_LOG), known, world.as_of)
    assert answer_of(known, more) == roll_up([("log", events)], world)


def test_whole_numbers_whose_instants_tie_give_the_reference_result(
    known: psycopg2.extensions.connection,
    settings_for: Callable[..., Settings],
    world: World,
    tmp_path: Path,
) -> None:
    """They are compared together with their instant, as one number."""
    draw = random.Random(11)  # noqa: S311 - nothing secret
    events = [
        {**event, "value": draw.choice([None, "-1", "0", "1", "17", "4096", str(10**15 - 1)])}
        for event in _events(3_000)
    ]
    log = tmp_path / "log"
    log.mkdir()
    for name, rows in (("a", events[:2_500]), ("b", events[2_500:])):
        columns = {column: [row[column] for row in rows] for column in events[0]}
        table = pa.table(columns)
        values = table["value"].cast(pa.int64())
        at = table.column_names.index("value")
        pq.write_table(table.set_column(at, "value", values), log / f"{name}.parquet")
    found = load_usage(settings_for(_LOG), known, world.as_of)
    assert answer_of(known, found) == roll_up([("log", events)], world)


def test_of_copies_at_one_instant_the_first_source_counts_then_the_first_arrival(
    known: psycopg2.extensions.connection,
    settings_for: Callable[..., Settings],
    world: World,
    tmp_path: Path,
) -> None:
    """What counted shows in the windows: one arrival is late, another in time, a third absurd."""
    at = CUT - timedelta(hours=1)
    early, late = at + timedelta(minutes=5), at + timedelta(hours=4)
    before_1970 = at.replace(year=1960)
    # By id and value: the arrivals in the first source, then in the second; none is unknown.
    arrivals = {
        1: ([late], [early]),
        2: ([early], [late]),
        4: ([late, early], []),
        8: ([None, late], []),
        16: ([None], [early]),
        32: ([early, before_1970], [late]),
    }
    logs: list[list[Row]] = [
        [
            {
                "event_id": f"e{value}",
                "customer_id": "cus_1",
                "meter": "calls",
                "value": str(value),
                "occurred_at": at.isoformat(),
                "source": "gateway",
                "received_at": received.isoformat() if received else None,
            }
            for value, by_source in arrivals.items()
            for received in by_source[place]
        ]
        for place in (0, 1)
    ]
    names = ("first", "second")
    for name, rows in zip(names, logs, strict=True):
        as_parquet(tmp_path / f"{name}.parquet", rows)
    sources = [{"name": name, "kind": "files", "uri": f"{name}.parquet"} for name in names]
    found = answer_of(known, load_usage(settings_for(sources), known, world.as_of))
    assert found == roll_up(list(zip(names, logs, strict=True)), world)
    ((_, total, _, _, late_count, late_sum, copies, skewed),) = found.windows.values()
    assert (total, late_count, late_sum, copies, skewed) == (63, 2, 9, 7, 1)
