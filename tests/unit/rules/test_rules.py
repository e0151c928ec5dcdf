"""Every rule of the billing model is held by a test that exists, and docs/rules.md says which."""

import csv
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RULES = ROOT / "docs" / "rules.md"
SECTIONS = ("2", "3", "4", "5")
NUMBERED = tuple(f"7.{number}" for number in range(1, 34))


@cache
def _rows() -> dict[str, list[str]]:
    """The tests that the page names, by rule."""
    rows: dict[str, list[str]] = {}
    for line in RULES.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) == 3 and re.fullmatch(r"\d(\.\d+)?", cells[0]):
            rows.setdefault(cells[0], []).extend(re.findall(r"`(\w+)`", cells[2]))
    return rows


@cache
def _dbt_tests() -> frozenset[str]:
    names: set[str] = set()
    for path in (ROOT / "dbt_project").rglob("*.yml"):
        if "target" in path.relative_to(ROOT / "dbt_project").parts:
            continue
        text = path.read_text()
        if "\nunit_tests:" in text:
            names.update(re.findall(r"^  - name: (\w+)", text, re.MULTILINE))
    integrity = (ROOT / "dbt_project" / "tests" / "integrity").glob("*.sql")
    return frozenset(names | {path.stem for path in integrity})


@cache
def _python_tests() -> frozenset[str]:
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        found.update(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))
    return frozenset(found)


@pytest.mark.parametrize("rule", [*SECTIONS, *NUMBERED])
def test_every_rule_is_held_by_a_test_that_exists(rule: str) -> None:
    named = _rows().get(rule, [])
    assert named, f"docs/rules.md names no test for {rule}"
    assert not set(named) - _dbt_tests() - _python_tests()


def test_tests_are_named_after_rules_that_there_are() -> None:
    numbers = {rule for name in _dbt_tests() for rule in _rules_in(name)}
    assert numbers <= set(NUMBERED)


def _rules_in(name: str) -> list[str]:
    numbers = re.match(r"rules?_7_(\d+)(?:_and_7_(\d+))?_", name)
    return [f"7.{number}" for number in numbers.groups() if number] if numbers else []


def test_rule_7_25_each_type_has_the_basis_of_its_direction() -> None:
    """What the bridge measures is measured, what list prices tell estimated, a risk at risk."""
    path = ROOT / "dbt_project" / "seeds" / "finding_types.csv"
    with path.open(newline="") as file:
        types = {row["leakage_type"]: row for row in csv.DictReader(file)}
    for name in ("overbilled_usage", "overbilled_price", "double_charge"):
        assert types[name]["amount_basis"] == "measured", name
    for name in ("duplicate_subscription", "missing_local_access"):
        assert types[name]["amount_basis"] == "estimated", name
    risks = [row for row in types.values() if row["direction"] == "risk"]
    assert risks
    assert {row["amount_basis"] for row in risks} == {"at_risk"}
