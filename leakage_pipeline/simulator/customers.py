"""Who the simulated customers are: plain descriptions of a life, before anything is billed.

A `Customer` says what was sold, agreed and done, and what went wrong; usage, invoices and labels
are derived from it elsewhere.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Literal

from leakage_pipeline.simulator.catalog import FEATURES, Catalog, StripePrice, UsageTerm
from leakage_pipeline.simulator.invoicing_periods import Period, add_months, billing_periods
from leakage_pipeline.simulator.payment_life import PaymentLife

HISTORY_MONTHS = 13
QUIET_DAYS = 4  # labelled customers have no period bound this short before as_of (invoice grace)
LAST_DAYS = (29, 30, 31)
NAMES = (
    *("Amber", "Birch", "Cobalt", "Delta", "Ember", "Fjord", "Granite", "Harbor", "Indigo"),
    *("Juniper", "Kestrel", "Lumen", "Meridian", "Nimbus", "Orchid", "Pioneer", "Quartz"),
)
TRADES = ("Analytics", "Media", "Robotics", "Logistics", "Studios", "Health", "Foods", "Travel")


@dataclass(frozen=True)
class LicenceStep:
    """From `at` on the licence item has this price and quantity.

    `invoicing` says how a change inside a period was prorated; a renewal changes at its start, and
    `never` is the fault of a change that no invoice bills.
    """

    at: datetime
    price: StripePrice
    quantity: int = 1
    invoicing: Literal["renewal", "next_invoice", "at_once", "never"] = "renewal"


@dataclass(frozen=True)
class Coupon:
    """A coupon; either a percentage or an amount in minor units of `currency`."""

    coupon_id: str
    name: str
    created: datetime
    percent: Decimal | None = None
    amount_off: int | None = None
    currency: str | None = None
    duration: Literal["once", "repeating", "forever"] = "forever"
    months: int | None = None
    redeem_by: datetime | None = None


@dataclass(frozen=True)
class Grant:
    """A coupon given to the subscription; `outlives_end` is the fault of a discount kept on."""

    discount_id: str
    coupon: Coupon
    start: datetime
    end: datetime | None = None
    outlives_end: bool = False

    def covers(self, instant: datetime) -> bool:
        """Whether an invoice made at `instant` is discounted."""
        if self.coupon.duration == "once":
            return instant == self.start
        return self.start <= instant and (
            self.end is None or self.outlives_end or instant < self.end
        )


@dataclass(frozen=True)
class Contract:
    """Agreed terms in the words of the contracts file; None and empty are silence."""

    contract_id: str
    plan: str
    currency: str
    effective_date: date
    end_date: date | None = None
    interval: str = "month"
    base_price: Decimal | None = None
    terms: tuple[UsageTerm, ...] = ()
    grace_percent: Decimal | None = None
    discount_percent: Decimal | None = None
    discount_reason: str = ""
    threshold: tuple[str, int] | None = None
    minimum_commitment: Decimal | None = None
    grandfathered: bool = False
    included: tuple[tuple[str, int], ...] = ()
    """Quantities included without a rate for what is above them."""


@dataclass
class Account:
    """What the product itself believes about the customer."""

    account_id: str
    plan: str
    seats: int
    updated_at: datetime
    features: tuple[str, ...]
    status: str = "active"
    access_enabled: bool = True
    health_score: Decimal = Decimal("0.9")
    churn_risk: Decimal = Decimal("0.1")


@dataclass(frozen=True)
class Cancellation:
    """How a subscription ended; `credits_rest` gives the unused licence time back."""

    ended_at: datetime
    decided_at: datetime
    at_period_end: bool
    credits_rest: bool = False


@dataclass(frozen=True)
class UsageFault:
    """Usage that Stripe's meter did not see, or saw twice, from `since` until `until`.

    `source` None means every source of the meter; `share` is the part of the events touched. Late
    usage reached the log only after the invoice; `logged_late` too, though Stripe was told in time.
    What is `carried_over` missed its invoice and was reported with the next period's usage.
    """

    kind: Literal["lost", "doubled", "late", "late_and_lost", "logged_late", "carried_over"]
    meter: str
    since: datetime
    until: datetime | None = None
    source: str | None = None
    share: float = 1.0


@dataclass(frozen=True)
class Leak:
    """The fault planted on a customer: a finding type, and which way of it."""

    leakage_type: str
    variant: str
    meter: str | None = None
    besides: tuple[str, ...] = ()
    """Further finding types that the same fault shows as."""
    is_on_draft: bool = False
    """Whether all that it costs stands on a draft, which can still be mended."""


@dataclass(frozen=True)
class Credit:
    """A credit note over a share of a renewal's licence line, so long after its invoice."""

    period: int
    share: Decimal
    after: timedelta = timedelta(days=5)


