"""One broken endpoint is one incident: named, dated and priced, from Stripe JSON to the mart."""

from decimal import Decimal

import pytest

from tests.end_to_end.usage_incidents import CUSTOMER, METER, STOPPED
from tests.support.audit import rows
from tests.support.one_company import OneCompany


@pytest.fixture(scope="module")
def audited(one_company: OneCompany) -> str:
    """URL of the warehouse after the audit."""
    return one_company.url


def test_the_video_encoding_case_is_one_incident(audited: str) -> None:
    """The endpoint, the day, and 4,000.00 a month: one row over six closed periods.

    The running one waits: its gap is still smaller than a day of all usage.
    """
    found = rows(
        audited,
        "select meter, source, started_at, customers, findings, monthly_leakage_amount, is_running,"
        " description from marts.fct_incidents"
        " where leakage_type = 'unreported_usage' and meter = %s",
        (METER,),
    )
    assert len(found) == 1, found
    incident = found[0]
    assert (incident["meter"], incident["source"]) == (METER, "encode_4k")
    assert incident["started_at"] == STOPPED
    assert incident["monthly_leakage_amount"] == Decimal("4000.00")
    assert (incident["customers"], incident["findings"], incident["is_running"]) == (1, 6, True)
    assert incident["description"].startswith(
        "`encode_4k`: unreported usage of video_minutes since 2026-05-20: 1 customer, "
        "4000.00 USD a month, "
    )


def test_the_whole_periods_cost_what_their_minutes_cost(audited: str) -> None:
    """40,000 minutes at 0.10 in every period after the one in which it began."""
    found = rows(
        audited,
        "select leakage_amount from marts.fct_leakage_detections"
        " where leakage_type = 'unreported_usage' and phase = 'closed' and customer_id = %s"
        " order by period_start",
        (CUSTOMER,),
    )
    assert [row["leakage_amount"] for row in found[1:]] == [Decimal("4000.00")] * 5
    assert Decimal(0) < found[0]["leakage_amount"] < Decimal("4000.00")
