"""A company of a few hand-written customers: Stripe objects, input files and usage, case by case.

For tests that state one situation and look at the findings. Every amount on an invoice is given by
the test itself; nothing here prices anything.
"""

import csv
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from leakage_pipeline.simulator import stripe_objects as so

Json = dict[str, Any]

CONTRACT_COLUMNS = [
    "contract_id",
    "customer_id",
    "plan",
    "base_price",
    "currency",
    "interval",
    "included_usage",
    "overage_rates",
    "grace_percent",
    "discount_percent",
    "discount_reason",
    "discount_threshold",
    "minimum_commitment",
    "grandfathered",
    "effective_date",
    "end_date",
]
PRICE_BOOK_COLUMNS = [
    "plan",
    "currency",
    "interval",
    "base_price",
    "included_usage",
    "overage_rates",
    "features",
    "seats_included",
    "effective_from",
]
ACCOUNT_COLUMNS = [
    "account_id",
    "customer_id",
    "plan",
    "status",
    "access_enabled",
    "seats",
    "features",
    "updated_at",
    "health_score",
    "churn_risk",
    "owner_email",
]
EXCEPTION_COLUMNS = [
    "exception_id",
    "customer_id",
    "leakage_type",
    "reason",
    "approved_by",
    "valid_from",
    "valid_until",
]
FX_COLUMNS = [
    "rate_date",
    "from_currency",
    "to_currency",
    "rate",
]
USAGE_COLUMNS = [
    "event_id",
    "customer_id",
    "meter",
    "value",
    "occurred_at",
    "source",
    "received_at",
]


def at(text: str) -> int:
    """Epoch seconds of an ISO 8601 instant, UTC when it names no offset."""
    instant = datetime.fromisoformat(text)
    return int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp())


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


@dataclass
class Item:
    """A subscription item as a test states it: its price, and what invoices carry for it."""

    price: Json
    quantity: int = 1


