"""The money comes back: audit, approve the queue, send, one month later audit again.

What recovery says came back is compared with the books of the simulator's Stripe, which bills the
same company once with the corrections and once without.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.recovery import ledger, sending
from leakage_pipeline.recovery.stripe_writer import StripeWriter
from leakage_pipeline.review import people
from leakage_pipeline.settings import load_settings
from leakage_pipeline.simulator.billing_engine.account import Life
from leakage_pipeline.simulator.billing_engine.prices import exponent
from leakage_pipeline.simulator.random_company import RandomCompany, merge, random_company
from leakage_pipeline.simulator.second_month import account_at, billed_additionally, corrected
from leakage_pipeline.simulator.stripe_objects import StripeAccount
from leakage_pipeline.simulator.stripe_server import Faults, StripeServer
from leakage_pipeline.warehouse.connection import connect
from tests.support.audit import audit, rows

FIRST = datetime(2026, 10, 20, 6, tzinfo=UTC)
SECOND = datetime(2026, 11, 24, 6, tzinfo=UTC)
SEEDS = range(20)
CURRENCIES = ("eur", "gbp", "jpy", "krw", "kwd", "bhd")
LIMITS = {"per_customer": 10**9, "per_run": 10**9, "per_day": 10**9, "error_pct": 100}
POLICY = {"min_amount": 0, "action_mode": "approve", "action_limits": LIMITS}


@dataclass
class TwoMonths:
    """The company's worlds, what Stripe was sent, and the warehouse after both audits.

    `before` was not corrected, `after` is as it came, `asked` has only what asks for money: usage
    that was taken off a meter gives some back.
    """

    url: str
    before: list[Life]
    asked: list[Life]
    after: list[Life]
    posts: Counter[str]


@pytest.fixture(scope="module")
def two_months(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> TwoMonths:
    """Audited, approved, sent through a bad line, billed for a month, audited again."""
    directory: Path = tmp_path_factory.mktemp("two_months")
    company = merge(random_company(seed, leaks=True, as_of=SECOND) for seed in SEEDS)
    first = account_at(company.lives, company.account, FIRST)
    with StripeServer(first, now=FIRST) as server:
        _audit(company, directory, module_database_url, server, FIRST)
        _recover(directory, module_database_url, server)
        items, events = list(server.account.invoice_items), server.posted_meter_events
        posts = Counter(
            str(record.params.get("metadata", {}).get("leakage_action"))
            for record in server.requests
            if record.method == "POST" and record.path == "/v1/invoiceitems"
        )
    ours = [item for item in items if "leakage_action" in item["metadata"]]
    after = corrected(company.lives, ours, events)
    asking = [event for event in events if Decimal(event["value"]) > 0]
    asked = corrected(company.lives, ours, asking)
    with StripeServer(account_at(after, company.account, SECOND), now=SECOND) as server:
        _audit(company, directory, module_database_url, server, SECOND)
    return TwoMonths(module_database_url, company.lives, asked, after, posts)


def _audit(
    company: RandomCompany, directory: Path, url: str, server: StripeServer, as_of: datetime
) -> None:
    """One audit of what was known by then."""
    company.write(directory)
    seen = RandomCompany(company.seeds, tables=dict(company.tables), meters=company.meters)
    seen.tables["usage"] = [
        row for row in company.tables["usage"] if row["occurred_at"] <= as_of.timestamp()
    ]
    seen.write(directory)
    path = directory / "leakage.yaml"
    configuration = yaml.safe_load(path.read_text())
    configuration["sources"]["fx_rates"] = "fx_rates.csv"  # caps are in one currency
    path.write_text(json.dumps(configuration | {"policy": POLICY}))
    days = [SECOND - timedelta(days=5 * step) for step in range(160)]
    rates = [f"{day:%Y-%m-%d},{currency},usd,1.1" for day in days for currency in CURRENCIES]
    header = "rate_date,from_currency,to_currency,rate"
    (directory / "fx_rates.csv").write_text("\n".join([header, *rates]))
    done = audit(directory, url, server, as_of.isoformat())
    assert done.code == 0, done.out + done.err


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    connection = connect(url)
    try:
        yield connection
    finally:
        connection.close()


def _recover(directory: Path, url: str, server: StripeServer) -> None:
    """An approver releases the whole queue; it is sent, and sent again, while answers are lost."""
    settings = load_settings(directory / "leakage.yaml", {"STRIPE_API_KEY": server.api_key})
    now = FIRST + timedelta(hours=2)
    server.now = now
    writer = StripeWriter(server.api_key, server.base_url, first_delay=0.001)
    with _connected(url) as conn:
        people.save(conn, "ann", "approver", "a long password", by="test", at=now)
        for action in ledger.read(conn, ("planned",)):
            if action.held_because is None:
                ledger.release(conn, action.action_id, by="ann", at=now)
        server.set_faults(Faults(seed=3, rate_cut=0.1, rate_500=0.05))
        for _ in range(3):
            sending.run(conn, settings.policy, writer, now)
        server.set_faults(Faults())
        for _ in range(2):
            sending.run(conn, settings.policy, writer, now)


def _recovered(two_months: TwoMonths) -> list[dict[str, Any]]:
    return rows(two_months.url, "select * from marts.fct_revenue_recovered order by action_id")


def test_both_lanes_were_used_and_nothing_stayed_open(two_months: TwoMonths) -> None:
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
    assert set(states) == {("invoice_item", "confirmed"), ("meter_event", "confirmed")}


def test_what_came_back_is_what_stripe_billed_additionally_to_the_cent(
    two_months: TwoMonths,
) -> None:
    """Per customer, by the simulator's own books."""
    booked: dict[str, int] = {}
    currencies: dict[str, str] = {}
    for before, asked in zip(two_months.before, two_months.asked, strict=True):
        customer = before.buyer.customer_id
        currencies[customer] = before.buyer.currency
        booked[customer] = billed_additionally(before, asked, SECOND)
    said: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in _recovered(two_months):
        said[row["customer_id"]] += row["billed_amount"]
    told = {
        customer: int(said[customer].scaleb(exponent(currencies[customer]))) for customer in booked
    }
    assert told == booked
    assert sum(amount > 0 for amount in booked.values()) >= 8


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
