"""Environment and leakage.yaml in one typed, frozen model: everything a user can configure.

Nothing here connects or writes. Secrets come from the environment alone and are kept in
`SecretStr`, so that no repr, log or error shows them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    ValidationError,
    model_validator,
)

from leakage_pipeline.config_file import explain, read_mapping
from leakage_pipeline.config_types import (
    Count,
    Currency,
    Instant,
    StrictModel,
    Text,
    VariableName,
)
from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.policy import Policy
from leakage_pipeline.stripe_settings import StripeAccess
from leakage_pipeline.usage_scan_settings import UsageScan

DEFAULT_CONFIG = "leakage.yaml"
DEFAULT_HOME = ".leakage"
USAGE_COLUMNS = (
    "event_id",
    "customer_id",
    "meter",
    "value",
    "occurred_at",
    "source",
    "received_at",
)


class TableSource(StrictModel):
    """A table or view in any database that SQLAlchemy reaches."""

    kind: Literal["sql"]
    url_env: VariableName
    table: Text


class _UsageColumns(StrictModel):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    columns: dict[str, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known_columns(self) -> "_UsageColumns":
        unknown = sorted(set(self.columns) - set(USAGE_COLUMNS))
        if unknown:
            message = (
                f"columns maps our names to yours; {', '.join(unknown)} is none of ours "
                f"({', '.join(USAGE_COLUMNS)})"
            )
            raise ValueError(message)
        return self

    def column(self, ours: str) -> str:
        """The source's own name for one of our columns; a name that is not mapped is its own."""
        return self.columns.get(ours, ours)


class FileUsageSource(_UsageColumns):
    """Usage events in parquet, csv(.gz) or jsonl(.gz) files: a glob or an object-store URI."""

    kind: Literal["files"]
    uri: Text


class SqlUsageSource(_UsageColumns):
    """Usage events in a table; the aggregation runs where they live."""

    kind: Literal["sql"]
    url_env: VariableName
    table: Text


UsageSource = Annotated[FileUsageSource | SqlUsageSource, Field(discriminator="kind")]
BusinessSource = Annotated[
    Annotated[Text, Tag("a path")] | Annotated[TableSource, Tag("a table")],
    Discriminator(lambda value: "a table" if isinstance(value, (dict, TableSource)) else "a path"),
]


class Sources(StrictModel):
    """Where each input lives. An absent one is a missing input: coverage reports it."""

    usage: tuple[UsageSource, ...] = ()
    contracts: BusinessSource | None = None
    price_book: BusinessSource | None = None
    accounts: BusinessSource | None = None
    fx_rates: BusinessSource | None = None
    exceptions: BusinessSource | None = None

    @model_validator(mode="after")
    def _unique_names(self) -> "Sources":
        names = [source.name for source in self.usage]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = (
                f"the name {', '.join(twice)} stands for more than one usage source; rename one"
            )
            raise ValueError(message)
        return self


class MeterMapping(StrictModel):
    """Which Stripe meter a meter of the usage log corresponds to."""

    stripe_event_name: Text


class Rollout(StrictModel):
    """Audit only a part of the customers; empty means all."""

    customers: tuple[Text, ...] = ()
    created_after: Instant | None = None
    max_customers: Annotated[Count, Field(ge=1)] | None = None


class _File(StrictModel):
    """The keys of leakage.yaml."""

    company: Text = "Our company"
    reporting_currency: Currency = "usd"
    lookback_periods: Annotated[Count, Field(ge=1, le=120)] = 13
    sources: Sources
    meters: dict[str, MeterMapping] = Field(default_factory=dict)
    usage_scan: UsageScan = UsageScan()
    policy: Policy = Policy()
    rollout: Rollout = Rollout()
    stripe: StripeAccess = StripeAccess()


class Environment(BaseModel):
    """The environment variables of the contract, and those that `url_env` keys name."""

    model_config = ConfigDict(frozen=True)

    database_url: SecretStr | None = None
    stripe_api_key: SecretStr | None = None
    stripe_write_api_key: SecretStr | None = None
    stripe_api_base: str | None = None
    anthropic_api_key: SecretStr | None = None
    anthropic_base_url: str | None = None
    slack_bot_token: SecretStr | None = None
    slack_api_base_url: str | None = None
    smtp_url: SecretStr | None = None
    hubspot_access_token: SecretStr | None = None
    hubspot_api_base_url: str | None = None
    pipedrive_api_token: SecretStr | None = None
    pipedrive_api_base_url: str | None = None
    variables: Mapping[str, str] = Field(default_factory=dict, repr=False, exclude=True)


