"""Loads how money moved: charges, refunds, disputes, payments of invoices, cards, credit balances.

None of it is needed for the audit itself; what a key may not read becomes a gap in coverage.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import psycopg2.extensions

from leakage_pipeline.stripe_billing import flatten_payments as flatten
from leakage_pipeline.stripe_billing import tables_payments as tables
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.columns import Sync
from leakage_pipeline.stripe_billing.concurrency import gather
from leakage_pipeline.stripe_billing.errors import ObjectMissing
from leakage_pipeline.stripe_billing.flatten_payments import Batches, FoundMethod
from leakage_pipeline.stripe_billing.group import GroupLoad
from leakage_pipeline.stripe_billing.homes import HOMES, stored_ids
from leakage_pipeline.stripe_billing.load_result import LoadResult
from leakage_pipeline.stripe_billing.objects import OBJECTS
from leakage_pipeline.stripe_billing.rereading import Watch
from leakage_pipeline.stripe_billing.values import Json

Connection = psycopg2.extensions.connection

# Payments come in the number of invoices; nobody disputes or refunds a charge that is older, and
# those that somebody does are shown by the refund.
REMEMBERED = timedelta(days=400)
_BALANCES_AT_MOST = 2_000
_EVERYTHING = Refresh()


def load_payments(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh = _EVERYTHING
) -> LoadResult:
    """Load charges, refunds, disputes and payments of invoices.

    Args:
        reader: Access to the account.
        conn: The warehouse.
        as_of: Instant of the audit; objects created later are left out.
        how: Whether to read what changed alone, where that can be known.

    Returns:
        Rows by table.

    Raises:
        PermanentFailure: an object cannot be read; nothing is written.
        TransientFailure: Stripe keeps failing; nothing is written.
    """
    specs = (tables.CHARGES, tables.REFUNDS, tables.DISPUTES, tables.INVOICE_PAYMENTS)
    since = as_of - REMEMBERED
    with GroupLoad(reader, conn, as_of, specs, how=how) as load:
        shown: dict[str, Json] = {}

        def noting(rows: Callable[[Sequence[Json], Sync], Batches]) -> Callable[..., Batches]:
            def flatten_page(objects: Sequence[Json], sync: Sync) -> Batches:
                charges = (item.get("charge") for item in objects)
                shown.update((str(c["id"]), c) for c in charges if isinstance(c, dict))
                return rows(objects, sync)

            return flatten_page

        load.read("refunds", noting(flatten.refunds))
        load.read("disputes", noting(flatten.disputes))
        listed = load.read("charges", flatten.charges, since=since)
        if load.is_partial("charges"):
            listed |= stored_ids(conn, HOMES["charges"], "true")
            load.outcome("charges").read.update(shown.keys() - listed)
        older = [charge for name, charge in shown.items() if name not in listed]
        load.add_each("charges", older, flatten.charges)
        # Of payments no event tells but of those that succeed.
        load.read(
            "invoice_payments",
            flatten.invoice_payments,
            since=since,
            watch=Watch({"status": "open"}, "status = 'open'", is_born_silently=True),
        )
        return load.commit(lambda cursor: _forget_old(cursor, since))


def _forget_old(cursor: psycopg2.extensions.cursor, since: datetime) -> None:
    """Drop what a load of everything would not read any more."""
    cursor.execute("delete from raw_stripe.invoice_payments where created < %s", (since,))
    cursor.execute(
        """
        delete from raw_stripe.charges
        where created < %s
            and charge_id not in (
                select charge_id from raw_stripe.refunds where charge_id is not null
                union
                select charge_id from raw_stripe.disputes where charge_id is not null
            )
        """,
        (since,),
    )


def load_payment_methods(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh = _EVERYTHING
) -> LoadResult:
    """Load the payment methods that the loaded customers and subscriptions show; asks nothing.

    Arguments and errors as for `load_payments`.
    """
    with GroupLoad(reader, conn, as_of, (tables.PAYMENT_METHODS,), how=how) as load:
        found, hidden = _found_methods(conn)
        load.add("payment_methods", flatten.payment_methods(found, load.sync), len(found))
        if hidden:
            permission = OBJECTS["payment_methods"].permission
            load.refuse(
                "payment_methods",
                f"{hidden} default payment methods are not shown; the key may lack {permission}",
            )
        return load.commit()


def load_balance_transactions(
    reader: StripeReader, conn: Connection, as_of: datetime, how: Refresh = _EVERYTHING
) -> LoadResult:
    """Load the credit balances of customers who have one or used one; one list per customer.

    Arguments and errors as for `load_payments`. Needs customers and invoices.
    """
    name = "customer_balance_transactions"
    spec = tables.CUSTOMER_BALANCE_TRANSACTIONS
    with GroupLoad(reader, conn, as_of, (spec,), how=how) as load:
        customers = _customers_with_balance(conn, as_of - REMEMBERED)
        asked = customers[:_BALANCES_AT_MOST]
        wanted = asked
        if load.is_partial(name):
            wanted = _changed_balances(load, asked)

        def read() -> None:
            for objects in gather(_balance_lists(reader, wanted), reader.workers):
                inside = [item for item in objects if not _later(item, as_of)]
                load.add(name, flatten.balance_transactions(inside, load.sync), len(inside))

        if not load.attempt(name, read):
            load.spool.discard([spec.name])
        elif len(asked) < len(customers):
            load.note(name, f"{len(asked)} of {len(customers)} customers with a balance were asked")
        return load.commit()


def _changed_balances(load: GroupLoad, asked: Sequence[str]) -> list[str]:
    """Whom to ask: those whose rows are new since, or who were not asked before."""
    with load.conn.cursor() as cursor:
        cursor.execute(
            """
            select customer_id from raw_stripe.customers where synced_at > %(since)s
            union
            select customer_id from raw_stripe.invoices
            where synced_at > %(since)s and (starting_balance != 0 or ending_balance != 0)
            """,
            {"since": load.since},
        )
        touched = {name for (name,) in cursor}
        cursor.execute("select distinct customer_id from raw_stripe.customer_balance_transactions")
        stored = {name for (name,) in cursor}
    load.conn.rollback()
    wanted = [name for name in asked if name in touched or name not in stored]
    load.outcome("customer_balance_transactions").read.update(wanted)
    load.outcome("customer_balance_transactions").gone.update(stored - set(asked))
    return wanted


def _balance_lists(
    reader: StripeReader, customers: Iterable[str]
) -> list[Callable[[], Iterable[list[Json]]]]:
    target = OBJECTS["customer_balance_transactions"]

    def lists_of(customer: str) -> Callable[[], Iterable[list[Json]]]:
        def pages() -> Iterable[list[Json]]:
            try:
                for page in reader.pages(target, target.path.format(id=customer), {}):
                    yield page.objects
            except ObjectMissing:
                return  # deleted meanwhile

        return pages

    return [lists_of(customer) for customer in customers]


def _later(item: Json, as_of: datetime) -> bool:
    created = item.get("created")
    return type(created) is int and created > as_of.timestamp()


def _customers_with_balance(conn: Connection, since: datetime) -> list[str]:
    with conn.cursor() as cursor:
        cursor.execute(
            """
            select customers.customer_id
            from raw_stripe.customers as customers
            left join (
                select
                    customer_id,
                    max(greatest(abs(starting_balance), abs(ending_balance))) as used
                from raw_stripe.invoices
                where (starting_balance != 0 or ending_balance != 0) and created >= %s
                group by customer_id
            ) as invoices on customers.customer_id = invoices.customer_id
            where not customers.deleted
                and (customers.balance != 0 or invoices.customer_id is not null)
            order by greatest(abs(customers.balance), invoices.used) desc, customers.customer_id
            """,
            (since,),
        )
        found = [customer for (customer,) in cursor]
    conn.rollback()
    return found


# One method may be the default of a customer and of subscriptions; a bare id was not expanded.
_FOUND_METHODS = """
    with carriers as (
        select customer_id, null as subscription_id,
            payload #> '{invoice_settings,default_payment_method}' as method
        from raw_stripe.customers
        where not deleted
        union all
        select customer_id, subscription_id, payload -> 'default_payment_method'
        from raw_stripe.subscriptions
    ),
    found as (
        select *, case jsonb_typeof(method)
            when 'object' then method ->> 'id' when 'string' then method #>> '{}'
        end as method_id
        from carriers
    )
    select
        (array_agg(method) filter (where jsonb_typeof(method) = 'object'))[1]::text,
        min(customer_id),
        bool_or(subscription_id is null),
        coalesce(
            array_agg(subscription_id order by subscription_id)
                filter (where subscription_id is not null),
            '{}'
        )
    from found
    where method_id is not null
    group by method_id
    order by method_id
"""


def _found_methods(conn: Connection) -> tuple[list[FoundMethod], int]:
    """The methods that are shown whole, and how many are not."""
    found, hidden = [], 0
    with conn.cursor() as cursor:
        cursor.execute(_FOUND_METHODS)
        for text, customer, is_default, subscriptions in cursor:
            if text is None:
                hidden += 1
                continue
            content = json.loads(text, parse_float=Decimal)
            found.append(FoundMethod(content, customer, is_default, subscriptions))
    conn.rollback()
    return found, hidden
