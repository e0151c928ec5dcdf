"""Finds objects that others refer to and no list shows, and retrieves each of them by id.

Inline and forgotten prices, deleted customers, products and coupons: without them a line would have
no price and an invoice no customer. What is gone for good is named, never invented.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType

import psycopg2.extensions
from psycopg2.extras import execute_values

from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.concurrency import gather
from leakage_pipeline.stripe_billing.errors import RequestRefused
from leakage_pipeline.stripe_billing.flatten import currency_options
from leakage_pipeline.stripe_billing.homes import HOMES
from leakage_pipeline.stripe_billing.values import Json

Connection = psycopg2.extensions.connection

_REFERRING: Mapping[str, str] = MappingProxyType(
    {
        "customers": """
            select customer_id from raw_stripe.subscriptions
            union select customer_id from raw_stripe.invoices
            union select customer_id from raw_stripe.credit_notes
        """,
        "prices": """
            select price_id from raw_stripe.subscription_items
            union select price_id from raw_stripe.invoice_lines
        """,
        "products": """
            select product_id from raw_stripe.invoice_lines
            union select product_id from raw_stripe.prices
        """,
    }
)
# While prices are read anew, those that are stored say nothing.
_PRODUCTS_OF_LINES = "select distinct product_id from raw_stripe.invoice_lines"
_PARTS_OF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"prices": ("price_currency_options", "price_tiers")}
)

# The item shows its whole price but for tiers: better than none when the price cannot be retrieved.
_PRICES_ON_ITEMS = """
    select distinct on (price_id) price_id, (payload -> 'price')::text
    from raw_stripe.subscription_items
    where price_id = any(%s) and jsonb_typeof(payload -> 'price') = 'object'
    order by price_id, subscription_item_id
"""

_NAMED_AT_MOST = 10


@dataclass
class Retrieved:
    """What came of asking for objects by id.

    Attributes:
        asked: How many ids.
        missing: Ids that Stripe does not know (any more).
        found: The others.
    """

    asked: int = 0
    missing: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    def without(self, found: Collection[str]) -> "Retrieved":
        """The same, less what was found elsewhere."""
        elsewhere = [name for name in self.missing if name in found]
        missing = [name for name in self.missing if name not in found]
        return Retrieved(self.asked, missing, self.found + elsewhere)

    def describe(self) -> str | None:
        """One sentence about what is missing; None when nothing is."""
        if not self.missing:
            return None
        names = ", ".join(sorted(self.missing)[:_NAMED_AT_MOST])
        more = ", ..." if len(self.missing) > _NAMED_AT_MOST else ""
        return f"{len(self.missing)} of {self.asked} referenced ids are not there: {names}{more}"


def referenced(conn: Connection, object_name: str) -> set[str]:
    """Give the ids that the loaded tables refer to.

    Args:
        conn: The warehouse; no transaction stays open, since slow requests follow.
        object_name: ``customers``, ``prices`` or ``products``; of products those of stored lines.
    """
    with conn.cursor() as cursor:
        cursor.execute(_REFERRING[object_name] if object_name != "products" else _PRODUCTS_OF_LINES)
        found = {identifier for (identifier,) in cursor if identifier is not None}
    conn.rollback()
    return found


def unknown_references(conn: Connection, object_name: str) -> set[str]:
    """Give the ids that the loaded tables refer to, that are not stored and not known to be gone.

    Arguments as for `referenced`.
    """
    home = HOMES[object_name]
    with conn.cursor() as cursor:
        cursor.execute(
            f"select * from ({_REFERRING[object_name]}) as referring (object_id) "  # noqa: S608
            f"except select {home.key} from raw_stripe.{home.table} "
            "except select object_id from ops.stripe_unlisted "
            "where object = %s and not is_found",
            (object_name,),
        )
        found = {identifier for (identifier,) in cursor if identifier is not None}
    conn.rollback()
    return found


def known_missing(conn: Connection, object_name: str) -> set[str]:
    """Give the ids that Stripe did not know when everything was read last."""
    with conn.cursor() as cursor:
        cursor.execute(
            "select object_id from ops.stripe_unlisted where object = %s and not is_found",
            (object_name,),
        )
        found = {identifier for (identifier,) in cursor}
    conn.rollback()
    return found


def note_unlisted(
    cursor: psycopg2.extensions.cursor,
    object_name: str,
    found: Iterable[str],
    missing: Iterable[str],
    *,
    anew: bool,
) -> None:
    """Remember what was asked for by id, in the caller's transaction; `anew` forgets all before."""
    if anew:
        cursor.execute("delete from ops.stripe_unlisted where object = %s", (object_name,))
    rows = [(object_name, name, True) for name in found]
    rows += [(object_name, name, False) for name in missing]
    execute_values(
        cursor,
        """
        insert into ops.stripe_unlisted (object, object_id, is_found) values %s
        on conflict (object, object_id) do update set is_found = excluded.is_found
        """,
        rows,
    )


