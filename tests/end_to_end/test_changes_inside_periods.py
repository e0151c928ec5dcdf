"""Licences that change inside a period, each told twice: billed as Stripe does, and left out.

One company holds all stories, a customer a story, so that one audit serves every test. The period
of the changes has 30 days: 2,592,000 seconds.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from leakage_pipeline.simulator import stripe_objects as so
from tests.support.audit import audit_company, rows
from tests.support.licence_story import Change, Licence, Story
from tests.support.small_company import SmallCompany, at

AS_OF = "2026-10-20T06:00:00Z"
START, NEXT, END = "2026-09-11T12:00:00", "2026-10-11T12:00:00", "2026-11-11T12:00:00"
PERIODS = (START, NEXT, END)
HALF = "2026-09-26T12:00:00"
LATER = "2026-10-05T12:00:00"
THIRD = "2026-10-01T12:00:00"  # a third of the period is left
LATE = "2026-10-11T10:12:00"  # 6,480 seconds, a 400th of the period, are left


def _stories(company: SmallCompany) -> list[Story]:
    basic = company.price("basic", "basic", unit_amount=4900)
    pro = company.price("pro", "pro", unit_amount=14900)
    seat = company.price("seat", "seat", unit_amount=1000)
    dear = company.price("dear", "dear", unit_amount=1800)
    addon = company.price("addon", "addon", unit_amount=3000)
    start = {"a": Licence(basic)}

    def story(customer: str, items: dict[str, Licence], *changes: Change) -> Story:
        # Events come a moment after the change, and match its lines all the same.
        return Story(customer, PERIODS, items, changes, skewed_by=2 if "honest" in customer else 0)

    up, down = Licence(pro), Licence(basic)
    swap = (
        Change(HALF, Licence(basic, 0), billed=()),
        Change(HALF, up, item="b", billed=()),
    )
    return [
        story("upgrade_honest", start, Change(HALF, up)),
        story("upgrade_leak", start, Change(HALF, up, billed=())),
        story("upgrade_debit_missing", start, Change(HALF, up, billed=("credit",))),
        story("upgrade_credit_missing", start, Change(HALF, up, billed=("debit",))),
        story("upgrade_names_subscription", start, Change(HALF, up, names_item=False)),
        story("upgrade_other_instant", start, Change(HALF, up, line_at="2026-09-22T00:00:00")),
        story("downgrade_honest", {"a": up}, Change(HALF, down)),
        story("downgrade_not_credited", {"a": up}, Change(HALF, down, billed=())),
        story("price_400th_honest", {"a": Licence(seat)}, Change(LATE, Licence(dear))),
        story("price_400th_leak", {"a": Licence(seat)}, Change(LATE, Licence(dear), billed=())),
        story("seats_400th_honest", {"a": Licence(seat)}, Change(LATE, Licence(seat, 3))),
        story("seats_400th_leak", {"a": Licence(seat)}, Change(LATE, Licence(seat, 3), billed=())),
        story("swap_leak", start, *swap),
        story("swap_honest", start, *[Change(c.at, c.to, c.item) for c in swap]),
        story("swap_silent", start, *swap).without_events("swap_silent"),
        story(
            "swap_silent_honest", start, *[Change(c.at, c.to, c.item) for c in swap]
        ).without_events("swap_silent_honest"),
        story("added_honest", start, Change(THIRD, Licence(addon), item="b")),
        story("added_leak", start, Change(THIRD, Licence(addon), item="b", billed=())),
        story(
            "added_silent", start, Change(THIRD, Licence(addon), item="b", billed=())
        ).without_events("added_silent"),
        story(
            "removed_honest",
            {**start, "b": Licence(addon)},
            Change(THIRD, Licence(addon, 0), item="b"),
        ),
        story(
            "removed_not_credited",
            {**start, "b": Licence(addon)},
            Change(THIRD, Licence(addon, 0), item="b", billed=()),
        ),
        story(
            "many_honest",
            {"a": Licence(seat, 10)},
            Change("2026-09-21T12:00:00", Licence(seat, 12)),
            Change(HALF, Licence(seat, 20)),
            Change(THIRD, Licence(seat, 15)),
        ),
        story(
            "many_one_missing",
            {"a": Licence(seat, 10)},
            Change("2026-09-21T12:00:00", Licence(seat, 12)),
            Change(HALF, Licence(seat, 20), billed=()),
            Change(THIRD, Licence(seat, 15)),
        ),
        Story(
            "reset_honest",
            (START, HALF, "2026-10-26T12:00:00"),
            start,
            line_ends={0: NEXT},
            credits_rest=[0],
        ),
        Story(
            "reset_not_credited", (START, HALF, "2026-10-26T12:00:00"), start, line_ends={0: NEXT}
        ),
        Story(
            "trial_shortened",
            (START, HALF, "2026-10-26T12:00:00"),
            start,
            line_ends={0: NEXT},
            free_periods=[0],
            terms={"trial_start": at(START), "trial_end": at(HALF)},
        ),
        Story(
            "trial_change",
            PERIODS,
            start,
            [Change(HALF, up, billed=())],
            free_periods=[0],
            terms={"trial_start": at(START), "trial_end": at(NEXT)},
        ),
        Story(
            "trial_later",
            (START, HALF, NEXT, END),
            start,
            line_ends={0: NEXT},
            credits_rest=[0],
            free_periods=[1],
            terms={"trial_start": at(HALF), "trial_end": at(NEXT)},
        ),
        *_endings(company, start),
        *_pauses(start),
        story("open_period", start, Change("2026-10-15T12:00:00", up, billed=())),
    ]


def _endings(company: SmallCompany, start: dict[str, Licence]) -> list[Story]:
    """Cancelled inside the period, after a change; and a start in the past on one classic line."""
    pro = Licence(company.account.prices[1])
    ended = {"status": "canceled", "canceled_at": at(LATER), "ended_at": at(LATER)}
    cut = {"periods": (START, LATER, END), "line_ends": {0: NEXT}, "terms": ended}
    plain = {"start": start, "ends_at": 1, **cut}
    return [
        Story("cancelled_fee_kept", **plain),
        Story("cancelled_rest_credited", **plain, credits_rest=[0]),
        Story("cancelled_change_honest", **plain, changes=[Change(HALF, pro)], credits_rest=[0]),
        Story("cancelled_change_lost", **plain, changes=[Change(HALF, pro, billed=())]),
        Story(
            "backdated_classic",
            ("2026-06-25T12:00:00", NEXT, END),
            start,
            # Three whole months, and 16 of the 30 days of the month before them.
            fees={0: 3 * 4900 + 2613},
            terms={"mode": so.billing_mode("classic"), "billing_cycle_anchor": at(NEXT)},
        ),
    ]


def _pauses(start: dict[str, Licence]) -> list[Story]:
    """Collection paused with void and resumed since; the subscription itself paused and resumed."""
    void, paused = {"behavior": "void", "resumes_at": None}, {"status": "paused"}
    collection = [
        (HALF, {"pause_collection": void}),
        ("2026-10-15T12:00:00", {"pause_collection": None}),
    ]
    whole = [(HALF, paused), (LATER, {"status": "active"})]
    return [
        Story("pause_lifted", PERIODS, start, voided=[1], tells=collection),
        Story("void_without_pause", PERIODS, start, voided=[1]),
        Story(
            "paused_and_resumed",
            (START, HALF, LATER, "2026-11-05T12:00:00"),
            start,
            line_ends={0: NEXT},
            credits_rest=[0],
            skipped=[1],
            tells=whole,
        ),
    ]


def build() -> SmallCompany:
    """The company of all stories."""
    company = SmallCompany(as_of=AS_OF)
    for story in _stories(company):
        story.tell(company)
    return company


@pytest.fixture(scope="module")
def audited(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the warehouse after one audit of the company."""
    company = build()
    directory: Path = tmp_path_factory.mktemp("changes_inside_periods")
    audit_company(company, directory, module_database_url)
    return module_database_url


