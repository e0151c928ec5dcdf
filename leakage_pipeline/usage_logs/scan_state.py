"""Keeps what a scan of the usage log found, so that the next one reads only new and changed files.

A DuckDB file below LEAKAGE_HOME, attached as `kept`. It is a cache: everything in it can be
computed from the log, a state that is broken, of other software or of another configuration is
dropped, and the next scan reads the whole log.

Of every event it holds eight bytes (the hash of its id); of every file and window a row of sums
(`partials`); by themselves it holds the events whose id occurs more than once (`contested`), with
sixteen bytes in place of the id.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from leakage_pipeline.failures import TransientFailure
from leakage_pipeline.settings import Settings

FOLDER = "usage_scan"
# Raise when a table below or the meaning of one of its columns changes.
LAYOUT = 3
_PENDING = "pending:"
_TABLES = """
    create table kept.meta (name varchar primary key, value varchar not null);
    create table kept.files (
        file_id integer, source varchar, source_order integer, path varchar, stamp varchar,
        form varchar, as_of_us bigint, columns varchar[]
    );
    create table kept.ids (
        file_id integer, id_hash ubigint using compression uncompressed  -- chance does not shrink
    );
    create table kept.contested (
        file_id integer, id_hash ubigint, id_check ubigint, customer_ref varchar, meter varchar,
        source varchar, value decimal(38, 12), occurred_us bigint, received_us bigint,
        source_order integer
    );
    create table kept.barren (file_id integer, id_hash ubigint);
    create table kept.partials (
        file_id integer, customer_ref varchar, meter varchar, source varchar, day bigint,
        window_start_us bigint, event_count bigint, quantity_sum decimal(38, 12),
        latest struct(occurred_us bigint, value decimal(38, 12)),
        first_us bigint, received_us bigint, duplicate_events bigint,
        late_count bigint, late_sum decimal(38, 12), skewed_events bigint
    );
    create table kept.finals as select * exclude (file_id) from kept.partials;
    create table kept.customers (customer_ref varchar, customer_id varchar);
    create table kept.cut_days (customer_ref varchar, day bigint, cuts bigint[]);
    create table kept.finalizations (
        customer_ref varchar, stripe_event_name varchar, period_start_us bigint,
        period_end_us bigint, finalized_us bigint
    );
    create table kept.rejects (file_id integer, reason varchar, rows bigint);
    create table kept.reject_samples (
        file_id integer, number integer, reason varchar, location varchar, payload varchar
    );
"""


@dataclass(frozen=True)
class Previous:
    """What the state says of the scan that wrote it.

    Attributes:
        as_of_us: Its audit's instant; null for an empty state.
        token: What the warehouse was told when it took the result; null when it was not.
    """

    as_of_us: int | None
    token: str | None


@contextmanager
def attached(
    connection: duckdb.DuckDBPyConnection, settings: Settings, as_of_us: int, *, anew: bool
) -> Iterator[Previous]:
    """Attach the state as `kept`, its tables made where they are missing.

    A state that is younger than the audit stays as it is: the past is audited from an empty one.

    Args:
        connection: DuckDB.
        settings: Where the state is, and what it must agree with.
        as_of_us: The audit's instant.
        anew: Drop what there is.

    Raises:
        TransientFailure: Another process uses the state.
    """
    # Trying these costs more than the rest of writing; ids do not shrink by them.
    connection.execute("set disabled_compression_methods = 'fsst,dict_fsst,zstd'")
    folder = settings.home / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "state.duckdb"
    if anew:
        _remove(path)
    _attach(connection, path, fingerprint(settings))
    previous = _previous(connection)
    if previous.as_of_us is not None and previous.as_of_us > as_of_us:
        connection.execute("detach kept")
        with in_memory(connection):
            yield Previous(None, None)
        return
    try:
        yield previous
    finally:
        _detach(connection)


@contextmanager
def in_memory(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Attach an empty state that goes with the block."""
    connection.execute("attach ':memory:' as kept")
    _create(connection, "")
    try:
        yield
    finally:
        _detach(connection)


def _detach(connection: duckdb.DuckDBPyConnection) -> None:
    with suppress(duckdb.Error):  # a connection that has failed for good is closed soon
        connection.execute("detach kept")


def fingerprint(settings: Settings) -> str:
    """What a state depends on besides the log: our tables, DuckDB's hash, the names of meters."""
    meters = {name: mapping.stripe_event_name for name, mapping in sorted(settings.meters.items())}
    text = json.dumps([LAYOUT, duckdb.__version__, meters])
    return hashlib.sha256(text.encode()).hexdigest()


def set_scanned(connection: duckdb.DuckDBPyConnection, as_of_us: int, token: str) -> None:
    """Note, with the new sums, as of when they are and that the warehouse is about to take them."""
    _set(connection, "as_of_us", str(as_of_us))
    _set(connection, "token", _PENDING + token)


def set_taken(connection: duckdb.DuckDBPyConnection, token: str) -> None:
    """Note that the warehouse has taken the sums."""
    _set(connection, "token", token)


def _set(connection: duckdb.DuckDBPyConnection, name: str, value: str) -> None:
    connection.execute("insert or replace into kept.meta values ($1, $2)", [name, value])


def _previous(connection: duckdb.DuckDBPyConnection) -> Previous:
    values = dict(connection.execute("select name, value from kept.meta").fetchall())
    as_of = values.get("as_of_us")
    token = values.get("token")
    # A crash between the warehouse's commit and ours leaves a pending token that it knows.
    return Previous(
        int(as_of) if as_of is not None else None,
        token.removeprefix(_PENDING) if token is not None else None,
    )


def _attach(connection: duckdb.DuckDBPyConnection, path: Path, wanted: str) -> None:
    if path.exists():
        try:
            _open(connection, path)
            rows = connection.execute(
                "select value from kept.meta where name = 'fingerprint'"
            ).fetchall()
            if rows == [(wanted,)]:
                return
        except duckdb.IOException as error:
            if "lock" in str(error).lower():
                message = f"{path}: another scan of the usage log is running"
                raise TransientFailure(message) from error
        except duckdb.Error:
            pass  # a broken cache is made anew
        connection.execute("detach database if exists kept")
        _remove(path)
    _open(connection, path)
    _create(connection, wanted)


def _open(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    name = str(path).replace("'", "''")
    connection.execute(f"attach '{name}' as kept")


def _create(connection: duckdb.DuckDBPyConnection, wanted: str) -> None:
    connection.begin()
    connection.execute(_TABLES)
    _set(connection, "fingerprint", wanted)
    connection.commit()


def _remove(path: Path) -> None:
    for name in (path, path.with_name(f"{path.name}.wal")):
        name.unlink(missing_ok=True)
