"""The pipeline keeps sightings and its own states, and never touches what a person decided."""

from datetime import datetime, timedelta

import psycopg2.extensions
import pytest

from leakage_pipeline.publishing.detection_state import StateChanges, update_detection_state
from tests.unit.publishing.sample import AS_OF, Row, insert

Connection = psycopg2.extensions.connection
TOMORROW = AS_OF + timedelta(days=1)


@pytest.fixture
def two_findings(marts: Connection) -> Connection:
    insert(marts, "marts.fct_leakage_detections", [Row("d-1"), Row("d-2")])
    update_detection_state(marts, AS_OF)
    return marts


def statuses(conn: Connection) -> dict[str, str]:
    with conn.cursor() as cursor:
        cursor.execute("select detection_id, status from ops.detection_state")
        return dict(cursor.fetchall())


def sighting(conn: Connection, detection_id: str) -> tuple[datetime, datetime]:
    with conn.cursor() as cursor:
        cursor.execute(
            "select first_detected_at, last_detected_at from ops.detection_sightings"
            " where detection_id = %s",
            (detection_id,),
        )
        row = cursor.fetchone()
    assert row is not None
    return row


def run(conn: Connection, statement: str) -> None:
    with conn.cursor() as cursor:
        cursor.execute(statement)
    conn.commit()


def test_a_finding_begins_as_new(two_findings: Connection) -> None:
    assert statuses(two_findings) == {"d-1": "new", "d-2": "new"}
    assert sighting(two_findings, "d-1") == (AS_OF, AS_OF)


def test_repeating_a_run_changes_nothing(two_findings: Connection) -> None:
    assert update_detection_state(two_findings, AS_OF) == StateChanges(0, 0, 0, 0, 0)


def test_a_sighting_grows_in_both_directions(two_findings: Connection) -> None:
    update_detection_state(two_findings, TOMORROW)
    update_detection_state(two_findings, AS_OF - timedelta(days=9))
    assert sighting(two_findings, "d-1") == (AS_OF - timedelta(days=9), TOMORROW)


def test_a_finding_that_is_gone_is_resolved_and_comes_back_when_found_again(
    two_findings: Connection,
) -> None:
    run(two_findings, "delete from marts.fct_leakage_detections where detection_id = 'd-2'")
    assert update_detection_state(two_findings, TOMORROW).auto_resolved == 1
    assert statuses(two_findings) == {"d-1": "new", "d-2": "auto_resolved"}
    insert(two_findings, "marts.fct_leakage_detections", [Row("d-2")])
    assert update_detection_state(two_findings, TOMORROW + timedelta(days=1)).found_again == 1
    assert statuses(two_findings)["d-2"] == "new"
    with two_findings.cursor() as cursor:
        cursor.execute("select action, before->>'status' from ops.audit_log order by at")
        assert cursor.fetchall() == [
            ("finding_auto_resolved", "new"),
            ("finding_reopened", "auto_resolved"),
        ]


@pytest.mark.parametrize(
    "status", ["investigating", "approved", "dismissed", "written_off", "recovered", "new"]
)
def test_what_a_person_set_stays(two_findings: Connection, status: str) -> None:
    run(
        two_findings,
        f"update ops.detection_state set status = '{status}', updated_by = 'jane'"  # noqa: S608
        " where detection_id = 'd-2'",
    )
    run(two_findings, "delete from marts.fct_leakage_detections")
    update_detection_state(two_findings, TOMORROW)
    assert statuses(two_findings) == {"d-1": "auto_resolved", "d-2": status}


def test_an_audit_of_a_past_day_resolves_nothing_that_was_seen_later(
    two_findings: Connection,
) -> None:
    run(two_findings, "delete from marts.fct_leakage_detections")
    assert update_detection_state(two_findings, AS_OF - timedelta(days=30)).auto_resolved == 0
    assert statuses(two_findings) == {"d-1": "new", "d-2": "new"}
