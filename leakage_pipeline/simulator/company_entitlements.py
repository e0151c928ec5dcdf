"""Writes what customers of the company may use, as Stripe derives it from their plans."""

from leakage_pipeline.simulator import stripe_objects as build
from leakage_pipeline.simulator.catalog import FEATURES
from leakage_pipeline.simulator.stripe_objects import StripeAccount

_RUNNING = frozenset({"active", "trialing", "past_due"})


def add_entitlements(account: StripeAccount) -> None:
    """Add the features of all plans, and those of the plan of every running subscription."""
    names = sorted({name for of_plan in FEATURES.values() for name in of_plan})
    account.features += [
        build.feature(f"feat_{name}", lookup_key=name, name=name.capitalize()) for name in names
    ]
    plans = {item["id"]: item["metadata"].get("plan", "") for item in account.products}
    entitled = {
        (subscription["customer"], name)
        for subscription in account.subscriptions
        if subscription["status"] in _RUNNING
        for item in subscription["items"]["data"]
        for name in FEATURES.get(plans.get(item["price"]["product"], ""), ())
    }
    account.active_entitlements += [
        build.active_entitlement(
            f"ent_{customer}_{name}", customer=customer, feature=f"feat_{name}", lookup_key=name
        )
        for customer, name in sorted(entitled)
    ]
