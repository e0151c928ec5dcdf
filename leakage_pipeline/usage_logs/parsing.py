"""Turns columns as found, of text or of any type, into the exact values of an event, in DuckDB.

Every column that a source may have is called `raw_<our name>` here; what comes out is called as
`EVENT_COLUMNS` says. Nothing raises on a bad value: it becomes null, and `reason` says why.
"""

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa
from duckdb import (
    CaseExpression,
    ColumnExpression,
    ConstantExpression,
    Expression,
    SQLExpression,
)
from duckdb.sqltypes import DuckDBPyType

from leakage_pipeline.settings import USAGE_COLUMNS, FileUsageSource, SqlUsageSource
from leakage_pipeline.usage_logs.meaning import (
    DAY_US,
    EARLIEST_US,
    MILLISECONDS_FROM,
    SCALE,
    SKEW_US,
    VALUE_LIMIT,
    Reason,
)

# A row that is none: it is neither counted nor rejected.
BLANK_LINE = "blank line"
REQUIRED = ("event_id", "customer_id", "meter", "occurred_at")
NO_ROWS = pa.schema([(name, pa.string()) for name in USAGE_COLUMNS]).empty_table()
EVENT_COLUMNS = (
    "event_id",
    "customer_ref",
    "meter",
    "source",
    "value",
    "occurred_us",
    "received_us",
)
# The engine's own variables: constants of the meaning, set once per connection.
_VARIABLES = {
    "day_us": DAY_US,
    "earliest_us": EARLIEST_US,
    "skew_us": SKEW_US,
    "value_limit": VALUE_LIMIT,
    "milliseconds_from": MILLISECONDS_FROM,
    # A thousandfold of what milliseconds can sensibly be: year 5138.
    "milliseconds_until": MILLISECONDS_FROM * 1000,
}
_INTEGERS = ("tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger")
_WIDE_INTEGERS = ("ubigint", "hugeint", "uhugeint")
_FLOATS = ("float", "double")
_VALUE_FAMILIES = {
    **dict.fromkeys(_INTEGERS, "integer"),
    **dict.fromkeys(_WIDE_INTEGERS, "number"),
    **dict.fromkeys(_FLOATS, "float"),
}
_INSTANT_FAMILIES = {
    **dict.fromkeys((*_INTEGERS, *_WIDE_INTEGERS, *_FLOATS, "decimal"), "number"),
    **dict.fromkeys(("timestamp", "timestamp_s", "timestamp_ms", "date"), "naive"),
    "timestamp with time zone": "aware",
    "timestamp_ns": "nanoseconds",
}
# Decimals that DuckDB keeps in 64 bits stay as they are: they add up faster.
_SHORT_DECIMAL = 18

_VALUE = {
    "text": """
        case when is_blank(cast(raw_value as varchar)) then 1
        when contains(cast(raw_value as varchar), '_') then null
        else try_cast(cast(raw_value as varchar) as decimal(38, 12)) end
    """,
    "integer": "coalesce(cast(raw_value as bigint), 1)",
    "short_decimal": "coalesce(raw_value, 1)",
    "number": "coalesce(try_cast(raw_value as decimal(38, 12)), if(raw_value is null, 1, null))",
    # A double's shortest text is what was written; its binary expansion is not.
    "float": """
        case when raw_value is null then 1
        when abs(raw_value) < 9e15 and raw_value = trunc(raw_value)
        then cast(cast(raw_value as bigint) as decimal(38, 12))
        else try_cast(cast(raw_value as varchar) as decimal(38, 12)) end
    """,
}

# `instant` stands for the column's name. The lambda keeps DuckDB from computing the number of every
# row: what an expression names several times is computed first, and only odd rows need it.
_INSTANT = {
    "text": """
        coalesce(
            epoch_us(try_cast(cast(instant as varchar) as timestamptz)),
            list_transform(
                [try_cast(cast(instant as varchar) as double)],
                lambda number: us_of_number(number)
            )[1],
            epoch_us(try_cast(regexp_replace(
                cast(instant as varchar),
                '^(\\d{4})(\\d{2})(\\d{2})T(\\d{2})(\\d{2})(\\d{2})',
                '\\1-\\2-\\3T\\4:\\5:\\6'
            ) as timestamptz))
        )
    """,
    # A double holds microseconds since 1970 without a gap until the year 2255.
    "number": "us_of_number(cast(instant as double))",
    "naive": "epoch_us(cast(instant as timestamp))",
    "aware": "epoch_us(instant)",
    # Cut off, as text with nanoseconds is; rounding could carry an event over a boundary.
    "nanoseconds": "epoch_ns(instant) // 1000",
}
_MACROS = (
    # What begins with a blank sorts before '!'; other text is spared the trimming, which copies.
    """
    create or replace temp macro is_blank(cell) as
    cell is null or (cell < '!' and trim(cell) = '')
    """,
    """
    create or replace temp macro trimmed(cell) as
    case when cell < '!' or ends_with(cell, ' ') then trim(cell) else cell end
    """,
    # Of a blank id, null. The first branch spares nearly all rows the costly question.
    """
    create or replace temp macro hash_of_id(event_id) as
    case
        when event_id >= '!' then hash(event_id)
        when not is_blank(event_id) then hash(event_id)
    end
    """,
    """
    create or replace temp macro us_of_number(number) as
    case when abs(number) < getvariable('milliseconds_from')
    then cast(round(number * 1000000) as bigint)
    when abs(number) < getvariable('milliseconds_until')
    then cast(round(number * 1000) as bigint) end
    """,
    # A nested object may hold the same key: only what equals the parsed number is that number.
    """
    create or replace temp macro exact_number(parsed, written) as
    case when length(parsed) >= 16 and try_cast(written as double) = try_cast(parsed as double)
    then written else parsed end
    """,
)

