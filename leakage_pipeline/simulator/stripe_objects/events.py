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


def meter_error_report(
    event_id: str,
    *,
    created: str,
    errors: Mapping[str, int],
    window: tuple[str, str],
    meter: str | None = None,
    message: str = "The event was rejected.",
    requests: Sequence[str] = (),
) -> JsonObject:
    """A report of meter events that were taken and rejected later; instants in ISO 8601.

    `errors` counts them by code. Without a meter it is a report that no meter was found.
    """
    related = None
    if meter is not None:
        url = f"/v1/billing/meters/{meter}"
        related = {"id": meter, "type": "billing.meter", "url": url}
    kind = "no_meter_found" if meter is None else "error_report_triggered"
    samples = [
        {"error_message": message, "request": {"identifier": request}} for request in requests
    ]
    return {
        "id": event_id,
        "object": "v2.core.event",
        "changes": None,
        "context": None,
        "created": created,
        "data": {
            "developer_message_summary": f"There were {sum(errors.values())} invalid events",
            "reason": {
                "error_count": sum(errors.values()),
                "error_types": [
                    {"code": code, "error_count": count, "sample_errors": samples}
                    for code, count in errors.items()
                ],
            },
            "validation_start": window[0],
            "validation_end": window[1],
        },
        "livemode": False,
        "reason": None,
        "related_object": related,
        "type": f"v1.billing.meter.{kind}",
    }
