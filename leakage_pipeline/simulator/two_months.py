"""`leakage demo --second-month`: audit, approve the queue, send it, bill a month, audit again.

What recovery says came back is held against the books of the simulated Stripe, which bills the same
company once with the corrections and once without. Nothing of the audit's SQL is asked for those.
"""

import json
import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extras import RealDictCursor
from rich.console import Console
from rich.table import Table

from leakage_pipeline.classification.wording import money
from leakage_pipeline.commands.audit import audit
from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.recovery import ledger, sending
from leakage_pipeline.recovery.stripe_writer import StripeWriter
from leakage_pipeline.review import people
from leakage_pipeline.settings import Settings, load_settings
from leakage_pipeline.simulator.billing_engine.account import Life
from leakage_pipeline.simulator.billing_engine.prices import exponent
from leakage_pipeline.simulator.demo import DEFAULT_AS_OF, demo_home, environment, make_room
from leakage_pipeline.simulator.random_company import RandomCompany, merge, random_company
from leakage_pipeline.simulator.second_month import (
    account_at,
    billed_additionally,
    carry_over,
    corrected,
)
from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount
from leakage_pipeline.simulator.stripe_server import Faults, StripeServer
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.server import ensure_running

LATER = timedelta(days=35)
"""From the first audit to the second: every monthly subscription has had an invoice by then."""
APPROVER = "demo"
_COMPANY_CUSTOMERS = 4
_CURRENCIES = ("eur", "gbp", "jpy", "krw", "kwd", "bhd")
_LIMITS = {"per_customer": 10**9, "per_run": 10**9, "per_day": 10**9, "error_pct": 100}
_POLICY = {"min_amount": 0, "action_mode": "approve", "action_limits": _LIMITS}
# A line this bad shows that nothing is sent twice.
_BAD_LINE = Faults(seed=3, rate_cut=0.1, rate_500=0.05)
_RATES_EVERY, _RATES = timedelta(days=5), 160


@dataclass(frozen=True)
class Sent:
    """What Stripe was sent: invoice items, meter events and credit notes.

    `gives_back` are the actions about overbilling: what they change is no revenue, whatever its
    sign. Under volume tiers less usage can cost more.
    """

    items: Sequence[JsonObject]
    events: Sequence[JsonObject]
    notes: Sequence[JsonObject]
    gives_back: frozenset[str]


def company_of(seeds: Sequence[int], second: datetime) -> RandomCompany:
    """Companies with leaks, as they stand a month after the first audit."""
    return merge(
        random_company(seed, leaks=True, customers=_COMPANY_CUSTOMERS, as_of=second)
        for seed in seeds
    )


def write_inputs(company: RandomCompany, directory: Path, as_of: datetime) -> None:
    """The files as they were at an instant, and a configuration that lets recovery act."""
    company.write(directory)
    seen = RandomCompany(company.seeds, tables=dict(company.tables), meters=company.meters)
    seen.tables["usage"] = [
        row for row in company.tables["usage"] if row["occurred_at"] <= as_of.timestamp()
    ]
    seen.write(directory)
    path = directory / "leakage.yaml"
    configuration = yaml.safe_load(path.read_text(encoding="utf-8"))
    configuration["sources"]["fx_rates"] = "fx_rates.csv"  # caps are in one currency
    path.write_text(json.dumps(configuration | {"policy": _POLICY}), encoding="utf-8")
    days = [as_of - _RATES_EVERY * step for step in range(_RATES)]
    rates = [f"{day:%Y-%m-%d},{currency},usd,1.1" for day in days for currency in _CURRENCIES]
    header = "rate_date,from_currency,to_currency,rate"
    (directory / "fx_rates.csv").write_text("\n".join([header, *rates]), encoding="utf-8")


def recover(conn: Connection, settings: Settings, server: StripeServer, now: datetime) -> Sent:
    """An approver releases the whole queue; it is sent again and again while answers are lost."""
    server.now = now
    writer = StripeWriter(server.api_key, server.base_url, first_delay=0.001)
    people.save(conn, APPROVER, "approver", secrets.token_urlsafe(), by=APPROVER, at=now)
    for action in ledger.read(conn, ("planned",)):
        if action.held_because is None:
            ledger.release(conn, action.action_id, by=APPROVER, at=now)
    server.set_faults(_BAD_LINE)
    for _ in range(3):
        sending.run(conn, settings.policy, writer, now)
    server.set_faults(Faults())
    for _ in range(2):
        sending.run(conn, settings.policy, writer, now)
    return Sent(
        items=[e for e in server.account.invoice_items if "leakage_action" in e["metadata"]],
        events=server.posted_meter_events,
        notes=[e for e in server.account.credit_notes if "leakage_action" in e["metadata"]],
        gives_back=frozenset(
            action.action_id
            for action in ledger.read(conn)
            if action.leakage_type.startswith("overbilled")
        ),
    )


def month_later(
    company: RandomCompany, sent: Sent, second: datetime
) -> tuple[list[Life], StripeAccount]:
    """The customers with what Stripe was sent, and the account that bills them."""
    after = corrected(company.lives, sent.items, sent.events)
    account = account_at(after, company.account, second)
    carry_over(account, sent.notes)
    return after, account


