"""The honest customers of the simulated company: everything that looks odd but is no leakage.

One function per profile; each returns a customer whose invoices are right. Add a profile by
writing a function and naming it in `PROFILES`.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from leakage_pipeline.simulator.catalog import FEATURES, StripePrice, UsageTerm
from leakage_pipeline.simulator.customers import (
    HISTORY_MONTHS,
    Cancellation,
    Contract,
    Coupon,
    Credit,
    Customer,
    Grant,
    LicenceStep,
    UsageFault,
    Wish,
    World,
    closed_periods,
    licence_steps,
    new_customer,
)
from leakage_pipeline.simulator.customers_profiles_accounts import ACCOUNT_PROFILES, TRIAL
from leakage_pipeline.simulator.customers_profiles_noise import NOISE_PROFILES
from leakage_pipeline.simulator.invoicing_periods import add_months, epoch, from_epoch
from leakage_pipeline.simulator.payment_life import Fate, PaymentLife
from leakage_pipeline.simulator.pricing import free_quantity, per_unit, with_included

Profile = Callable[[World, int], Customer]

GRACE = Decimal(5)
SEASONED = (5, HISTORY_MONTHS)


def _plain(plan: str, **wish: str) -> Profile:
    def build(world: World, index: int) -> Customer:
        customer = new_customer(world, index, Wish(plan, **wish))  # type: ignore[arg-type]
        if customer.currency == "eur":
            customer.tax = (Decimal(20), "exclusive")
        elif customer.currency == "jpy":
            customer.tax = (Decimal(10), "inclusive")
        elif index % 3 == 0:
            customer.tax = (Decimal("8.25"), "exclusive")
        customer.sends_invoices = index % 4 == 0
        return customer

    return build


def _team(world: World, index: int) -> Customer:
    seats = world.rng("seats", index).randint(3, 25)
    return new_customer(world, index, Wish("team", quantity=seats))


def _small_gaps(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("pro" if index % 2 else "basic", months=SEASONED))
    customer.has_small_gaps = True
    return customer


def _logged_late(world: World, index: int) -> Customer:
    """Usage that came into the log after the invoice, though Stripe was told of it in time."""
    customer = new_customer(world, index, Wish("basic", months=SEASONED))
    closed = closed_periods(customer, world.as_of, timedelta(days=20))
    period = customer.periods(world.as_of)[world.rng("late", index).choice(closed)]
    customer.usage_fault = UsageFault(
        "logged_late", "api_calls", period.start, period.end, share=0.3
    )
    return customer


def _within_included(world: World, index: int) -> Customer:
    """A quantity that a contract includes, without a rate above it, and never reached."""
    customer = new_customer(world, index, Wish("team", months=SEASONED, quantity=3))
    customer.volumes = {"api_calls": 10_000}
    sign(customer, included=(("api_calls", 20_000),))
    # Somebody's tests, under an id that nobody knows: not worth a finding.
    customer.stray_usage = (f"test_{customer.customer_id[4:]}", "api_calls", 500)
    return customer


def _trial_converted(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("basic" if index % 2 else "enterprise"))
    customer.trial_end = customer.start + TRIAL
    return customer


def _trial_running(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("basic"))
    begun = world.rng("trial", index).randint(2 * 86_400, 10 * 86_400)
    customer.start = world.as_of.replace(microsecond=0) - timedelta(seconds=begun)
    customer.trial_end = customer.start + TRIAL
    customer.licence = [replace(customer.licence[0], at=customer.start)]
    customer.account.status = "trialing"
    customer.account.updated_at = customer.start
    return customer


def moment_inside(world: World, customer: Customer, topic: str) -> datetime:
    """An arbitrary second well inside one of the customer's closed periods, not the first."""
    rng = world.rng(topic, customer.index)
    periods = customer.periods(world.as_of)
    period = periods[rng.choice([i for i in closed_periods(customer, world.as_of) if i > 0])]
    length = epoch(period.natural_end) - epoch(period.start)
    return from_epoch(epoch(period.start) + rng.randint(length // 10, length * 9 // 10))


def _upgrade(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("basic", months=SEASONED, has_usage=False))
    at = moment_inside(world, customer, "upgrade")
    price = world.catalog.licence("business", "usd", "month", at)
    customer.licence.append(
        LicenceStep(at, price, invoicing="at_once" if index % 2 else "next_invoice")
    )
    account = customer.account
    account.plan, account.features, account.updated_at = "business", FEATURES["business"], at
    return customer


def _more_seats(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("team", months=SEASONED, quantity=4 + index % 5))
    at = moment_inside(world, customer, "seats")
    before = customer.licence_at(at)
    seats = before.quantity + 3
    later = [replace(step, quantity=seats) for step in customer.licence if step.at > at]
    change = LicenceStep(at, before.price, seats, "next_invoice" if index % 2 else "at_once")
    customer.licence = [step for step in customer.licence if step.at <= at] + [change, *later]
    customer.account.seats, customer.account.updated_at = seats, at
    return customer


def close_account(customer: Customer, at: datetime) -> None:
    """The product shuts the customer out at the same second."""
    account = customer.account
    account.status, account.access_enabled, account.updated_at = "cancelled", False, at


def cancel_inside(world: World, customer: Customer, *, credits_rest: bool) -> None:
    """End the subscription at once, in the middle of a closed period."""
    at = moment_inside(world, customer, "cancel")
    customer.cancellation = Cancellation(at, at, at_period_end=False, credits_rest=credits_rest)


def cancel_at_end(world: World, customer: Customer) -> None:
    """End the subscription with one of its closed periods."""
    rng = world.rng("cancel", customer.index)
    closed = [i for i in closed_periods(customer, world.as_of) if i > 0]
    period = customer.periods(world.as_of)[rng.choice(closed)]
    decided = period.start + (period.end - period.start) / 3
    customer.cancellation = Cancellation(
        period.end, decided.replace(microsecond=0), at_period_end=True
    )


def _cancelled_at_once(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("basic", months=SEASONED))
    cancel_inside(world, customer, credits_rest=index % 2 == 0)
    close_account(customer, customer.ended_at or world.as_of)
    return customer


def _cancelled_at_period_end(world: World, index: int) -> Customer:
    plan = "enterprise" if index % 2 else "business"
    customer = new_customer(world, index, Wish(plan, months=SEASONED))
    cancel_at_end(world, customer)
    close_account(customer, customer.ended_at or world.as_of)
    return customer


def _cancels_soon(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("basic"))
    customer.cancels_at_period_end = True
    return customer


def give_discount(
    customer: Customer,
    *,
    percent: int,
    duration: str,
    months: int | None = None,
    reason: str = "welcome",
    redeem_by: datetime | None = None,
) -> None:
    """Attach a percent coupon from the start of the subscription on."""
    code = customer.customer_id[4:]
    coupon = Coupon(
        coupon_id=f"co_{code}",
        name=f"{reason} {percent}%",
        created=customer.start - timedelta(days=60),
        percent=Decimal(percent),
        duration=duration,  # type: ignore[arg-type]
        months=months,
        redeem_by=redeem_by,
    )
    end = None if months is None else add_months(customer.start, months)
    customer.grant = Grant(f"di_{code}", coupon, customer.start, end)


def sign(customer: Customer, **terms: object) -> Contract:
    """Give the customer a contract that starts with the day of its subscription."""
    contract = Contract(
        contract_id=f"ctr_{customer.customer_id[4:]}",
        plan=customer.plan,
        currency=customer.currency,
        effective_date=customer.start.date(),
    )
    customer.contract = replace(contract, **terms)  # type: ignore[arg-type]
    return customer.contract


def _repeating_coupon(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("business", months=SEASONED, has_usage=False))
    give_discount(customer, percent=20, duration="repeating", months=3)
    if index % 2 and customer.grant is not None:
        coupon = replace(customer.grant.coupon, percent=None, amount_off=1500, currency="usd")
        customer.grant = replace(customer.grant, coupon=replace(coupon, name="15 off"))
    return customer


def _credit_note(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("basic", months=SEASONED))
    period = world.rng("credit", index).choice(
        [i for i in closed_periods(customer, world.as_of, timedelta(days=20)) if i > 0]
    )
    customer.credits = (Credit(period, Decimal("0.05")),)
    return customer


def _paused(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("business", months=SEASONED, has_usage=False))
    customer.paused_from = customer.periods(world.as_of)[-3].start - timedelta(days=3)
    return customer


def _contract_overage(world: World, index: int) -> Customer:
    """Included quantities, a rate and a grace of its own, and Stripe prices that say the same."""
    customer = new_customer(world, index, Wish("pro"))
    terms = (
        UsageTerm("api_calls", per_unit("0.6"), included=20_000),
        UsageTerm("transcode_minutes", per_unit("9"), included=500),
    )
    sign(customer, terms=terms, grace_percent=GRACE)
    agreed = {term.meter: term for term in terms}
    for position, price in enumerate(customer.metered):
        term = agreed.get(price.meter or "")
        if term is not None:
            free = int(free_quantity(term.included, GRACE))
            rate = with_included(term.rate, free)
            customer.metered[position] = own_price(customer, price, rate=rate)
    return customer


def own_price(customer: Customer, like: StripePrice, **changes: object) -> StripePrice:
    """A Stripe price made for one customer; every second one through `price_data`."""
    changed = replace(
        like,
        price_id=f"{like.price_id}_{customer.customer_id[4:]}",
        created=customer.start - timedelta(hours=2),
        is_inline=customer.index % 2 == 0,
        active=customer.index % 2 == 1,
        lookup_key=None,
        metadata={"plan": like.plan},
        currency_options={},
    )
    return replace(changed, **changes)  # type: ignore[arg-type]


def _contract_price(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("pro", version=0))
    price = own_price(customer, customer.licence[0].price, rate=per_unit("13500"))
    customer.licence = [replace(customer.licence[0], price=price)]
    sign(customer, base_price=Decimal(135), discount_reason="negotiated")
    return customer


def _contract_annual(world: World, index: int) -> Customer:
    plan = "pro" if index % 2 else "business"
    customer = new_customer(world, index, Wish(plan, has_usage=False))
    end = add_months(customer.start, 24).date() - timedelta(days=1)
    sign(
        customer,
        interval="year" if index % 4 > 1 else "month",  # either way it binds for two years
        discount_percent=Decimal(15),
        discount_reason="annual_commitment",
        end_date=end,
    )
    give_discount(customer, percent=15, duration="forever", reason="ctr annual commitment")
    return customer


def _contract_volume(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("business" if index % 2 else "pro"))
    sign(
        customer,
        discount_percent=Decimal(10),
        discount_reason="volume_discount",
        threshold=("api_calls", 10_000),
    )
    give_discount(customer, percent=10, duration="forever", reason="ctr volume")
    return customer


def _contract_minimum(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("pro"))
    sign(customer, minimum_commitment=Decimal(100))
    return customer


def _grandfathered(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("basic", version=0))
    sign(customer, grandfathered=True)
    return customer


def _referral_once(world: World, index: int) -> Customer:
    customer = new_customer(world, index, Wish("business", has_usage=False))
    sign(customer, discount_percent=Decimal(20), discount_reason="referral")
    give_discount(customer, percent=20, duration="once", reason="ctr referral")
    return customer


def _failed_lately(world: World, index: int) -> Customer:
    """The newest charge failed days ago, Stripe tries again, and the grace period still runs."""
    wish = Wish("business", has_usage=False)
    customer = new_customer(world, index, wish)
    customer.start = add_months((world.as_of - timedelta(days=2)).replace(microsecond=0), -4)
    customer.licence = licence_steps(world, wish, customer.start)
    customer.account.updated_at = customer.start
    fate = Fate("open", 1, world.as_of + timedelta(days=1), auto_advance=True)
    last = len(customer.periods(world.as_of)) - 1
    customer.payment = PaymentLife(subscription_status="past_due", fates={last: fate})
    return customer


PROFILES: dict[str, Profile] = {
    "basic": _plain("basic"),
    "pro": _plain("pro"),
    "contract_overage": _contract_overage,
    "business": _plain("business"),
    "enterprise": _plain("enterprise"),
    "upgrade": _upgrade,
    "small_gaps": _small_gaps,
    "team": _team,
    "trial_converted": _trial_converted,
    "cancelled_at_once": _cancelled_at_once,
    "contract_annual": _contract_annual,
    "pro_eur": _plain("pro", currency="eur"),
    "pro_jpy": _plain("pro", currency="jpy"),
    "repeating_coupon": _repeating_coupon,
    "contract_price": _contract_price,
    "more_seats": _more_seats,
    "credit_note": _credit_note,
    "paused": _paused,
    "contract_volume": _contract_volume,
    "cancelled_at_period_end": _cancelled_at_period_end,
    "grandfathered": _grandfathered,
    "pro_year": _plain("pro", interval="year"),
    "business_year": _plain("business", interval="year"),
    "contract_minimum": _contract_minimum,
    "trial_running": _trial_running,
    "referral_once": _referral_once,
    "cancels_soon": _cancels_soon,
    "logged_late": _logged_late,
    "within_included": _within_included,
    **ACCOUNT_PROFILES,
    **NOISE_PROFILES,
    "failed_lately": _failed_lately,
}


def honest_customer(world: World, index: int, turn: int) -> Customer:
    """The customer of the next profile in turn, so that every profile occurs."""
    name = list(PROFILES)[turn % len(PROFILES)]
    customer = PROFILES[name](world, index)
    customer.profile = name
    for other in customer.beside:
        other.profile = name
    return customer
