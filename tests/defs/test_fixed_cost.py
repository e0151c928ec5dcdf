"""What an audit leaves out because nobody reads it: connections, versions, adapters."""

import os
import sys
from importlib import metadata
from pathlib import Path

import dagster as dg
import pytest
from dagster_dbt import DbtCliResource
from packaging.version import Version
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.commands.execution import prepare_instance
from leakage_pipeline.defs.storage import hold_connections
from leakage_pipeline.defs.transform.assets import QUICK, _Dbt
from leakage_pipeline.defs.transform.project import PROJECT_DIR

FEW = 8


@dg.asset
def table() -> None:
    """A dozen events."""


@pytest.mark.parametrize("is_held", [False, True])
def test_a_run_opens_a_connection_for_every_statement_unless_one_is_held(
    tmp_path: Path,
    database_url: str,
    conn: Connection,
    monkeypatch: pytest.MonkeyPatch,
    is_held: bool,
) -> None:
    monkeypatch.setenv("LEAKAGE_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    folder = prepare_instance(tmp_path)
    conn.autocommit = True
    with dg.DagsterInstance.from_config(str(folder), "terminal.yaml") as instance:
        if is_held:
            hold_connections(instance)
        before = _sessions(conn)
        assert dg.materialize([table], instance=instance).success
        opened = _sessions(conn) - before
        assert (opened <= FEW) is is_held, opened


def _sessions(conn: Connection) -> int:
    """How many sessions the database has seen."""
    with conn.cursor() as cursor:
        cursor.execute("select pg_stat_force_next_flush()")
        cursor.execute("select sessions from pg_stat_database where datname = current_database()")
        ((sessions,),) = cursor.fetchall()
    return int(sessions)


def test_dbt_is_started_without_asking_for_its_version(tmp_path: Path) -> None:
    """What is overridden is still what dagster-dbt asks before a command."""
    dbt = _Dbt(
        project_dir=os.fspath(PROJECT_DIR),
        profiles_dir=os.fspath(PROJECT_DIR),
        dbt_executable=os.fspath(Path(sys.executable).with_name("dbt")),
        global_config_flags=QUICK,
    )
    assert {"_cli_version", "_initialize_dbt_core_adapter"} <= vars(DbtCliResource).keys()
    command = dbt.cli(["debug", "--config-dir"], target_path=tmp_path)
    assert command.cli_version == Version(metadata.version("dbt-core"))
    assert command.adapter is None
    assert command.is_successful()
