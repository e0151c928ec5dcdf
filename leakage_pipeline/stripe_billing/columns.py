"""Builds typed Arrow batches from JSON objects, column by column; which key is which is elsewhere.

A value of the wrong type ends the load with the object's id. Unknown keys and unknown values never
do: they are noted, so that someone learns that Stripe has moved on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import NoneType

import pyarrow as pa
import pyarrow.compute as pc

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.stripe_billing.getters import Getter, path
from leakage_pipeline.stripe_billing.objects import STRIPE_VERSION
from leakage_pipeline.stripe_billing.table_building import INSTANT
from leakage_pipeline.stripe_billing.values import Json, decimal_text, json_text
from leakage_pipeline.warehouse.tables import TableSpec

_SECONDS = pa.timestamp("s", tz="UTC")
_WANTED = {str: "text", int: "a whole number", bool: "true or false"}
_BAD_VALUE = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    OverflowError,
    pa.ArrowException,
)


@dataclass(frozen=True)
class Sync:
    """One synchronisation: its instant, and what it met that we do not know.

    Attributes:
        as_of: Written to every row as `synced_at`.
        unknown: ``table.key`` and ``table.column=value`` that this version of ours has no name for.
    """

    as_of: datetime
    unknown: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Flattener:
    """How the rows of one table come out of JSON objects.

    Attributes:
        spec: The table.
        getters: Column to getter, or to the dotted path of a key; columns that are missing here are
            handed to `batch` as lists.
        required: Columns that may not be null, besides the key.
        payload_without: Key left out of `payload`, because it has a table of its own.
        known_keys: Keys that Stripe's SDK declares; empty when they are not watched.
        known_values: Values of the columns that the audit tells cases apart by.
    """

    spec: TableSpec
    getters: Mapping[str, Getter | str]
    required: frozenset[str] = frozenset()
    payload_without: str | None = None
    known_keys: frozenset[str] = frozenset()
    known_values: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def batch(
        self, rows: Sequence[Json], sync: Sync, **given: Sequence[object] | Getter
    ) -> pa.RecordBatch:
        """Build one batch.

        Args:
            rows: JSON objects, one for each row.
            sync: Where the instant comes from and oddities go.
            given: Columns that depend on more than the row's own object: their values, or a getter.

        Raises:
            PermanentFailure: a value has the wrong type, or a required one is missing; the message
                names table, object id, column and value.
        """
        constant = {"stripe_version": STRIPE_VERSION, "synced_at": sync.as_of}
        arrays = []
        for name in self.spec.columns:
            kind = self.spec.arrow_schema.field(name).type
            if name in constant:
                array = pa.repeat(pa.scalar(constant[name], kind), len(rows))
            else:
                source = given[name] if name in given else self._getters[name]
                values = self._read(name, rows, source) if callable(source) else source
                array = self._array(name, kind, rows, values)
            if array.null_count and name in self._not_null:
                self._blame(name, rows, array.to_pylist().index(None), "is missing")
            arrays.append(array)
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.spec.arrow_schema)
        self._note(rows, batch, sync)
        return batch

    def empty(self) -> pa.RecordBatch:
        """A batch without rows."""
        return pa.RecordBatch.from_pylist([], schema=self.spec.arrow_schema)

    @cached_property
    def _not_null(self) -> frozenset[str]:
        return self.required | set(self.spec.primary_key)

    @cached_property
    def _getters(self) -> Mapping[str, Getter]:
        compiled = {
            name: path(*getter.split(".")) if isinstance(getter, str) else getter
            for name, getter in self.getters.items()
        }
        left_out = self.payload_without
        if left_out is None:
            return {"payload": lambda item: item, **compiled}
        without = {"payload": lambda item: {k: v for k, v in item.items() if k != left_out}}
        return {**without, **compiled}

    def _read(self, name: str, rows: Sequence[Json], getter: Getter) -> list[object]:
        try:
            return [getter(row) for row in rows]
        except _BAD_VALUE:
            for index, row in enumerate(rows):
                try:
                    getter(row)
                except _BAD_VALUE as error:
                    self._blame(name, rows, index, f"cannot be read: {error!r:.200}")
            raise

    def _array(
        self, name: str, kind: pa.DataType, rows: Sequence[Json], values: Sequence[object]
    ) -> pa.Array:
        try:
            return self._convert(name, kind, values)
        except _BAD_VALUE:
            for index, value in enumerate(values):
                try:
                    self._convert(name, kind, [value])
                except _BAD_VALUE as error:
                    self._blame(name, rows, index, f"is {str(value)[:80]!r}: {error}")
            raise

    def _convert(self, name: str, kind: pa.DataType, values: Sequence[object]) -> pa.Array:
        if name in self.spec.numeric_columns:
            return pa.array([decimal_text(value) for value in values], kind)
        if name in self.spec.json_columns:
            return pa.array([json_text(value) for value in values], kind)
        wanted = _python_type(kind)
        # Arrow would cut 1.5 down to 1 without a word, so types are compared first.
        strange = set(map(type, values)) - {wanted, NoneType}
        if strange:
            message = f"{_WANTED[wanted]} is needed, not {strange.pop().__name__}"
            raise TypeError(message)
        if kind == INSTANT:
            return pa.array(values, _SECONDS).cast(INSTANT)
        return pa.array(values, kind)

    def _blame(self, name: str, rows: Sequence[Json], index: int, what: str) -> None:
        row = rows[index]
        known = row.get("id") if isinstance(row, dict) else None
        message = f"Stripe {self.spec.name} {known or f'number {index}'}: {name} {what}"
        raise PermanentFailure(message) from None

    def _note(self, rows: Sequence[Json], batch: pa.RecordBatch, sync: Sync) -> None:
        if self.known_keys and rows:
            sync.unknown.update(
                f"{self.spec.name}.{key}" for key in set().union(*rows) - self.known_keys
            )
        for name, known in self.known_values.items():
            found = set(pc.unique(batch.column(name)).to_pylist()) - known - {None}
            sync.unknown.update(f"{self.spec.name}.{name}={value}" for value in found)


def _python_type(kind: pa.DataType) -> type:
    if pa.types.is_string(kind):
        return str
    return bool if pa.types.is_boolean(kind) else int
