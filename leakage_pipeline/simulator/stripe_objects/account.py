"""A whole Stripe account as lists of raw objects, and its one-file form on disk.

The account only holds objects; what a client may see of them is the server's matter.
"""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path

from leakage_pipeline.simulator.stripe_objects.shapes import JsonObject, Number, decimal_text


def meter_event(
    event_name: str, *, customer: str, value: Number, timestamp: int, identifier: str
) -> JsonObject:
    """A meter event that Stripe has accepted; `value` becomes decimal text."""
    return {
        "event_name": event_name,
        "customer": customer,
        "value": decimal_text(value),
        "timestamp": timestamp,
        "identifier": identifier,
    }


@dataclass
class StripeAccount:
    """Every object of an account, complete: all lines, all items, tiers, whole discount objects.

    `customers` may hold tombstones (`deleted_customer`). A coupon with a true `deleted` key is
    gone from the API but still shown inside discounts. `inline_prices` were made by `price_data`:
    never listed, retrievable by id. `balance_transactions` are those of customers' credit balances.
    `thin_events` are whole events of the newer kind, which a list shows without their `data`.
    Events that are older than 30 days when a server starts are forgotten by it, as Stripe does.
    """

    customers: list[JsonObject] = field(default_factory=list)
    products: list[JsonObject] = field(default_factory=list)
    prices: list[JsonObject] = field(default_factory=list)
    inline_prices: list[JsonObject] = field(default_factory=list)
    coupons: list[JsonObject] = field(default_factory=list)
    subscriptions: list[JsonObject] = field(default_factory=list)
    invoices: list[JsonObject] = field(default_factory=list)
    invoice_items: list[JsonObject] = field(default_factory=list)
    credit_notes: list[JsonObject] = field(default_factory=list)
    meters: list[JsonObject] = field(default_factory=list)
    meter_events: list[JsonObject] = field(default_factory=list)
    events: list[JsonObject] = field(default_factory=list)
    thin_events: list[JsonObject] = field(default_factory=list)
    webhook_endpoints: list[JsonObject] = field(default_factory=list)
    subscription_schedules: list[JsonObject] = field(default_factory=list)
    promotion_codes: list[JsonObject] = field(default_factory=list)
    payment_methods: list[JsonObject] = field(default_factory=list)
    charges: list[JsonObject] = field(default_factory=list)
    refunds: list[JsonObject] = field(default_factory=list)
    disputes: list[JsonObject] = field(default_factory=list)
    invoice_payments: list[JsonObject] = field(default_factory=list)
    balance_transactions: list[JsonObject] = field(default_factory=list)
    features: list[JsonObject] = field(default_factory=list)
    active_entitlements: list[JsonObject] = field(default_factory=list)

    def to_json(self, path: Path) -> None:
        """Write the account to one JSON file."""
        text = json.dumps({item.name: getattr(self, item.name) for item in fields(self)})
        path.write_text(text, encoding="utf-8")

    @classmethod
    def from_json(cls, path: Path) -> "StripeAccount":
        """Read an account that `to_json` wrote; a list that is absent is empty.

        Raises:
            ValueError: When the file has a key that is no list of an account.
        """
        content = json.loads(path.read_text(encoding="utf-8"))
        unknown = sorted(set(content) - {item.name for item in fields(cls)})
        if unknown:
            message = f"{path}: unknown lists {', '.join(unknown)}"
            raise ValueError(message)
        return cls(**content)
