"""Reads accounts: what the product itself believes about a customer, as dated snapshots.

There may be a million of them, so that they are checked in SQL, column by column.
"""

import duckdb
import pyarrow as pa

from leakage_pipeline.business.reading import DUPLICATE, Reading
from leakage_pipeline.business.rows import Found, Layout, Rejected
from leakage_pipeline.business.tables import ACCOUNTS

LAYOUT = Layout(
    source="accounts",
    required=("account_id", "customer_id", "plan", "status", "access_enabled", "updated_at"),
    optional=("seats", "features", "health_score", "churn_risk", "owner_email"),
    order_by=("account_id", "updated_at"),
)
_MACROS = (
    """
    create temp macro number(cell) as
    case when not contains(cell, '_') then try_cast(cell as decimal(38, 12)) end
    """,
    """
    create temp macro yes_or_no(cell) as
    case
        when lower(cell) in ('true', 't', '1', 'yes', 'y') then true
        when lower(cell) in ('false', 'f', '0', 'no', 'n') then false
    end
    """,
    """
    create temp macro is_words(cell) as
    case
        when json_type(try_cast(cell as json)) = 'ARRAY'
        then len(list_filter(
            json_type(try_cast(cell as json), '$[*]'), lambda kind: kind <> 'VARCHAR'
        )) = 0
        else coalesce(json_type(try_cast(cell as json)) = 'NULL', false)
    end
    """,
    """
    create temp macro moment(cell) as
    case
        when try_cast(cell as timestamptz) between '0001-01-01' and '9999-12-31'
        then try_cast(cell as timestamptz)
    end
    """,
)
_TYPED = """
    create table typed as
    select
        account_id,
        moment(updated_at) as updated_at,
        customer_id,
        plan,
        case lower(status) when 'canceled' then 'cancelled' else lower(status) end as status,
        yes_or_no(access_enabled) as access_enabled,
        try_cast(number(seats) as bigint) as seats,
        case when json_type(try_cast(features as json)) = 'ARRAY' then features end
            as features,
        cast(number(health_score) as varchar) as health_score,
        cast(number(churn_risk) as varchar) as churn_risk,
        owner_email,
        location,
        rowid as place,
        case
            when account_id is null then 'missing account_id'
            when updated_at is null then 'missing updated_at'
            when moment(updated_at) is null
                then 'updated_at ''' || updated_at || ''' is no ISO 8601 date or time'
            when lower(status) not in (
                'active', 'trialing', 'past_due', 'cancelled', 'canceled', 'suspended'
            )
                then 'status ''' || status || ''' is none of '
                || 'active, trialing, past_due, cancelled, suspended'
            when access_enabled is not null and yes_or_no(access_enabled) is null
                then 'access_enabled ''' || access_enabled || ''' is neither true nor false'
            when seats is not null and not coalesce(
                number(seats) between 0 and 1000000000000 and number(seats) = trunc(number(seats)),
                false
            )
                then 'seats ' || seats || ' is no whole number'
            when features is not null and not is_words(features)
                then 'features is no JSON list of texts'
            when health_score is not null
                and not coalesce(number(health_score) between 0 and 1, false)
                then 'health_score ' || health_score || ' is not between 0 and 1'
            when churn_risk is not null and not coalesce(number(churn_risk) between 0 and 1, false)
                then 'churn_risk ' || churn_risk || ' is not between 0 and 1'
            when contains(concat_ws('', account_id, customer_id, plan, owner_email), chr(0))
                or contains(features, '\\u0000')
                then 'holds a NUL character'
        end as reason
    from found_rows
"""
# Of one account's snapshots of one instant the last row holds; the same row twice is one row.
_REPEATED = """
    create table repeated as
    select account_id, updated_at from typed where reason is null group by all having count(*) > 1
"""
_RANKED = """
    create table ranked as
    select
        *,
        row_number() over (same order by place desc) as from_last,
        first_value(location) over (same order by place desc) as last_location,
        row(customer_id, plan, status, access_enabled, seats, features, health_score, churn_risk,
            owner_email) as content,
        first_value(content) over (same order by place desc) as last_content
    from typed
    where reason is null and (account_id, updated_at) in (from repeated)
    window same as (partition by account_id, updated_at)
"""
_KEPT = """
    select
        account_id, updated_at, customer_id, plan, status, access_enabled, seats, features,
        health_score, churn_risk, owner_email, cast(null as timestamptz) as gone_since
    from typed
    where reason is null and place not in (select place from ranked where from_last > 1)
"""
_ROLL = "select distinct account_id from typed where account_id is not null"
_REJECTED = """
    select
        bad.location,
        cast(found.payload as varchar),
        bad.reason
    from (
        select location, place, reason from typed where reason is not null
        union all
        select
            location,
            place,
            $duplicate || ': ' || last_location || ' has the same key and stands later'
        from ranked
        where from_last > 1 and content is distinct from last_content
    ) as bad
    inner join (
        select
            rowid as place,
            json_object(
                'account_id', account_id, 'customer_id', customer_id, 'plan', plan,
                'status', status, 'access_enabled', access_enabled, 'seats', seats,
                'features', features, 'updated_at', updated_at, 'health_score', health_score,
                'churn_risk', churn_risk, 'owner_email', owner_email
            ) as payload
        from found_rows
    ) as found on bad.place = found.place
    order by bad.place
"""


def read(found: Found) -> Reading:
    """The snapshots, as a stream that must be read while the source is open.

    Args:
        found: The source; rows that cannot be read are added to its list of rejected ones.
    """
    connection = found.connection
    for statement in (*_MACROS, _TYPED, _REPEATED, _RANKED):
        connection.execute(statement)
    found.rejected.extend(_rejected(connection))
    accounts = connection.sql(_KEPT).to_arrow_reader(100_000)
    return Reading([(ACCOUNTS, accounts)], found.rejected)


def roll(found: Found) -> pa.Table:
    """The ids of all accounts that the source names, in rows that can be read or not.

    Args:
        found: The source, still open, after `read`.
    """
    return found.connection.sql(_ROLL).to_arrow_table()


def _rejected(connection: duckdb.DuckDBPyConnection) -> list[Rejected]:
    rows = connection.execute(_REJECTED, {"duplicate": DUPLICATE}).fetchall()
    return [Rejected(*row) for row in rows]