@dataclass
class SmallCompany:
    """Collects customers; `write` lays down the files that `leakage audit` is pointed at."""

    as_of: str
    account: so.StripeAccount = field(default_factory=so.StripeAccount)
    contracts: list[Json] = field(default_factory=list)
    price_book: list[Json] = field(default_factory=list)
    accounts: list[Json] = field(default_factory=list)
    exceptions: list[Json] = field(default_factory=list)
    fx_rates: list[Json] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)
    policy: Json = field(default_factory=dict)
    meters: dict[str, str] = field(default_factory=dict)
    created: int = at("2023-01-01")

    def product(self, name: str, **metadata: str) -> str:
        """A product; returns its id."""
        product_id = f"prod_{name}"
        self.account.products.append(
            so.product(product_id, name=name, created=self.created, metadata=metadata)
        )
        return product_id

    def price(self, name: str, plan: str | None = None, **terms: Any) -> Json:
        """A price on a product of its own; `plan` goes to its metadata. Asked again, the same."""
        known = [price for price in self.account.prices if price["id"] == f"price_{name}"]
        if known:
            assert known[0]["unit_amount"] == terms.get("unit_amount"), name
            return known[0]
        product = terms.pop("product", None) or self.product(name)
        built = so.price(
            f"price_{name}",
            product=product,
            currency=terms.pop("currency", "usd"),
            created=terms.pop("created", self.created),
            metadata={"plan": plan} if plan else None,
            **terms,
        )
        self.account.prices.append(built)
        return built

    def list_plan(self, plan: str, base_price: str, currency: str = "usd", **terms: Any) -> None:
        """A monthly row of the price book; a plan that is listed already must cost the same."""
        row = {
            "plan": plan,
            "currency": currency,
            "interval": "month",
            "base_price": base_price,
            "effective_from": "2023-01-01",
            **terms,
        }
        same = [
            old for old in self.price_book if (old["plan"], old["currency"]) == (plan, currency)
        ]
        assert all(old["base_price"] == base_price for old in same), plan
        if not same:
            self.price_book.append(row)

    def meter(self, event_name: str, formula: str = "sum") -> str:
        """A meter; returns its id."""
        meter_id = f"mtr_{event_name}"
        self.account.meters.append(
            so.meter(meter_id, event_name=event_name, created=self.created, formula=formula)
        )
        return meter_id

    def subscribe(
        self,
        customer: str,
        items: Sequence[Item],
        *,
        periods: Sequence[str],
        currency: str = "usd",
        **terms: Any,
    ) -> str:
        """A customer with one subscription whose item periods are bounded by `periods`.

        The last two bounds are the item's current period. Returns the subscription's id.
        """
        if customer not in {known["id"] for known in self.account.customers}:
            self.account.customers.append(
                so.customer(customer, created=at(periods[0]), name=customer, currency=currency)
            )
        subscription_id = terms.pop("subscription_id", f"sub_{customer}")
        start, current, end = at(periods[0]), at(periods[-2]), at(periods[-1])
        built = [
            so.subscription_item(
                self.item_id(subscription_id, item.price),
                subscription=subscription_id,
                price=item.price,
                created=start,
                current_period_start=current,
                current_period_end=end,
                quantity=item.quantity,
            )
            for item in items
        ]
        self.account.subscriptions.append(
            so.subscription(
                subscription_id,
                customer=customer,
                currency=currency,
                created=start,
                billing_cycle_anchor=terms.pop("billing_cycle_anchor", start),
                start_date=start,
                items=built,
                **terms,
            )
        )
        return subscription_id

    @staticmethod
    def item_id(subscription_id: str, price: Mapping[str, Any]) -> str:
        """The id that `subscribe` gives the item of this price."""
        return f"si_{subscription_id}_{price['id']}"

    def line(
        self, subscription_id: str, price: Json, amount: int, period: tuple[str, str], **terms: Any
    ) -> Json:
        """A line of the item of this price, for `invoice`."""
        return so.line(
            terms.pop("line_id", f"il_{subscription_id}_{price['id']}_{at(period[0])}_{amount}"),
            invoice="",
            amount=amount,
            currency=price["currency"],
            period_start=at(period[0]),
            period_end=at(period[1]),
            price=price,
            subscription=subscription_id,
            subscription_item=self.item_id(subscription_id, price),
            **terms,
        )

    def invoice(self, customer: str, created: str, lines: Sequence[Json], **terms: Any) -> str:
        """An invoice of the customer's subscription, finalised an hour after its creation."""
        subscription = terms.pop("subscription", f"sub_{customer}")
        invoice_id = f"in_{subscription}_{at(created)}"
        for line in lines:
            line["invoice"] = invoice_id
        status = terms.pop("status", "paid")
        finalized = None if status in {"draft"} else at(created) + 3600
        self.account.invoices.append(
            so.invoice(
                invoice_id,
                customer=customer,
                currency=lines[0]["currency"],
                created=at(created),
                lines=lines,
                subscription=subscription,
                status=status,
                finalized_at=finalized,
                **terms,
            )
        )
        return invoice_id

    def licence_invoices(
        self, customer: str, price: Json, amount: int, periods: Sequence[str], quantity: int = 1
    ) -> None:
        """One paid invoice per period with the licence line alone."""
        subscription_id = f"sub_{customer}"
        for period in itertools.pairwise(periods):
            line = self.line(subscription_id, price, amount, period, quantity=quantity)
            self.invoice(customer, period[0], [line])

    def use(
        self,
        customer: str,
        meter: str,
        value: str | int,
        occurred_at: str,
        *,
        source: str = "gateway",
        event_id: str | None = None,
    ) -> None:
        """A usage event in the log."""
        self.events.append(
            {
                "event_id": event_id or f"ev_{len(self.events)}",
                "customer_id": customer,
                "meter": meter,
                "value": value,
                "occurred_at": occurred_at,
                "source": source,
            }
        )

    def meter_event(self, customer: str, event_name: str, value: str | int, timestamp: str) -> None:
        """An event that reached Stripe's meter."""
        self.account.meter_events.append(
            so.meter_event(
                event_name,
                customer=customer,
                value=str(value),
                timestamp=at(timestamp),
                identifier=f"me_{len(self.account.meter_events)}",
            )
        )

    def write(self, directory: Path) -> Path:
        """Write leakage.yaml and the files that it names; returns the configuration's path."""
        tables = {
            "contracts": (CONTRACT_COLUMNS, self.contracts),
            "price_book": (PRICE_BOOK_COLUMNS, self.price_book),
            "accounts": (ACCOUNT_COLUMNS, self.accounts),
            "exceptions": (EXCEPTION_COLUMNS, self.exceptions),
            "fx_rates": (FX_COLUMNS, self.fx_rates),
            "usage": (USAGE_COLUMNS, self.events),
        }
        for name, (columns, rows) in tables.items():
            with (directory / f"{name}.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(columns)
                writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
        sources: Json = {name: f"{name}.csv" for name in tables if name != "usage"}
        sources["usage"] = [{"name": "log", "kind": "files", "uri": "usage.csv"}]
        config = {
            "company": "Small Company",
            "reporting_currency": "usd",
            "sources": sources,
            "meters": {ours: {"stripe_event_name": name} for ours, name in self.meters.items()},
            "policy": self.policy,
        }
        path = directory / "leakage.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML
        return path
