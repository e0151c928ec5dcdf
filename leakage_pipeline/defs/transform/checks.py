"""Checks of what the audit is about to believe: customers, contracts, plans and currencies.

Each reads a quality model and warns with a count and examples. None blocks: what is doubtful takes
confidence off the findings that it touches (`int_quality__account_doubts`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg
import psycopg2.extensions
from psycopg2 import sql

from leakage_pipeline.classification.wording import plural
from leakage_pipeline.defs.resources import WarehouseResource

_EXAMPLES = 10


@dataclass(frozen=True)
class _QualityCheck:
    """A quality model whose rows are faults; `example` is the column that names one."""

    name: str
    model: str
    example: str
    promise: str
    fault: str


_CHECKS = (
    _QualityCheck(
        "no_duplicate_customers",
        "int_quality__duplicate_customers",
        "customer_id",
        "No two Stripe customers share an e-mail",
        "Stripe customers share an e-mail with another one",
    ),
    _QualityCheck(
        "no_duplicate_subscriptions",
        "int_quality__duplicate_subscriptions",
        "customer_id",
        "No customer subscribes to one product twice",
        "customers subscribe to one product more than once",
    ),
    _QualityCheck(
        "no_orphans",
        "int_quality__orphans",
        "kind || ' ' || subject_id",
        "Accounts, contracts, exceptions and subscriptions find their other side",
        "accounts, contracts, exceptions or subscriptions name nobody on the other side",
    ),
    _QualityCheck(
        "no_clashing_contracts",
        "int_quality__clashing_contracts",
        "contract_id || ' and ' || other_contract_id",
        "No two contracts rule the same plan at the same time",
        "pairs of contracts rule the same plan at the same time",
    ),
    _QualityCheck(
        "no_unmapped_plans",
        "int_quality__unmapped_plans",
        "kind || ' ' || subject_id || ': ' || coalesce(plan_key, 'no plan')",
        "The price book knows every plan in use",
        "subscriptions or accounts are on a plan that the price book does not know",
    ),
    _QualityCheck(
        "no_missing_currencies",
        "int_quality__missing_currencies",
        "kind || ' ' || subject_id || ': ' || currency",
        "Plans are listed in the currencies they are billed in, and these have exchange rates",
        "list prices or exchange rates are missing for a currency in use",
    ),
)


def _key(check: _QualityCheck) -> dg.AssetKey:
    return dg.AssetKey(["intermediate", check.model])


def _faults(
    connection: psycopg2.extensions.connection, check: _QualityCheck
) -> tuple[int, Sequence[str]]:
    """How many rows the model has, and the first of them by name."""
    table = sql.Identifier("intermediate", check.model)
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("select count(*) from {}").format(table))
        (count,) = cursor.fetchone() or (0,)
        # The expression is one of the constants above.
        cursor.execute(
            sql.SQL("select {} as example from {} order by example limit %s").format(
                sql.SQL(check.example), table
            ),
            (_EXAMPLES,),
        )
        return count, [str(example) for (example,) in cursor.fetchall()]


def _asset_check(check: _QualityCheck) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=_key(check), name=check.name, description=check.promise, blocking=False)
    def quality(warehouse: WarehouseResource) -> dg.AssetCheckResult:
        with warehouse.connect() as connection:
            count, examples = _faults(connection, check)
        named = ", ".join(examples)
        return dg.AssetCheckResult(
            passed=count == 0,
            severity=dg.AssetCheckSeverity.WARN,
            description=(
                f"{plural(count, 'case')}: {check.fault}, such as {named}" if count else None
            ),
            metadata={"faults": count, "examples": named},
        )

    return quality


quality_checks = [_asset_check(check) for check in _CHECKS]
