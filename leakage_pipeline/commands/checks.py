"""What must hold before an audit: inputs there and readable, key accepted, database reachable.

Each check reads as little as it can, writes nothing, and raises what the audit itself would raise.
`leakage audit` runs them until the first fails, `leakage doctor` runs all.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from leakage_pipeline.business import accounts, contracts, exceptions, fx_rates, price_book
from leakage_pipeline.classification.drafts import messages_of
from leakage_pipeline.failures import ConfigurationError, PermanentFailure
from leakage_pipeline.inputs import columns, databases, delimited, files
from leakage_pipeline.publishing import mail
from leakage_pipeline.recovery.crm import receiver_from
from leakage_pipeline.recovery.messages import smtp_url
from leakage_pipeline.recovery.stripe_writer import StripeWriter
from leakage_pipeline.settings import FileUsageSource, Settings, SqlUsageSource, TableSource
from leakage_pipeline.stripe_billing.budget import newest_budget
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.errors import EndpointForbidden, EndpointMissing
from leakage_pipeline.stripe_billing.objects import OBJECTS, StripeObject
from leakage_pipeline.usage_logs.parsing import REQUIRED as USAGE_REQUIRED
from leakage_pipeline.usage_logs.parsing import wanted
from leakage_pipeline.warehouse import schemas
from leakage_pipeline.warehouse.audit_lock import audit_lock
from leakage_pipeline.warehouse.connection import connect, describe
from leakage_pipeline.warehouse.server import ensure_running

_USAGE_FORMATS = ("parquet", "csv", "jsonl")
_BUSINESS_FORMATS = ("parquet", "csv")
_LAYOUTS = {
    "contracts": contracts.LAYOUT,
    "price_book": price_book.LAYOUT,
    "accounts": accounts.LAYOUT,
    "fx_rates": fx_rates.LAYOUT,
    "exceptions": exceptions.LAYOUT,
}
BUSINESS = tuple(_LAYOUTS)
# Every header is read of a log of up to so many files; of a longer one the newest by name.
_MOST_HEADERS = 50


@dataclass(frozen=True)
class Check:
    """One thing to look at. `run` returns what it found, or raises one of our failures."""

    name: str
    run: Callable[[], str]


def input_checks(settings: Settings) -> Iterator[Check]:
    """One check per configured input."""
    for source in settings.sources.usage:
        yield Check(f"usage log {source.name}", partial(_usage, settings, source))
    for kind in BUSINESS:
        source = getattr(settings.sources, kind)
        if source is not None:
            yield Check(
                kind.replace("_", " "),
                partial(_business, settings, kind, source),
            )
    if settings.policy.templates:
        yield Check("messages to customers", partial(_messages, settings))


def _messages(settings: Settings) -> str:
    messages_of(settings)
    return f"{settings.policy.templates}: every template reads"


def stripe_checks(settings: Settings, *, every_endpoint: bool) -> Iterator[Check]:
    """One check per Stripe endpoint: those that no audit can do without, or all of them."""

    def ask(target: StripeObject) -> str:
        reader = stripe_reader(settings)
        try:
            reader.get(target, target.path, {"limit": 1})
        except (EndpointForbidden, EndpointMissing) as error:
            if target.core:
                raise
            message = f"{error} (the audit runs without it and says what it cannot examine)"
            raise PermanentFailure(message) from None
        return "may be read"

    paths = set()
    for target in OBJECTS.values():
        if "{" in target.path or target.needs_owner or target.path in paths:
            continue
        paths.add(target.path)
        if target.core or every_endpoint:
            yield Check(f"Stripe {target.name}", partial(ask, target))


def stripe_reader(settings: Settings) -> StripeReader:
    """A reader that gives up soon: a person is waiting."""
    return StripeReader(
        settings.stripe_key().get_secret_value(),
        settings.environment.stripe_api_base,
        max_attempts=3,
    )


_CORRECTED = (
    *("/v1/subscriptions", "/v1/invoices", "/v1/invoiceitems", "/v1/credit_notes"),
    "/v1/billing/meters",
)


def write_key_checks(settings: Settings) -> Iterator[Check]:
    """What corrections read with their own key; that it may write shows when it does."""
    if settings.policy.action_mode not in {"approve", "auto"}:
        return

    def ask(path: str) -> str:
        StripeWriter.from_settings(settings).get(path, {"limit": 1})
        return "may be read with STRIPE_WRITE_API_KEY; writing is not tried"

    for path in _CORRECTED:
        yield Check(f"corrections {path}", partial(ask, path))


def delivery_checks(settings: Settings) -> Iterator[Check]:
    """What deals and mails to customers need besides the warehouse; nothing is sent to try it."""
    if settings.policy.action_mode not in {"approve", "auto"}:
        return

    def deals() -> str:
        receiver_from(settings)
        return f"to {settings.policy.crm.system}, whose token is set; it is not tried"

    def mails() -> str:
        sender = settings.policy.messages.sender
        return f"over {mail.host_of(smtp_url(settings))}, from {sender}; nothing is sent to try it"

    if settings.policy.crm.system != "none":
        yield Check("deals", deals)
    if settings.policy.messages.customers == "smtp":
        yield Check("mails to customers", mails)


def database_check(settings: Settings) -> Check:
    """Reaches the warehouse, starting the embedded one, and looks whether an audit runs on it."""

    def run() -> str:
        url = ensure_running(settings)
        with audit_lock(url):
            connection = connect(url)
            version = connection.server_version // 10_000
            connection.close()
        return f"Postgres {version} at {describe(url)}"

    return Check("database", run)


def budget_check(settings: Settings) -> Check:
    """How many reads of Stripe's monthly allowance the newest audits have used."""

    def run() -> str:
        connection = connect(ensure_running(settings))
        try:
            schemas.create_all(connection)
            budget = newest_budget(connection, settings.stripe.monthly_read_budget)
        finally:
            connection.close()
        if not budget.left:
            message = (
                f"{budget}; meters are not asked any more. Stripe grants 500 reads for each "
                "transaction: ask for more, or raise stripe.full_load_days in leakage.yaml"
            )
            raise PermanentFailure(message)
        return str(budget)

    return Check("Stripe reads", run)


