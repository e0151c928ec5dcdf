"""Measures what it costs to price a company: the three dbt steps of an audit, per model and size.

Fills the raw tables of a scratch Postgres by SQL and runs the same dbt commands as the audit does.
Usage: python -m benchmarks.pricing [--customers N ...] [--tests] [--home FOLDER] [--slowest N]
"""

import argparse
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg2.extensions
from sqlalchemy.engine import make_url

from leakage_pipeline.defs.transform.assets import (
    METERING_QUESTIONS,
    PERIODS,
    dbt_environment,
    session_environment,
)
from leakage_pipeline.defs.transform.project import PROJECT_DIR
from leakage_pipeline.warehouse import schemas
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.embedded import Cluster

AS_OF = datetime(2026, 11, 20, 6, tzinfo=UTC)
_HERE = Path(__file__).resolve().parent
_STEPS = {
    "periods": ["--select", *PERIODS.split()],
    "questions": ["--select", *METERING_QUESTIONS.split(), "--exclude", *PERIODS.split()],
    "model": ["--exclude", *PERIODS.split(), *METERING_QUESTIONS.split()],
}


@dataclass
class Build:
    """One build of all three steps: seconds by node of dbt, by the clock, and of work.

    The work, which other programs on the machine do not lengthen, is told for the server and dbt.
    """

    nodes: dict[str, float]
    wall: float
    server: float
    dbt: float

    def of_kind(self, kind: str) -> float:
        """Seconds spent in the nodes of one kind, as if one after the other."""
        return sum(spent for name, spent in self.nodes.items() if name.startswith(kind))


def main() -> None:
    """Build every size, print a table for each and how the sizes compare."""
    arguments = _arguments()
    builds: dict[int, Build] = {}
    with _server(arguments.home) as (home, url):
        for customers in arguments.customers:
            fill(url, customers)
            done = build(url, home / "dbt", tests=arguments.tests)
            builds[customers] = done
            item_periods = _count(url, "intermediate.int_periods__item_periods")
            print(f"{customers:,} customers, {item_periods:,} item-periods")
            print(f"  {done.wall:8.1f} s wall, models {done.of_kind('model'):.1f} s, ", end="")
            print(f"tests {done.of_kind('test'):.1f} s")
            print(f"  {done.server:8.1f} s work of Postgres, {done.dbt:.1f} s of dbt")
            print(f"  {done.server / item_periods * 1000:8.3f} s work per 1,000 item-periods")
            slowest = sorted(done.nodes.items(), key=lambda node: -node[1])
            for name, spent in slowest[: arguments.slowest]:
                print(f"  {spent:8.1f} s  {name}", flush=True)
    sizes = list(builds)
    for smaller, larger in itertools.pairwise(sizes):
        _compare(smaller, builds[smaller], larger, builds[larger])


def _compare(smaller: int, before: Build, larger: int, after: Build) -> None:
    """How the work grew with the size, and the nodes that grew more than the size did."""
    growth = larger / smaller
    print(f"{growth:.1f} x customers: {after.server / before.server:.1f} x work of Postgres")
    ratios = {
        name: spent / max(before.nodes.get(name, spent), 0.1)
        for name, spent in after.nodes.items()
        if spent > 1
    }
    for name, ratio in sorted(ratios.items(), key=lambda node: -node[1]):
        if ratio > growth * 1.5:
            print(f"  {ratio:8.1f} x  {name}, {after.nodes[name]:.1f} s")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--tests", action="store_true", help="run the data tests too")
    parser.add_argument("--home", type=Path, help="keep server and data in this folder")
    parser.add_argument("--slowest", type=int, default=12)
    return parser.parse_args()


@contextmanager
def _server(kept: Path | None) -> Iterator[tuple[Path, str]]:
    """A server of our own, gone afterwards unless a folder to keep was named."""
    home = kept or Path(tempfile.mkdtemp(prefix="leakage-pricing-"))
    cluster = Cluster(home)
    try:
        yield home, cluster.ensure_running()
    finally:
        if kept is None:
            cluster.stop()
            shutil.rmtree(home, ignore_errors=True)


def fill(url: str, customers: int) -> None:
    """Make the warehouse hold the company, and nothing else."""
    connection = connect(url)
    try:
        schemas.drop_all(connection)
        schemas.create_all(connection)
        _execute(connection, "pricing_company.sql", customers=customers)
        connection.commit()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("vacuum analyze")
    finally:
        connection.close()


def _execute(connection: psycopg2.extensions.connection, name: str, **parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute((_HERE / name).read_text(encoding="utf-8"), {"as_of": AS_OF, **parameters})


def build(url: str, target: Path, *, tests: bool, more: tuple[str, ...] = ()) -> Build:
    """Run the three steps; between them, the meters answer as a real account would."""
    done = Build({}, 0, 0, 0)
    for step, selection in _STEPS.items():
        begin, server, dbt = time.perf_counter(), _server_work(url), _children_work()
        done.nodes |= _dbt(url, target, [*selection, *more], tests=tests)
        done.wall += time.perf_counter() - begin
        done.dbt += _children_work() - dbt
        done.server += _server_work(url) - server
        if step == "questions":
            _answer(url)
    return done


def _children_work() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _server_work(url: str) -> float:
    """Processor time of every session that has ended: the postmaster has waited for it."""
    socket = make_url(url).query["host"]
    lines = (Path(str(socket)).parent / "data" / "postmaster.pid").read_text().splitlines()
    times = psutil.Process(int(lines[0])).cpu_times()
    return float(times.children_user + times.children_system)


def _dbt(url: str, target: Path, arguments: list[str], *, tests: bool) -> dict[str, float]:
    target.mkdir(parents=True, exist_ok=True)
    excluded = ["unit_test"] if tests else ["unit_test", "test"]
    completed = subprocess.run(
        [
            *(os.fspath(Path(sys.executable).with_name("dbt")), "build", "--quiet"),
            *("--project-dir", os.fspath(PROJECT_DIR), "--profiles-dir", os.fspath(PROJECT_DIR)),
            *("--target-path", os.fspath(target), "--log-path", os.fspath(target)),
            *("--indirect-selection", "buildable", "--exclude-resource-type", *excluded),
            *arguments,
        ],
        env=os.environ | dbt_environment(url) | session_environment(url),
        check=False,
        capture_output=True,
        text=True,
    )
    if completed.returncode != 0:
        sys.exit(completed.stdout + completed.stderr)
    results = json.loads((target / "run_results.json").read_text(encoding="utf-8"))["results"]
    return {result["unique_id"]: result["execution_time"] for result in results}


def _answer(url: str) -> None:
    connection = connect(url)
    try:
        _execute(connection, "pricing_answers.sql")
        connection.commit()
    finally:
        connection.close()


def _count(url: str, table: str) -> int:
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"select count(*) from {table}")  # noqa: S608 - a name of ours
            (count,) = cursor.fetchone()
            return int(count)
    finally:
        connection.close()


if __name__ == "__main__":
    main()
