"""`leakage review serve` and `leakage review people`: the review page, and who may sign in."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import uvicorn
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from rich.console import Console
from rich.table import Table

from leakage_pipeline.publishing.stripe_links import is_test_mode
from leakage_pipeline.review import people
from leakage_pipeline.review.web import Site, create_app
from leakage_pipeline.settings import Settings
from leakage_pipeline.warehouse import ops
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.server import ensure_running

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def serve(settings: Settings, host: str, port: int, console: Console) -> None:
    """Serve the review page until interrupted.

    Args:
        settings: The configuration.
        host: Address to listen on. Anything but loopback expects a proxy with https in front, and
            the session cookie travels over https alone.
        port: Its port.
        console: Where the address and what is missing are printed.
    """
    url = ensure_running(settings)

    def open_warehouse() -> Connection:
        return connect(url)

    with _people(url) as connection:
        known = people.everybody(connection)

    site = Site(
        open=open_warehouse,
        company=settings.company,
        test_mode=is_test_mode(settings.environment.stripe_api_key),
        secret=_secret(settings.home),
        https_only=host not in _LOOPBACK,
    )
    if not any(is_active for _, _, is_active in known):
        console.print(
            "Nobody may sign in yet: leakage review people add NAME --role approver",
            highlight=False,
        )
    console.print(f"Review page: http://{host}:{port}", highlight=False)
    uvicorn.run(create_app(site), host=host, port=port, log_level="warning")


def add_person(
    settings: Settings, name: str, role: str, password: str, *, by: str, at: datetime
) -> None:
    """Let somebody sign in, or change their role and password."""
    with _people(ensure_running(settings)) as connection:
        people.save(connection, name, role, password, by=by, at=at)


def disable_person(settings: Settings, name: str, *, by: str, at: datetime) -> None:
    """Let somebody sign in no more."""
    with _people(ensure_running(settings)) as connection:
        people.disable(connection, name, by=by, at=at)


def print_people(settings: Settings, console: Console) -> None:
    """Print who may sign in, and as what."""
    with _people(ensure_running(settings)) as connection:
        known = people.everybody(connection)
    table = Table()
    for name in ("name", "role", "may sign in"):
        table.add_column(name)
    for name, role, is_active in known:
        table.add_row(name, role, "yes" if is_active else "no")
    console.print(table)


@contextmanager
def _people(url: str) -> Iterator[Connection]:
    """The warehouse, before the first audit too."""
    connection = connect(url)
    try:
        ops.create(connection)
        yield connection
    finally:
        connection.close()


def _secret(home: Path) -> str:
    """The key that signs session cookies: made once, readable by its owner alone."""
    path = home / "review_secret"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii")
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        secret = secrets.token_urlsafe(48)
        file.write(secret)
    return secret
