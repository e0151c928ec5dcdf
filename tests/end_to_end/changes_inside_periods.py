"""Licences that change inside a period, each told twice: billed as Stripe does, and left out.

A customer a story. The period of the changes has 31 days: 2,678,400 seconds.
"""

from leakage_pipeline.simulator import stripe_objects as so
from tests.support.licence_story import Change, Licence, Story
from tests.support.small_company import Json, SmallCompany, at

START, NEXT, END = "2026-10-11T12:00:00", "2026-11-11T12:00:00", "2026-12-11T12:00:00"
PERIODS = (START, NEXT, END)
HALF = "2026-10-27T00:00:00"
LATER = "2026-11-05T12:00:00"
THIRD = "2026-11-01T04:00:00"  # a third of the period is left
LATE = "2026-11-11T10:08:24"  # 6,696 seconds, a 400th of the period, are left


def _stories(company: SmallCompany) -> list[Story]:
    basic = company.price("changed_basic", "changed_basic", unit_amount=4900)
    pro = company.price("changed_pro", "changed_pro", unit_amount=14900)
    seat = company.price("changed_seat", "changed_seat", unit_amount=1000)
    dear = company.price("changed_dear", "changed_dear", unit_amount=1800)
    addon = company.price("changed_addon", "changed_addon", unit_amount=3000)
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
        story("upgrade_other_instant", start, Change(HALF, up, line_at="2026-10-22T00:00:00")),
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
            Change("2026-10-21T12:00:00", Licence(seat, 12)),
            Change(HALF, Licence(seat, 20)),
            Change(THIRD, Licence(seat, 15)),
        ),
        story(
            "many_one_missing",
            {"a": Licence(seat, 10)},
            Change("2026-10-21T12:00:00", Licence(seat, 12)),
            Change(HALF, Licence(seat, 20), billed=()),
            Change(THIRD, Licence(seat, 15)),
        ),
        Story(
            "reset_honest",
            (START, HALF, "2026-11-27T00:00:00"),
            start,
            line_ends={0: NEXT},
            credits_rest=[0],
        ),
        Story(
            "reset_not_credited", (START, HALF, "2026-11-27T00:00:00"), start, line_ends={0: NEXT}
        ),
        Story(
            "trial_shortened",
            (START, HALF, "2026-11-27T00:00:00"),
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
        *_endings(start, pro),
        *_pauses(start),
        story("open_period", start, Change("2026-11-15T12:00:00", up, billed=())),
    ]


def _endings(start: dict[str, Licence], pro_price: Json) -> list[Story]:
    """Cancelled inside the period, after a change; and a start in the past on one classic line."""
    pro = Licence(pro_price)
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
            ("2026-07-25T12:00:00", NEXT, END),
            start,
            # Three whole months, and 17 of the 31 days of the month before them.
            fees={0: 3 * 4900 + 2687},
            terms={"mode": so.billing_mode("classic"), "billing_cycle_anchor": at(NEXT)},
        ),
    ]


def _pauses(start: dict[str, Licence]) -> list[Story]:
    """Collection paused with void and resumed since; the subscription itself paused and resumed."""
    void, paused = {"behavior": "void", "resumes_at": None}, {"status": "paused"}
    collection = [
        (HALF, {"pause_collection": void}),
        ("2026-11-15T12:00:00", {"pause_collection": None}),
    ]
    whole = [(HALF, paused), (LATER, {"status": "active"})]
    return [
        Story("pause_lifted", PERIODS, start, voided=[1], tells=collection),
        Story("void_without_pause", PERIODS, start, voided=[1]),
        Story(
            "paused_and_resumed",
            (START, HALF, LATER, "2026-12-05T12:00:00"),
            start,
            line_ends={0: NEXT},
            credits_rest=[0],
            skipped=[1],
            tells=whole,
        ),
    ]


def fill(company: SmallCompany) -> list[str]:
    """Put all stories into the company; their customers."""
    stories = _stories(company)
    for story in stories:
        story.tell(company)
    return [story.customer for story in stories]
