"""Every finding type has a page that says what it means, and every page is of a type."""

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "findings"
SEED = ROOT / "dbt_project" / "seeds" / "finding_types.csv"
SECTIONS = (
    "## Rule",
    "## Inputs",
    "## Worked example",
    "## False positives, and what prevents them",
    "## What to do",
)
with SEED.open(newline="") as file:
    TYPES = {row["leakage_type"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", TYPES)
def test_a_type_is_documented(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert not [section for section in SECTIONS if section not in text]
    assert f"**Direction** {TYPES[name]['direction']}" in " ".join(text.split())


def test_the_table_has_each_type_with_its_basis() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+)[^|]*\| ([\w ]+) \|",
        (PAGES / "README.md").read_text(),
        re.MULTILINE,
    )
    told = {name: (page, direction, basis.strip()) for name, page, direction, basis in rows}
    known = {
        name: (name, row["direction"], row["amount_basis"].replace("_", " "))
        for name, row in TYPES.items()
    }
    assert told == known
    assert {page.stem for page in PAGES.glob("*.md")} == {*TYPES, "README"}


def test_the_readme_counts_them() -> None:
    assert f"It finds {len(TYPES)} kinds of them" in (ROOT / "README.md").read_text()


def test_every_doubt_is_explained() -> None:
    with (ROOT / "dbt_project" / "seeds" / "confidence_penalties.csv").open(newline="") as file:
        known = {row["doubt"]: row["penalty"] for row in csv.DictReader(file)}
    text = (PAGES / "README.md").read_text()
    assert dict(re.findall(r"^\| `(\w+)` \| (0\.\d\d) \|", text, re.MULTILINE)) == known