@dataclass(frozen=True)
class Approval:
    """What somebody approved: a finding type that is none for this customer, and why."""

    leakage_type: str
    variant: str
    reason: str


@dataclass
class HandEdits:
    """What people did to a customer's invoices by hand, by the renewal it was done to."""

    fees: dict[int, Decimal] = field(default_factory=dict)
    """Share of the licence fee that was left on the line."""
    extras: dict[int, int] = field(default_factory=dict)
    """A one-off fee that was added, in minor units."""
    replaced: frozenset[int] = frozenset()
    """Renewals whose invoice was made void and made again two days later."""
    repeated: frozenset[tuple[str | None, int]] = frozenset()
    """Meter, or None for the licence, and period whose line stands there twice."""


@dataclass
class Customer:
    """Everything about one simulated customer and its subscription."""

    index: int
    customer_id: str
    subscription_id: str
    name: str
    currency: str
    interval: str
    start: datetime
    licence: list[LicenceStep]
    account: Account
    profile: str = ""
    metered: list[StripePrice] = field(default_factory=list)
    volumes: dict[str, int] = field(default_factory=dict)
    trial_end: datetime | None = None
    cancellation: Cancellation | None = None
    cancels_at_period_end: bool = False
    paused_from: datetime | None = None
    grant: Grant | None = None
    contract: Contract | None = None
    tax: tuple[Decimal, Literal["exclusive", "inclusive"]] | None = None
    sends_invoices: bool = False
    logs_account_id: bool = False
    has_edge_events: bool = False
    has_small_gaps: bool = False
    credits: tuple[Credit, ...] = ()
    edits: HandEdits = field(default_factory=HandEdits)
    approval: Approval | None = None
    log_offset: timedelta | None = None
    """The offset from UTC in which its usage is logged; None for UTC."""
    is_finally_billed: bool = True
    """Whether a cancellation is followed by an invoice over the last usage."""
    usage_fault: UsageFault | None = None
    stray_usage: tuple[str, str, int] | None = None
    """An id that nobody knows, with a meter and how much of it is used under that id a month."""
    uses_after_end: dict[str, int] = field(default_factory=dict)
    """Monthly volume per meter that goes on after the subscription has ended."""
    missing_invoices: dict[int, Literal["absent", "void"]] = field(default_factory=dict)
    lowered_lines: dict[tuple[str, int], Decimal] = field(default_factory=dict)
    payment: PaymentLife = field(default_factory=PaymentLife)
    leak: Leak | None = None
    beside: list["Customer"] = field(default_factory=list)
    """Further subscriptions of the same Stripe customer, each with `is_beside`."""
    is_beside: bool = False
    has_subscription: bool = True
    is_known_to_stripe: bool = True
    is_in_accounts: bool = True

    @property
    def plan(self) -> str:
        """The plan of the present licence price."""
        return self.licence[-1].price.plan

    @property
    def ended_at(self) -> datetime | None:
        """When the subscription ended, if it has."""
        return self.cancellation.ended_at if self.cancellation else None

    def licence_at(self, instant: datetime) -> LicenceStep:
        """The licence price and quantity in force at an instant."""
        return [step for step in self.licence if step.at <= instant][-1]

    def periods(self, as_of: datetime) -> list[Period]:
        """All billing periods that began by `as_of`."""
        return billing_periods(self.start, self.trial_end, self.interval, self.ended_at, as_of)


@dataclass(frozen=True)
class World:
    """What every customer of one company shares."""

    seed: int
    as_of: datetime
    catalog: Catalog
    events_per_month: int

    def rng(self, *topic: object) -> random.Random:
        """A generator of its own per topic, so that one customer's draws never move another's."""
        return random.Random(f"{self.seed}/{'/'.join(map(str, topic))}")  # noqa: S311 - no secret


VOLUMES = {
    "basic": {"api_calls": (20_000, 80_000), "transcode_minutes": (300, 1_500)},
    "pro": {
        "api_calls": (70_000, 200_000),
        "transcode_minutes": (900, 3_000),
        "sms": (1_500, 6_000),
    },
    "business": {
        "api_calls": (80_000, 600_000),
        "storage_gb": (80, 300),
        "sms": (2_000, 8_000),
    },
    "enterprise": {
        "api_calls": (150_000, 1_200_000),
        "transcode_minutes": (800, 5_000),
        "storage_gb": (300, 800),
    },
    "team": {},
}


