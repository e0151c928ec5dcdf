"""Rolls a table of events up where it lives: one read-only query, sums come back.

It means what `duckdb_rollup` means and fills the same table, `kept.finals`. The customers' cuts and
finalisation instants travel with the query as JSON, so nothing is created there.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import psycopg2.extensions
import pyarrow as pa
import sqlalchemy as sa
from psycopg2 import sql

from leakage_pipeline.inputs import databases
from leakage_pipeline.settings import SqlUsageSource
from leakage_pipeline.usage_logs import dialects, references
from leakage_pipeline.usage_logs.dialects import POSTGRES, Dialect
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

RESULT = {
    "customer_ref": "VARCHAR",
    "meter": "VARCHAR",
    "source": "VARCHAR",
    "window_start_us": "BIGINT",
    "event_count": "BIGINT",
    "quantity_sum": "DECIMAL(38, 12)",
    "latest_us": "BIGINT",
    "latest_value": "DECIMAL(38, 12)",
    "first_us": "BIGINT",
    "received_us": "BIGINT",
    "duplicate_events": "BIGINT",
    "late_count": "BIGINT",
    "late_sum": "DECIMAL(38, 12)",
    "skewed_events": "BIGINT",
    "reason": "VARCHAR",
}
FINALS = """
    insert into kept.finals
    select
        customer_ref, meter, source, window_start_us // getvariable('day_us'), window_start_us,
        event_count, quantity_sum,
        struct_pack(occurred_us := latest_us, value := latest_value),
        first_us, received_us, duplicate_events, late_count, late_sum, skewed_events
    from pushed_down
    where reason is null
"""
# What the query needs to know of the customers, by the names that the log uses. A segment is what
# lies between two cuts of a day, or between a cut and the day's end.
SEGMENTS = """
    select
        customer_ref,
        day,
        unnest(list_prepend(day * getvariable('day_us'), cuts)) as from_us,
        unnest(list_append(cuts, (day + 1) * getvariable('day_us'))) as until_us
    from cut_days
"""
FINALIZATIONS = """
    select customers.customer_ref, finalizations.* exclude (customer_id)
    from finalizations
    inner join customers on finalizations.customer_id = customers.customer_id
"""
METER_NAMES = "from meter_names"
_SMALL_TABLES = {
    "segments": SEGMENTS,
    "finalizations": FINALIZATIONS,
    "meter_names": METER_NAMES,
}

Columns: TypeAlias = Mapping[str, tuple[str, object]]


def can_roll_up(connection: duckdb.DuckDBPyConnection, engine: sa.Engine, columns: Columns) -> bool:
    """Whether the database can, the columns have types that need no parsing, and the query fits.

    Args:
        connection: DuckDB with the tables of `references`.
        engine: The source's database.
        columns: Our name to the table's own and its SQLAlchemy type, for columns that are there.
    """
    dialect = dialects.of_engine(engine)
    if dialect is None:
        return False
    kinds = {ours: kind for ours, (_, kind) in columns.items()}
    instants = [kinds[ours] for ours in ("occurred_at", "received_at") if ours in kinds]
    typed = all(dialect.family_of_instant(kind) in dialect.instants for kind in instants) and (
        "value" not in kinds or dialect.family_of_value(kinds["value"]) is not None
    )
    return typed and sum(map(len, _small(connection).values())) < dialect.longest_query


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
    dialect = dialects.of_engine(engine)
    if dialect is None:
        message = f"{engine.dialect.name} cannot roll up"
        raise ValueError(message)
    events = _Events(engine, dialect, source, columns, rejects.as_of)
    path = folder / "pushed_down"
    run = _postgres if dialect is POSTGRES else _sqlalchemy
    with run(connection, engine, events, path) as samples_of:
        connection.execute(FINALS)
        counts = connection.execute(
            "select reason, event_count from pushed_down where reason is not null order by reason"
        ).fetchall()
        for reason, count in counts:
            found = [(f"{source.table}:{key}", text) for key, text in samples_of(reason)]
            rejects.add(source.name, reason, count, found)


class _Events:
    """The source's rows as the roll-up reads them, in the words of its database."""

    def __init__(
        self,
        engine: sa.Engine,
        dialect: Dialect,
        source: SqlUsageSource,
        columns: Columns,
        as_of: datetime,
    ) -> None:
        self.dialect = dialect
        self._quote = engine.dialect.identifier_preparer.quote_identifier
        self._table = source.table
        self._columns = columns
        self._as_of = as_of

    def rollup(self, small: Mapping[str, str]) -> str:
        """The whole query; `small` has the small tables as selects."""
        return _query("rollup").format(
            events=self._select("null"),
            div=self.dialect.division,
            day_us=DAY_US,
            skew_us=SKEW_US,
            **small,
        )

    def samples(self, reason: str, limit: int) -> str:
        """Examples of rows that do not count; `reason` stands for itself in the query."""
        fields = ", ".join(
            f"'{ours}', {self._quote(name)}" for ours, (name, _) in self._columns.items()
        )
        payload = self.dialect.payload.format(fields=fields)
        return _query("samples").format(events=self._select(payload), reason=reason, limit=limit)

    def _select(self, payload: str) -> str:
        schema, _, table = self._table.rpartition(".")
        names = [self._quote(name) for name in (schema, table) if name]
        return _query("events").format(
            event_id=self._text("event_id"),
            customer_id=self._text("customer_id"),
            meter=self._text("meter"),
            source=self._text("source"),
            value=self._value(),
            occurred_us=self._instant("occurred_at"),
            received_us=self._instant("received_at"),
            payload=payload,
            table=".".join(names),
            earliest_us=EARLIEST_US,
            as_of_us=microseconds(self._as_of),
        )

    def _text(self, ours: str) -> str:
        if ours not in self._columns:
            return self.dialect.text.format(column="null")
        return self.dialect.text.format(column=self._quote(self._columns[ours][0]))

    def _value(self) -> str:
        name, kind = self._columns.get("value", ("", None))
        family = self.dialect.family_of_value(kind)
        if family is None:
            return "1.0"
        return self.dialect.values[family].format(
            column=self._quote(name), limit=VALUE_LIMIT, scale=SCALE
        )

    def _instant(self, ours: str) -> str:
        name, kind = self._columns.get(ours, ("", None))
        family = self.dialect.family_of_instant(kind)
        if family is None:
            return f"null + {0:d}"
        return self.dialect.instants[family].format(
            column=self._quote(name), milliseconds=MILLISECONDS_FROM
        )


