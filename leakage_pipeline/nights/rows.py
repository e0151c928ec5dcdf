"""The rows of tonight's customers, in schemas of their own that dbt reads instead of the raw ones.

`night_raw_stripe.invoices` has the columns of `raw_stripe.invoices`. What all customers share is a
view of the whole table.
"""

import psycopg2.extensions
from psycopg2 import sql

from leakage_pipeline.nights.ownership import OWNED
from leakage_pipeline.warehouse.schemas import table_specs
from leakage_pipeline.warehouse.tables import TableSpec

Cursor = psycopg2.extensions.cursor


def _raw_specs() -> list[TableSpec]:
    return [spec for spec in table_specs() if spec.schema.startswith("raw_")]


def _place(spec: TableSpec) -> sql.Identifier:
    return sql.Identifier(f"night_{spec.schema}", spec.name)


def make_tables(cursor: Cursor) -> None:
    """Make a table or view beside every raw one, anew where its columns are not the same."""
    for spec in _raw_specs():
        schema = sql.Identifier(f"night_{spec.schema}")
        cursor.execute(sql.SQL("create schema if not exists {}").format(schema))
        if _columns(cursor, f"night_{spec.schema}", spec.name) == _columns(
            cursor, spec.schema, spec.name
        ):
            continue
        is_owned = (spec.schema, spec.name) in OWNED
        kind = sql.SQL("table" if is_owned else "view")
        made = "create table {} (like {})" if is_owned else "create view {} as select * from {}"
        cursor.execute(sql.SQL("drop {} if exists {} cascade").format(kind, _place(spec)))
        cursor.execute(sql.SQL(made).format(_place(spec), spec.identifier))


def extract(cursor: Cursor, *, late: bool = False) -> None:
    """Copy the rows of tonight's customers, and those that belong to nobody.

    Args:
        cursor: In the transaction that decided who they are.
        late: Those tables that are loaded after the periods are known, else all others.
    """
    for spec in _raw_specs():
        owned = OWNED.get((spec.schema, spec.name))
        if owned is None or owned.known_late is not late:
            continue
        mine = "{customer} in (select customer_id from night.customers)"
        if "customer_id" not in spec.primary_key:
            mine += " or {customer} is null"
        condition = sql.SQL(mine).format(customer=sql.SQL(owned.customer))
        columns = sql.SQL(", ").join(sql.Identifier("own", name) for name in spec.columns)
        # A row that several of tonight's customers share is copied once.
        statement = "insert into {} select distinct on ({key}) {} from {} as own {} where {}"
        key = sql.SQL(", ").join(sql.Identifier("own", name) for name in spec.primary_key)
        cursor.execute(sql.SQL("truncate {}").format(_place(spec)))
        cursor.execute(
            sql.SQL(
                statement if owned.joins else statement.replace(" distinct on ({key})", "")
            ).format(
                _place(spec), columns, spec.identifier, sql.SQL(owned.joins), condition, key=key
            )
        )
        cursor.execute(sql.SQL("analyze {}").format(_place(spec)))


def _columns(cursor: Cursor, schema: str, name: str) -> list[tuple[str, str]]:
    cursor.execute(
        """
        select attribute.attname, format_type(attribute.atttypid, attribute.atttypmod)
        from pg_attribute as attribute
        where attribute.attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text))
            and attribute.attnum > 0 and not attribute.attisdropped
        order by attribute.attnum
        """,
        (schema, name),
    )
    return cursor.fetchall()