_REASON_BESIDES_ID = f"""
    when is_blank(customer_ref) then '{Reason.NO_CUSTOMER}'
    when is_blank(meter) then '{Reason.NO_METER}'
    when value is null or abs(value) >= getvariable('value_limit') then '{Reason.BAD_VALUE}'
    when value < 0 then '{Reason.NEGATIVE_VALUE}'
    when occurred_us is null or occurred_us < getvariable('earliest_us')
    then '{Reason.BAD_INSTANT}'
    when occurred_us > getvariable('as_of_us') and received_us <= getvariable('as_of_us')
    then '{Reason.AHEAD_OF_CLOCK}'
    when occurred_us > getvariable('as_of_us') then '{Reason.IN_FUTURE}'
    when received_us > getvariable('as_of_us') then '{Reason.NOT_YET_RECEIVED}' end
"""
_REASON = f"""
    case when malformed is null then '{BLANK_LINE}'
    when malformed then '{Reason.MALFORMED}'
    when is_blank(event_id) then '{Reason.NO_EVENT_ID}'
    {_REASON_BESIDES_ID}
"""
# The first branch tells nearly every good row from the others, at a fraction of the cost.
_SOUND = f"""
    case when
        not malformed and customer_ref >= '!' and meter >= '!'
        and value >= 0 and value < getvariable('value_limit')
        and occurred_us >= getvariable('earliest_us') and occurred_us <= getvariable('as_of_us')
        and (received_us is null or received_us <= getvariable('as_of_us'))
    then true
    when malformed is null or malformed then false
    else (case {_REASON_BESIDES_ID}) is null end
"""


def prepare(connection: duckdb.DuckDBPyConnection, as_of_us: int) -> None:
    """Make the constants of the meaning and the audit's instant known to the connection."""
    for name, number in {**_VARIABLES, "as_of_us": as_of_us}.items():
        connection.execute(f"set variable {name} = {number:d}")
    for macro in _MACROS:
        connection.execute(macro)


def parse(
    raw: duckdb.DuckDBPyRelation, payload: Expression | None = None, more: Sequence[str] = ()
) -> duckdb.DuckDBPyRelation:
    """Give every row its exact values and, when it cannot be counted, the reason.

    Args:
        raw: Columns `raw_event_id` to `raw_received_at` of any type, `malformed` (boolean; null
            for a blank line), and `file` and `position` (the number of the row in its file, null
            where the reader does not know it), which pass through.
        payload: The row as found, as JSON text, over the columns of `raw`; default our columns.
        more: Further columns that pass through.

    Returns:
        event_id, customer_ref, meter, source (text), value (an exact number), occurred_us and
        received_us (epoch microseconds), reason (null: the event counts), sound (there is no
        reason, unless it lies in the id), file, position, payload (of rows with a reason alone).
    """
    types = dict(zip(raw.columns, raw.types, strict=True))
    typed = raw.select(
        "*",
        ColumnExpression("raw_event_id").cast("varchar").alias("event_id"),
        ColumnExpression("raw_customer_id").cast("varchar").alias("customer_ref"),
        ColumnExpression("raw_meter").cast("varchar").alias("meter"),
        SQLExpression("coalesce(cast(raw_source as varchar), '')").alias("source"),
        _value(types["raw_value"]).alias("value"),
        _instant("raw_occurred_at", types["raw_occurred_at"]).alias("occurred_us"),
        _instant("raw_received_at", types["raw_received_at"]).alias("received_us"),
    )
    reasoned = typed.select(
        "*", SQLExpression(_REASON).alias("reason"), SQLExpression(_SOUND).alias("sound")
    )
    kept = CaseExpression(
        ColumnExpression("reason").isnotnull(), payload if payload is not None else _row_as_json()
    )
    return reasoned.select(
        *map(ColumnExpression, (*EVENT_COLUMNS, "reason", "sound", "file", "position", *more)),
        kept.alias("payload"),
    )


def wanted(source: FileUsageSource | SqlUsageSource) -> dict[str, str]:
    """Our column names to the source's."""
    return {name: source.column(name) for name in USAGE_COLUMNS}


def no_position() -> Expression:
    """The position of rows whose source does not number them."""
    return SQLExpression("cast(null as bigint)").alias("position")


def raw_columns(found: Mapping[str, Expression]) -> list[Expression]:
    """Name a source's columns `raw_<ours>`, absent ones null.

    Args:
        found: Our name to where the column is.
    """
    absent = ConstantExpression(None).cast("varchar")
    return [found.get(name, absent).alias(f"raw_{name}") for name in USAGE_COLUMNS]


def _row_as_json() -> Expression:
    fields = ", ".join(f"{name} := raw_{name}" for name in USAGE_COLUMNS)
    return SQLExpression(f"cast(to_json(struct_pack({fields})) as varchar)")


def _value(kind: DuckDBPyType) -> Expression:
    name = str(kind.id)
    if name == "decimal":
        precision, scale = (int(str(size)) for _, size in kind.children)
        exact = precision <= _SHORT_DECIMAL and scale <= SCALE
        return SQLExpression(_VALUE["short_decimal" if exact else "number"])
    return SQLExpression(_VALUE[_VALUE_FAMILIES.get(name, "text")])


def _instant(column: str, kind: DuckDBPyType) -> Expression:
    family = _INSTANT_FAMILIES.get(str(kind.id), "text")
    return SQLExpression(_INSTANT[family].replace("instant", column))
