"""Small functions that take one value out of a JSON object: the parts of the maps in `flatten*.py`.

They tolerate what is absent and raise on what has the wrong shape.
"""

from collections.abc import Callable, Iterable
from typing import Any

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.stripe_billing.values import Json, at, reference

Getter = Callable[[Json], Any]


def path(*keys: str) -> Getter:
    """A getter that walks down keys; anything absent on the way gives None."""
    if len(keys) == 1:
        key = keys[0]
        return lambda item: item.get(key)
    return lambda item: at(item, *keys)


def ref(*keys: str) -> Getter:
    """A getter for a reference that may be an id or an expanded object."""
    return lambda item: reference(at(item, *keys))


def first(*getters: Getter) -> Getter:
    """A getter that takes the first of several that is not null."""

    def get(item: Json) -> object:
        for getter in getters:
            value = getter(item)
            if value is not None:
                return value
        return None

    return get


def declared(cls: type, *legacy: str) -> frozenset[str]:
    """The keys that the SDK declares for an object, and old ones that Stripe still sends."""
    return frozenset([*cls.__annotations__, *legacy])


def elements(owner: Json, name: str) -> list[Json]:
    """The elements of an embedded list; a missing list has none.

    Raises:
        PermanentFailure: it is no list of objects.
    """
    found = owner.get(name)
    data = found.get("data") if isinstance(found, dict) else found
    if data is None:
        return []
    if not isinstance(data, list) or not all(isinstance(element, dict) for element in data):
        message = f"Stripe {owner.get('object')} {owner.get('id')}: {name} is no list of objects"
        raise PermanentFailure(message)
    return data


def without_counters(owners: Iterable[Json]) -> None:
    """Drop from the coupons inside objects' discounts how often they were used.

    No event tells of it, so a stored object could not be kept right; the coupon's own row has it.
    """
    for owner in owners:
        for discount in (owner.get("discount"), *(owner.get("discounts") or ())):
            if not isinstance(discount, dict):
                continue
            source = discount.get("source")
            inside = source.get("coupon") if isinstance(source, dict) else None
            for coupon in (inside, discount.get("coupon")):
                if isinstance(coupon, dict):
                    coupon.pop("times_redeemed", None)
                    coupon.pop("valid", None)
