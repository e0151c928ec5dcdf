"""The CSV cannot attack the spreadsheet that opens it, and its numbers are numbers."""

import csv
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import psycopg2.extensions
import pytest

from leakage_pipeline.publishing.csv_export import cell, findings_csv_name, write_findings_csv
from leakage_pipeline.publishing.detection_state import update_detection_state
from tests.unit.publishing import company
from tests.unit.publishing.sample import AS_OF, Row, insert


@pytest.mark.parametrize(
    "text", ["=1+1", "+49", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "\uff1d1+1", '=HYPERLINK("x")']
)
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    assert cell(text) == f"'{text}"


def test_numbers_stay_numbers() -> None:
    assert cell(Decimal("-12.30")) == "-12.30"
    assert cell(Decimal("1E+3")) == "1000"
    assert cell(-5) == "-5"
    assert cell(None) == ""
    assert cell(AS_OF) == "2026-11-20T06:00:00Z"


def test_every_finding_is_a_row_with_its_status_and_evidence(
    filled: psycopg2.extensions.connection, tmp_path: Path
) -> None:
    update_detection_state(filled, AS_OF)
    path = tmp_path / findings_csv_name(AS_OF)
    assert path.name == "findings_2026-11-20T060000Z.csv"
    assert write_findings_csv(filled, path) == len(company.findings())
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = {row["detection_id"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(company.findings())
    assert rows["overage-2"]["leakage_amount"] == "350.00"
    assert rows["overage-2"]["status"] == "new"
    assert '"expected_net": 350.0' in rows["overage-2"]["evidence"]


def test_a_hostile_name_and_reason_are_harmless_in_the_file(
    marts: psycopg2.extensions.connection, tmp_path: Path
) -> None:
    hostile = '=cmd|"/c calc"!A1'
    insert(marts, "marts.dim_customers", [{**company.customers()[0], "name": hostile}])
    row = Row("d-1", company.customer(0), reason="+1-1", description="-2+3", meter="@x")
    insert(marts, "marts.fct_leakage_detections", [row])
    path = tmp_path / "findings.csv"
    write_findings_csv(marts, path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        (read,) = csv.DictReader(file)
    assert read["customer_name"] == f"'{hostile}"
    assert (read["reason"], read["description"], read["meter"]) == ("'+1-1", "'-2+3", "'@x")


def test_the_same_run_gives_the_same_bytes(
    filled: psycopg2.extensions.connection, tmp_path: Path
) -> None:
    write_findings_csv(filled, tmp_path / "a.csv")
    write_findings_csv(filled, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert findings_csv_name(AS_OF) != findings_csv_name(AS_OF + timedelta(seconds=1))
