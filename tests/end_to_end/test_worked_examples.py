"""The worked examples of the billing model, from Stripe JSON over HTTP to the findings table."""

import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from leakage_pipeline.defs.transform.assets import QUICK, dbt_environment
from leakage_pipeline.defs.transform.project import PROJECT_DIR
from tests.support.audit import rows
from tests.support.one_company import OneCompany


@pytest.fixture(scope="module")
def audited(one_company: OneCompany) -> str:
    """URL of the warehouse after the audit."""
    return one_company.url


def _closed(url: str, customer: str) -> list[tuple[str, Decimal]]:
    found = rows(
        url,
        "select leakage_type, leakage_amount from marts.fct_leakage_detections"
        " where customer_id = %s and phase = 'closed' order by leakage_type, period_start",
        (customer,),
    )
    return [(row["leakage_type"], row["leakage_amount"]) for row in found]


@pytest.mark.parametrize(
    ("customer", "findings"),
    [
        ("cus_1", [("outdated_pricing", "50.00")]),
        ("cus_2", [("missing_overage", "75.00")]),
        ("cus_3", [("incorrect_discount", "22.35")]),
        ("cus_4", [("feature_leakage", "150.00")]),
        ("cus_5", [("unreported_usage", "4000.00")]),
        ("cus_6", [("missing_overage", "350.00")]),
        ("cus_7", []),
        ("cus_8", [("missing_overage", "5.00")]),
        ("cus_9", [("unbilled_proration", "50.00")]),
        ("cus_10", []),
        ("cus_11", [("unreported_usage", "4.00")]),
        ("cus_12", [("overbilled_usage", "20.00")]),
        ("cus_13", [("outdated_pricing", "1000")]),
    ],
)
def test_worked_example(audited: str, customer: str, findings: list[tuple[str, str]]) -> None:
    """Each example gives exactly the findings that it names, and no other."""
    assert _closed(audited, customer) == [(kind, Decimal(amount)) for kind, amount in findings]


def test_a_gap_within_the_tolerance_stays_visible_in_the_bridge(audited: str) -> None:
    """Example 10: 40 units at 0.10 are no finding, and still in usage_gap_amount."""
    (row,) = rows(
        audited,
        "select usage_gap_amount, unexplained_amount from marts.fct_expected_vs_billed"
        " where customer_id = 'cus_10' and phase = 'closed'",
    )
    assert row == {"usage_gap_amount": Decimal("4.00"), "unexplained_amount": Decimal("0.00")}


def test_an_incident_names_the_source_whose_volume_is_the_gap(audited: str) -> None:
    """Example 5: all missing minutes come from encode_4k."""
    found = rows(
        audited,
        "select source, leakage_amount from marts.fct_incidents"
        " where leakage_type = 'unreported_usage' and meter = 'transcode_minutes'",
    )
    assert found == [{"source": "encode_4k", "leakage_amount": Decimal("4000.00")}]


def test_an_event_at_the_end_of_a_period_belongs_to_the_next(audited: str) -> None:
    """Example 14: half-open to the second, across a clamped month end."""
    found = rows(
        audited,
        "select true_quantity from marts.fct_customer_usage"
        " where customer_id = 'cus_14' and meter = 'edges' order by period_start limit 2",
    )
    assert [row["true_quantity"] for row in found] == [Decimal(7), Decimal(5)]


def test_the_bridge_adds_up_on_every_row(audited: str) -> None:
    """difference is the sum of the steps, to the cent, and nothing is unexplained."""
    found = rows(
        audited,
        "select count(*) filter (where unexplained_amount != 0) as broken, count(*) as all_rows"
        " from marts.fct_expected_vs_billed",
    )
    assert found[0]["broken"] == 0
    assert found[0]["all_rows"] > 20


def test_every_dbt_unit_test_holds(one_company: OneCompany, tmp_path: Path) -> None:
    """The models by themselves, rule by rule; audits leave these tests out."""
    parsed = one_company.directory / ".leakage" / "dbt" / "partial_parse.msgpack"
    shutil.copy(parsed, tmp_path)
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("dbt"), *QUICK, "test", "--quiet"),
            *("--select", "test_type:unit", "--project-dir", PROJECT_DIR),
            *("--profiles-dir", PROJECT_DIR, "--target-path", tmp_path, "--log-path", tmp_path),
        ],
        env={**os.environ, **dbt_environment(one_company.url)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
