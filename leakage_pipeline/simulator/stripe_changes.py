"""What Stripe tells about the difference between two states of an account: its events.

Some changes it tells of to nobody, and so does this: an invoice takes up a waiting item, a draft
grows, a payment is given up, a coupon or a code is used.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from types import MappingProxyType
from typing import Any

from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount, event

_Name = Callable[[JsonObject | None, JsonObject | None], str | None]


def _written(prefix: str) -> _Name:
    def name(before: JsonObject | None, after: JsonObject | None) -> str | None:
        if before is None:
            return f"{prefix}.created"
        gone = after is None or (after.get("deleted") and not before.get("deleted"))
        return f"{prefix}.deleted" if gone else f"{prefix}.updated"

    return name


def _silently(prefix: str, *keys: str) -> _Name:
    """As `_written`, but that a change of these keys alone is not told."""

    def name(before: JsonObject | None, after: JsonObject | None) -> str | None:
        if before is not None and after is not None and set(changed(before, after)) <= set(keys):
            return None
        return _written(prefix)(before, after)

    return name


def _invoice(before: JsonObject | None, after: JsonObject | None) -> str | None:
    if before is None or after is None:
        return _written("invoice")(before, after)
    states = {"open": "finalized", "paid": "paid", "void": "voided"}
    if before["status"] != after["status"]:
        return f"invoice.{states.get(after['status'], after['status'])}"
    return None if after["status"] == "draft" else "invoice.updated"


def _invoice_item(before: JsonObject | None, after: JsonObject | None) -> str | None:
    if before is None:
        return "invoiceitem.created"
    return "invoiceitem.deleted" if after is None else None


def _invoice_payment(before: JsonObject | None, after: JsonObject | None) -> str | None:
    if after is None or after["status"] != "paid":
        return None
    return "invoice_payment.paid" if before is None or before["status"] != "paid" else None


def _credit_note(before: JsonObject | None, after: JsonObject | None) -> str | None:
    if before is None or after is None:
        return "credit_note.created"
    is_voided = after["status"] == "void" and before["status"] != "void"
    return "credit_note.voided" if is_voided else "credit_note.updated"


def _payment_method(before: JsonObject | None, after: JsonObject | None) -> str | None:
    if before is None:
        return "payment_method.attached"
    return "payment_method.detached" if after is None else "payment_method.updated"


def _charge(before: JsonObject | None, after: JsonObject | None) -> str | None:
    if before is None:
        return "charge.failed" if after and after["status"] == "failed" else "charge.succeeded"
    return "charge.updated" if after is not None else None


_EVENTS: Mapping[str, _Name] = MappingProxyType(
    {
        "customers": _written("customer"),
        "products": _written("product"),
        "prices": _written("price"),
        "inline_prices": _written("price"),
        "coupons": _silently("coupon", "times_redeemed", "valid"),
        "promotion_codes": _silently("promotion_code", "times_redeemed"),
        "subscriptions": _written("customer.subscription"),
        "subscription_schedules": _written("subscription_schedule"),
        "invoices": _invoice,
        "invoice_items": _invoice_item,
        "invoice_payments": _invoice_payment,
        "credit_notes": _credit_note,
        "payment_methods": _payment_method,
        "charges": _charge,
        "refunds": _written("refund"),
        "disputes": _written("charge.dispute"),
    }
)


def changed(before: JsonObject, after: JsonObject) -> dict[str, Any]:
    """The old values of the keys that differ."""
    return {key: before.get(key) for key in {*before, *after} if before.get(key) != after.get(key)}


def events_between(
    before: StripeAccount, after: StripeAccount, at: int, prefix: str = "evt_change"
) -> list[JsonObject]:
    """The events that Stripe would have sent for what is different, all at one instant.

    Args:
        before: The account as it was.
        after: The account as it is; its own events are left alone.
        at: When everything happened, in seconds.
        prefix: Begins every event id; must differ from night to night.
    """
    numbers = count(1)
    return [
        event(
            f"{prefix}_{next(numbers)}",
            type=name,
            created=at,
            data_object=body,
            previous_attributes=old,
        )
        for name, body, old in _told(before, after)
    ]


def _told(
    before: StripeAccount, after: StripeAccount
) -> Iterator[tuple[str, JsonObject, dict[str, Any] | None]]:
    for shelf, name_of in _EVENTS.items():
        old = {item["id"]: item for item in getattr(before, shelf)}
        new = {item["id"]: item for item in getattr(after, shelf)}
        for object_id in sorted({*old, *new}):
            was, now = old.get(object_id), new.get(object_id)
            if was == now:
                continue
            name = name_of(was, now)
            if (
                name == "coupon.deleted"
                and was
                and now
                and (old_values := _before_deletion(was, now))
            ):
                yield "coupon.updated", now, old_values
            if name is not None:
                shown = now if now is not None else was or {}
                yield name, shown, changed(was, now) if was and now else None


def _before_deletion(was: JsonObject, now: JsonObject) -> dict[str, Any]:
    """What was changed of an object that was deleted later the same day."""
    counters = {"deleted", "times_redeemed", "valid"}
    return {key: value for key, value in changed(was, now).items() if key not in counters}
