"""What billing leaves behind, before it is JSON: items with their debits, lines, invoices.

Amounts are minor units, instants whole seconds since 1970.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from leakage_pipeline.simulator.billing_engine.commands import (
    BillingMode,
    Command,
    Discount,
)
from leakage_pipeline.simulator.billing_engine.prices import BilledPrice
from leakage_pipeline.simulator.stripe_objects import JsonObject

LineKind = Literal["licence", "usage", "proration", "item"]
Span = tuple[int, int]


@dataclass
class Line:
    """One invoice line. `service` is the item's billing period that it belongs to.

    A line of kind item is an amount by itself: it has the price of no subscription item.
    """

    line_id: str
    kind: LineKind
    item_id: str
    price: BilledPrice
    quantity: Decimal
    unit: Decimal | None
    amount: int
    start: int
    end: int
    service: Span
    off: list[tuple[str, int]] = field(default_factory=list)
    invoice_item: str | None = None
    credited_line: str | None = None
    invoice_id: str | None = None
    description: str | None = None
    is_discountable: bool = True
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def is_pending_item(self) -> bool:
        """Whether it came from an invoice item rather than from the subscription's cycle."""
        return self.invoice_item is not None

    @property
    def net(self) -> int:
        """Amount after discounts."""
        return self.amount - sum(amount for _, amount in self.off)


@dataclass
class Debit:
    """Time of an item that was charged in advance, as it was charged; credits go back to it.

    `inside` are the discounts that a proration's amount already holds.
    """

    line: Line
    start: int
    end: int
    inside: tuple[str, ...] = ()

    @property
    def used(self) -> set[str]:
        """Ids of the discounts that were used for this charge."""
        return {key for key, _ in self.line.off} | set(self.inside)


@dataclass
class Item:
    """A subscription item and its running period; `full` is the whole grid period around it."""

    item_id: str
    name: str
    price: BilledPrice
    quantity: int | None
    created: int
    start: int
    end: int
    full: Span
    debits: list[Debit] = field(default_factory=list)
    is_trial: bool = False

    @property
    def units(self) -> Decimal:
        """The licensed quantity."""
        return Decimal(1 if self.quantity is None else self.quantity)


@dataclass
class Invoice:
    """One invoice. The customer's balance and the payment come in `settlement`."""

    invoice_id: str
    created: int
    reason: str
    lines: list[Line]
    window: Span
    finalizes_at: int
    discounts: list[str] = field(default_factory=list)
    collection: Literal["keep_as_draft", "mark_uncollectible", "void"] | None = None


@dataclass
class ActiveDiscount:
    """A discount of the subscription with the span in which it may apply."""

    discount: Discount
    start: int
    end: int | None
    item_id: str | None = None
    removed_at: int | None = None
    used_at: int | None = None

    def applies(self, at: int) -> bool:
        """Whether an invoice made at this second takes it off."""
        if self.used_at is not None or at < self.start:
            return False
        return not (
            (self.end is not None and at >= self.end)
            or (self.removed_at is not None and at >= self.removed_at)
        )


@dataclass(frozen=True)
class Plan:
    """One subscription's life as it is put into the engine; the first command creates it."""

    subscription_id: str
    commands: tuple[Command, ...]
    sends_invoices: bool = False
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Buyer:
    """The customer: `tax` is percent and behaviour (exclusive or inclusive)."""

    customer_id: str
    name: str
    currency: str
    created: int
    tax: tuple[Decimal, str] | None = None


@dataclass
class Subscription:
    """The state of a subscription while it is played."""

    plan: Plan
    buyer: Buyer
    mode: BillingMode = "flexible"
    itemizes_prorations: bool = False
    status: str = "active"
    created: int = 0
    start: int = 0
    anchor: int = 0
    trial_start: int | None = None
    trial_end: int | None = None
    cancel_at: int | None = None
    cancels_at_period_end: bool = False
    canceled_at: int | None = None
    ended_at: int | None = None
    paused_at: int | None = None
    pause_collection: Literal["keep_as_draft", "mark_uncollectible", "void"] | None = None
    items: list[Item] = field(default_factory=list)
    removed: list[Item] = field(default_factory=list)
    discounts: list[ActiveDiscount] = field(default_factory=list)
    pending: list[Line] = field(default_factory=list)
    invoices: list[Invoice] = field(default_factory=list)
    events: list[JsonObject] = field(default_factory=list)

    @property
    def currency(self) -> str:
        """What the customer pays in."""
        return self.buyer.currency

    def item(self, name: str) -> Item:
        """The item of this name."""
        return next(item for item in self.items if item.name == name)
