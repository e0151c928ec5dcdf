"""The frame of every load: read, keep aside, then write all tables of a group in one transaction.

A load reads everything, or what events say has changed since the last one; what is written is the
same. `changes.py` says which of the two, `rereading.py` how.

What is special about an object is in `load.py` and `summaries.py`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TypeVar

import psycopg2.extensions
import pyarrow as pa

from leakage_pipeline.stripe_billing import changes, tables
from leakage_pipeline.stripe_billing.budget import count_requests
from leakage_pipeline.stripe_billing.changes import Pending, Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.columns import Sync
from leakage_pipeline.stripe_billing.errors import (
    EndpointForbidden,
    EndpointMissing,
    ObjectMissing,
    RequestRefused,
)
from leakage_pipeline.stripe_billing.homes import (
    FIRST_PATCHED,
    HOMES,
    PARTS,
    created_of,
    density,
    row_count,
    stored_ids,
)
from leakage_pipeline.stripe_billing.listing import read_list
from leakage_pipeline.stripe_billing.load_result import LoadResult, ObjectStatus
from leakage_pipeline.stripe_billing.objects import OBJECTS, Params
from leakage_pipeline.stripe_billing.page_spool import PageSpool
from leakage_pipeline.stripe_billing.rereading import Outcome, Watch, read_again
from leakage_pipeline.stripe_billing.spool import Spool
from leakage_pipeline.stripe_billing.status import read_sync_status
from leakage_pipeline.stripe_billing.values import Json
from leakage_pipeline.warehouse import load as warehouse
from leakage_pipeline.warehouse.tables import TableSpec, create_tables

T = TypeVar("T")
Flatten = Callable[[Sequence[Json], Sync], dict[str, pa.RecordBatch]]

_PAGE = 100
_EVERYTHING = Refresh()
_log = logging.getLogger(__name__)


class GroupLoad:
    """One load of one group of tables.

    Args:
        reader: Access to the account.
        conn: The warehouse.
        as_of: Instant of the audit.
        specs: The tables that the group writes; the first one's name is the group's.
        merged: Those of them whose old rows stay, since Stripe does not keep what they hold.
        how: Whether to read what changed alone, where that can be known.

    Attributes:
        since: Only changes since then are read; None: everything.
    """

    def __init__(
        self,
        reader: StripeReader,
        conn: psycopg2.extensions.connection,
        as_of: datetime,
        specs: Iterable[TableSpec],
        merged: Iterable[TableSpec] = (),
        how: Refresh = _EVERYTHING,
    ) -> None:
        self.reader = reader
        self.conn = conn
        self.as_of = as_of
        self.how = how
        self.sync = Sync(as_of)
        self.spool = Spool(specs)
        self.name = self.spool.specs[0].name
        self._merged = {spec.name for spec in merged}
        self._statuses: dict[str, ObjectStatus] = {}
        self._requests_before = reader.requests.copy()
        self._outcomes: dict[str, Outcome] = {}
        self._marks: dict[str, dict[str, Pending]] = {}
        create_tables(conn, tables.TABLES)
        self._newest_mark = changes.newest_mark(conn)
        self.since = self._changed_since()
        self.pages = PageSpool(conn, how.source, as_of)

    def __enter__(self) -> Self:
        """Give the load; what it kept aside is gone after the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop what was kept aside; requests of a load that failed were sent all the same."""
        self.spool.__exit__(kind, error, trace)
        if error is not None and not self.conn.closed:
            self.conn.rollback()
            with self.conn.cursor() as cursor:
                count_requests(cursor, self.as_of, self._sent())
            self.conn.commit()

    def read(  # noqa: PLR0913 - two ways of reading in one call
        self,
        object_name: str,
        flatten: Flatten,
        floor: datetime | None = None,
        since: datetime | None = None,
        watch: Watch | None = None,
        also: Collection[str] = (),
        *,
        only_listed: bool = False,
        few: int = 0,
    ) -> set[str]:
        """Read an object into the group's tables: all of it, or what has changed.

        Args:
            object_name: A key of `OBJECTS`.
            flatten: Makes rows of its objects.
            floor: See `read_list`.
            since: See `read_list`.
            watch: What to look at besides what events name.
            also: Ids to read again besides.
            only_listed: Of new objects take those that the list shows: there are others, and what
                refers to them decides about those.
            few: Read all of it while no more than these are stored.

        Returns:
            The ids read.

        Raises:
            PermanentFailure: a core object is refused, or an object cannot be flattened.
            TransientFailure: still failing after all attempts.
        """
        seen: set[str] = set()

        def pages() -> Iterator[list[Json]]:
            if self.is_partial(object_name, few):
                yield from self._changed(object_name, watch, also, only_listed=only_listed)
            else:
                keep = self.pages.of(object_name)
                yield from read_list(self.reader, object_name, self.as_of, floor, since, keep)

        def consume() -> None:
            for objects in pages():
                self.add(object_name, flatten(objects, self.sync), len(objects))
                seen.update(str(item.get("id")) for item in objects)

        if not self.attempt(object_name, consume):
            # What came before the refusal is no whole list.
            self.spool.discard(flatten([], self.sync))
            seen.clear()
        return seen

    def is_partial(self, object_name: str, few: int = 0) -> bool:
        """Whether only what has changed of an object is read."""
        if self.since is None or object_name not in HOMES:
            return False
        return not few or len(stored_ids(self.conn, HOMES[object_name], "true")) > few

    def pending(self, object_name: str) -> dict[str, Pending]:
        """The marks on an object that this load takes off."""
        if object_name not in self._marks:
            self._marks[object_name] = changes.pending(self.conn, object_name)
        return self._marks[object_name]

    def outcome(self, object_name: str) -> Outcome:
        """Which objects are replaced, or gone, when only changes are read."""
        self.pending(object_name)  # before the transaction that takes the marks off
        return self._outcomes.setdefault(object_name, Outcome())

    def again(self, object_name: str, ids: Collection[str]) -> Iterator[list[Json]]:
        """Read some objects again."""
        home, marks = HOMES[object_name], self.pending(object_name)
        known = {name: marks[name].created if name in marks else None for name in ids}
        known.update(created_of(self.conn, home, ids))
        return read_again(
            self.reader,
            object_name,
            known,
            self.as_of,
            self.outcome(object_name),
            lambda instants: density(self.conn, home, instants),
        )

    def _changed(
        self, object_name: str, watch: Watch | None, also: Collection[str], *, only_listed: bool
    ) -> Iterator[list[Json]]:
        outcome = self.outcome(object_name)
        wanted = set(self.pending(object_name)) | set(also)
        if only_listed:
            new = wanted - set(created_of(self.conn, HOMES[object_name], wanted))
            yield from self._new(object_name, new)
            wanted -= new
        if watch is not None:
            wanted |= stored_ids(self.conn, HOMES[object_name], watch.condition)
            since = self.since if watch.is_born_silently else None
            for objects in self._watched(object_name, watch.params, since):
                fresh = [item for item in objects if item.get("id") not in outcome.read]
                outcome.read.update(str(item.get("id")) for item in fresh)
                yield fresh
        yield from self.again(object_name, wanted - outcome.read)

    def _watched(
        self, object_name: str, params: Params, since: datetime | None
    ) -> Iterator[list[Json]]:
        yield from read_list(self.reader, object_name, self.as_of, params=params)
        if since is not None:
            yield from read_list(self.reader, object_name, self.as_of, since=since)

    def _new(self, object_name: str, new: Collection[str]) -> Iterator[list[Json]]:
        marks, outcome = self.pending(object_name), self.outcome(object_name)
        times = [t for name in new if name in marks and (t := marks[name].created) is not None]
        if not times:
            return
        since = datetime.fromtimestamp(min(times), UTC)
        for objects in read_list(self.reader, object_name, self.as_of, since=since):
            outcome.read.update(str(item.get("id")) for item in objects)
            yield objects

    def _changed_since(self) -> datetime | None:
        names = {PARTS[spec.name].object_name for spec in self.spool.specs if spec.name in PARTS}
        refused = {status.object for status in read_sync_status(self.conn) if not status.is_ok}
        if names & refused:
            return None  # it may be readable now
        return changes.changed_since(self.conn, self.name, self.as_of, self.how)

    def attempt(self, object_name: str, action: Callable[[], None]) -> bool:
        """Do something that a server or a restricted key may refuse for an optional object.

        Returns:
            False when it was refused; the status then says so.
        """
        status = self._status(object_name)
        try:
            action()
        except (EndpointForbidden, EndpointMissing, ObjectMissing, RequestRefused) as error:
            if OBJECTS[object_name].core:
                raise
            status.status = "forbidden" if isinstance(error, EndpointForbidden) else "missing"
            status.detail = str(error)
            status.rows = 0
            return False
        return True

    def add(self, object_name: str, batches: dict[str, pa.RecordBatch], objects: int) -> None:
        """Keep rows aside, and count the objects that they came from."""
        self._status(object_name).rows += objects
        self.spool.add(batches)

    def add_each(
        self,
        object_name: str,
        objects: Iterable[T],
        flatten: Callable[[Sequence[T], Sync], dict[str, pa.RecordBatch]],
    ) -> None:
        """As `add`, for objects that come one by one."""
        page: list[T] = []
        for item in objects:
            page.append(item)
            if len(page) == _PAGE:
                self.add(object_name, flatten(page, self.sync), len(page))
                page = []
        self.add(object_name, flatten(page, self.sync), len(page))

    def merge_only(self, spec: TableSpec) -> None:
        """Let the old rows of a table stay."""
        self._merged.add(spec.name)

    def count(self, object_name: str, objects: int) -> None:
        """Count objects that leave no rows."""
        self._status(object_name).rows += objects

    def refused(self, object_name: str) -> bool:
        """Tell whether the object could not be read at all."""
        return self._status(object_name).status != "ok"

    def refuse(self, object_name: str, detail: str) -> None:
        """Say that an object could not be read at all, though nothing was asked for it."""
        self._status(object_name).status = "missing"
        self.note(object_name, detail)

    def note(self, object_name: str, detail: str | None) -> None:
        """Let the status of an object say something more."""
        status = self._status(object_name)
        status.detail = "; ".join(filter(None, (status.detail, detail))) or None

    def commit(
        self, also: Callable[[psycopg2.extensions.cursor], None] | None = None
    ) -> LoadResult:
        """Write every table of the group, and what is known of its reading, in one transaction.

        Args:
            also: Statements that belong to the same transaction, after the rows are there.
        """
        for name, concession in self.reader.concessions.items():
            if (owner := name.partition(".")[0]) in self._statuses:
                self.note(owner, concession)
        specs = sorted(self.spool.specs, key=lambda spec: spec.name != FIRST_PATCHED)
        counts = {spec.name: self._write(spec) for spec in specs}
        rows = {spec.name: counts[spec.name] for spec in self.spool.specs}
        with self.conn.cursor() as cursor:
            if also is not None:
                also(cursor)
            self._note_progress(cursor)
            count_requests(cursor, self.as_of, self._sent())
            self.pages.clear(cursor)
        warehouse.merge(self.conn, tables.SYNC_STATUS, self._status_rows(), commit=False)
        self.conn.commit()
        return self._result(rows)

    def _write(self, spec: TableSpec) -> int:
        data = self.spool.reader(spec.name)
        part = PARTS.get(spec.name)
        if spec.name in self._merged:
            return warehouse.merge(self.conn, spec, data, commit=False)
        if part is None or part.object_name not in self._outcomes or self.refused(part.object_name):
            return warehouse.replace(self.conn, spec, data, commit=False)
        outcome = self._outcomes[part.object_name]
        owners = sorted(outcome.read | outcome.gone)
        return warehouse.patch(
            self.conn, spec, data, owners=owners, belongs=part.belongs, commit=False
        )

    def _note_progress(self, cursor: psycopg2.extensions.cursor) -> None:
        whole = [name for name in self._statuses if name not in self._outcomes]
        changes.take_all_off(cursor, whole, self._newest_mark)
        for name, outcome in self._outcomes.items():
            marks = [mark for key, mark in self._marks[name].items() if key not in outcome.later]
            changes.take_off(cursor, name, marks)
            if name in self._statuses and name in HOMES:
                self._statuses[name].rows = row_count(cursor, HOMES[name])
        if any(self.refused(name) for name in self._outcomes):
            changes.forget_progress(cursor, self.name)
        else:
            changes.note_progress(cursor, self.name, self.as_of, self.how, full=self.since is None)

    def _sent(self) -> Counter[str]:
        return self.reader.requests - self._requests_before

    def _status(self, object_name: str) -> ObjectStatus:
        before = self.reader.requests[object_name]
        return self._statuses.setdefault(object_name, ObjectStatus(before))

    def _requests(self, object_name: str) -> int:
        return self.reader.requests[object_name] - self._statuses[object_name].requests_before

    def _status_rows(self) -> pa.Table:
        rows = [
            {
                "object": name,
                "requests": self._requests(name),
                "rows": status.rows,
                "status": status.status,
                "detail": status.detail,
                "synced_at": self.as_of,
            }
            for name, status in self._statuses.items()
        ]
        return pa.Table.from_pylist(rows, schema=tables.SYNC_STATUS.arrow_schema)

    def _result(self, rows: dict[str, int]) -> LoadResult:
        result = LoadResult(rows)
        result.since = self.since
        result.requests = {name: self._requests(name) for name in self._statuses}
        result.warnings = [
            f"{name}: {status.detail}" for name, status in self._statuses.items() if status.detail
        ]
        result.unknown = sorted(self.sync.unknown)
        for warning in result.warnings:
            _log.warning("%s", warning)
        if result.unknown:
            _log.info("Stripe sent what this version does not know: %s", ", ".join(result.unknown))
        return result
