"""Prices and meters as the engine bills them, and their JSON.

Tiers, packages and line rounding come from `simulator.pricing`; this adds currencies whose amounts
are no whole cents.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from leakage_pipeline.simulator import stripe_objects as build
from leakage_pipeline.simulator.pricing import Charge, Rate, charges
from leakage_pipeline.simulator.stripe_objects import JsonObject

# Stripe's zero- and three-decimal currencies as far as a simulated company sells in them. The last
# digit of a three-decimal amount must be 0.
EXPONENTS = {"jpy": 0, "krw": 0, "vnd": 0, "clp": 0, "kwd": 3, "bhd": 3, "tnd": 3}
ROUNDING_UNITS = {"kwd": 10, "bhd": 10, "tnd": 10}
LEAST_CHARGE = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50, "krw": 500, "kwd": 100}


def exponent(currency: str) -> int:
    """Decimal places of the currency's minor unit."""
    return EXPONENTS.get(currency, 2)


def rounding_unit(currency: str) -> int:
    """The smallest step of an amount, in minor units."""
    return ROUNDING_UNITS.get(currency, 1)


@dataclass(frozen=True)
class BilledMeter:
    """A Stripe meter: `formula` is sum, count or last."""

    meter_id: str
    event_name: str
    formula: str


@dataclass(frozen=True)
class BilledPrice:
    """A recurring price; `rate` in minor units of `currency`, `options` by other currency."""

    price_id: str
    product_id: str
    currency: str
    rate: Rate
    created: int
    interval: str = "month"
    interval_count: int = 1
    meter: BilledMeter | None = None
    plan: str | None = None
    options: Mapping[str, Rate] = field(default_factory=dict)
    is_inline: bool = False
    is_active: bool = True

    def rate_in(self, currency: str) -> Rate:
        """The rate that a subscription in this currency is billed at."""
        return self.rate if currency == self.currency else self.options[currency]

    def lines(self, quantity: Decimal, currency: str) -> list[Charge]:
        """What an invoice shows for a quantity: one charge, or several of a tiered price."""
        rate, unit = self.rate_in(currency), rounding_unit(currency)
        if unit == 1:
            return charges(rate, quantity)
        return [
            Charge(
                charge.quantity,
                None if charge.unit is None else charge.unit * unit,
                charge.amount * unit,
            )
            for charge in charges(_in_steps_of(rate, unit), quantity)
        ]

    def gross(self, quantity: Decimal, currency: str) -> int:
        """The sum of `lines`."""
        return sum(charge.amount for charge in self.lines(quantity, currency))


def _in_steps_of(rate: Rate, unit: int) -> Rate:
    tiers = tuple(
        replace(tier, unit=tier.unit / unit, flat=None if tier.flat is None else tier.flat / unit)
        for tier in rate.tiers
    )
    return replace(rate, unit=rate.unit / unit, tiers=tiers)


def price_object(price: BilledPrice) -> JsonObject:
    """The price as Stripe shows it."""
    return build.price(
        price.price_id,
        product=price.product_id,
        currency=price.currency,
        created=price.created,
        interval=price.interval,
        interval_count=price.interval_count,
        usage_type="licensed" if price.meter is None else "metered",
        meter=None if price.meter is None else price.meter.meter_id,
        active=price.is_active,
        metadata={} if price.plan is None else {"plan": price.plan},
        currency_options={
            currency: build.currency_option(**_option_terms(rate))
            for currency, rate in price.options.items()
        },
        **_terms(price.rate),
    )


def meter_object(meter: BilledMeter, created: int) -> JsonObject:
    """The meter as Stripe shows it."""
    return build.meter(
        meter.meter_id, event_name=meter.event_name, created=created, formula=meter.formula
    )


def _option_terms(rate: Rate) -> dict[str, Any]:
    return {key: value for key, value in _terms(rate).items() if key in {"unit_amount", "tiers"}}


def _terms(rate: Rate) -> dict[str, Any]:
    if rate.tiers:
        tiers = [
            build.tier(tier.up_to, unit_amount=tier.unit, flat_amount=tier.flat)
            for tier in rate.tiers
        ]
        return {"tiers_mode": rate.kind, "tiers": tiers}
    if rate.kind == "package":
        shape = (rate.divide_by, rate.round_mode)
        return {"unit_amount": rate.unit, "transform_quantity": shape}
    return {"unit_amount": rate.unit}
