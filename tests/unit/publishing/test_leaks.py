"""Findings become leaks as a person counts them, and totals never mix."""

from datetime import timedelta
from decimal import Decimal

from leakage_pipeline.classification.findings import Finding, Incident
from leakage_pipeline.publishing.leaks import add_up, group_leaks
from leakage_pipeline.publishing.shared_causes import shared_causes
from tests.unit.classification.examples import finding
from tests.unit.publishing.sample import AS_OF


def month(number: int, **changes: object) -> Finding:
    return finding(
        detection_id=f"d-{number}",
        period_start=AS_OF.replace(month=number, day=1),
        period_end=AS_OF.replace(month=number + 1, day=1),
        amount=Decimal(100),
        monthly_amount=Decimal(100),
        reporting_amount=Decimal(100),
        **changes,
    )


def test_one_leak_over_three_periods_is_one_leak() -> None:
    (leak,) = group_leaks([month(10), month(8), month(9)], AS_OF)
    assert leak.closed_amount == 300
    assert leak.monthly_amount == 100
    assert leak.newest.detection_id == "d-10"


def test_an_open_period_stands_apart_from_closed_ones() -> None:
    (leak,) = group_leaks([month(10), month(11, phase="open")], AS_OF)
    assert (leak.closed_amount, leak.open_amount) == (100, 100)
    assert leak.newest.detection_id == "d-10"


def test_a_leak_that_ended_months_ago_costs_nothing_a_month_now() -> None:
    (leak,) = group_leaks([month(5)], AS_OF)
    assert leak.closed_amount == 100
    assert leak.monthly_amount is None


def test_a_leak_that_happens_once_is_never_a_monthly_one() -> None:
    (leak,) = group_leaks([month(10, leakage_type="missing_invoice")], AS_OF)
    assert leak.monthly_amount is None


def test_directions_bases_and_currencies_are_never_added() -> None:
    leaks = group_leaks(
        [
            month(10),
            month(10, customer_id="b", currency="eur"),
            month(10, customer_id="c", amount_basis="estimated"),
            month(10, customer_id="d", direction="overbilling", leakage_type="overbilled_usage"),
            month(10, customer_id="e", direction="risk", amount_basis="at_risk"),
        ],
        AS_OF,
    )
    totals = add_up(leaks, "usd")
    assert [(t.direction, t.basis, t.currency, t.closed_amount) for t in totals] == [
        ("leak", "measured", "usd", 100),
        ("leak", "measured", "eur", 100),
        ("leak", "estimated", "usd", 100),
        ("overbilling", "measured", "usd", 100),
        ("risk", "at_risk", "usd", 100),
    ]


def test_a_total_without_every_rate_has_no_reporting_amount() -> None:
    missing = finding(customer_id="b", reporting_amount=None, amount=Decimal(5))
    (total,) = add_up(group_leaks([month(10), missing], AS_OF))
    assert total.closed_amount == 105
    assert total.reporting_amount is None


def test_usage_that_nobody_prices_is_counted_and_not_zero() -> None:
    unpriced = finding(leakage_type="unmetered_usage", amount=None, monthly_amount=None)
    (leak,) = group_leaks([unpriced], AS_OF)
    assert leak.closed_amount is None
    (total,) = add_up([leak])
    assert total.unpriced == 1


def test_a_leak_is_as_old_as_its_first_sighting() -> None:
    early = month(8, first_detected_at=AS_OF - timedelta(days=60))
    late = month(10, first_detected_at=AS_OF)
    (leak,) = group_leaks([late, early], AS_OF)
    assert leak.first_detected_at == AS_OF - timedelta(days=60)


def incident(name: str, **changes: object) -> Incident:
    facts = {
        "incident_id": name,
        "leakage_type": "unreported_usage",
        "direction": "leak",
        "meter": "minutes",
        "source": "encode_4k",
        "cause": "encode_4k",
        "started_at": AS_OF,
        "customers": 9,
        "amount": Decimal(999),
        "monthly_amount": Decimal(999),
        "currency": "usd",
        "first_detected_at": AS_OF,
        "description": "",
    }
    return Incident(**{**facts, **changes})


def test_a_shared_cause_costs_a_month_what_its_running_leaks_cost() -> None:
    leaks = group_leaks(
        [
            month(10, customer_id="a", incident_id="i"),
            month(11, customer_id="a", incident_id="i", phase="open"),
            month(5, customer_id="b", incident_id="i"),
        ],
        AS_OF,
    )
    (cause,) = shared_causes(leaks, [incident("i")])
    assert (cause.customers, cause.cause) == (2, "encode_4k, meter minutes")
    assert (cause.closed_amount, cause.open_amount, cause.monthly_amount) == (200, 100, 100)
    assert cause.started_at == AS_OF, "the day on which the source broke, not the period's start"


def test_a_cause_of_one_customer_is_not_shared() -> None:
    leaks = group_leaks([month(10, incident_id="i"), month(9, incident_id="i")], AS_OF)
    assert shared_causes(leaks, [incident("i"), incident("unused")]) == []
