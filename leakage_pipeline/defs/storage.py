"""Dagster's own storage in the warehouse, in a schema of its own; named by the root dagster.yaml.

It finds the address the way everything else does and starts the embedded server when none runs, so
that `dg dev` or `dagster dev` typed at the root needs no variable set.
"""

from typing import Any, Self

import dagster as dg
from dagster_postgres import DagsterPostgresStorage
from psycopg2 import sql
from sqlalchemy.engine import make_url

from leakage_pipeline.settings import environment_from, home_from, load_environment
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.server import warehouse_url
from leakage_pipeline.warehouse.tables import DDL_LOCK

SCHEMA = "dagster"


class WarehouseStorage(DagsterPostgresStorage):
    """dagster-postgres on the warehouse; takes no configuration."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No options: the environment says all."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Self:  # noqa: ARG003
        """Build the storage; called by Dagster when it loads an instance.

        Raises:
            ConfigurationError, PermanentFailure, TransientFailure: As `server.warehouse_url`.
        """
        return cls(postgres_url=storage_url(), inst_data=inst_data)


def hold_connections(instance: dg.DagsterInstance) -> None:
    """Keep a connection to the storage open in this process, from now on.

    Dagster opens one for every statement, which an audit with its thousands of events pays for with
    a quarter of its time. Only for processes that end with their run: a pool does not notice that
    the server was started again.
    """
    instance.optimize_for_webserver(statement_timeout=0, pool_recycle=-1, max_overflow=20)


def storage_url() -> str:
    """The warehouse's URL, with a search path that leads to the schema for Dagster's tables."""
    variables = load_environment()
    url = warehouse_url(home_from(variables), environment_from(variables).database_url)
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("select pg_advisory_xact_lock(%s)", (DDL_LOCK,))
            cursor.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(SCHEMA)))
        connection.commit()
    finally:
        connection.close()
    parsed = make_url(url)
    given = parsed.query.get("options", "")
    options = f"{given if isinstance(given, str) else given[-1]} -c search_path={SCHEMA}".strip()
    return parsed.update_query_dict({"options": options}).render_as_string(hide_password=False)
