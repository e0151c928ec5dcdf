"""A night in the life of a Stripe account: a random part of it changes, in every way it can."""

import copy
import random
from collections.abc import Callable

from leakage_pipeline.simulator import stripe_objects as so
from leakage_pipeline.simulator.stripe_changes import events_between
from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount

HOUR = 3600
_TOUCHED = (
    *("customers", "products", "prices", "inline_prices", "coupons", "subscriptions", "invoices"),
    *("credit_notes", "charges", "promotion_codes"),
)


def next_night(account: StripeAccount, now: int, seed: int, share: float = 0.1) -> StripeAccount:
    """The account a day later, with the events of what has changed.

    Args:
        account: Left as it is.
        now: The second night, in seconds; everything happened an hour before.
        seed: Of chance.
        share: About this part of every kind of object changes.
    """
    after = copy.deepcopy(account)
    night = _Night(after, now - HOUR, random.Random(seed), share)  # noqa: S311 - reproducible
    for change in _CHANGES:
        change(night)
    after.events += events_between(account, after, now - HOUR, f"evt_{seed}_{now}")
    return after


class _Night:
    def __init__(
        self, account: StripeAccount, at: int, chance: random.Random, share: float
    ) -> None:
        self.account, self.at, self.chance, self.share = account, at, chance, share
        self._number = 0

    def some(self, shelf: str, most: int | None = None) -> list[JsonObject]:
        """Some of the objects of a shelf, at least one if there is any."""
        items = [item for item in getattr(self.account, shelf) if not item.get("deleted")]
        size = max(1, round(len(items) * self.share))
        return self.chance.sample(items, min(size if most is None else most, len(items)))

    def name(self, kind: str) -> str:
        self._number += 1
        return f"{kind}_night_{self.at}_{self._number}"

    def drop(self, shelf: str, item: JsonObject) -> None:
        getattr(self.account, shelf).remove(item)


def _metadata(night: _Night) -> None:
    for shelf in _TOUCHED:
        for item in night.some(shelf):
            item["metadata"] = {**(item.get("metadata") or {}), "touched": str(night.at)}


def _subscriptions(night: _Night) -> None:
    for item in night.some("subscriptions"):
        elements = item["items"]["data"]
        if len(elements) > 1:
            elements.pop()
    for item in night.some("subscriptions", 2):
        item.update(status="canceled", canceled_at=night.at, ended_at=night.at)
    for item in night.some("subscriptions", 2):
        twin = copy.deepcopy(item) | {"id": night.name("sub"), "created": night.at}
        for element in twin["items"]["data"]:
            element.update(id=night.name("si"), subscription=twin["id"])
        night.account.subscriptions.append(twin)


def _invoices(night: _Night) -> None:
    for item in night.some("invoices"):
        twin = _renamed_invoice(night, item)
        twin["created"] = night.at - night.chance.randrange(HOUR)
        night.account.invoices.append(twin)
    for item in night.some("invoices", 3):
        item["status"] = "void"
        item["status_transitions"] = {**item["status_transitions"], "voided_at": night.at}
    drafts = [item for item in night.account.invoices if item["status"] == "draft"]
    for place, item in enumerate(drafts):
        if place % 2:
            night.drop("invoices", item)
        else:
            item["lines"]["data"].append(
                copy.deepcopy(item["lines"]["data"][0]) | {"id": night.name("il")}
            )


def _renamed_invoice(night: _Night, item: JsonObject) -> JsonObject:
    twin = copy.deepcopy(item) | {"id": night.name("in")}
    for line in twin["lines"]["data"]:
        line.update(id=night.name("il"), invoice=twin["id"])
    return twin


def _invoice_items(night: _Night) -> None:
    invoice = night.account.invoices[0]
    for place, item in enumerate(night.some("invoice_items")):
        if place % 3 == 0:
            night.drop("invoice_items", item)
        elif item["invoice"] is None:
            item["invoice"] = invoice["id"]
    night.account.invoice_items.append(
        so.invoice_item(
            night.name("ii"),
            customer=invoice["customer"],
            amount=700,
            currency="usd",
            date=night.at,
            invoice=None,
        )
    )


def _customers(night: _Night) -> None:
    for item in night.some("customers"):
        item.update(delinquent=not item["delinquent"], balance=item["balance"] - 100)
        night.account.balance_transactions.append(
            so.balance_transaction(
                night.name("cbtxn"),
                customer=item["id"],
                amount=-100,
                ending_balance=item["balance"],
                currency="usd",
                created=night.at,
            )
        )
    for item in night.some("customers", 2):  # these have subscriptions and invoices
        place = night.account.customers.index(item)
        night.account.customers[place] = so.deleted_customer(item["id"])
    night.account.customers += [
        so.customer(night.name("cus"), created=night.at),
        so.deleted_customer(night.name("cus")),
    ]


def _catalogue(night: _Night) -> None:
    price = copy.deepcopy(night.account.prices[0])
    night.account.prices.append(price | {"id": night.name("price"), "created": night.at})
    inline = price | {"id": night.name("price"), "created": night.at}
    night.account.inline_prices += [inline, price | {"id": night.name("price")}]
    item = night.chance.choice(night.account.subscriptions)["items"]["data"][0]
    item["price"] = inline
    product = so.product(night.name("prod"), name="New", created=night.at)
    night.account.products.append(product)


def _coupons(night: _Night) -> None:
    for item in night.account.coupons:
        item["times_redeemed"] = item.get("times_redeemed", 0) + 1  # nobody is told
    for item in night.some("coupons", 1):
        item["name"] = "Renamed"
    for item in night.some("coupons", 1):
        item["deleted"] = True  # stays inside its discounts
    night.account.coupons.append(so.coupon(night.name("co"), created=night.at, percent_off="10"))
    for item in night.some("promotion_codes"):
        item["times_redeemed"] = item.get("times_redeemed", 0) + 1


def _money(night: _Night) -> None:
    for item in night.some("charges"):
        twin = copy.deepcopy(item) | {"id": night.name("ch"), "created": night.at}
        night.account.charges.append(twin)
    for item in night.some("charges"):
        item["amount_refunded"] = 1
        night.account.refunds.append(
            so.refund(night.name("re"), charge=item, amount=1, created=night.at)
        )
    open_ones = [item for item in night.account.invoice_payments if item["status"] == "open"]
    for place, item in enumerate(open_ones):
        item["status"] = ("paid", "canceled", "open")[place % 3]
    for item in night.some("invoice_payments", 2):
        twin = copy.deepcopy(item) | {"id": night.name("inpay"), "status": "open"}
        night.account.invoice_payments.append(twin | {"created": night.at})
    for item in night.some("credit_notes", 1):
        item.update(status="void", voided_at=night.at)
    for item in night.some("credit_notes", 1):
        twin = copy.deepcopy(item) | {"id": night.name("cn"), "created": night.at}
        for line in twin["lines"]["data"]:
            line["id"] = night.name("cnli")
        night.account.credit_notes.append(twin)
    for item in night.some("disputes", 1):
        item["status"] = "lost"


def _methods(night: _Night) -> None:
    for item in night.some("payment_methods"):
        if item.get("card"):
            item["card"]["exp_year"] += 1


def _rest(night: _Night) -> None:
    for item in night.some("subscription_schedules", 1):
        item.update(status="canceled", canceled_at=night.at)
    for item in night.some("meters", 1):
        item["status"] = "inactive"


_CHANGES: tuple[Callable[[_Night], None], ...] = (
    *(_metadata, _subscriptions, _invoices, _invoice_items, _customers, _catalogue, _coupons),
    *(_money, _methods, _rest),
)
