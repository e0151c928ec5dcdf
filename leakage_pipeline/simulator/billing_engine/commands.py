"""What can happen to a subscription, each at its second, as Stripe's API names it.

A subscription's life is a list of these; `engine.bill` plays it.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from leakage_pipeline.simulator.billing_engine.prices import BilledPrice

Proration = Literal["create_prorations", "always_invoice", "none"]
BillingMode = Literal["classic", "flexible"]


@dataclass(frozen=True)
class Coupon:
    """A percent (`percent_off`) or an amount in minor units (`amount_off`)."""

    coupon_id: str
    created: int
    percent_off: Decimal | None = None
    amount_off: int | None = None
    currency: str | None = None
    duration: Literal["once", "repeating", "forever"] = "forever"
    months: int | None = None
    redeem_by: int | None = None
    name: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Discount:
    """A coupon at work on the subscription, or on one item of it when `item` names one."""

    discount_id: str
    coupon: Coupon
    item: str | None = None


@dataclass(frozen=True)
class NewItem:
    """An item: `name` tells it from the others of its subscription; metered has no quantity."""

    name: str
    price: BilledPrice
    quantity: int | None = None


@dataclass(frozen=True)
class Create:
    """The subscription begins. `anchor` later than the start makes a prorated first period.

    `itemizes_prorations` (flexible mode) shows a proration's discounts beside its gross amount.
    """

    at: int
    items: tuple[NewItem, ...]
    mode: BillingMode = "flexible"
    trial_end: int | None = None
    backdate_to: int | None = None
    anchor: int | None = None
    discounts: tuple[Discount, ...] = ()
    proration: Proration = "create_prorations"
    itemizes_prorations: bool = False


@dataclass(frozen=True)
class ChangeItem:
    """Another price or quantity of an item; None leaves it as it is."""

    at: int
    name: str
    price: BilledPrice | None = None
    quantity: int | None = None
    proration: Proration = "create_prorations"


@dataclass(frozen=True)
class AddItem:
    """One more item."""

    at: int
    item: NewItem
    proration: Proration = "create_prorations"


@dataclass(frozen=True)
class RemoveItem:
    """An item is deleted."""

    at: int
    name: str
    proration: Proration = "create_prorations"


@dataclass(frozen=True)
class ApplyDiscount:
    """A discount is added; by itself it prorates nothing."""

    at: int
    discount: Discount


@dataclass(frozen=True)
class RemoveDiscount:
    """A discount is taken away; by itself it prorates nothing."""

    at: int
    discount_id: str


@dataclass(frozen=True)
class ChangeTrialEnd:
    """A running trial ends at another second; `trial_end` = `at` ends it now."""

    at: int
    trial_end: int


@dataclass(frozen=True)
class ResetAnchor:
    """`billing_cycle_anchor=now`: the running period ends here and a full one begins."""

    at: int
    proration: Proration = "create_prorations"


@dataclass(frozen=True)
class PauseCollection:
    """Invoices are made and not collected; None as behaviour collects again."""

    at: int
    behavior: Literal["keep_as_draft", "mark_uncollectible", "void"] | None


@dataclass(frozen=True)
class Pause:
    """The subscription stops (flexible mode only).

    `bills_usage` bills what was used till now, `credits_from` says from when on a fee's time is
    given back, `invoices` makes the invoice at once: all as Stripe's parameters and defaults.
    """

    at: int
    bills_usage: bool = True
    credits_from: Literal["now", "item_current_period_start", "none"] = "now"
    invoices: bool = False


@dataclass(frozen=True)
class Resume:
    """A paused subscription goes on with a new period from here."""

    at: int


@dataclass(frozen=True)
class Cancel:
    """The end, at once. Stripe's defaults credit nothing and bill no outstanding usage."""

    at: int
    prorate: bool = False
    invoice_now: bool = False


@dataclass(frozen=True)
class CancelAtPeriodEnd:
    """The end comes with the running period; `False` takes the decision back."""

    at: int
    is_cancelling: bool = True


@dataclass(frozen=True)
class AddInvoiceItem:
    """An amount that waits for the subscription's next invoice, for a period of its own."""

    at: int
    item_id: str
    amount: int
    start: int
    end: int
    is_discountable: bool = True
    description: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()


Command = (
    Create
    | ChangeItem
    | AddItem
    | RemoveItem
    | ApplyDiscount
    | RemoveDiscount
    | ChangeTrialEnd
    | ResetAnchor
    | PauseCollection
    | Pause
    | Resume
    | Cancel
    | CancelAtPeriodEnd
    | AddInvoiceItem
)