_VARIABLES = {
    "database_url": "LEAKAGE_DATABASE_URL",
    "stripe_api_key": "STRIPE_API_KEY",
    "stripe_write_api_key": "STRIPE_WRITE_API_KEY",
    "stripe_api_base": "STRIPE_API_BASE",
    "anthropic_api_key": "ANTHROPIC_API_KEY",
    "anthropic_base_url": "ANTHROPIC_BASE_URL",
    "slack_bot_token": "SLACK_BOT_TOKEN",
    "slack_api_base_url": "SLACK_API_BASE_URL",
    "smtp_url": "SMTP_URL",
    "hubspot_access_token": "HUBSPOT_ACCESS_TOKEN",
    "hubspot_api_base_url": "HUBSPOT_API_BASE_URL",
    "pipedrive_api_token": "PIPEDRIVE_API_TOKEN",
    "pipedrive_api_base_url": "PIPEDRIVE_API_BASE_URL",
}
_ADDRESSES = tuple(name for name in _VARIABLES if name.endswith(("_base", "_base_url")))


class Settings(_File):
    """leakage.yaml, the environment, and where both were found."""

    config_path: Path
    base_dir: Path
    home: Path
    environment: Environment

    def resolve(self, path: str) -> str:
        """Make a relative path or glob absolute, from the configuration's folder; keep a URI."""
        if "://" in path:
            return path
        return str(self.base_dir / Path(path).expanduser())

    def variable(self, name: str) -> str:
        """The value of an environment variable that a `url_env` key names.

        Raises:
            ConfigurationError: It is not set.
        """
        value = self.environment.variables.get(name, "")
        if not value:
            message = (
                f"{self.config_path}: url_env names {name}, which is not set; "
                "export it or add it to .env"
            )
            raise ConfigurationError(message)
        return value

    def stripe_key(self) -> SecretStr:
        """The read-only Stripe key.

        Raises:
            ConfigurationError: STRIPE_API_KEY is not set.
        """
        if self.environment.stripe_api_key is None:
            message = (
                "environment: STRIPE_API_KEY is not set; create a restricted key with read access "
                "in the Stripe dashboard and export it or add it to .env"
            )
            raise ConfigurationError(message)
        return self.environment.stripe_api_key


def load_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The process environment on top of the working directory's `.env` file.

    Args:
        environ: Used as it is instead, without any `.env`; for tests.
    """
    if environ is not None:
        return dict(environ)
    file = {key: value for key, value in dotenv_values(Path(".env")).items() if value is not None}
    return {**file, **os.environ}


def home_from(environ: Mapping[str, str]) -> Path:
    """The absolute state folder: LEAKAGE_HOME, else `.leakage` in the working directory."""
    return Path(environ.get("LEAKAGE_HOME") or DEFAULT_HOME).expanduser().absolute()


def load_settings(
    config_path: Path | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read leakage.yaml and the environment.

    Args:
        config_path: The configuration file; default LEAKAGE_CONFIG, else `leakage.yaml` in the
            working directory.
        environ: The environment to use instead of the process's own and `.env`.

    Raises:
        ConfigurationError: The file is missing or something in it or in the environment is wrong.
    """
    variables = load_environment(environ)
    path = config_path or Path(variables.get("LEAKAGE_CONFIG") or DEFAULT_CONFIG)
    path = path.expanduser().absolute()
    if not path.is_file():
        message = (
            f"{path}: there is no such configuration file; copy leakage.yaml from the repository, "
            "or name another file in LEAKAGE_CONFIG"
        )
        raise ConfigurationError(message)
    content, lines = read_mapping(path)
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        raise explain(error, path, lines, _File) from None
    return Settings.model_construct(
        **{name: getattr(file, name) for name in _File.model_fields},
        config_path=path,
        base_dir=path.parent,
        home=home_from(variables),
        environment=environment_from(variables),
    )


def environment_from(variables: Mapping[str, str]) -> Environment:
    """Pick the contract's variables; an empty one counts as unset.

    Raises:
        ConfigurationError: An address is no http or https address.
    """
    picked: dict[str, Any] = {
        field: variables[name] for field, name in _VARIABLES.items() if variables.get(name)
    }
    for field in _ADDRESSES:
        if field in picked:
            picked[field] = _http_address(_VARIABLES[field], picked[field])
    return Environment(**picked, variables=dict(variables))


def _http_address(name: str, value: str) -> str:
    parts = urlsplit(value.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = (
            f"environment: {name} must be an http or https address, such as https://example.com"
        )
        raise ConfigurationError(message)
    return value.strip().rstrip("/")
