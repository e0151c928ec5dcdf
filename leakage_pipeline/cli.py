"""The command line: parses, calls `commands/`, and turns failures into one line and an exit code.

It reads the clock, as do `review_cli`, `events_cli` and the review page, where people decide.
0 is done, 1 the run failed, 2 bad configuration or usage.
"""

import contextlib
import logging
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from leakage_pipeline import __version__
from leakage_pipeline.commands import terminal
from leakage_pipeline.commands.actions_cli import actions
from leakage_pipeline.commands.events_cli import events
from leakage_pipeline.commands.review_cli import review
from leakage_pipeline.config_types import parse_instant
from leakage_pipeline.failures import ConfigurationError, PermanentFailure, TransientFailure
from leakage_pipeline.settings import (
    environment_from,
    home_from,
    load_environment,
    load_settings,
)

if TYPE_CHECKING:
    from leakage_pipeline.settings import Settings

FAILED = 1
BAD_CONFIGURATION = 2
_DEFAULT_PORT = 3000
_INTERRUPTED = 130


class _Instant(click.ParamType[datetime]):
    name = "TS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return parse_instant(str(value))
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


AS_OF = click.option(
    "--as-of",
    type=_Instant(),
    help="What is now for the whole run, ISO 8601; UTC without an offset. Default: now.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def leakage() -> None:
    """Find what customers should have paid and were not billed, or were billed and should not."""


@leakage.command()
@AS_OF
@click.option(
    "--full-refresh",
    is_flag=True,
    help="Read and compute everything anew.",
)
def audit(as_of: datetime | None, *, full_refresh: bool) -> None:
    """Run one nightly audit with your own configuration."""
    from leakage_pipeline.commands.audit import audit as run

    settings, now = _settings(), terminal.now()
    run(settings, as_of or now, terminal.console(), now=now, full_refresh=full_refresh)


@leakage.command()
@click.option("--week", metavar="YYYY-Www", help="ISO week; default: the newest audit's.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to; default: reports in LEAKAGE_HOME.",
)
@click.option("--mail", is_flag=True, help="Send it to REPORT_RECIPIENTS; once a week.")
def report(week: str | None, out: Path | None, *, mail: bool) -> None:
    """Write the weekly recovery report."""
    from leakage_pipeline.commands.report import mail_report
    from leakage_pipeline.commands.report import report as write

    settings, console = _settings(), terminal.console()
    files = write(settings, week, out)
    console.print(f"Report of {files.week}:", highlight=False)
    for path in (files.html, files.csv):
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    if mail:
        console.print(f"Mail: {mail_report(settings, files)}", highlight=False, soft_wrap=True)


@leakage.command()
@AS_OF
def digest(as_of: datetime | None) -> None:
    """Tell Slack what is new, changed and recovered; once a day."""
    from leakage_pipeline.commands.digest import digest as tell

    tell(_settings(), as_of or terminal.now(), terminal.console())


@leakage.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=_DEFAULT_PORT, show_default=True)
@click.option("--review-port", default=_DEFAULT_PORT + 1, show_default=True)
def dev(host: str, port: int, review_port: int) -> None:
    """Open the Dagster UI and the review page; starts Postgres when none is configured."""
    from leakage_pipeline.commands.dev import dev as run

    if code := run(_settings(), host, port, review_port):
        raise SystemExit(code)


@leakage.command()
def doctor() -> None:
    """Check configuration, credentials, inputs and database; say how to mend what is wrong."""
    from leakage_pipeline.commands.doctor import doctor as run

    problems, in_configuration = run(load_settings, terminal.console())
    if problems:
        raise SystemExit(BAD_CONFIGURATION if in_configuration else FAILED)


