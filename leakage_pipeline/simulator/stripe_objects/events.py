"""What Stripe tells about changes: events, and the endpoints that they are sent to.

An event carries the object as it was afterwards, and the old values of what changed.
"""
# ruff: noqa: PLR0913 - a builder takes one keyword per field of the object it builds

from collections.abc import Mapping, Sequence
from typing import Any

from leakage_pipeline.simulator.stripe_objects.shapes import API_VERSION, JsonObject, metadata_of


def event(
    event_id: str,
    *,
    type: str,  # noqa: A002 - Stripe's own word
    created: int,
    data_object: JsonObject,
    previous_attributes: Mapping[str, Any] | None = None,
    pending_webhooks: int = 0,
    request_id: str | None = None,
    api_version: str = API_VERSION,
) -> JsonObject:
    """An event about `data_object`; `pending_webhooks` endpoints have yet to take it.

    `previous_attributes` has the old values of what an `.updated` event changed, no other keys.
    A list in it (``items``) is the whole old list, in the shape that it has in the object.
    """
    data: JsonObject = {"object": data_object}
    if previous_attributes is not None:
        data["previous_attributes"] = dict(previous_attributes)
    return {
        "id": event_id,
        "object": "event",
        "api_version": api_version,
        "created": created,
        "data": data,
        "livemode": False,
        "pending_webhooks": pending_webhooks,
        "request": {"id": request_id, "idempotency_key": None},
        "type": type,
    }


def webhook_endpoint(
    endpoint_id: str,
    *,
    url: str,
    created: int,
    enabled_events: Sequence[str] = ("*",),
    status: str = "enabled",
    api_version: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """An address that events are sent to; `status` is enabled or disabled."""
    return {
        "id": endpoint_id,
        "object": "webhook_endpoint",
        "api_version": api_version,
        "application": None,
        "created": created,
        "description": None,
        "enabled_events": list(enabled_events),
        "livemode": False,
        "metadata": metadata_of(metadata),
        "status": status,
        "url": url,
    }
