"""What the simulated company sells: meters, plans with their list prices, and the Stripe prices.

One catalogue per `as_of`, the same for every seed. List terms are in the price book's words,
Stripe prices in Stripe's; both say the same unless a price is outdated.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from leakage_pipeline.simulator.invoicing_periods import MONTHS, add_months
from leakage_pipeline.simulator.pricing import (
    Rate,
    graduated,
    package,
    per_unit,
    to_minor,
    volume,
    with_included,
)


@dataclass(frozen=True)
class Meter:
    """A usage meter: its name in the usage log, in Stripe, and how Stripe folds its events."""

    name: str
    event_name: str
    formula: str
    sources: tuple[str, ...]

    @property
    def stripe_id(self) -> str:
        """Id of the Stripe meter."""
        return f"mtr_{self.event_name}"


METERS = {
    meter.name: meter
    for meter in (
        Meter("api_calls", "api_calls", "sum", ("gateway_eu", "gateway_us")),
        Meter("transcode_minutes", "transcode_min", "sum", ("encode_sd", "encode_hd", "encode_4k")),
        Meter("storage_gb", "storage_gb", "last", ("bucket_sync",)),
        Meter("sms", "sms_messages", "sum", ("notifications", "campaigns")),
    )
}

LOG_ONLY_METERS = {"report_exports": Meter("report_exports", "report_exports", "sum", ("reports",))}
"""Meters of the usage log that Stripe does not have and nobody prices."""


@dataclass(frozen=True)
class UsageTerm:
    """List or contract terms of one meter: units included, then a rate (in minor units)."""

    meter: str
    rate: Rate
    included: int = 0

    def stripe_rate(self) -> Rate:
        """The same terms as one Stripe price."""
        return with_included(self.rate, self.included)


@dataclass(frozen=True)
class ListRow:
    """One row of the price book; the newest row effective at a period's start rules it."""

    plan: str
    currency: str
    interval: str
    base_price: Decimal
    effective_from: date
    terms: tuple[UsageTerm, ...] = ()
    features: tuple[str, ...] = ()
    seats_included: int = 1


@dataclass(frozen=True)
class StripePrice:
    """A Stripe price as plain data; `rate` is in minor units of `currency`."""

    price_id: str
    product_id: str
    plan: str
    currency: str
    interval: str
    rate: Rate
    created: datetime
    meter: str | None = None
    active: bool = True
    is_inline: bool = False
    nickname: str | None = None
    lookup_key: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    currency_options: dict[str, Rate] = field(default_factory=dict)

    def rate_in(self, currency: str) -> Rate:
        """The rate for a subscription in this currency."""
        return self.rate if currency == self.currency else self.currency_options[currency]

    def unit_in(self, currency: str) -> int:
        """Licence fee per unit of quantity, in minor units."""
        return int(self.rate_in(currency).unit)


FEATURES = {
    "free": (),
    "basic": ("dashboards",),
    "team": ("dashboards",),
    "pro": ("dashboards", "webhooks"),
    "business": ("dashboards", "webhooks", "sso", "audit_log"),
    "enterprise": ("dashboards", "webhooks", "sso", "audit_log", "scim", "dedicated_support"),
}
SEATS_INCLUDED = {"free": 1, "basic": 5, "team": 1, "pro": 20, "business": 50, "enterprise": 500}
PRODUCTS: dict[str, tuple[str, str, dict[str, str]]] = {
    # Each plan is named in another place, in the order in which the audit looks for it.
    "free": ("prod_free", "Free", {}),
    "basic": ("prod_basic", "Basic plan", {}),
    "pro": ("prod_pro", "Professional", {"plan": "pro"}),
    "business": ("prod_business", "For business", {}),
    "enterprise": ("prod_enterprise", "Large customers", {}),
    "team": ("prod_team", "Team", {}),
}
USD_TERMS: dict[str, tuple[UsageTerm, ...]] = {
    "basic": (
        UsageTerm("api_calls", per_unit("0.04")),
        UsageTerm("transcode_minutes", per_unit("10")),
    ),
    "pro": (
        UsageTerm("api_calls", graduated((50_000, "0.5"), (None, "0.4")), included=50_000),
        UsageTerm("transcode_minutes", per_unit("10"), included=500),
        UsageTerm("sms", package("500", 1000)),
    ),
    "business": (
        UsageTerm("api_calls", volume((100_000, "0.3"), (500_000, "0.25"), (None, "0.2"))),
        UsageTerm("storage_gb", per_unit("200"), included=100),
        UsageTerm("sms", package("450", 1000, "down")),
    ),
    "enterprise": (
        UsageTerm(
            "api_calls",
            graduated((200_000, "0.2", "0"), (1_000_000, "0.15", "2000"), (None, "0.1", "0")),
        ),
        UsageTerm("transcode_minutes", graduated((1000, "9", "2500"), (None, "8", "0"))),
        UsageTerm("storage_gb", volume((500, "150", "1000"), (None, "120", "0"))),
    ),
    "team": (),
}
TERMS: dict[str, dict[str, tuple[UsageTerm, ...]]] = {
    "usd": USD_TERMS,
    "eur": {"pro": (UsageTerm("api_calls", per_unit("0.4"), included=50_000),)},
    "jpy": {
        "pro": (
            UsageTerm("api_calls", per_unit("0.7"), included=50_000),
            UsageTerm("sms", package("700", 1000)),
        )
    },
}
# plan, currency, interval -> list prices, oldest first; the key of RAISES says since when each.
LIST_PRICES: dict[tuple[str, str, str], tuple[str, ...]] = {
    ("free", "usd", "month"): ("0.00",),
    ("basic", "usd", "month"): ("39.00", "49.00"),
    ("pro", "usd", "month"): ("129.00", "149.00"),
    ("pro", "usd", "year"): ("1490.00",),
    ("business", "usd", "month"): ("199.00",),
    ("business", "usd", "year"): ("1990.00",),
    ("enterprise", "usd", "month"): ("499.00",),
    ("team", "usd", "month"): ("10.00", "12.00"),
    ("pro", "eur", "month"): ("119.00", "139.00"),
    ("pro", "jpy", "month"): ("12000", "15000"),
}
FIRST_LIST = date(2020, 1, 1)
PRICE_LEAD = timedelta(days=12, hours=9)  # a price is made in Stripe before its list row holds
RAISE_MONTHS_AGO = {"basic": 26, "pro": 7, "team": 5}


