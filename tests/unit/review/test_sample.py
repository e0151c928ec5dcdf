"""Five customers a month are drawn by lot, and what people find at them is the accuracy."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2.extensions
import pytest
from rich.console import Console

from leakage_pipeline.commands.sample import print_sample, record_verdict
from leakage_pipeline.failures import ConfigurationError, PermanentFailure
from leakage_pipeline.publishing.report import build_report
from leakage_pipeline.publishing.report_accuracy import accuracy_part
from leakage_pipeline.review import sample as samples
from tests.unit.publishing import company, sample
from tests.unit.publishing.sample import AS_OF, bridge_row, insert

Connection = psycopg2.extensions.connection
MONTH = "2026-11"
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.fixture
def marts(warehouse: Connection) -> Connection:
    sample.create_marts(warehouse)
    company.fill(warehouse)
    clean = [bridge_row(f"cus_Clean{number}", AS_OF, "149.00") for number in range(8)]
    insert(warehouse, "marts.fct_expected_vs_billed", clean)
    return warehouse


def drawn(conn: Connection, month: str = MONTH) -> list[tuple[str, bool]]:
    return [(row["customer_id"], row["found"]) for row in samples.read(conn, month)]


def record(conn: Connection, customer: str, verdict: str, note: str = "x") -> None:
    samples.record(conn, MONTH, customer, verdict, note, by="kim", at=NOW)


def test_three_with_findings_and_two_without_are_drawn_once_a_month(marts: Connection) -> None:
    assert samples.draw(marts, AS_OF) == 5
    first = drawn(marts)
    assert [found for _, found in first] == [True] * 3 + [False] * 2
    # Later audits of the month leave it alone, whatever they find.
    with marts.cursor() as cursor:
        cursor.execute("delete from marts.fct_leakage_detections")
    assert samples.draw(marts, AS_OF + timedelta(days=3)) == 0
    assert drawn(marts) == first


def test_the_lot_is_the_same_for_the_same_month_and_another_one_for_the_next(
    marts: Connection,
) -> None:
    samples.draw(marts, AS_OF)
    first = drawn(marts)
    with marts.cursor() as cursor:
        cursor.execute("delete from ops.audit_samples")
    samples.draw(marts, AS_OF + timedelta(days=9))
    assert drawn(marts) == first
    samples.draw(marts, AS_OF + timedelta(days=30))
    assert {customer for customer, _ in drawn(marts, "2026-12")} != {name for name, _ in first}


def test_a_company_without_findings_is_sampled_all_the_same(marts: Connection) -> None:
    with marts.cursor() as cursor:
        cursor.execute("delete from marts.fct_leakage_detections")
    assert samples.draw(marts, AS_OF) == 5
    assert {found for _, found in drawn(marts)} == {False}


def test_a_verdict_stands_with_its_entry_in_the_audit_log(marts: Connection) -> None:
    samples.draw(marts, AS_OF)
    customer = drawn(marts)[0][0]
    record(marts, customer, "wrong", "a deal of 2024")
    record(marts, customer, "right", "")
    with marts.cursor() as cursor:
        cursor.execute("select actor, subject, before::text, after::text from ops.audit_log")
        rows = cursor.fetchall()
    assert [row[:2] for row in rows] == [("kim", f"{MONTH}/{customer}")] * 2
    assert json.loads(rows[1][2])["note"] == "a deal of 2024"
    assert json.loads(rows[1][3])["verdict"] == "right"


@pytest.mark.parametrize(
    ("customer", "verdict", "note", "says"),
    [("cus_Nobody", "right", "", "not in the sample"), (None, "missed", " ", "in a note")],
)
def test_what_is_no_verdict_on_the_sample_is_refused(
    marts: Connection, customer: str | None, verdict: str, note: str, says: str
) -> None:
    samples.draw(marts, AS_OF)
    with pytest.raises(PermanentFailure, match=says):
        record(marts, customer or drawn(marts)[0][0], verdict, note)
    assert samples.accuracy(marts, AS_OF).checked == 0


def test_the_report_and_its_mail_tell_the_measured_accuracy(
    marts: Connection, tmp_path: Path
) -> None:
    assert accuracy_part(samples.accuracy(marts, AS_OF)) is None
    samples.draw(marts, AS_OF)
    part = accuracy_part(samples.accuracy(marts, AS_OF))
    assert part is not None
    assert part["sentence"] == (
        "Nothing measured yet. 5 customers of this month's sample still to check."
    )
    customers = [customer for customer, _ in drawn(marts)]
    for customer, verdict in zip(customers, ("right", "wrong", "right", "missed"), strict=False):
        record(marts, customer, verdict)
    files = build_report(marts, sample.settings(tmp_path), AS_OF, None, tmp_path)
    said = (
        "Right for 2 of 4 customers drawn at random and checked by hand since 2026-11: "
        "50\N{NO-BREAK SPACE}%. 1 with a leak missed and 1 wrong. "
        "1 customer of this month&#39;s sample still to check."
    )
    page = files.html.read_text("utf-8")
    assert said in page
    assert said in files.mail.html
    assert '<th scope="row">With findings</th><td class="n">3</td><td class="n">2</td>' in page


def test_verdicts_older_than_a_year_no_longer_count(marts: Connection) -> None:
    samples.draw(marts, AS_OF)
    record(marts, drawn(marts)[0][0], "right")
    assert samples.accuracy(marts, AS_OF + timedelta(days=330)).checked == 1
    assert samples.accuracy(marts, AS_OF + timedelta(days=400)).checked == 0


def test_the_command_shows_the_sample_and_takes_a_verdict(
    marts: Connection, database_url: str, tmp_path: Path
) -> None:
    settings = sample.settings(tmp_path, LEAKAGE_DATABASE_URL=database_url)
    console = Console(width=160, record=True)
    print_sample(settings, None, console)
    shown = console.export_text()
    assert shown.count("to check") == 5 + 1
    customer = drawn(marts)[0][0]
    record_verdict(settings, None, customer, ("right", ""), console, by="kim", at=NOW)
    print_sample(settings, MONTH, console)
    assert "Right for 1 of 1 customer drawn at random" in console.export_text()
    with pytest.raises(ConfigurationError, match="2026-11"):
        print_sample(settings, "November", console)
