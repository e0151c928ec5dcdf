"""The resources that assets may ask for: settings, warehouse, Stripe, and what this run audits.

Thin wiring: each hands out an object of the package that does the work. Nothing connects, reads a
file or looks at the environment before an asset runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import dagster as dg
import psycopg2.extensions
from pydantic import Field

from leakage_pipeline.config_types import parse_instant
from leakage_pipeline.defs.storage import hold_connections
from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.settings import Settings, load_settings
from leakage_pipeline.stripe_billing.budget import Budget, read_budget
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.transport import account_name, usual_rate
from leakage_pipeline.stripe_billing.webhooks import (
    Applied,
    apply_deliveries,
    deliveries_of,
    secret_of,
)
from leakage_pipeline.warehouse.audit_lock import audit_lock
from leakage_pipeline.warehouse.connection import connect, normalise
from leakage_pipeline.warehouse.orphans import end_orphans, mark_children
from leakage_pipeline.warehouse.server import ensure_running

# Two audits at a time would overwrite each other's tables.
EXCLUSIVE_JOB = "nightly_audit"


class SettingsResource(dg.ConfigurableResource[Settings]):
    """leakage.yaml and the environment, read when first asked for."""

    config_path: str | None = Field(
        default=None, description="Configuration file; default LEAKAGE_CONFIG, else leakage.yaml"
    )

    def get(self) -> Settings:
        """The settings.

        Raises:
            ConfigurationError: The file or the environment is wrong.
        """
        return self._settings

    @cached_property
    def _settings(self) -> Settings:
        return load_settings(Path(self.config_path) if self.config_path else None)


class WarehouseResource(dg.ConfigurableResource["WarehouseResource"]):
    """The Postgres that everything is loaded into; starts the embedded one when needed."""

    settings: dg.ResourceDependency[SettingsResource]
    database_url: str | None = Field(
        default=None, description="Another database, for tests; default as the settings say"
    )

    def url(self) -> str:
        """The SQLAlchemy URL. It may hold a password: keep it out of logs and metadata.

        Raises:
            ConfigurationError: LEAKAGE_DATABASE_URL is wrong.
            PermanentFailure: The server refuses us or does not start.
            TransientFailure: The server cannot be reached.
        """
        if self.database_url:
            return normalise(self.database_url, "database_url")
        return ensure_running(self.settings.get())

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["WarehouseResource"]:
        """For the whole of a nightly audit, keep every other one off this warehouse."""
        run = context.run
        if run is None or run.job_name != EXCLUSIVE_JOB:
            yield self
            return
        if context.instance is not None:
            hold_connections(context.instance)
        with audit_lock(self.url()):
            end_orphans()
            mark_children()
            yield self

    @contextmanager
    def connect(self) -> Iterator[psycopg2.extensions.connection]:
        """A connection that commits at the end of the block, or rolls back when it fails."""
        connection = connect(self.url())
        try:
            yield connection
            connection.commit()
        finally:
            connection.close()  # rolls back what is not committed


class StripeResource(dg.ConfigurableResource[StripeReader]):
    """Read access to the Stripe account."""

    settings: dg.ResourceDependency[SettingsResource]

    def reader(self) -> StripeReader:
        """A reader with the read-only key; makes no request yet.

        Raises:
            ConfigurationError: STRIPE_API_KEY is not set.
        """
        settings = self.settings.get()
        base = settings.environment.stripe_api_base
        return StripeReader(
            settings.stripe_key().get_secret_value(),
            base,
            rate_limit=settings.stripe.requests_per_second or usual_rate(base),
            workers=settings.stripe.concurrency,
        )

    def refresh(self, *, full: bool) -> Refresh:
        """Whether loads read everything, and of which account what was read before must be.

        Raises:
            ConfigurationError: STRIPE_API_KEY is not set.
        """
        settings = self.settings.get()
        access = settings.stripe
        return Refresh(
            incremental=access.incremental and not full,
            full_load_days=access.full_load_days,
            read_budget=access.monthly_read_budget,
            source=account_name(
                settings.stripe_key().get_secret_value(), settings.environment.stripe_api_base
            ),
        )

    def receive_webhooks(self, conn: psycopg2.extensions.connection, as_of: datetime) -> Applied:
        """Apply the webhooks that the product received, where the configuration says where.

        Raises:
            ConfigurationError: the source or its secret is not there.
        """
        settings = self.settings.get()
        source, variables = settings.stripe.webhooks, settings.environment.variables
        if source is None:
            return Applied()
        where = f"{settings.config_path}: stripe.webhooks"
        deliveries = deliveries_of(source, settings.base_dir, variables, where, as_of)
        secret = secret_of(source, variables, where)
        return apply_deliveries(conn, deliveries, as_of, secret, "webhooks")

    def budget(self, conn: psycopg2.extensions.connection, as_of: datetime) -> Budget:
        """How many reads of the last 30 days were used, and how many there are."""
        return read_budget(conn, as_of, self.settings.get().stripe.monthly_read_budget)


class AuditRun(dg.ConfigurableResource["AuditRun"]):
    """What this run audits: the instant that is *now* for all of it, and whether it starts anew."""

    as_of: str | None = Field(
        default=None,
        description="ISO 8601 instant that is now for the whole run; default the run's creation",
    )
    full_refresh: bool = Field(
        default=False, description="Read and compute everything anew instead of what changed"
    )

    def as_of_for(
        self, context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext
    ) -> datetime:
        """The one instant that every asset of this run takes for now, in UTC.

        Raises:
            ConfigurationError: `as_of` is no ISO 8601 instant.
        """
        if self.as_of:
            try:
                return parse_instant(self.as_of)
            except ValueError as error:
                message = f"run configuration: audit_run.as_of {error}"
                raise ConfigurationError(message) from None
        records = context.instance.get_run_records(dg.RunsFilter(run_ids=[context.run.run_id]))
        created: datetime = records[0].create_timestamp
        # Postgres gives the timestamp without its offset; Dagster always stores UTC.
        aware = created.replace(tzinfo=UTC) if created.tzinfo is None else created.astimezone(UTC)
        return aware.replace(microsecond=0)


@dg.definitions
def resources() -> dg.Definitions:
    """The resources under the names that assets ask for."""
    settings = SettingsResource()
    return dg.Definitions(
        resources={
            "settings": settings,
            "warehouse": WarehouseResource(settings=settings),
            "stripe": StripeResource(settings=settings),
            "audit_run": AuditRun(),
        }
    )
