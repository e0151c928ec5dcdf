"""Loads business sources: read, check, write rows and rejected rows in one transaction.

Contracts and the price book go together, since they share the tables of terms. Accounts are merged,
for earlier snapshots say what held then; every other table holds exactly what its source says.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import psycopg2.extensions
import pyarrow as pa

from leakage_pipeline.business import accounts, contracts, exceptions, fx_rates, price_book
from leakage_pipeline.business.reading import Reading
from leakage_pipeline.business.rows import Found, Layout, Rejected, open_rows
from leakage_pipeline.business.tables import (
    ACCOUNTS,
    CONTRACTS,
    EXCEPTIONS,
    FX_RATES,
    PRICE_BOOK,
    TERM_METERS,
    TERM_TIERS,
)
from leakage_pipeline.settings import Settings
from leakage_pipeline.warehouse import load, ops
from leakage_pipeline.warehouse.tables import TableSpec

Connection = psycopg2.extensions.connection

# The accounts that one file names; lives as long as the transaction that loads it.
_ACCOUNT_ROLL = TableSpec(
    schema="pg_temp",
    name="account_roll",
    arrow_schema=pa.schema([("account_id", pa.string())]),
    primary_key=("account_id",),
    comment="The accounts that one file names",
)


@dataclass(frozen=True)
class LoadResult:
    """What became of one source.

    Attributes:
        rows: Rows loaded, by table.
        read: Rows that the source has.
        rejected: Reason to number of rows that were set aside.
        missing: The source is not configured.
    """

    rows: dict[str, int] = field(default_factory=dict)
    read: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    missing: bool = False

    @property
    def rejected_share(self) -> float:
        """Rejected rows over all rows; 0 for an empty source."""
        return sum(self.rejected.values()) / self.read if self.read else 0.0


def load_terms(settings: Settings, conn: Connection, as_of: datetime) -> dict[str, LoadResult]:
    """Replace contracts, price_book, term_meters and term_tiers.

    Args:
        settings: Where the sources are; one that is absent gives empty tables.
        conn: The warehouse.
        as_of: When rows that are rejected now were first seen.

    Returns:
        The results of `contracts` and `price_book`.

    Raises:
        ConfigurationError: A source is missing, unreadable or lacks a column.
        TransientFailure: A source database does not answer.
    """
    results = {}
    parts: dict[str, list[pa.Table]] = {
        spec.name: [spec.empty()] for spec in (CONTRACTS, PRICE_BOOK, TERM_METERS, TERM_TIERS)
    }
    with _one_transaction(conn):
        for layout, read in (
            (contracts.LAYOUT, contracts.read),
            (price_book.LAYOUT, price_book.read),
        ):
            with open_rows(settings, layout) as found:
                if found is None:
                    results[layout.source] = LoadResult(missing=True)
                    continue
                count = found.count
                reading = read(found)
            rows = {}
            for spec, data in reading.tables:
                parts[spec.name].append(data)
                rows[spec.name] = data.num_rows
            results[layout.source] = _noted(conn, layout, as_of, count, rows, reading.rejected)
        for spec in (CONTRACTS, PRICE_BOOK, TERM_METERS, TERM_TIERS):
            load.replace(conn, spec, pa.concat_tables(parts[spec.name]), commit=False)
    return results


def load_accounts(settings: Settings, conn: Connection, as_of: datetime) -> LoadResult:
    """Merge the snapshots of accounts into those that are there. As `load_terms` otherwise.

    An account that the source no longer names keeps its snapshots, marked with the `as_of` since
    which it is gone: nothing is known of it from then on.
    """
    with _one_transaction(conn), open_rows(settings, accounts.LAYOUT) as found:
        if found is None:
            return LoadResult(rows={ACCOUNTS.name: 0}, missing=True)
        count = found.count
        reading = accounts.read(found)
        ((_, data),) = reading.tables
        rows = {ACCOUNTS.name: load.merge(conn, ACCOUNTS, data, commit=False)}
        _mark_gone(conn, accounts.roll(found), as_of)
        return _noted(conn, accounts.LAYOUT, as_of, count, rows, reading.rejected)


def _mark_gone(conn: Connection, roll: pa.Table, as_of: datetime) -> None:
    """Note which accounts a file without them leaves behind, and which came back."""
    with conn.cursor() as cursor:
        cursor.execute(
            "create temporary table account_roll (account_id text primary key) on commit drop"
        )
    load.replace(conn, _ACCOUNT_ROLL, roll, commit=False)
    with conn.cursor() as cursor:
        cursor.execute(
            """
            update raw_business.accounts as known
            set gone_since = case when roll.account_id is null then %s end
            from raw_business.accounts as every
            left join pg_temp.account_roll as roll on every.account_id = roll.account_id
            where
                known.account_id = every.account_id
                and known.updated_at = every.updated_at
                and (known.gone_since is null) != (roll.account_id is not null)
            """,
            (as_of,),
        )


def load_exceptions(settings: Settings, conn: Connection, as_of: datetime) -> LoadResult:
    """Replace exceptions. As `load_terms` otherwise."""
    return _load(
        settings, conn, as_of, exceptions.LAYOUT, exceptions.read, EXCEPTIONS, load.replace
    )


def load_fx_rates(settings: Settings, conn: Connection, as_of: datetime) -> LoadResult:
    """Replace fx_rates. As `load_terms` otherwise."""
    return _load(settings, conn, as_of, fx_rates.LAYOUT, fx_rates.read, FX_RATES, load.replace)


def _load(
    settings: Settings,
    conn: Connection,
    as_of: datetime,
    layout: Layout,
    read: Callable[[Found], Reading],
    spec: TableSpec,
    write: Callable[..., int],
) -> LoadResult:
    with _one_transaction(conn), open_rows(settings, layout) as found:
        if found is None:
            write(conn, spec, spec.empty(), commit=False)
            return LoadResult(rows={spec.name: 0}, missing=True)
        count = found.count
        reading = read(found)
        ((_, data),) = reading.tables
        rows = {spec.name: write(conn, spec, data, commit=False)}
        return _noted(conn, layout, as_of, count, rows, reading.rejected)


def _noted(
    conn: Connection,
    layout: Layout,
    as_of: datetime,
    count: int,
    rows: dict[str, int],
    rejected: list[Rejected],
) -> LoadResult:
    ops.record_rejected(
        conn,
        (
            ops.RejectedRow(layout.source, bad.location, bad.payload, bad.reason, as_of)
            for bad in rejected
        ),
        commit=False,
    )
    reasons = Counter(bad.reason for bad in rejected)
    malformed = sum(1 for bad in rejected if bad.malformed)
    return LoadResult(rows, count + malformed, dict(reasons))


@contextmanager
def _one_transaction(conn: Connection) -> Iterator[None]:
    try:
        yield
        conn.commit()
    except BaseException:
        if not conn.closed:
            conn.rollback()
        raise
