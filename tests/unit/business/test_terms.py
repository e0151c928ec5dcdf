"""Overage rates in every form of the contract, and every way in which they can be wrong."""

import json
from decimal import Decimal

import pytest

from leakage_pipeline.business.terms import MeterTerm, Rate, Tier, meter_terms
from leakage_pipeline.business.values import Unreadable


def _terms(rates: str | None, included: str | None = None) -> dict[str, MeterTerm]:
    found = meter_terms({"included_usage": included, "overage_rates": rates})
    return {term.meter: term for term in found}


def _package(price: str, per: str, rounding: str) -> Rate:
    return Rate("package", (Tier(None, Decimal(price)),), Decimal(per), rounding)


@pytest.mark.parametrize(
    ("document", "meter", "expected"),
    [
        ('{"calls": {"price": "5.00", "per": 1000, "rounding": "up"}}', "calls", ("5", 1000, "up")),
        ('{"calls": {"price": 5.10, "per": 1000}}', "calls", ("5.10", 1000, "up")),
        ('{"calls": {"price": "1", "per": 10, "rounding": "down"}}', "calls", ("1", 10, "down")),
        ('{"gb": {"price": "0.1"}}', "gb", ("0.1", 1, "none")),
        ('{"api_calls_per_1000": 5.00}', "api_calls", ("5.00", 1000, "up")),
        ('{"requests_per_minute_per_60": "2"}', "requests_per_minute", ("2", 60, "up")),
        ('{"storage_gb": 2.00}', "storage_gb", ("2.00", 1, "none")),
        ('{"storage_gb": 0}', "storage_gb", ("0", 1, "none")),
    ],
)
def test_a_price_per_package(document: str, meter: str, expected: tuple[str, int, str]) -> None:
    price, per, rounding = expected
    assert _terms(document)[meter].rate == _package(price, str(per), rounding)


@pytest.mark.parametrize("mode", ["graduated", "volume"])
def test_tiers_keep_every_digit(mode: str) -> None:
    document = """{"calls": {"tiers_mode": "%s", "tiers": [
        {"up_to": 50000, "unit_amount": 0.000000000000000000123, "flat_amount": "0"},
        {"up_to": "1e5", "flat_amount": 10},
        {"up_to": null, "unit_amount": "0.004"}]}}"""
    assert _terms(document % mode)["calls"].rate == Rate(
        mode,
        (
            Tier(Decimal(50000), Decimal("0.000000000000000000123"), Decimal(0)),
            Tier(Decimal(100000), Decimal(0), Decimal(10)),
            Tier(None, Decimal("0.004"), Decimal(0)),
        ),
    )


def test_included_quantities_and_silence() -> None:
    terms = _terms(None, '{"calls": "50000", "gb": 1.5, "seats": null}')
    assert {meter: term.included for meter, term in terms.items()} == {
        "calls": Decimal(50000),
        "gb": Decimal("1.5"),
    }
    assert all(term.rate is None for term in terms.values())
    assert _terms(None) == {}
    assert _terms("{}", "null") == {}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{", "no valid JSON"),
        ('["calls"]', "no JSON object"),
        ('{"calls": true}', "no number"),
        ('{"calls": "free"}', "no number"),
        ('{"calls": NaN}', "no number"),
        ('{"calls": -1}', "negative"),
        ('{"calls": 1e999}', "beyond"),
        ('{"calls": 1e-999}', "beyond"),
        ('{"calls": [1]}', "no number"),
        ('{"calls": {}}', "unknown shape"),
        ('{"calls": {"amount": 5}}', "unknown shape"),
        ('{"calls": {"price": 5, "per": 0}}', "per is 0"),
        ('{"calls": {"price": 5, "minimum": 1}}', "unknown shape: minimum"),
        ('{"calls": {"price": 5, "rounding": "sideways"}}', "rounding"),
        ('{"calls": 1, "calls_per_10": 2}', "two rates"),
        ('{"calls": 1, "calls": 2}', "twice"),
        ('{"": 1}', "empty meter"),
        ('{"calls\\u0000": 1}', "NUL"),
        ('{"calls\\ud800": 1}', "no valid JSON"),
    ],
)
def test_an_unreadable_rate_is_never_taken_for_zero(document: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        _terms(document)


@pytest.mark.parametrize(
    ("tiers", "reason"),
    [
        ([], "no list"),
        ([{"up_to": 10, "unit_amount": 1}], "must be open"),
        ([{"up_to": None, "unit_amount": 1}, {"up_to": None, "unit_amount": 1}], "must be open"),
        ([{"up_to": 10, "unit_amount": 1}, {"up_to": 10, "unit_amount": 1}, {"unit_amount": 1}],
         "ascend"),
        ([{"up_to": 0, "unit_amount": 1}, {"unit_amount": 1}], "ascend"),
        ([{"up_to": None}], "neither"),
        ([{"up_to": None, "unit_amount": -1}], "negative"),
        ([{"up_to": None, "unit_amount": 1, "per": 1000}], "unknown shape: per"),
        (["all"], "no JSON object"),
    ],
)  # fmt: skip
def test_tiers_that_contradict_themselves(tiers: object, reason: str) -> None:
    document = json.dumps({"calls": {"tiers_mode": "graduated", "tiers": tiers}})
    with pytest.raises(Unreadable, match=reason):
        _terms(document)


def test_tiers_need_a_mode() -> None:
    with pytest.raises(Unreadable, match="tiers_mode"):
        _terms('{"calls": {"tiers": [{"unit_amount": 1}]}}')
