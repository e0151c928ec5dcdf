"""Pages of lists: cursors, filters and `has_more` over a shelf or a plain sequence.

Works on ranks (0 is the newest) so that a page costs its own length, not that of the list.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from leakage_pipeline.simulator.stripe_objects import JsonObject
from leakage_pipeline.simulator.stripe_server.errors import no_such
from leakage_pipeline.simulator.stripe_server.params import PAGING, Paging, paging, span, text
from leakage_pipeline.simulator.stripe_server.resources import Predicate
from leakage_pipeline.simulator.stripe_server.store import Shelf


def list_object(url: str, data: Sequence[Any], *, has_more: bool) -> JsonObject:
    """The answer of a list endpoint."""
    return {"object": "list", "data": list(data), "has_more": has_more, "url": url}


def page_of_shelf(shelf: Shelf, params: Mapping[str, Any]) -> tuple[list[JsonObject], bool]:
    """The objects of the page that the parameters ask for, and whether more follow."""
    page = paging(params)
    ranks = _candidates(shelf, params)
    low, high = 0, len(shelf.listed)
    if "created" in params:
        wanted = span("created", params["created"])
        low, high = shelf.created_between(wanted.first, wanted.last)
    if page.starting_after is not None:
        low = max(low, _rank(shelf, page.starting_after, "starting_after") + 1)
    if page.ending_before is not None:
        high = min(high, _rank(shelf, page.ending_before, "ending_before"))
    start, stop = bisect_left(ranks, low), max(bisect_left(ranks, high), 0)
    backwards = page.ending_before is not None
    positions = range(stop - 1, start - 1, -1) if backwards else range(start, stop)
    tests = _predicates(shelf, params)
    found = _take((shelf.listed[ranks[position]] for position in positions), tests, page.limit + 1)
    return _close(found, page)


def page_of_sequence(
    objects: Sequence[JsonObject], params: Mapping[str, Any], noun: str
) -> tuple[list[JsonObject], bool]:
    """A page of objects that stand in their own order: lines, items, summaries."""
    page = paging(params)
    low, high = 0, len(objects)
    cursor = page.starting_after or page.ending_before
    if cursor is not None:
        name = "starting_after" if page.starting_after else "ending_before"
        place = next((i for i, entry in enumerate(objects) if entry["id"] == cursor), None)
        if place is None:
            raise no_such(noun=noun, object_id=cursor, param=name, in_path=False)
        low, high = (place + 1, high) if page.starting_after else (low, place)
    if page.ending_before is not None:
        return _close(list(reversed(objects[max(low, high - page.limit - 1) : high])), page)
    return _close(list(objects[low : min(high, low + page.limit + 1)]), page)


def _close(found: list[JsonObject], page: Paging) -> tuple[list[JsonObject], bool]:
    """Cut the one object too many, and turn a page that was read backwards."""
    has_more = len(found) > page.limit
    kept = found[: page.limit]
    return (kept[::-1] if page.ending_before is not None else kept), has_more


def _take(objects: Iterable[JsonObject], tests: Sequence[Predicate], most: int) -> list[JsonObject]:
    if tests:
        objects = (shown for shown in objects if all(test(shown) for test in tests))
    return list(islice(objects, most))


def _rank(shelf: Shelf, object_id: str, param: str) -> int:
    rank = shelf.rank.get(object_id)
    if rank is None:
        raise no_such(noun=shelf.resource.noun, object_id=object_id, param=param, in_path=False)
    return rank


def _candidates(shelf: Shelf, params: Mapping[str, Any]) -> Sequence[int]:
    """Ascending ranks from the most selective index that a parameter offers."""
    best: Sequence[int] = range(len(shelf.listed))
    for name, index in shelf.indexes.items():
        if name in params:
            ranks = index.get(text(name, params[name]), [])
            best = ranks if len(ranks) < len(best) else best
    return best


def _predicates(shelf: Shelf, params: Mapping[str, Any]) -> list[Predicate]:
    """Tests for every filter that was given, and the defaults of those that were not."""
    resource = shelf.resource
    tests: list[Predicate] = []
    for name, value in params.items():
        if name in PAGING or name == "created":
            continue
        if name in resource.indexed:
            key, wanted = resource.indexed[name], text(name, value)
            tests.append(lambda shown, key=key, wanted=wanted: key(shown) == wanted)  # type: ignore[misc]
            continue
        test = resource.filters[name](name, value)
        if test is not None:
            tests.append(test)
    for name, default in resource.defaults.items():
        # Objects of a test clock show up once a list is narrowed to one customer or subscription.
        narrowed = name == "test_clock" and not params.keys().isdisjoint(resource.indexed)
        if name not in params and not narrowed:
            tests.append(default)
    return tests
