"""The account as the server keeps it: every object as it is shown, sorted, with its indexes.

Objects are brought into their default shape once, when they are loaded: discounts become ids,
hidden fields are put aside, embedded lists are cut. A page of a list then costs no work.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import itemgetter
from typing import Any

from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount
from leakage_pipeline.simulator.stripe_server.resources import BY_SHELF, RESOURCES, Resource

EMBEDDED_LINES = 10
EMBEDDED_ITEMS = 20
_AS_THEY_ARE = (
    *("charges", "disputes", "invoice_payments", "payment_methods", "promotion_codes", "refunds"),
    *("features", "subscription_schedules", "webhook_endpoints"),
)
EVENTS_KEPT_SECONDS = 30 * 86_400
_HIDDEN = {
    "price": ("tiers", "currency_options"),
    "coupon": ("applies_to", "currency_options"),
}


@dataclass
class Shelf:
    """The objects of one resource: `listed` newest first, `by_id` also those in no list."""

    resource: Resource
    listed: list[JsonObject] = field(default_factory=list)
    by_id: dict[str, JsonObject] = field(default_factory=dict)
    rank: dict[str, int] = field(default_factory=dict)
    indexes: dict[str, dict[str | None, list[int]]] = field(default_factory=dict)
    _negative_created: list[int] = field(default_factory=list)

    def sort(self) -> None:
        """Rank the listed objects newest first (of one second: last added first), index them."""
        created = self.resource.created_key
        order = count()
        keyed = [(-shown.get(created, 0), -next(order), shown) for shown in self.listed]
        keyed.sort(key=itemgetter(0, 1))
        self.listed = [shown for _, _, shown in keyed]
        self._negative_created = [negative for negative, _, _ in keyed]
        self.rank = {shown["id"]: rank for rank, shown in enumerate(self.listed)}
        for name, key in self.resource.indexed.items():
            index: dict[str | None, list[int]] = {}
            for rank, shown in enumerate(self.listed):
                index.setdefault(key(shown), []).append(rank)
            self.indexes[name] = index

    def created_between(self, first: int | None, last: int | None) -> tuple[int, int]:
        """Half-open range of the ranks of objects created in [first, last]."""
        low = 0 if last is None else bisect_left(self._negative_created, -last)
        high = len(self.listed)
        if first is not None:
            high = bisect_right(self._negative_created, -first)
        return low, high


class Store:
    """All shelves of an account, its discounts, and the whole of every embedded list."""

    def __init__(self, account: StripeAccount, *, now: int) -> None:
        self._events_from = now - EVENTS_KEPT_SECONDS
        self.shelves = {resource.shelf: Shelf(resource) for resource in RESOURCES}
        self._shelf_of = {shelf.resource.kind: shelf for shelf in self.shelves.values()}
        self.discounts: dict[str, JsonObject] = {}
        self.items: dict[str, list[JsonObject]] = {}
        self.lines: dict[str, list[JsonObject]] = {}
        self.balance_transactions: dict[str, list[JsonObject]] = {}
        self.entitlements: dict[str, list[JsonObject]] = {}
        self.credit_note_lines: dict[str, list[JsonObject]] = {}
        self._item_by_id: dict[str, JsonObject] = {}
        self._hidden: dict[tuple[str, str], JsonObject] = {}
        self._load(account)
        for shelf in self.shelves.values():
            shelf.sort()

    def find(self, kind: str, object_id: str) -> JsonObject | None:
        """The object of this kind as it is shown without expand, or None."""
        if kind == "discount":
            return self.discounts.get(object_id)
        found = self.retrieve(kind, object_id)
        if found is None and kind == "coupon":  # deleted: gone, but still inside its discounts
            found = self._hidden.get(("deleted_coupon", object_id))
        return found

    def retrieve(self, kind: str, object_id: str) -> JsonObject | None:
        """What a retrieve by id answers with: tombstones too, but no deleted coupon."""
        if kind == "subscription_item":
            return self._item_by_id.get(object_id)
        return self._shelf_of[kind].by_id.get(object_id)

    def hidden(self, kind: str, object_id: str) -> JsonObject:
        """The fields of the object that only an expand shows."""
        return self._hidden.get((kind, object_id), {})

    def add(self, shelf_name: str, shown: JsonObject) -> None:
        """Put a new object where lists and retrieves find it."""
        self._put(shelf_name, shown)
        self.shelves[shelf_name].sort()

    def remove(self, shelf_name: str, object_id: str) -> None:
        """Forget an object that was deleted."""
        shelf = self.shelves[shelf_name]
        del shelf.by_id[object_id]
        shelf.listed = [shown for shown in shelf.listed if shown["id"] != object_id]
        shelf.sort()

    def _load(self, account: StripeAccount) -> None:
        self._load_catalog(account)
        for customer in account.customers:
            self._put("customers", self._customer(customer), listed=not customer.get("deleted"))
        for subscription in account.subscriptions:
            self._put("subscriptions", self._subscription(subscription))
        for invoice in account.invoices:
            self._put("invoices", self._invoice(invoice))
        for item in account.invoice_items:
            self._put("invoice_items", self._with_discount_ids(item))
        for note in account.credit_notes:
            lines = list(note["lines"]["data"])
            self.credit_note_lines[note["id"]] = lines
            self._put("credit_notes", {**note, "lines": _cut(note["lines"], lines, EMBEDDED_LINES)})
        self._load_movements(account)

    def _load_movements(self, account: StripeAccount) -> None:
        for shelf_name in _AS_THEY_ARE:
            for whole in getattr(account, shelf_name):
                self._put(shelf_name, whole)
        for change in sorted(account.balance_transactions, key=itemgetter("created"), reverse=True):
            self.balance_transactions.setdefault(change["customer"], []).append(change)
        for item in account.active_entitlements:
            shown = {key: value for key, value in item.items() if key != "customer"}
            self.entitlements.setdefault(item["customer"], []).append(shown)
        for event in account.events:
            if event["created"] >= self._events_from:  # older ones are forgotten
                self._put("events", event)

    def _load_catalog(self, account: StripeAccount) -> None:
        for coupon in account.coupons:
            if coupon.get("deleted"):
                shown = {key: value for key, value in coupon.items() if key != "deleted"}
                self._hidden["deleted_coupon", coupon["id"]] = self._set_aside("coupon", shown)
            else:
                self._put("coupons", self._set_aside("coupon", coupon))
        for product in account.products:
            self._put("products", product)
        for price in account.prices:
            self._put("prices", self._price(price))
        for price in account.inline_prices:
            self._put("prices", self._price(price), listed=False)
        for meter in account.meters:
            self._put("meters", meter)

    def _put(self, shelf_name: str, shown: JsonObject, *, listed: bool = True) -> None:
        shelf = self.shelves[shelf_name]
        if shown["id"] in shelf.by_id:
            message = f"{BY_SHELF[shelf_name].kind} {shown['id']} is in the account twice"
            raise ValueError(message)
        shelf.by_id[shown["id"]] = shown
        if listed:
            shelf.listed.append(shown)

    def _set_aside(self, kind: str, whole: JsonObject) -> JsonObject:
        """The object without its hidden fields, which are kept for expands."""
        names = _HIDDEN[kind]
        self._hidden[kind, whole["id"]] = {name: whole[name] for name in names if name in whole}
        return {key: value for key, value in whole.items() if key not in names}

    def _price(self, price: JsonObject) -> JsonObject:
        shown = self._set_aside("price", price)
        if isinstance(shown["product"], dict):
            shown["product"] = shown["product"]["id"]
        return shown

    def _customer(self, customer: JsonObject) -> JsonObject:
        discount = customer.get("discount")
        if not isinstance(discount, dict):
            return customer
        return {**customer, "discount": self.discounts[self._discount_id(discount)]}

    def _invoice(self, invoice: JsonObject) -> JsonObject:
        shown = self._with_discount_ids(invoice)
        lines = [self._with_discount_ids(line) for line in invoice["lines"]["data"]]
        self.lines[invoice["id"]] = lines
        shown["lines"] = _cut(invoice["lines"], lines, EMBEDDED_LINES)
        return shown

    def _subscription(self, subscription: JsonObject) -> JsonObject:
        shown = self._with_discount_ids(subscription)
        items = [self._item(item) for item in subscription["items"]["data"]]
        self.items[subscription["id"]] = items
        self._item_by_id.update((item["id"], item) for item in items)
        shown["items"] = _cut(subscription["items"], items, EMBEDDED_ITEMS)
        return shown

    def _item(self, item: JsonObject) -> JsonObject:
        shown = self._with_discount_ids(item)
        price = item["price"]
        known = self.shelves["prices"].by_id
        if price["id"] not in known:  # made by price_data, or forgotten in the account
            self._put("prices", self._price(price), listed=False)
        shown["price"] = known[price["id"]]
        return shown

    def _with_discount_ids(self, whole: JsonObject) -> JsonObject:
        return {**whole, "discounts": [self._discount_id(d) for d in whole["discounts"]]}

    def _discount_id(self, discount: JsonObject | str) -> str:
        if isinstance(discount, str):
            return discount
        source: dict[str, Any] = discount["source"]
        if isinstance(source["coupon"], dict):
            source = {**source, "coupon": source["coupon"]["id"]}
        self.discounts[discount["id"]] = {**discount, "source": source}
        return str(discount["id"])


def _cut(embedded: JsonObject, data: Sequence[JsonObject], most: int) -> JsonObject:
    """An embedded list as it is shown: one page, and whether there is more behind its url."""
    return {
        **embedded,
        "data": list(data[:most]),
        "has_more": len(data) > most,
        "total_count": len(data),
    }
