"""`leakage review`: the queue in the terminal, one finding in full, and what people decide."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from rich.console import Console
from rich.table import Table
from rich.text import Text

from leakage_pipeline.classification.wording import money, plural
from leakage_pipeline.commands.report import newest_audit
from leakage_pipeline.publishing.arithmetic import charge_lines, facts
from leakage_pipeline.publishing.csv_export import to_csv
from leakage_pipeline.publishing.stripe_links import is_test_mode, links_of
from leakage_pipeline.review import decisions, queue
from leakage_pipeline.review.decisions import Decision
from leakage_pipeline.review.queue import CSV_COLUMNS
from leakage_pipeline.settings import Settings
from leakage_pipeline.warehouse import ops
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.server import ensure_running

Step = Callable[[Connection, str], Decision]
SHOWN_ID = 8


@contextmanager
def opened(settings: Settings) -> Iterator[Connection]:
    """The warehouse of an audit that has run.

    Raises:
        PermanentFailure: No audit has run yet.
    """
    connection = connect(ensure_running(settings))
    try:
        newest_audit(connection)
        ops.create(connection)
        yield connection
    finally:
        connection.close()


def print_queue(
    settings: Settings, filters: queue.Filters, limit: int | None, console: Console, *, as_csv: bool
) -> None:
    """Print the findings that pass the filters, what is worth most first.

    Args:
        settings: The configuration.
        filters: What to show.
        limit: At most so many.
        console: Where the table goes; CSV goes to standard output as it is.
        as_csv: All columns as CSV instead of a table.
    """
    with opened(settings) as connection:
        rows = queue.read_queue(connection, filters, limit)
        count = queue.count_queue(connection, filters) if limit else len(rows)
    if as_csv:
        sys.stdout.write(to_csv(CSV_COLUMNS, rows))
        return
    if not rows:
        console.print("Nothing to review.")
        return
    table = Table(title=f"{_of(len(rows), count)}, by expected recovery", title_justify="left")
    for name in ("id", "status", "severity", "type", "customer"):
        table.add_column(name, overflow="fold")
    for name in ("amount", "confidence", "priority"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            *(row["detection_id"][:SHOWN_ID], row["status"], row["severity"]),
            *(row["leakage_type"], Text(row["customer_name"] or row["customer_id"])),
            money(row["leakage_amount"], row["currency"]),
            *(f"{row['confidence']:.2f}", f"{row['priority_score'] or 0:,.2f}"),
        )
    console.print(table)


def print_finding(settings: Settings, wanted: str, console: Console) -> None:
    """Print one finding: what it says, its arithmetic, its Stripe pages, what was decided.

    Raises:
        PermanentFailure: No finding, or several, have an id that begins so.
    """
    with opened(settings) as connection:
        row = queue.find(connection, wanted)
        entries = queue.history(connection, row["detection_id"])
    _print(console, row["description"], style="bold")
    _print(
        console,
        f"{row['detection_id']} · {row['leakage_type']} · {row['direction']} · {row['severity']} · "
        f"{row['amount_basis']} · confidence {row['confidence']:.2f} · status {row['status']}"
        + (f" · {row['assignee']}" if row["assignee"] else ""),
    )
    _print(console, f"Customer: {row['customer_name'] or ''} {row['customer_id']}".strip())
    for line in charge_lines(row["evidence"], row["meter"], row["currency"]):
        _print(
            console,
            f"  {line.name}: {line.quantity}; expected {line.expected}, billed {line.billed}, "
            f"difference {line.difference}",
        )
    for label, value in facts(row["evidence"], row["currency"]):
        _print(console, f"  {label}: {value}")
    if row["category"]:
        _print(
            console,
            f"Advice ({row['classifier']}): {row['category']}, {row['next_action']}. "
            f"{row['rationale']}",
        )
    test_mode = is_test_mode(settings.environment.stripe_api_key)
    ids = [row["customer_id"], row["subscription_id"]]
    for page in links_of(ids, row["evidence"], test_mode=test_mode):
        _print(console, f"  {page.label}: {page.url}")
    for entry in entries:
        after = entry["after"] or {}
        said = f": {after['note']}" if after.get("note") else ""
        _print(
            console,
            f"{entry['at']:%Y-%m-%d %H:%M} {entry['actor']} {entry['action']}, "
            f"status {after.get('status')}{said}",
        )


def decide(settings: Settings, wanted: Sequence[str], step: Step, console: Console) -> None:
    """Take one step on each of these findings and say what it changed.

    Raises:
        PermanentFailure: An id fits none or several, or the step does not fit a finding's state;
            the findings before it have been changed, those after it have not.
    """
    with opened(settings) as connection:
        found = [queue.find(connection, detection_id)["detection_id"] for detection_id in wanted]
        for detection_id in found:
            done = step(connection, detection_id)
            _print(
                console,
                f"{detection_id[:SHOWN_ID]}: {done.before['status']} -> {done.after['status']}"
                + (f", {done.after['assignee']}" if done.after["assignee"] else ""),
            )


def _print(console: Console, text: str, style: str | None = None) -> None:
    """Text from outside is printed as it is, never read as markup."""
    console.print(Text(text), style=style, highlight=False, soft_wrap=True)


def approve(by: str, at: datetime, note: str | None) -> Step:
    """The step that confirms a finding."""
    return lambda conn, detection_id: decisions.approve(conn, detection_id, note, by=by, at=at)


def dismiss(by: str, at: datetime, reason: str) -> Step:
    """The step that calls it no finding."""
    return lambda conn, detection_id: decisions.dismiss(conn, detection_id, reason, by=by, at=at)


def assign(by: str, at: datetime, person: str) -> Step:
    """The step that gives it to somebody."""
    return lambda conn, detection_id: decisions.assign(conn, detection_id, person, by=by, at=at)


def note(by: str, at: datetime, text: str) -> Step:
    """The step that writes something down."""
    return lambda conn, detection_id: decisions.note(conn, detection_id, text, by=by, at=at)


def undo(by: str, at: datetime) -> Step:
    """The step that takes the newest one back."""
    return lambda conn, detection_id: decisions.undo(conn, detection_id, by=by, at=at)


def _of(shown: int, count: int) -> str:
    findings = plural(count, "finding")
    return findings if shown == count else f"{shown} of {findings}"
