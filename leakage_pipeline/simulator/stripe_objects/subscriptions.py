"""Who buys: customers, and subscriptions with their items.

Periods stand on the items (`current_period_*`), discounts are lists of `discount()` objects.
"""
# ruff: noqa: PLR0913 - a builder takes one keyword per field of the object it builds

from collections.abc import Mapping, Sequence

from leakage_pipeline.simulator.stripe_objects.shapes import (
    JsonObject,
    embedded_list,
    metadata_of,
    nulls,
)


def customer(
    customer_id: str,
    *,
    created: int,
    name: str | None = None,
    email: str | None = None,
    currency: str | None = None,
    balance: int = 0,
    delinquent: bool = False,
    discount: JsonObject | None = None,
    country: str | None = None,
    default_payment_method: str | None = None,
    test_clock: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """A customer; `balance` is negative for credit, as in Stripe. `discount` stays an object."""
    address = nulls("city", "country", "line1", "line2", "postal_code", "state")
    return {
        "id": customer_id,
        "object": "customer",
        "address": None if country is None else {**address, "country": country},
        "balance": balance,
        "created": created,
        "currency": currency,
        "delinquent": delinquent,
        "discount": discount,
        "email": email,
        "invoice_prefix": customer_id[-8:].upper(),
        "invoice_settings": {
            **nulls("custom_fields", "footer", "rendering_options"),
            "default_payment_method": default_payment_method,
        },
        "livemode": False,
        "metadata": metadata_of(metadata),
        "name": name,
        "next_invoice_sequence": 1,
        "preferred_locales": [],
        "tax_exempt": "none",
        "test_clock": test_clock,
        **nulls("customer_account", "default_source", "description", "phone", "shipping"),
    }


def deleted_customer(customer_id: str) -> JsonObject:
    """The tombstone of a deleted customer: absent from lists, this on retrieve."""
    return {"id": customer_id, "object": "customer", "deleted": True}


def subscription_item(
    item_id: str,
    *,
    subscription: str,
    price: JsonObject,
    created: int,
    current_period_start: int,
    current_period_end: int,
    quantity: int | None = 1,
    discounts: Sequence[JsonObject] = (),
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """An item at one price (the whole price object). Metered items have no `quantity` key."""
    metered = bool(price["recurring"]) and price["recurring"]["usage_type"] == "metered"
    built: JsonObject = {
        "id": item_id,
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": created,
        "current_period_end": current_period_end,
        "current_period_start": current_period_start,
        "current_trial": None,
        "discounts": list(discounts),
        "metadata": metadata_of(metadata),
        "price": price,
        "subscription": subscription,
        "tax_rates": [],
    }
    if not metered and quantity is not None:
        built["quantity"] = quantity
    return built


def billing_mode(
    kind: str = "flexible", *, updated_at: int | None = None, proration_discounts: str = "included"
) -> JsonObject:
    """`billing_mode` of a subscription: flexible (the default today) or classic."""
    if kind == "classic":
        return {"flexible": None, "type": "classic"}
    mode: JsonObject = {
        "flexible": {"proration_discounts": proration_discounts},
        "type": "flexible",
    }
    if updated_at is not None:
        mode["updated_at"] = updated_at
    return mode


def subscription(
    subscription_id: str,
    *,
    customer: str,
    currency: str,
    created: int,
    billing_cycle_anchor: int,
    items: Sequence[JsonObject],
    status: str = "active",
    start_date: int | None = None,
    trial_start: int | None = None,
    trial_end: int | None = None,
    cancel_at: int | None = None,
    cancel_at_period_end: bool = False,
    canceled_at: int | None = None,
    ended_at: int | None = None,
    cancellation_reason: str | None = None,
    pause_collection: str | None = None,
    pause_resumes_at: int | None = None,
    collection_method: str = "charge_automatically",
    days_until_due: int | None = None,
    discounts: Sequence[JsonObject] = (),
    latest_invoice: str | None = None,
    schedule: str | None = None,
    mode: JsonObject | None = None,
    default_payment_method: str | None = None,
    paused: tuple[str, int] | None = None,
    pending_update: JsonObject | None = None,
    test_clock: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """A subscription with its items; `metadata["account_id"]` names the product account.

    `pause_collection` is the behaviour (keep_as_draft, mark_uncollectible, void) while collection
    is paused; the status stays as it is. `mode` is a `billing_mode()`. `paused` is (why, since) of
    a subscription in status paused: pause_requested, trial_end_without_payment_method and others.
    """
    collection = {"behavior": pause_collection, "resumes_at": pause_resumes_at}
    return {
        "id": subscription_id,
        "object": "subscription",
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": billing_cycle_anchor,
        "billing_mode": mode or billing_mode(),
        "billing_schedules": [],
        "cancel_at": cancel_at,
        "cancel_at_period_end": cancel_at_period_end,
        "canceled_at": canceled_at,
        "cancellation_details": {"comment": None, "feedback": None, "reason": cancellation_reason},
        "collection_method": collection_method,
        "created": created,
        "currency": currency,
        "customer": customer,
        "days_until_due": days_until_due,
        "default_tax_rates": [],
        "discounts": list(discounts),
        "ended_at": ended_at,
        "invoice_settings": {
            **nulls("account_tax_ids", "custom_fields", "description", "footer"),
            "issuer": {"type": "self"},
        },
        "items": embedded_list(f"/v1/subscription_items?subscription={subscription_id}", items),
        "latest_invoice": latest_invoice,
        "livemode": False,
        "metadata": metadata_of(metadata),
        "pause_collection": None if pause_collection is None else collection,
        "payment_settings": {
            **nulls("payment_method_options", "payment_method_types"),
            "save_default_payment_method": "off",
        },
        "schedule": schedule,
        "start_date": created if start_date is None else start_date,
        "status": status,
        "pending_update": pending_update,
        "default_payment_method": default_payment_method,
        "status_details": {"paused": None if paused is None else _paused(*paused)},
        "test_clock": test_clock,
        "trial_end": trial_end,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": trial_start,
        **nulls(
            *("application", "application_fee_percent", "billing_cycle_anchor_config"),
            *("billing_thresholds", "customer_account"),
            *("default_source", "description", "managed_payments"),
            *("next_pending_invoice_item_invoice", "on_behalf_of"),
            *("pending_invoice_item_interval", "pending_setup_intent"),
            "transfer_data",
        ),
    }


def _paused(why: str, since: int) -> JsonObject:
    return {"subscription": {"type": why}, "transitioned_at": since, "type": "subscription"}


def schedule_item(
    price: str, *, quantity: int | None = 1, metadata: Mapping[str, str] | None = None
) -> JsonObject:
    """An item of a phase; metered ones have no `quantity` key."""
    built: JsonObject = {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": metadata_of(metadata),
        "price": price,
        "tax_rates": [],
    }
    if quantity is not None:
        built["quantity"] = quantity
    return built


def schedule_phase(
    start: int,
    end: int,
    *,
    currency: str,
    items: Sequence[JsonObject],
    proration_behavior: str = "create_prorations",
    trial_end: int | None = None,
) -> JsonObject:
    """What the subscription is from `start` to `end`."""
    return {
        "add_invoice_items": [],
        "currency": currency,
        "default_tax_rates": [],
        "discounts": [],
        "end_date": end,
        "items": list(items),
        "metadata": {},
        "proration_behavior": proration_behavior,
        "start_date": start,
        "trial_end": trial_end,
        **nulls(
            *("application_fee_percent", "billing_cycle_anchor", "billing_thresholds"),
            *("collection_method", "default_payment_method", "description"),
            *("invoice_settings", "on_behalf_of", "transfer_data"),
        ),
    }


def subscription_schedule(
    schedule_id: str,
    *,
    customer: str,
    created: int,
    phases: Sequence[JsonObject],
    subscription: str | None = None,
    status: str = "active",
    current_phase: tuple[int, int] | None = None,
    released_at: int | None = None,
    completed_at: int | None = None,
    canceled_at: int | None = None,
    end_behavior: str = "release",
    mode: JsonObject | None = None,
    test_clock: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """A plan of what a subscription becomes when. A released one has let go of it."""
    start, end = current_phase or (None, None)
    released = status == "released"
    return {
        "id": schedule_id,
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": mode or billing_mode(),
        "canceled_at": canceled_at,
        "completed_at": completed_at,
        "created": created,
        "current_phase": None if start is None else {"end_date": end, "start_date": start},
        "customer": customer,
        "customer_account": None,
        "default_settings": {
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": "automatic",
            "collection_method": "charge_automatically",
            "invoice_settings": {
                **nulls("account_tax_ids", "custom_fields", "days_until_due", "description"),
                "footer": None,
                "issuer": {"type": "self"},
            },
            **nulls(
                *("application_fee_percent", "billing_thresholds", "default_payment_method"),
                *("description", "on_behalf_of", "transfer_data"),
            ),
        },
        "end_behavior": end_behavior,
        "livemode": False,
        "metadata": metadata_of(metadata),
        "phases": list(phases),
        "released_at": released_at,
        "released_subscription": subscription if released else None,
        "status": status,
        "subscription": None if released else subscription,
        "test_clock": test_clock,
    }
