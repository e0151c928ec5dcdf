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
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import psycopg2.extensions
from sqlalchemy.engine import make_url

from leakage_pipeline.defs.transform.assets import (
    METERING_QUESTIONS,
    PERIODS,
    dbt_environment,
    session_environment,
    vars_of,
)
from leakage_pipeline.defs.transform.project import PROJECT_DIR, code_version
from leakage_pipeline.nights import night
from leakage_pipeline.warehouse import schemas
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.embedded import Cluster

AS_OF = datetime(2026, 11, 20, 6, tzinfo=UTC)
_CHECKED = (
    "intermediate.int_periods__usage_cuts",
    "intermediate.int_periods__usage_finalizations",
    "intermediate.int_bridge__customer_revenue",
    "intermediate.int_findings__judged",
    "marts.dim_customers",
    "marts.fct_charge_calculation",
    "marts.fct_control_coverage",
    "marts.fct_customer_usage",
    "marts.fct_expected_vs_billed",
    "marts.fct_incidents",
    "marts.fct_invoice_settlement",
    "marts.fct_leakage_detections",
    "marts.fct_leakage_monthly",
)
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
    told: str = ""

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
            first = build(url, home, AS_OF, tests=arguments.tests)
            builds[customers] = first
            item_periods = _count(url, "intermediate.int_periods__item_periods")
            print(f"{customers:,} customers, {item_periods:,} item-periods")
            _print(first, arguments.slowest)
            print(f"  {first.server / item_periods * 1000:8.3f} s work per 1,000 item-periods")
            if arguments.nights:
                _nights(url, home, first, arguments)
    for smaller, larger in itertools.pairwise(builds):
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


def _nights(url: str, home: Path, first: Build, arguments: argparse.Namespace) -> None:
    """One customer in a hundred changes: at the same hour, then once more and a day passes."""
    _night(url, home, AS_OF + timedelta(minutes=1), first, arguments)
    tomorrow = AS_OF + timedelta(days=1)
    _night(url, home, tomorrow, first, arguments)
    if arguments.check:
        kept = {table: _rows(url, table) for table in _CHECKED}
        build(url, home, tomorrow, tests=False, full_refresh=True)
        for table in _CHECKED:
            _same(table, kept[table], _rows(url, table))


def _night(
    url: str, home: Path, as_of: datetime, first: Build, arguments: argparse.Namespace
) -> None:
    with _connected(url) as connection:
        _execute(connection, "pricing_night.sql", as_of=as_of)
    done = build(url, home, as_of, tests=arguments.tests)
    print(f"1 % of the customers changed, {as_of - AS_OF} later: {done.told}")
    _print(done, arguments.slowest, first)


def _rows(url: str, table: str) -> Counter[str]:
    """Every row of a table as text, so that two builds can be compared."""
    with _connected(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"select kept::text from {table} as kept")  # noqa: S608 - a name of ours
        return Counter(row for (row,) in cursor)


def _same(table: str, kept: Counter[str], anew: Counter[str]) -> None:
    missing, surplus = anew - kept, kept - anew
    verdict = "same" if not missing and not surplus else "DIFFERENT"
    print(f"  {verdict:<10}{table}: {kept.total():,} rows", end="")
    print(f", {missing.total():,} missing, {surplus.total():,} too many")
    for row in [*list(missing)[:2], *list(surplus)[:2]]:
        print(f"    {row[:300]}")


