"""The video-encoding case: one endpoint of a customer stopped reporting its minutes.

500,000 minutes processed a month, 460,000 billed; the missing ones come from one endpoint that
stopped reporting on a day six months ago.
"""

import itertools
from datetime import UTC, datetime, timedelta

from leakage_pipeline.simulator.invoicing_periods import add_months
from leakage_pipeline.simulator.stripe_objects import JsonObject
from tests.support.small_company import Item, SmallCompany

FIRST = datetime(2026, 2, 10, 14, 23, 7)  # noqa: DTZ001 - the small company reads it as UTC
STOPPED = datetime(2026, 5, 20, tzinfo=UTC)
BOUNDS = [add_months(FIRST, months) for months in range(11)]
CUSTOMER, METER, EVENT_NAME = "cus_video", "video_minutes", "video_min"
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
    now = datetime.fromisoformat(company.as_of).replace(tzinfo=None)
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
                company.use(name, METER, value, at, source=source)
                if source == "encode_hd" or day.replace(tzinfo=UTC) < STOPPED:
                    company.meter_event(name, EVENT_NAME, value, at)
                    metered += value
        billed = (metered, span)


def fill(company: SmallCompany) -> None:
    """Add the customer whose minutes one endpoint stopped reporting."""
    company.meters[METER] = EVENT_NAME
    licence = company.price("basic", "basic", unit_amount=4900)
    meter = company.meter(EVENT_NAME)
    price = company.price("video_minutes", unit_amount=10, usage_type="metered", meter=meter)
    _video_customer(company, CUSTOMER, licence, price)
