"""The money comes back: audit, approve the queue, send, one month later audit again.

What recovery says came back is compared with the books of the simulator's Stripe, which bills the
same company once with the corrections and once without.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from leakage_pipeline.settings import load_settings
from leakage_pipeline.simulator.billing_engine.account import Life
from leakage_pipeline.simulator.billing_engine.prices import exponent
from leakage_pipeline.simulator.random_company import RandomCompany
from leakage_pipeline.simulator.second_month import account_at
from leakage_pipeline.simulator.stripe_objects import StripeAccount
from leakage_pipeline.simulator.stripe_server import StripeServer
from leakage_pipeline.simulator.two_months import (
    LATER,
    Sent,
    booked,
    company_of,
    month_later,
    recover,
    write_inputs,
)
from leakage_pipeline.warehouse.connection import connect
from tests.support.audit import audit, rows

FIRST = datetime(2026, 10, 20, 6, tzinfo=UTC)
SECOND = FIRST + LATER
SEEDS = range(20)


@dataclass
class TwoMonths:
    """Customers before and after, what Stripe was sent, and the warehouse after both audits."""

    url: str
    books: dict[str, Decimal]
    after: list[Life]
    sent: Sent
    posts: Counter[str]


@pytest.fixture(scope="module")
def two_months(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> TwoMonths:
    """Audited, approved, sent through a bad line, billed for a month, audited again."""
    directory: Path = tmp_path_factory.mktemp("two_months")
    company = company_of(SEEDS, SECOND)
    with StripeServer(account_at(company.lives, company.account, FIRST), now=FIRST) as server:
        _audit(company, directory, module_database_url, server, FIRST)
        settings = load_settings(directory / "leakage.yaml", {"STRIPE_API_KEY": server.api_key})
        conn = connect(module_database_url)
        try:
            sent = recover(conn, settings, server, FIRST + timedelta(hours=2))
        finally:
            conn.close()
        posts = Counter(
            str(record.params.get("metadata", {}).get("leakage_action"))
            for record in server.requests
            if record.method == "POST" and record.path == "/v1/invoiceitems"
        )
    after, account = month_later(company, sent, SECOND)
    with StripeServer(account, now=SECOND) as server:
        _audit(company, directory, module_database_url, server, SECOND)
    return TwoMonths(module_database_url, booked(company, sent, SECOND), after, sent, posts)


def _audit(
    company: RandomCompany, directory: Path, url: str, server: StripeServer, as_of: datetime
) -> None:
    """One audit of what was known by then."""
    write_inputs(company, directory, as_of)
    done = audit(directory, url, server, as_of.isoformat())
    assert done.code == 0, done.out + done.err


def _recovered(two_months: TwoMonths) -> list[dict[str, Any]]:
    return rows(two_months.url, "select * from marts.fct_revenue_recovered order by action_id")


def test_all_lanes_were_used_and_nothing_stayed_open(two_months: TwoMonths) -> None:
    states = Counter(
        (row["action"], row["status"])
        for row in rows(
            two_months.url,
            "select action, status from ops.recovery_actions where created_at < %s",
            (SECOND,),
        )
        if row["status"] in {"sent", "confirmed", "failed"}
    )
    assert states["invoice_item", "confirmed"] >= 15
    assert states["meter_event", "confirmed"] >= 3
    assert states["credit_note", "confirmed"] >= 1
    assert {status for _, status in states} == {"confirmed"}


def test_what_came_back_is_what_stripe_billed_additionally_to_the_cent(
    two_months: TwoMonths,
) -> None:
    """Per customer, by the simulator's own books."""
    said: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in _recovered(two_months):
        said[row["customer_id"]] += row["billed_amount"]
    told = {customer: said[customer] for customer in two_months.books}
    assert told == two_months.books
    assert sum(amount > 0 for amount in two_months.books.values()) >= 8


