"""Drafts of changes to subscriptions: what would be set in Stripe, as a draft in the ledger.

We never change a subscription. Whoever approves a draft takes it on, makes the change in Stripe,
and the next run confirms it because Stripe shows it.
"""

from datetime import datetime
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.policy import Policy
from leakage_pipeline.recovery import ledger
from leakage_pipeline.recovery.ledger import Action, Json
from leakage_pipeline.recovery.outcome_errors import NotSentError, RefusedError
from leakage_pipeline.recovery.planning import Lane, plan_lane
from leakage_pipeline.recovery.stripe_writer import StripeWriter

CHANGE = "subscription_change"
# What somebody took on may be gone because they made the change: Stripe is asked once more.
_LANE = Lane((CHANGE,), "subscription_changes.sql", release_stays=False, withdraws_released=False)


def plan_changes(conn: Connection, policy: Policy, as_of: datetime) -> int:
    """Draft what the newest audit's advice calls for; gives how many drafts stand.

    Args:
        conn: Warehouse connection, after classification; committed at the end.
        policy: `messages.subscription_changes` turns it on.
        as_of: The audit's instant.
    """
    if policy.action_mode == "off" or not policy.messages.subscription_changes:
        return 0
    return plan_lane(conn, _LANE, policy.action_mode, as_of).planned


def settle(conn: Connection, writer: StripeWriter, action: Action, now: datetime) -> str:
    """Confirm a draft that somebody took on, when Stripe shows it; nothing is written there."""
    try:
        subscription = writer.get(f"/v1/subscriptions/{action.subscription_id}")
    except (RefusedError, NotSentError) as failure:
        return f"waits: {failure}"
    if not _is_made(subscription, action):
        who = action.approved_by or "a person"
        return f"waits: {who} makes this change in Stripe; the run after that confirms it"
    if action.status != "sent" and not ledger.claim(conn, action, by=ledger.AUTO, at=now):
        return "waits: it was changed meanwhile"
    ledger.confirm(conn, action.action_id, action.subscription_id, at=now)
    return "made in Stripe"


def _is_made(subscription: Json, action: Action) -> bool:
    params = action.request[0]["params"]
    if "pause_collection" in params:
        return subscription.get("pause_collection") is None
    if "discounts" in params:
        present = {_id(discount) for discount in subscription.get("discounts") or ()}
        return action.after.get("gone_discount") not in present
    items = {item["id"]: item for item in subscription["items"]["data"]}
    return bool(params.get("items")) and all(_has(items, each) for each in params["items"])


def _has(items: dict[str, Json], wanted: Json) -> bool:
    item = items.get(wanted["id"])
    if item is None:
        return False
    if "quantity" in wanted:
        return bool(item.get("quantity") == wanted["quantity"])
    return bool(item["price"]["id"] == wanted["price"])


def _id(discount: Any) -> str:
    return str(discount["id"] if isinstance(discount, dict) else discount)
