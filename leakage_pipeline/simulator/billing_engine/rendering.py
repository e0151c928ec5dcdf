"""The subscription as Stripe shows it at a second of its life.

Invoices are rendered in `settlement`, because their totals depend on the customer's balance.
"""

from leakage_pipeline.simulator import stripe_objects as build
from leakage_pipeline.simulator.billing_engine.ledger import ActiveDiscount, Item, Subscription
from leakage_pipeline.simulator.billing_engine.prices import price_object
from leakage_pipeline.simulator.stripe_objects import JsonObject

DAYS_UNTIL_DUE = 30


def discount_object(active: ActiveDiscount, sub: Subscription) -> JsonObject:
    """A discount of the subscription or of one of its items."""
    on_item = active.item_id is not None
    return build.discount(
        active.discount.discount_id,
        coupon=active.discount.coupon.coupon_id,
        start=active.start,
        end=active.end,
        customer=sub.buyer.customer_id,
        subscription=sub.plan.subscription_id,
        subscription_item=active.item_id if on_item else None,
    )


def subscription_object(sub: Subscription, at: int) -> JsonObject:
    """The subscription with all its items, as it stands after what happened at `at`."""
    ends = sub.cancel_at is not None or sub.canceled_at is not None
    sent = sub.plan.sends_invoices
    shown = build.subscription(
        sub.plan.subscription_id,
        customer=sub.buyer.customer_id,
        currency=sub.currency,
        created=sub.created,
        billing_cycle_anchor=sub.anchor,
        items=[_item_object(item, sub, at) for item in sub.items],
        status=sub.status,
        start_date=sub.start,
        trial_start=sub.trial_start,
        trial_end=sub.trial_end,
        cancel_at=sub.cancel_at,
        cancel_at_period_end=sub.cancels_at_period_end,
        canceled_at=sub.canceled_at,
        ended_at=sub.ended_at,
        cancellation_reason="cancellation_requested" if ends else None,
        pause_collection=sub.pause_collection,
        collection_method="send_invoice" if sent else "charge_automatically",
        days_until_due=DAYS_UNTIL_DUE if sent else None,
        discounts=[
            discount_object(active, sub)
            for active in sub.discounts
            if active.item_id is None and active.applies(at)
        ],
        latest_invoice=sub.invoices[-1].invoice_id if sub.invoices else None,
        mode=build.billing_mode(
            sub.mode,
            proration_discounts="itemized" if sub.itemizes_prorations else "included",
        ),
        metadata=dict(sub.plan.metadata),
    )
    if sub.paused_at is not None:
        shown["status_details"] = {
            "paused": {
                "subscription": {"type": "pause_requested"},
                "transitioned_at": sub.paused_at,
                "type": "subscription",
            }
        }
    return shown


def _item_object(item: Item, sub: Subscription, at: int) -> JsonObject:
    return build.subscription_item(
        item.item_id,
        subscription=sub.plan.subscription_id,
        price=price_object(item.price),
        created=item.created,
        current_period_start=item.start,
        current_period_end=item.end,
        quantity=item.quantity,
        discounts=[
            discount_object(active, sub)
            for active in sub.discounts
            if active.item_id == item.item_id and active.applies(at)
        ],
    )
