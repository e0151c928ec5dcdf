"""Makes a usage log for the scan benchmark: a file a day, two of a hundred events sent twice.

The second copy of an event comes a day later, into the next day's file, with that day's instant.
"""

import argparse
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from leakage_pipeline.usage_logs.meaning import DAY_US, microseconds

START = datetime(2026, 1, 1, tzinfo=UTC)
_COPY = """
    copy (
        select
            'evt_' || md5(cast(number as varchar)) as event_id,
            'cus_' || lpad(cast(hash(number) % getvariable('customers') as varchar), 8, '0')
                as customer_id,
            ['api_calls', 'storage_gb', 'minutes'][cast(1 + hash(number + 7) % 3 as bigint)]
                as meter,
            cast(1 + hash(number + 9) % 1000 as bigint) as value,
            make_timestamptz(
                getvariable('start') + number * getvariable('step') + later
            ) as occurred_at,
            ['eu', 'us', 'ap'][cast(1 + hash(number + 3) % 3 as bigint)] as source,
            occurred_at + interval 5 seconds as received_at
        from (
            select number, 0 as later
            from range(getvariable('first'), getvariable('last')) as numbers (number)
            union all
            select number, 86400000000 as later
            from range(getvariable('before'), getvariable('first')) as numbers (number)
            where hash(number + 1) % 50 = 0
        ) as events
    ) to '{path}' ({options})
"""
_OPTIONS = {"parquet": "format parquet", "csv": "format csv, header", "jsonl": "format json"}


def shape(arguments: argparse.Namespace) -> dict[str, int]:
    """The numbers that a log is made from."""
    return {
        "customers": arguments.customers,
        "days": arguments.days,
        "start": microseconds(START),
        "per_day": arguments.events // arguments.days,
        "step": DAY_US // (arguments.events // arguments.days),
    }


def generate(folder: Path, form: str, numbers: Mapping[str, int], days: Iterable[int]) -> None:
    """Write the files of some days.

    Args:
        folder: Where to.
        form: parquet, csv or jsonl.
        numbers: From `shape`.
        days: Counted from the first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for name in ("customers", "start", "step"):
            connection.execute(f"set variable {name} = {numbers[name]:d}")
        per_day = numbers["per_day"]
        for day in days:
            first = day * per_day
            bounds = {"before": max(0, first - per_day), "first": first, "last": first + per_day}
            for name, number in bounds.items():
                connection.execute(f"set variable {name} = {number:d}")
            path = folder / f"{day:04}.{form}"
            connection.execute(_COPY.format(path=path, options=_OPTIONS[form]))
