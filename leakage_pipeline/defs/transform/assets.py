"""dbt models as assets, built in three steps because usage is cut where billing cuts.

1. periods: which billing periods there are, so that the usage log can be cut at their bounds;
2. metering questions: which meter summaries are worth asking Stripe for;
3. everything else: terms, rating, the bridge, findings, marts, and all data tests.
Each model belongs to exactly one step; the steps are graph selections, not tags on models.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DbtCliInvocation,
    DbtCliResource,
    DbtProject,
    dbt_assets,
)
from dagster_dbt.compat import DBT_PYTHON_VERSION
from sqlalchemy.engine import make_url

from leakage_pipeline.defs.resources import AuditRun, SettingsResource, WarehouseResource
from leakage_pipeline.defs.transform.project import PROJECT_DIR, code_version, load_project
from leakage_pipeline.nights import night
from leakage_pipeline.nights.ownership import KNOWN_FIRST

PROJECT = load_project()
PERIODS = "+int_periods__usage_cuts +int_periods__usage_finalizations"
# Stands for its whole step, which waits for all that it waits for.
_FIRST_STEP = "int_periods__usage_cuts"
METERING_QUESTIONS = "+int_usage__summary_requests"
# For dbt's sessions, on the user's own server too. Every model reads whole tables, and the planner
# takes a join on two or three columns for a handful of rows: a nested loop over it is quadratic, a
# merge join sorts millions of rows that need no order. What is left is to hash.
SESSION_OPTIONS = "-c enable_nestloop=off -c enable_mergejoin=off -c jit=off -c work_mem=64MB"


# Nobody reads the manifest that dbt writes at its end, nor its twenty megabytes of debug log.
QUICK = ["--no-write-json", "--log-level-file", "info"]


class _Dbt(DbtCliResource):
    """dbt without what dagster-dbt does before each command and we have no use for."""

    @cached_property
    def _cli_version(self) -> Any:
        """Of the package, whose executable it is: `dbt --version` asks PyPI what is newest."""
        return DBT_PYTHON_VERSION

    # Only row counts and columns need it, which our assets do not ask it for.
    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> None:  # type: ignore[override]
        """No adapter in our own process."""


class LayerTranslator(DagsterDbtTranslator):
    """Names assets after the layer folder: `staging/stg_stripe__prices`, `marts/dim_customers`."""

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetSpec:
        """The spec with the layer as key prefix, and the layer (or its part) as group."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = self.get_resource_props(manifest, unique_id)
        if node["resource_type"] == "seed":
            return spec.replace_attributes(
                key=dg.AssetKey(["seeds", node["name"]]), group_name="reference_data"
            )
        if node["resource_type"] == "snapshot":
            return spec.replace_attributes(
                key=dg.AssetKey(["history", node["name"]]),
                group_name="history",
                kinds={"dbt", "postgres"},
            )
        if node["resource_type"] != "model":
            return spec
        if node["name"] == _FIRST_STEP:
            spec = spec.merge_attributes(deps=[dg.AssetKey(key) for key in KNOWN_FIRST])
        layer, *parts = node["fqn"][1:-1]
        group = parts[0] if layer == "intermediate" else layer
        return spec.replace_attributes(
            key=dg.AssetKey([layer, node["name"]]),
            group_name=f"billing_{group}" if layer == "intermediate" else group,
            kinds={"dbt", "postgres"},
        )


TRANSLATOR = LayerTranslator()


def dbt_environment(warehouse_url: str) -> dict[str, str]:
    """What profiles.yml reads, from a SQLAlchemy URL; sessions are in UTC whatever is set."""
    url = make_url(warehouse_url)
    host = url.query.get("host") or url.host or "localhost"
    return {
        "LEAKAGE_DBT_HOST": host if isinstance(host, str) else host[0],
        "LEAKAGE_DBT_PORT": str(url.query.get("port") or url.port or 5432),
        "LEAKAGE_DBT_USER": url.username or "postgres",
        "LEAKAGE_DBT_PASSWORD": url.password or "",
        "LEAKAGE_DBT_DATABASE": url.database or "postgres",
        "LEAKAGE_DBT_SSLMODE": str(url.query.get("sslmode") or "prefer"),
        "PGTZ": "UTC",
    }


