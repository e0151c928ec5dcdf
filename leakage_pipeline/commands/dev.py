"""`leakage dev`: the Dagster UI with webserver and daemon, on the configured warehouse."""

import os
import sys
from pathlib import Path

from leakage_pipeline.commands.execution import prepare_instance
from leakage_pipeline.settings import Settings
from leakage_pipeline.warehouse.server import ensure_running

_ROOT = Path(__file__).resolve().parents[2]


def dev(settings: Settings, host: str, port: int) -> None:
    """Start the warehouse when needed, then become `dg dev`; returns only by an error.

    Args:
        settings: The configuration; its environment, `.env` included, is handed on.
        host: Address that the webserver listens on.
        port: Its port.

    Raises:
        ConfigurationError, PermanentFailure, TransientFailure: The warehouse cannot be had.
    """
    ensure_running(settings)
    programs = Path(sys.executable).parent
    environment = {
        **settings.environment.variables,
        # dg must stand in the project; what is relative to the user's folder is made absolute.
        "LEAKAGE_CONFIG": str(settings.config_path),
        "LEAKAGE_HOME": str(settings.home),
        "DAGSTER_HOME": str(prepare_instance(settings.home)),
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    os.chdir(_ROOT)
    command = [str(programs / "dg"), "dev", "--host", host, "--port", str(port)]
    sys.stdout.flush()
    os.execve(command[0], command, environment)  # noqa: S606 - a shell is not wanted
