"""The weekly report adds up, says what it knows and what not, and is the same file every time."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import psycopg2.extensions
import pytest

from leakage_pipeline.classification.run import classify
from leakage_pipeline.failures import ConfigurationError, PermanentFailure
from leakage_pipeline.publishing.detection_state import update_detection_state
from leakage_pipeline.publishing.report import ReportFiles, build_report
from tests.unit.publishing import company, sample
from tests.unit.publishing.sample import AS_OF, Row, bridge_row, insert

Connection = psycopg2.extensions.connection


class Page(HTMLParser):
    """Text, ids and addresses of a page."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self._skip = False
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._skip = tag == "style"
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name in {"href", "src", "xlink:href"} and value:
                self.addresses.append(value)

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.words.extend(data.split())

    def handle_endtag(self, tag: str) -> None:
        self._skip = self._skip and tag != "style"

    @property
    def text(self) -> str:
        return " ".join(self.words)


def build(conn: Connection, tmp_path: Path, week: str | None = None) -> tuple[ReportFiles, Page]:
    files = build_report(conn, sample.settings(tmp_path), AS_OF, week)
    return files, Page(files.html.read_text(encoding="utf-8"))


def test_the_report_is_one_file_that_needs_nothing_else(filled: Connection, tmp_path: Path) -> None:
    files, page = build(filled, tmp_path)
    assert files.html == tmp_path / "home" / "reports" / "weekly_recovery_2026-W47.html"
    assert files.csv.exists()
    assert "script" not in page.tags
    assert page.tags.isdisjoint({"link", "img", "iframe", "object"})
    for address in page.addresses:
        assert address.startswith(("#", "https://dashboard.stripe.com/"))
    assert "@import" not in files.html.read_text(encoding="utf-8")


def test_the_same_inputs_give_the_same_bytes(filled: Connection, tmp_path: Path) -> None:
    settings = sample.settings(tmp_path)
    one = build_report(filled, settings, AS_OF, out_dir=tmp_path / "one")
    two = build_report(filled, settings, AS_OF, out_dir=tmp_path / "two")
    assert one.html.read_bytes() == two.html.read_bytes()
    assert one.csv.read_bytes() == two.csv.read_bytes()


def test_no_id_stands_twice_although_there_are_several_charts(
    filled: Connection, tmp_path: Path
) -> None:
    _, page = build(filled, tmp_path)
    assert len(page.ids) == len(set(page.ids))
    assert sum(name.startswith("bridge-") and name.count("-") == 1 for name in page.ids) == 3


def test_the_header_and_the_summary_say_week_and_kinds_of_amounts(
    filled: Connection, tmp_path: Path
) -> None:
    _, page = build(filled, tmp_path)
    for text in (
        "Acme Cloud",
        "2026-W47",
        "16 Nov 2026 to 22 Nov 2026",
        "as of 20 Nov 2026, 06:00 UTC",
        "$13,460.00, €350.00 and ¥1,000 measured, and apart from that $199.00 estimated.",
        "Another $6,580.00 measured sits in open periods and can still be billed correctly.",
        "2 customers are billed too much: $569.00 measured in closed periods.",
        "New this week: 2 leaks, worth $1,170.00 and €350.00 measured.",
        "$50.00 of it this week",
        "In JPY, customers should have paid ¥15,000; Stripe billed ¥12,000, ¥3,000 less (20 %).",
    ):
        assert text in page.text


def test_the_bridge_adds_up_to_the_cent_beside_its_chart(
    filled: Connection, tmp_path: Path
) -> None:
    files, page = build(filled, tmp_path)
    table = files.html.read_text(encoding="utf-8").split('class="numbers bridge"')[1]
    cells = re.findall(r'<td class="n">([^<]+)</td>', table.split("</table>")[0])
    expected, *steps, billed, difference = [_amount(cell) for cell in cells]
    assert expected + sum(steps) == billed
    assert expected - billed == difference == Decimal("20270.00")
    assert files.summary["bridge"]["usd"]["difference"] == difference
    chart = files.html.read_text(encoding="utf-8").split('<svg id="bridge-usd"')[1]
    for cell in (cells[0], *(text for text in cells[1:-2] if _amount(text))):
        assert f">{cell}</text>" in chart.split("</svg>")[0]
    assert "the sum of the steps, to the cent" in page.text
    assert "do not start at zero" in page.text