def session_environment(warehouse_url: str) -> dict[str, str]:
    """What libpq reads in the processes of dbt: the URL's own options, then ours."""
    given = make_url(warehouse_url).query.get("options", "")
    options = given if isinstance(given, str) else " ".join(given)
    return {"PGOPTIONS": f"{options} {SESSION_OPTIONS}".strip()}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for processes started inside the block; ours connect as they always do."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _build(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Iterator[Any]:
    """Run `dbt build` for the step's models; a failed data test of severity error stops the run."""
    # buildable: a test that compares two steps runs in the later one, when both sides exist.
    arguments = ["build", "--exclude-resource-type", "unit_test"]
    arguments += ["--indirect-selection", "buildable"]
    if audit_run.full_refresh:
        arguments.append("--full-refresh")
    yield from _dbt(arguments, settings, warehouse, context).stream()


def _dbt(
    arguments: list[str],
    settings: SettingsResource,
    warehouse: WarehouseResource,
    context: dg.AssetExecutionContext | None = None,
) -> DbtCliInvocation:
    """Start dbt for the customers of this build: all, or those that changed."""
    url = warehouse.url()
    os.environ.update(dbt_environment(url))
    dbt = _Dbt(
        project_dir=os.fspath(PROJECT_DIR),
        profiles_dir=os.fspath(PROJECT_DIR),
        # The one beside our interpreter: a command typed by its path has no such folder on PATH.
        dbt_executable=os.fspath(Path(sys.executable).with_name("dbt")),
        global_config_flags=QUICK,
    )
    with warehouse.connect() as conn:
        is_full = night.current(conn).is_full
    # One folder for all steps: the first one parses the project, the others reuse that (-25 s).
    # Each kind of night has its own, because other variables are another parse.
    target: Path = settings.get().home / ("dbt" if is_full else "dbt_changed")
    target.mkdir(parents=True, exist_ok=True)
    with _environment(session_environment(url)):
        return dbt.cli(
            [*arguments, *vars_of(is_full=is_full)],
            context=context,
            target_path=target,
        )


def vars_of(*, is_full: bool) -> list[str]:
    """Arguments of dbt for a build of all customers, or of those that changed."""
    return [] if is_full else ["--vars", "{changed_customers_only: true}"]


@dbt_assets(
    manifest=PROJECT.manifest_path,
    project=PROJECT,
    name="billing_periods",
    select=PERIODS,
    dagster_dbt_translator=TRANSLATOR,
    pool="warehouse",
)
def billing_periods(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Iterator[Any]:
    """Billing periods of every subscription item, and the instants at which usage is cut."""
    with warehouse.connect() as conn:
        night.begin(
            conn,
            audit_run.as_of_for(context),
            code_version(),
            full_refresh=audit_run.full_refresh or not settings.get().policy.price_changed_only,
        )
    yield from _build(context, settings, warehouse, audit_run)


@dbt_assets(
    manifest=PROJECT.manifest_path,
    project=PROJECT,
    name="metering_questions",
    select=METERING_QUESTIONS,
    exclude=PERIODS,
    dagster_dbt_translator=TRANSLATOR,
    pool="warehouse",
)
def metering_questions(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Iterator[Any]:
    """True usage per period, and the meter summaries that are worth a request to Stripe."""
    with warehouse.connect() as conn:
        added = night.add_users(conn)
    if added:
        # Their periods are not built yet; snapshots need no second look, no row of theirs changed.
        # One argument: dagster-dbt takes the word after --select out of the others.
        _dbt(["run", "--select", PERIODS], settings, warehouse).wait()
    yield from _build(context, settings, warehouse, audit_run)


@dbt_assets(
    manifest=PROJECT.manifest_path,
    project=PROJECT,
    name="billing_model",
    exclude=f"{PERIODS} {METERING_QUESTIONS}",
    dagster_dbt_translator=TRANSLATOR,
    pool="warehouse",
)
def billing_model(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> Iterator[Any]:
    """Expected against billed, the bridge between them, the findings and the marts."""
    yield from _build(context, settings, warehouse, audit_run)
    with warehouse.connect() as conn:
        night.end(conn, audit_run.as_of_for(context))
        context.log.info(night.told(conn))