def _print(done: Build, slowest: int, first: Build | None = None) -> None:
    print(f"  {done.wall:8.1f} s wall, models {done.of_kind('model'):.1f} s, ", end="")
    print(f"tests {done.of_kind('test'):.1f} s")
    print(f"  {done.server:8.1f} s work of Postgres, {done.dbt:.1f} s of dbt")
    if first:
        share = (done.server + done.dbt) / (first.server + first.dbt)
        print(f"  {share:8.1%} of the first build's work", end=", ")
        print(f"Postgres alone {done.server / first.server:.1%}")
    for name, spent in sorted(done.nodes.items(), key=lambda node: -node[1])[:slowest]:
        print(f"  {spent:8.1f} s  {name}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--tests", action="store_true", help="run the data tests too")
    parser.add_argument("--home", type=Path, help="keep server and data in this folder")
    parser.add_argument("--slowest", type=int, default=12)
    parser.add_argument("--nights", action="store_true", help="then nights that change little")
    parser.add_argument("--check", action="store_true", help="compare with a full build")
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
        _execute(connection, "pricing_company.sql", as_of=AS_OF, customers=customers)
        connection.commit()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("vacuum analyze")
    finally:
        connection.close()


def _execute(connection: psycopg2.extensions.connection, name: str, **parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute((_HERE / name).read_text(encoding="utf-8"), parameters)


def build(
    url: str, home: Path, as_of: datetime, *, tests: bool, full_refresh: bool = False
) -> Build:
    """Run the three steps as the audit does; between them, the meters answer."""
    done = Build({}, 0, 0, 0)
    with _measured(done, url, "whom to price"), _connected(url) as connection:
        begun = night.begin(connection, as_of, code_version(), full_refresh=full_refresh)
    target = home / ("dbt" if begun.is_full else "dbt_changed")
    for step, selection in _STEPS.items():
        if step == "questions":
            with _measured(done, url, "whose usage"), _connected(url) as connection:
                added = night.add_users(connection)
            if added:
                again = ["run", "--select", *PERIODS.split(), *vars_of(is_full=False)]
                with _measured(done, url):
                    done.nodes |= _dbt(url, target, again)
        arguments = ["build", "--indirect-selection", "buildable", *vars_of(is_full=begun.is_full)]
        excluded = ["unit_test"] if tests else ["unit_test", "test"]
        arguments += ["--exclude-resource-type", *excluded, *selection]
        with _measured(done, url):
            done.nodes |= _dbt(url, target, arguments)
        if step == "questions":
            with _connected(url) as connection:
                _execute(connection, "pricing_answers.sql", as_of=as_of)
    with _measured(done, url, "what is kept"), _connected(url) as connection:
        night.end(connection, as_of)
        done.told = night.told(connection)
    return done


@contextmanager
def _connected(url: str) -> Iterator[psycopg2.extensions.connection]:
    connection = connect(url)
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()


@contextmanager
def _measured(done: Build, url: str, node: str = "") -> Iterator[None]:
    """Add what the block costs; with a name, its seconds stand among those of dbt's nodes."""
    begin, server, dbt = time.perf_counter(), _server_work(url), _children_work()
    yield
    spent = time.perf_counter() - begin
    done.wall += spent
    if node:
        done.nodes[node] = spent
    done.dbt += _children_work() - dbt
    done.server += _server_work(url) - server


def _children_work() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _server_work(url: str) -> float:
    """Processor time of every session that has ended: the postmaster has waited for it."""
    socket = make_url(url).query["host"]
    lines = (Path(str(socket)).parent / "data" / "postmaster.pid").read_text().splitlines()
    times = psutil.Process(int(lines[0])).cpu_times()
    return float(times.children_user + times.children_system)


def _dbt(url: str, target: Path, arguments: list[str]) -> dict[str, float]:
    target.mkdir(parents=True, exist_ok=True)
    command, *more = arguments
    completed = subprocess.run(
        [
            *(os.fspath(Path(sys.executable).with_name("dbt")), command, "--quiet"),
            *("--project-dir", os.fspath(PROJECT_DIR), "--profiles-dir", os.fspath(PROJECT_DIR)),
            *("--target-path", os.fspath(target), "--log-path", os.fspath(target)),
            *more,
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


def _count(url: str, table: str) -> int:
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"select count(*) from {table}")  # noqa: S608 - a name of ours
            ((count,),) = cursor.fetchall()
            return int(count)
    finally:
        connection.close()


if __name__ == "__main__":
    main()
