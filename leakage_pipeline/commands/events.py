"""`leakage events`: what was applied, what could not be, and what is to be tried again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg2.extensions
from rich.console import Console
from rich.table import Table

from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.settings import Settings
from leakage_pipeline.stripe_billing import webhooks
from leakage_pipeline.stripe_billing.changes import apply_events
from leakage_pipeline.stripe_billing.dead_letters import DeadLetter, dead_letters, drop, retried
from leakage_pipeline.stripe_billing.values import Json
from leakage_pipeline.stripe_billing.webhooks import Applied, Delivery, Refused
from leakage_pipeline.warehouse import schemas
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.server import ensure_running


@dataclass(frozen=True)
class Outcome:
    """What came, or would come, of replaying one dead letter; `error` is None when it applies."""

    letter: DeadLetter
    error: str | None


def open_warehouse(settings: Settings) -> psycopg2.extensions.connection:
    """Connect, with every table in place."""
    connection = connect(ensure_running(settings))
    schemas.create_all(connection)
    return connection


def show(conn: psycopg2.extensions.connection, console: Console) -> None:
    """Print how far events are read, what waits to be read again, and the dead letters."""
    with conn.cursor() as cursor:
        cursor.execute("select count(*), max(created) from ops.stripe_events")
        applied, newest = cursor.fetchone() or (0, None)
        cursor.execute("select object, count(*) from ops.stripe_changes group by 1 order by 1")
        waiting = cursor.fetchall()
    conn.rollback()
    until = f", the newest of {newest:%Y-%m-%d %H:%M:%S} UTC" if newest else ""
    console.print(f"{applied:,} events applied{until}.", highlight=False)
    marked = ", ".join(f"{count:,} {name}" for name, count in waiting) or "nothing"
    console.print(f"To be read again by the next audit: {marked}.", highlight=False)
    letters = dead_letters(conn)
    if not letters:
        console.print("No dead letters.")
        return
    table = Table("event", "type", "tries", "last", "from", "why", title="Dead letters")
    for letter in letters:
        table.add_row(
            _plain(letter.event_id),
            _plain(letter.type or ""),
            str(letter.attempts),
            f"{letter.last_failed_at:%Y-%m-%d %H:%M}",
            _plain(letter.origin or ""),
            _plain(letter.error),
        )
    console.print(table)


def import_files(
    conn: psycopg2.extensions.connection,
    settings: Settings,
    files: Iterable[Path],
    as_of: datetime,
    *,
    dry_run: bool,
) -> dict[Path, Applied]:
    """Apply the webhooks in some files.

    Raises:
        ConfigurationError: a file is not there, or the secret's variable is not set.
    """
    secret = _secret(settings)
    outcome = {}
    for file in files:
        if not file.is_file():
            message = f"{file}: there is no such file"
            raise ConfigurationError(message)
        deliveries = webhooks.deliveries_of_file(file)
        outcome[file] = webhooks.apply_deliveries(
            conn, deliveries, as_of, secret, file.name, dry_run=dry_run
        )
    return outcome


def replay(
    conn: psycopg2.extensions.connection,
    settings: Settings,
    names: Sequence[str],
    as_of: datetime,
    *,
    actor: str,
    dry_run: bool,
) -> list[Outcome]:
    """Try dead letters again, each in a transaction of its own.

    Args:
        conn: The warehouse.
        settings: Where the signing secret is named.
        names: Their ids, or how these begin; none: all.
        as_of: The present instant.
        actor: Who does it, for the audit log.
        dry_run: Tell what would come of it and leave everything as it is.

    Raises:
        ConfigurationError: a name fits no dead letter.
    """
    letters = dead_letters(conn)
    unknown = [name for name in names if not any(_fits(letter, [name]) for letter in letters)]
    if unknown:
        message = f"no dead letter is called {', '.join(unknown)}; see leakage events list"
        raise ConfigurationError(message)
    secret = _secret(settings)
    wanted = [letter for letter in letters if not names or _fits(letter, names)]
    return [_replay(conn, letter, secret, as_of, actor, dry_run=dry_run) for letter in wanted]


def _replay(
    conn: psycopg2.extensions.connection,
    letter: DeadLetter,
    secret: str | None,
    as_of: datetime,
    actor: str,
    *,
    dry_run: bool,
) -> Outcome:
    error: str | None = None
    with conn.cursor() as cursor:
        try:
            event = _event_of(letter, secret, as_of)
            _, failed = apply_events(cursor, [event], as_of, letter.origin or "replay")
            error = failed.get(str(event["id"]))
        except Refused as refused:
            error = str(refused)
        if error is None:
            drop(cursor, letter, actor, as_of)
        else:
            retried(cursor, letter, error, as_of)
    if dry_run:
        conn.rollback()
    else:
        conn.commit()
    return Outcome(letter, error)


def _event_of(letter: DeadLetter, secret: str | None, as_of: datetime) -> Json:
    if letter.body is None:  # Stripe itself gave it
        delivery, secret = Delivery(letter.payload or ""), None
    else:
        delivery = Delivery(letter.body, letter.signature, letter.received_at)
    event = webhooks.verified(delivery, secret, as_of)
    return event | {"created": webhooks.created_of(event)}


def _fits(letter: DeadLetter, names: Sequence[str]) -> bool:
    return any(letter.event_id.startswith(name) for name in names)


def _secret(settings: Settings) -> str | None:
    where = f"{settings.config_path}: stripe.webhooks"
    return webhooks.secret_of(settings.stripe.webhooks, settings.environment.variables, where)


def _plain(text: str) -> str:
    """Text of others: no markup, no control characters."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown.replace("[", r"\[")