def unlisted_so_far(cursor: psycopg2.extensions.cursor, object_name: str) -> Retrieved:
    """Give what came of asking for objects by id in all audits since the last that read all."""
    cursor.execute(
        "select object_id, is_found from ops.stripe_unlisted where object = %s order by 1",
        (object_name,),
    )
    rows = cursor.fetchall()
    missing = [name for name, is_found in rows if not is_found]
    return Retrieved(len(rows), missing, [name for name, is_found in rows if is_found])


def drop_unreferenced(cursor: psycopg2.extensions.cursor, object_name: str) -> None:
    """Drop what no list shows once nothing refers to it any more, in the caller's transaction."""
    home = HOMES[object_name]
    referring = f"select * from ({_REFERRING[object_name]}) as referring (object_id) "  # noqa: S608
    referring += "where object_id is not null"
    cursor.execute(
        f"delete from raw_stripe.{home.table} where {home.key} not in ({referring}) "  # noqa: S608
        f"and (payload -> 'deleted' = 'true'::jsonb or {home.key} in "
        "(select object_id from ops.stripe_unlisted where object = %s and is_found))",
        (object_name,),
    )
    cursor.execute(
        f"delete from ops.stripe_unlisted where object = %s and object_id not in ({referring})",  # noqa: S608
        (object_name,),
    )
    for table in _PARTS_OF.get(object_name, ()):
        cursor.execute(
            f"delete from raw_stripe.{table} where {home.key} not in "  # noqa: S608
            f"(select {home.key} from raw_stripe.{home.table})"
        )


def prices_on_items(conn: Connection, price_ids: Collection[str]) -> dict[str, Json]:
    """Give the price objects that subscription items carry, by id; they lack tiers."""
    if not price_ids:
        return {}
    with conn.cursor() as cursor:
        cursor.execute(_PRICES_ON_ITEMS, (list(price_ids),))
        found = {name: json.loads(text, parse_float=Decimal) for name, text in cursor}
    conn.rollback()
    return found


def retrieve_all(
    reader: StripeReader, object_name: str, ids: Iterable[str], outcome: Retrieved
) -> Iterator[Json]:
    """Retrieve objects by id, several at once; ids that Stripe does not know go to `outcome`."""

    def ask(object_id: str) -> Callable[[], list[tuple[str, Json | None]]]:
        return lambda: [(object_id, reader.retrieve(object_name, object_id))]

    wanted = sorted(ids)
    outcome.asked += len(wanted)
    for object_id, found in gather(map(ask, wanted), reader.workers):
        if found is None:
            outcome.missing.append(object_id)
        else:
            outcome.found.append(object_id)
            yield found


def with_all_tiers(reader: StripeReader, prices: Iterable[Json]) -> Iterator[Json]:
    """Complete tiered prices whose other currencies came without their tiers.

    Expanding `currency_options` shows each currency's option without tiers; only an expand that
    names the currency shows them, so such a price is asked for once more by id.

    Yields:
        Every price given, in any order; one whose tiers a server will not show, as it was.
    """

    def ask(price: Json, lacking: list[str]) -> Callable[[], list[Json]]:
        expand = ("tiers", "currency_options", *(f"currency_options.{c}.tiers" for c in lacking))

        def get() -> list[Json]:
            try:
                return [reader.retrieve("prices", str(price.get("id")), expand) or price]
            except RequestRefused:
                return [price]

        return get

    incomplete = []
    for price in prices:
        lacking = _currencies_without_tiers(price)
        if lacking:
            incomplete.append(ask(price, lacking))
        else:
            yield price
    if incomplete:
        yield from gather(incomplete, reader.workers)


def _currencies_without_tiers(price: Json) -> list[str]:
    if price.get("billing_scheme") != "tiered":
        return []
    return [code for code, option in currency_options(price) if option.get("tiers") is None]