@leakage.command()
@click.option("--customers", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--as-of",
    type=_Instant(),
    help="What is now for the simulation and the audit, ISO 8601. Default: a fixed Friday.",
)
@click.option("--score", is_flag=True, help="Audit one company per seed and print the scoreboard.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="With --score: how many companies, from --seed on.",
)
@click.option(
    "--second-month",
    is_flag=True,
    help="Approve and send what can be recovered, bill a month, audit again, compare the books.",
)
def demo(
    customers: int,
    seed: int,
    as_of: datetime | None,
    *,
    score: bool,
    seeds: int,
    second_month: bool,
) -> None:
    """Audit a simulated company whose leaks are known, and compare."""
    from leakage_pipeline.simulator.demo import run_demo, run_scoreboard

    console, now = terminal.console(), terminal.now()
    if second_month:
        from leakage_pipeline.simulator.two_months import run_two_months

        run_two_months(customers=customers, seed=seed, as_of=as_of, console=console, now=now)
    elif score:
        wanted = range(seed, seed + seeds)
        run_scoreboard(customers=customers, seeds=wanted, as_of=as_of, console=console, now=now)
    else:
        run_demo(customers=customers, seed=seed, as_of=as_of, console=console, now=now)


@leakage.command(name="evaluate-classifier")
@click.option(
    "--classifier",
    type=click.Choice(("rules", "anthropic", "all")),
    default="rules",
    show_default=True,
    help="Which to score; anthropic asks ANTHROPIC_API_KEY's account.",
)
@click.option("--at-least", default="0", metavar="SHARE", help="Fail below this share, 0 to 1.")
@click.option("--max-dollars", default="0.50", show_default=True, help="What asking may cost.")
def evaluate_classifier(classifier: str, at_least: str, max_dollars: str) -> None:
    """Score the classifier on labelled findings."""
    from decimal import Decimal, InvalidOperation

    from leakage_pipeline.commands.classify import evaluate

    try:
        share, dollars = Decimal(at_least), Decimal(max_dollars)
    except InvalidOperation:
        message = "--at-least and --max-dollars are numbers"
        raise click.UsageError(message) from None
    evaluate(classifier, share, dollars, terminal.console())


leakage.add_command(review)
leakage.add_command(events)
leakage.add_command(actions)


@leakage.group()
def db() -> None:
    """Look after the embedded Postgres."""


@db.command()
def url() -> None:
    """Start Postgres when it is not running, and print its address."""
    from sqlalchemy.engine import make_url

    from leakage_pipeline.warehouse.server import warehouse_url

    variables = load_environment()
    address = warehouse_url(home_from(variables), environment_from(variables).database_url)
    # Written as psql and most tools want it; a password is left out.
    click.echo(make_url(address).set(drivername="postgresql").render_as_string(hide_password=True))


@db.command()
def stop() -> None:
    """Stop the embedded Postgres; the next command starts it again."""
    from leakage_pipeline.warehouse.embedded import Cluster

    stopped = Cluster(home_from(load_environment())).stop()
    click.echo("stopped" if stopped else "not running")


def main() -> NoReturn:
    """Run a command and exit with its code."""
    try:
        leakage.main(standalone_mode=False)
    except ConfigurationError as error:
        _stop(str(error), BAD_CONFIGURATION)
    except (PermanentFailure, TransientFailure) as error:
        _stop(str(error), FAILED)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except (click.Abort, KeyboardInterrupt):
        _stop("interrupted", _INTERRUPTED)
    except Exception as error:  # the last resort: no traceback for the user
        logging.getLogger("leakage").debug("unexpected", exc_info=True)
        _stop(f"unexpected error: {type(error).__name__}: {error}{_keep_traceback(error)}", FAILED)
    raise SystemExit(0)


def _stop(message: str, code: int) -> NoReturn:
    click.echo(f"leakage: {message}", err=True)
    raise SystemExit(code)


def _keep_traceback(error: Exception) -> str:
    """Write the traceback to the log folder and say where it is."""
    import traceback

    try:
        folder = home_from(load_environment()) / "logs"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"error-{terminal.now():%Y%m%dT%H%M%S}.log"
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return ""
    return f" (details: {path})"


def _settings() -> "Settings":
    return load_settings()


def entry() -> NoReturn:
    """Run a command and leave at once; what the installed `leakage` calls.

    DuckDB's binding would list every object that a traceback still holds, pages of it, when the
    interpreter is taken down after a failure.
    """
    # Leaving at once makes multiprocessing's own helper warn of semaphores that it then frees.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else FAILED
    logging.shutdown()
    with contextlib.suppress(OSError):  # the reader of our output may have left
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    entry()
