"""Runs `leakage audit` as a user does, in a process of its own, and reads the marts."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg2.extras

from leakage_pipeline.simulator.stripe_server import StripeServer
from leakage_pipeline.warehouse.connection import connect
from tests.support.small_company import SmallCompany


@dataclass(frozen=True)
class Command:
    """What a finished command left behind."""

    code: int
    out: str
    err: str


def leakage(*arguments: str, cwd: Path, env: Mapping[str, str]) -> Command:
    """Run the command line with nothing but these variables of ours in its environment."""
    inherited = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "LANG", "PYTHONPATH")
        if name in os.environ
    }
    completed = subprocess.run(
        [sys.executable, "-m", "leakage_pipeline.cli", *arguments],
        cwd=cwd,
        env={
            **inherited,
            # The checkout under test, even where another one is installed.
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "LEAKAGE_HOME": str(cwd / ".leakage"),
            **env,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    return Command(completed.returncode, completed.stdout, completed.stderr)


_PARSED: dict[str, Path] = {}  # what dbt made of the project, by the database it was made for


def share_parsed_project(directory: Path, database_url: str) -> None:
    """Let the coming audit find the project parsed, as it is for a user from the second night on.

    dbt takes a quarter of a minute for it, and keeps it for one connection only.
    """
    parsed = directory / ".leakage" / "dbt" / "partial_parse.msgpack"
    known = _PARSED.setdefault(database_url, parsed)
    if known != parsed and known.exists() and not parsed.exists():
        parsed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(known, parsed)


def audit(
    directory: Path, database_url: str, server: StripeServer, as_of: str, *more: str
) -> Command:
    """`leakage audit` in `directory` against this Stripe server and database."""
    share_parsed_project(directory, database_url)
    return leakage(
        "audit",
        "--as-of",
        as_of,
        *more,
        cwd=directory,
        env={
            "LEAKAGE_DATABASE_URL": database_url,
            "STRIPE_API_KEY": server.api_key,
            "STRIPE_API_BASE": server.base_url,
        },
    )


def killed_audit(
    directory: Path,
    url: str,
    server: StripeServer,
    as_of: datetime,
    *,
    seconds: float,
    has_begun: Callable[[], bool] = lambda: True,
) -> bool:
    """Start an audit and kill it, and all that it started, so many seconds after it has begun.

    Returns:
        Whether it was still running then.
    """
    share_parsed_project(directory, url)
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "LEAKAGE_HOME": str(directory / ".leakage"),
        "LEAKAGE_DATABASE_URL": url,
        "STRIPE_API_KEY": server.api_key,
        "STRIPE_API_BASE": server.base_url,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "leakage_pipeline.cli", "audit", "--as-of", as_of.isoformat()],
        cwd=directory,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 300
        while not has_begun() and time.monotonic() < deadline:
            time.sleep(0.5)
        begun = has_begun()
        time.sleep(seconds)
        ended = process.poll() is not None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert begun, "the audit did not come to where it should be killed"
    return not ended


def audit_company(company: SmallCompany, directory: Path, database_url: str) -> None:
    """Write the company's files, serve its Stripe account and audit it once; it must succeed."""
    company.write(directory)
    now = datetime.fromisoformat(company.as_of)
    with StripeServer(company.account, now=now) as server:
        done = audit(directory, database_url, server, company.as_of)
    assert done.code == 0, done.out + done.err


def rows(database_url: str, query: str, parameters: object = None) -> list[dict[str, Any]]:
    """The rows of a query as dicts."""
    connection = connect(database_url)
    try:
        with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(query, parameters)
            return [dict(row) for row in cursor.fetchall()]
    finally:
        connection.close()