def _amount(text: str) -> Decimal:
    return Decimal(re.sub(r"[$,+]", "", text.replace("\N{MINUS SIGN}", "-")))


def test_overbilling_is_shown_like_leaks(filled: Connection, tmp_path: Path) -> None:
    _, page = build(filled, tmp_path)
    assert "What was billed too much" in page.text
    assert "Overbilling to put right first" in page.text
    assert "Juniper Freight" in page.text
    assert "Credit the customer (finance)" not in page.text


def test_the_next_step_comes_from_the_classification(filled: Connection, tmp_path: Path) -> None:
    classify(filled, sample.settings(tmp_path), AS_OF)
    _, page = build(filled, tmp_path)
    assert "Credit the customer (finance)" in page.text
    assert "Add the metered price to the subscription (finance)" in page.text


def test_the_arithmetic_of_a_finding_can_be_followed(filled: Connection, tmp_path: Path) -> None:
    _, page = build(filled, tmp_path)
    times = "\N{MULTIPLICATION SIGN}"
    assert f"50 {times} €5.00 = €250.00 25 {times} €4.00 = €100.00" in page.text
    assert "500,000 used, 460,000 billed $50,000.00 $46,000.00 $4,000.00" in page.text
    assert "3 more customers with this cause" in page.text


def test_text_from_outside_is_escaped(filled: Connection, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script><b onmouseover=x>"
    with filled.cursor() as cursor:
        cursor.execute("update marts.dim_customers set name = %s", (hostile,))
        cursor.execute("update marts.fct_leakage_detections set description = %s", (hostile,))
    filled.commit()
    files, page = build(filled, tmp_path)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert "<script" not in files.html.read_text(encoding="utf-8")
    assert hostile in page.text


def test_a_reporting_column_stands_only_where_rates_exist(
    marts: Connection, tmp_path: Path
) -> None:
    insert(marts, "marts.fct_leakage_detections", [Row("d-1", currency="eur")])
    _, page = build(marts, tmp_path)
    assert "In USD" in page.text
    with marts.cursor() as cursor:
        cursor.execute("update marts.fct_leakage_detections set reporting_amount = null")
    marts.commit()
    _, page = build(marts, tmp_path)
    assert "In USD" not in page.text


def test_exceptions_recoveries_and_coverage_are_listed(filled: Connection, tmp_path: Path) -> None:
    _, page = build(filled, tmp_path)
    assert "partner discount until 2027 M. Keller 3 periods $75.00" in page.text
    assert "Borealis Media Billed below the price in force invoice item 17 Nov 2026" in page.text
    assert "9 of 12" in page.text
    assert "92.3 %" in page.text
    assert "stripe meters" in page.text


def test_what_is_wrong_with_the_data_stands_on_the_first_page(
    filled: Connection, tmp_path: Path
) -> None:
    broken = {**bridge_row("cus_X", company.FIRST_END, "10.00"), "unexplained_amount": 1}
    unrated = {**bridge_row("cus_Y", company.FIRST_END, "10.00"), "expected_amount": None}
    insert(filled, "marts.fct_expected_vs_billed", [broken, unrated])
    with filled.cursor() as cursor:
        cursor.execute("update raw_business.audit_settings set as_of = %s", (_days_ago(9),))
        cursor.execute(
            "insert into raw_stripe.sync_status (object, status, rows, requests, detail)"
            " values ('meters', 'forbidden', 0, 1, 'the key may not read meters')"
        )
    filled.commit()
    files = build_report(
        filled, sample.settings(tmp_path), AS_OF, failed_checks=["A check of marts.x failed: y."]
    )
    page = Page(files.html.read_text(encoding="utf-8"))
    first_page = page.text.split("From expected to billed")[0]
    for text in (
        "A check of marts.x failed: y.",
        "The bridge of 1 billing period does not add up",
        "1 billing period could not be rated",
        "The tables were last built for 11 Nov 2026",
        "the key may not read meters",
    ):
        assert text in first_page
    assert "1 input row of gateway could not be read: value is not a number." in page.text


def test_a_dismissed_finding_leaves_every_total(filled: Connection, tmp_path: Path) -> None:
    update_detection_state(filled, AS_OF)
    with filled.cursor() as cursor:
        cursor.execute(
            "update ops.detection_state set status = 'dismissed', updated_by = 'jane'"
            " where detection_id = 'over-10'"
        )
    filled.commit()
    _, page = build(filled, tmp_path)
    assert "1 customer is billed too much: $149.00 measured in closed periods." in page.text
    assert "1 finding that a reviewer dismissed is left out of every total." in page.text


def test_what_is_at_risk_and_open_now_is_not_told_as_nothing(
    filled: Connection, tmp_path: Path
) -> None:
    risk = Row("risk-1", leakage_type="unpaid_access", direction="risk", phase="open")
    insert(filled, "marts.fct_leakage_detections", [replace(risk, amount_basis="at_risk")])
    examined = {"leakage_type": "unpaid_access", "currency": "usd", "as_of": AS_OF}
    counts = {"customers_examined": 12, "customers_total": 12, "missing_inputs": []}
    insert(filled, "marts.fct_control_coverage", [{**examined, **counts}])
    page = build(filled, tmp_path)[0].html.read_text(encoding="utf-8")
    tile = page[page.index(">At risk<") :]
    assert "$50.00" in tile[:200]


def test_many_customers_near_their_limits_are_no_shared_cause(
    filled: Connection, tmp_path: Path
) -> None:
    near = Row("near-1", leakage_type="approaching_limit", direction="opportunity", phase="open")
    near = replace(near, incident_id="inc-near", cause="pro")
    other = replace(near, detection_id="near-2", customer_id="cus_Other")
    insert(filled, "marts.fct_leakage_detections", [near, other])
    incident = {"leakage_type": "approaching_limit", "direction": "opportunity", "currency": "usd"}
    rows = [{**incident, "incident_id": "inc-near", "cause": "pro", "customers": 2}]
    insert(filled, "marts.fct_incidents", rows)
    page = build(filled, tmp_path)[0].html.read_text(encoding="utf-8")
    shared = page[page.index("Causes that several customers share") :]
    assert "Close to the included quantity" not in shared[: shared.index("What leaked")]
    assert "Close to the included quantity" in page


def test_drafts_to_hold_stand_before_what_leaked(filled: Connection, tmp_path: Path) -> None:
    held = {
        "invoice_id": "in_Draft",
        "customer_id": company.customer(4),
        "currency": "jpy",
        "drafted_amount": Decimal(4000),
        "expected_amount": Decimal(5000),
        "difference": Decimal(1000),
        "reasons": ["outdated_pricing"],
        "detection_ids": ["held-1"],
        "finalises_at": AS_OF,
    }
    gone = {**held, "invoice_id": "in_Dismissed", "detection_ids": ["over-10"]}
    insert(filled, "marts.fct_invoice_holds", [held, gone])
    update_detection_state(filled, AS_OF)
    with filled.cursor() as cursor:
        cursor.execute(
            "update ops.detection_state set status = 'dismissed' where detection_id = 'over-10'"
        )
    filled.commit()
    _, page = build(filled, tmp_path)
    before, holds = page.text.split("Drafts to hold back")
    row = holds[: holds.index("What leaked")]
    assert "From expected to billed" in before
    assert "in_Draft Billed below the price in force 20 Nov 2026" in row
    assert "¥4,000 ¥5,000" in row
    assert "in_Dismissed" not in page.text


def test_what_the_data_cannot_carry_is_said_on_the_first_page(
    filled: Connection, tmp_path: Path
) -> None:
    why = "The usage log has no event of calls from 2026-01-20 to 2026-01-21."
    blocked = {"explanation": why, "leakage_type": "overbilled_usage", "direction": "overbilling"}
    rows = [
        {**blocked, "detection_id": str(number), "currency": "usd", "blocked_amount": Decimal(7)}
        for number in range(2)
    ]
    insert(filled, "marts.fct_blocked_findings", rows)
    _, page = build(filled, tmp_path)
    first_page = page.text.split("From expected to billed")[0]
    assert f"2 findings of overbilled usage over $14.00 are not published. {why}" in first_page


def test_the_year_is_told_by_month_and_a_cause_by_what_it_cost_before_it_was_found(
    filled: Connection, tmp_path: Path
) -> None:
    with filled.cursor() as cursor:
        cursor.execute(
            "update marts.fct_incidents set first_detected_at = %s"
            " where incident_id = 'inc-encode'",
            (AS_OF - timedelta(days=60),),
        )
        cursor.execute(
            "select sum(leakage_amount), sum(leakage_amount) filter (where period_end <= %s)"
            " from marts.fct_leakage_detections"
            " where incident_id = 'inc-encode' and phase = 'closed'",
            (AS_OF - timedelta(days=60),),
        )
        ((together, lost),) = cursor.fetchall()
    filled.commit()
    _, page = build(filled, tmp_path)
    assert 0 < lost < together
    shared = page.text.split("Causes that several customers share")[1].split("What leaked")[0]
    assert f"21 Sep 2026 4 ${lost:,.2f} ${together:,.2f}" in shared, shared
    year = page.text.split("Twelve months")[1]
    assert "December 2025 $0.00" in year
    assert "What is still open has been known for" in year


def test_when_nothing_leaks_the_page_says_so(marts: Connection, tmp_path: Path) -> None:
    rows = [bridge_row(company.customer(n), company.FIRST_END, "149.00") for n in range(3)]
    insert(marts, "marts.fct_expected_vs_billed", rows)
    insert(marts, "raw_business.audit_settings", [{"singleton": 1, "as_of": AS_OF}])
    files, page = build(marts, tmp_path)
    assert files.summary["all_clear"] is True
    assert "Nothing leaks" in page.text
    assert "Stripe billed $447.00, exactly what customers should have paid." in page.text
    assert "What leaked" not in page.text


def test_nothing_found_over_doubtful_data_is_not_called_all_clear(
    marts: Connection, tmp_path: Path
) -> None:
    insert(
        marts, "marts.fct_expected_vs_billed", [bridge_row("cus_X", company.FIRST_END, "149.00")]
    )
    settings = sample.settings(tmp_path)
    files = build_report(marts, settings, AS_OF, failed_checks=["A check of x failed: y."])
    assert files.summary["all_clear"] is False
    assert "Nothing leaks" not in files.html.read_text(encoding="utf-8")


def test_an_audit_of_nothing_gives_a_page_too(marts: Connection, tmp_path: Path) -> None:
    _, page = build(marts, tmp_path)
    assert "No billing period closed in the twelve weeks up to this report." in page.text
    assert "No audit has run yet" in page.text
    assert "Nothing leaks" not in page.text


def test_the_first_week_is_not_called_news(filled: Connection, tmp_path: Path) -> None:
    with filled.cursor() as cursor:
        cursor.execute("update marts.fct_leakage_detections set first_detected_at = %s", (AS_OF,))
    filled.commit()
    _, page = build(filled, tmp_path)
    assert "The audit began this week, so everything in this report is new on record." in page.text


def test_an_earlier_week_looks_back_from_its_own_end(filled: Connection, tmp_path: Path) -> None:
    files, page = build(filled, tmp_path, "2026-W40")
    assert files.html.name == "weekly_recovery_2026-W40.html"
    assert "28 Sep 2026 to 4 Oct 2026" in page.text
    # The third period of each customer ended in November.
    assert "18 closed billing periods of 9 customers" in page.text


def test_a_wrong_week_is_a_configuration_error_and_writes_nothing(
    filled: Connection, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError):
        build(filled, tmp_path, "2027-W01")
    assert not (tmp_path / "home").exists()


def test_before_the_first_audit_one_message_says_what_to_run(
    conn: Connection, tmp_path: Path
) -> None:
    with pytest.raises(PermanentFailure, match="leakage audit"):
        build(conn, tmp_path)


def _days_ago(days: int) -> object:
    return AS_OF - timedelta(days=days)
