"""What `rollup.sql` and `events.sql` leave open: how each database says it.

Only columns whose types need no parsing are pushed down; text that must be read as a number or an
instant is for DuckDB or Spark.
"""

from dataclasses import dataclass

import sqlalchemy as sa

_NUMBER_CASES = (
    "case when abs({column}) < {milliseconds} then cast(round(%s * 1000000) as %s)"
    " when abs({column}) < {milliseconds} * 1000 then cast(round(%s * 1000) as %s) end"
)
_TABLES = {
    "segments": {
        "customer_ref": "text",
        "day": "bigint",
        "from_us": "bigint",
        "until_us": "bigint",
    },
    "finalizations": {
        "customer_ref": "text",
        "stripe_event_name": "text",
        "period_start_us": "bigint",
        "period_end_us": "bigint",
        "finalized_us": "bigint",
    },
    "meter_names": {"meter": "text", "stripe_event_name": "text"},
}


@dataclass(frozen=True)
class Dialect:
    """One database's way to say what the roll-up needs.

    Attributes:
        division: The operator that divides whole numbers without a rest.
        text: A column as text that compares and sorts by its bytes.
        values: Family of a type to the expression of an exact value.
        instants: Family of a type to the expression of microseconds since 1970.
        payload: A row as JSON text, of alternating names and columns.
        begin: What makes a session read-only and UTC.
        longest_query: How many bytes a query may have with the customers' cuts in it.
    """

    division: str
    text: str
    values: dict[str, str]
    instants: dict[str, str]
    payload: str
    begin: tuple[str, ...]
    longest_query: int

    def family_of_value(self, kind: object) -> str | None:
        """How a column's type says a value; None when it must be parsed."""
        if isinstance(kind, sa.Float):
            return "float" if "float" in self.values else None
        return "exact" if isinstance(kind, (sa.Integer, sa.Numeric)) else None

    def family_of_instant(self, kind: object) -> str | None:
        """How a column's type says an instant; None when it must be parsed."""
        if isinstance(kind, sa.DateTime):
            return "aware" if kind.timezone else "naive"
        if isinstance(kind, sa.Date):
            return "naive"
        if isinstance(kind, sa.Float) and "float" not in self.values:
            return None
        return "number" if isinstance(kind, (sa.Integer, sa.Numeric)) else None


POSTGRES = Dialect(
    division="/",
    text='cast({column} as text) collate "C"',
    values={
        "exact": "case when {column} is null then 1 "
        "when {column} > -{limit} and {column} < {limit} "
        "then round(cast({column} as numeric), {scale}) end",
        # Its shortest text is what was written; the binary expansion is not.
        "float": "case when {column} is null then 1 "
        "when {column} > -{limit} and {column} < {limit} "
        "then round(cast(cast({column} as text) as numeric), {scale}) end",
    },
    instants={
        "aware": "case when isfinite({column}) "
        "then cast(extract(epoch from {column}) * 1000000 as bigint) end",
        "naive": "case when isfinite({column}) "
        "then cast(extract(epoch from cast({column} as timestamp)) * 1000000 as bigint) end",
        "number": _NUMBER_CASES
        % ("cast({column} as numeric)", "bigint", "cast({column} as numeric)", "bigint"),
    },
    payload="cast(json_build_object({fields}) as text)",
    begin=("set transaction read only",),
    longest_query=500_000_000,
)
_MYSQL_VALUES = {
    "exact": "case when {column} is null then 1 "
    "when {column} > -{limit} and {column} < {limit} "
    "then cast({column} as decimal(50, {scale})) end",
}
_MYSQL_INSTANTS = {
    "naive": "timestampdiff(microsecond, '1970-01-01 00:00:00', {column})",
    "number": _NUMBER_CASES % ("{column}", "signed", "{column}", "signed"),
}
_MYSQL_BEGIN = ("set time_zone = '+00:00'", "set session transaction read only")
# Servers take 16 MiB in one packet unless told otherwise.
_MYSQL_PACKET = 12_000_000
MYSQL = Dialect(
    division="div",
    text="convert({column} using utf8mb4) collate utf8mb4_0900_bin",
    values=_MYSQL_VALUES,
    instants=_MYSQL_INSTANTS,
    payload="cast(json_object({fields}) as char)",
    begin=_MYSQL_BEGIN,
    longest_query=_MYSQL_PACKET,
)
MARIADB = Dialect(
    division="div",
    text="convert({column} using utf8mb4) collate utf8mb4_nopad_bin",
    values=_MYSQL_VALUES,
    instants=_MYSQL_INSTANTS,
    payload="cast(json_object({fields}) as char)",
    begin=_MYSQL_BEGIN,
    longest_query=_MYSQL_PACKET,
)


def of_engine(engine: sa.Engine) -> Dialect | None:
    """The dialect of a source's database; None when events of it must be fetched."""
    if (engine.dialect.name, engine.dialect.driver) == ("postgresql", "psycopg2"):
        return POSTGRES
    if engine.dialect.name in {"mysql", "mariadb"}:
        return MARIADB if getattr(engine.dialect, "is_mariadb", False) else MYSQL
    return None


def from_postgres_json(table: str, literal: str) -> str:
    """One of the small tables, from its rows as a JSON literal."""
    columns = ", ".join(f"{name} {kind}" for name, kind in _TABLES[table].items())
    return f"select * from json_to_recordset({literal}) as {table} ({columns})"  # noqa: S608 - quoted


def from_mysql_json(table: str) -> str:
    """One of the small tables, from its rows as the JSON parameter of the same name."""
    columns = ", ".join(
        f"{name} {'varchar(500)' if kind == 'text' else kind} path '$.{name}'"
        for name, kind in _TABLES[table].items()
    )
    rows = f"json_table(:{table}, '$[*]' columns ({columns})) as {table}_json"
    return f"select * from {rows}"  # noqa: S608 - our own names
