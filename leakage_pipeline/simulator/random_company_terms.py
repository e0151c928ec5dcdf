"""What a random company sells: meters, plans, Stripe prices, and what its price book says of them.

Every name carries the company's code, so that many companies fit into one warehouse. List rows and
Stripe prices say the same, or the rule that lets them differ is drawn with them.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from leakage_pipeline.simulator.billing_engine.prices import BilledMeter, BilledPrice, exponent
from leakage_pipeline.simulator.invoicing_periods import from_epoch
from leakage_pipeline.simulator.pricing import (
    Rate,
    graduated,
    package,
    per_unit,
    volume,
    with_included,
)

FOUNDED = 1_672_531_200  # 2023-01-01
PRICED = FOUNDED + 90 * 86_400  # when the first prices were made
RHYTHMS = (
    *(("month", 1),) * 7,
    *(("year", 1), ("month", 3), ("week", 1), ("week", 2), ("day", 1)),
)
COARSE = 1000
FORMULAS = ("sum", "sum", "sum", "count", "last")
CURRENCIES = (*("usd",) * 5, "eur", "gbp", "jpy", "kwd")
METER_WORDS = ("calls", "minutes", "storage", "messages")
FEATURES = ("reports", "exports", "sso", "audit_log")


@dataclass(frozen=True)
class MeterOffer:
    """A meter within a plan: its Stripe price, and the same terms in the price book's words.

    `volume` is about what a customer uses in a period; `is_listed` says whether the price book
    names the meter.
    """

    log_name: str
    meter: BilledMeter
    price: BilledPrice
    terms: Rate
    included: int
    volume: int
    is_listed: bool

    @property
    def costs_at_zero(self) -> bool:
        """Whether a flat fee is owed without any usage: nobody on the plan goes without it."""
        return bool(self.terms.tiers and self.terms.tiers[0].flat)


@dataclass(frozen=True)
class PlanOffer:
    """A plan: a licence (None: usage alone) and its meters."""

    name: str
    licence: BilledPrice | None
    meters: tuple[MeterOffer, ...]
    rhythm: tuple[str, int]
    currencies: tuple[str, ...]
    by_seat: bool
    features: tuple[str, ...]
    list_factor: int = 1
    list_rows: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Terms:
    """The whole offer of a company; with `is_coarse` every percent of every amount is whole."""

    code: str
    plans: tuple[PlanOffer, ...]
    meters: tuple[tuple[str, BilledMeter], ...]
    is_coarse: bool = False


def chance(rng: random.Random, share: float) -> bool:
    """True with this probability."""
    return rng.random() < share


def draw_terms(rng: random.Random, code: str, *, is_coarse: bool = False) -> Terms:
    """The offer of one company."""
    main = rng.choice(CURRENCIES)
    currencies = [main]
    if chance(rng, 0.3):
        currencies.append(rng.choice([c for c in ("usd", "eur", "jpy") if c != main]))
    meters = []
    for word in rng.sample(METER_WORDS, rng.randint(1, 3)):
        event = f"{code}_{word}" if chance(rng, 0.5) else f"{code}.{word}.v2"
        meter = BilledMeter(f"mtr_{code}_{word}", event, rng.choice(FORMULAS))
        meters.append((f"{code}_{word}", meter))
    plans = tuple(
        _draw_plan(rng, f"{code}_{name}", meters, tuple(currencies), number, is_coarse=is_coarse)
        for number, name in enumerate(("basic", "pro", "max")[: rng.randint(1, 3)])
    )
    return Terms(code, plans, tuple(meters), is_coarse)


def coarse(rate: Rate) -> Rate:
    """The rate with amounts in thousands of minor units: discounts of it need no rounding."""

    def whole(amount: Decimal) -> Decimal:
        return (amount // COARSE + 1) * COARSE

    tiers = tuple(
        replace(tier, unit=whole(tier.unit), flat=None if tier.flat is None else whole(tier.flat))
        for tier in rate.tiers
    )
    return replace(rate, unit=whole(rate.unit), tiers=tiers)


def _draw_plan(
    rng: random.Random,
    name: str,
    meters: Sequence[tuple[str, BilledMeter]],
    currencies: tuple[str, ...],
    number: int,
    *,
    is_coarse: bool,
) -> PlanOffer:
    interval, count = rng.choice(RHYTHMS)
    # Rows of the price book are per month or year: a quarter, and some years, go by the month's.
    factor = 3 if count == 3 else 12 if interval == "year" and chance(rng, 0.5) else 1  # noqa: PLR2004
    is_listed = interval in {"month", "year"} and chance(rng, 0.8)
    has_licence = is_listed or chance(rng, 0.8)
    listed_after = PRICED + 86_400 if chance(rng, 0.7) else PRICED - 30 * 86_400
    base = {
        "product_id": f"prod_{name}",
        "currency": currencies[0],
        "interval": interval,
        "interval_count": count,
        "plan": name,
        "created": PRICED,
    }
    # The price book can say a price per unit; a tiered licence is Stripe's own affair.
    shape = coarse if is_coarse else _as_it_is
    licence_rates = {
        c: _times(shape(per_unit(_unit(rng, c, 100, 90_000))), factor) for c in currencies
    }
    if not is_listed and chance(rng, 0.4):
        make = rng.choice((graduated, volume))
        licence_rates = {c: shape(_tiered_licence(rng, make, c)) for c in currencies}
    licence = None
    if has_licence:
        licence = BilledPrice(
            f"price_{name}",
            rate=licence_rates[currencies[0]],
            options={c: licence_rates[c] for c in currencies[1:]},
            **base,  # type: ignore[arg-type]
        )
    offers = tuple(
        _draw_offer(rng, log_name, meter, currencies, base, factor if is_listed else 0, shape)
        for log_name, meter in meters
        if chance(rng, 0.75 if has_licence else 1)
    )
    plan = PlanOffer(
        name,
        licence,
        offers,
        (interval, count),
        currencies,
        by_seat=chance(rng, 0.5),
        features=FEATURES[: number + 1],
        list_factor=factor,
    )
    if not is_listed:
        return plan
    return replace(plan, list_rows=tuple(_list_rows(rng, plan, listed_after)))


def _tiered_licence(rng: random.Random, make: Callable[..., Rate], currency: str) -> Rate:
    edges = sorted(rng.sample(range(1, 30), 2))
    units = sorted((_unit(rng, currency, 10, 4000) for _ in range(3)), key=Decimal, reverse=True)
    if chance(rng, 0.5):
        flats = [_unit(rng, currency, 0, 900) for _ in range(3)]
        return make(*zip((*edges, None), units, flats, strict=True))
    return make(*zip((*edges, None), units, strict=True))


def _as_it_is(rate: Rate) -> Rate:
    return rate


def _times(rate: Rate, factor: int) -> Rate:
    return replace(rate, unit=rate.unit * factor)


def _unit(rng: random.Random, currency: str, low: int, high: int) -> str:
    """An amount in minor units; now and then with a fraction."""
    whole = rng.randint(low, high)
    if currency == "kwd":
        return str(whole * 10)
    if chance(rng, 0.2):
        return str(Decimal(whole) + Decimal(rng.randint(1, 999_999)).scaleb(-rng.randint(6, 12)))
    return str(whole)


def draw_rate(rng: random.Random, quantity: int, currency: str) -> tuple[Rate, int]:
    """A rate with interesting edges about a quantity, and how much of it is included."""
    step = 10 if currency == "kwd" else 1
    fine = rng.choice((0, 0, 1, 3, 12))
    # Cheap units where many are used, so that a period comes to some hundred of the currency.
    most = max(10, 5_000_000 // max(1, quantity))

    def unit() -> str:
        return str(Decimal(rng.randint(1, most * 10**fine // 100) * step).scaleb(-fine))

    kind = rng.choice(("per_unit", "package", "graduated", "volume"))
    included = 0
    if kind in {"per_unit", "graduated"} and chance(rng, 0.4):
        included = max(100, quantity // 200 * 100)
    if kind == "per_unit":
        return per_unit(unit()), included
    if kind == "package":
        size = rng.choice((10, 100, 1000))
        amount = str(rng.randint(1, 900) * step)
        return package(amount, size, rng.choice(("up", "up", "down"))), 0
    edges = sorted(
        {max(1, quantity * rng.randint(5, 120) // 100) for _ in range(rng.randint(1, 3))}
    )
    bounds = (*edges, None)
    units = sorted((unit() for _ in bounds), key=Decimal, reverse=chance(rng, 0.7))
    make = graduated if kind == "graduated" else volume
    if chance(rng, 0.4):
        flats = [str(rng.randint(0, 2000) * step) for _ in bounds]
        return make(*zip(bounds, units, flats, strict=True)), included
    return make(*zip(bounds, units, strict=True)), included


def _draw_offer(
    rng: random.Random,
    log_name: str,
    meter: BilledMeter,
    currencies: tuple[str, ...],
    base: dict[str, Any],
    list_factor: int,
    shape: Callable[[Rate], Rate],
) -> MeterOffer:
    quantity = rng.choice((8, 60, 900, 12_000)) if meter.formula != "count" else 12
    drawn, included = draw_rate(rng, quantity, currencies[0])
    terms = shape(drawn)
    if len(currencies) > 1:
        included = 0
    included *= max(1, list_factor)
    price = BilledPrice(
        f"price_{base['plan']}_{log_name.rpartition('_')[2]}",
        rate=with_included(terms, included),
        # The same numbers in the other currency's minor units: a list row of its own says so.
        options=dict.fromkeys(currencies[1:], terms),
        meter=meter,
        **base,
    )
    return MeterOffer(
        log_name, meter, price, terms, included, quantity, list_factor > 0 and chance(rng, 0.7)
    )


def _list_rows(rng: random.Random, plan: PlanOffer, listed_after: int) -> list[dict[str, Any]]:
    """The plan's rows: the one in force, an older one, one to come; a row for each currency.

    A row older than the Stripe price may say anything: the newer price rules.
    """
    rows = []
    is_ruling = listed_after > PRICED
    for currency in plan.currencies:
        row = list_row(plan, currency, listed_after)
        if not is_ruling:
            row["base_price"] = format(Decimal(row["base_price"]) * 2, "f")
        rows.append(row)
        if chance(rng, 0.3):
            rows.append({**row, "effective_from": "2021-06-01", "base_price": "1"})
        if chance(rng, 0.3):
            rows.append({**row, "effective_from": "2027-06-01", "base_price": "123456"})
    return rows


def list_row(plan: PlanOffer, currency: str, effective: int) -> dict[str, Any]:
    """A price book row that says what the plan's Stripe prices say."""
    if plan.licence is None:
        message = "a plan without a licence has no row"
        raise ValueError(message)
    factor = plan.list_factor
    listed = [offer for offer in plan.meters if offer.is_listed]
    base = plan.licence.rate_in(currency).unit / factor
    interval = "year" if plan.rhythm[0] == "year" and factor == 1 else "month"
    return {
        "plan": plan.name,
        "currency": currency,
        "interval": interval,
        "base_price": format(base.scaleb(-exponent(currency)), "f"),
        "included_usage": json.dumps(
            {o.log_name: o.included // factor for o in listed if o.included}
        ),
        "overage_rates": json.dumps({o.log_name: rate_json(o.terms, currency) for o in listed}),
        "features": json.dumps(list(plan.features)),
        "seats_included": 1 if plan.by_seat else "",
        "effective_from": day_text(effective),
    }


def day_text(seconds: int) -> str:
    """The UTC day of an instant."""
    return from_epoch(seconds).date().isoformat()


def rate_json(rate: Rate, currency: str) -> dict[str, Any]:
    """A rate in the words of `overage_rates`: currency units."""
    shift = -exponent(currency)
    if rate.kind in {"per_unit", "package"}:
        is_package = rate.kind == "package"
        return {
            "price": format(rate.unit.scaleb(shift), "f"),
            "per": rate.divide_by if is_package else 1,
            "rounding": rate.round_mode if is_package else "none",
        }
    tiers = []
    for tier in rate.tiers:
        shown: dict[str, Any] = {
            "up_to": tier.up_to,
            "unit_amount": format(tier.unit.scaleb(shift), "f"),
        }
        if tier.flat is not None:
            shown["flat_amount"] = format(tier.flat.scaleb(shift), "f")
        tiers.append(shown)
    return {"tiers_mode": rate.kind, "tiers": tiers}
