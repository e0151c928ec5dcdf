"""Stripe's events of a subscription's life, with what changed in `previous_attributes`.

Stripe keeps events for 30 days; who renders an account leaves older ones out.
"""

from leakage_pipeline.simulator import stripe_objects as build
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
    events.append(
        build.event(
            f"evt_{after['id'][4:]}_{len(events) + 1:03d}",
            type=f"customer.subscription.{kind}",
            created=at,
            data_object=after,
            previous_attributes=previous if kind == "updated" else None,
        )
    )


def _changed(before: JsonObject, after: JsonObject) -> JsonObject:
    """Old values of the top-level keys that differ; of items the whole old list."""
    return {key: before.get(key) for key in after if before.get(key) != after[key]}


def _kind(previous: JsonObject, after: JsonObject) -> str:
    if "status" in previous:
        if after["status"] == "canceled":
            return "deleted"
        if after["status"] == "paused":
            return "paused"
        if previous["status"] == "paused":
            return "resumed"
    return "updated"