@dataclass(frozen=True)
class Wish:
    """What a profile asks of a new customer: plan, currency, interval, age in months, meters."""

    plan: str
    currency: str = "usd"
    interval: str = "month"
    months: tuple[int, int] = (2, HISTORY_MONTHS)
    has_usage: bool = True
    is_settled: bool = False
    version: int | None = None
    quantity: int = 1


def new_customer(world: World, index: int, wish: Wish) -> Customer:
    """A customer that fits the wish: list prices, no contract, nothing wrong.

    Customers on the price of an older list row move to the new one at their first renewal after
    the rise, unless the wish names a `version` of the licence price, which they keep.
    """
    rng = world.rng("customer", index)
    start = random_start(rng, world.as_of, wish)
    code = f"{world.seed}x{index:05d}"
    account = Account(
        account_id=f"acct_{code}",
        plan=wish.plan,
        seats=wish.quantity if wish.plan == "team" else rng.randint(1, 5),
        updated_at=start - timedelta(hours=rng.randint(1, 40)),
        features=FEATURES[wish.plan],
        health_score=Decimal(rng.randint(40, 99)).scaleb(-2),
        churn_risk=Decimal(rng.randint(1, 60)).scaleb(-2),
    )
    customer = Customer(
        index=index,
        customer_id=f"cus_{code}",
        subscription_id=f"sub_{code}",
        name=f"{rng.choice(NAMES)} {rng.choice(TRADES)} {index}",
        currency=wish.currency,
        interval=wish.interval,
        start=start,
        licence=licence_steps(world, wish, start),
        account=account,
        logs_account_id=rng.random() < 0.1,  # noqa: PLR2004
    )
    customer.has_edge_events = not wish.is_settled
    if wish.has_usage and wish.interval == "month":
        customer.metered = list(world.catalog.metered[wish.plan, wish.currency])
        customer.volumes = {
            price.meter: rng.randint(*VOLUMES[wish.plan][price.meter])
            for price in customer.metered
            if price.meter is not None
        }
    return customer


def random_start(rng: random.Random, as_of: datetime, wish: Wish) -> datetime:
    """An arbitrary second in the wished months; every fourth falls on the 29th to 31st."""
    oldest = add_months(as_of, -HISTORY_MONTHS) + timedelta(days=1)
    low, high = wish.months
    while True:
        month = add_months(as_of, -rng.randint(low, high))
        day = rng.choice(LAST_DAYS) if rng.random() < 0.25 else rng.randint(1, 28)  # noqa: PLR2004
        try:
            start = datetime(
                *(month.year, month.month, day, rng.randrange(24)),
                *(rng.randrange(60), rng.randrange(60)),
                tzinfo=UTC,
            )
        except ValueError:  # a 30th of February
            continue
        in_reach = oldest <= start <= add_months(as_of, -1)
        if in_reach and (not wish.is_settled or is_settled(start, wish.interval, as_of)):
            return start


def is_settled(anchor: datetime, interval: str, as_of: datetime) -> bool:
    """Whether no period bound lies in the last days before `as_of`."""
    running = billing_periods(anchor, None, interval, None, as_of)[-1]
    return as_of - running.start > timedelta(days=QUIET_DAYS)


def licence_steps(world: World, wish: Wish, start: datetime) -> list[LicenceStep]:
    """The licence price from the start on, then its successor from a renewal on."""
    key = (wish.plan, wish.currency, wish.interval)
    known = world.catalog.licences[key]
    if wish.version is not None:
        return [LicenceStep(start, known[wish.version], wish.quantity)]
    steps: list[LicenceStep] = []
    for period in billing_periods(start, None, wish.interval, None, world.as_of):
        price = world.catalog.licence(*key, period.start)
        if not steps or steps[-1].price is not price:
            steps.append(LicenceStep(period.start, price, wish.quantity))
    return steps


def closed_periods(
    customer: Customer, as_of: datetime, older_than: timedelta = timedelta(days=QUIET_DAYS)
) -> Sequence[int]:
    """Indexes of the paid periods that ended long enough ago."""
    return [
        index
        for index, period in enumerate(customer.periods(as_of))
        if not period.is_trial and period.end + older_than <= as_of
    ]
