"""Neither the order of usage events nor how often they are sent changes the roll-up."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2.extensions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leakage_pipeline.settings import Settings
from leakage_pipeline.usage_logs.load import load_usage
from tests.unit.usage_logs.conftest import AS_OF, CUT
from tests.unit.usage_logs.test_rollup import Row, answer_of, as_jsonl, as_parquet

DAYS = st.integers(-3 * 86400, 3 * 86400)


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    """Events with ids of their own, around the cut of their customer's period."""
    count = draw(st.integers(1, 25))
    return [
        {
            "event_id": f"event_{index}",
            "customer_id": draw(st.sampled_from(["cus_1", "cus_2", "acc_2", "cus_unknown"])),
            "meter": draw(st.sampled_from(["calls", "storage"])),
            "value": str(draw(st.decimals(0, 10**6, places=3))),
            "occurred_at": (CUT + timedelta(seconds=draw(DAYS))).isoformat(),
            "source": draw(st.sampled_from(["gateway", "worker", None])),
            "received_at": None,
        }
        for index in range(count)
    ]


@settings(
    derandomize=True,
    deadline=None,
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(events=logs(), data=st.data())
def test_shuffled_and_repeated_events_give_the_same_windows(
    events: list[Row],
    data: st.DataObject,
    known: psycopg2.extensions.connection,
    settings_for: Callable[..., Settings],
    tmp_path: Path,
) -> None:
    """In other files, in another order, some of them twice: only duplicate_events tells."""
    repeated = data.draw(st.lists(st.sampled_from(events), max_size=10))
    shuffled = data.draw(st.permutations([*events, *repeated]))
    cut = data.draw(st.integers(0, len(shuffled)))
    as_parquet(tmp_path / "once.parquet", events)
    as_parquet(tmp_path / "part_1.parquet", shuffled[:cut])
    as_jsonl(tmp_path / "part_2.jsonl", shuffled[cut:])
    once = _windows(known, settings_for([_files("log", "once.parquet")]))
    again = _windows(
        known, settings_for([_files("one", "part_1.parquet"), _files("two", "part_2.jsonl")])
    )
    assert again == once


def _files(name: str, uri: str) -> dict[str, str]:
    return {"name": name, "kind": "files", "uri": uri}


def _windows(conn: psycopg2.extensions.connection, configured: Settings) -> Any:
    answer = answer_of(conn, load_usage(configured, conn, AS_OF))
    # All but duplicate_events, the last but one.
    return {key: row[:6] + row[7:] for key, row in answer.windows.items()}, answer.unattributed
