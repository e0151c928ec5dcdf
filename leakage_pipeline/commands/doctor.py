"""`leakage doctor`: looks at all that an audit needs; says what is wrong and how to mend it."""

from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from leakage_pipeline.commands.checks import (
    BUSINESS,
    Check,
    budget_check,
    database_check,
    delivery_checks,
    input_checks,
    meter_check,
    stripe_checks,
    stripe_reader,
    write_key_checks,
)
from leakage_pipeline.commands.stripe_key import too_wide
from leakage_pipeline.failures import ConfigurationError, PermanentFailure, TransientFailure
from leakage_pipeline.settings import Settings

_LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")


def doctor(load: Callable[[], Settings], console: Console) -> tuple[int, int]:
    """Run every check, one line each.

    Args:
        load: Reads the settings; the first check.
        console: Where the lines go.

    Returns:
        How many problems there are, and how many of them are in the configuration.
    """
    problems: list[Exception] = []
    try:
        settings = load()
    except ConfigurationError as error:
        _print(console, "configuration", error)
        return 1, 1
    _print(console, "configuration", str(settings.config_path))
    for check in all_checks(settings):
        try:
            found: str | Exception = check.run()
        except (ConfigurationError, PermanentFailure, TransientFailure) as error:
            problems.append(error)
            found = error
        _print(console, check.name, found)
    for hint in (*hints(settings), *(() if problems else key_hints(settings))):
        console.print(f"  note     {hint}", style="dim", highlight=False, soft_wrap=True)
    wrong = sum(isinstance(problem, ConfigurationError) for problem in problems)
    return len(problems), wrong


def all_checks(settings: Settings) -> Iterator[Check]:
    """Every check, cheap ones first; after a refused key the other endpoints are not asked."""
    yield from input_checks(settings)
    yield from delivery_checks(settings)
    yield database_check(settings)
    first, *others = stripe_checks(settings, every_endpoint=True)
    refused: list[Exception] = []
    yield Check("Stripe key", lambda: _noting(first, refused))
    if not refused:
        yield from others
        yield meter_check(settings)
        yield from write_key_checks(settings)
        yield budget_check(settings)
    yield Check("dbt project", _dbt)


def hints(settings: Settings) -> Iterator[str]:
    """What is no problem but worth knowing."""
    environment = settings.environment
    if not settings.sources.usage:
        yield "sources.usage is empty: usage and overage cannot be examined"
    for kind in BUSINESS[:3]:
        if getattr(settings.sources, kind) is None:
            yield f"sources.{kind} is not set: findings that need it cannot be made"
    base = environment.stripe_api_base
    if base and base.startswith("http://") and not base.startswith(_LOOPBACK):
        yield "STRIPE_API_BASE is not encrypted: the key is readable on the way"
    if environment.anthropic_api_key is None:
        yield "ANTHROPIC_API_KEY is not set: the rule classifier works alone"
    if environment.slack_bot_token is None:
        yield "SLACK_BOT_TOKEN is not set: the digest is written to a file instead"


def key_hints(settings: Settings) -> Iterator[str]:
    """What the Stripe key may do and need not; asked once all else is well."""
    if settings.environment.stripe_api_key is not None:
        yield from too_wide(settings, stripe_reader(settings))


def _noting(check: Check, refused: list[Exception]) -> str:
    try:
        return check.run()
    except (ConfigurationError, PermanentFailure, TransientFailure) as error:
        refused.append(error)
        raise


def _dbt() -> str:
    from leakage_pipeline.defs.transform.project import load_project  # noqa: PLC0415 - slow

    try:
        project = load_project()
    except RuntimeError as error:
        raise PermanentFailure(str(error)) from None
    return f"parsed: {Path(project.project_dir)}"


def _print(console: Console, name: str, found: str | Exception) -> None:
    if isinstance(found, Exception):
        console.print(f"  [red]problem[/red]  {name}: ", end="", highlight=False)
        console.print(str(found), markup=False, highlight=False, soft_wrap=True)
    else:
        console.print("  [green]ok[/green]       ", end="")
        console.print(f"{name}: {found}", markup=False, highlight=False, soft_wrap=True)
