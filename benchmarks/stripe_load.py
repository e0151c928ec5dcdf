"""Measures the loads from Stripe: objects a second, and requests against the fewest there can be.

The fewest are full pages: of every list for a first load; for a night of the events, and of the
objects that have changed if only Stripe could list those. The server runs in a process of its own.
Usage: python -m benchmarks.stripe_load [--customers N] [--months N]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path

import psycopg2.extensions

from leakage_pipeline.simulator import stripe_objects as so
from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount
from leakage_pipeline.simulator.stripe_server import DEFAULT_API_KEY, StripeServer
from leakage_pipeline.stripe_billing import load, load_payments
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.events import load_events
from leakage_pipeline.stripe_billing.homes import HOMES
from leakage_pipeline.warehouse import schemas
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.embedded import Cluster

_AS_OF = datetime(2026, 11, 20, 6, tzinfo=UTC)
_NIGHT = _AS_OF + timedelta(days=1)
_MONTH, _PAGE = 30 * 86_400, 100
_LOADS = (
    *(load_events, load.load_subscriptions, load.load_invoices, load.load_credit_notes),
    *(load.load_catalog, load.load_customers, load.load_discounts, load.load_meters),
    *(load.load_schedules, load_payments.load_payments, load_payments.load_payment_methods),
    load_payments.load_balance_transactions,
)
_LISTS = ("customers", "products", "prices", "subscriptions", "invoices", "charges")
# Two lists of prices and of meters, and one of each other kind, however empty.
_EMPTY_LISTS = 13
# What is looked at every night: events, waiting items, drafts, payments, coupons, meters.
_NIGHTLY_LISTS = 15
_SHARE = 100  # one customer in so many changes


class Company:
    """Customers with one subscription each, an invoice of three lines a month, and its payment."""

    def __init__(self, customers: int, months: int) -> None:
        self.account = StripeAccount()
        self._months = months
        now = int(_AS_OF.timestamp())
        self._prices = [
            so.price(f"price_{n}", product="prod_1", currency="usd", created=now, unit_amount=1000)
            for n in range(3)
        ]
        self.account.prices += self._prices
        self.account.products.append(so.product("prod_1", name="Pro", created=now))
        for number in range(customers):
            self._add(number, now)

    def _add(self, number: int, now: int) -> None:
        name = f"cus_{number:06d}"
        began = now - self._months * _MONTH - number * 61 % _MONTH
        self.account.customers.append(so.customer(name, created=began, email=f"{name}@a.example"))
        items = [
            so.subscription_item(
                f"si_{number:06d}_{place}",
                price=price,
                subscription=f"sub_{number:06d}",
                created=began,
                current_period_start=now - 86_400,
                current_period_end=now + _MONTH,
            )
            for place, price in enumerate(self._prices)
        ]
        self.account.subscriptions.append(
            so.subscription(
                f"sub_{number:06d}",
                customer=name,
                currency="usd",
                created=began,
                billing_cycle_anchor=began,
                items=items,
            )
        )
        for month in range(1, self._months + 1):
            self.invoice(number, month, began + month * _MONTH)

    def invoice(self, number: int, month: int, at: int) -> None:
        """An invoice with its charge and its payment."""
        name = f"{number:06d}_{month:02d}"
        lines = [
            so.line(
                f"il_{name}_{place}",
                invoice=f"in_{name}",
                amount=1000,
                currency="usd",
                period_start=at,
                period_end=at + _MONTH,
                price=price,
                subscription=f"sub_{number:06d}",
                subscription_item=f"si_{number:06d}_{place}",
            )
            for place, price in enumerate(self._prices)
        ]
        invoice = so.invoice(
            f"in_{name}",
            customer=f"cus_{number:06d}",
            currency="usd",
            created=at,
            lines=lines,
            subscription=f"sub_{number:06d}",
        )
        self.account.invoices.append(invoice)
        self.account.charges.append(
            so.charge(
                f"ch_{name}",
                customer=f"cus_{number:06d}",
                amount=3000,
                currency="usd",
                created=at,
                payment_intent=f"pi_{name}",
            )
        )
        self.account.invoice_payments.append(
            so.invoice_payment(
                f"inpay_{name}", invoice=invoice, created=at, payment_intent=f"pi_{name}"
            )
        )

    def night(self) -> tuple[int, int]:
        """One customer in a hundred: other metadata and quantity, one invoice paid, one more.

        Returns:
            Objects that have changed, and the events that tell of it.
        """
        at = int(_NIGHT.timestamp()) - 3600
        told: list[tuple[str, JsonObject]] = []
        account, before = self.account, len(self.account.invoices)
        per_customer = before // len(account.customers)
        for number in range(0, len(account.customers), _SHARE):
            account.customers[number]["metadata"] = {"night": "1"}
            account.subscriptions[number]["metadata"] = {"night": "1"}
            newest = account.invoices[(number + 1) * per_customer - 1]
            newest["metadata"] = {"night": "1"}
            self.invoice(number, self._months + 1, at - number % 3600)
            told += [
                ("customer.updated", account.customers[number]),
                ("customer.subscription.updated", account.subscriptions[number]),
                ("invoice.updated", newest),
                ("invoice.created", account.invoices[-1]),
                ("invoice.paid", account.invoices[-1]),
                ("charge.succeeded", account.charges[-1]),
                ("invoice_payment.paid", account.invoice_payments[-1]),
            ]
        account.events += [
            so.event(f"evt_{place}", type=kind, created=at, data_object=body)
            for place, (kind, body) in enumerate(told)
        ]
        changed = {(body["object"], body["id"]) for _, body in told}
        return len(changed), len(told)


def serve(customers: int, months: int) -> None:
    """Serve the company; a line on standard input makes it night, the end of input ends it."""
    company = Company(customers, months)
    with StripeServer(company.account, now=_AS_OF) as server:
        print(server.base_url, flush=True)
        for _ in sys.stdin:
            changed, events = company.night()
            server.now = _NIGHT
            server.load(company.account)
            print(changed, events, flush=True)


def _timed(
    reader: StripeReader, conn: psycopg2.extensions.connection, as_of: datetime, how: Refresh
) -> tuple[float, int]:
    before, began = reader.requests.total(), time.monotonic()
    for one in _LOADS:
        one(reader, conn, as_of, how)
    return time.monotonic() - began, reader.requests.total() - before


def _stored(conn: psycopg2.extensions.connection) -> dict[str, int]:
    counts = {}
    with conn.cursor() as cursor:
        for name in (*_LISTS, "invoice_payments"):
            cursor.execute(f"select count(*) from raw_stripe.{HOMES[name].table}")  # noqa: S608 - ours
            counts[name] = (cursor.fetchone() or (0,))[0]
    conn.rollback()
    return counts


def _row(what: str, seconds: float, objects: int, requests: int, fewest: int) -> None:
    print(
        f"| {what} | {seconds:.1f} s | {objects:,} | {objects / seconds:,.0f} | {requests:,} "
        f"| {fewest:,} | {requests / fewest:.2f} |",
        flush=True,
    )


def measure(customers: int, months: int, home: Path) -> None:
    """Print the table."""
    command = [sys.executable, "-m", "benchmarks.stripe_load", "--serve"]
    command += [f"--customers={customers}", f"--months={months}"]
    cluster = Cluster(home)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        if server.stdin is None or server.stdout is None:
            return
        address = server.stdout.readline().strip()
        conn = connect(cluster.ensure_running())
        schemas.create_all(conn)
        how = Refresh(incremental=True, source="benchmark")
        reader = StripeReader(DEFAULT_API_KEY, address, rate_limit=500.0)
        print("| load | time | objects | objects a second | requests | fewest | ratio |")
        print("|---|---|---|---|---|---|---|")
        seconds, requests = _timed(reader, conn, _AS_OF, how)
        counts = _stored(conn)
        fewest = sum(ceil(count / _PAGE) for count in counts.values()) + _EMPTY_LISTS
        _row("first, everything", seconds, sum(counts.values()), requests, fewest)
        seconds, requests = _timed(reader, conn, _AS_OF, how)
        _row("again, nothing has changed", seconds, 0, requests, _NIGHTLY_LISTS)
        server.stdin.write("night\n")
        server.stdin.flush()
        changed, events = map(int, server.stdout.readline().split())
        seconds, requests = _timed(reader, conn, _NIGHT, how)
        fewest = ceil(changed / _PAGE) + ceil(events / _PAGE) + _NIGHTLY_LISTS
        _row("a night, 1 % has changed", seconds, changed, requests, fewest)
        counts = _stored(conn)
        seconds, requests = _timed(reader, conn, _NIGHT, Refresh())
        fewest = sum(ceil(count / _PAGE) for count in counts.values()) + _EMPTY_LISTS
        _row("the same night, everything", seconds, sum(counts.values()), requests, fewest)
        if counts != _stored(conn):
            print("The night left other rows than a load of everything.")
        conn.close()
        server.stdin.close()
        server.wait(30)
    cluster.stop()


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--months", type=int, default=13)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.customers, options.months)
        return
    with tempfile.TemporaryDirectory(prefix="leakage-benchmark-") as folder:
        measure(options.customers, options.months, Path(folder))


if __name__ == "__main__":
    main()
