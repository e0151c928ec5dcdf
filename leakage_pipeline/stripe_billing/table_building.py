"""Column kinds of the raw_stripe tables, and how a table is put together from them.

Which tables there are is said in `tables.py` and the modules it gathers.
"""

from typing import Any

import pyarrow as pa

from leakage_pipeline.warehouse.tables import TableSpec

SCHEMA = "raw_stripe"

TEXT = pa.string()
MINOR_UNITS = COUNT = pa.int64()
SMALL = pa.int32()
FLAG = pa.bool_()
INSTANT = pa.timestamp("us", tz="UTC")

# Both are Arrow strings; which columns they are is told apart by these markers.
NUMERIC = pa.field("numeric", pa.string())
JSON = pa.field("json", pa.string())

Kind = Any  # an Arrow type or one of the two markers; pyarrow ships no types


def table(name: str, key: tuple[str, ...], comment: str, /, **columns: Kind) -> TableSpec:
    """Build the spec of a table whose rows come from Stripe objects."""
    origin: dict[str, Kind] = {"payload": JSON, "stripe_version": TEXT, "synced_at": INSTANT}
    return plain_table(name, key, comment, columns | origin)


def plain_table(
    name: str, key: tuple[str, ...], comment: str, columns: dict[str, Kind]
) -> TableSpec:
    """Build the spec of a table that has nothing but these columns."""
    fields = [
        pa.field(column, TEXT if isinstance(kind, pa.Field) else kind)
        for column, kind in columns.items()
    ]
    return TableSpec(
        schema=SCHEMA,
        name=name,
        arrow_schema=pa.schema(fields),
        primary_key=key,
        comment=comment,
        json_columns=frozenset(column for column, kind in columns.items() if kind is JSON),
        numeric_columns=frozenset(column for column, kind in columns.items() if kind is NUMERIC),
    )
