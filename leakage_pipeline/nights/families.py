"""Customers that are judged together: those who share an account of the product or an e-mail.

Whoever names an account (its own rows, or a subscription's metadata) may pay for it, and two
records with one e-mail may be one customer. So when one of a family is priced, all are; also those
whom only the last build knew as family.
"""

import psycopg2.extensions

Cursor = psycopg2.extensions.cursor

_LINKS = """
    select
        'account ' || accounts.account_id as link,
        coalesce(accounts.customer_id, accounts.account_id) as customer_id
    from raw_business.accounts as accounts
    union
    select
        'account ' || subscriptions.account_id,
        subscriptions.customer_id
    from raw_stripe.subscriptions as subscriptions
    where subscriptions.account_id is not null and subscriptions.customer_id is not null
    union
    select
        'e-mail ' || lower(trim(customers.email)),
        customers.customer_id
    from raw_stripe.customers as customers
    where trim(customers.email) != ''
"""
_SEE = f"""
    truncate night.links_seen;
    insert into night.links_seen
    select
        counted.link,
        counted.customer_id
    from (
        select
            links.*,
            count(*) over (partition by links.link) as members
        from ({_LINKS}) as links
    ) as counted
    where counted.members > 1;
    analyze night.links_seen;
"""  # noqa: S608 - SQL of ours
_ADD = """
    insert into night.customers (customer_id, reason)
    with recursive links as (
        select * from night.links
        union
        select * from night.links_seen
    ),
    family as (
        select customers.customer_id from night.customers as customers
        union
        select fellows.customer_id
        from family
        inner join links on family.customer_id = links.customer_id
        inner join links as fellows on links.link = fellows.link
    )
    select family.customer_id, %s from family
    on conflict do nothing
"""


def see(cursor: Cursor) -> None:
    """Fill night.links_seen from the raw tables."""
    cursor.execute(_SEE)


def add(cursor: Cursor, reason: str) -> None:
    """Add the families of tonight's customers to them."""
    cursor.execute(_ADD, (reason,))


def keep(cursor: Cursor) -> None:
    """Remember the links as they are."""
    cursor.execute("truncate night.links; insert into night.links select * from night.links_seen")
