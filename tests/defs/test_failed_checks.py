"""Failed checks in the words that report and terminal use."""

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg

from leakage_pipeline.defs.publishing.failed_checks import failed_checks_of_run
from leakage_pipeline.defs.transform.project import load_project

STALE = "int_quality__usage_meters__none_is_stale"


def test_checks_are_told_by_what_they_expect() -> None:
    """A check of ours by its own sentence, a dbt test by its description; no passed one."""
    nodes = json.loads(load_project().manifest_path.read_bytes())["nodes"]
    (stale,) = [key for key, node in nodes.items() if node["name"] == STALE]
    rule = "Every meter has an event in the last 36 hours"
    key = dg.AssetKey(["intermediate", "int_quality__usage_meters"])
    results = [
        dg.AssetCheckResult(passed=True, asset_key=key, check_name="passed"),
        dg.AssetCheckResult(
            passed=False, asset_key=key, check_name="ours", description="3 meters are odd."
        ),
        dg.AssetCheckResult(
            passed=False,
            asset_key=key,
            check_name=STALE,
            metadata={"unique_id": stale, "dagster_dbt/failed_row_count": 2},
        ),
    ]

    @dg.asset(
        key=key,
        check_specs=[dg.AssetCheckSpec(str(result.check_name), asset=key) for result in results],
    )
    def meters() -> Iterator[Any]:
        yield dg.Output(None)
        yield from results

    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize([meters], instance=instance)
        assert failed_checks_of_run(instance, run.run_id) == [
            "3 meters are odd (check of int_quality__usage_meters).",
            f"In 2 rows this does not hold: {rule} (check of int_quality__usage_meters).",
        ]
