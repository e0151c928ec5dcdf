"""Keeps the rows of a load on disk until all of it has been read, so that memory stays small.

Rows of one list can feed several tables, and nothing may reach the warehouse before the last page
has arrived. The files have no name: nothing of a customer's data outlives the process.
"""

import tempfile
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import IO, Self

import pyarrow as pa

from leakage_pipeline.warehouse.tables import TableSpec

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class _TableFile:
    """The rows of one table."""

    def __init__(self, spec: TableSpec) -> None:
        self.spec = spec
        self.rows = 0
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the spool
        self._sink = pa.PythonFile(self.file, mode="w")
        self._writer = pa.ipc.new_stream(self._sink, spec.arrow_schema, options=_OPTIONS)

    def add(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)
        self.rows += batch.num_rows

    def reader(self) -> pa.RecordBatchReader:
        self._writer.close()
        self._sink.flush()
        self.file.seek(0)
        return pa.ipc.open_stream(pa.PythonFile(self.file, mode="r"))


class Spool:
    """Rows of several tables, written once and read once."""

    def __init__(self, specs: Iterable[TableSpec]) -> None:
        self._files = {spec.name: _TableFile(spec) for spec in specs}

    def __enter__(self) -> Self:
        """Give the spool; its files are gone after the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop the files."""
        for table in self._files.values():
            table.file.close()

    @property
    def rows(self) -> dict[str, int]:
        """Rows so far, by table."""
        return {name: table.rows for name, table in self._files.items()}

    @property
    def specs(self) -> tuple[TableSpec, ...]:
        """The tables, in the order they were given."""
        return tuple(table.spec for table in self._files.values())

    def add(self, batches: Mapping[str, pa.RecordBatch]) -> None:
        """Append batches, by table."""
        for name, batch in batches.items():
            if batch.num_rows:
                self._files[name].add(batch)

    def discard(self, names: Iterable[str]) -> None:
        """Forget what was added to some tables."""
        for name in names:
            dropped = self._files[name]
            dropped.file.close()
            self._files[name] = _TableFile(dropped.spec)

    def reader(self, name: str) -> pa.RecordBatchReader:
        """Read a table back, after the last `add`."""
        return self._files[name].reader()
