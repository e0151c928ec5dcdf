"""How simulated customers pay: what became of their invoices, cards, refunds and disputes.

A plain description, like `customers`; `company_payments` writes it as Stripe objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

PauseBehavior = Literal["keep_as_draft", "mark_uncollectible"]


@dataclass(frozen=True)
class Fate:
    """What became of a renewal's invoice instead of being paid."""

    status: Literal["open", "draft", "uncollectible"]
    attempt_count: int = 0
    next_payment_attempt: datetime | None = None
    auto_advance: bool = False


@dataclass(frozen=True)
class Refund:
    """Money given back of a renewal's charge, so long after it was paid; `share` of the charge."""

    period: int
    seconds_after: int
    share: Decimal = Decimal("0.5")
    status: str = "succeeded"


@dataclass(frozen=True)
class Dispute:
    """A dispute of a renewal's charge, so long after it was paid."""

    period: int
    seconds_after: int
    status: str = "needs_response"
    reason: str = "fraudulent"


@dataclass(frozen=True)
class WaitingItem:
    """An invoice item that stands on no invoice; `amount` in minor units."""

    date: datetime
    amount: int


@dataclass(frozen=True)
class LostEvent:
    """An event about a renewal's invoice, or its subscription, that an endpoint has not taken."""

    period: int
    at: datetime
    type: str = "invoice.paid"


@dataclass
class PaymentLife:
    """Everything about one customer's payments; the default is a card that always works."""

    subscription_status: str | None = None
    pause: PauseBehavior | None = None
    fates: dict[int, Fate] = field(default_factory=dict)
    card_ends: tuple[int, int] | None = None
    pays_by_debit: bool = False
    refunds: Sequence[Refund] = ()
    disputes: Sequence[Dispute] = ()
    waiting: Sequence[WaitingItem] = ()
    lost_events: Sequence[LostEvent] = ()