def meter_check(settings: Settings) -> Check:
    """Every meter that the configuration maps exists in Stripe."""

    def run() -> str:
        reader = stripe_reader(settings)
        known = {
            str(meter["event_name"])
            for variant in OBJECTS["meters"].variants
            for page in reader.list("meters", **variant)
            for meter in page.objects
        }
        lost = {
            ours: mapping.stripe_event_name
            for ours, mapping in settings.meters.items()
            if mapping.stripe_event_name not in known
        }
        if lost:
            pairs = ", ".join(f"meters.{ours} ({name})" for ours, name in sorted(lost.items()))
            message = (
                f"{settings.config_path}: Stripe has no meter for {pairs}; correct "
                f"stripe_event_name (Stripe knows: {', '.join(sorted(known)) or 'none'})"
            )
            raise ConfigurationError(message)
        return f"{len(settings.meters)} mapped, Stripe has {len(known)}"

    return Check("meters", run)


def _usage(settings: Settings, source: FileUsageSource | SqlUsageSource) -> str:
    where = f"{settings.config_path}: sources.usage[{source.name}]"
    if isinstance(source, SqlUsageSource):
        return _table(settings, source.url_env, source.table, where, wanted(source), USAGE_REQUIRED)
    return _files(
        settings.resolve(source.uri), where, _USAGE_FORMATS, wanted(source), USAGE_REQUIRED
    )


def _business(settings: Settings, kind: str, source: str | TableSource) -> str:
    where = f"{settings.config_path}: sources.{kind}"
    required = _LAYOUTS[kind].required
    names = {name: name for name in required}
    if isinstance(source, TableSource):
        return _table(settings, source.url_env, source.table, where, names, required)
    return _files(settings.resolve(source), where, _BUSINESS_FORMATS, names, required)


def _files(
    pattern: str,
    where: str,
    formats: tuple[str, ...],
    names: dict[str, str],
    required: tuple[str, ...],
) -> str:
    with duckdb.connect() as connection:
        found = files.expand(connection, pattern, where, formats=formats)
    for file in found[-_MOST_HEADERS:]:
        if files.is_empty(file.path) or file.format == "jsonl":
            continue
        with files.readable(file.path, where):
            header = _header(file, where)
        if header is not None:
            columns.match(names, required, header, f"{where}: {file.path}")
    return f"{len(found)} file{'s' if len(found) != 1 else ''}"


def _header(file: files.InputFile, where: str) -> tuple[str, ...] | None:
    if file.format == "csv":
        return delimited.read_header(file.path, where).names
    if "://" in file.path:
        return None  # its footer would have to be fetched; the audit reads it anyway
    try:
        return tuple(pq.read_schema(Path(file.path)).names)
    except ValueError as error:  # pyarrow's ArrowInvalid
        message = f"{where}: {file.path} is no Parquet file: {' '.join(str(error).split())}"
        raise ConfigurationError(message) from None


def _table(
    settings: Settings,
    variable: str,
    table: str,
    where: str,
    names: dict[str, str],
    required: tuple[str, ...],
) -> str:
    address = settings.variable(variable)
    with databases.open_database(address, variable, where) as engine:
        found = list(databases.columns_of(engine, table))
        columns.match(names, required, found, f"{where}: table {table}")
    return f"table {table}"
