"""Reads whole lists, several spans of creation time at once, with embedded lists completed.

A list can only be paged one page after the other, which leaves the network idle. So a thread that
has nothing to do takes over the older part of the span that another thread is paging through.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from leakage_pipeline.stripe_billing.client import Page, StripeReader
from leakage_pipeline.stripe_billing.concurrency import gather
from leakage_pipeline.stripe_billing.errors import RequestRefused
from leakage_pipeline.stripe_billing.objects import OBJECTS, Params, StripeObject
from leakage_pipeline.stripe_billing.page_spool import Covered, KeptPages, gaps
from leakage_pipeline.stripe_billing.values import Json

# A split costs up to one half-filled page more, so each part should hold at least this many pages.
_PAGES_WORTH_A_SPLIT = 2

_STRIPE_BEGAN = datetime(2011, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Span:
    """Objects created in ``[since, until]``, both ends inside, of one variant of the list."""

    since: int
    until: int
    params: Params
    variant: int = 0


class _Board:
    """The spans that wait for a thread, and who is busy or idle."""

    def __init__(self, spans: Iterable[_Span], floor: int) -> None:
        self._waiting = list(spans)
        self._floor = floor
        self._busy = 0
        self._idle = 0
        self._changed = threading.Condition()

    def take(self) -> _Span | None:
        """Wait for a span; None when no thread can produce one any more."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or not self._busy)
            self._idle -= 1
            if not self._waiting:
                return None
            self._busy += 1
            return self._waiting.pop()

    def give_back(self) -> None:
        """Say that a span taken is finished, or given up."""
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def found_nothing(self, span: _Span) -> None:
        """Learn where the history begins from a span that turned out to be empty."""
        with self._changed:
            if span.since <= self._floor:
                self._floor = max(self._floor, span.until + 1)

    def split(self, span: _Span, newest: int, oldest: int) -> _Span:
        """Hand older parts of a span to idle threads.

        Args:
            span: What this thread pages through.
            newest: Creation time of the first object on the page just read.
            oldest: Creation time of the last one: all before it is still to come.

        Returns:
            What remains for this thread.
        """
        if newest == oldest:
            return span  # a page within one second says nothing about how dense the rest is
        with self._changed:
            low = max(span.since, self._floor)
            pages_left = (oldest - low) / (newest - oldest)
            hands = self._idle - len(self._waiting)
            parts = min(hands + 1, int(pages_left / _PAGES_WORTH_A_SPLIT))
            if parts <= 1:
                return span
            width = (oldest - low) // parts
            bounds = [span.since, *(low + width * number for number in range(1, parts))]
            for start, end in pairwise(bounds):
                self._waiting.append(_Span(start, end - 1, span.params, span.variant))
            self._changed.notify_all()
        return _Span(bounds[-1], span.until, span.params, span.variant)


@dataclass(frozen=True)
class _Batch:
    """Whole objects, and the page they came with where it is to be kept."""

    objects: list[Json]
    page: Covered | None = None


