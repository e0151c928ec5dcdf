"""The scoreboard: what counts as found, missed, wrong, and what is left aside."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from leakage_pipeline.simulator.scoring import (
    PLANTED_TYPES,
    disagreements_text,
    score,
    score_text,
)

START = datetime(2026, 5, 3, 14, 23, 7, tzinfo=UTC)


def label(leakage_type: str = "outdated_pricing", meter: str | None = None) -> dict[str, Any]:
    return {
        "customer_id": "cus_1",
        "subscription_id": "sub_1",
        "leakage_type": leakage_type,
        "meter": meter,
        "currency": "usd",
        "period_start": START.isoformat(),
        "amount": "50.00",
    }


def finding(**changes: Any) -> dict[str, Any]:
    row = {
        "customer_id": "cus_1",
        "subscription_id": "sub_1",
        "leakage_type": "outdated_pricing",
        "period_start": START,
        "currency": "usd",
        "leakage_amount": Decimal("50.0"),
        "evidence": {},
    }
    return {**row, **changes}


def test_a_perfect_audit() -> None:
    result = score([finding()], {"labels": [label()]})
    row = result.types["outdated_pricing"]
    assert result.is_perfect
    assert (row.expected, row.found, row.amount_error) == (1, 1, Decimal(0))
    assert (row.precision, row.recall) == (1.0, 1.0)


def test_a_wrong_amount_is_found_but_not_right() -> None:
    result = score([finding(leakage_amount=Decimal("49.98"))], {"labels": [label()]})
    assert result.types["outdated_pricing"].recall == 1
    assert result.types["outdated_pricing"].amount_error == Decimal("0.02")
    assert not result.is_perfect


def test_an_empty_amount_is_no_right_amount() -> None:
    result = score([finding(leakage_amount=None)], {"labels": [label()]})
    assert result.types["outdated_pricing"].amount_error == Decimal("50.00")
    assert not result.is_perfect


def test_missed_and_unexpected() -> None:
    other = finding(period_start=datetime(2026, 6, 3, 14, 23, 7, tzinfo=UTC))
    result = score([other], {"labels": [label()]})
    row = result.types["outdated_pricing"]
    assert (row.false_positives, row.false_negatives, row.precision, row.recall) == (1, 1, 0, 0)
    assert result.unexpected == [other]
    assert result.missed == [label()]


def test_a_second_finding_of_the_same_leak_is_wrong() -> None:
    result = score([finding(), finding()], {"labels": [label()]})
    assert result.types["outdated_pricing"].false_positives == 1


def test_the_meter_is_part_of_the_match() -> None:
    usage = finding(leakage_type="unreported_usage", evidence='{"meter": "api_calls"}')
    right = score([usage], {"labels": [label("unreported_usage", "api_calls")]})
    wrong = score([usage], {"labels": [label("unreported_usage", "sms")]})
    assert right.is_perfect
    assert not wrong.is_perfect


def test_planted_types_are_judged_even_without_labels() -> None:
    result = score([finding(leakage_type="seat_leakage")], {"labels": []})
    assert result.types["seat_leakage"].precision == 0
    assert set(result.types) == set(PLANTED_TYPES)


def test_other_types_are_listed_apart() -> None:
    result = score([finding(leakage_type="brand_new")], {"labels": []})
    assert result.unlabelled == {"brand_new": 1}
    assert result.is_perfect
    assert "brand_new 1" in score_text(result)


def test_what_stands_on_a_draft_must_be_told_as_such() -> None:
    known = {**label(), "phase": "preflight"}
    assert score([finding(phase="preflight")], {"labels": [known]}).is_perfect
    late = score([finding(phase="closed")], {"labels": [known]})
    assert not late.is_perfect
    assert "closed not preflight" in disagreements_text(late)


def test_the_hold_list_must_hold_the_wrong_drafts_and_no_others() -> None:
    held = {
        "customer_id": "cus_1",
        "subscription_id": "sub_1",
        "drafted_amount": "39.00",
        "expected_amount": "49.00",
        "reasons": ["outdated_pricing"],
    }
    truth = {"labels": [], "holds": [held]}
    found = {**held, "drafted_amount": Decimal(39), "expected_amount": Decimal("49.0")}
    assert score([], truth, holds=[found]).is_perfect
    other = {**found, "customer_id": "cus_2"}
    assert disagreements_text(score([], truth, holds=[other])).splitlines() == [
        "missed      draft of cus_1 sub_1: 39 instead of 49, outdated_pricing",
        "unexpected  draft of cus_2 sub_1: 39 instead of 49, outdated_pricing",
    ]


def test_approved_exceptions_must_cover_their_amounts() -> None:
    truth = {"labels": [], "covered": [label()]}
    covered = finding(covered_amount=Decimal("50.0000"))
    assert score([], truth, exceptions=[covered]).is_perfect
    assert not score([], truth, exceptions=[]).is_perfect
    assert not score([], truth, exceptions=[finding(covered_amount=Decimal(49))]).is_perfect


def test_the_table_names_every_type() -> None:
    text = score_text(score([finding()], {"labels": [label()]}))
    assert all(name in text for name in PLANTED_TYPES)


def test_disagreements_name_the_customer_the_period_and_both_amounts() -> None:
    later = finding(period_start=datetime(2026, 6, 3, 14, 23, 7, tzinfo=UTC))
    wrong = finding(leakage_amount=Decimal("49.98"))
    lines = disagreements_text(score([later, wrong], {"labels": [label()]})).splitlines()
    assert lines == [
        "unexpected  outdated_pricing cus_1 sub_1 - from 2026-06-03 14:23:07: 50.0 usd",
        (
            "amount      outdated_pricing cus_1 sub_1 - from 2026-05-03 14:23:07: 49.98 usd, "
            "expected 50.00"
        ),
    ]


def test_a_long_list_of_disagreements_is_cut_and_says_so() -> None:
    later = [
        finding(period_start=datetime(2026, 6, day, tzinfo=UTC), leakage_amount=Decimal(day))
        for day in range(1, 6)
    ]
    assert disagreements_text(score(later, {"labels": []}), limit=2).endswith("... and 3 more")
