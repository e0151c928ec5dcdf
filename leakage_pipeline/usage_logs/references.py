"""Brings what a roll-up needs to know about customers from the warehouse into DuckDB.

Four small tables: customers (what a log may call a customer), cut_days (days with cuts strictly
inside), finalizations and meter_names. Instants are epoch microseconds.
"""

from collections.abc import Mapping
from pathlib import Path

import duckdb
import psycopg2
import psycopg2.extensions
import pyarrow as pa

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.settings import MeterMapping

# A Stripe id stands for itself; else the account's newest snapshot as of the audit names it, or,
# when all snapshots are younger, the oldest.
CUSTOMERS = """
    with latest_accounts as (
        select distinct on (account_id) account_id, customer_id
        from raw_business.accounts
        order by
            account_id,
            (updated_at <= %(as_of)s) desc,
            case when updated_at <= %(as_of)s then updated_at end desc,
            updated_at
    )
    select customer_id as customer_ref, customer_id from raw_stripe.customers
    union all
    select accounts.account_id, accounts.customer_id
    from latest_accounts as accounts
    inner join raw_stripe.customers as customers on accounts.customer_id = customers.customer_id
    where not exists (
        select 1 from raw_stripe.customers as same where same.customer_id = accounts.account_id
    )
"""
_CUTS = """
    select distinct
        customer_id,
        cast(extract(epoch from cut_at) * 1000000 as bigint) as cut_us
    from intermediate.int_periods__usage_cuts
    where customer_id is not null and cut_at is not null
"""
_FINALIZATIONS = """
    select
        customer_id,
        stripe_event_name,
        cast(extract(epoch from period_start) * 1000000 as bigint) as period_start_us,
        cast(extract(epoch from period_end) * 1000000 as bigint) as period_end_us,
        cast(extract(epoch from finalized_at) * 1000000 as bigint) as finalized_us
    from intermediate.int_periods__usage_finalizations
"""
_TYPES = {
    "customers": {"customer_ref": "VARCHAR", "customer_id": "VARCHAR"},
    "cuts": {"customer_id": "VARCHAR", "cut_us": "BIGINT"},
    "finalizations": {
        "customer_id": "VARCHAR",
        "stripe_event_name": "VARCHAR",
        "period_start_us": "BIGINT",
        "period_end_us": "BIGINT",
        "finalized_us": "BIGINT",
    },
}


def load(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    warehouse: psycopg2.extensions.connection,
    parameters: Mapping[str, object],
) -> None:
    """Fill customers, cut_days and finalizations.

    Args:
        connection: DuckDB.
        folder: Its folder, for intermediate files.
        warehouse: The warehouse, read in the current transaction.
        parameters: as_of.

    Raises:
        PermanentFailure: The periods have not been computed yet.
    """
    queries = {"customers": CUSTOMERS, "cuts": _CUTS, "finalizations": _FINALIZATIONS}
    for table, query in queries.items():
        with warehouse.cursor() as cursor:
            try:
                copy_out(cursor, cursor.mogrify(query, parameters).decode(), folder / table)
            except psycopg2.errors.UndefinedTable as error:
                warehouse.rollback()
                name = str(error).split('"')[1] if '"' in str(error) else table
                message = (
                    f"database: {name} does not exist yet; run the whole job with `leakage audit`"
                )
                raise PermanentFailure(message) from error
        read_copied(connection, folder / table, _TYPES[table]).create(table)
    _group_cuts(connection)


def _group_cuts(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """
        create table cut_days as
        select
            customers.customer_ref,
            cuts.cut_us // getvariable('day_us') as day,
            list(cuts.cut_us order by cuts.cut_us) as cuts
        from cuts
        inner join customers on cuts.customer_id = customers.customer_id
        where cuts.cut_us % getvariable('day_us') <> 0
        group by all
        """
    )


def load_meter_names(
    connection: duckdb.DuckDBPyConnection, meters: Mapping[str, MeterMapping]
) -> None:
    """Fill meter_names: the log's meter, and Stripe's name for it where that differs."""
    table = pa.table(
        {
            "meter": pa.array(list(meters), pa.string()),
            "stripe_event_name": pa.array(
                [mapping.stripe_event_name for mapping in meters.values()], pa.string()
            ),
        }
    )
    connection.from_arrow(table).create("meter_names")


def copy_out(cursor: psycopg2.extensions.cursor, query: str, path: Path) -> None:
    """Write a query's result to a file in the form that `read_copied` reads."""
    with path.open("wb") as file:
        cursor.copy_expert(f"copy ({query}) to stdout with (format csv, header)", file)


def read_copied(
    connection: duckdb.DuckDBPyConnection, path: Path, types: Mapping[str, str]
) -> duckdb.DuckDBPyRelation:
    """Read what `copy_out` wrote; an empty text stays apart from null."""
    return connection.read_csv(
        str(path),
        auto_detect=False,
        header=True,
        sep=",",
        quotechar='"',
        escapechar='"',
        columns=dict(types),
        na_values="",
        allow_quoted_nulls=False,
    )
