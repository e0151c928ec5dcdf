"""Looks at Stripe itself, right before something is sent and when it is not known what arrived.

The audit is hours old when a person has released an action: the lane must still fit, nobody may
have corrected the same thing by hand, and what we sent before must not be there already.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from leakage_pipeline.recovery import credit_notes
from leakage_pipeline.recovery.found import Found
from leakage_pipeline.recovery.ledger import Action, Json
from leakage_pipeline.recovery.stripe_writer import StripeWriter

_LIVE = {"active", "trialing", "past_due"}
_FINAL = {"open", "paid", "uncollectible"}
_OLDEST_EVENT = 35 * 86_400 - 3600
_LONGEST_DRAFT = 31 * 86_400
"""How long an invoice may have been a draft that the audit left out."""
_DRAFT_MARGIN = 600
"""Seconds that a draft must still have, so that what we send is counted before it is final."""


def find_sent(writer: StripeWriter, action: Action) -> Found:
    """Whether Stripe has what the action's request would make."""
    if action.action == "invoice_item":
        return _find_item(writer, action)
    if action.action == "credit_note":
        return credit_notes.find(writer, action)
    return _find_usage(writer, action)


def _find_item(writer: StripeWriter, action: Action) -> Found:
    """Our item by the id in its metadata, pending or billed; or one that may be the same."""
    start, end = _window(action)
    items = writer.every(
        "/v1/invoiceitems", {"customer": action.customer_id, "created": {"gte": start}}
    )
    reason = ""
    for item in items:
        metadata = item.get("metadata") or {}
        if metadata.get("leakage_action") == action.action_id:
            return Found("there", str(item["id"]))
        if metadata.get("leakage_detection") == action.detection_id:
            reason = f"an invoice item about this finding is there already: {item['id']}"
        elif "leakage_action" not in metadata and _may_be_the_same(item, action, start, end):
            reason = reason or f"somebody has billed this period by hand, it seems: {item['id']}"
    return Found("unclear", reason=reason) if reason else Found("absent")


def _may_be_the_same(item: Json, action: Action, start: int, end: int) -> bool:
    """A charge made by hand, for our period, or after it with our amount."""
    owner = (item.get("parent") or {}).get("subscription_details") or {}
    if item["proration"] or owner.get("subscription_item") or item["amount"] <= 0:
        return False
    overlaps = item["period"]["start"] < end and item["period"]["end"] > start
    asked = action.request[0]["params"]["amount"]
    return bool(overlaps or (item["date"] >= end and item["amount"] == asked))


def _find_usage(writer: StripeWriter, action: Action) -> Found:
    """The meter's sum of the corrected span: as before, as after, or something else."""
    seen = summary(writer, action)
    before, after = Decimal(action.before["metered"]), Decimal(action.after["metered"])
    if seen == after:
        return Found("there")
    if seen == before:
        return Found("absent")
    reason = f"the meter says {seen:f}, neither {before:f} as before nor {after:f} as after"
    return Found("unclear", reason=reason)


def summary(writer: StripeWriter, action: Action) -> Decimal:
    """What the meter has for the action's span; no row is 0."""
    rows = writer.every(
        f"/v1/billing/meters/{action.before['meter_id']}/event_summaries",
        {
            "customer": action.customer_id,
            "start_time": action.before["summary_start"],
            "end_time": action.before["summary_end"],
        },
    )
    return sum((Decimal(row["aggregated_value"]) for row in rows), Decimal(0))


def objection(writer: StripeWriter, action: Action, now: datetime) -> str | None:
    """Why the action does not fit Stripe's present state any more; None when it does."""
    if action.action == "credit_note":
        return credit_notes.objection(writer, action)
    return _objection_by_subscription(writer, action, now)


def _objection_by_subscription(writer: StripeWriter, action: Action, now: datetime) -> str | None:
    subscription = writer.get(f"/v1/subscriptions/{action.subscription_id}")
    if subscription["customer"] != action.customer_id:
        return "the subscription belongs to another customer"
    if subscription["currency"] != action.currency:
        return "the subscription has another currency"
    if subscription["status"] not in _LIVE:
        return f"the subscription is {subscription['status']} now"
    if subscription.get("pause_collection"):
        return "collection is paused now"
    if action.action == "invoice_item":
        return _objection_to_item(writer, action)
    drafts = writer.every(
        "/v1/invoices", {"subscription": action.subscription_id, "status": "draft"}
    )
    return _objection_to_usage(action, subscription, writer, drafts, int(now.timestamp()))


def _objection_to_item(writer: StripeWriter, action: Action) -> str | None:
    """The audit's invoices still count, and none that it did not see bills the period."""
    start, end = _window(action)
    for invoice_id in action.before.get("invoices", ()):
        invoice = writer.get(f"/v1/invoices/{invoice_id}")
        if invoice["status"] not in _FINAL:
            return f"the invoice {invoice_id} is {invoice['status']} now"
    audited = int(action.updated_at.timestamp())
    newer = {
        "subscription": action.subscription_id,
        "created": {"gte": audited - _LONGEST_DRAFT},
    }
    for invoice in writer.every("/v1/invoices", newer):
        final = invoice["status_transitions"]["finalized_at"]
        if invoice["status"] == "void" or (final is not None and final <= audited):
            continue
        for line in writer.every(f"/v1/invoices/{invoice['id']}/lines", {}):
            is_ours = "leakage_action" in (line.get("metadata") or {})
            if start <= line["period"]["start"] < end and not is_ours:
                return f"the invoice {invoice['id']} bills the period too; the audit had it not yet"
    return None


def _objection_to_usage(
    action: Action, subscription: Json, writer: StripeWriter, drafts: Iterable[Json], now: int
) -> str | None:
    instants = [int(request["params"]["timestamp"]) for request in action.request]
    if min(instants) < now - _OLDEST_EVENT:
        return "Stripe takes no event that is older than 35 days"
    at = max(instants)
    meter = action.before["meter_id"]
    for item in _items(writer, subscription):
        is_metered = (item["price"].get("recurring") or {}).get("meter") == meter
        if is_metered and item["current_period_start"] <= at < item["current_period_end"]:
            return None if now < item["current_period_end"] else _NOT_FINAL
    for draft in drafts:
        finalizes = draft.get("automatically_finalizes_at")
        lines = writer.every(f"/v1/invoices/{draft['id']}/lines", {})
        if finalizes and finalizes > now + _DRAFT_MARGIN and any(_bills(e, at) for e in lines):
            return None
    return "the invoice of the period is final: Stripe would not bill the event any more"


_NOT_FINAL = "the period has just ended: its draft is not there yet"


def _bills(line: Json, at: int) -> bool:
    return bool(line["period"]["start"] <= at < line["period"]["end"])


def _items(writer: StripeWriter, subscription: Json) -> Iterable[Json]:
    items = subscription["items"]
    if not items.get("has_more"):
        return list(items["data"])
    return writer.every("/v1/subscription_items", {"subscription": subscription["id"]})


def _window(action: Action) -> tuple[int, int]:
    """The corrected period, in epoch seconds."""
    assert action.window_start is not None  # noqa: S101 - what moves money has a window
    assert action.window_end is not None  # noqa: S101
    return int(action.window_start.timestamp()), int(action.window_end.timestamp())
