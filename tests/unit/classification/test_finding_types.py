"""The table of finding types is complete and agrees with what the rest of the project says."""

import csv
from pathlib import Path

import pytest

from leakage_pipeline.classification.finding_types import (
    FINDING_TYPES,
    ONE_OFF_TYPES,
    finding_type,
    is_recurring,
)
from leakage_pipeline.classification.schema import ACTIONS, Category, NextAction
from leakage_pipeline.classification.wording import exponent

SEEDS = Path(__file__).parents[3] / "dbt_project" / "seeds"

MEASURED_LEAKS = (
    "outdated_pricing missing_overage unreported_usage incorrect_discount seat_leakage "
    "missing_invoice unbilled_proration minimum_shortfall over_credited late_usage final_usage_lost"
)
ESTIMATED_LEAKS = (
    "unmetered_usage unattributed_usage usage_after_cancellation feature_leakage "
    "access_after_cancellation plan_mismatch trial_not_converted missing_stripe_subscription "
    "duplicate_refund"
)
RISKS = (
    "unpaid_access retries_exhausted expiring_payment_method stuck_draft_invoice "
    "webhook_delivery_failure orphaned_subscription paused_collection dispute_open"
)
OVERBILLING = (
    "overbilled_usage overbilled_price double_charge duplicate_subscription missing_local_access"
)
OPPORTUNITIES = "approaching_limit outgrown_plan"


def test_every_finding_type_of_the_billing_model_is_in_the_table() -> None:
    expected = f"{MEASURED_LEAKS} {ESTIMATED_LEAKS} {RISKS} {OVERBILLING} {OPPORTUNITIES}".split()
    assert set(FINDING_TYPES) == set(expected)


@pytest.mark.parametrize("leakage_type", FINDING_TYPES)
def test_a_type_has_categories_and_actions_without_noise_as_its_usual_answer(
    leakage_type: str,
) -> None:
    kind = FINDING_TYPES[leakage_type]
    assert kind.categories
    assert kind.actions
    assert Category.NOISE not in kind.categories
    assert kind.actions[0] is not NextAction.NO_ACTION
    assert set(kind.actions) <= set(ACTIONS)


def test_every_action_is_described_and_every_one_off_type_is_known() -> None:
    assert set(ACTIONS) == set(NextAction)
    assert set(FINDING_TYPES) >= ONE_OFF_TYPES


def test_an_overbilled_customer_is_never_answered_with_an_invoice() -> None:
    for leakage_type in FINDING_TYPES:
        actions = finding_type(leakage_type, "overbilling").actions
        assert NextAction.INVOICE_DIFFERENCE not in actions
        assert NextAction.CORRECT_DISCOUNT not in actions


def test_a_type_that_the_table_does_not_know_gets_a_cautious_answer() -> None:
    kind = finding_type("something_new", "leak")
    assert kind.title == "Something new"
    assert kind.actions[0] is NextAction.INVESTIGATE


def test_the_seed_of_dbt_says_the_same_direction_and_recurrence() -> None:
    with (SEEDS / "finding_types.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        name = row["leakage_type"]
        assert FINDING_TYPES[name].direction == row["direction"], name
        assert is_recurring(name) is (row["recurring"] == "true"), name


def test_currencies_have_the_exponents_of_the_seed() -> None:
    with (SEEDS / "currencies.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert exponent(row["currency"]) == int(row["exponent"]), row["currency"]
