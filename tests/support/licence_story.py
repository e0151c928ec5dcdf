"""A subscription whose licences change inside a period: items, invoices, events as Stripe has them.

A story says what held at the start and what changed when; `tell` puts it into a small company.
Which halves of the changes stand on an invoice is the story's choice: honest, or a leak.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from leakage_pipeline.simulator import stripe_objects as so
from leakage_pipeline.simulator.pricing import proration
from tests.support.small_company import Json, SmallCompany, at


@dataclass(frozen=True)
class Licence:
    """What an item is: a price and a quantity. 0 units: there is no such item."""

    price: Json
    quantity: int = 1

    @property
    def amount(self) -> int:
        """The fee of a whole period, in minor units."""
        return int(self.price["unit_amount"]) * self.quantity


@dataclass(frozen=True)
class Change:
    """From `at` on, item `item` is `to`; `billed` says which halves stand on the next invoice."""

    at: str
    to: Licence
    item: str = "a"
    billed: Sequence[str] = ("credit", "debit")
    line_at: str | None = None  # another instant on the lines: Stripe lets one choose it
    names_item: bool = True  # a line may name the subscription alone


@dataclass
class Story:
    """One subscription over `periods`; the last two bounds are the current period."""

    customer: str
    periods: Sequence[str]
    start: dict[str, Licence]
    changes: Sequence[Change] = ()
    has_events: bool = True
    terms: dict[str, Any] = field(default_factory=dict)
    line_ends: dict[int, str] = field(
        default_factory=dict
    )  # where a fee line ends later than its period
    free_periods: Sequence[int] = ()  # a trial: the fee line is 0
    credits_rest: Sequence[int] = ()  # periods cut short whose rest is credited on the next invoice
    voided: Sequence[int] = ()
    skipped: Sequence[int] = ()  # bounds at which only what is left is billed: the time off
    ends_at: int | None = None  # index of the bound at which the subscription ended
    fees: dict[int, int] = field(default_factory=dict)  # other amounts than the price gives
    tells: Sequence[tuple[str, dict[str, Any]]] = ()  # instants at which the subscription changed
    unbilled_periods: Sequence[int] = ()
    skewed_by: int = 0  # seconds that an event comes after its change

    @property
    def subscription(self) -> str:
        """The subscription's id."""
        return f"sub_{self.customer}"

    def item_id(self, item: str) -> str:
        """The id of an item of the story."""
        return f"si_{self.customer}_{item}"

    def state(self, instant: int) -> dict[str, Licence]:
        """The items that there are right at an instant."""
        held = dict(self.start)
        for change in sorted(self.changes, key=lambda entry: at(entry.at)):
            if at(change.at) <= instant:
                held[change.item] = change.to
        return {item: licence for item, licence in held.items() if licence.quantity}

    def _created(self, item: str) -> int:
        if item in self.start:
            return at(self.periods[0])
        return min(at(change.at) for change in self.changes if change.item == item)

    def _items(self, instant: int) -> list[Json]:
        bounds = (at(self.periods[-2]), at(self.periods[-1]))
        if self.ends_at is not None:
            bounds = (at(self.periods[self.ends_at - 1]), at(self._stated_end(self.ends_at - 1)))
        return [
            so.subscription_item(
                self.item_id(item),
                subscription=self.subscription,
                price=licence.price,
                created=self._created(item),
                current_period_start=max(bounds[0], self._created(item)),
                current_period_end=bounds[1],
                quantity=licence.quantity,
            )
            for item, licence in self.state(instant).items()
        ]

    def tell(self, company: SmallCompany) -> "Story":
        """Put customer, subscription, invoices and events into the company."""
        start, end = at(self.periods[0]), at(self.periods[-1])
        company.account.customers.append(
            so.customer(self.customer, created=start, name=self.customer, currency="usd")
        )
        present = so.subscription(
            self.subscription,
            customer=self.customer,
            currency="usd",
            created=start,
            start_date=start,
            items=self._items(end),
            **{"billing_cycle_anchor": start, **self.terms},
        )
        company.account.subscriptions.append(present)
        if self.has_events:
            self._tell_events(company, present)
        for index, bound in enumerate(self.periods[:-1]):
            if self.ends_at is not None and index > self.ends_at:
                break
            off = index in self.skipped or index == self.ends_at
            lines = [
                *(self._prorations(index - 1) if index else []),
                *(self._rest(index - 1) if index - 1 in self.credits_rest else []),
                *([] if off else self._fees(index)),
            ]
            if lines and index not in self.unbilled_periods:
                status = "void" if index in self.voided else "paid"
                company.invoice(self.customer, bound, lines, status=status)
        return self

    def _stated_end(self, index: int) -> str:
        return self.line_ends.get(index, self.periods[index + 1])

    def _rest(self, index: int) -> list[Json]:
        cut, end = self.periods[index + 1], self._stated_end(index)
        held = self.state(at(cut) - 1)
        gone = [Change(cut, Licence(licence.price, 0), item) for item, licence in held.items()]
        return [self._proration(one, "credit", at(self.periods[index]), at(end)) for one in gone]

    def _fees(self, index: int) -> list[Json]:
        start, end = self.periods[index], self._stated_end(index)
        return [
            so.line(
                f"il_{self.customer}_{item}_{at(start)}",
                invoice="",
                amount=0 if index in self.free_periods else self.fees.get(index, licence.amount),
                currency="usd",
                period_start=at(start),
                period_end=at(end),
                price=licence.price,
                quantity=licence.quantity,
                subscription=self.subscription,
                subscription_item=self.item_id(item),
            )
            for item, licence in self.state(at(start)).items()
        ]

    def _prorations(self, index: int) -> list[Json]:
        start, end = at(self.periods[index]), at(self._stated_end(index))
        return [
            self._proration(change, side, start, end)
            for change in self.changes
            for side in change.billed
            if start < at(change.at) < end and self._side(change, side) is not None
        ]

    def _side(self, change: Change, side: str) -> Licence | None:
        if side == "debit":
            return change.to if change.to.quantity else None
        return self.state(at(change.at) - 1).get(change.item)

    def _proration(self, change: Change, side: str, start: int, end: int) -> Json:
        licence = self._side(change, side)
        assert licence is not None
        instant = at(change.line_at or change.at)
        sign = 1 if side == "debit" else -1
        line_id = f"il_{self.customer}_{change.item}_{at(change.at)}_{side}"
        unit = sign * int(licence.price["unit_amount"])
        line = so.proration_line(
            line_id,
            invoice="",
            amount=proration(unit, licence.quantity, end - instant, end - start),
            currency="usd",
            period_start=instant,
            period_end=end,
            price=licence.price,
            quantity=licence.quantity,
            subscription=self.subscription,
            subscription_item=self.item_id(change.item),
            invoice_item=f"ii_{line_id}",
        )
        if not change.names_item:
            details = line["parent"]["subscription_item_details"]
            del details["subscription_item"]
            line["parent"] = {
                "invoice_item_details": details,
                "subscription_item_details": None,
                "type": "invoice_item_details",
            }
        return line

    def _tell_events(self, company: SmallCompany, present: Json) -> None:
        for instant in sorted({at(change.at) for change in self.changes}):
            after, before = self._items(instant), self._items(instant - 1)
            company.account.events.append(
                so.event(
                    f"evt_{self.customer}_{instant}",
                    type="customer.subscription.updated",
                    created=instant + self.skewed_by,
                    data_object={**present, "items": {**present["items"], "data": after}},
                    previous_attributes={"items": {**present["items"], "data": before}},
                )
            )

        self._tell_states(company, present)

    def _tell_states(self, company: SmallCompany, present: Json) -> None:
        before: Json = dict.fromkeys(key for _, values in self.tells for key in values)
        before = {key: present[key] for key in before}
        for instant, values in self.tells:
            company.account.events.append(
                so.event(
                    f"evt_{self.customer}_{at(instant)}_state",
                    type="customer.subscription.updated",
                    created=at(instant),
                    data_object={**present, **values},
                    previous_attributes={key: before[key] for key in values},
                )
            )
            before |= values

    def without_events(self, customer: str) -> "Story":
        """The same story under another customer, of which Stripe forgot the events."""
        return replace(self, customer=customer, has_events=False)
