"""The options of `leakage actions`; what the commands do stands in `actions`."""

import getpass

import click

from leakage_pipeline.commands import terminal
from leakage_pipeline.settings import load_settings

_STATUSES = ("planned", "approved", "sent", "confirmed", "failed", "reverted")
_BY = click.option(
    "--by",
    envvar="LEAKAGE_USER",
    default=getpass.getuser,
    show_default="LEAKAGE_USER, else the login name",
    help="Who decides: an approver of leakage review people.",
)
_ID = click.argument("action_id", metavar="ID")


@click.group()
def actions() -> None:
    """Correct bills at Stripe: see, release and send what recovers a finding's money."""


@actions.command()
def plan() -> None:
    """Plan from the newest audit, as the nightly run does."""
    from leakage_pipeline.commands.actions import plan_again

    plan_again(load_settings(), terminal.console())


@actions.command(name="list")
@click.option("--status", type=click.Choice(_STATUSES), multiple=True, help="Default: open ones.")
@click.option("--action", "kinds", multiple=True, help="Only these, such as credit_note.")
def list_(status: tuple[str, ...], kinds: tuple[str, ...]) -> None:
    """List actions, the largest amount first."""
    from leakage_pipeline.commands.actions import print_list

    print_list(load_settings(), status, terminal.console(), kinds)


@actions.command()
@_ID
def show(action_id: str) -> None:
    """Show one action: before and after, and exactly what is sent."""
    from leakage_pipeline.commands.actions import print_action

    print_action(load_settings(), action_id, terminal.console())


@actions.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@_BY
def approve(ids: tuple[str, ...], by: str) -> None:
    """Release actions as they stand; an approver only."""
    from leakage_pipeline.commands.actions import approve as release

    release(load_settings(), ids, terminal.console(), by=by, at=terminal.now())


@actions.command()
@click.option("--dry-run", is_flag=True, help="Print what would be sent, whatever the mode.")
def run(*, dry_run: bool) -> None:
    """Send what may be sent; in mode dry_run print it."""
    from leakage_pipeline.commands.actions import run as send

    send(load_settings(), terminal.console(), now=terminal.now(), dry=dry_run)


@actions.command()
@_ID
@click.option("--reason", required=True, help="Why; stands in the audit log.")
@_BY
def revert(action_id: str, reason: str, by: str) -> None:
    """Take an action back: withdraw it, or undo it at Stripe where Stripe still lets one."""
    from leakage_pipeline.commands.actions import revert as take_back

    take_back(load_settings(), action_id, reason, terminal.console(), by=by, at=terminal.now())


@actions.command()
@_ID
@click.option("--arrived/--not-arrived", required=True, help="What you saw in Stripe.")
@_BY
def resolve(action_id: str, by: str, *, arrived: bool) -> None:
    """Decide about an action that was sent and that nobody could confirm."""
    from leakage_pipeline.commands.actions import resolve as decide

    decide(
        load_settings(), action_id, terminal.console(), arrived=arrived, by=by, at=terminal.now()
    )


@actions.command()
@_BY
def resume(by: str) -> None:
    """Let sending go on after too many failures stopped it."""
    from leakage_pipeline.commands.actions import resume as go_on

    go_on(load_settings(), terminal.console(), by=by, at=terminal.now())