def test_what_was_given_back_is_stripe_s_credit_notes_and_no_revenue(
    two_months: TwoMonths,
) -> None:
    given = rows(
        two_months.url,
        "select * from marts.fct_overbilling_corrected where action = 'credit_note'",
    )
    notes = {note["id"]: note for note in two_months.sent.notes}
    assert {row["credit_note_id"] for row in given} == set(notes)
    assert len(notes) == len({note["metadata"]["leakage_action"] for note in notes.values()})
    for row in given:
        note = notes[row["credit_note_id"]]
        units = Decimal(note["subtotal"] - note["discount_amount"])
        assert row["corrected_amount"] == units.scaleb(-exponent(row["currency"]))
    actions = {row["action_id"] for row in _recovered(two_months)}
    assert actions.isdisjoint({row["action_id"] for row in given})
    again = rows(
        two_months.url,
        "select d.leakage_type, d.leakage_amount, d.description"
        " from marts.fct_leakage_detections as d"
        " inner join marts.fct_overbilling_corrected as c on d.detection_id = c.detection_id"
        " where c.action = 'credit_note'"
        " union all select d.leakage_type, d.leakage_amount, d.description"
        " from marts.fct_leakage_detections as d"
        " inner join marts.fct_overbilling_corrected as c on d.customer_id = c.customer_id"
        " where d.leakage_type = 'over_credited' and d.evidence::text like '%cn_written%'",
    )
    assert not again, again[:5]
    states = rows(
        two_months.url,
        "select distinct s.status from ops.detection_state as s"
        " inner join marts.fct_overbilling_corrected as c on s.detection_id = c.detection_id"
        " where c.action = 'credit_note'",
    )
    assert states == [{"status": "recovered"}]


def test_every_correction_stands_on_one_line_of_one_invoice(two_months: TwoMonths) -> None:
    """Nobody was charged twice, however often it was sent."""
    lines = Counter(
        line["metadata"]["leakage_action"]
        for invoice in account_at(two_months.after, StripeAccount(), SECOND).invoices
        for line in invoice["lines"]["data"]
        if "leakage_action" in line["metadata"]
    )
    assert set(lines.values()) == {1}
    assert max(two_months.posts.values()) > 1  # the line was bad enough to try again


def test_what_was_billed_and_paid_is_recovered(two_months: TwoMonths) -> None:
    """Paid invoices recover all that they bill; what is not billed yet is still out."""
    for row in _recovered(two_months):
        if row["billed_at"] is None:
            assert (row["recovered_amount"], row["outstanding_amount"]) == (
                0,
                row["expected_amount"],
            )
        else:
            out = row["billed_amount"] - row["recovered_amount"]
            assert (row["outstanding_amount"], row["invoice_id"] is not None) == (out, True)
    assert any(row["recovered_amount"] > 0 for row in _recovered(two_months))


def test_a_leak_that_came_back_is_found_no_more_and_ends_as_recovered(
    two_months: TwoMonths,
) -> None:
    """And none of it is taken for overbilling."""
    again = rows(
        two_months.url,
        "select d.leakage_type, d.leakage_amount, r.billed_amount, d.description"
        " from marts.fct_leakage_detections as d"
        " inner join marts.fct_revenue_recovered as r on d.detection_id = r.detection_id"
        " where r.action = 'invoice_item' and r.billed_at is not null",
    )
    assert not again, again[:5]
    over = rows(
        two_months.url,
        "select d.leakage_type, d.leakage_amount, d.description"
        " from marts.fct_leakage_detections as d"
        " inner join marts.fct_revenue_recovered as r"
        "     on d.subscription_id = r.subscription_id"
        " inner join ops.recovery_actions as a on r.action_id = a.action_id"
        " where d.direction = 'overbilling' and d.period_start = a.window_start"
        " and a.action = 'invoice_item'",
    )
    assert not over, over[:5]
    states = rows(
        two_months.url,
        "select distinct s.status from ops.detection_state as s"
        " inner join marts.fct_revenue_recovered as r on s.detection_id = r.detection_id"
        " where r.action = 'invoice_item' and r.outstanding_amount = 0",
    )
    assert states == [{"status": "recovered"}]


def test_nothing_that_was_corrected_is_planned_again(two_months: TwoMonths) -> None:
    planned = rows(
        two_months.url,
        "select a.detection_id, a.held_because from ops.recovery_actions as a"
        " where a.status in ('planned', 'approved') and a.held_because is null and exists ("
        "     select 1 from ops.recovery_actions as b where b.detection_id = a.detection_id"
        "     and b.status = 'confirmed')",
    )
    assert not planned, planned[:5]
