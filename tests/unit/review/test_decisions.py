"""Decisions about findings: when they are refused, what the log keeps, what undo takes back."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg2.extensions
import pytest

from leakage_pipeline.publishing.detection_state import update_detection_state
from leakage_pipeline.review import decisions
from leakage_pipeline.review.decisions import Refused
from tests.unit.publishing import sample
from tests.unit.publishing.sample import AS_OF, Row, insert

Connection = psycopg2.extensions.connection
LATER = AS_OF + timedelta(hours=3)
TOMORROW = AS_OF + timedelta(days=1)
CLOSED, OPEN = "d0closed", "d0open"


@pytest.fixture
def found(warehouse: Connection) -> Connection:
    sample.create_marts(warehouse)
    rows = [Row(CLOSED, evidence={"price": "99.00"}), Row(OPEN, phase="open")]
    insert(warehouse, "marts.fct_leakage_detections", rows)
    update_detection_state(warehouse, AS_OF)
    return warehouse


def state(conn: Connection, detection_id: str = CLOSED) -> tuple[Any, ...]:
    with conn.cursor() as cursor:
        cursor.execute(
            "select status, assignee, note, updated_by from ops.detection_state"
            " where detection_id = %s",
            (detection_id,),
        )
        row = cursor.fetchone()
    assert row is not None
    return row


def log(conn: Connection) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.execute(
            "select actor, action, before ->> 'status', after ->> 'status' from ops.audit_log"
            " where subject = %s order by entry_id",
            (CLOSED,),
        )
        return cursor.fetchall()


def evidence_becomes(conn: Connection, phase: str, amount: Decimal, evidence: str) -> None:
    with conn.cursor() as cursor:
        cursor.execute(
            "update marts.fct_leakage_detections"
            " set phase = %s, leakage_amount = %s, evidence = %s",
            (phase, amount, evidence),
        )
    conn.commit()


def audited_again(conn: Connection, at: datetime = TOMORROW) -> int:
    return update_detection_state(conn, at).evidence_changed


def test_an_assigned_finding_is_being_investigated(found: Connection) -> None:
    decisions.assign(found, CLOSED, "kim", by="jane", at=LATER)
    assert state(found) == ("investigating", "kim", None, "jane")
    assert log(found) == [("jane", "review_assigned", "new", "investigating")]


def test_approval_keeps_the_assignee_and_the_note(found: Connection) -> None:
    decisions.assign(found, CLOSED, "kim", by="jane", at=LATER)
    decisions.approve(found, CLOSED, "Talked to them", by="kim", at=LATER)
    assert state(found) == ("approved", "kim", "Talked to them", "kim")


def test_a_dismissal_needs_a_reason(found: Connection) -> None:
    with pytest.raises(Refused, match="needs a reason"):
        decisions.dismiss(found, CLOSED, "  ", by="jane", at=LATER)
    assert log(found) == []


@pytest.mark.parametrize("status", decisions.FINAL)
def test_what_recovery_has_reached_is_no_matter_of_opinion(found: Connection, status: str) -> None:
    with found, found.cursor() as cursor:
        cursor.execute("update ops.detection_state set status = %s", (status,))
    for refused in (
        lambda: decisions.approve(found, CLOSED, None, by="jane", at=LATER),
        lambda: decisions.dismiss(found, CLOSED, "no", by="jane", at=LATER),
    ):
        with pytest.raises(Refused, match="any more"):
            refused()
    assert state(found)[0] == status
    assert log(found) == []


def test_a_finding_that_is_gone_cannot_be_approved(found: Connection) -> None:
    with found, found.cursor() as cursor:
        cursor.execute("delete from marts.fct_leakage_detections")
    update_detection_state(found, TOMORROW)
    with pytest.raises(Refused, match="auto resolved"):
        decisions.approve(found, CLOSED, None, by="jane", at=TOMORROW)


def test_undo_takes_steps_back_one_by_one(found: Connection) -> None:
    decisions.assign(found, CLOSED, "kim", by="jane", at=LATER)
    decisions.dismiss(found, CLOSED, "partner", by="kim", at=LATER)
    decisions.undo(found, CLOSED, by="lee", at=LATER)
    assert state(found) == ("investigating", "kim", None, "jane")
    decisions.undo(found, CLOSED, by="lee", at=LATER)
    assert state(found)[:3] == ("new", None, None)
    with pytest.raises(Refused, match="could be taken back"):
        decisions.undo(found, CLOSED, by="lee", at=LATER)
    assert [entry[1] for entry in log(found)] == [
        "review_assigned",
        "review_dismissed",
        "review_undone",
        "review_undone",
    ]


def test_undo_does_not_reach_behind_what_the_pipeline_changed(found: Connection) -> None:
    decisions.dismiss(found, CLOSED, "partner", by="jane", at=LATER)
    evidence_becomes(found, "closed", Decimal(70), '{"price": "79.00"}')
    audited_again(found)
    with pytest.raises(Refused, match="changed since"):
        decisions.undo(found, CLOSED, by="jane", at=TOMORROW)


def test_a_dismissed_finding_stays_dismissed_while_its_evidence_is_the_same(
    found: Connection,
) -> None:
    decisions.dismiss(found, CLOSED, "partner", by="jane", at=LATER)
    evidence_becomes(found, "closed", Decimal("50.0"), '{"price": "99.00", "doubts": ["x"]}')
    assert audited_again(found) == 0
    assert state(found)[0] == "dismissed"


def test_a_dismissed_finding_with_other_evidence_asks_again_and_says_why(
    found: Connection,
) -> None:
    decisions.dismiss(found, CLOSED, "partner", by="jane", at=LATER)
    evidence_becomes(found, "closed", Decimal(70), '{"price": "79.00"}')
    assert audited_again(found) == 1
    reopened = state(found)
    assert reopened[0] == "new"
    assert reopened[2] == "The evidence has changed since jane dismissed it: partner"
    assert log(found)[-1] == ("pipeline", "finding_reopened", "dismissed", "new")
    assert audited_again(found, TOMORROW + timedelta(days=1)) == 0


def test_the_numbers_of_a_running_period_may_move_until_it_closes(found: Connection) -> None:
    decisions.dismiss(found, OPEN, "pilot", by="jane", at=LATER)
    evidence_becomes(found, "open", Decimal(90), '{"so_far": 90}')
    assert audited_again(found) == 0
    evidence_becomes(found, "closed", Decimal(120), '{"all": 120}')
    assert audited_again(found, TOMORROW + timedelta(days=1)) == 1


def test_an_audit_of_a_day_before_the_decision_reopens_nothing(found: Connection) -> None:
    decisions.dismiss(found, CLOSED, "partner", by="jane", at=LATER)
    evidence_becomes(found, "closed", Decimal(70), '{"price": "79.00"}')
    assert audited_again(found, AS_OF) == 0


def test_an_approved_finding_is_not_reopened(found: Connection) -> None:
    decisions.approve(found, CLOSED, None, by="jane", at=LATER)
    evidence_becomes(found, "closed", Decimal(70), '{"price": "79.00"}')
    assert audited_again(found) == 0
