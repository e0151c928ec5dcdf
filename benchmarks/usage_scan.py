"""Measures the usage roll-up against the least that any roll-up must do, in one run.

The measure is a bare DuckDB group-by of the same columns of the same files: no deduplication, no
cuts, no checks. Every step runs in a process of its own, so that each tells its own memory. What
was generated is on disk before anything is measured, or writing it would slow the first step down.

Usage: python -m benchmarks.usage_scan [--events N] [--customers N] [--days N] [--forms ...]
       [--memory 3GB] [--repeat N] [--pandas]
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from benchmarks.usage_scan_data import START, generate, shape
from leakage_pipeline.inputs.engine import open_duckdb
from leakage_pipeline.settings import Settings, load_settings
from leakage_pipeline.usage_logs import incremental, parsing, rejects, scan_state, windows
from leakage_pipeline.usage_logs.meaning import microseconds

_BARE = """
    create table bare as
    select
        customer_id, meter, source, epoch_us(occurred_at) // 86400000000 as day,
        count(*) as events, sum(value) as quantity, arg_max(value, occurred_at) as last_value,
        min(occurred_at) as first_at, max(occurred_at) as last_at,
        max(received_at) as received_at, max(event_id) as event_id
    from read_parquet($files)
    group by all
"""
# A cut a month for every customer, and an invoice finalised an hour later.
_REFERENCES = """
    create table customers as
    select
        'cus_' || lpad(cast(number as varchar), 8, '0') as customer_ref,
        customer_ref as customer_id
    from range(getvariable('customers')) as numbers (number);
    create table cut_days as
    select
        customer_ref,
        getvariable('start') // 86400000000
        + cast(hash(customer_ref) % 30 as bigint) + month * 30 as day,
        [day * 86400000000 + cast(hash(customer_ref) % 86400 as bigint) * 1000000] as cuts
    from customers cross join range(getvariable('days') // 30 + 1) as months (month);
    create table finalizations as
    select
        customer_ref as customer_id, 'api_calls' as stripe_event_name,
        cuts[1] - 2592000000000 as period_start_us, cuts[1] as period_end_us,
        cuts[1] + 3600000000 as finalized_us
    from cut_days;
    create table meter_names (meter varchar, stripe_event_name varchar)
"""
_GIB = 1 << 30


def main() -> None:
    """Generate a log, measure, print a table; or, as a child, run one step of it."""
    arguments = _arguments()
    if arguments.step:
        print(json.dumps(_measured(arguments)))
        return
    with tempfile.TemporaryDirectory(prefix="usage-scan-", dir=arguments.folder) as name:
        _compare(Path(name), arguments)


def _compare(folder: Path, arguments: argparse.Namespace) -> None:
    days = arguments.days
    for form in {"parquet", *arguments.forms}:
        generate(folder / form, form, shape(arguments), range(days))
    os.sync()
    steps = {"bare group-by, parquet": ("bare", "parquet")}
    steps |= {f"first load, {form}": ("scan", form) for form in arguments.forms}
    if arguments.pandas:
        steps["pandas, parquet"] = ("pandas", "parquet")
    shortest = _shortest(folder, steps, arguments)
    bare = shortest["bare group-by, parquet"]
    print(f"{arguments.events:,} events, {arguments.customers:,} customers, {days} days")
    print(f"{'':<28}{'clock':>9}{'processor':>11}{'memory':>11}{'x bare':>8}")
    for label, cost in shortest.items():
        _tell(label, cost, bare)
    for form in arguments.forms:
        generate(folder / form, form, shape(arguments), range(days, days + 1))
        os.sync()
        day = _step("scan", folder, form, arguments, more_days=1)
        _tell(f"a day more, {form}", day, bare)
        share = shortest[f"first load, {form}"]["clock"] / days
        print(f"{'':<4}a day's share of the first load: {share:.2f} s")
        _tell(f"nothing new, {form}", _step("scan", folder, form, arguments, more_days=1), bare)


def _shortest(
    folder: Path, steps: Mapping[str, tuple[str, str]], arguments: argparse.Namespace
) -> dict[str, Mapping[str, float]]:
    """The shortest of some runs of each step, taken in turn; each begins with nothing known.

    What else the machine does makes a run longer by a third, and never shorter.
    """
    shortest: dict[str, Mapping[str, float]] = {}
    for _ in range(arguments.repeat):
        for label, (step, form) in steps.items():
            shutil.rmtree(folder / f"home-{form}", ignore_errors=True)
            cost = _step(step, folder, form, arguments)
            before = shortest.get(label, cost)
            shortest[label] = min(before, cost, key=lambda run: run.get("clock", float("inf")))
    return shortest


def _tell(label: str, cost: Mapping[str, float], bare: Mapping[str, float]) -> None:
    if "failed" in cost:
        print(f"{label:<28}  did not end")
        return
    ratio = cost["clock"] / bare["clock"]
    print(
        f"{label:<28}{cost['clock']:7.2f} s{cost['processor']:9.2f} s"
        f"{cost['memory'] / _GIB:7.2f} GiB{ratio:8.2f}",
        flush=True,
    )


def _step(
    step: str, folder: Path, form: str, arguments: argparse.Namespace, more_days: int = 0
) -> dict[str, float]:
    """One step in a process of its own."""
    command = [
        *(sys.executable, "-m", "benchmarks.usage_scan", "--step", step),
        *("--folder", str(folder), "--forms", form, "--events", str(arguments.events)),
        *("--customers", str(arguments.customers), "--days", str(arguments.days + more_days)),
        *("--memory", arguments.memory),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return {"failed": 1}
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _measured(arguments: argparse.Namespace) -> dict[str, float]:
    steps: dict[str, Callable[[argparse.Namespace], object]] = {
        "bare": _bare,
        "scan": _scan,
        "pandas": _pandas,
    }
    begin, processor = time.perf_counter(), time.process_time()
    steps[arguments.step](arguments)
    return {
        "clock": time.perf_counter() - begin,
        "processor": time.process_time() - processor,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--customers", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--forms", nargs="+", default=["parquet", "csv", "jsonl"])
    parser.add_argument("--folder", type=Path, help="where the log is made; default the temporary")
    parser.add_argument(
        "--pandas", action="store_true", help="also what a user would write instead"
    )
    parser.add_argument("--repeat", type=int, default=1, help="of so many runs the shortest counts")
    parser.add_argument("--memory", default="2GB", help="what DuckDB may keep, bare and scan alike")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    return parser.parse_args()


def _bare(arguments: argparse.Namespace) -> None:
    with open_duckdb(arguments.folder / "home", memory_limit=arguments.memory) as (connection, _):
        connection.execute(_BARE, {"files": f"{arguments.folder}/parquet/*.parquet"})


def _scan(arguments: argparse.Namespace) -> None:
    (form,) = arguments.forms
    settings = _settings(arguments.folder, form)
    as_of = START + timedelta(days=arguments.days + 2)
    with open_duckdb(settings.home, memory_limit=arguments.memory) as (connection, _):
        parsing.prepare(connection, microseconds(as_of))
        for name, number in shape(arguments).items():
            connection.execute(f"set variable {name} = {number:d}")
        connection.execute(_REFERENCES)
        with scan_state.attached(connection, settings, microseconds(as_of), anew=False) as before:
            plan = incremental.scan(connection, settings, as_of, "benchmark")
            rejects.gather(connection, rejects.Rejects(as_of), list(plan.new))
            windows.attribute(connection, whole=before.token is None)
            for read in (windows.usage_windows, windows.unattributed_usage, windows.log_coverage):
                for batch in read(connection):
                    del batch
            scan_state.set_taken(connection, "benchmark")


def _settings(folder: Path, form: str) -> Settings:
    path = folder / f"{form}.yaml"
    source = {"name": "log", "kind": "files", "uri": f"{folder}/{form}"}
    path.write_text(json.dumps({"sources": {"usage": [source]}}), encoding="utf-8")
    return load_settings(path, {"LEAKAGE_HOME": str(folder / f"home-{form}")})


def _pandas(arguments: argparse.Namespace) -> None:
    from benchmarks.usage_scan_pandas import roll_up  # noqa: PLC0415 - its memory is not ours

    roll_up(arguments.folder / "parquet")


if __name__ == "__main__":
    main()
