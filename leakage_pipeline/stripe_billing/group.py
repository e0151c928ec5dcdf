"""The frame of every load: read, keep aside, then swap all tables of the group in one transaction.

What is special about an object is in `load.py` and `summaries.py`.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

import psycopg2.extensions
import pyarrow as pa

from leakage_pipeline.stripe_billing import tables
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.columns import Sync
from leakage_pipeline.stripe_billing.errors import (
    EndpointForbidden,
    EndpointMissing,
    ObjectMissing,
    RequestRefused,
)
from leakage_pipeline.stripe_billing.listing import read_list
from leakage_pipeline.stripe_billing.objects import OBJECTS
from leakage_pipeline.stripe_billing.spool import Spool
from leakage_pipeline.stripe_billing.values import Json
from leakage_pipeline.warehouse import load as warehouse
from leakage_pipeline.warehouse.tables import TableSpec, create_tables

T = TypeVar("T")
Flatten = Callable[[Sequence[Json], Sync], dict[str, pa.RecordBatch]]

_PAGE = 100
_log = logging.getLogger(__name__)


class LoadResult(dict[str, int]):
    """Rows loaded by table, and what a run's record should say besides.

    Attributes:
        requests: Requests sent, by object, repeated ones included.
        totals: Minor units by currency, where a sum makes sense.
        warnings: Sentences about what could not be read.
        unknown: Keys and values that Stripe sent and we have no name for.
    """

    def __init__(self, rows: dict[str, int]) -> None:
        super().__init__(rows)
        self.requests: dict[str, int] = {}
        self.totals: dict[str, int] = {}
        self.warnings: list[str] = []
        self.unknown: list[str] = []


@dataclass
class _Status:
    """What `raw_stripe.sync_status` will say about one object."""

    requests_before: int
    rows: int = 0
    status: str = "ok"
    detail: str | None = None


class GroupLoad:
    """One load of one group of tables.

    Args:
        reader: Access to the account.
        conn: The warehouse.
        as_of: Instant of the audit.
        specs: The tables that the group replaces.
        merged: Those of them whose old rows stay, since Stripe does not keep what they hold.
    """

    def __init__(
        self,
        reader: StripeReader,
        conn: psycopg2.extensions.connection,
        as_of: datetime,
        specs: Iterable[TableSpec],
        merged: Iterable[TableSpec] = (),
    ) -> None:
        self.reader = reader
        self.conn = conn
        self.as_of = as_of
        self.sync = Sync(as_of)
        self.spool = Spool(specs)
        self._merged = {spec.name for spec in merged}
        self._statuses: dict[str, _Status] = {}
        create_tables(conn, tables.TABLES)

    def __enter__(self) -> Self:
        """Give the load; what it kept aside is gone after the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop what was kept aside."""
        self.spool.__exit__(kind, error, trace)

    def read(
        self,
        object_name: str,
        flatten: Flatten,
        floor: datetime | None = None,
        since: datetime | None = None,
    ) -> set[str]:
        """Read a whole list into the group's tables.

        Args:
            object_name: A key of `OBJECTS`.
            flatten: Makes rows of its objects.
            floor: See `read_list`.
            since: See `read_list`.

        Returns:
            The ids read.

        Raises:
            PermanentFailure: a core object is refused, or an object cannot be flattened.
            TransientFailure: still failing after all attempts.
        """
        seen: set[str] = set()

        def consume() -> None:
            for objects in read_list(self.reader, object_name, self.as_of, floor, since):
                self.add(object_name, flatten(objects, self.sync), len(objects))
                seen.update(str(item.get("id")) for item in objects)

        if not self.attempt(object_name, consume):
            # What came before the refusal is no whole list.
            self.spool.discard(flatten([], self.sync))
            seen.clear()
        return seen

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
        """Swap every table of the group, and the status of its objects, in one transaction.

        Args:
            also: Statements that belong to the same transaction, after the rows are there.
        """
        for name, concession in self.reader.concessions.items():
            if (owner := name.partition(".")[0]) in self._statuses:
                self.note(owner, concession)
        rows = {}
        for spec in self.spool.specs:
            swap = warehouse.merge if spec.name in self._merged else warehouse.replace
            rows[spec.name] = swap(self.conn, spec, self.spool.reader(spec.name), commit=False)
        if also is not None:
            with self.conn.cursor() as cursor:
                also(cursor)
        warehouse.merge(self.conn, tables.SYNC_STATUS, self._status_rows(), commit=False)
        self.conn.commit()
        return self._result(rows)

    def _status(self, object_name: str) -> _Status:
        before = self.reader.requests[object_name]
        return self._statuses.setdefault(object_name, _Status(before))

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
