"""`leakage actions`: the ledger in the terminal; what would be sent, releasing it, sending it."""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from rich.console import Console
from rich.table import Table
from rich.text import Text

from leakage_pipeline.classification.wording import money, period, plural
from leakage_pipeline.commands.review import opened
from leakage_pipeline.recovery import guards, ledger, sending, undo
from leakage_pipeline.recovery.lanes import deliveries, plan_all
from leakage_pipeline.recovery.ledger import Action
from leakage_pipeline.recovery.messages import MAIL
from leakage_pipeline.recovery.stripe_writer import StripeWriter
from leakage_pipeline.settings import Settings

SHOWN_ID = 12
OPEN = ("planned", "approved", "sent", "failed")


def plan_again(settings: Settings, console: Console) -> None:
    """Plan from the newest audit, as the nightly run does."""
    with opened(settings) as conn:
        plans = plan_all(conn, settings, _audited_at(conn))
    if settings.policy.action_mode == "off":
        _print(console, "policy.action_mode is off: nothing is planned")
        return
    done = plans.corrections
    _print(
        console,
        f"{plural(done.planned, 'correction')} planned, {done.held} of them held for a person, "
        f"{done.withdrawn} withdrawn; {plural(plans.deals, 'deal')}, "
        f"{plural(plans.messages, 'message')}, "
        f"{plural(plans.subscription_changes, 'subscription change')}",
    )


def print_list(
    settings: Settings, statuses: Sequence[str], console: Console, kinds: Sequence[str] = ()
) -> None:
    """Print the actions of these states and kinds (none: all), the largest amount first."""
    with opened(settings) as conn:
        found = ledger.read(conn, statuses or OPEN)
    actions = [action for action in found if not kinds or action.action in kinds]
    if not actions:
        console.print("No actions.")
        return
    table = Table(title=plural(len(actions), "action"), title_justify="left")
    for name in ("id", "status", "action", "finding", "customer", "period"):
        table.add_column(name, overflow="fold")
    table.add_column("amount", justify="right")
    table.add_column("why it waits", overflow="fold")
    for action in actions:
        table.add_row(
            *(action.action_id[:SHOWN_ID], action.status, action.action, action.leakage_type),
            *(Text(action.customer_id or ""), period(action.window_start, action.window_end)),
            money(action.amount, action.currency),
            Text(action.held_because or action.error or ""),
        )
    console.print(table)


def print_action(settings: Settings, wanted: str, console: Console) -> None:
    """Print one action: before and after, and exactly what is sent."""
    with opened(settings) as conn:
        _describe(console, ledger.find(conn, wanted))


def approve(
    settings: Settings, wanted: Sequence[str], console: Console, *, by: str, at: datetime
) -> None:
    """Release actions as they stand."""
    with opened(settings) as conn:
        for action in [ledger.find(conn, each) for each in wanted]:
            ledger.release(conn, action.action_id, by=by, at=at)
            _print(console, f"{action.action_id[:SHOWN_ID]}: {action.status} -> approved")


def run(settings: Settings, console: Console, *, now: datetime, dry: bool) -> None:
    """Send what may be sent, or print it.

    Raises:
        ConfigurationError: No usable write key.
        PermanentFailure, TransientFailure: Why nothing, or not everything, was sent.
    """
    mode = "dry_run" if dry else settings.policy.action_mode
    with opened(settings) as conn:
        if mode == "off":
            _print(console, "policy.action_mode is off: nothing is sent (docs/recovery.md)")
            return
        if mode == "dry_run":
            _print_dry_run(conn, settings, console)
            return
        writer = StripeWriter.from_settings(settings)
        report = sending.run(conn, settings.policy, writer, now, deliveries(settings, writer))
    for action, outcome in report.outcomes:
        _print(
            console,
            f"{action.action_id[:SHOWN_ID]} {action.action} {action.customer_id} "
            f"{money(action.amount, action.currency)}: {outcome}",
        )
    _print(console, report.stopped or f"{plural(len(report.outcomes), 'action')} looked at")


