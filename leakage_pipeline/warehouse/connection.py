"""Opens connections to the warehouse: one meaning of a URL, UTC sessions, errors without secrets.

Every session runs in UTC, and JSON numbers come back as Decimal, so that no float enters an amount.
"""

import json
import os
import pwd
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import adbc_driver_postgresql.dbapi
import psycopg2
import psycopg2.extensions
import psycopg2.extras
from adbc_driver_manager.dbapi import Connection as AdbcConnection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from leakage_pipeline.failures import ConfigurationError, PermanentFailure, TransientFailure

_DRIVER = "postgresql+psycopg2"
_ACCEPTED = frozenset({"postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"})
_CONNECT_SECONDS = 10
_UTC = "-c timezone=UTC"
_OS_USER = "-c leakage.os_user={}"
"""What the audit log keeps beside the name that somebody goes by: the account that ran us."""


def normalise(url: str, variable: str = "LEAKAGE_DATABASE_URL") -> str:
    """Write any usual Postgres URL as SQLAlchemy's `postgresql+psycopg2://`.

    Args:
        url: A URL that begins with postgres:// or postgresql://.
        variable: The environment variable it came from, for the message.

    Raises:
        ConfigurationError: It is no Postgres URL, or names no database. The URL is never shown.
    """
    try:
        parsed = make_url(url.strip())
    except (ArgumentError, ValueError):
        message = (
            f"environment: {variable} is no database address; "
            "write postgresql://user:password@host:5432/database"
        )
        raise ConfigurationError(message) from None
    if parsed.drivername not in _ACCEPTED:
        message = (
            f"environment: {variable} begins with {parsed.drivername}://; the warehouse "
            "is Postgres: write postgresql://user:password@host:5432/database"
        )
        raise ConfigurationError(message)
    if not parsed.database:
        message = f"environment: {variable} names no database; add /database at its end"
        raise ConfigurationError(message)
    return parsed.set(drivername=_DRIVER).render_as_string(hide_password=False)


def describe(url: str) -> str:
    """Say where a URL leads, without its password: `leakage@host:5432/leakage`."""
    parsed = make_url(url)
    where = parsed.host or parsed.query.get("host") or "local socket"
    port = f":{parsed.port}" if parsed.port else ""
    user = f"{parsed.username}@" if parsed.username else ""
    return f"{user}{where}{port}/{parsed.database}"


def parameters(url: str) -> dict[str, str]:
    """The URL as libpq parameters (host, port, user, password, dbname, and its query)."""
    parsed = make_url(url)
    named = {
        "host": parsed.host,
        "port": str(parsed.port) if parsed.port else None,
        "user": parsed.username,
        "password": parsed.password,
        "dbname": parsed.database,
    }
    query = {
        key: value if isinstance(value, str) else value[-1] for key, value in parsed.query.items()
    }
    return query | {key: str(value) for key, value in named.items() if value is not None}


def connect(
    url: str, *, application_name: str = "leakage-pipeline", search_path: str | None = None
) -> psycopg2.extensions.connection:
    """Open a psycopg2 connection: UTC session, no autocommit, JSON numbers as Decimal.

    Args:
        url: A SQLAlchemy URL, as `server.ensure_running` returns it.
        application_name: Shown in pg_stat_activity.
        search_path: The session's search path; default the database's own.

    Raises:
        TransientFailure: The server cannot be reached.
        PermanentFailure: The server refuses the login or the database.
    """
    arguments: dict[str, Any] = parameters(url)
    options = [arguments.pop("options", ""), _UTC, _OS_USER.format(_escaped(_account()))]
    if search_path:
        options.append(f"-c search_path={search_path}")
    arguments.setdefault("connect_timeout", _CONNECT_SECONDS)
    try:
        connection: psycopg2.extensions.connection = psycopg2.connect(
            **arguments,
            application_name=application_name,
            options=" ".join(option for option in options if option),
        )
    except psycopg2.OperationalError as error:
        raise _refusal(url, str(error)) from None
    psycopg2.extras.register_default_jsonb(
        connection, loads=partial(json.loads, parse_float=Decimal)
    )
    psycopg2.extras.register_default_json(
        connection, loads=partial(json.loads, parse_float=Decimal)
    )
    return connection


def _account() -> str:
    """The operating system's account of this process; no environment variable is asked."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return f"uid {os.getuid()}"


def _escaped(value: str) -> str:
    """A value as libpq's options take it."""
    return "".join(f"\\{sign}" if sign in " \\" else sign for sign in value)


def adbc(url: str) -> AdbcConnection:
    """Open an ADBC connection, for reading results as Arrow: UTC session, no autocommit."""
    arguments = parameters(url)
    arguments["options"] = f"{arguments.get('options', '')} {_UTC}".strip()
    arguments.setdefault("connect_timeout", str(_CONNECT_SECONDS))
    # libpq reads a plus sign as a plus sign, so blanks must be written %20.
    uri = f"postgresql:///?{urlencode(arguments, quote_via=quote)}"
    try:
        connection: AdbcConnection = adbc_driver_postgresql.dbapi.connect(uri)
    except adbc_driver_postgresql.dbapi.Error as error:
        raise _refusal(url, str(error)) from None
    return connection


def _refusal(url: str, text: str) -> PermanentFailure | TransientFailure:
    password = parameters(url).get("password")
    reason = text.strip().splitlines()[-1].strip() if text.strip() else "no reason given"
    if password:
        reason = reason.replace(password, "***")
    fix = "check LEAKAGE_DATABASE_URL and that the server runs"
    message = f"database {describe(url)}: {reason}; {fix}"
    refused = (
        "authentication failed",
        "does not exist",
        "no pg_hba.conf entry",
        "permission denied",
    )
    return (
        PermanentFailure(message)
        if any(part in text for part in refused)
        else TransientFailure(message)
    )
