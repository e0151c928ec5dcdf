"""What an audit leaves in the warehouse, to be compared with what another one left."""

from typing import Any

from psycopg2 import sql

from leakage_pipeline.warehouse.connection import connect
from tests.support.stripe_loads import contents

_SCHEMAS = ("raw_business", "raw_usage", "marts")

State = dict[str, list[tuple[Any, ...]]]


def state(url: str) -> State:
    """Every row of the raw tables and of the marts, sorted, by table."""
    connection = connect(url)
    try:
        found: State = dict(contents(connection))
        with connection.cursor() as cursor:
            cursor.execute(
                "select schemaname, tablename from pg_tables where schemaname = any(%s)"
                " union all"
                " select schemaname, viewname from pg_views where schemaname = any(%s)"
                " order by 1, 2",
                [list(_SCHEMAS)] * 2,
            )
            for schema, table in cursor.fetchall():
                query = sql.SQL("select held::text from {} as held").format(
                    sql.Identifier(schema, table)
                )
                cursor.execute(query)
                found[f"{schema}.{table}"] = sorted(cursor.fetchall())
        return found
    finally:
        connection.close()


def difference(found: State, wanted: State) -> dict[str, tuple[list[Any], list[Any]]]:
    """By table, some rows that one of two states has and the other has not."""
    differing = {}
    for table in sorted({*found, *wanted}):
        one, other = found.get(table, []), wanted.get(table, [])
        if one != other:
            differing[table] = (
                [row for row in one if row not in other][:3],
                [row for row in other if row not in one][:3],
            )
    return differing
