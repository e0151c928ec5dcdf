"""The review page in headless Chromium: what a person does, and what the browser must not do."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator

import psycopg2.extensions
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright
from starlette.applications import Starlette

from tests.unit.publishing import company
from tests.unit.review.conftest import ATTACK, PASSWORD, WANTED
from tests.unit.review.test_review_page import planned

Connection = psycopg2.extensions.connection
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as tool:
        running = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def address(app: Starlette) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def signed_in(chromium: Browser, address: str) -> Iterator[Callable[[str], Page]]:
    """A page signed in under a role; it fails on any script, error or request to elsewhere."""
    odd: list[str] = []
    contexts = []

    def sign_in(role: str) -> Page:
        context = chromium.new_context()
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: odd.append(message.text))
        page.on("dialog", lambda dialog: odd.append(dialog.message))
        page.on("request", lambda request: _note_foreign(request.url, address, odd))
        page.goto(address)
        page.fill("[name=name]", f"{role}-kim")
        page.fill("[name=password]", PASSWORD)
        page.click("main button")
        page.wait_for_selector("h1:has-text('Findings to review')")
        return page

    yield sign_in
    for context in contexts:
        context.close()
    assert not odd


def _note_foreign(url: str, address: str, odd: list[str]) -> None:
    if not url.startswith(address) and not url.endswith("/favicon.ico"):
        odd.append(url)


def _statuses(conn: Connection) -> dict[str, str]:
    with conn, conn.cursor() as cursor:
        cursor.execute("select detection_id, status from ops.detection_state")
        return dict(cursor.fetchall())


def test_an_approver_works_the_queue(
    signed_in: Callable[[str], Page], warehouse: Connection
) -> None:
    page = signed_in("approver")
    page.select_option("[name=direction]", "overbilling")
    page.click("text=Show")
    over = {found.detection_id for found in company.findings() if found.direction == "overbilling"}
    boxes = page.locator("[name=detection_id]")
    ticked = {str(box.get_attribute("value")) for box in boxes.all()}
    assert ticked <= over
    boxes.first.check()
    first = str(boxes.first.get_attribute("value"))
    page.click("text=Approve ticked")
    page.wait_for_url("**direction=overbilling**")
    assert _statuses(warehouse)[first] == "approved"

    page.click("text=Queue")
    page.click(f"a[href='/findings/{WANTED}']")
    page.wait_for_selector("h2:has-text('Arithmetic')")
    page.fill("[aria-label='Why it is no finding']", "partner price")
    page.click("text='Dismiss'")
    page.wait_for_selector("text=partner price")
    assert _statuses(warehouse)[WANTED] == "dismissed"
    page.click("text=Take back the last step")
    page.wait_for_selector("text=took the last step back")
    assert _statuses(warehouse)[WANTED] == "new"


def test_a_viewer_sees_all_and_can_change_nothing(signed_in: Callable[[str], Page]) -> None:
    page = signed_in("viewer")
    assert page.locator("[name=detection_id]").count() == 0
    page.click("text=Incidents")
    assert page.locator("tbody tr").count() == len(company.incidents())
    page.click("text=Totals")
    assert page.locator("svg.chart").count() >= 2
    page.click("text=Queue")
    page.click(f"a[href='/findings/{WANTED}']")
    assert page.locator("text=As viewer you can read").count() == 1
    assert page.locator("main button").count() == 0


def test_text_from_outside_does_not_run(signed_in: Callable[[str], Page], address: str) -> None:
    page = signed_in("reviewer")
    page.goto(f"{address}/findings/attack01")
    assert ATTACK in page.inner_text("main")


def test_a_reviewer_checks_the_monthly_sample(signed_in: Callable[[str], Page]) -> None:
    page = signed_in("reviewer")
    page.click("text=Sample")
    page.wait_for_selector("h1:has-text('Sample of 2026-11')")
    row = page.locator("tbody tr").first
    row.locator("[name=note]").fill("a seat too many")
    row.locator("button:has-text('Wrong')").click()
    page.wait_for_selector("td:has-text('wrong')")
    assert "a seat too many" in page.locator("tbody tr").first.inner_text()
    assert "reviewer-kim" in page.locator("tbody tr").first.inner_text()


def test_a_mail_is_read_and_ticked_before_an_approval_releases_it(
    signed_in: Callable[[str], Page], warehouse: Connection
) -> None:
    planned(warehouse)
    letter = {"customer": "cus_1", "subject": "About your seats", "text": f"Hello\n\n{ATTACK}"}
    for number in (1, 2):
        planned(
            warehouse,
            action_id=f"mail_{number}",
            idempotency_key=f"mail_{number}",
            action="customer_email",
            request=[{"method": "MAIL", "path": "", "params": letter}],
            before={"periods": 3, "total": 150},
        )
    page = signed_in("approver")
    page.goto(f"{page.url.rstrip('/')}/findings/{WANTED}")
    assert "About your seats" in page.locator("pre.letter").first.inner_text()
    assert page.locator("text=the newest of 3 periods, $150.00 together").count() == 2
    page.check("[value=mail_1]")
    page.click("button:has-text('Approve and release')")
    page.wait_for_selector("text=released by approver-kim")
    with warehouse, warehouse.cursor() as cursor:
        cursor.execute("select action_id, status from ops.recovery_actions order by 1")
        assert cursor.fetchall() == [
            ("mail_1", "approved"),
            ("mail_2", "planned"),
            ("rcv_1", "approved"),
        ]