@contextmanager
def _postgres(
    connection: duckdb.DuckDBPyConnection, engine: sa.Engine, events: _Events, path: Path
) -> Iterator[Any]:
    """Run the query by COPY, which is the fastest way out of Postgres."""
    raw = engine.raw_connection()
    try:
        driver: Any = raw.driver_connection
        with driver.cursor() as cursor:
            for statement in events.dialect.begin:
                cursor.execute(statement)
            small = {
                table: dialects.from_postgres_json(table, _literal(cursor, text))
                for table, text in _small(connection).items()
            }
            references.copy_out(cursor, events.rollup(small), path)
            references.read_copied(connection, path, RESULT).create("pushed_down")

            def samples_of(reason: str) -> list[tuple[str, str]]:
                literal = _literal(cursor, reason)
                cursor.execute(events.samples(literal, limit_of(reason)))
                found: list[tuple[str, str]] = cursor.fetchall()
                return found

            yield samples_of
        raw.rollback()
    finally:
        raw.close()


@contextmanager
def _sqlalchemy(
    connection: duckdb.DuckDBPyConnection,
    engine: sa.Engine,
    events: _Events,
    path: Path,  # noqa: ARG001 - one signature; rows come as batches here
) -> Iterator[Any]:
    """Run the query through SQLAlchemy, and take its rows in batches."""
    with engine.connect() as database:
        for statement in events.dialect.begin:
            database.execute(sa.text(statement))
        database.rollback()
        small = _small(connection)
        query = events.rollup({table: dialects.from_mysql_json(table) for table in small})
        columns = ", ".join(f"{name} {kind}" for name, kind in RESULT.items())
        connection.execute(f"create table pushed_down ({columns})")
        schema = pa.schema([(name, pa.string()) for name in RESULT])
        for batch in databases.batches(database, sa.text(query), schema, small):
            connection.from_arrow(pa.Table.from_batches([batch])).insert_into("pushed_down")

        def samples_of(reason: str) -> list[tuple[str, str]]:
            query = sa.text(events.samples(":reason", limit_of(reason)))
            rows = database.execute(query, {"reason": reason}).all()
            return [(str(key), str(text)) for key, text in rows]

        yield samples_of


def _small(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The small tables as JSON text."""
    texts = {}
    for table, query in _SMALL_TABLES.items():
        relation = connection.sql(query)
        row = ", ".join(f"{name} := {name}" for name in relation.columns)
        ((text,),) = relation.aggregate(
            f"cast(to_json(list(struct_pack({row}))) as varchar)"
        ).fetchall()
        texts[table] = str(text) if text else "[]"
    return texts


def _literal(cursor: psycopg2.extensions.cursor, text: str) -> str:
    return str(sql.Literal(text).as_string(cursor))


def _query(name: str) -> str:
    return files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