def booked(company: RandomCompany, sent: Sent, second: datetime) -> dict[str, Decimal]:
    """What Stripe's invoices come to more per customer, in currency units.

    Only by what asks for money; an event's identifier begins with its action's id.
    """
    asking = [
        event
        for event in sent.events
        if str(event["identifier"]).rpartition("-")[0] not in sent.gives_back
    ]
    asked = corrected(company.lives, sent.items, asking)
    return {
        before.buyer.customer_id: Decimal(billed_additionally(before, after, second)).scaleb(
            -exponent(before.buyer.currency)
        )
        for before, after in zip(company.lives, asked, strict=True)
    }


def run_two_months(
    *, customers: int, seed: int, as_of: datetime | None, console: Console, now: datetime
) -> None:
    """Simulate, audit, recover, bill a month, audit again, compare with the books.

    Args:
        customers: About how many; companies of four are put side by side.
        seed: The first company's; the same one gives the same companies.
        as_of: When the first audit runs; default a fixed Friday.
        console: Where everything is printed.
        now: The clock's time, for the names of log files.

    Raises:
        PermanentFailure: What came back is not what the books say.
    """
    first = as_of or DEFAULT_AS_OF
    second = first + LATER
    seeds = range(seed, seed + max(1, customers // _COMPANY_CUSTOMERS))
    console.print(f"Simulating {len(seeds)} companies of 4 customers ...", highlight=False)
    company, home = company_of(seeds, second), demo_home()
    account = account_at(company.lives, company.account, first)
    parameters = {"second_month_of": [seed, customers], "as_of": first.isoformat()}
    with StripeServer(account, now=first) as server, environment(home, server.base_url):
        write_inputs(company, home, first)
        settings = load_settings()
        make_room(settings, parameters)
        audit(settings, first, console, now=now, full_refresh=False)
        with _connected(settings) as conn:
            sent = recover(conn, settings, server, first + timedelta(hours=2))
    console.print(
        f"Approved and sent, over a line that breaks: {len(sent.items)} invoice items, "
        f"{len(sent.events)} meter events, {len(sent.notes)} credit notes. A month later ...",
        highlight=False,
    )
    _, later = month_later(company, sent, second)
    with StripeServer(later, now=second) as server, environment(home, server.base_url):
        write_inputs(company, home, second)
        settings = load_settings()
        audit(settings, second, console, now=now + timedelta(seconds=1), full_refresh=False)
        with _connected(settings) as conn:
            _compare(conn, company, sent, booked(company, sent, second), console)


def _compare(
    conn: Connection,
    company: RandomCompany,
    sent: Sent,
    books: dict[str, Decimal],
    console: Console,
) -> None:
    """Print what came back and what was given back, by currency; raise where the books differ."""
    currency_of = {life.buyer.customer_id: life.buyer.currency for life in company.lives}
    said: defaultdict[str, Decimal] = defaultdict(Decimal)
    paid: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in _rows(conn, "select * from marts.fct_revenue_recovered"):
        said[row["customer_id"]] += row["billed_amount"]
        paid[row["currency"]] += row["recovered_amount"]
    given: defaultdict[str, Decimal] = defaultdict(Decimal)
    statement = "select * from marts.fct_overbilling_corrected where action = 'credit_note'"
    for row in _rows(conn, statement):
        given[row["currency"]] += row["corrected_amount"]
    noted: defaultdict[str, Decimal] = defaultdict(Decimal)
    for note in sent.notes:
        net = note["subtotal"] - note["discount_amount"]
        noted[note["currency"]] += Decimal(net).scaleb(-exponent(note["currency"]))
    table = Table(title="The second month", title_justify="left")
    table.add_column("currency")
    for name in ("billed additionally", "Stripe's books", "paid", "given back", "credit notes"):
        table.add_column(name, justify="right")
    for currency in sorted(
        {currency_of[each] for each, amount in books.items() if amount} | {*given}
    ):
        mine = [each for each in books if currency_of[each] == currency]
        table.add_row(
            currency.upper(),
            money(sum((said[each] for each in mine), Decimal(0)), currency),
            money(sum((books[each] for each in mine), Decimal(0)), currency),
            *(money(each[currency], currency) for each in (paid, given, noted)),
        )
    console.print(table)
    wrong = [each for each, amount in books.items() if said[each] != amount]
    if wrong or dict(given) != {key: value for key, value in noted.items() if value}:
        message = f"recovery and the books disagree, for {', '.join(wrong[:5]) or 'credit notes'}"
        raise PermanentFailure(message)
    console.print("To the cent, for every customer; nobody was charged twice.", highlight=False)


@contextmanager
def _connected(settings: Settings) -> Iterator[Connection]:
    connection = connect(ensure_running(settings))
    try:
        yield connection
    finally:
        connection.close()


def _rows(conn: Connection, statement: str) -> list[dict[str, Any]]:
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(statement)
        found = [dict(row) for row in cursor.fetchall()]
    conn.commit()
    return found
