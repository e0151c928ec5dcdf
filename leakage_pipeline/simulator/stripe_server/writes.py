"""What a write key may make: invoice items that wait for the next invoice, until they are deleted.

Meter events are in `meters`. What is made here is put into the account too, so that whoever moves
the simulation on can bill it.
"""

import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from leakage_pipeline.simulator import stripe_objects as build
from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount
from leakage_pipeline.simulator.stripe_server.errors import bad_request, missing_param, no_such
from leakage_pipeline.simulator.stripe_server.params import (
    boolean,
    integer,
    refuse_unknown,
    required,
    text,
)
from leakage_pipeline.simulator.stripe_server.store import Store

_ITEM_PARAMS = {
    *("customer", "subscription", "currency", "amount", "description", "discountable"),
    *("tax_behavior", "period", "metadata", "expand"),
}
_ENDED = {"canceled", "incomplete_expired"}
_MAX_KEYS, _MAX_KEY, _MAX_VALUE = 50, 40, 500
_ITEM = re.compile(r"/v1/invoiceitems/([^/]+)")


class Writes:
    """Invoice items made over the API."""

    def __init__(self, account: StripeAccount, store: Store, clock: Callable[[], int]) -> None:
        self._account = account
        self._store = store
        self._clock = clock
        self._numbers = count(len(account.invoice_items) + 1)

    def create_invoice_item(self, params: Mapping[str, Any]) -> JsonObject:
        """`POST /v1/invoiceitems` with an amount; it waits for the subscription's next invoice."""
        refuse_unknown(params, _ITEM_PARAMS)
        customer = self._customer(required(params, "customer"))
        subscription = self._subscription(params, customer["id"])
        if "amount" not in params:
            raise missing_param(param="amount")
        amount = integer("amount", params["amount"])
        currency = required(params, "currency")
        expected = customer["currency"] if subscription is None else subscription["currency"]
        if expected is not None and currency != expected:
            message = (
                f"The currency of the item ({currency}) does not match {expected}, in which the "
                "customer is billed."
            )
            raise bad_request(message=message, param="currency")
        start, end = _period(params, self._clock())
        discountable = params.get("discountable")
        item = build.invoice_item(
            f"ii_written_{next(self._numbers):06d}",
            customer=customer["id"],
            amount=amount,
            currency=currency,
            date=self._clock(),
            period_start=start,
            period_end=end,
            subscription=None if subscription is None else subscription["id"],
            discountable=(
                amount >= 0 if discountable is None else boolean("discountable", discountable)
            ),
            description=params.get("description"),
            metadata=metadata_given(params.get("metadata", {})),
        )
        self._account.invoice_items.append(item)
        self._store.add("invoice_items", item)
        return item

    def delete_invoice_item(self, path: str) -> JsonObject | None:
        """`DELETE /v1/invoiceitems/{id}`, None for another address; billed ones stay."""
        match = _ITEM.fullmatch(path)
        if match is None:
            return None
        item = self._store.retrieve("invoiceitem", match[1])
        if item is None:
            raise no_such(noun="invoiceitem", object_id=match[1])
        if item["invoice"] is not None:
            message = "This invoice item is on an invoice that is no draft and cannot be deleted."
            raise bad_request(message=message)
        self._account.invoice_items[:] = [
            kept for kept in self._account.invoice_items if kept["id"] != item["id"]
        ]
        self._store.remove("invoice_items", item["id"])
        return {"id": item["id"], "object": "invoiceitem", "deleted": True}

    def _customer(self, customer_id: str) -> JsonObject:
        found = self._store.find("customer", customer_id)
        if found is None or found.get("deleted"):
            raise no_such(noun="customer", object_id=customer_id, param="customer", in_path=False)
        return found

    def _subscription(self, params: Mapping[str, Any], customer_id: str) -> JsonObject | None:
        if "subscription" not in params:
            return None
        subscription_id = text("subscription", params["subscription"])
        found = self._store.find("subscription", subscription_id)
        if found is None or found["customer"] != customer_id:
            raise no_such(
                noun="subscription", object_id=subscription_id, param="subscription", in_path=False
            )
        if found["status"] in _ENDED:
            message = "You cannot add an invoice item to a subscription that is canceled."
            raise bad_request(message=message, param="subscription")
        return found


def _period(params: Mapping[str, Any], now: int) -> tuple[int, int]:
    period = params.get("period")
    if period is None:
        return now, now
    if not isinstance(period, dict) or set(period) != {"start", "end"}:
        raise bad_request(message="Invalid period: start and end are required.", param="period")
    start, end = (integer(f"period[{name}]", period[name]) for name in ("start", "end"))
    if end < start:
        raise bad_request(message="period[end] must not be before its start.", param="period")
    return start, end


def metadata_given(given: Any) -> dict[str, str]:
    """Metadata as Stripe takes it: a limited number of short texts."""
    if not isinstance(given, dict) or len(given) > _MAX_KEYS:
        raise bad_request(message="Invalid metadata", param="metadata")
    for key, value in given.items():
        if len(key) > _MAX_KEY or not isinstance(value, str) or len(value) > _MAX_VALUE:
            raise bad_request(message=f"Invalid metadata: {key}", param="metadata")
    return {key: value for key, value in given.items() if value}
