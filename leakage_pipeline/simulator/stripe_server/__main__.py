"""`python -m leakage_pipeline.simulator.stripe_server account.json --port 12111`.

Serves a saved account until interrupted; the address and the key go to standard output.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from leakage_pipeline.simulator.stripe_objects import StripeAccount
from leakage_pipeline.simulator.stripe_server import (
    DEFAULT_API_KEY,
    ApiKey,
    Faults,
    StripeServer,
)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is no ISO 8601 instant"
        raise click.BadParameter(message, param_hint="--as-of") from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


@click.command()
@click.argument("account", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--port", default=12111, show_default=True, help="0 takes a free port.")
@click.option("--key", default=DEFAULT_API_KEY, show_default=True, help="The key to accept.")
@click.option("--as-of", help="Stripe's present, ISO 8601; default: the real one.")
@click.option("--seed", default=0, show_default=True, help="Seed of the faults.")
@click.option("--rate-429", default=0.0, help="Share of requests answered with 429.")
@click.option("--rate-500", default=0.0, help="Share of requests answered with 500.")
@click.option("--rate-cut", default=0.0, help="Share of connections cut in mid-answer.")
def main(  # noqa: PLR0913 - one argument per option
    account: Path,
    *,
    port: int,
    key: str,
    as_of: str | None,
    seed: int,
    rate_429: float,
    rate_500: float,
    rate_cut: float,
) -> None:
    """Serve the Stripe account saved in ACCOUNT (JSON) on 127.0.0.1."""
    instant = _instant(as_of)
    try:
        loaded = StripeAccount.from_json(account)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    server = StripeServer(
        loaded,
        now=instant if instant is not None else lambda: datetime.now(UTC),
        faults=Faults(seed=seed, rate_429=rate_429, rate_500=rate_500, rate_cut=rate_cut),
        keys=(ApiKey(key),),
        port=port,
    )
    try:
        server.start()
    except OSError as error:
        message = f"port {port}: {error.strerror}"
        raise click.ClickException(message) from error
    click.echo(f"STRIPE_API_BASE={server.base_url}\nSTRIPE_API_KEY={server.api_key}")
    sys.stdout.flush()
    try:
        server.wait()
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    main()