def revert(
    settings: Settings, wanted: str, reason: str, console: Console, *, by: str, at: datetime
) -> None:
    """Take one action back."""
    with opened(settings) as conn:
        action = ledger.find(conn, wanted)
        needs_stripe = action.status == "confirmed"
        writer = StripeWriter.from_settings(settings) if needs_stripe else None
        undo.undo(conn, writer, action, reason, by=by, at=at)
    _print(console, f"{action.action_id[:SHOWN_ID]}: {action.status} -> reverted")


def resolve(
    settings: Settings, wanted: str, console: Console, *, arrived: bool, by: str, at: datetime
) -> None:
    """Say what a person saw in Stripe of an action that nobody could decide."""
    with opened(settings) as conn:
        action = ledger.find(conn, wanted)
        ledger.resolve(conn, action.action_id, arrived=arrived, by=by, at=at)
    _print(console, f"{action.action_id[:SHOWN_ID]}: {'confirmed' if arrived else 'failed'}")


def resume(settings: Settings, console: Console, *, by: str, at: datetime) -> None:
    """Let sending go on after it stopped by itself."""
    with opened(settings) as conn:
        ledger.insist_on_approver(conn, by)
        cleared = guards.clear(conn, by=by, at=at)
    _print(console, "sending may go on" if cleared else "sending had not stopped")


def _print_dry_run(conn: Connection, settings: Settings, console: Console) -> None:
    dry = settings.policy.model_copy(update={"action_mode": "dry_run"})
    found = sending.candidates(conn, dry, _audited_at(conn))
    for action in found:
        _describe(console, action)
    held = [each for each in ledger.read(conn, ("planned", "approved")) if each.held_because]
    for action in held:
        _print(
            console,
            f"held: {action.action_id[:SHOWN_ID]} {action.action} {action.customer_id} "
            f"{money(action.amount, action.currency)}: {action.held_because}",
        )
    _print(
        console,
        f"{plural(len(found), 'action')} would be sent, {len(held)} held; nothing was sent",
    )


def _describe(console: Console, action: Action) -> None:
    _print(console, f"{action.action_id} · {action.action} · {action.status}", style="bold")
    _print(
        console,
        f"{action.leakage_type} of {action.customer_id}, {action.subscription_id}"
        + (f", {action.meter}" if action.meter else "")
        + f", {period(action.window_start, action.window_end)}: "
        + money(action.amount, action.currency),
    )
    for name in ("billed", "metered"):
        if name in action.before and name in action.after:
            _print(console, f"  {name}: {action.before[name]} -> {action.after[name]}")
    if action.before.get("periods", 1) > 1:
        total = action.before.get("total")
        amount = money(None if total is None else Decimal(total), action.currency)
        periods = plural(action.before["periods"], "period")
        _print(console, f"  speaks of the newest of {periods}, which come to {amount}")
    for request in action.request:
        _print(console, f"  {request['method']} {request['path']}")
        if action.action == MAIL:
            _describe_mail(console, request["params"])
            continue
        _print(console, f"  Idempotency-Key: {request['idempotency_key']}")
        shown = json.dumps(request["params"], indent=2, default=str, ensure_ascii=False)
        for line in shown.splitlines():
            _print(console, f"  {line}")
    for label, value in (
        ("held", action.held_because),
        ("note", action.error),
        ("approved by", action.approved_by),
        ("in Stripe", action.remote_id),
    ):
        if value:
            _print(console, f"  {label}: {value}")


def _describe_mail(console: Console, params: dict[str, Any]) -> None:
    _print(console, f"  Subject: {params['subject']}\n")
    for line in str(params["text"]).splitlines():
        _print(console, f"  {line}" if line else "")


def _audited_at(conn: Connection) -> datetime:
    with conn.cursor() as cursor:
        cursor.execute("select as_of from raw_business.audit_settings")
        (as_of,) = cursor.fetchone() or (None,)
    conn.commit()
    assert isinstance(as_of, datetime)  # noqa: S101 - `opened` has seen an audit
    return as_of


def _print(console: Console, text: str, style: str | None = None) -> None:
    """Text from outside is printed as it is, never read as markup."""
    console.print(Text(text), style=style, highlight=False, soft_wrap=True)
