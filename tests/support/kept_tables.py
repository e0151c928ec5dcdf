"""Every table that a night of changes must leave as an audit of everybody does, to compare."""

from collections import Counter
from typing import Any

import yaml

from leakage_pipeline.defs.transform.project import PROJECT_DIR
from tests.support.audit import rows

# What is made whole every night from the tables that are kept.
DERIVED = (
    "intermediate.int_accounts__orphans",
    "intermediate.int_accounts__plans_by_seat",
    "intermediate.int_findings__incidents",
    "intermediate.int_quality__account_doubts",
    "intermediate.int_quality__missing_currencies",
    "intermediate.int_quality__usage_blocks",
    "intermediate.int_quality__usage_meters",
    "intermediate.int_quality__usage_outages",
    "intermediate.int_usage__list_rates",
)
Tables = dict[str, Counter[str]]


def tables(url: str) -> Tables:
    """Every row, as text, of the tables that are kept, the marts, and what spans customers."""
    names = [
        *(f"intermediate.{name}" for name in _kept_models() if name.startswith("int_")),
        *(f"marts.{path.stem}" for path in (PROJECT_DIR / "models/marts").glob("*.sql")),
        *DERIVED,
    ]
    return {
        name: Counter(
            row["kept"]
            for row in rows(url, f"select kept::text as kept from {name} as kept")  # noqa: S608
        )
        for name in sorted(names)
    }


def _kept_models() -> list[str]:
    """The models that dbt_project.yml keeps from night to night."""
    project = yaml.safe_load((PROJECT_DIR / "dbt_project.yml").read_text(encoding="utf-8"))

    def below(node: dict[str, Any]) -> list[str]:
        return [
            name
            for key, value in node.items()
            if isinstance(value, dict)
            for name in ([key] if value.get("+materialized") == "incremental" else below(value))
        ]

    return below(project["models"]["leakage"])


def differences(kept: Tables, anew: Tables) -> dict[str, tuple[list[str], list[str]]]:
    """By table: rows that only the full build has, and rows that only the night kept."""
    return {
        name: (list((rows - kept[name]).elements()), list((kept[name] - rows).elements()))
        for name, rows in anew.items()
        if rows != kept[name]
    }
