"""Reads chosen objects again with as few requests as it takes: spans of a list, or one by one.

Stripe gives 100 objects a page, and most of what changes in a day was created close together. So
neighbours are read through the list wherever a page holds two of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from leakage_pipeline.stripe_billing.client import PAGE_SIZE, StripeReader
from leakage_pipeline.stripe_billing.concurrency import gather
from leakage_pipeline.stripe_billing.errors import RequestRefused
from leakage_pipeline.stripe_billing.listing import complete
from leakage_pipeline.stripe_billing.objects import OBJECTS, Params, StripeObject
from leakage_pipeline.stripe_billing.values import Json

Density = Callable[[list[int]], list[int]]


@dataclass(frozen=True)
class Watch:
    """What of an object changes without any event: those in one state, which a list can show.

    Attributes:
        params: Filter of the list.
        condition: The stored ones in that state, as SQL of our own.
        is_born_silently: No event tells that one was made: those made since are listed too.
    """

    params: Params
    condition: str
    is_born_silently: bool = False


@dataclass
class Outcome:
    """What came of reading objects again.

    Attributes:
        read: Ids of all that were read, neighbours included.
        gone: Ids that Stripe does not know any more, or shows in no list.
        later: Ids of objects that do not exist yet at the audit's instant.
    """

    read: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Window:
    since: int
    until: int
    ids: frozenset[str]


def read_again(
    reader: StripeReader,
    object_name: str,
    wanted: Mapping[str, int | None],
    as_of: datetime,
    outcome: Outcome,
    density: Density,
) -> Iterator[list[Json]]:
    """Read objects again.

    Args:
        reader: Access to the account.
        object_name: A key of `OBJECTS`.
        wanted: Ids, and when each was created where that is known.
        as_of: Objects created later are left out.
        outcome: Filled while objects come.
        density: How many objects are stored from each of some instants up to the next.

    Yields:
        Whole objects, each once.
    """
    target = OBJECTS[object_name]
    windows = plan(wanted, density) if _can_window(target) else []
    single = set(wanted) - {name for window in windows for name in window.ids}
    for objects in gather([_window(reader, target, item) for item in windows], reader.workers):
        yield _taken(target, objects, as_of, outcome)
    single |= {name for item in windows for name in item.ids} - outcome.read - outcome.later
    asked = [_single(reader, target, name, outcome) for name in sorted(single)]
    for objects in gather(asked, reader.workers):
        yield _taken(target, objects, as_of, outcome)


def plan(wanted: Mapping[str, int | None], density: Density) -> list[_Window]:
    """Choose spans of creation time of which one page holds at least two wanted objects."""
    at: dict[int, set[str]] = {}
    for name, created in wanted.items():
        if created is not None:
            at.setdefault(created, set()).add(name)
    instants = sorted(at)
    stored = density(instants)
    windows: list[_Window] = []
    start = 0
    while start < len(instants):
        stop, ids = start + 1, set(at[instants[start]])
        size = max(stored[start], len(ids))
        while stop < len(instants):
            # What is stored may be among the wanted or not; new ones are not stored yet.
            size += max(stored[stop], len(at[instants[stop]]))
            if size > PAGE_SIZE:
                break
            ids |= at[instants[stop]]
            stop += 1
        if len(ids) > 1:
            windows.append(_Window(instants[start], instants[stop - 1], frozenset(ids)))
        start = stop
    return windows


def _can_window(target: StripeObject) -> bool:
    return target.created_filter and len(target.variants) == 1


def _window(
    reader: StripeReader, target: StripeObject, window: _Window
) -> Callable[[], Iterable[list[Json]]]:
    def pages() -> Iterator[list[Json]]:
        params = {"created": {"gte": window.since, "lte": window.until}}
        cursor: str | None = None
        while True:
            try:
                page = reader.page(target, params, cursor)
            except RequestRefused as error:
                if not error.is_about("created"):
                    raise
                return  # a server without the filter: each is asked for by its id
            inside = [item for item in page.objects if _within(target, item, window)]
            for item in inside:
                complete(reader, target, item)
            yield inside
            cursor = page.cursor_after(cursor, target.path)
            if cursor is None or not inside:
                return

    return pages


def _single(
    reader: StripeReader, target: StripeObject, object_id: str, outcome: Outcome
) -> Callable[[], Iterable[list[Json]]]:
    def ask() -> Iterator[list[Json]]:
        found = reader.retrieve(target.name, object_id)
        # Lists leave out what belongs to a test clock, and so must this.
        if found is None or found.get("test_clock"):
            outcome.gone.add(object_id)
            return
        complete(reader, target, found)
        yield [found]

    return ask


def _taken(
    target: StripeObject, objects: list[Json], as_of: datetime, outcome: Outcome
) -> list[Json]:
    until = as_of.timestamp()
    taken = []
    for item in objects:
        name = str(item.get("id"))
        created = item.get(target.created_key)
        if type(created) is int and created > until:
            outcome.later.add(name)
        elif name not in outcome.read:
            outcome.read.add(name)
            taken.append(item)
    return taken


def _within(target: StripeObject, item: Json, window: _Window) -> bool:
    created = item.get(target.created_key)
    return type(created) is int and window.since <= created <= window.until
