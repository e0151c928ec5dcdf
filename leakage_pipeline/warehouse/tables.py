"""Describes a warehouse table by its Arrow schema and creates it; every raw table has such a spec.

Tables exist before anything is loaded, so that an empty source gives an empty table and not a
missing one. Loading is in `load.py`; which tables there are is for the domain packages to say.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import psycopg2.extensions
import pyarrow as pa
from psycopg2 import sql

from leakage_pipeline.failures import PermanentFailure

# One lock for all DDL of ours: two commands that start together must not both create a schema,
# which Postgres answers with a unique violation even under "if not exists".
DDL_LOCK = 7_215_001


@dataclass(frozen=True)
class TableSpec:
    """One table: its columns as an Arrow schema, its key, and how columns are stored.

    Attributes:
        schema: Postgres schema.
        name: Table name.
        arrow_schema: Columns in order; the field's nullability is not used, the key is not null.
        primary_key: Key columns; the grain of the table.
        comment: What one row is, stored as the table's comment.
        json_columns: Arrow string columns that are stored as jsonb.
        numeric_columns: Arrow string columns that are stored as numeric, of any precision.
    """

    schema: str
    name: str
    arrow_schema: pa.Schema
    primary_key: tuple[str, ...]
    comment: str = ""
    json_columns: frozenset[str] = frozenset()
    numeric_columns: frozenset[str] = field(default=frozenset())

    def __post_init__(self) -> None:
        """Refuse a spec that contradicts itself; such a one is a mistake in our own code."""
        known = set(self.arrow_schema.names)
        named = {*self.primary_key, *self.json_columns, *self.numeric_columns}
        if not named <= known or not self.primary_key or len(known) != len(self.arrow_schema):
            message = (
                f"{self.schema}.{self.name}: the key and special columns must be columns, each once"
            )
            raise ValueError(message)
        for column in self.json_columns | self.numeric_columns:
            if not _is_string(self.arrow_schema.field(column).type):
                message = f"{self.schema}.{self.name}.{column}: must be an Arrow string"
                raise ValueError(message)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column names in order."""
        return tuple(self.arrow_schema.names)

    @cached_property
    def identifier(self) -> sql.Identifier:
        """The quoted, schema-qualified name."""
        return sql.Identifier(self.schema, self.name)

    def postgres_type(self, column: str) -> str:
        """The Postgres type of a column, as `format_type` writes it."""
        if column in self.json_columns:
            return "jsonb"
        if column in self.numeric_columns:
            return "numeric"
        return _postgres_type(self.arrow_schema.field(column).type, f"{self.name}.{column}")

    def create(self, conn: psycopg2.extensions.connection, *, commit: bool = True) -> None:
        """Create the schema and the table, or add the columns that an older table lacks.

        Args:
            conn: An open connection.
            commit: Commit at the end; False joins the caller's transaction.

        Raises:
            PermanentFailure: The table has a column of another type.
        """
        with conn.cursor() as cursor:
            cursor.execute("select pg_advisory_xact_lock(%s)", (DDL_LOCK,))
            cursor.execute(
                sql.SQL("create schema if not exists {}").format(sql.Identifier(self.schema))
            )
            existing = self._existing(cursor)
            if not existing:
                cursor.execute(self._create_statement())
            self._add_columns(cursor, existing)
            cursor.execute(
                sql.SQL("comment on table {} is {}").format(
                    self.identifier, sql.Literal(self.comment)
                )
            )
        if commit:
            conn.commit()

    def empty(self) -> pa.Table:
        """A table of this shape without rows."""
        return self.arrow_schema.empty_table()

    def _existing(self, cursor: psycopg2.extensions.cursor) -> dict[str, str]:
        cursor.execute(
            """
            select attribute.attname, format_type(attribute.atttypid, attribute.atttypmod)
            from pg_attribute as attribute
            where attribute.attrelid = to_regclass(%s)
                and attribute.attnum > 0 and not attribute.attisdropped
            """,
            (self.identifier.as_string(cursor),),
        )
        return dict(cursor.fetchall())

    def _create_statement(self) -> sql.Composed:
        columns = [
            sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(self.postgres_type(column)))
            for column in self.columns
        ]
        key = sql.SQL(", ").join(map(sql.Identifier, self.primary_key))
        return sql.SQL("create table {} ({}, primary key ({}))").format(
            self.identifier, sql.SQL(", ").join(columns), key
        )

    def _add_columns(self, cursor: psycopg2.extensions.cursor, existing: dict[str, str]) -> None:
        for column in self.columns if existing else ():
            wanted = self.postgres_type(column)
            if column not in existing:
                cursor.execute(
                    sql.SQL("alter table {} add column {} {}").format(
                        self.identifier, sql.Identifier(column), sql.SQL(wanted)
                    )
                )
            elif existing[column] != wanted:
                message = (
                    f"database: {self.schema}.{self.name}.{column} is {existing[column]}, "
                    f"not {wanted}; drop the table, the next audit builds it anew"
                )
                raise PermanentFailure(message)


def create_tables(
    conn: psycopg2.extensions.connection, specs: Iterable[TableSpec], *, commit: bool = True
) -> None:
    """Create every table of `specs` in one transaction."""
    for spec in specs:
        spec.create(conn, commit=False)
    if commit:
        conn.commit()


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _postgres_type(kind: pa.DataType, column: str) -> str:
    simple = {
        pa.int64(): "bigint",
        pa.int32(): "integer",
        pa.bool_(): "boolean",
        pa.string(): "text",
        pa.large_string(): "text",
        pa.date32(): "date",
    }
    if kind in simple:
        return simple[kind]
    if pa.types.is_decimal(kind):
        return "numeric"
    if pa.types.is_timestamp(kind) and kind.tz == "UTC" and kind.unit == "us":
        return "timestamp with time zone"
    message = f"{column}: no Postgres type for Arrow type {kind}"
    raise TypeError(message)
