"""Reads tables of any database that SQLAlchemy reaches, in batches, as columns of exact text.

Names come from the configuration and are quoted by the dialect; the address is never shown.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import psycopg2
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    NoSuchTableError,
    OperationalError,
    SQLAlchemyError,
)

from leakage_pipeline.failures import ConfigurationError, PermanentFailure, TransientFailure

ROWS_PER_BATCH = 20_000
# A bare postgresql:// means psycopg 3 since SQLAlchemy 2.1; the driver that we ship is psycopg2.
_POSTGRES = frozenset({"postgres", "postgresql"})


@contextmanager
def open_database(address: str, variable: str, where: str) -> Iterator[sa.Engine]:
    """Connect to a source database.

    Args:
        address: A SQLAlchemy URL; it holds a password.
        variable: The environment variable it came from, for messages.
        where: What to begin a message with.

    Raises:
        ConfigurationError: The address is no URL, or its driver is not installed.
        TransientFailure: The database does not answer.
        PermanentFailure: It answers with an error.
    """
    try:
        url = sa.make_url(address.strip())
        if url.drivername in _POSTGRES:
            url = url.set(drivername="postgresql+psycopg2")
        engine = sa.create_engine(url, poolclass=sa.NullPool, json_deserializer=str)
    except (ArgumentError, NoSuchModuleError, ValueError):
        message = (
            f"{where}: {variable} holds no SQLAlchemy URL, such as "
            "postgresql://user:password@host:5432/database"
        )
        raise ConfigurationError(message) from None
    except ImportError as error:
        message = f"{where}: the driver for {url.drivername}:// is not installed ({error.name})"
        raise ConfigurationError(message) from None
    try:
        with _failures(where, url):
            yield engine
    finally:
        engine.dispose()


@contextmanager
def _failures(where: str, url: sa.URL) -> Iterator[None]:
    try:
        yield
    except NoSuchTableError as error:
        message = f"{where}: there is no table or view {error}; correct `table`"
        raise ConfigurationError(message) from None
    except OperationalError as error:
        raise TransientFailure(_explain(where, url, error)) from None
    except psycopg2.OperationalError as error:
        raise TransientFailure(_explain(where, url, error)) from None
    except (SQLAlchemyError, psycopg2.Error) as error:
        raise PermanentFailure(_explain(where, url, error)) from None


def _explain(where: str, url: sa.URL, error: Exception) -> str:
    """The driver's own first line: SQLAlchemy's text may hold the statement's values."""
    original = error.orig if isinstance(error, DBAPIError) else error
    lines = str(original).strip().splitlines() or [type(error).__name__]
    reason = lines[0]
    for secret in filter(None, (url.password, url.render_as_string(hide_password=False))):
        reason = reason.replace(str(secret), "***")
    return f"{where}: the database answers: {reason}"


def table_of(name: str) -> sa.TableClause:
    """A table or view by its configured name, which may begin with a schema and a dot."""
    schema, _, table = name.rpartition(".")
    return sa.table(table, schema=schema or None)


def columns_of(engine: sa.Engine, name: str) -> dict[str, Any]:
    """The columns of a table or view, in order, with their SQLAlchemy types.

    Raises:
        sqlalchemy.exc.NoSuchTableError: There is no such table.
    """
    table = table_of(name)
    found = sa.inspect(engine).get_columns(table.name, schema=table.schema)
    if not found:
        raise NoSuchTableError(name)
    return {str(column["name"]): column["type"] for column in found}


def stream(
    engine: sa.Engine, name: str, columns: Mapping[str, str], order_by: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Read columns of a table batch by batch through a server-side cursor, all as text.

    Args:
        engine: From `open_database`.
        name: The table.
        columns: Our name to the table's.
        order_by: Our names of columns to sort by.

    Yields:
        Batches of string columns under our names.
    """
    selected: list[sa.ColumnElement[object]] = [
        sa.column(theirs).label(ours) for ours, theirs in columns.items()
    ]
    sorting: list[sa.ColumnElement[object]] = [sa.column(columns[ours]) for ours in order_by]
    statement = sa.select(*selected).select_from(table_of(name)).order_by(*sorting)
    schema = pa.schema([(ours, pa.string()) for ours in columns])
    with engine.connect() as connection:
        yield from batches(connection, statement, schema)


def batches(
    connection: sa.Connection,
    statement: sa.Executable,
    schema: pa.Schema,
    values: Mapping[str, object] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Run a query and take its rows in batches, all as text.

    Args:
        connection: The database.
        statement: The query.
        schema: String columns, as many as the query has.
        values: The query's parameters.

    Yields:
        Batches of that schema.
    """
    result = connection.execution_options(stream_results=True, yield_per=ROWS_PER_BATCH).execute(
        statement, dict(values or {})
    )
    for rows in result.partitions():
        arrays = [
            pa.array([_text(value) for value in values], pa.string())
            for values in zip(*rows, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _text(value: object) -> str | None:
    """One value as the text that a CSV export would hold; numbers lose no digit."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else str(value)
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).decode("utf-8", errors="replace")
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)
