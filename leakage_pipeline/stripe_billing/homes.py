"""Which table holds an object and which others hold its parts: what a partial load may replace.

Tables that are derived, or so small that they are read whole every night, are not among them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import psycopg2.extensions
from psycopg2 import sql

from leakage_pipeline.stripe_billing.table_building import SCHEMA

Connection = psycopg2.extensions.connection


@dataclass(frozen=True)
class Home:
    """The table with one row per object.

    Attributes:
        table: Its name.
        key: The column with the object's id.
        created: The column with its creation time.
    """

    table: str
    key: str
    created: str = "created"

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted, schema-qualified table."""
        return sql.Identifier(SCHEMA, self.table)


@dataclass(frozen=True)
class Part:
    """A table whose rows belong to an object.

    Attributes:
        object_name: The object.
        belongs: Which rows those of some ids are, `%(owners)s`, as SQL.
    """

    object_name: str
    belongs: str


HOMES: Mapping[str, Home] = MappingProxyType(
    {
        "customers": Home("customers", "customer_id"),
        "products": Home("products", "product_id"),
        "prices": Home("prices", "price_id"),
        "subscriptions": Home("subscriptions", "subscription_id"),
        "invoices": Home("invoices", "invoice_id"),
        "invoice_items": Home("invoice_items", "invoice_item_id", "date"),
        "credit_notes": Home("credit_notes", "credit_note_id"),
        "subscription_schedules": Home("subscription_schedules", "schedule_id"),
        "promotion_codes": Home("promotion_codes", "promotion_code_id"),
        "charges": Home("charges", "charge_id"),
        "refunds": Home("refunds", "refund_id"),
        "disputes": Home("disputes", "dispute_id"),
        "invoice_payments": Home("invoice_payments", "invoice_payment_id"),
        "customer_balance_transactions": Home("customer_balance_transactions", "transaction_id"),
    }
)


def _own(object_name: str, column: str | None = None) -> Part:
    return Part(object_name, f"{column or HOMES[object_name].key} = any(%(owners)s)")


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        **{home.table: _own(name) for name, home in HOMES.items()},
        "subscription_items": _own("subscriptions"),
        "invoice_lines": _own("invoices"),
        # Goes before the lines: those of the old rows are found through them.
        "invoice_line_discounts": Part(
            "invoices",
            "line_id in (select line_id from raw_stripe.invoice_lines "
            "where invoice_id = any(%(owners)s))",
        ),
        "credit_note_lines": _own("credit_notes"),
        "price_currency_options": _own("prices"),
        "price_tiers": _own("prices"),
        "subscription_schedule_phases": _own("subscription_schedules"),
        # One list per customer.
        "customer_balance_transactions": _own("customer_balance_transactions", "customer_id"),
    }
)
FIRST_PATCHED = "invoice_line_discounts"


def created_of(conn: Connection, home: Home, ids: Collection[str]) -> dict[str, int]:
    """When those objects were created that are stored, in seconds, by id."""
    statement = sql.SQL(
        "select {key}, extract(epoch from {created})::bigint from {table} "
        "where {key} = any(%s) and {created} is not null"
    ).format(
        key=sql.Identifier(home.key),
        created=sql.Identifier(home.created),
        table=home.identifier,
    )
    return dict(_rows(conn, statement, (list(ids),)))


def stored_ids(conn: Connection, home: Home, condition: str) -> set[str]:
    """The stored objects that meet a condition of our own, by id."""
    statement = sql.SQL("select {} from {} where {}").format(
        sql.Identifier(home.key), home.identifier, sql.SQL(condition)
    )
    return {name for (name,) in _rows(conn, statement, ())}


def density(conn: Connection, home: Home, instants: list[int]) -> list[int]:
    """How many stored objects were created from each instant up to the next, in one scan.

    Args:
        conn: The warehouse.
        home: Where the objects are.
        instants: Ascending and different, in seconds.
    """
    counts = [0] * len(instants)
    if not instants:
        return counts
    statement = sql.SQL(
        "select width_bucket(extract(epoch from {created})::bigint, %(instants)s::bigint[]), "
        "count(*) from {table} where {created} between to_timestamp(%(first)s) "
        "and to_timestamp(%(last)s) group by 1"
    ).format(created=sql.Identifier(home.created), table=home.identifier)
    bounds = {"instants": instants, "first": instants[0], "last": instants[-1]}
    for bucket, count in _rows(conn, statement, bounds):
        counts[bucket - 1] += count
    return counts


def row_count(cursor: psycopg2.extensions.cursor, home: Home) -> int:
    """How many objects are stored."""
    cursor.execute(sql.SQL("select count(*) from {}").format(home.identifier))
    row: tuple[int] = cursor.fetchone() or (0,)
    return row[0]


def _rows(conn: Connection, statement: sql.Composed, parameters: Any) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.execute(statement, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    conn.rollback()  # slow requests follow: no transaction stays open
    return found
