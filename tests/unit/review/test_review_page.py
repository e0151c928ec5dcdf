"""The review page over HTTP: signing in, roles, forms of other pages, text from outside."""

from collections.abc import Callable
from datetime import datetime, timedelta

import psycopg2.extensions
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.review import people
from tests.unit.publishing import company, sample
from tests.unit.review.conftest import ATTACK, NOW, PASSWORD, WANTED

Connection = psycopg2.extensions.connection


class Browser:
    """A signed-in (or not) browser, with the token of the page it saw last."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def see(self, path: str) -> str:
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        return response.text

    def token(self) -> dict[str, str]:
        page = self.client.get("/sign-in").text
        return {"token": page.split('name="token" value="')[1].split('"')[0]}

    def send(self, path: str, token: str | None = None, **form: str | list[str]) -> tuple[int, str]:
        found = self.token() if token is None else {"token": token}
        response = self.client.post(path, data={**found, **form}, follow_redirects=True)
        return response.status_code, response.text

    def sign_in(self, name: str, password: str = PASSWORD) -> tuple[int, str]:
        return self.send("/sign-in", name=name, password=password)


@pytest.fixture
def browser(app: Starlette) -> Callable[..., Browser]:
    def open_browser(role: str | None = None) -> Browser:
        opened = Browser(TestClient(app))
        if role:
            assert opened.sign_in(f"{role}-kim")[0] == 200
        return opened

    return open_browser


def status(conn: Connection, detection_id: str = WANTED) -> str | None:
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "select status from ops.detection_state where detection_id = %s", (detection_id,)
        )
        row = cursor.fetchone()
    return row[0] if row else None


@pytest.mark.parametrize(
    "path", ["/", "/totals", "/sample", f"/findings/{WANTED}", "/findings.csv", "/nothing-here"]
)
def test_having_the_address_shows_nothing(browser: Callable[..., Browser], path: str) -> None:
    page = browser().client.get(path)
    assert "Pro" not in page.text.replace("Problem", "")
    assert page.url.path == "/sign-in" or page.status_code == 404


def test_the_queue_leads_to_a_finding_and_its_arithmetic(browser: Callable[..., Browser]) -> None:
    reader = browser("viewer")
    assert f"/findings/{WANTED}" in reader.see("/")
    page = reader.see(f"/findings/{WANTED}")
    assert "Arithmetic" in page
    assert "https://dashboard.stripe.com/test/customers/cus_Sample0000" in page
    assert "From expected to billed, USD" in reader.see("/totals")


@pytest.mark.parametrize("step", ["approve", "dismiss", "assign", "note", "undo"])
def test_a_viewer_changes_nothing(
    browser: Callable[..., Browser], warehouse: Connection, step: str
) -> None:
    reader = browser("viewer")
    assert "Decide" not in reader.see(f"/findings/{WANTED}")
    code, page = reader.send(f"/findings/{WANTED}/{step}", text="because")
    assert code == 403
    assert f"as viewer you cannot {step} a finding" in page
    assert status(warehouse) in {None, "new"}


def test_a_reviewer_dismisses_and_takes_back_but_cannot_approve(
    browser: Callable[..., Browser], warehouse: Connection
) -> None:
    reviewer = browser("reviewer")
    assert reviewer.send(f"/findings/{WANTED}/approve")[0] == 403
    code, page = reviewer.send(f"/findings/{WANTED}/dismiss", text="partner price")
    assert code == 200
    assert "partner price" in page
    assert status(warehouse) == "dismissed"
    reviewer.send(f"/findings/{WANTED}/undo")
    assert status(warehouse) == "new"


def test_ticked_findings_are_decided_together(
    browser: Callable[..., Browser], warehouse: Connection
) -> None:
    ids = [finding.detection_id for finding in company.findings()[:3]]
    viewer, approver = browser("viewer"), browser("approver")
    assert "checkbox" not in viewer.see("/")
    assert viewer.send("/decide/approve", detection_id=ids)[0] == 403
    code, page = approver.send("/decide/approve", detection_id=ids, query="status=approved")
    assert (code, [f"/findings/{one}" in page for one in ids]) == (200, [True] * 3)
    assert {status(warehouse, one) for one in ids} == {"approved"}
    code, page = approver.send("/decide/dismiss", text="all wrong")
    assert code == 403
    assert "tick the findings" in page
    nowhere = approver.client.post(
        "/decide/note",
        data={**approver.token(), "detection_id": ids, "text": "x", "query": "//evil.example/?a=b"},
        follow_redirects=False,
    )
    assert nowhere.headers["location"].startswith("/?")


def test_incidents_lead_to_their_findings(browser: Callable[..., Browser]) -> None:
    page = browser("viewer").see("/incidents")
    for incident in company.incidents():
        assert f"incident_id={incident['incident_id']}" in page


def test_an_approval_stands_in_the_audit_log_under_the_person(
    browser: Callable[..., Browser], warehouse: Connection
) -> None:
    browser("approver").send(f"/findings/{WANTED}/approve", text="agreed")
    assert status(warehouse) == "approved"
    with warehouse, warehouse.cursor() as cursor:
        cursor.execute(
            "select actor, action, before ->> 'status', after ->> 'status', at"
            " from ops.audit_log where subject = %s",
            (WANTED,),
        )
        assert cursor.fetchall() == [("approver-kim", "review_approved", "new", "approved", NOW)]


def test_a_form_of_another_page_is_refused(
    browser: Callable[..., Browser], warehouse: Connection
) -> None:
    approver = browser("approver")
    for token in ("", "guessed", "\N{SNOWMAN}"):
        assert approver.send(f"/findings/{WANTED}/approve", token=token)[0] == 403
    assert status(warehouse) in {None, "new"}


def test_who_is_disabled_is_out_at_once(
    browser: Callable[..., Browser], warehouse: Connection
) -> None:
    approver = browser("approver")
    people.disable(warehouse, "approver-kim", by="test", at=NOW)
    assert approver.client.get("/").url.path == "/sign-in"
    assert approver.sign_in("approver-kim")[0] == 401


def test_wrong_passwords_have_to_wait(
    browser: Callable[..., Browser], clock: list[datetime]
) -> None:
    guesser = browser()
    for _ in range(5):
        assert guesser.sign_in("viewer-kim", "wrong")[0] == 401
    assert guesser.sign_in("viewer-kim")[0] == 429
    assert guesser.sign_in("nobody", "wrong")[0] == 401
    clock[0] = NOW + timedelta(minutes=16)
    assert guesser.sign_in("viewer-kim")[0] == 200


def test_text_from_outside_is_shown_and_never_run(browser: Callable[..., Browser]) -> None:
    page = browser("viewer").see("/findings/attack01")
    assert ATTACK not in page
    assert "&lt;script&gt;" in page
    policy = browser().client.get("/sign-in").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script" not in policy


def test_the_export_holds_the_filtered_findings(browser: Callable[..., Browser]) -> None:
    reader = browser("viewer")
    text = reader.client.get("/findings.csv?direction=overbilling").text
    lines = text.strip().splitlines()
    assert len(lines) == 1 + sum(f.direction == "overbilling" for f in company.findings())
    assert all("overbilling" in line for line in lines[1:])


@pytest.mark.parametrize("query", ["?status=%27%3B--", "?leakage_type=x&direction=y", "?limit=-1"])
def test_any_words_in_the_address_do(browser: Callable[..., Browser], query: str) -> None:
    browser("viewer").see(f"/{query}")


def test_before_the_first_audit_the_page_says_so(
    browser: Callable[..., Browser], warehouse: Connection
) -> None:
    reader = browser("viewer")
    with warehouse, warehouse.cursor() as cursor:
        cursor.execute("drop schema marts cascade")
    page = reader.client.get("/")
    assert page.status_code == 404
    assert "no audit has run yet" in page.text


def test_a_person_needs_a_role_and_a_long_password(warehouse: Connection) -> None:
    sample.create_marts(warehouse)
    with pytest.raises(PermanentFailure, match="one of the roles"):
        people.save(warehouse, "kim", "admin", PASSWORD, by="test", at=NOW)
    with pytest.raises(PermanentFailure, match="at least 12"):
        people.save(warehouse, "kim", "viewer", "short", by="test", at=NOW)


def test_passwords_are_kept_as_salted_hashes(warehouse: Connection) -> None:
    sample.create_marts(warehouse)
    for name in ("kim", "lee"):
        people.save(warehouse, name, "viewer", PASSWORD, by="test", at=NOW)
    with warehouse, warehouse.cursor() as cursor:
        cursor.execute("select password_hash from ops.reviewers")
        hashes = {row[0] for row in cursor.fetchall()}
        cursor.execute("select string_agg(after::text, '') from ops.audit_log")
        (logged,) = cursor.fetchone() or ("",)
    assert len(hashes) == 2
    assert not any(PASSWORD in text for text in (*hashes, logged))
    assert people.sign_in(warehouse, "kim", PASSWORD) == people.Person("kim", "viewer")
    assert people.sign_in(warehouse, "lee", PASSWORD.upper()) is None


def planned(conn: Connection, **columns: object) -> None:
    """A planned correction of the finding, whose payload quotes text from outside."""
    row = {
        "action_id": "rcv_1",
        "detection_id": WANTED,
        "action": "invoice_item",
        "mode": "approve",
        "status": "planned",
        "idempotency_key": "rcv_1",
        "currency": "usd",
        "amount": "50.00",
        "request": [{"method": "POST", "path": "/v1/invoiceitems", "description": ATTACK}],
        "before": {"billed": 99, "expected": 149},
        "after": {"billed": 149},
        "created_at": NOW,
        "updated_at": NOW,
        "leakage_type": "outdated_pricing",
        "meter": "",
        "held_because": None,
    }
    sample.insert(conn, "ops.recovery_actions", [row | columns])


def action(conn: Connection) -> tuple[str, str | None]:
    with conn, conn.cursor() as cursor:
        cursor.execute("select status, approved_by from ops.recovery_actions")
        row = cursor.fetchone()
    assert row is not None
    return row


def test_an_approver_sees_before_and_after_and_releases_what_was_shown(
    browser: Callable[..., Browser], warehouse: Connection
) -> None:
    planned(warehouse)
    approver = browser("approver")
    page = approver.see(f"/findings/{WANTED}")
    for part in ("Invoice item", "$99.00", "$149.00", "/v1/invoiceitems", "Approve and release"):
        assert part in page
    assert ATTACK not in page
    code, text = approver.send(f"/findings/{WANTED}/approve", release="rcv_1")
    assert code == 200
    assert "released by approver-kim" in text
    assert action(warehouse) == ("approved", "approver-kim")
    assert status(warehouse) == "approved"


def test_what_the_page_did_not_show_is_not_released(
    browser: Callable[..., Browser], warehouse: Connection
) -> None:
    planned(warehouse)
    browser("approver").send(f"/findings/{WANTED}/approve", release="rcv_other")
    assert action(warehouse) == ("planned", None)


def test_a_reviewer_releases_nothing_and_a_held_action_waits(
    browser: Callable[..., Browser], warehouse: Connection
) -> None:
    planned(warehouse, held_because="its collection is paused")
    code, _ = browser("reviewer").send(f"/findings/{WANTED}/approve", release="rcv_1")
    assert code == 403
    approver = browser("approver")
    page = approver.see(f"/findings/{WANTED}")
    assert "its collection is paused" in page
    assert "Approve and release" not in page
    approver.send(f"/findings/{WANTED}/approve", release="rcv_1")
    assert action(warehouse) == ("planned", None)


def test_the_monthly_sample_is_checked_in_the_browser_by_who_may(
    browser: Callable[..., Browser], warehouse: Connection
) -> None:
    viewer, reviewer = browser("viewer"), browser("reviewer")
    page = viewer.see("/sample")
    assert "Sample of 2026-11" in page
    assert "Missed something" not in page
    with warehouse, warehouse.cursor() as cursor:
        cursor.execute("select customer_id from ops.audit_samples order by found desc, 1 limit 1")
        (drawn,) = cursor.fetchone() or ("",)
    code, refused = viewer.send(f"/sample/{drawn}", verdict="right")
    assert (code, "as viewer you cannot check the sample" in refused) == (403, True)
    for form, problem in (
        ({"verdict": "wrong"}, "say in a note what was wrong"),
        ({"verdict": "maybe", "note": "x"}, "is no verdict"),
    ):
        assert problem in reviewer.send(f"/sample/{drawn}", **form)[1]
    assert "is not in the sample" in reviewer.send("/sample/cus_none", verdict="right")[1]
    code, page = reviewer.send(f"/sample/{drawn}", verdict="wrong", note=ATTACK)
    assert code == 200
    assert "reviewer-kim" in page
    assert ATTACK not in page
    assert "Right for 0 of 1 customer" in page
    assert reviewer.client.post(f"/sample/{drawn}", data={"verdict": "right"}).status_code == 403
    with warehouse, warehouse.cursor() as cursor:
        cursor.execute("select actor, subject from ops.audit_log where action = 'sample_checked'")
        assert cursor.fetchall() == [("reviewer-kim", f"2026-11/{drawn}")]
