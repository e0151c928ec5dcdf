"""The list endpoints: which object each one lists and which parameters filter it.

One row per resource; a filter turns a parameter into a predicate over the shown object.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from leakage_pipeline.simulator.stripe_objects import JsonObject
from leakage_pipeline.simulator.stripe_server.errors import bad_request
from leakage_pipeline.simulator.stripe_server.params import boolean, span, text

Predicate = Callable[[JsonObject], bool]
Filter = Callable[[str, Any], Predicate | None]
"""Parameter name and value to a predicate; None filters nothing."""
Key = Callable[[JsonObject], str | None]

SUBSCRIPTION_STATUSES = frozenset(
    {
        *("active", "canceled", "incomplete", "incomplete_expired"),
        *("past_due", "paused", "trialing", "unpaid"),
    }
)
_MOST_TYPES = 20
INVOICE_STATUSES = frozenset({"draft", "open", "paid", "uncollectible", "void"})


@dataclass(frozen=True)
class Resource:
    """A kind of object: where it lives, what it is called, how its list is filtered.

    `indexed` filters are equality filters that the store answers by index. `defaults` are
    predicates in force while their parameter is absent.
    """

    shelf: str
    path: str
    kind: str
    noun: str
    permission: str
    filters: Mapping[str, Filter] = field(default_factory=dict)
    indexed: Mapping[str, Key] = field(default_factory=dict)
    defaults: Mapping[str, Predicate] = field(default_factory=dict)
    created_key: str = "created"
    created_filter: bool = True

    def accepted(self) -> set[str]:
        """Filter parameters of the list, paging aside."""
        return {*self.filters, *self.indexed} | ({"created"} if self.created_filter else set())


def equals(*path: str) -> Filter:
    """The value at this path of keys equals the parameter."""

    def build(name: str, value: Any) -> Predicate:
        wanted = text(name, value)
        return lambda shown: at(shown, *path) == wanted

    return build


def is_true(key: str) -> Filter:
    """The flag at this key equals the parameter, `true` or `false`."""

    def build(name: str, value: Any) -> Predicate:
        wanted = boolean(name, value)
        return lambda shown: bool(shown[key]) is wanted

    return build


def one_of(key: str) -> Filter:
    """The value at this key is in the array parameter."""

    def build(name: str, value: Any) -> Predicate:
        if not isinstance(value, list):
            raise bad_request(message="Invalid array", param=name)
        wanted = frozenset(value)
        return lambda shown: shown[key] in wanted

    return build


def within(key: str) -> Filter:
    """The instant at this key lies in the range parameter."""

    def build(name: str, value: Any) -> Predicate:
        wanted = span(name, value)
        return lambda shown: wanted.holds(shown[key])

    return build


def any_item(key: str) -> Filter:
    """The instant at this key of any subscription item lies in the range parameter."""

    def build(name: str, value: Any) -> Predicate:
        wanted = span(name, value)
        return lambda shown: any(wanted.holds(item[key]) for item in shown["items"]["data"])

    return build


def at(shown: JsonObject, *path: str) -> Any:
    """The value below these keys, None as soon as one is absent or null."""
    value: Any = shown
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def subscription_of(shown: JsonObject) -> str | None:
    """The subscription that an invoice belongs to."""
    found = at(shown, "parent", "subscription_details", "subscription")
    return None if found is None else str(found)


def _member(name: str, value: Any, known: frozenset[str]) -> str:
    if value not in known:
        choices = ", ".join(sorted(known))
        raise bad_request(message=f"Invalid {name}: must be one of {choices}", param=name)
    return str(value)


def _subscription_status(name: str, value: Any) -> Predicate | None:
    if value == "all":
        return None
    if value == "ended":
        return lambda shown: shown["status"] in {"canceled", "incomplete_expired"}
    wanted = _member(name, value, SUBSCRIPTION_STATUSES)
    return lambda shown: bool(shown["status"] == wanted)


def _invoice_status(name: str, value: Any) -> Predicate:
    wanted = _member(name, value, INVOICE_STATUSES)
    return lambda shown: bool(shown["status"] == wanted)


def _recurring(name: str, value: Any) -> Predicate:
    if not isinstance(value, dict) or set(value) - {"interval", "meter", "usage_type"}:
        raise bad_request(message=f"Invalid {name}", param=name)
    return lambda shown: all(at(shown, "recurring", key) == value[key] for key in value)


def _item_price(name: str, value: Any) -> Predicate:
    wanted = text(name, value)
    return lambda shown: any(item["price"]["id"] == wanted for item in shown["items"]["data"])


def _pending(name: str, value: Any) -> Predicate:
    wanted = boolean(name, value)
    return lambda shown: (shown["invoice"] is None) is wanted


def _automatic_tax(name: str, value: Any) -> Predicate:
    enabled = value.get("enabled") if isinstance(value, dict) else None
    wanted = boolean(f"{name}[enabled]", enabled)
    return lambda shown: bool(shown["automatic_tax"]["enabled"]) is wanted


def _no_clock(shown: JsonObject) -> bool:
    return shown.get("test_clock") is None


def _event_type(name: str, value: Any) -> Predicate:
    pattern = text(name, value)  # `customer.*` is a group of types
    return lambda shown: fnmatchcase(shown["type"], pattern)


def _event_types(name: str, value: Any) -> Predicate:
    if isinstance(value, list) and len(value) > _MOST_TYPES:
        raise bad_request(message=f"Array must have at most {_MOST_TYPES} entries", param=name)
    known = frozenset(value) if isinstance(value, list) else frozenset([text(name, value)])
    return lambda shown: shown["type"] in known


def _payment(name: str, value: Any) -> Predicate:
    if not isinstance(value, dict) or "type" not in value:
        raise bad_request(message=f"Invalid {name}", param=name)
    return lambda shown: all(at(shown, "payment", key) == value[key] for key in value)


def _scheduled(name: str, value: Any) -> Predicate:
    wanted = boolean(name, value)
    return lambda shown: (shown["status"] == "not_started") is wanted


def _archived(name: str, value: Any) -> Predicate:
    wanted = boolean(name, value)
    return lambda shown: shown["active"] is not wanted


def _delivered(name: str, value: Any) -> Predicate:
    wanted = boolean(name, value)
    return lambda shown: (shown["pending_webhooks"] == 0) is wanted


def _key(name: str) -> Key:
    return lambda shown: shown[name]


RESOURCES: tuple[Resource, ...] = (
    Resource(
        *("customers", "/v1/customers", "customer", "customer", "rak_customer_read"),
        filters={"email": equals("email"), "test_clock": equals("test_clock")},
        defaults={"test_clock": _no_clock},
    ),
    Resource(
        *("products", "/v1/products", "product", "product", "rak_product_read"),
        filters={
            "active": is_true("active"),
            "ids": one_of("id"),
            "shippable": is_true("shippable"),
            "url": equals("url"),
        },
    ),
    Resource(
        *("prices", "/v1/prices", "price", "price", "rak_plan_read"),
        filters={
            "active": is_true("active"),
            "currency": equals("currency"),
            "lookup_keys": one_of("lookup_key"),
            "recurring": _recurring,
            "type": equals("type"),
        },
        indexed={"product": _key("product")},
        defaults={"active": lambda shown: bool(shown["active"])},
    ),
    Resource(*("coupons", "/v1/coupons", "coupon", "coupon", "rak_coupon_read")),
    Resource(
        *("subscriptions", "/v1/subscriptions", "subscription", "subscription"),
        "rak_subscription_read",
        filters={
            "automatic_tax": _automatic_tax,
            "collection_method": equals("collection_method"),
            "current_period_end": any_item("current_period_end"),
            "current_period_start": any_item("current_period_start"),
            "customer_account": equals("customer_account"),
            "price": _item_price,
            "status": _subscription_status,
            "test_clock": equals("test_clock"),
        },
        indexed={"customer": _key("customer")},
        defaults={
            "status": lambda shown: bool(shown["status"] != "canceled"),
            "test_clock": _no_clock,
        },
    ),
    Resource(
        *("invoices", "/v1/invoices", "invoice", "invoice", "rak_invoice_read"),
        filters={
            "collection_method": equals("collection_method"),
            "customer_account": equals("customer_account"),
            "due_date": within("due_date"),
            "status": _invoice_status,
        },
        indexed={"customer": _key("customer"), "subscription": subscription_of},
        defaults={"test_clock": _no_clock},
    ),
    Resource(
        *("invoice_items", "/v1/invoiceitems", "invoiceitem", "invoiceitem", "rak_invoice_read"),
        filters={"customer_account": equals("customer_account"), "pending": _pending},
        indexed={"customer": _key("customer"), "invoice": _key("invoice")},
        defaults={"test_clock": _no_clock},
        created_key="date",
    ),
    Resource(
        *("credit_notes", "/v1/credit_notes", "credit_note", "credit_note"),
        "rak_credit_note_read",
        filters={"customer_account": equals("customer_account")},
        indexed={"customer": _key("customer"), "invoice": _key("invoice")},
    ),
    Resource(
        *("meters", "/v1/billing/meters", "billing.meter", "billing meter"),
        "rak_billing_meter_read",
        filters={"status": equals("status")},
        created_filter=False,
    ),
    Resource(
        *("events", "/v1/events", "event", "event", "rak_event_read"),
        filters={"delivery_success": _delivered, "type": _event_type, "types": _event_types},
    ),
    Resource(
        *("webhook_endpoints", "/v1/webhook_endpoints", "webhook_endpoint", "webhook endpoint"),
        "rak_webhook_read",
        created_filter=False,
    ),
    Resource(
        *("features", "/v1/entitlements/features", "entitlements.feature", "feature"),
        "rak_entitlement_read",
        filters={"archived": _archived, "lookup_key": equals("lookup_key")},
        created_filter=False,
    ),
    Resource(
        *("subscription_schedules", "/v1/subscription_schedules", "subscription_schedule"),
        *("subscription schedule", "rak_subscription_read"),
        filters={
            "canceled_at": within("canceled_at"),
            "completed_at": within("completed_at"),
            "customer_account": equals("customer_account"),
            "released_at": within("released_at"),
            "scheduled": _scheduled,
        },
        indexed={"customer": _key("customer")},
        defaults={"test_clock": _no_clock},
    ),
    Resource(
        *("promotion_codes", "/v1/promotion_codes", "promotion_code", "promotion code"),
        "rak_promotion_code_read",
        filters={
            "active": is_true("active"),
            "code": equals("code"),
            "coupon": equals("promotion", "coupon"),
            "customer": equals("customer"),
            "customer_account": equals("customer_account"),
        },
    ),
    Resource(
        *("payment_methods", "/v1/payment_methods", "payment_method", "PaymentMethod"),
        "rak_payment_method_read",
        filters={
            "allow_redisplay": equals("allow_redisplay"),
            "customer_account": equals("customer_account"),
            "type": equals("type"),
        },
        indexed={"customer": _key("customer")},
        created_filter=False,
    ),
    Resource(
        *("charges", "/v1/charges", "charge", "charge", "rak_charge_read"),
        filters={"transfer_group": equals("transfer_group")},
        indexed={"customer": _key("customer"), "payment_intent": _key("payment_intent")},
    ),
    Resource(
        *("refunds", "/v1/refunds", "refund", "refund", "rak_charge_read"),
        indexed={"charge": _key("charge"), "payment_intent": _key("payment_intent")},
    ),
    Resource(
        *("disputes", "/v1/disputes", "dispute", "dispute", "rak_dispute_read"),
        indexed={"charge": _key("charge"), "payment_intent": _key("payment_intent")},
    ),
    Resource(
        *("invoice_payments", "/v1/invoice_payments", "invoice_payment", "invoice payment"),
        "rak_invoice_read",
        filters={"payment": _payment, "status": equals("status")},
        indexed={"invoice": _key("invoice")},
    ),
)

BY_PATH = {resource.path: resource for resource in RESOURCES}
BY_SHELF = {resource.shelf: resource for resource in RESOURCES}
