"""Events of Stripe's newer kind, `/v2/core/events`: lists that name their next page, whole events.

Lists are thin: what an event tells is shown when it is asked for by its id.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from leakage_pipeline.simulator.stripe_objects import JsonObject
from leakage_pipeline.simulator.stripe_server.errors import bad_request, no_such
from leakage_pipeline.simulator.stripe_server.params import integer, refuse_unknown

PATH = "/v2/core/events"
_ACCEPTED = frozenset({"types", "created", "limit", "object_id", "page"})
_DEFAULT, _MOST = 20, 100


def answer(events: Sequence[JsonObject], path: str, params: Mapping[str, Any]) -> JsonObject:
    """What an address at or below `PATH` answers with."""
    if path == PATH:
        return page(events, params)
    return whole(events, path.removeprefix(f"{PATH}/"))


def page(events: Sequence[JsonObject], params: Mapping[str, Any]) -> JsonObject:
    """A page of the list, newest first."""
    refuse_unknown(params, _ACCEPTED)
    limit = integer("limit", params.get("limit", str(_DEFAULT)))
    if not 1 <= limit <= _MOST:
        raise bad_request(message=f"Invalid limit: {limit}", param="limit")
    start = integer("page", params.get("page", "0"))
    found = sorted(
        (event for event in events if _wanted(event, params)),
        key=lambda event: (event["created"], event["id"]),
        reverse=True,
    )
    following = None
    if len(found) > start + limit:
        query = urlencode(_flat({**params, "page": str(start + limit)}))
        following = f"{PATH}?{query}"
    shown = [
        {key: value for key, value in event.items() if key != "data"}
        for event in found[start : start + limit]
    ]
    return {"data": shown, "next_page_url": following, "previous_page_url": None}


def whole(events: Sequence[JsonObject], event_id: str) -> JsonObject:
    """One event with what it tells."""
    for event in events:
        if event["id"] == event_id:
            return event
    raise no_such(noun="event", object_id=event_id)


def _wanted(event: JsonObject, params: Mapping[str, Any]) -> bool:
    types = params.get("types")
    if types is not None and event["type"] not in types:
        return False
    related = event.get("related_object") or {}
    if "object_id" in params and related.get("id") != params["object_id"]:
        return False
    created = datetime.fromisoformat(event["created"])
    tests = {
        "gte": created.__ge__,
        "gt": created.__gt__,
        "lte": created.__le__,
        "lt": created.__lt__,
    }
    return all(
        tests[name](datetime.fromisoformat(value))
        for name, value in params.get("created", {}).items()
    )


def _flat(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Parameters in bracket notation."""
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        if isinstance(value, Mapping):
            pairs += [(f"{name}[{key}]", str(inner)) for key, inner in value.items()]
        elif isinstance(value, list):
            pairs += [(f"{name}[{place}]", str(inner)) for place, inner in enumerate(value)]
        else:
            pairs.append((name, str(value)))
    return pairs
