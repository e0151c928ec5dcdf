"""The audit's own rating models as views over a few hand-filled tables.

The SQL is the project's, rendered by Jinja with the project's macros; test_rating_properties checks
that dbt compiles it to the same text. So a thousand charges are rated in milliseconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import jinja2
import psycopg2.extensions
from psycopg2.extras import execute_values

from tests.pricing import oracle

PROJECT = Path(__file__).parents[2] / "dbt_project"
MODELS = ("int_rating__requests", "int_rating__tier_amounts", "int_rating__amounts")
_TABLES = """
create schema intermediate;
create table intermediate.int_rating__charges (
    charge_id text, item_period_id text, expected_rate_id text, stripe_rate_id text,
    is_billed_by_stripe boolean, expected_quantity numeric, billed_quantity numeric,
    known_in_time_quantity numeric,
    included_quantity numeric, grace_percent numeric, expected_multiplier numeric,
    sign_and_discount numeric, share_seconds numeric, full_seconds numeric, is_floored boolean,
    change_kind text
);
create table intermediate.int_terms__rates (
    rate_id text, tiers_mode text, divide_by numeric, round_mode text
);
create table intermediate.int_terms__rate_tiers (
    rate_id text, tier_index integer, from_quantity numeric, up_to numeric, unit_amount numeric,
    flat_amount numeric
);
create table intermediate.int_recovery__metered_corrections (
    charge_id text, quantity_change numeric
);
create table intermediate.int_periods__item_periods (
    item_period_id text, rounding_unit integer, billing_mode text
);
"""


@dataclass(frozen=True)
class Charge:
    """A charge to rate: what is agreed and used, and what Stripe asks and bills.

    Attributes:
        agreed: The expected terms.
        used: The expected quantity.
        asked: Stripe's own price.
        billed: The quantity that Stripe bills.
        intervals: Intervals of the agreed price in the period.
        seconds: Seconds that are charged, and seconds of the period.
    """

    agreed: oracle.Terms
    used: Decimal
    asked: oracle.Price
    billed: Decimal
    currency: oracle.Currency
    intervals: Fraction = oracle.ONE
    seconds: tuple[int, int] = (1, 1)
    is_credit: bool = False
    is_floored: bool = False
    by_line: bool = False

    def amounts(self) -> tuple[Decimal, Decimal, Decimal]:
        """What the oracle gives: expected, expected at the billed quantity, at Stripe's price."""
        return (
            self._rate(self.agreed, self.used, self.intervals),
            self._rate(self.agreed, self.billed, self.intervals),
            self._rate(oracle.Terms(self.asked), self.billed, oracle.ONE),
        )

    def _rate(self, terms: oracle.Terms, quantity: Decimal, intervals: Fraction) -> Decimal:
        return oracle.rate(
            terms,
            quantity,
            self.currency,
            share=Fraction(*self.seconds),
            intervals=intervals,
            is_credit=self.is_credit,
            is_floored=self.is_floored,
            by_line=self.by_line,
        )


def sql_of(model: str, database: str | None = None) -> str:
    """The model's SQL as dbt compiles it; with `database` its relations are fully named."""
    macros = "".join(path.read_text() for path in sorted((PROJECT / "macros").glob("*_money.sql")))
    (path,) = (PROJECT / "models").rglob(f"{model}.sql")
    prefix = f'"{database}".' if database else ""
    environment = jinja2.Environment(autoescape=False)  # noqa: S701 - it renders SQL
    # Macros come on one line with the model, so that they add no text of their own.
    template = environment.from_string(macros.replace("\n{% macro", "{% macro") + path.read_text())
    return template.render(ref=lambda name: f'{prefix}"intermediate"."{name}"').strip()


def create(connection: psycopg2.extensions.connection) -> None:
    """Make the tables and, over them, the models as views."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        for model in MODELS:
            cursor.execute(f"create view intermediate.{model} as {sql_of(model)}")
    connection.commit()


def rate(
    connection: psycopg2.extensions.connection, charges: Sequence[Charge]
) -> list[tuple[Decimal, Decimal, Decimal]]:
    """What the SQL gives for these charges, in their order, in currency units."""
    with connection.cursor() as cursor:
        _fill(cursor, charges)
        cursor.execute(
            "select charge_id, expected, expected_at_billed_quantity, at_stripe_price"
            " from intermediate.int_rating__amounts where not cannot_rate"
        )
        found = {row[0]: row[1:] for row in cursor.fetchall()}
    connection.rollback()
    return [
        tuple(amount.scaleb(-charge.currency.exponent) for amount in found[f"charge_{index}"])  # type: ignore[misc]
        for index, charge in enumerate(charges)
    ]


def _fill(cursor: psycopg2.extensions.cursor, charges: Iterable[Charge]) -> None:
    rates: list[tuple[object, ...]] = []
    tiers: list[tuple[object, ...]] = []
    rows: list[tuple[object, ...]] = []
    periods: list[tuple[object, ...]] = []
    for index, charge in enumerate(charges):
        key = f"charge_{index}"
        for rate_id, price in ((f"e_{index}", charge.agreed.price), (f"s_{index}", charge.asked)):
            mode = "volume" if price.kind == "volume" else "graduated"
            is_package = price.divide_by is not None
            rates.append((rate_id, mode, price.divide_by, price.round_mode if is_package else None))
            tiers += _tiers(rate_id, price, charge.currency)
        rows.append(
            (
                *(key, f"period_{index}", f"e_{index}", f"s_{index}", True),
                *(
                    charge.used,
                    charge.billed,
                    charge.used,
                    charge.agreed.included,
                    charge.agreed.grace_percent,
                ),
                _numeric(charge.intervals),
                *(-1 if charge.is_credit else 1, *charge.seconds, charge.is_floored),
                "removed" if charge.by_line else None,
            )
        )
        step = charge.currency.step * 10**charge.currency.exponent
        mode = "flexible" if charge.by_line else "classic"
        periods.append((f"period_{index}", int(step), mode))
    execute_values(cursor, "insert into intermediate.int_rating__charges values %s", rows)
    execute_values(cursor, "insert into intermediate.int_terms__rates values %s", rates)
    execute_values(cursor, "insert into intermediate.int_terms__rate_tiers values %s", tiers)
    execute_values(cursor, "insert into intermediate.int_periods__item_periods values %s", periods)


def _tiers(
    rate_id: str, price: oracle.Price, currency: oracle.Currency
) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    below = Decimal(0)
    for index, tier in enumerate(price.tiers):
        unit, flat = (
            amount.scaleb(currency.exponent) for amount in (tier.unit_amount, tier.flat_amount)
        )
        rows.append((rate_id, index, below, tier.up_to, unit, flat))
        below = tier.up_to or below
    return rows


def _numeric(value: Fraction) -> Decimal:
    """A fraction as Postgres divides it: a twelfth has 20 digits."""
    return (Decimal(value.numerator) / Decimal(value.denominator)).quantize(Decimal("1e-20"))
