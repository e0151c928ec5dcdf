"""Raw rows as numbers: one per customer, and one per row that all customers share.

A customer's number is the sum of the hashes of their rows, so that no order and no sorting matters.
"""

import psycopg2.extensions
from psycopg2 import sql

from leakage_pipeline.nights.ownership import (
    FIXED,
    GROWING,
    OWNED,
    PAIRED,
    SHARED_PART,
    row_hash,
)
from leakage_pipeline.warehouse.schemas import table_specs
from leakage_pipeline.warehouse.tables import TableSpec

Cursor = psycopg2.extensions.cursor

# In night.known: rows that should lead to a customer and lead to none.
NOBODY = ""
# In ops.usage_written: the usage of everybody.
_EVERYBODY = ""

# What models ask about all customers together, as rows of a shared relation that does not exist.
_FACTS = """
    select 'facts', 'contracts', 0
    where exists (select 1 from raw_business.contracts)
    union all
    select 'facts', 'accounts', 0
    where exists (select 1 from raw_business.accounts)
    union all
    select distinct 'facts', 'sold by the seat: ' || coalesce({plan_key}, prices.price_id), 0
    from raw_stripe.prices as prices
    inner join (
        select items.price_id from raw_stripe.subscription_items as items where items.quantity > 1
        union
        select lines.price_id from raw_stripe.invoice_lines as lines where lines.quantity > 1
    ) as sold on prices.price_id = sold.price_id
    {plans}
    where prices.usage_type = 'licensed'
"""
_FACTS_CHANGED = "the first or last contract, account or plan sold by the seat came or went"


def see_rows(cursor: Cursor) -> None:
    """Fill night.seen from every table but usage."""
    cursor.execute(
        sql.SQL(
            "insert into night.seen (customer_id, rows_hash, pairs_hash)"
            " select customer_id, sum(row_hash), sum(row_hash) filter (where is_pair)"
            " from ({}) as hashed"
            " where customer_id is not null group by customer_id"
        ).format(_hashed(late=False))
    )


def see_usage(cursor: Cursor, *, anew: bool) -> None:
    """Add usage to night.seen, anew if it is there already.

    The days of a log are many rows: only those are hashed whose customers a load has written since.

    Args:
        cursor: In the transaction that decides who is priced.
        anew: Hash the usage of everybody.
    """
    cursor.execute(_TAKE_WRITTEN, {"everybody": _EVERYBODY, "anew": anew})
    cursor.execute("select everybody from usage_due")
    (everybody,) = cursor.fetchone() or (True,)
    condition = "true" if everybody else "{} in (select customer_id from usage_to_hash)"
    cursor.execute(
        sql.SQL(
            "insert into night.usage (customer_id, usage_hash)"
            " select customer_id, sum(row_hash) from ({}) as hashed group by customer_id"
        ).format(_hashed(late=True, condition=condition))
    )
    cursor.execute(_SEE_USAGE)


_TAKE_WRITTEN = """
    create temporary table usage_to_hash (customer_id text) on commit drop;
    with taken as (delete from ops.usage_written returning customer_id)
    insert into usage_to_hash select customer_id from taken;
    create temporary table usage_due on commit drop as
    select
        %(anew)s
        or not exists (select 1 from night.usage)
        or exists (select 1 from usage_to_hash where customer_id = %(everybody)s) as everybody;
    delete from night.usage
    where
        (select everybody from usage_due)
        or customer_id in (select customer_id from usage_to_hash);
    analyze usage_to_hash;
"""
_SEE_USAGE = """
    update night.seen set usage_hash = null where usage_hash is not null;
    insert into night.seen (customer_id, usage_hash)
    select customer_id, usage_hash from night.usage
    on conflict (customer_id) do update set usage_hash = excluded.usage_hash;
"""


def _hashed(*, late: bool, condition: str = "true") -> sql.Composed:
    specs = _specs()
    parts = [
        sql.SQL(
            "select {} as customer_id, {} as row_hash, {} as is_pair from {} as own {} where {}"
        ).format(
            sql.SQL(
                owned.customer
                if owned.may_be_nobodys
                else f"coalesce({owned.customer}, '{NOBODY}')"
            ),
            row_hash(specs[key], seed),
            sql.Literal(key in PAIRED),
            specs[key].identifier,
            sql.SQL(owned.joins),
            sql.SQL(condition.format(owned.customer)),
        )
        for seed, (key, owned) in enumerate(OWNED.items())
        if owned.known_late is late
    ]
    return sql.SQL(" union all ").join(parts)


def shared_change(cursor: Cursor, *, late: bool) -> str:
    """Which shared rows changed in a way that may concern everybody; empty when none did."""
    for key in (*GROWING, *FIXED):
        if (key[0] == "raw_usage") is late and _differs(
            cursor, ".".join(key), _shared_rows(key), new_counts=key in FIXED
        ):
            return f"{key[1].replace('_', ' ')} changed"
    if not late and _differs(cursor, "facts", _facts(cursor), new_counts=True):
        return _FACTS_CHANGED
    return ""


def _differs(cursor: Cursor, relation: str, rows: sql.Composable, *, new_counts: bool) -> bool:
    cursor.execute(
        sql.SQL(
            """
            select exists (
                select 1
                from ({current}) as current (relation, row_key, row_hash)
                full join (
                    select * from night.shared where relation = {relation}
                ) as shared using (row_key)
                where (current.row_key is null or shared.row_key is null and {new_counts})
                    or current.row_hash != shared.row_hash
            )
            """
        ).format(current=rows, relation=sql.Literal(relation), new_counts=sql.Literal(new_counts))
    )
    (differs,) = cursor.fetchone() or (False,)
    return bool(differs)


def keep_shared(cursor: Cursor) -> None:
    """Remember the shared rows as they are."""
    cursor.execute("delete from night.shared")
    for key in (*GROWING, *FIXED):
        cursor.execute(sql.SQL("insert into night.shared ") + _shared_rows(key))
    cursor.execute(sql.SQL("insert into night.shared ") + _facts(cursor))


def _shared_rows(key: tuple[str, str]) -> sql.Composed:
    spec = _specs()[key]
    row_key = sql.SQL(", ").join(sql.Identifier("own", name) for name in spec.primary_key)
    return sql.SQL("select {}, row({})::text, {} from {} as own where {}").format(
        sql.Literal(".".join(key)),
        row_key,
        row_hash(spec, 0),
        spec.identifier,
        sql.SQL(SHARED_PART.get(key, "true")),
    )


def _facts(cursor: Cursor) -> sql.SQL:
    """The facts; a plan is known by its price alone until the models have named the price."""
    cursor.execute("select to_regclass('intermediate.int_terms__price_plans') is not null")
    (is_named,) = cursor.fetchone() or (False,)
    return sql.SQL(
        _FACTS.format(
            plan_key="plans.plan_key" if is_named else "null",
            plans="left join intermediate.int_terms__price_plans as plans"
            " on prices.price_id = plans.price_id"
            if is_named
            else "",
        )
    )


def _specs() -> dict[tuple[str, str], TableSpec]:
    return {(spec.schema, spec.name): spec for spec in table_specs()}
