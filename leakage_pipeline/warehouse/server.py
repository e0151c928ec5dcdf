"""Finds the warehouse: the Postgres that LEAKAGE_DATABASE_URL names, else the embedded one.

The one place that decides between the two. Everything else receives a URL.
"""

from pathlib import Path

from pydantic import SecretStr

from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.settings import Settings
from leakage_pipeline.warehouse.connection import connect, describe, normalise
from leakage_pipeline.warehouse.embedded import Cluster

_OLDEST = 140_000


def ensure_running(settings: Settings) -> str:
    """The warehouse's SQLAlchemy URL; starts the embedded server when none is configured.

    Args:
        settings: Their environment and home are used.

    Returns:
        A `postgresql+psycopg2://` URL. It may hold a password: keep it out of logs.

    Raises:
        ConfigurationError: LEAKAGE_DATABASE_URL is no Postgres address, or the server is too old.
        PermanentFailure: The server refuses us, or the embedded one does not start.
        TransientFailure: The server cannot be reached.
    """
    return warehouse_url(settings.home, settings.environment.database_url)


def warehouse_url(home: Path, database_url: SecretStr | None) -> str:
    """As `ensure_running`, for callers without a leakage.yaml, such as Dagster's own storage."""
    if database_url is None:
        return Cluster(home).ensure_running()
    url = normalise(database_url.get_secret_value())
    connection = connect(url)
    try:
        if connection.server_version < _OLDEST:
            message = (
                f"environment: LEAKAGE_DATABASE_URL: {describe(url)} is Postgres "
                f"{connection.server_version // 10_000}; 14 or newer is needed"
            )
            raise ConfigurationError(message)
    finally:
        connection.close()
    return url
