"""Rolls a Postgres table of events up where it lives: one read-only query, sums come back.

It means what `duckdb_rollup` means and fills the same table, `kept.finals`. Only
columns whose types need no parsing are taken; Postgres before 16 cannot try a cast. The customers'
cuts and finalisation instants travel with the query as JSON, so nothing is created there.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import psycopg2.extensions
import sqlalchemy as sa
from psycopg2 import sql

from leakage_pipeline.settings import SqlUsageSource
from leakage_pipeline.usage_logs import references
from leakage_pipeline.usage_logs.meaning import (
    DAY_US,
    EARLIEST_US,
    MILLISECONDS_FROM,
    SCALE,
    SKEW_US,
    VALUE_LIMIT,
    microseconds,
)
from leakage_pipeline.usage_logs.rejects import Rejects, limit_of

_VALUE = {
    "exact": "case when {column} is null then 1 "
    "when {column} > -{limit} and {column} < {limit} "
    "then round(cast({column} as numeric), {scale}) end",
    # Its shortest text is what was written; the binary expansion is not.
    "float": "case when {column} is null then 1 "
    "when {column} > -{limit} and {column} < {limit} "
    "then round(cast(cast({column} as text) as numeric), {scale}) end",
}
_INSTANT = {
    "aware": "case when isfinite({column}) "
    "then cast(extract(epoch from {column}) * 1000000 as bigint) end",
    "naive": "case when isfinite({column}) "
    "then cast(extract(epoch from cast({column} as timestamp)) * 1000000 as bigint) end",
    "number": "case when abs({column}) < {milliseconds} "
    "then cast(round(cast({column} as numeric) * 1000000) as bigint) "
    "when abs({column}) < {milliseconds} * 1000 "
    "then cast(round(cast({column} as numeric) * 1000) as bigint) end",
}
_RESULT = {
    "customer_ref": "VARCHAR",
    "meter": "VARCHAR",
    "source": "VARCHAR",
    "window_start_us": "BIGINT",
    "event_count": "BIGINT",
    "quantity_sum": "DECIMAL(38, 12)",
    "latest_us": "BIGINT",
    "latest_event_id": "VARCHAR",
    "latest_value": "DECIMAL(38, 12)",
    "first_us": "BIGINT",
    "received_us": "BIGINT",
    "duplicate_events": "BIGINT",
    "late_count": "BIGINT",
    "late_sum": "DECIMAL(38, 12)",
    "skewed_events": "BIGINT",
    "reason": "VARCHAR",
}
_FINALS = """
    insert into kept.finals
    select
        customer_ref, meter, source, window_start_us // getvariable('day_us'), window_start_us,
        event_count, quantity_sum,
        struct_pack(
            occurred_us := latest_us, event_id := latest_event_id, value := latest_value
        ),
        first_us, received_us, duplicate_events, late_count, late_sum, skewed_events
    from pushed_down
    where reason is null
"""
# What the query needs to know of the customers, by the names that the log uses.
_CUTS = """
    select cast(to_json(list(cuts)) as varchar)
    from (select customer_ref, unnest(cuts) as cut_us from cut_days) as cuts
"""
_FINALIZATIONS = """
    select cast(to_json(list(named)) as varchar)
    from (
        select customers.customer_ref, finalizations.* exclude (customer_id)
        from finalizations
        inner join customers on finalizations.customer_id = customers.customer_id
    ) as named