CHARGED, CREDITED = "change_not_charged", "change_not_credited"


LEAKS = {
    "upgrade_leak": ("50.00", CHARGED),
    "upgrade_debit_missing": ("74.50", CHARGED),
    "upgrade_credit_missing": ("24.50", CREDITED),
    "downgrade_not_credited": ("50.00", CREDITED),
    "swap_leak": ("50.00", CHARGED),
    "swap_silent": ("50.00", CHARGED),
    "added_leak": ("10.00", CHARGED),
    "added_silent": ("10.00", CHARGED),
    "removed_not_credited": ("10.00", CREDITED),
    "many_one_missing": ("40.00", CHARGED),
    "reset_not_credited": ("24.50", CREDITED),
    "cancelled_change_lost": ("50.00", CHARGED),
}


@pytest.mark.parametrize("customer", LEAKS)
def test_a_change_that_no_invoice_bills(audited: str, customer: str) -> None:
    """One finding, of the pair's amount, and no other finding about the same money."""
    amount, reason = LEAKS[customer]
    found = rows(
        audited,
        "select leakage_type, direction, leakage_amount, reason, amount_basis"
        " from marts.fct_leakage_detections where customer_id = %s",
        (customer,),
    )
    assert [tuple(row.values()) for row in found] == [
        (
            "unbilled_proration",
            "leak" if reason == CHARGED else "overbilling",
            Decimal(amount),
            reason,
            "measured",
        )
    ]


