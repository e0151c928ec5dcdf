"""`leakage demo`: audit a simulated company over HTTP, and compare with the leaks it was given.

Lives in LEAKAGE_HOME/demo, apart from real audits. The pipeline sees a configuration, files and an
address like any other; only the comparison at the end reads the labels.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2.extensions
from psycopg2.extras import RealDictCursor
from rich.console import Console

from leakage_pipeline.commands.audit import audit
from leakage_pipeline.commands.report import report
from leakage_pipeline.failures import ConfigurationError, PermanentFailure
from leakage_pipeline.settings import Settings, home_from, load_environment, load_settings
from leakage_pipeline.simulator.company import Company, generate, generate_side_by_side
from leakage_pipeline.simulator.scoring import Score, disagreements_text, score, score_text
from leakage_pipeline.simulator.stripe_server import DEFAULT_API_KEY, StripeServer
from leakage_pipeline.warehouse import schemas
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.server import ensure_running

# A Friday, the day of the weekly report; fixed, so that everybody sees the same numbers.
DEFAULT_AS_OF = datetime(2026, 11, 20, 6, tzinfo=UTC)
# The demo posts nothing, pays for nothing and mails nobody, whatever the user's environment holds.
_SILENCED = (
    "STRIPE_WRITE_API_KEY",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "SLACK_BOT_TOKEN",
    "SLACK_API_BASE_URL",
    "SMTP_URL",
)


def run_demo(
    *, customers: int, seed: int, as_of: datetime | None, console: Console, now: datetime
) -> None:
    """Simulate, audit, report, compare.

    Args:
        customers: How many customers the company has.
        seed: The same one gives the same company.
        as_of: What is now for the simulation and the audit; default a fixed Friday.
        console: Where everything is printed.
        now: The clock's time, for the name of the log file.

    Raises:
        PermanentFailure: The audit and the labels disagree.
        ConfigurationError: LEAKAGE_DATABASE_URL leads to a warehouse of real audits.
    """
    instant = as_of or DEFAULT_AS_OF
    home = demo_home()
    console.print(f"Simulating {customers} customers (seed {seed}) ...", highlight=False)
    company = generate(seed, customers, instant)
    with _simulated(company, home, {"customers": customers, "seed": seed}) as settings:
        audit(settings, instant, console, now=now, full_refresh=False)
        files = report(settings, week=None, out=None)
        result = _compare(settings, home)
    console.print(score_text(result), highlight=False)
    console.print(f"Report: {files.html}", highlight=False, soft_wrap=True)
    console.print(
        f"Look around: LEAKAGE_HOME={home} LEAKAGE_CONFIG={home / 'leakage.yaml'} "
        f"{sys.argv[0]} dev",
        highlight=False,
        soft_wrap=True,
    )
    _insist(result)


def run_scoreboard(
    *,
    customers: int,
    seeds: Sequence[int],
    as_of: datetime | None,
    console: Console,
    now: datetime,
) -> None:
    """Audit one company per seed, all in one warehouse, and print how the findings score.

    Args:
        customers: How many customers each company has.
        seeds: One company each.
        as_of: As of `run_demo`.
        console: Where everything is printed.
        now: As of `run_demo`.

    Raises:
        PermanentFailure: Some company's audit and labels disagree; its seed is printed above.
        ConfigurationError: As of `run_demo`.
    """
    instant = as_of or DEFAULT_AS_OF
    home = demo_home()
    console.print(
        f"Simulating {len(seeds)} companies of {customers} customers "
        f"(seeds {min(seeds)} to {max(seeds)}) ...",
        highlight=False,
    )
    company = generate_side_by_side(seeds, customers, instant)
    parameters = {"customers": customers, "seeds": list(seeds)}
    with _simulated(company, home, parameters) as settings:
        audit(settings, instant, console, now=now, full_refresh=False)
        result = _compare(settings, home)
    console.print(score_text(result), highlight=False)
    console.print(disagreements_text(result), highlight=False)
    _insist(result)


def _insist(result: Score) -> None:
    if not result.is_perfect:
        message = (
            f"the audit and the known leaks disagree: {len(result.missed)} missed, "
            f"{len(result.unexpected)} unexpected, {len(result.wrong_amounts)} wrong amounts, "
            f"{len(result.beside)} drafts or exceptions"
        )
        raise PermanentFailure(message)


def demo_home() -> Path:
    """The demo's own LEAKAGE_HOME."""
    home = home_from(load_environment()) / "demo"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


@contextmanager
def _simulated(company: Company, home: Path, parameters: Mapping[str, Any]) -> Iterator[Settings]:
    """The company's files in `home`, its Stripe account served, a warehouse with room for it."""
    company.write(home)
    instant = company.world.as_of
    with (
        StripeServer(company.account, now=instant) as server,
        environment(home, server.base_url),
    ):
        settings = load_settings()
        make_room(settings, {**parameters, "as_of": instant.isoformat()})
        yield settings


@contextmanager
def environment(home: Path, stripe_base: str) -> Iterator[None]:
    """The process's environment as the demo's audit is to see it, put back afterwards.

    Assets read the process's environment; an empty variable counts as unset and hides `.env`.
    """
    wanted = {
        "LEAKAGE_HOME": str(home),
        "LEAKAGE_CONFIG": str(home / "leakage.yaml"),
        "STRIPE_API_KEY": DEFAULT_API_KEY,
        "STRIPE_API_BASE": stripe_base,
        **dict.fromkeys(_SILENCED, ""),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def make_room(settings: Settings, parameters: Mapping[str, Any]) -> None:
    """Empty the demo's warehouse when it holds another simulated company; never a real one's."""
    noted = settings.home / "parameters.json"
    earlier = json.loads(noted.read_text(encoding="utf-8")) if noted.exists() else None
    connection = connect(ensure_running(settings))
    try:
        owner = _audited_company(connection)
        if owner not in {None, settings.company}:
            message = (
                f"environment: LEAKAGE_DATABASE_URL leads to the audits of {owner}, which the demo "
                "would overwrite; unset it or name an empty database"
            )
            raise ConfigurationError(message)
        if owner is not None and earlier != parameters:
            schemas.drop_all(connection)
    finally:
        connection.close()
    noted.write_text(json.dumps(parameters), encoding="utf-8")


def _audited_company(conn: psycopg2.extensions.connection) -> str | None:
    with conn.cursor() as cursor:
        cursor.execute("select to_regclass('raw_business.audit_settings') is not null")
        (exists,) = cursor.fetchone() or (False,)
        if not exists:
            return None
        cursor.execute("select company from raw_business.audit_settings")
        row = cursor.fetchone()
    return str(row[0]) if row else None


def _compare(settings: Settings, home: Path) -> Score:
    truth = json.loads((home / "ground_truth.json").read_text(encoding="utf-8"))
    connection = connect(ensure_running(settings))
    try:
        with connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute("select * from marts.fct_leakage_detections")
            detections = cursor.fetchall()
            cursor.execute("select * from marts.fct_invoice_holds")
            holds = cursor.fetchall()
            cursor.execute("select * from marts.fct_approved_exceptions")
            return score(detections, truth, holds=holds, exceptions=cursor.fetchall())
    finally:
        connection.close()
