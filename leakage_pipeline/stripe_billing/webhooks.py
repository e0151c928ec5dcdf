"""Events that the product received as webhooks: read, verified, and applied once like all others.

A file has one JSON object a line: the event itself, or `body` (its text as received) with
`signature` (the header Stripe-Signature) and `received_at`. A table has these three as columns.
"""

import glob
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg2.extensions
import sqlalchemy as sa
import stripe

from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.inputs.databases import open_database
from leakage_pipeline.stripe_billing.changes import apply_events
from leakage_pipeline.stripe_billing.dead_letters import bury
from leakage_pipeline.stripe_billing.values import Json, without_nul
from leakage_pipeline.stripe_settings import WebhookSource, WebhookTable

LONGEST_BODY = 1_000_000
_TOLERANCE = timedelta(minutes=5)
# Stripe delivers for three days; what was received earlier was applied by an earlier audit.
_LOOK_BACK = timedelta(days=4)
_AT_ONCE = 500


@dataclass(frozen=True)
class Delivery:
    """One received webhook.

    Attributes:
        body: Its text.
        signature: The header that came with it.
        received_at: When it came, if that is known.
    """

    body: str
    signature: str | None = None
    received_at: datetime | None = None


class Refused(Exception):  # noqa: N818 - ends no run: the delivery becomes a dead letter
    """A delivery that cannot be applied; `event` is what it holds, if anybody vouches for that."""

    def __init__(self, reason: str, event: Json | None = None, *, is_trusted: bool = False) -> None:
        super().__init__(reason)
        self.event = event
        self.is_trusted = is_trusted


@dataclass
class Applied:
    """What came of deliveries.

    Attributes:
        new: Events that were applied.
        known: Events that had been applied before.
        later: Events after the audit's instant, left for a later one.
        failed: Reasons of those that could not be applied.
    """

    new: int = 0
    known: int = 0
    later: int = 0
    failed: list[str] | None = None


def verified(delivery: Delivery, secret: str | None, as_of: datetime) -> Json:
    """Give the event of a delivery.

    Args:
        delivery: What was received.
        secret: The endpoint's signing secret; None: nothing is verified.
        as_of: Instant of the audit; a signature cannot be later.

    Raises:
        Refused: it is no event, or its signature does not hold.
    """
    if len(delivery.body) > LONGEST_BODY:
        message = f"it is longer than {LONGEST_BODY:,} characters"
        raise Refused(message)
    if secret is not None:
        _verify(delivery, secret, as_of)
    try:
        text = without_nul(delivery.body.encode())
        event = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        message = "it is no JSON"
        raise Refused(message, is_trusted=secret is not None) from error
    if not isinstance(event, dict):
        message = "it is no JSON object"
        raise Refused(message, is_trusted=secret is not None)
    if not (
        isinstance(event.get("id"), str) and event["id"] and isinstance(event.get("type"), str)
    ):
        message = "it lacks the id or type of an event"
        raise Refused(message, event)
    if created_of(event) is None:
        message = "it lacks the time of an event"
        raise Refused(message, event, is_trusted=secret is not None)
    return event


def created_of(event: Json) -> datetime | None:
    """When an event happened: seconds, or ISO 8601 in events of the newer kind."""
    created = event.get("created")
    try:
        if type(created) is int:
            return datetime.fromtimestamp(created, UTC)
        if isinstance(created, str):
            instant = datetime.fromisoformat(created)
            return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _verify(delivery: Delivery, secret: str, as_of: datetime) -> None:
    try:
        # Age is judged below: not against the clock, but against when it came.
        stripe.WebhookSignature.verify_header(delivery.body, delivery.signature, secret)
    except stripe.SignatureVerificationError as error:
        missing = not delivery.signature
        message = "it has no signature" if missing else "its signature does not hold"
        raise Refused(message) from error
    parts = [part.split("=", 1) for part in (delivery.signature or "").split(",") if "=" in part]
    signed_at = next((int(value) for key, value in parts if key.strip() == "t"), 0)
    signed = datetime.fromtimestamp(signed_at, UTC)
    late = delivery.received_at is not None and abs(delivery.received_at - signed) > _TOLERANCE
    if late or signed > as_of + _TOLERANCE:
        message = "its signature is of another time than its delivery"
        raise Refused(message)


