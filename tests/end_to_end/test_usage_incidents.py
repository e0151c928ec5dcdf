"""One broken endpoint is one incident: named, dated and priced, from Stripe JSON to the mart.

500,000 minutes processed a month, 460,000 billed; the missing ones come from one endpoint that
stopped reporting on a day six months ago.
"""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from leakage_pipeline.simulator.invoicing_periods import add_months
from leakage_pipeline.simulator.stripe_objects import JsonObject
from tests.support.audit import audit_company, rows
from tests.support.small_company import Item, SmallCompany

AS_OF = "2026-11-20T06:00:00Z"
FIRST = datetime(2026, 2, 10, 14, 23, 7)  # noqa: DTZ001 - the small company reads it as UTC
STOPPED = datetime(2026, 5, 20, tzinfo=UTC)
BOUNDS = [add_months(FIRST, months) for months in range(11)]
DAY_MINUTES = {"encode_hd": 460_000, "encode_4k": 40_000}


def _days(start: datetime, end: datetime) -> list[datetime]:
    first = start.replace(hour=0, minute=0, second=0) + timedelta(days=1)
    return [first + timedelta(days=n) for n in range((end - first).days + 1)]


def _video_customer(
    company: SmallCompany, name: str, licence: JsonObject, price: JsonObject
) -> None:
    """Every period has the same minutes, spread over its days; the last one still runs."""
    periods = [bound.isoformat() for bound in BOUNDS]
    subscription = company.subscribe(name, [Item(licence), Item(price)], periods=periods)
    billed = None
    now = datetime.fromisoformat(AS_OF).replace(tzinfo=None)
    for start, end in itertools.pairwise(BOUNDS):
        span = (start.isoformat(), end.isoformat())
        lines = [company.line(subscription, licence, 4900, span)]
        if billed is not None:
            quantity, earlier = billed
            lines.append(
                company.line(subscription, price, quantity * 10, earlier, quantity=quantity)
            )
        company.invoice(name, span[0], lines)
        days = _days(start, end)
        metered = 0
        for source, total in DAY_MINUTES.items():
            for number, day in enumerate(days):
                value = total // len(days) + (total % len(days) if number == 0 else 0)
                if day > now - timedelta(days=1):
                    continue
                at = (day + timedelta(hours=1)).isoformat()
                company.use(name, "transcode_minutes", value, at, source=source)
                if source == "encode_hd" or day.replace(tzinfo=UTC) < STOPPED:
                    company.meter_event(name, "transcode_min", value, at)
                    metered += value
        billed = (metered, span)


@pytest.fixture(scope="module")
def audited(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the warehouse after one audit of the company."""
    company = SmallCompany(as_of=AS_OF)
    company.meters["transcode_minutes"] = "transcode_min"
    licence = company.price("basic", "basic", unit_amount=4900)
    meter = company.meter("transcode_min")
    price = company.price("minutes", unit_amount=10, usage_type="metered", meter=meter)
    _video_customer(company, "cus_video", licence, price)
    directory: Path = tmp_path_factory.mktemp("video_encoding")
    audit_company(company, directory, module_database_url)
    return module_database_url


def test_the_video_encoding_case_is_one_incident(audited: str) -> None:
    """The endpoint, the day, and 4,000.00 a month: one row over six closed periods.

    The running one waits: its gap is still smaller than a day of all usage.
    """
    found = rows(
        audited,
        "select meter, source, started_at, customers, findings, monthly_leakage_amount, is_running,"
        " description from marts.fct_incidents where leakage_type = 'unreported_usage'",
    )
    assert len(found) == 1, found
    incident = found[0]
    assert (incident["meter"], incident["source"]) == ("transcode_minutes", "encode_4k")
    assert incident["started_at"] == STOPPED
    assert incident["monthly_leakage_amount"] == Decimal("4000.00")
    assert (incident["customers"], incident["findings"], incident["is_running"]) == (1, 6, True)
    assert incident["description"].startswith(
        "`encode_4k`: unreported usage of transcode_minutes since 2026-05-20: 1 customer, "
        "4000.00 USD a month, "
    )


def test_the_whole_periods_cost_what_their_minutes_cost(audited: str) -> None:
    """40,000 minutes at 0.10 in every period after the one in which it began."""
    found = rows(
        audited,
        "select leakage_amount from marts.fct_leakage_detections"
        " where leakage_type = 'unreported_usage' and phase = 'closed' order by period_start",
    )
    assert [row["leakage_amount"] for row in found[1:]] == [Decimal("4000.00")] * 5
    assert Decimal(0) < found[0]["leakage_amount"] < Decimal("4000.00")
