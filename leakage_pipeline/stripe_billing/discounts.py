"""Collects discounts from the loaded objects that carry them: Stripe lists and retrieves none.

Reads the warehouse, not Stripe, so that loading one kind of object again never loses the discounts
found on another.
"""

import json
from collections.abc import Collection, Iterable
from decimal import Decimal

import psycopg2.extensions

from leakage_pipeline.stripe_billing.flatten import FoundDiscount
from leakage_pipeline.stripe_billing.values import Json, at

_OWNERS = ("customer_id", "subscription_id", "subscription_item_id", "invoice_id")

# `discounts` is the present layout, `discount` that of customers and of older versions. A discount
# stands on many objects; a whole one is preferred to a bare id, and the owner nearest its origin.
_FOUND = """
    with carriers as (
        select 1 as nearness, customer_id, null as subscription_id,
            null as subscription_item_id, null as invoice_id, payload
        from raw_stripe.customers
        union all
        select 2, customer_id, subscription_id, null, null, payload
        from raw_stripe.subscriptions
        union all
        select 3, null, subscription_id, subscription_item_id, null, payload
        from raw_stripe.subscription_items
        union all
        select 4, customer_id, null, null, invoice_id, payload
        from raw_stripe.invoices
        union all
        select 5, null, subscription_id, subscription_item_id, invoice_id, payload
        from raw_stripe.invoice_lines
    ),
    found as (
        select carriers.*, discount,
            case jsonb_typeof(discount)
                when 'object' then discount ->> 'id' when 'string' then discount #>> '{}'
            end as discount_id
        from carriers
        cross join lateral (
            select jsonb_path_query(payload, '$.discounts[*]')
            union all
            select payload -> 'discount'
        ) as carried (discount)
    )
    select distinct on (discount_id)
        discount::text, customer_id, subscription_id, subscription_item_id, invoice_id
    from found
    where discount_id is not null
    order by discount_id, jsonb_typeof(discount) = 'object' desc, nearness,
        subscription_item_id nulls last, invoice_id nulls last
"""


def found_discounts(conn: psycopg2.extensions.connection) -> list[FoundDiscount]:
    """Give every discount that the loaded objects carry, each once."""
    with conn.cursor() as cursor:
        cursor.execute(_FOUND)
        found = [
            FoundDiscount(
                json.loads(text, parse_float=Decimal), dict(zip(_OWNERS, owners, strict=True))
            )
            for text, *owners in cursor
        ]
    conn.rollback()
    return found


def coupons_inside(found: Iterable[FoundDiscount], wanted: Collection[str]) -> dict[str, Json]:
    """Give coupons that stand whole inside a discount, for those that Stripe has deleted since."""
    inside: dict[str, Json] = {}
    for item in found:
        if not isinstance(item.content, dict):
            continue
        for coupon in (at(item.content, "source", "coupon"), item.content.get("coupon")):
            if isinstance(coupon, dict) and coupon.get("id") in wanted:
                inside[str(coupon["id"])] = coupon
    return inside
