"""`leakage audit`: look first, then run the nightly job here, then say what it found.

Nothing is written before every check has passed.
"""

from datetime import datetime

from rich.console import Console

from leakage_pipeline.commands.checks import database_check, input_checks, stripe_checks
from leakage_pipeline.commands.execution import run_nightly_audit
from leakage_pipeline.commands.progress_view import ProgressView
from leakage_pipeline.commands.run_log import log_to_file
from leakage_pipeline.commands.summary import print_summary, read_totals
from leakage_pipeline.nights import night
from leakage_pipeline.settings import Settings
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.server import ensure_running


def preflight(settings: Settings) -> None:
    """Raise what would make the audit fail, before it begins.

    Raises:
        ConfigurationError, PermanentFailure, TransientFailure: The first thing that is wrong.
    """
    for check in (*input_checks(settings), *stripe_checks(settings, every_endpoint=False)):
        check.run()
    database_check(settings).run()


def audit(
    settings: Settings, as_of: datetime, console: Console, *, now: datetime, full_refresh: bool
) -> None:
    """Run one nightly audit.

    Args:
        settings: The configuration.
        as_of: What is now for the run.
        console: Where progress and summary go.
        now: The clock's time, for the name of the log file.
        full_refresh: Price every customer anew.

    Raises:
        ConfigurationError, PermanentFailure, TransientFailure: Why there is no audit.
    """
    preflight(settings)
    with log_to_file(settings.home, "audit", now) as log:
        console.print(
            f"Audit of {settings.company} as of {as_of:%Y-%m-%d %H:%M:%S} UTC (log: {log})",
            highlight=False,
            soft_wrap=True,
        )
        with ProgressView(console) as view:
            run_nightly_audit(settings.home, as_of, full_refresh=full_refresh, tell=view.tell)
        connection = connect(ensure_running(settings))
        try:
            totals = read_totals(connection)
            priced = night.told(connection)
        finally:
            connection.close()
    console.print(priced, highlight=False, soft_wrap=True)
    print_summary(console, totals, view.failed_checks)