@dataclass(frozen=True)
class Catalog:
    """The price book and the Stripe prices that belong to it."""

    rows: tuple[ListRow, ...]
    licences: dict[tuple[str, str, str], tuple[StripePrice, ...]]
    metered: dict[tuple[str, str], tuple[StripePrice, ...]]

    def list_row(self, plan: str, currency: str, interval: str, at: datetime) -> ListRow:
        """The list row that rules a period starting at `at`."""
        return max(
            (
                row
                for row in self.rows
                if (row.plan, row.currency, row.interval) == (plan, currency, interval)
                and midnight(row.effective_from) <= at
            ),
            key=lambda row: row.effective_from,
        )

    def licence(self, plan: str, currency: str, interval: str, at: datetime) -> StripePrice:
        """The Stripe price of the list row that rules at `at`."""
        row = self.list_row(plan, currency, interval, at)
        known = [r for r in self.rows if (r.plan, r.currency, r.interval) == _key(row)]
        return self.licences[_key(row)][known.index(row)]

    def prices(self) -> list[StripePrice]:
        """Every Stripe price once, in a fixed order."""
        groups = [*self.licences.values(), *self.metered.values()]
        unique = {price.price_id: price for group in groups for price in group}
        return list(unique.values())


def _key(row: ListRow) -> tuple[str, str, str]:
    return row.plan, row.currency, row.interval


def midnight(day: date) -> datetime:
    """00:00 UTC of the day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def raised_on(plan: str, as_of: datetime) -> date:
    """The day on which the plan's present list price came into force: the first of a month."""
    return add_months(as_of, -RAISE_MONTHS_AGO[plan]).date().replace(day=1)


def build_catalog(as_of: datetime) -> Catalog:
    """The catalogue as it stands at `as_of`, price rises included."""
    rows: list[ListRow] = []
    licences: dict[tuple[str, str, str], tuple[StripePrice, ...]] = {}
    for (plan, currency, interval), prices in LIST_PRICES.items():
        since = [FIRST_LIST, *([raised_on(plan, as_of)] if len(prices) > 1 else [])]
        terms = TERMS[currency].get(plan, ()) if MONTHS[interval] == 1 else ()
        rows.extend(
            ListRow(
                *(plan, currency, interval, Decimal(price), day, terms),
                *(FEATURES[plan], SEATS_INCLUDED[plan]),
            )
            for price, day in zip(prices, since, strict=True)
        )
        licences[plan, currency, interval] = tuple(
            _licence(plan, currency, interval, version, since[version])
            for version in range(len(prices))
        )
    metered = {
        (plan, currency): tuple(_metered(plan, currency, term) for term in terms)
        for currency, plans in TERMS.items()
        for plan, terms in plans.items()
    }
    return Catalog(tuple(rows), licences, metered)


def _licence(plan: str, currency: str, interval: str, version: int, since: date) -> StripePrice:
    """The licence price; euros are a currency option of the dollar price, as Stripe allows."""
    home = "usd" if currency == "eur" else currency
    amounts = LIST_PRICES[plan, home, interval]
    euros = LIST_PRICES.get((plan, "eur", interval)) if home == "usd" else None
    is_current = version == len(amounts) - 1
    return StripePrice(
        price_id=f"price_{plan}_{home}_{interval}_{amounts[version].partition('.')[0]}",
        product_id=PRODUCTS[plan][0],
        plan=plan,
        currency=home,
        interval=interval,
        rate=per_unit(str(to_minor(Decimal(amounts[version]), home))),
        created=midnight(since) - PRICE_LEAD,
        active=is_current,
        currency_options=(
            {"eur": per_unit(str(to_minor(Decimal(euros[version]), "eur")))} if euros else {}
        ),
        metadata={"plan": plan} if plan == "basic" else {},
        lookup_key=plan if (plan, interval) == ("business", "month") else None,
        nickname=_nickname(plan, interval),
    )


def _nickname(plan: str, interval: str) -> str | None:
    if plan == "enterprise" or (plan, interval) == ("business", "year"):
        return plan.capitalize()
    return None


def _metered(plan: str, currency: str, term: UsageTerm) -> StripePrice:
    return StripePrice(
        price_id=f"price_{plan}_{currency}_{term.meter}",
        product_id=f"prod_meter_{term.meter}",
        plan=plan,
        currency=currency,
        interval="month",
        rate=term.stripe_rate(),
        created=midnight(FIRST_LIST) - PRICE_LEAD,
        meter=term.meter,
        metadata={"plan": plan} if plan in {"basic", "enterprise"} else {},
        nickname=f"{plan} {term.meter}",
    )
