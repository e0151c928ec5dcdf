"""What is sold and how it is metered: products, prices with tiers, coupons, discounts, meters.

Amounts are minor units (cents); decimal amounts become text. Timestamps are whole seconds.
"""
# ruff: noqa: PLR0913 - a builder takes one keyword per field of the object it builds

from collections.abc import Mapping, Sequence
from decimal import Decimal

from leakage_pipeline.simulator.stripe_objects.shapes import (
    JsonObject,
    Number,
    metadata_of,
    nulls,
    text_or_none,
    whole,
)


def product(
    product_id: str,
    *,
    name: str,
    created: int,
    active: bool = True,
    default_price: str | None = None,
    unit_label: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """A product; `metadata["plan"]` names the plan that its prices belong to."""
    return {
        "id": product_id,
        "object": "product",
        "active": active,
        "created": created,
        "default_price": default_price,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": metadata_of(metadata),
        "name": name,
        "type": "service",
        "unit_label": unit_label,
        "updated": created,
        **nulls(
            *("description", "package_dimensions", "shippable", "statement_descriptor"),
            *("tax_code", "url"),
        ),
    }


def feature(feature_id: str, *, lookup_key: str, name: str, active: bool = True) -> JsonObject:
    """A feature that products may give access to."""
    return {
        "id": feature_id,
        "object": "entitlements.feature",
        "active": active,
        "livemode": False,
        "lookup_key": lookup_key,
        "metadata": {},
        "name": name,
    }


def active_entitlement(
    entitlement_id: str, *, customer: str, feature: str, lookup_key: str
) -> JsonObject:
    """A feature that a customer may use; the server does not show whose it is."""
    return {
        "id": entitlement_id,
        "object": "entitlements.active_entitlement",
        "customer": customer,
        "feature": feature,
        "livemode": False,
        "lookup_key": lookup_key,
    }


def tier(
    up_to: int | None,
    *,
    unit_amount: Number | None = None,
    flat_amount: Number | None = None,
) -> JsonObject:
    """One tier of a tiered price; `up_to` is inclusive, None is the open last tier."""
    return {
        "flat_amount": whole(flat_amount),
        "flat_amount_decimal": text_or_none(flat_amount),
        "unit_amount": whole(unit_amount),
        "unit_amount_decimal": text_or_none(unit_amount),
        "up_to": up_to,
    }


def currency_option(
    *,
    unit_amount: Number | None = None,
    tiers: Sequence[JsonObject] | None = None,
    tax_behavior: str = "unspecified",
) -> JsonObject:
    """The price in one more currency: per unit or with tiers of its own."""
    option: JsonObject = {
        "custom_unit_amount": None,
        "tax_behavior": tax_behavior,
        "unit_amount": whole(unit_amount),
        "unit_amount_decimal": text_or_none(unit_amount),
    }
    if tiers is not None:
        option["tiers"] = list(tiers)
    return option


def price(
    price_id: str,
    *,
    product: str,
    currency: str,
    created: int,
    unit_amount: Number | None = None,
    tiers: Sequence[JsonObject] | None = None,
    tiers_mode: str | None = None,
    transform_quantity: tuple[int, str] | None = None,
    interval: str | None = "month",
    interval_count: int = 1,
    usage_type: str = "licensed",
    meter: str | None = None,
    currency_options: Mapping[str, JsonObject] | None = None,
    active: bool = True,
    lookup_key: str | None = None,
    nickname: str | None = None,
    tax_behavior: str = "unspecified",
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """A price: per unit when `unit_amount` is given (minor units, up to 12 decimals), else tiered.

    `transform_quantity` is (divide_by, "up" or "down"). `interval` None makes a one-time price.
    `tiers` and `currency_options` are kept on the object; a server shows them only when expanded.

    Raises:
        ValueError: When Stripe would refuse the combination.
    """
    _check_price(unit_amount, tiers, tiers_mode, transform_quantity, usage_type, meter)
    base = currency_option(unit_amount=unit_amount, tiers=tiers, tax_behavior=tax_behavior)
    built: JsonObject = {
        "id": price_id,
        "object": "price",
        "active": active,
        "billing_scheme": "per_unit" if tiers is None else "tiered",
        "created": created,
        "currency": currency,
        "currency_options": {currency: base, **(currency_options or {})},
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": lookup_key,
        "metadata": metadata_of(metadata),
        "nickname": nickname,
        "product": product,
        "recurring": None,
        "tax_behavior": tax_behavior,
        "tiers_mode": tiers_mode,
        "transform_quantity": None,
        "type": "one_time" if interval is None else "recurring",
        "unit_amount": whole(unit_amount),
        "unit_amount_decimal": text_or_none(unit_amount),
    }
    if tiers is not None:
        built["tiers"] = list(tiers)
    if transform_quantity is not None:
        divide_by, rounding = transform_quantity
        built["transform_quantity"] = {"divide_by": divide_by, "round": rounding}
    if interval is not None:
        built["recurring"] = {
            "interval": interval,
            "interval_count": interval_count,
            "meter": meter,
            "trial_period_days": None,
            "usage_type": usage_type,
        }
    return built


def _check_price(
    unit_amount: Number | None,
    tiers: Sequence[JsonObject] | None,
    tiers_mode: str | None,
    transform_quantity: tuple[int, str] | None,
    usage_type: str,
    meter: str | None,
) -> None:
    wrong = None
    if (unit_amount is None) == (tiers is None):
        wrong = "a price has either unit_amount or tiers"
    elif (tiers is None) != (tiers_mode is None):
        wrong = "tiers and tiers_mode go together"
    elif tiers is not None and (not tiers or tiers[-1]["up_to"] is not None):
        wrong = "the last tier must be open (up_to None)"
    elif tiers is not None and transform_quantity is not None:
        wrong = "transform_quantity cannot be combined with tiers"
    elif (usage_type == "metered") != (meter is not None):
        wrong = "a metered price, and no other, names its meter"
    if wrong:
        raise ValueError(wrong)


def coupon(
    coupon_id: str,
    *,
    created: int,
    percent_off: Number | None = None,
    amount_off: int | None = None,
    currency: str | None = None,
    duration: str = "forever",
    duration_in_months: int | None = None,
    name: str | None = None,
    redeem_by: int | None = None,
    max_redemptions: int | None = None,
    times_redeemed: int = 0,
    valid: bool = True,
    applies_to_products: Sequence[str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """A coupon of percent_off or of amount_off (minor units of `currency`).

    `percent_off` becomes a JSON number, as Stripe sends it: at most two decimals survive exactly.
    `applies_to` is kept on the object; a server shows it only when expanded.

    Raises:
        ValueError: When both or neither of the two amounts are given.
    """
    if (percent_off is None) == (amount_off is None):
        message = "a coupon has either percent_off or amount_off"
        raise ValueError(message)
    built: JsonObject = {
        "id": coupon_id,
        "object": "coupon",
        "amount_off": amount_off,
        "created": created,
        "currency": currency,
        "duration": duration,
        "duration_in_months": duration_in_months,
        "livemode": False,
        "max_redemptions": max_redemptions,
        "metadata": metadata_of(metadata),
        "name": name,
        "percent_off": None if percent_off is None else float(Decimal(percent_off)),
        "redeem_by": redeem_by,
        "times_redeemed": times_redeemed,
        "valid": valid,
    }
    if applies_to_products is not None:
        built["applies_to"] = {"products": list(applies_to_products)}
    return built


def promotion_code(
    promotion_code_id: str,
    *,
    coupon: str,
    code: str,
    created: int,
    active: bool = True,
    customer: str | None = None,
    expires_at: int | None = None,
    max_redemptions: int | None = None,
    times_redeemed: int = 0,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """A code that customers type in to get a coupon."""
    return {
        "id": promotion_code_id,
        "object": "promotion_code",
        "active": active,
        "code": code,
        "created": created,
        "customer": customer,
        "customer_account": None,
        "expires_at": expires_at,
        "livemode": False,
        "max_redemptions": max_redemptions,
        "metadata": metadata_of(metadata),
        "promotion": {"coupon": coupon, "type": "coupon"},
        "restrictions": {
            "first_time_transaction": False,
            **nulls("minimum_amount", "minimum_amount_currency"),
        },
        "times_redeemed": times_redeemed,
    }


def discount(
    discount_id: str,
    *,
    coupon: str,
    start: int,
    end: int | None = None,
    customer: str | None = None,
    subscription: str | None = None,
    subscription_item: str | None = None,
    invoice: str | None = None,
    invoice_item: str | None = None,
    promotion_code: str | None = None,
) -> JsonObject:
    """A coupon at work on a customer, subscription, item, invoice or invoice item."""
    return {
        "id": discount_id,
        "object": "discount",
        "checkout_session": None,
        "customer": customer,
        "customer_account": None,
        "end": end,
        "invoice": invoice,
        "invoice_item": invoice_item,
        "promotion_code": promotion_code,
        "source": {"coupon": coupon, "type": "coupon"},
        "start": start,
        "subscription": subscription,
        "subscription_item": subscription_item,
    }


def meter(
    meter_id: str,
    *,
    event_name: str,
    created: int,
    display_name: str | None = None,
    formula: str = "sum",
    event_time_window: str | None = None,
    customer_event_key: str = "stripe_customer_id",
    value_event_key: str = "value",
    deactivated_at: int | None = None,
) -> JsonObject:
    """A billing meter; inactive when `deactivated_at` is given. `formula`: sum, count or last."""
    return {
        "id": meter_id,
        "object": "billing.meter",
        "created": created,
        "customer_mapping": {"event_payload_key": customer_event_key, "type": "by_id"},
        "default_aggregation": {"formula": formula},
        "display_name": display_name or event_name,
        "event_name": event_name,
        "event_time_window": event_time_window,
        "livemode": False,
        "status": "active" if deactivated_at is None else "inactive",
        "status_transitions": {"deactivated_at": deactivated_at},
        "updated": created if deactivated_at is None else deactivated_at,
        "value_settings": {"event_payload_key": value_event_key},
    }
