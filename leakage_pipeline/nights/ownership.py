"""Whose a raw row is: every table that holds rows of customers, with the way to the customer.

A table that is not named here is shared by all customers (prices, coupons, the price book, rates).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from psycopg2 import sql

from leakage_pipeline.warehouse.tables import TableSpec

# What a load writes beside the facts; a night on which only these differ changed nothing.
_UNCOUNTED = frozenset({"payload", "stripe_version", "synced_at"})
# What staging reads out of a payload is counted by itself: the rest of it changes for no reason.
PAYLOAD_KEYS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("raw_stripe", "invoices"): ("amount_paid_off_stripe",),
    ("raw_stripe", "coupons"): ("applies_to", "currency_options"),
    ("raw_stripe", "credit_notes"): ("metadata", "total_taxes"),
}


@dataclass(frozen=True)
class Owned:
    """A table with rows of customers.

    Attributes:
        customer: SQL of the customer's id, over the table as `own` and what is joined.
        joins: SQL of the joins that lead there. No row may be found twice.
        known_late: Its rows are loaded after the periods are known (usage).
        may_be_nobodys: Rows that lead to no customer are common and concern none. Elsewhere such
            a row is odd, and a change of one prices everybody.
    """

    customer: str = "own.customer_id"
    joins: str = ""
    known_late: bool = False
    may_be_nobodys: bool = False


def _through(table: str, key: str, *, may_be_nobodys: bool = False) -> Owned:
    return Owned(
        "parent.customer_id",
        f"left join {table} as parent on parent.{key} = own.{key}",
        may_be_nobodys=may_be_nobodys,
    )


# A charge without a customer is for the customer whose invoice it pays.
_PAID = """(
    select named.payment_id, min(invoices.customer_id) as customer_id
    from raw_stripe.invoice_payments as payments
    inner join raw_stripe.invoices as invoices on payments.invoice_id = invoices.invoice_id
    cross join lateral (
        values (payments.charge_id), (payments.payment_intent_id)
    ) as named (payment_id)
    where named.payment_id is not null
    group by named.payment_id
)"""
_CHARGE = Owned(
    "coalesce(own.customer_id, by_charge.customer_id, by_intent.customer_id)",
    f"left join {_PAID} as by_charge on by_charge.payment_id = own.charge_id"
    f" left join {_PAID} as by_intent on by_intent.payment_id = own.payment_intent_id",
    may_be_nobodys=True,
)
_OF_CHARGE = Owned(
    "coalesce(charge.customer_id, by_charge.customer_id, by_intent.customer_id)",
    "left join raw_stripe.charges as charge on charge.charge_id = own.charge_id"
    f" left join {_PAID} as by_charge on by_charge.payment_id = own.charge_id"
    f" left join {_PAID} as by_intent"
    " on by_intent.payment_id = coalesce(own.payment_intent_id, charge.payment_intent_id)",
    may_be_nobodys=True,
)
_DIRECT = Owned()
_OUTSIDE = Owned(may_be_nobodys=True)
_THROUGH_INVOICE = _through("raw_stripe.invoices", "invoice_id")
_THROUGH_CONTRACT = Owned(
    "parent.customer_id",
    "left join raw_business.contracts as parent"
    " on own.term_kind = 'contract' and parent.contract_id = own.term_id",
)

OWNED: dict[tuple[str, str], Owned] = {
    ("raw_stripe", "customers"): _DIRECT,
    ("raw_stripe", "subscriptions"): _DIRECT,
    ("raw_stripe", "subscription_items"): _through("raw_stripe.subscriptions", "subscription_id"),
    ("raw_stripe", "subscription_schedules"): _DIRECT,
    ("raw_stripe", "subscription_schedule_phases"): _through(
        "raw_stripe.subscription_schedules", "schedule_id"
    ),
    ("raw_stripe", "discounts"): Owned(
        "coalesce(own.customer_id, subscription.customer_id, of_item.customer_id,"
        " invoice.customer_id, pending.customer_id)",
        "left join raw_stripe.subscriptions as subscription"
        " on subscription.subscription_id = own.subscription_id"
        " left join raw_stripe.subscription_items as item"
        " on item.subscription_item_id = own.subscription_item_id"
        " left join raw_stripe.subscriptions as of_item"
        " on of_item.subscription_id = item.subscription_id"
        " left join raw_stripe.invoices as invoice on invoice.invoice_id = own.invoice_id"
        " left join raw_stripe.invoice_items as pending"
        " on pending.invoice_item_id = own.invoice_item_id",
    ),
    ("raw_stripe", "invoices"): _DIRECT,
    ("raw_stripe", "invoice_lines"): _THROUGH_INVOICE,
    ("raw_stripe", "invoice_line_discounts"): Owned(
        "parent.customer_id",
        "left join raw_stripe.invoice_lines as line on line.line_id = own.line_id"
        " left join raw_stripe.invoices as parent on parent.invoice_id = line.invoice_id",
    ),
    ("raw_stripe", "invoice_items"): _DIRECT,
    ("raw_stripe", "invoice_payments"): _through(
        "raw_stripe.invoices", "invoice_id", may_be_nobodys=True
    ),
    ("raw_stripe", "credit_notes"): _DIRECT,
    ("raw_stripe", "credit_note_lines"): _through("raw_stripe.credit_notes", "credit_note_id"),
    ("raw_stripe", "charges"): _CHARGE,
    ("raw_stripe", "refunds"): _OF_CHARGE,
    ("raw_stripe", "disputes"): _OF_CHARGE,
    ("raw_stripe", "customer_balance_transactions"): _OUTSIDE,
    ("raw_stripe", "active_entitlements"): _OUTSIDE,
    ("raw_stripe", "payment_methods"): _OUTSIDE,
    ("raw_stripe", "events"): _OUTSIDE,
    ("raw_business", "contracts"): _DIRECT,
    ("raw_business", "term_meters"): _THROUGH_CONTRACT,
    ("raw_business", "term_tiers"): _THROUGH_CONTRACT,
    # An account that names no customer stands for one by itself.
    ("raw_business", "accounts"): Owned("coalesce(own.customer_id, own.account_id)"),
    ("raw_business", "exceptions"): _DIRECT,
    ("raw_usage", "usage_windows"): Owned(known_late=True),
    ("raw_usage", "late_arrivals"): Owned(known_late=True),
}

# Whose rows decide which account belongs to which subscription.
PAIRED = (
    ("raw_stripe", "customers"),
    ("raw_stripe", "subscriptions"),
    ("raw_business", "accounts"),
)

# Shared tables by what a new row means: of a price or a coupon nothing, as long as nobody refers to
# it; of the price book or the settings a change for everybody.
GROWING = (
    ("raw_stripe", "prices"),
    ("raw_stripe", "price_currency_options"),
    ("raw_stripe", "price_tiers"),
    ("raw_stripe", "products"),
    ("raw_stripe", "coupons"),
)
FIXED = (
    ("raw_stripe", "meters"),
    ("raw_business", "price_book"),
    ("raw_business", "term_meters"),
    ("raw_business", "term_tiers"),
    ("raw_business", "meter_mappings"),
    ("raw_business", "audit_settings"),
    ("raw_usage", "log_coverage"),
)
# What must be loaded before a night can tell who changed: later rows would be missed, or half seen.
KNOWN_FIRST = tuple(
    dict.fromkeys(key for key in (*OWNED, *GROWING, *FIXED) if key[0] != "raw_usage")
)
# Of tables that are shared in part: which rows.
SHARED_PART = {
    ("raw_business", "term_meters"): "own.term_kind = 'price_book'",
    ("raw_business", "term_tiers"): "own.term_kind = 'price_book'",
}
# What differs every night without meaning anything for amounts.
_PASSING = {
    ("raw_stripe", "coupons"): {"times_redeemed", "valid"},
    ("raw_business", "audit_settings"): {"as_of"},
    ("raw_usage", "log_coverage"): {"last_event_at", "event_count", "as_of"},
}


def row_hash(spec: TableSpec, seed: int) -> sql.Composed:
    """SQL: one number for a row of the table `own`; equal rows give equal numbers."""
    key = (spec.schema, spec.name)
    skipped = _UNCOUNTED | _PASSING.get(key, set())
    values: list[sql.Composable] = [
        sql.Identifier("own", name) for name in spec.columns if name not in skipped
    ]
    values += [
        sql.SQL("own.payload -> {}").format(sql.Literal(name)) for name in PAYLOAD_KEYS.get(key, ())
    ]
    return sql.SQL("hash_record_extended(row({}), {})").format(
        sql.SQL(", ").join(values), sql.Literal(seed)
    )


def instants(spec: TableSpec) -> list[str]:
    """The columns that are instants of the facts, not of the load."""
    return [
        name
        for name in spec.columns
        if name not in _UNCOUNTED and pa.types.is_timestamp(spec.arrow_schema.field(name).type)
    ]
