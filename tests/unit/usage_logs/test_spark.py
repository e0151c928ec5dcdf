"""Spark, on several processes, and DuckDB agree row for row on a dirty, repeating, late log."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest

from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.settings import USAGE_COLUMNS, Settings, load_settings
from leakage_pipeline.usage_logs.load import load_usage
from tests.unit.usage_logs.reference import World, roll_up
from tests.unit.usage_logs.test_rollup import (
    answer_of,
    as_csv,
    as_jsonl,
    as_parquet,
    dirty_rows,
)

ROOT = Path(__file__).resolve().parents[3]
QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def java_version() -> int:
    java = shutil.which("java")
    if java is None:
        return 0
    told = subprocess.run([java, "-version"], check=False, capture_output=True, text=True).stderr
    major = told.partition('"')[2].partition(".")[0]
    return int(major) if major.isdigit() else 0


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Configuration of a cluster of two worker processes that Spark starts and ends itself."""
    pytest.importorskip("pyspark", reason="pyspark is not installed: pip install .[spark]")
    if java_version() < 17:
        pytest.skip("no Java 17 or newer here (Debian: apt-get install openjdk-17-jre-headless)")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    return {
        "spark.master": "local-cluster[2,1,1024]",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executorEnv.PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "spark.ui.enabled": "false",
        # Short-lived processes: what starts fast wins.
        "spark.driver.extraJavaOptions": QUICK_START,
        "spark.executor.extraJavaOptions": QUICK_START,
        "spark.sql.shuffle.partitions": "4",
    }


def on_spark(settings: Settings, cluster: dict[str, str]) -> Settings:
    scan = settings.usage_scan.model_copy(update={"engine": "spark", "spark": cluster})
    return settings.model_copy(update={"usage_scan": scan})


@pytest.mark.filterwarnings("ignore")  # pyspark's own
def test_spark_gives_what_duckdb_gives(
    cluster: dict[str, str],
    known: psycopg2.extensions.connection,
    settings_for: Callable[..., Settings],
    world: World,
    tmp_path: Path,
) -> None:
    """Two sources, four files of three forms, ids repeated in all of them, many rows unreadable."""
    rows = dirty_rows(7, 900)
    first, second = rows[:500], rows[500:]
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    as_parquet(tmp_path / "first" / "a.parquet", first[:300])
    as_jsonl(tmp_path / "first" / "b.jsonl.gz", first[300:])
    as_csv(tmp_path / "second" / "c.csv", second[:200], USAGE_COLUMNS)
    as_csv(tmp_path / "second" / "d.csv.gz", second[200:], ["extra", *reversed(USAGE_COLUMNS)])
    with (tmp_path / "second" / "c.csv").open("a") as file:
        file.write("no,event\n")
    configured = settings_for(
        [{"name": name, "kind": "files", "uri": name} for name in ("first", "second")]
    )
    by_duckdb = answer_of(known, load_usage(configured, known, world.as_of))
    whole = table_of(known)
    result = load_usage(on_spark(configured, cluster), known, world.as_of)
    by_spark = answer_of(known, result)
    assert by_spark == by_duckdb
    assert table_of(known) == whole
    expected = roll_up([("first", first), ("second", second)], world)
    expected.rejected["second"]["malformed line"] = 1
    assert by_spark == expected
    assert by_spark.duplicates > 200
    assert any(window[4] for window in by_spark.windows.values()), "some event must be late"


def table_of(conn: psycopg2.extensions.connection) -> list[Any]:
    with conn.cursor() as cursor:
        cursor.execute("select * from raw_usage.usage_windows order by 1, 2, 3, 4")
        return cursor.fetchall()


def test_an_engine_that_is_not_installed_is_one_clear_message(
    monkeypatch: pytest.MonkeyPatch,
    known: psycopg2.extensions.connection,
    settings_for: Callable[..., Settings],
    world: World,
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    (tmp_path / "a.csv").write_text("event_id,customer_id,meter,occurred_at\n")
    configured = on_spark(settings_for([{"name": "a", "kind": "files", "uri": "a.csv"}]), {})
    with pytest.raises(ConfigurationError, match="Spark is not installed; pip install"):
        load_usage(configured, known, world.as_of)


def test_the_engine_is_chosen_in_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "leakage.yaml"
    path.write_text(
        "sources: {}\n"
        "usage_scan: {engine: spark, memory_limit: 8GB, spark: {spark.master: 'yarn'}}\n"
    )
    scan = load_settings(path, {}).usage_scan
    assert (scan.engine, scan.memory_limit, scan.spark) == (
        "spark",
        "8GB",
        {"spark.master": "yarn"},
    )
    path.write_text("sources: {}\nusage_scan: {memory_limit: lots}\n")
    with pytest.raises(ConfigurationError, match=r"usage_scan\.memory_limit"):
        load_settings(path, {})
