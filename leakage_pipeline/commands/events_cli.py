"""The options of `leakage events`; what the commands do stands in `events`."""

import getpass
from pathlib import Path

import click
from rich.console import Console

from leakage_pipeline.commands import terminal
from leakage_pipeline.settings import load_settings

_FAILED = 1


@click.group()
def events() -> None:
    """Look after Stripe events: what was applied, what was not, and why."""


@events.command("list")
def list_() -> None:
    """Show how far events are read, and those that could not be applied."""
    from leakage_pipeline.commands import events as command

    conn = command.open_warehouse(load_settings())
    try:
        command.show(conn, Console())
    finally:
        conn.close()


@events.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Tell what would come of it, change nothing.")
def import_(files: tuple[Path, ...], *, dry_run: bool) -> None:
    """Apply received webhooks: FILES of one JSON object a line."""
    from leakage_pipeline.commands import events as command

    settings = load_settings()
    conn, console = command.open_warehouse(settings), Console()
    try:
        outcome = command.import_files(conn, settings, files, terminal.now(), dry_run=dry_run)
    finally:
        conn.close()
    for file, applied in outcome.items():
        failed = applied.failed or []
        would = "would be " if dry_run else ""
        console.print(
            f"{file}: {applied.new} {would}applied, {applied.known} known, "
            f"{applied.later} later than now, {len(failed)} dead letters",
            markup=False,
            highlight=False,
        )
        for reason in sorted(set(failed)):
            console.print(f"  {failed.count(reason)} x {reason}", markup=False, highlight=False)


@events.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--apply", "is_real", is_flag=True, help="Do it; without it only told.")
@click.option(
    "--by",
    envvar="LEAKAGE_USER",
    default=getpass.getuser,
    show_default="LEAKAGE_USER, else the login name",
    help="Who does it; stands in the audit log.",
)
def replay(ids: tuple[str, ...], by: str, *, is_real: bool) -> None:
    """Try dead letters again, all or those that ID names; a dry run without --apply."""
    from leakage_pipeline.commands import events as command

    settings = load_settings()
    conn, console = command.open_warehouse(settings), Console()
    try:
        outcomes = command.replay(
            conn, settings, ids, terminal.now(), actor=by, dry_run=not is_real
        )
    finally:
        conn.close()
    done = "applied" if is_real else "would be applied"
    for outcome in outcomes:
        result = done if outcome.error is None else f"fails: {outcome.error}"
        console.print(f"{outcome.letter.event_id}: {result}", markup=False, highlight=False)
    if not outcomes:
        console.print("No dead letters.")
    elif not is_real:
        console.print("Nothing was changed; add --apply.")
    if is_real and any(outcome.error for outcome in outcomes):
        raise SystemExit(_FAILED)
