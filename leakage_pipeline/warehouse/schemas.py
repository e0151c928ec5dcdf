"""Creates every schema and every loaded table, empty, before anything is loaded or any model runs.

So an input that a user does not have is an empty table, and dbt's sources always exist. The tables
themselves are described by the domain packages.
"""

import importlib
import importlib.util
from types import ModuleType

import psycopg2.extensions
from psycopg2 import sql

from leakage_pipeline.warehouse import ops
from leakage_pipeline.warehouse.tables import DDL_LOCK, TableSpec, create_tables

SCHEMAS = {
    "raw_stripe": "Stripe objects as loaded",
    "raw_usage": "Usage logs, rolled up",
    "raw_business": "Contracts, price book, accounts and the audit's own settings, as loaded",
    "staging": "dbt: renamed and typed, nothing else",
    "history": "dbt snapshots: what Stripe and the product said in earlier audits",
    "intermediate": "dbt: periods, expected and billed amounts, the bridge",
    "night": "Which customers a night prices anew, and what the last build knew of each",
    "night_raw_stripe": "Rows of raw_stripe of tonight's customers",
    "night_raw_usage": "Rows of raw_usage of tonight's customers",
    "night_raw_business": "Rows of raw_business of tonight's customers",
    "marts": "dbt: what people and dashboards read",
    "ops": "State that survives a rebuild: reviews, classifications, actions, audit log",
    "dagster": "Dagster's own storage",
}
_DOMAINS = (
    "leakage_pipeline.stripe_billing.tables",
    "leakage_pipeline.stripe_billing.tables_changes",
    "leakage_pipeline.stripe_billing.tables_entitlements",
    "leakage_pipeline.stripe_billing.tables_payments",
    "leakage_pipeline.usage_logs.tables",
    "leakage_pipeline.business.tables",
    "leakage_pipeline.classification.store",
    "leakage_pipeline.publishing.ledger",
)


def table_specs() -> list[TableSpec]:
    """The specs of every loaded table of all domains, by schema and name."""
    found = {
        (spec.schema, spec.name): spec for name in _DOMAINS for spec in _specs_in(_module(name))
    }
    return [found[key] for key in sorted(found)]


def create_all(conn: psycopg2.extensions.connection) -> None:
    """Create what is missing of schemas, tables and `ops`, in one transaction, and commit.

    Raises:
        PermanentFailure: A table that exists has a column of another type.
    """
    with conn.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s)", (DDL_LOCK,))
        for schema, comment in SCHEMAS.items():
            name = sql.Identifier(schema)
            cursor.execute(sql.SQL("create schema if not exists {}").format(name))
            cursor.execute(sql.SQL("comment on schema {} is {}").format(name, sql.Literal(comment)))
    create_tables(conn, table_specs(), commit=False)
    ops.create(conn, commit=False)
    conn.commit()


def drop_all(conn: psycopg2.extensions.connection) -> None:
    """Drop every schema but Dagster's own, with all in them. For simulated companies only."""
    with conn.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s)", (DDL_LOCK,))
        for schema in SCHEMAS:
            if schema != "dagster":
                cursor.execute(
                    sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema))
                )
    conn.commit()


def _module(name: str) -> ModuleType | None:
    package = name.rpartition(".")[0]
    if importlib.util.find_spec(package) is None or importlib.util.find_spec(name) is None:
        return None
    return importlib.import_module(name)


def _specs_in(module: ModuleType | None) -> list[TableSpec]:
    if module is None:
        return []
    # A domain with many tables keeps some in modules of their own and names all in TABLES.
    values = [*vars(module).values(), *getattr(module, "TABLES", ())]
    return [value for value in values if isinstance(value, TableSpec)]