"""
_METER_NAMES = "select cast(to_json(list(meter_names)) as varchar) from meter_names"

Columns: TypeAlias = Mapping[str, tuple[str, object]]


def can_roll_up(engine: sa.Engine, columns: Columns) -> bool:
    """Whether the database is Postgres and the columns have types that need no parsing.

    Args:
        engine: The source's database.
        columns: Our name to the table's own and its SQLAlchemy type, for columns that are there.
    """
    if (engine.dialect.name, engine.dialect.driver) != ("postgresql", "psycopg2"):
        return False
    kinds = {ours: kind for ours, (_, kind) in columns.items()}
    instants = [kinds[ours] for ours in ("occurred_at", "received_at") if ours in kinds]
    return all(_instant_family(kind) for kind in instants) and (
        "value" not in kinds or _value_family(kinds["value"]) is not None
    )


def _value_family(kind: object) -> str | None:
    if isinstance(kind, sa.Float):
        return "float"
    return "exact" if isinstance(kind, (sa.Integer, sa.Numeric)) else None


def _instant_family(kind: object) -> str | None:
    if isinstance(kind, sa.DateTime):
        return "aware" if kind.timezone else "naive"
    if isinstance(kind, sa.Date):
        return "naive"
    return "number" if isinstance(kind, (sa.Integer, sa.Numeric)) else None


def roll_up(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    engine: sa.Engine,
    source: SqlUsageSource,
    columns: Columns,
    rejects: Rejects,
) -> None:
    """Fill `kept.finals` from the table.

    Args:
        connection: DuckDB with the tables of `references`, prepared by `parsing.prepare`.
        folder: For the query's result.
        engine: The source's database.
        source: The source.
        columns: Our name to the table's own and its type.
        rejects: What cannot be counted is added here.
    """
    query = sql.SQL(_query("rollup")).format(
        events=_events(source, columns, rejects.as_of, payload=sql.SQL("null")),
        day_us=sql.Literal(DAY_US),
        skew_us=sql.Literal(SKEW_US),
        cuts=sql.Literal(_json(connection, _CUTS)),
        finalizations=sql.Literal(_json(connection, _FINALIZATIONS)),
        meter_names=sql.Literal(_json(connection, _METER_NAMES)),
    )
    path = folder / "pushed_down"
    with _read_only(engine) as cursor:
        references.copy_out(cursor, query.as_string(cursor), path)
        references.read_copied(connection, path, _RESULT).create("pushed_down")
        connection.execute(_FINALS)
        counts = connection.execute(
            "select reason, event_count from pushed_down where reason is not null order by reason"
        ).fetchall()
        for reason, count in counts:
            cursor.execute(_samples(source, columns, rejects.as_of, reason))
            found = [(f"{source.table}:{key}", text) for key, text in cursor.fetchall()]
            rejects.add(source.name, reason, count, found)


def _samples(
    source: SqlUsageSource, columns: Columns, as_of: datetime, reason: str
) -> sql.Composed:
    fields = [
        part
        for ours, (name, _) in columns.items()
        for part in (sql.Literal(ours), sql.Identifier(name))
    ]
    payload = sql.SQL("cast(json_build_object({}) as text)").format(sql.SQL(", ").join(fields))
    return sql.SQL(_query("samples")).format(
        events=_events(source, columns, as_of, payload=payload),
        reason=sql.Literal(reason),
        limit=sql.Literal(limit_of(reason)),
    )


def _events(
    source: SqlUsageSource, columns: Columns, as_of: datetime, *, payload: sql.Composable
) -> sql.Composed:
    """The table's rows with exact values, and the reason why one does not count."""
    schema, _, table = source.table.rpartition(".")
    return sql.SQL(_query("events")).format(
        event_id=_plain("event_id", columns),
        customer_id=_plain("customer_id", columns),
        meter=_plain("meter", columns),
        source=_plain("source", columns),
        value=_typed("value", columns, _VALUE, _value_family, default="1.0"),
        occurred_us=_typed("occurred_at", columns, _INSTANT, _instant_family),
        received_us=_typed("received_at", columns, _INSTANT, _instant_family),
        payload=payload,
        table=sql.Identifier(schema, table) if schema else sql.Identifier(table),
        earliest_us=sql.Literal(EARLIEST_US),
        as_of_us=sql.Literal(microseconds(as_of)),
    )


def _plain(ours: str, columns: Columns) -> sql.Composable:
    return sql.Identifier(columns[ours][0]) if ours in columns else sql.SQL("null")


def _typed(
    ours: str,
    columns: Columns,
    expressions: Mapping[str, str],
    family_of: Callable[[object], str | None],
    default: str = "cast(null as bigint)",
) -> sql.Composable:
    name, kind = columns.get(ours, ("", None))
    family = family_of(kind)
    if family is None:
        return sql.SQL(default)
    return sql.SQL(expressions[family]).format(
        column=sql.Identifier(name),
        limit=sql.Literal(VALUE_LIMIT),
        scale=sql.Literal(SCALE),
        milliseconds=sql.Literal(MILLISECONDS_FROM),
    )


def _query(name: str) -> str:
    return files(__package__).joinpath(f"postgres_{name}.sql").read_text(encoding="utf-8")


def _json(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    ((text,),) = connection.execute(query).fetchall()
    return str(text) if text else "[]"


@contextmanager
def _read_only(engine: sa.Engine) -> Iterator[psycopg2.extensions.cursor]:
    raw = engine.raw_connection()
    try:
        driver: Any = raw.driver_connection
        with driver.cursor() as cursor:
            cursor.execute("set transaction read only")
            yield cursor
        raw.rollback()
    finally:
        raw.close()
