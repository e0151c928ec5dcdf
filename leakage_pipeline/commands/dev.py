"""`leakage dev`: the Dagster UI with webserver and daemon, and the review page beside it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from leakage_pipeline.commands.execution import prepare_instance
from leakage_pipeline.settings import Settings
from leakage_pipeline.warehouse.server import ensure_running

_ROOT = Path(__file__).resolve().parents[2]


_STOP_SECONDS = 30


def dev(settings: Settings, host: str, port: int, review_port: int) -> int:
    """Start the warehouse when needed, then `dg dev` and the review page, until one of them ends.

    Args:
        settings: The configuration; its environment, `.env` included, is handed on.
        host: Address that both listen on.
        port: The port of the Dagster UI.
        review_port: The port of the review page.

    Returns:
        The exit code of `dg dev`; 0 when it was interrupted.

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
    review = [sys.executable, "-m", "leakage_pipeline.cli", "review", "serve"]
    sys.stdout.flush()
    page = subprocess.Popen([*review, "--host", host, "--port", str(review_port)], env=environment)
    dagster = subprocess.Popen(
        [str(programs / "dg"), "dev", "--host", host, "--port", str(port)],
        cwd=_ROOT,
        env=environment,
    )
    # What stops us (a service manager) stops both; Ctrl-C reaches them by itself.
    signal.signal(signal.SIGTERM, lambda *_: dagster.terminate())
    try:
        return dagster.wait()
    except KeyboardInterrupt:
        dagster.wait(_STOP_SECONDS)
        return 0
    finally:
        page.terminate()
        page.wait(_STOP_SECONDS)
