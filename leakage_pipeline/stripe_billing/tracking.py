"""Which event says that which of our objects has changed; Stripe's lists cannot be asked for that.

An event is only ever a hint to read an object again: the order in which events arrive, and what
they carry, then cannot matter. What a hint is worth is decided in `group.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from leakage_pipeline.stripe_billing.values import Json

Ids = Iterator[tuple[str, str | None]]

_MOST_TYPES = 20
# What a coupon is for is stored with everything that carries it; how often it was used is not.
_COUNTED = frozenset({"times_redeemed", "valid"})


@dataclass(frozen=True)
class Mark:
    """One object that must be read again.

    Attributes:
        object_name: A key of `OBJECTS`, or one of `CARRIERS`.
        object_id: Its id.
        created: When it was created, in seconds, where the event says so.
    """

    object_name: str
    object_id: str
    created: int | None = None


def body_of(event: Json) -> Json:
    """The object that an event is about, as it was then; empty when there is none."""
    data = event.get("data")
    body = data.get("object") if isinstance(data, dict) else None
    return body if isinstance(body, dict) else {}


def id_of(value: object) -> str | None:
    """An id, or that of an object; None for anything else, since any kind of body may come."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) and value else None


def _itself(body: Json) -> Ids:
    yield "", id_of(body)


def _named(**names: str) -> Callable[[Json], Ids]:
    """The object itself, and what some of its keys name: object name by key."""

    def ids(body: Json) -> Ids:
        yield "", id_of(body)
        for key, object_name in names.items():
            yield object_name, id_of(body.get(key))

    return ids


def _owners_of_discount(body: Json) -> Ids:
    for key, object_name in (
        ("customer", "customers"),
        ("subscription", "subscriptions"),
        ("invoice", "invoices"),
    ):
        yield object_name, id_of(body.get(key))


def _payer(body: Json) -> Ids:
    yield "payment_method_carriers", id_of(body)
    yield "customers", id_of(body.get("customer"))


def _customer(body: Json) -> Ids:
    yield "", id_of(body.get("customer"))


@dataclass(frozen=True)
class _Topic:
    object_name: str
    types: tuple[str, ...]
    ids: Callable[[Json], Ids] = _itself


def _types(prefix: str, *actions: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{action}" for action in actions)


_WRITTEN = ("created", "updated", "deleted")
_TOPICS = (
    _Topic("customers", _types("customer", *_WRITTEN)),
    _Topic(
        "subscriptions",
        _types(
            "customer.subscription",
            *_WRITTEN,
            *("paused", "resumed", "pending_update_applied", "pending_update_expired"),
        ),
    ),
    _Topic("", _types("customer.discount", *_WRITTEN), _owners_of_discount),
    _Topic(
        "invoices",
        _types(
            "invoice",
            *_WRITTEN,
            *("finalized", "finalization_failed", "paid", "payment_succeeded", "payment_failed"),
            *("payment_action_required", "payment_attempt_required", "marked_uncollectible"),
            *("voided", "sent", "overdue", "overpaid", "will_be_due"),
        ),
    ),
    _Topic("invoice_items", _types("invoiceitem", *_WRITTEN)),
    _Topic("invoice_payments", ("invoice_payment.paid",), _named(invoice="invoices")),
    _Topic(
        "credit_notes",
        _types("credit_note", "created", "updated", "voided"),
        _named(invoice="invoices"),
    ),
    _Topic("products", _types("product", *_WRITTEN)),
    _Topic("prices", _types("price", *_WRITTEN)),
    _Topic("coupon_carriers", _types("coupon", "updated")),
    _Topic("promotion_codes", _types("promotion_code", "created", "updated")),
    _Topic(
        "active_entitlements",
        ("entitlements.active_entitlement_summary.updated",),
        _customer,
    ),
    _Topic(
        "subscription_schedules",
        _types(
            "subscription_schedule",
            *("created", "updated", "canceled", "completed", "released", "aborted"),
        ),
    ),
    _Topic(
        "charges",
        _types(
            "charge",
            *("succeeded", "pending", "failed", "captured", "expired", "updated", "refunded"),
        ),
    ),
    _Topic("refunds", _types("refund", "created", "updated", "failed"), _named(charge="charges")),
    _Topic("refunds", ("charge.refund.updated",), _named(charge="charges")),
    _Topic(
        "disputes",
        _types(
            "charge.dispute",
            *("created", "updated", "closed", "funds_withdrawn", "funds_reinstated"),
        ),
        _named(charge="charges"),
    ),
    _Topic(
        "",
        _types("payment_method", "attached", "detached", "updated", "automatically_updated"),
        _payer,
    ),
)

_BY_TYPE: Mapping[str, _Topic] = MappingProxyType(
    {name: topic for topic in _TOPICS for name in topic.types}
)

# Objects that are read again at once when what they carry has changed.
CARRIERS = ("payment_method_carriers", "coupon_carriers", "price_carriers")


def type_pages() -> tuple[tuple[str, ...], ...]:
    """Every type that is followed, in as many parts as a list call can take."""
    names = sorted(_BY_TYPE)
    return tuple(
        tuple(names[start : start + _MOST_TYPES]) for start in range(0, len(names), _MOST_TYPES)
    )


def is_followed(event_type: str) -> bool:
    """Whether events of this type change anything that is read."""
    return event_type in _BY_TYPE


def marks_of(event: Json) -> Iterator[Mark]:
    """What an event says must be read again; nothing for a type that is not followed.

    Raises:
        ValueError: the event is of such a type and names no object.
    """
    event_type = str(event.get("type"))
    topic = _BY_TYPE.get(event_type)
    if topic is None or (event_type == "coupon.updated" and not _changes_terms(event)):
        return
    body, found = body_of(event), False
    for other, object_id in topic.ids(body):
        if object_id is None:
            continue
        found = True
        yield Mark(other or topic.object_name, object_id, None if other else _created(body))
    former = _former_customer(event)
    if event_type == "payment_method.detached" and former:
        yield Mark("customers", former)
    if not found:
        message = f"an event of type {event_type} names no object"
        raise ValueError(message)
    if event_type == "price.updated" and (price := id_of(body)):
        yield Mark("price_carriers", price)


def _changes_terms(event: Json) -> bool:
    data = event.get("data")
    before = data.get("previous_attributes") if isinstance(data, dict) else None
    return not isinstance(before, dict) or bool(before.keys() - _COUNTED)


def _former_customer(event: Json) -> str | None:
    data = event.get("data")
    before = data.get("previous_attributes") if isinstance(data, dict) else None
    return id_of(before.get("customer")) if isinstance(before, dict) else None


def _created(body: Json) -> int | None:
    created = body.get("created", body.get("date"))
    return created if type(created) is int else None
