"""The options of `leakage review`; what the commands do stands in `review`."""

import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from leakage_pipeline.commands import terminal
from leakage_pipeline.settings import load_settings

if TYPE_CHECKING:
    from leakage_pipeline.review.queue import Filters

_STATUSES = (
    *("new", "investigating", "approved", "actioned", "recovered"),
    *("dismissed", "written_off", "auto_resolved"),
)
_Command = Callable[..., Any]
_BY = click.option(
    "--by",
    envvar="LEAKAGE_USER",
    default=getpass.getuser,
    show_default="LEAKAGE_USER, else the login name",
    help="Who decides; stands in the audit log.",
)
_IDS = click.argument("ids", nargs=-1, required=True, metavar="ID...")


@click.group()
def review() -> None:
    """Work through the findings, here or in the browser (serve)."""


def _filters(command: _Command) -> _Command:
    options = (
        click.option(
            "--status", type=click.Choice(_STATUSES), multiple=True, help="Default: open."
        ),
        click.option("--all", "every", is_flag=True, help="Whatever the status."),
        click.option("--type", "leakage_type", help="Finding type, such as unreported_usage."),
        click.option(
            "--direction", type=click.Choice(("leak", "overbilling", "risk", "opportunity"))
        ),
        click.option("--severity", type=click.Choice(("low", "medium", "high", "critical"))),
        click.option("--customer", "customer_id", help="Stripe customer id."),
        click.option("--incident", "incident_id", help="Findings of one cause."),
        click.option("--assignee"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _chosen(status: tuple[str, ...], *, every: bool, **others: str | None) -> "Filters":
    from leakage_pipeline.review.queue import Filters

    wanted = None if every else status or Filters.status
    return Filters(wanted, **others)


@review.command(name="list")
@_filters
@click.option("--limit", type=click.IntRange(min=1), default=25, show_default=True)
@click.option("--csv", "as_csv", is_flag=True, help="All columns as CSV, safe for spreadsheets.")
def list_(limit: int, *, as_csv: bool, status: tuple[str, ...], every: bool, **others: Any) -> None:
    """Show the queue, what is worth most first."""
    from leakage_pipeline.commands.review import print_queue

    filters = _chosen(status, every=every, **others)
    print_queue(load_settings(), filters, limit, terminal.console(), as_csv=as_csv)


@review.command()
@click.argument("detection_id", metavar="ID")
def show(detection_id: str) -> None:
    """Show one finding with its arithmetic, Stripe pages and history."""
    from leakage_pipeline.commands.review import print_finding

    print_finding(load_settings(), detection_id, terminal.console())


@review.command()
@click.argument("detection_id", metavar="ID")
def classify(detection_id: str) -> None:
    """Ask the classifier about one finding now, instead of with the next night's batch."""
    from leakage_pipeline.commands.classify import classify_finding

    classify_finding(load_settings(), detection_id, terminal.console())


@review.command()
@_IDS
@click.option("--to", "person", required=True, help="Who looks into it.")
@_BY
def assign(ids: tuple[str, ...], person: str, by: str) -> None:
    """Give findings to somebody."""
    from leakage_pipeline.commands import review as run

    run.decide(load_settings(), ids, run.assign(by, terminal.now(), person), terminal.console())


@review.command()
@_IDS
@click.option("--note", help="Why.")
@_BY
def approve(ids: tuple[str, ...], note: str | None, by: str) -> None:
    """Confirm findings: their money should come back, or go back to the customer."""
    from leakage_pipeline.commands import review as run

    run.decide(load_settings(), ids, run.approve(by, terminal.now(), note), terminal.console())


@review.command()
@_IDS
@click.option("--reason", required=True, help="Why it is none.")
@_BY
def dismiss(ids: tuple[str, ...], reason: str, by: str) -> None:
    """Call findings none; they come back only when their evidence changes."""
    from leakage_pipeline.commands import review as run

    run.decide(load_settings(), ids, run.dismiss(by, terminal.now(), reason), terminal.console())


@review.command()
@click.argument("detection_id", metavar="ID")
@click.argument("text")
@_BY
def note(detection_id: str, text: str, by: str) -> None:
    """Write something down about a finding."""
    from leakage_pipeline.commands import review as run

    run.decide(
        load_settings(), (detection_id,), run.note(by, terminal.now(), text), terminal.console()
    )


@review.command()
@_IDS
@_BY
def undo(ids: tuple[str, ...], by: str) -> None:
    """Take back the newest step of a person on findings."""
    from leakage_pipeline.commands import review as run

    run.decide(load_settings(), ids, run.undo(by, terminal.now()), terminal.console())


@review.group()
def sample() -> None:
    """Check the month's five drawn customers by hand: list, record."""


@sample.command(name="list")
@click.option("--month", metavar="YYYY-MM", help="Default: the newest audit's.")
def list_sample(month: str | None) -> None:
    """Show the customers to check, and what was found at each."""
    from leakage_pipeline.commands.sample import print_sample

    print_sample(load_settings(), month, terminal.console())


@sample.command()
@click.argument("customer_id", metavar="CUSTOMER")
@click.option("--verdict", type=click.Choice(("right", "missed", "wrong")), required=True)
@click.option("--note", default="", help="What was missed or wrong.")
@click.option("--month", metavar="YYYY-MM", help="Default: the newest audit's.")
@_BY
def record(customer_id: str, verdict: str, note: str, month: str | None, by: str) -> None:
    """Write down what the check by hand has shown."""
    from leakage_pipeline.commands.sample import record_verdict

    settings, console = load_settings(), terminal.console()
    record_verdict(settings, month, customer_id, (verdict, note), console, by=by, at=terminal.now())


@review.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=3001, show_default=True)
def serve(host: str, port: int) -> None:
    """Open the review page for the browser."""
    from leakage_pipeline.commands.review_page import serve as run

    run(load_settings(), host, port, terminal.console())


@review.group()
def people() -> None:
    """Who may sign in to the review page: add, list, disable."""


@people.command()
@click.argument("name")
@click.option("--role", type=click.Choice(("viewer", "reviewer", "approver")), required=True)
@click.password_option(help="Asked for when not given; at least 12 characters.")
@_BY
def add(name: str, role: str, password: str, by: str) -> None:
    """Let somebody sign in, or change their role and password."""
    from leakage_pipeline.commands.review_page import add_person

    add_person(load_settings(), name, role, password, by=by, at=terminal.now())


@people.command(name="list")
def list_people() -> None:
    """Show who may sign in, and as what."""
    from leakage_pipeline.commands.review_page import print_people

    print_people(load_settings(), terminal.console())


@people.command()
@click.argument("name")
@_BY
def disable(name: str, by: str) -> None:
    """Let somebody sign in no more."""
    from leakage_pipeline.commands.review_page import disable_person

    disable_person(load_settings(), name, by=by, at=terminal.now())
