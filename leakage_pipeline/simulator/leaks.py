"""The leaks planted on customers, each finding type in several ways.

A variant takes an honest customer and makes one thing wrong. What that costs per period is worked
out in `ground_truth`. Add a variant by writing a function and naming it in `LEAKS`.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from leakage_pipeline.simulator import (
    leaks_accounts,
    leaks_billing,
    leaks_drafts,
    leaks_payments,
    leaks_usage,
)
from leakage_pipeline.simulator.catalog import UsageTerm, midnight
from leakage_pipeline.simulator.customers import (
    QUIET_DAYS,
    Customer,
    Leak,
    UsageFault,
    World,
    closed_periods,
)
from leakage_pipeline.simulator.customers_profiles import (
    cancel_at_end,
    cancel_inside,
    give_discount,
    sign,
)
from leakage_pipeline.simulator.invoicing_periods import add_months, grid
from leakage_pipeline.simulator.leaks_shared import INVOICE_GRACE, Variant
from leakage_pipeline.simulator.leaks_shared import settled as _settled
from leakage_pipeline.simulator.leaks_shared import some_closed as _some_closed
from leakage_pipeline.simulator.pricing import package

INCIDENT_MONTHS_AGO = 6
INCIDENT_SOURCE = "encode_4k"
RECENT_CHANGE = timedelta(days=70)


def incident_started_at(as_of: datetime) -> datetime:
    """When `encode_4k` stopped reporting, for a whole group of customers at once."""
    return midnight(add_months(as_of, -INCIDENT_MONTHS_AGO).date()) + timedelta(hours=9, minutes=17)


def _licence_only(world: World, index: int, oldest_of: int = 4) -> Customer:
    plan = ("pro", "business", "basic")[index % 3]
    return _settled(world, index, plan, oldest_of, has_usage=False)


# --- outdated_pricing ----------------------------------------------------------------------------


def _old_basic(world: World, index: int) -> Customer:
    return _settled(world, index, "basic", version=0)


def _old_pro(world: World, index: int) -> Customer:
    return _settled(world, index, "pro", 10, version=0)


def _old_team(world: World, index: int) -> Customer:
    seats = world.rng("seats", index).randint(4, 30)
    return _settled(world, index, "team", 8, version=0, quantity=seats)


def _old_yen(world: World, index: int) -> Customer:
    return _settled(world, index, "pro", 10, version=0, currency="jpy")


# --- missing_overage -----------------------------------------------------------------------------


def _no_item_by_contract(world: World, index: int) -> Customer:
    """5.00 per started 1,000 above 10,000 agreed, and nothing on the subscription charges it."""
    customer = _settled(world, index, "pro")
    customer.metered = [price for price in customer.metered if price.meter == "sms"]
    volumes = {"api_calls": world.rng("volume", index).randint(25_000, 90_000)}
    customer.volumes = {**volumes, "sms": customer.volumes["sms"]}
    term = UsageTerm("api_calls", package("500", 1000), included=10_000)
    sign(customer, terms=(term,), grace_percent=Decimal(5) if index % 2 else None)
    return customer


def _no_item_by_price_book(world: World, index: int) -> Customer:
    customer = _settled(world, index, "pro")
    customer.metered = [p for p in customer.metered if p.meter != "transcode_minutes"]
    return customer


def _line_absent(world: World, index: int) -> Customer:
    customer = _settled(world, index, "pro")
    for period in _some_closed(world, customer, 2):
        customer.lowered_lines["api_calls", period] = Decimal(0)
    return customer


def _line_lower(world: World, index: int) -> Customer:
    customer = _settled(world, index, "pro")
    for period in _some_closed(world, customer, 2):
        customer.lowered_lines["transcode_minutes", period] = Decimal("0.6")
    return customer


# --- unreported_usage and overbilled_usage -------------------------------------------------------


def _source_stopped(world: World, index: int) -> Customer:
    customer = _settled(world, index, "pro" if index % 2 else "basic", 8)
    since = incident_started_at(world.as_of)
    customer.usage_fault = UsageFault("lost", "transcode_minutes", since, source=INCIDENT_SOURCE)
    return customer


def _lost_for_a_while(world: World, index: int) -> Customer:
    customer = _settled(world, index, "basic")
    customer.usage_fault = _fault(world, customer, "lost", "api_calls")
    return customer


def _doubled_for_a_while(world: World, index: int) -> Customer:
    customer = _settled(world, index, "basic")
    customer.usage_fault = _fault(world, customer, "doubled", "transcode_minutes")
    return customer


def _doubled_since(world: World, index: int) -> Customer:
    customer = _settled(world, index, "pro")
    fault = _fault(world, customer, "doubled", "transcode_minutes")
    customer.usage_fault = replace(fault, until=None)
    return customer


def _fault(world: World, customer: Customer, kind: str, meter: str) -> UsageFault:
    """A part of the events, in one closed period and the one after it."""
    periods = customer.periods(world.as_of)
    first = _some_closed(world, customer, 1)[0]
    since, until = periods[first].start, periods[first + 1].end
    return UsageFault(kind, meter, since, until, share=0.4)  # type: ignore[arg-type]


# --- incorrect_discount --------------------------------------------------------------------------


def _annual_commitment_not_met(world: World, index: int) -> Customer:
    customer = _licence_only(world, index)
    sign(customer, discount_percent=Decimal(15), discount_reason="annual_commitment")
    give_discount(customer, percent=15, duration="forever", reason="ctr annual commitment")
    return customer


def _volume_threshold_not_met(world: World, index: int) -> Customer:
    customer = _settled(world, index, "pro")
    sign(
        customer,
        discount_percent=Decimal(10),
        discount_reason="volume_discount",
        threshold=("api_calls", 1_000_000),
    )
    give_discount(customer, percent=10, duration="forever", reason="ctr volume")
    return customer


def _referral_repeated(world: World, index: int) -> Customer:
    customer = _licence_only(world, index)
    sign(customer, discount_percent=Decimal(20), discount_reason="referral")
    give_discount(customer, percent=20, duration="forever", reason="ctr referral")
    return customer


def _exceeds_contract(world: World, index: int) -> Customer:
    customer = _licence_only(world, index)
    sign(customer, discount_percent=Decimal(10), discount_reason="negotiated")
    give_discount(customer, percent=25, duration="forever", reason="ctr negotiated")
    return customer


def _kept_past_its_end(world: World, index: int) -> Customer:
    customer = _licence_only(world, index, 7)
    give_discount(customer, percent=20, duration="repeating", months=3)
    if customer.grant is not None:
        customer.grant = replace(customer.grant, outlives_end=True)
    return customer


def _kept_past_the_contract(world: World, index: int) -> Customer:
    customer = _licence_only(world, index, 9)
    percent = Decimal(15)
    end = add_months(customer.start, 5).date() - timedelta(days=1)
    sign(customer, discount_percent=percent, discount_reason="negotiated", end_date=end)
    give_discount(customer, percent=15, duration="forever", reason="ctr negotiated")
    return customer


def _redeemed_after_expiry(world: World, index: int) -> Customer:
    customer = _licence_only(world, index)
    redeem_by = customer.start - timedelta(days=20)
    give_discount(customer, percent=30, duration="repeating", months=12, redeem_by=redeem_by)
    return customer


def _coupon_without_contract(world: World, index: int) -> Customer:
    customer = _licence_only(world, index)
    give_discount(customer, percent=15, duration="forever", reason="friend of the house")
    return customer


def _discount_not_given(world: World, index: int) -> Customer:
    customer = _licence_only(world, index)
    sign(customer, discount_percent=Decimal(12), discount_reason="negotiated")
    return customer


# --- access, features, seats ---------------------------------------------------------------------


def _changed_lately(world: World, customer: Customer, index: int) -> None:
    """Every third account was touched lately: only periods that begin after it count."""
    if index % 3 == 0:
        at = (world.as_of - RECENT_CHANGE).replace(microsecond=0)
        customer.account.updated_at = max(customer.account.updated_at, at)


def _feature_beyond_plan(plan: str, feature: str) -> Variant:
    def build(world: World, index: int) -> Customer:
        customer = _settled(world, index, plan)
        customer.account.features = (*customer.account.features, feature)
        _changed_lately(world, customer, index)
        return customer

    return build


def _more_seats_than_billed(world: World, index: int) -> Customer:
    rng = world.rng("seats", index)
    customer = _settled(world, index, "team", quantity=rng.randint(3, 20))
    customer.account.seats += rng.randint(2, 9)
    _changed_lately(world, customer, index)
    return customer


def _access_after_period_end(world: World, index: int) -> Customer:
    customer = _settled(world, index, "basic" if index % 2 else "pro", 5, has_usage=False)
    cancel_at_end(world, customer)
    return _still_open(world, customer, index)


def _access_after_cancelling_at_once(world: World, index: int) -> Customer:
    # The second of the cancellation is drawn anew until its own months end well before as_of.
    for attempt in range(50):
        customer = _settled(world, index, "team", 5, quantity=2 + index % 7)
        cancel_inside(replace(world, seed=world.seed + attempt), customer, credits_rest=False)
        if _bounds_are_quiet(world, customer):
            break
    return _still_open(world, customer, index)


def _bounds_are_quiet(world: World, customer: Customer) -> bool:
    ended_at = customer.ended_at or world.as_of
    quiet_from = world.as_of - timedelta(days=QUIET_DAYS)
    for start, _ in grid(ended_at, customer.interval):
        if start > world.as_of:
            return True
        if start > quiet_from:
            return False
    return True


def _still_open(world: World, customer: Customer, index: int) -> Customer:
    ended_at = customer.ended_at or world.as_of
    if index % 3 == 0:
        customer.account.updated_at = min(
            ended_at + timedelta(days=40), world.as_of - timedelta(days=1)
        )
    return customer


# --- missing_invoice -----------------------------------------------------------------------------


def _invoice_never_made(world: World, index: int) -> Customer:
    customer = _licence_only(world, index, 6)
    customer.missing_invoices = dict.fromkeys(_old_renewals(world, customer, 2), "absent")
    return customer


def _invoice_void(world: World, index: int) -> Customer:
    customer = _licence_only(world, index, 6)
    customer.missing_invoices = dict.fromkeys(_old_renewals(world, customer, 1), "void")
    return customer


def _mixed_invoice_never_made(world: World, index: int) -> Customer:
    customer = _settled(world, index, "basic", 6)
    customer.missing_invoices = dict.fromkeys(_old_renewals(world, customer, 1), "absent")
    return customer


def _old_renewals(world: World, customer: Customer, count: int) -> list[int]:
    renewals = [i for i in closed_periods(customer, world.as_of, INVOICE_GRACE) if i > 0]
    return sorted(world.rng("renewals", customer.index).sample(renewals, count))


LEAKS: dict[str, tuple[tuple[str, str | None, Variant], ...]] = {
    # type -> (variant, meter, builder); dealt out in turn.
    "outdated_pricing": (
        ("pro_before_the_rise", None, _old_pro),
        ("basic_legacy", None, _old_basic),
        ("team_before_the_rise", None, _old_team),
        ("yen_before_the_rise", None, _old_yen),
    ),
    "missing_overage": (
        ("no_item_by_contract", "api_calls", _no_item_by_contract),
        ("line_absent", "api_calls", _line_absent),
        ("no_item_by_price_book", "transcode_minutes", _no_item_by_price_book),
        ("line_lower", "transcode_minutes", _line_lower),
    ),
    "unreported_usage": (
        ("source_stopped", "transcode_minutes", _source_stopped),
        ("source_stopped", "transcode_minutes", _source_stopped),
        ("lost_for_a_while", "api_calls", _lost_for_a_while),
    ),
    "overbilled_usage": (
        ("doubled_since", "transcode_minutes", _doubled_since),
        ("doubled_for_a_while", "transcode_minutes", _doubled_for_a_while),
    ),
    "incorrect_discount": (
        ("annual_commitment_not_met", None, _annual_commitment_not_met),
        ("volume_threshold_not_met", None, _volume_threshold_not_met),
        ("referral_repeated", None, _referral_repeated),
        ("exceeds_contract", None, _exceeds_contract),
        ("discount_past_end", None, _kept_past_its_end),
        ("discount_past_contract", None, _kept_past_the_contract),
        ("redeemed_after_expiry", None, _redeemed_after_expiry),
        ("coupon_without_contract", None, _coupon_without_contract),
        ("discount_not_given", None, _discount_not_given),
    ),
    "feature_leakage": (
        ("basic_with_sso", None, _feature_beyond_plan("basic", "sso")),
        ("pro_with_scim", None, _feature_beyond_plan("pro", "scim")),
    ),
    "missing_invoice": (
        ("licence_never_invoiced", None, _invoice_never_made),
        ("mixed_never_invoiced", None, _mixed_invoice_never_made),
        ("licence_void", None, _invoice_void),
        ("mixed_never_invoiced", None, _mixed_invoice_never_made),
    ),
    "access_after_cancellation": (
        ("after_period_end", None, _access_after_period_end),
        ("after_cancelling_at_once", None, _access_after_cancelling_at_once),
    ),
    "seat_leakage": (("more_seats_than_billed", None, _more_seats_than_billed),),
    **leaks_billing.LEAKS,
    **leaks_accounts.LEAKS,
    **leaks_usage.LEAKS,
    **leaks_payments.LEAKS,
}


for _type, _variants in leaks_drafts.VARIANTS.items():
    LEAKS[_type] = (*LEAKS[_type], *_variants)


def leaky_customer(world: World, index: int, turn: int) -> Customer:
    """The customer of the next leak in turn: all types once, then their next variants."""
    leakage_type = list(LEAKS)[turn % len(LEAKS)]
    variants = LEAKS[leakage_type]
    name, meter, build = variants[turn // len(LEAKS) % len(variants)]
    customer = build(world, index)
    customer.profile = f"{leakage_type}/{name}"
    besides = leaks_usage.BESIDES.get(name, ())
    is_on_draft = name in leaks_drafts.ON_DRAFTS
    customer.leak = Leak(leakage_type, name, meter, besides, is_on_draft=is_on_draft)
    for other in customer.beside:
        other.profile, other.leak = customer.profile, customer.leak
    return customer
