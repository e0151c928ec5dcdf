"""Stripe's events of a subscription's life, with what changed in `previous_attributes`.

Stripe keeps events for 30 days; who renders an account leaves older ones out.
"""

from leakage_pipeline.simulator.stripe_objects import JsonObject

KEPT_FOR = 30 * 86_400


def record(
    events: list[JsonObject], before: JsonObject | None, after: JsonObject, at: int, *, is_new: bool
) -> None:
    """Append the event of this change, when anything changed at all."""
    previous = {} if before is None else _changed(before, after)
    if not is_new and not previous:
        return
    kind = "created" if is_new else _kind(previous, after)
    data: JsonObject = {"object": after}
    if kind == "updated":
        data["previous_attributes"] = previous
    events.append(
        {
            "id": f"evt_{after['id'][4:]}_{len(events) + 1:03d}",
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": at,
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": {"id": None, "idempotency_key": None},
            "type": f"customer.subscription.{kind}",
        }
    )


def _changed(before: JsonObject, after: JsonObject) -> JsonObject:
    """Old values of the top-level keys that differ; of items the whole old list."""
    old = {key: before.get(key) for key in after if before.get(key) != after[key]}
    if "items" in old:
        old["items"] = {"data": before["items"]["data"]}
    return old


def _kind(previous: JsonObject, after: JsonObject) -> str:
    if "status" in previous:
        if after["status"] == "canceled":
            return "deleted"
        if after["status"] == "paused":
            return "paused"
        if previous["status"] == "paused":
            return "resumed"
    return "updated"
