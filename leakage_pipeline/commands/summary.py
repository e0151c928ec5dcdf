"""What an audit found, as a table: by direction and type, amounts per currency, nothing netted.

Leaks, overbilling, risks and opportunities are never added to each other, nor are two currencies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import psycopg2.extensions
from rich.console import Console
from rich.table import Table

from leakage_pipeline.classification.wording import exponent, plural

DIRECTIONS = ("leak", "overbilling", "risk", "opportunity")
_QUERY = """
    select direction, leakage_type, upper(currency), count(*), sum(leakage_amount)
    from marts.fct_leakage_detections
    group by 1, 2, 3
"""


@dataclass(frozen=True)
class FindingTotal:
    """Findings of one direction, type and currency. Amount in currency units, None if unknown."""

    direction: str
    leakage_type: str
    currency: str
    findings: int
    amount: Decimal | None


def read_totals(conn: psycopg2.extensions.connection) -> list[FindingTotal]:
    """The newest audit's findings, leaks first, the largest amounts first."""
    with conn.cursor() as cursor:
        cursor.execute(_QUERY)
        totals = [FindingTotal(*row) for row in cursor.fetchall()]
    return sorted(
        totals,
        key=lambda total: (
            DIRECTIONS.index(total.direction) if total.direction in DIRECTIONS else len(DIRECTIONS),
            total.currency,
            -(total.amount or Decimal(0)),
            total.leakage_type,
        ),
    )


def print_summary(
    console: Console, totals: Sequence[FindingTotal], failed_checks: Sequence[str]
) -> None:
    """Print the findings, a subtotal per direction and currency, and the checks that failed."""
    if not totals:
        console.print("No findings.")
    else:
        table = Table(title="Findings", title_justify="left")
        for name in ("direction", "type", "currency"):
            table.add_column(name)
        for name in ("findings", "amount"):
            table.add_column(name, justify="right")
        groups: dict[tuple[str, str], list[FindingTotal]] = {}
        for total in totals:
            groups.setdefault((total.direction, total.currency), []).append(total)
        for (direction, currency), members in groups.items():
            for member in members:
                table.add_row(
                    direction,
                    member.leakage_type,
                    currency,
                    f"{member.findings:,}",
                    _money(member.amount, currency),
                )
            known = [member.amount for member in members if member.amount is not None]
            count = sum(member.findings for member in members)
            amount = _money(sum(known, Decimal(0)) if known else None, currency)
            table.add_row(
                direction, "all", currency, f"{count:,}", amount, style="bold", end_section=True
            )
        console.print(table)
    if failed_checks:
        console.print(f"{plural(len(failed_checks), 'check')} failed:", style="yellow")
        for name in failed_checks:
            console.print(f"  {name}", style="yellow", highlight=False)
    else:
        console.print("All checks passed.")


def _money(amount: Decimal | None, currency: str | None) -> str:
    return "unknown" if amount is None else f"{amount:,.{exponent(currency or '')}f}"