def apply_deliveries(
    conn: psycopg2.extensions.connection,
    deliveries: Iterable[Delivery],
    as_of: datetime,
    secret: str | None,
    origin: str,
    *,
    dry_run: bool = False,
) -> Applied:
    """Apply deliveries, some hundreds in a transaction; what cannot be applied is a dead letter.

    Args:
        conn: The warehouse.
        deliveries: In any order; some may be there twice.
        as_of: Instant of the audit; later events are left alone.
        secret: Signing secret; None: nothing is verified.
        origin: Where they come from, for `ops`.
        dry_run: Tell what would come of it and leave everything as it is.
    """
    applied = Applied(failed=[])
    rest = iter(deliveries)
    while batch := list(islice(rest, _AT_ONCE)):
        with conn.cursor() as cursor:
            _apply_batch(cursor, batch, as_of, secret, origin, applied)
        if dry_run:
            conn.rollback()
        else:
            conn.commit()
    return applied


def _apply_batch(
    cursor: psycopg2.extensions.cursor,
    batch: list[Delivery],
    as_of: datetime,
    secret: str | None,
    origin: str,
    applied: Applied,
) -> None:
    events: dict[str, tuple[Json, Delivery]] = {}

    def fail(delivery: Delivery, refused: Refused) -> None:
        (applied.failed if applied.failed is not None else []).append(str(refused))
        bury(
            cursor,
            refused.event,
            str(refused),
            as_of,
            origin=origin,
            body=delivery.body,
            signature=delivery.signature,
            received_at=delivery.received_at,
            is_trusted=refused.is_trusted,
        )

    for delivery in batch:
        try:
            event = verified(delivery, secret, as_of)
        except Refused as refused:
            fail(delivery, refused)
            continue
        created = created_of(event)
        if created is not None and created > as_of:
            applied.later += 1
        elif event["id"] in events:
            applied.known += 1
        else:
            events[event["id"]] = event | {"created": created}, delivery
    new, failed = apply_events(cursor, [event for event, _ in events.values()], as_of, origin)
    for name, reason in failed.items():
        event, delivery = events[name]
        parsed = verified(delivery, secret, as_of)
        fail(delivery, Refused(reason, parsed, is_trusted=secret is not None))
    applied.new += new
    applied.known += len(events) - len(failed) - new


def deliveries_of_file(path: Path) -> Iterator[Delivery]:
    """Read a file of received webhooks, one a line; blank lines are passed over."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.strip():
                yield delivery_of(line.strip())


def delivery_of(line: str) -> Delivery:
    """Read one line: an envelope, or the event itself."""
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        return Delivery(line)
    if not isinstance(parsed, dict) or not isinstance(parsed.get("body"), str):
        return Delivery(line)
    signature = parsed.get("signature")
    return Delivery(
        parsed["body"],
        signature if isinstance(signature, str) else None,
        _instant(parsed.get("received_at")),
    )


def deliveries_of(
    source: WebhookSource, base: Path, environ: Mapping[str, str], where: str, as_of: datetime
) -> Iterator[Delivery]:
    """Read a configured source; of a table what was received in the last days.

    Raises:
        ConfigurationError: the file, table or variable is not there.
    """
    place = source.source
    if isinstance(place, WebhookTable):
        yield from _rows(place, environ, where, as_of)
        return
    pattern = str(base / Path(place).expanduser())
    files = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - an absolute pattern
    if not files:
        message = f"{where}: no file matches {pattern}"
        raise ConfigurationError(message)
    for file in files:
        yield from deliveries_of_file(Path(file))


def secret_of(source: WebhookSource | None, environ: Mapping[str, str], where: str) -> str | None:
    """The signing secret of a source; None when it names none.

    Raises:
        ConfigurationError: the variable is not set.
    """
    if source is None or source.secret_env is None:
        return None
    secret = environ.get(source.secret_env, "").strip()
    if not secret:
        message = f"{where}: secret_env names {source.secret_env}, which is not set"
        raise ConfigurationError(message)
    return secret


def _rows(
    place: WebhookTable, environ: Mapping[str, str], where: str, as_of: datetime
) -> Iterator[Delivery]:
    address = environ.get(place.url_env, "")
    if not address:
        message = f"{where}: url_env names {place.url_env}, which is not set"
        raise ConfigurationError(message)
    with open_database(address, place.url_env, where) as engine, engine.connect() as connection:
        schema, _, name = place.table.rpartition(".")
        table = sa.Table(name, sa.MetaData(), schema=schema or None, autoload_with=connection)
        if "body" not in table.columns:
            message = f"{where}: table {place.table} has no column body"
            raise ConfigurationError(message)
        wanted = [column for column in ("body", "signature", "received_at") if column in table.c]
        query = sa.select(*(table.c[column] for column in wanted))
        if "received_at" in wanted:
            query = query.where(table.c.received_at > as_of - _LOOK_BACK)
        for row in connection.execution_options(yield_per=_AT_ONCE).execute(query).mappings():
            body: Any = row["body"]
            text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
            yield Delivery(
                text if isinstance(text, str) else json.dumps(text),
                row.get("signature"),
                _instant(row.get("received_at")),
            )


def _instant(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
