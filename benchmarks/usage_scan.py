"""Measures the usage roll-up against the least that any roll-up must do, in one run.

The measure is a bare DuckDB group-by of the same columns of the same files: no deduplication, no
cuts, no checks. Usage: python -m benchmarks.usage_scan [--events N] [--customers N] [--days N]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import duckdb

from leakage_pipeline.inputs.engine import open_duckdb
from leakage_pipeline.settings import FileUsageSource
from leakage_pipeline.usage_logs import duckdb_rollup, parsing, rejects, staging, windows
from leakage_pipeline.usage_logs.meaning import microseconds

_START = datetime(2026, 1, 1, tzinfo=UTC)
_GENERATE = """
    create table events as
    select
        'evt_' || md5(cast(number as varchar)) as event_id,
        'cus_' || lpad(cast(hash(number) % $customers as varchar), 8, '0') as customer_id,
        ['api_calls', 'storage_gb', 'minutes'][cast(1 + hash(number + 7) % 3 as bigint)] as meter,
        cast(1 + hash(number + 9) % 1000 as bigint) as value,
        make_timestamptz($start + number * $step) as occurred_at,
        ['eu', 'us', 'ap'][cast(1 + hash(number + 3) % 3 as bigint)] as source,
        make_timestamptz($start + number * $step + 5000000) as received_at
    from range($events) as numbers (number);
    -- Two of a hundred are sent once more, a day later, into another file.
    insert into events
    select * replace (occurred_at + interval 1 day as occurred_at)
    from events where hash(event_id) % 50 = 0
"""
_BARE = """
    create or replace table bare as
    select
        customer_id, meter, source, epoch_us(occurred_at) // 86400000000 as day,
        count(*) as events, sum(value) as quantity, max(occurred_at) as last_at,
        max(received_at) as received_at, max(event_id) as event_id
    from read_parquet($files)
    group by all
"""
_REFERENCES = """
    create table customers as
    select distinct customer_id as customer_ref, customer_id from read_parquet($files);
    create table cut_days as
    select
        customer_ref,
        ($start + (cast(hash(customer_ref) % 30 as bigint) * 86400 + month * 2592000) * 1000000)
            // 86400000000 as day,
        [day * 86400000000 + (hash(customer_ref) % 86400)::bigint * 1000000] as cuts
    from customers cross join range($days // 30 + 1) as months (month);
    create table finalizations as
    select
        customer_ref as customer_id, 'api_calls' as stripe_event_name,
        cuts[1] - 2592000000000 as period_start_us, cuts[1] as period_end_us,
        cuts[1] + 3600000000 as finalized_us
    from cut_days;
    create table meter_names (meter varchar, stripe_event_name varchar)
"""


def main() -> None:
    """Generate a log, measure, print a table."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="usage-scan-") as name:
        folder = Path(name)
        events = _generate(folder, arguments)
        print(f"{events:,} events, {arguments.customers:,} customers, {arguments.days} days")
        least = _timed(partial(_bare, folder))
        print(f"{'bare group-by, parquet':<28}{least:7.2f} s {events / least:>14,.0f} events/s")
        for form in arguments.forms:
            spent = _timed(partial(_roll_up, folder, form, arguments.days))
            share = f"{spent / least:5.1f} x" if form == "parquet" else ""
            label = f"roll-up, {form}"
            print(f"{label:<28}{spent:7.2f} s {events / spent:>14,.0f} events/s {share}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--customers", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--forms", nargs="+", default=["parquet", "csv", "jsonl"])
    return parser.parse_args()


def _timed(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _generate(folder: Path, arguments: argparse.Namespace) -> int:
    with open_duckdb(folder / "home") as (connection, _):
        values = {
            "events": arguments.events,
            "customers": arguments.customers,
            "start": microseconds(_START),
            "step": arguments.days * 86_400_000_000 // arguments.events,
        }
        for name, value in values.items():
            connection.execute(f"set variable {name} = {value:d}")
        connection.execute(_variables(_GENERATE))
        for form in arguments.forms:
            _write(connection, folder, form)
        return connection.table("events").shape[0]


def _write(connection: duckdb.DuckDBPyConnection, folder: Path, form: str) -> None:
    """A file for every million events, as a log would be rotated."""
    options = {"parquet": "format parquet", "csv": "format csv, header", "jsonl": "format json"}
    (folder / form).mkdir()
    size = connection.table("events").shape[0]
    for number, first in enumerate(range(0, size, 1_000_000)):
        rows = f"(from events where rowid >= {first} and rowid < {first + 1_000_000})"
        connection.execute(f"copy {rows} to '{folder}/{form}/{number}.{form}' ({options[form]})")


def _bare(folder: Path) -> None:
    with open_duckdb(folder / "home") as (connection, _):
        connection.execute(_BARE, {"files": f"{folder}/parquet/*.parquet"})


def _roll_up(folder: Path, form: str, days: int) -> None:
    as_of = _START + timedelta(days=days + 2)
    with open_duckdb(folder / "home") as (connection, _):
        parsing.prepare(connection, microseconds(as_of))
        connection.execute(f"set variable start = {microseconds(_START):d}")
        connection.execute(f"set variable days = {days:d}")
        connection.execute(f"set variable files = '{folder}/parquet/*.parquet'")
        connection.execute(_variables(_REFERENCES))
        source = FileUsageSource(name="log", kind="files", uri=form)
        parts = staging.stage_files(connection, source, 0, f"{folder}/{form}", "benchmark")
        duckdb_rollup.roll_up(connection, parts)
        totals = windows.attribute(connection)
        rejects.collect(connection, parts, totals.valid, rejects.Rejects(as_of), folder)
        for batch in windows.usage_windows(connection):
            del batch


def _variables(statements: str) -> str:
    """Named parameters as variables, since several statements cannot share parameters."""
    for name in ("events", "customers", "start", "step", "days", "files"):
        statements = statements.replace(f"${name}", f"getvariable('{name}')")
    return statements


if __name__ == "__main__":
    main()
