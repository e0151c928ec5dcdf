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

from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.concurrency import gather
from leakage_pipeline.stripe_billing.errors import RequestRefused
from leakage_pipeline.stripe_billing.flatten import currency_options
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
        "products": "select distinct product_id from raw_stripe.invoice_lines",
    }
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
    """

    asked: int = 0
    missing: list[str] = field(default_factory=list)

    def without(self, found: Collection[str]) -> "Retrieved":
        """The same, less what was found elsewhere."""
        return Retrieved(self.asked, [name for name in self.missing if name not in found])

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
        object_name: ``customers``, ``prices`` or ``products``.
    """
    with conn.cursor() as cursor:
        cursor.execute(_REFERRING[object_name])
        found = {identifier for (identifier,) in cursor if identifier is not None}
    conn.rollback()
    return found


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