@pytest.mark.parametrize(
    ("customer", "step", "amount"),
    [
        ("price_400th_leak", "price_gap_amount", "0.01"),
        ("seats_400th_leak", "quantity_gap_amount", "0.04"),
        ("upgrade_leak", "price_gap_amount", "50.00"),
        ("many_one_missing", "quantity_gap_amount", "40.00"),
    ],
)
def test_a_change_stands_in_the_step_of_what_changed(
    audited: str, customer: str, step: str, amount: str
) -> None:
    """Recorded by Stripe: -3 and +4, -3 and +7 minor units with a 400th of the period left."""
    found = rows(
        audited,
        "select difference, price_gap_amount, quantity_gap_amount from marts.fct_expected_vs_billed"
        " where customer_id = %s and difference != 0",
        (customer,),
    )
    assert len(found) == 1
    assert found[0].pop("difference") == Decimal(amount)
    assert found[0][step] == Decimal(amount)


def test_whoever_is_billed_as_stripe_bills_has_no_gap(audited: str) -> None:
    """Every other story: no finding, no step other than 0, in every period."""
    leaking = [*LEAKS, "price_400th_leak", "seats_400th_leak", "void_without_pause"]
    found = rows(
        audited,
        "select customer_id, period_start, difference from marts.fct_expected_vs_billed"
        " where difference != 0 and not customer_id = any(%s)",
        (leaking,),
    )
    assert found == []


def test_the_bridge_adds_up_on_every_row(audited: str) -> None:
    """difference is the sum of the steps, to the cent, and nothing is unexplained."""
    found = rows(
        audited,
        "select count(*) filter (where unexplained_amount != 0) as broken, count(*) as all_rows"
        " from marts.fct_expected_vs_billed",
    )
    assert found[0]["broken"] == 0
    assert found[0]["all_rows"] > 60


def test_a_void_invoice_without_a_pause_is_missing(audited: str) -> None:
    """Rule 7.8: the pause of the other customer is over, and still explains its void invoice."""
    found = rows(
        audited,
        "select customer_id, missing_invoice_amount from marts.fct_expected_vs_billed"
        " where customer_id in ('pause_lifted', 'void_without_pause')"
        " and missing_invoice_amount != 0",
    )
    assert found == [
        {"customer_id": "void_without_pause", "missing_invoice_amount": Decimal("49.00")}
    ]


def test_the_evidence_lets_one_recompute_the_pair(audited: str) -> None:
    """Instant, both configurations, seconds left of how many, and both amounts."""
    (row,) = rows(
        audited,
        "select evidence -> 'charges' as charges from marts.fct_leakage_detections"
        " where customer_id = 'upgrade_leak'",
    )
    halves = [charge for charge in row["charges"] if "change" in charge]
    assert [half["expected_gross"] for half in halves] == [-24.50, 74.50]
    for half in [charge["change"] for charge in halves]:
        assert datetime.fromisoformat(half["changed_at"]) == datetime.fromisoformat(f"{HALF}+00:00")
        assert (half["old_price_id"], half["new_price_id"]) == ("price_basic", "price_pro")
        assert (half["seconds_left"], half["seconds_of_interval"]) == (1296000, 2592000)