class _ListReader:
    """One list of one account up to one instant."""

    def __init__(
        self,
        reader: StripeReader,
        target: StripeObject,
        variants: Sequence[Params],
        since: int,
        until: int,
        floor: int,
        keep: KeptPages | None,
    ) -> None:
        self._reader = reader
        self._target = target
        self._filtered = target.created_filter
        self._keeps = keep is not None and self._filtered
        spans = []
        for number, params in enumerate(variants):
            covered = keep.covered(number) if keep is not None and self._filtered else []
            missing = gaps(covered, since, until)
            spans += [_Span(first, last, params, number) for first, last in missing]
        self._board = _Board(spans, max(since, floor))

    def pages(self) -> Iterator[_Batch]:
        """Yield pages until no span is left; several threads run this at once."""
        while (span := self._board.take()) is not None:
            found = 0
            try:
                for batch in self._span_pages(span):
                    found += len(batch.objects)
                    yield batch
                if not found:
                    self._board.found_nothing(span)
            finally:
                self._board.give_back()

    def _span_pages(self, span: _Span) -> Iterator[_Batch]:
        cursor: str | None = None
        previous: int | None = None
        until = span.until
        while True:
            page = self._page(span, cursor)
            times = self._times(page)
            objects = self._inside(page, times, span)
            ordered = self._filtered and bool(times) and _descending(times, previous)
            only = cursor is None and not page.has_more
            cursor = page.cursor_after(cursor, self._target.path)
            # More of the last object's second may follow on the next page.
            since = span.since if cursor is None else times[-1] + 1 if ordered else until + 1
            keeps = self._keeps and self._filtered and not only and (ordered or cursor is None)
            kept = Covered(span.variant, since, until, page.body) if keeps else None
            yield _Batch(objects, kept)
            if cursor is None:
                return
            # Splitting relies on the filter and on "newest first"; a server that does otherwise is
            # read in one go.
            if ordered:
                previous, until = times[-1], min(until, since - 1)
                span = self._board.split(span, times[0], previous)

    def _page(self, span: _Span, cursor: str | None) -> Page:
        if not self._filtered:
            return self._reader.page(self._target, span.params, cursor)
        bounds = {"gte": span.since} if span.since else {}
        query = {**span.params, "created": {**bounds, "lte": span.until}}
        try:
            return self._reader.page(self._target, query, cursor)
        except RequestRefused as error:
            if not error.is_about("created"):
                raise
            # A server without the filter: `_inside` does its work, only slower.
            self._filtered = False
            return self._reader.page(self._target, span.params, cursor)

    def _times(self, page: Page) -> list[int]:
        times = [item.get(self._target.created_key) for item in page.objects]
        return [time for time in times if type(time) is int]

    def _inside(self, page: Page, times: Sequence[int], span: _Span) -> list[Json]:
        objects = page.objects
        if times and not (span.since <= min(times) and max(times) <= span.until):
            self._filtered = False  # it does not say no, but it does not do it either
            key = self._target.created_key
            objects = [item for item in objects if _within(item.get(key), span)]
        for item in objects:
            complete(self._reader, self._target, item)
        return objects


def complete(reader: StripeReader, target: StripeObject, item: Json) -> None:
    """Put the whole of every list into an object that came with the first page of it."""
    if item.get("deleted"):
        return
    for embedded in target.embedded:
        inline = item.get(embedded.key)
        if isinstance(inline, dict) and not inline.get("has_more"):
            continue
        # From its start: what the inline page holds need not be what the full list begins with.
        whole = reader.elements(target, str(item.get("id")), embedded)
        item[embedded.key] = {"object": "list", "data": whole, "has_more": False}


def read_list(
    reader: StripeReader,
    object_name: str,
    as_of: datetime,
    floor: datetime | None = None,
    since: datetime | None = None,
    keep: KeptPages | None = None,
    *,
    params: Params | None = None,
) -> Iterator[list[Json]]:
    """Read every object of a kind that was created up to `as_of`.

    Args:
        reader: Access to the account.
        object_name: A key of `OBJECTS`.
        as_of: Objects created later are left out.
        floor: Hardly anything is older than this: where to begin dividing the work. Nothing is lost
            when it is wrong.
        since: Objects created earlier are left out; default: none is.
        keep: Where pages are kept; those that are there already are not read again.
        params: Filters instead of the object's own variants.

    Yields:
        Pages of whole objects (embedded lists complete), in no particular order. No object occurs
        twice.

    Raises:
        PermanentFailure: refused; see `errors.py` for the kinds.
        TransientFailure: still failing after all attempts.
    """
    target = OBJECTS[object_name]
    whole = _ListReader(
        reader,
        target,
        target.variants if params is None else (params,),
        since=0 if since is None else int(since.timestamp()),
        until=int(as_of.timestamp()),
        floor=int((floor or _STRIPE_BEGAN).timestamp()),
        keep=keep,
    )
    seen: set[str] = set()

    def fresh(objects: Sequence[Json]) -> list[Json]:
        new = [item for item in objects if item.get("id") not in seen]
        seen.update(str(item.get("id")) for item in new)
        return new

    for objects in keep.objects() if keep is not None else ():
        inside = fresh(objects)
        for item in inside:
            complete(reader, target, item)
        yield inside
    for batch in gather([whole.pages] * reader.workers, reader.workers):
        if keep is not None and batch.page is not None:
            keep.keep(batch.page)
        yield fresh(batch.objects)


def _within(time: object, span: _Span) -> bool:
    return type(time) is not int or span.since <= time <= span.until


def _descending(times: Sequence[int], previous: int | None) -> bool:
    start = times[0] if previous is None else previous
    return all(newer >= older for newer, older in pairwise([start, *times]))
