"""A night that prices only what changed leaves the same tables as one that prices everybody."""

import copy
import csv
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from leakage_pipeline.simulator.company import Company, generate
from leakage_pipeline.simulator.company_files import USAGE_SCHEMA
from leakage_pipeline.simulator.stripe_changes import events_between
from leakage_pipeline.simulator.stripe_server import StripeServer
from tests.support.audit import audit, killed_audit, rows
from tests.support.kept_tables import differences, tables

FIRST = datetime(2026, 11, 20, 6, tzinfo=UTC)
# Long enough for periods to end, drafts to be due and graces to run out in between.
SECOND = FIRST + timedelta(days=2, hours=7)
SEED, CUSTOMERS = 17, 60


@pytest.mark.skipif(
    not os.environ.get("NIGHT_AUDITS"),
    reason="four audits in a row; test_nightly_audit has a night of changes in every run",
)
def test_a_night_of_changes_equals_a_full_one_also_after_a_kill(
    tmp_path: Path, database_url: str
) -> None:
    """A first night, one of changes that is killed and repeated; then everything anew.

    Between the nights time passes for all, and a few change: nobody else is priced.
    """
    company = generate(SEED, CUSTOMERS, FIRST)
    lay_down(company, tmp_path)
    with StripeServer(company.account, now=FIRST) as server:
        done = audit(tmp_path, database_url, server, FIRST.isoformat())
        assert done.code == 0, done.out + done.err
        assert _told(database_url) == "the first audit"

        before = copy.deepcopy(company.account)
        change(company, tmp_path, a_leak(database_url))
        # Stripe, too, is asked only for what has changed.
        told_at = int((SECOND - timedelta(hours=1)).timestamp())
        company.account.events += events_between(before, company.account, told_at)
        server.load(company.account)
        server.now = SECOND
        assert killed_audit(
            tmp_path,
            database_url,
            server,
            SECOND,
            seconds=25,
            has_begun=lambda: bool(
                rows(database_url, "select 1 from night.build where not is_done and not is_full")
            ),
        )
        done = audit(tmp_path, database_url, server, SECOND.isoformat())
        assert done.code == 0, done.out + done.err
        assert "an audit that was cut off or repeated" in done.out
        priced = rows(database_url, "select customer_id from night.customers")
        # Half of them have findings, and of a third an instant passes in these two days.
        assert 0 < len(priced) < CUSTOMERS * 3 / 4, done.out
        kept = tables(database_url)
        full = audit(tmp_path, database_url, server, SECOND.isoformat(), "--full-refresh")
        assert full.code == 0, full.out + full.err
    assert not differences(kept, tables(database_url))


def lay_down(company: Company, directory: Path) -> None:
    """Write the company's files, with the policy that prices only what changed."""
    company.write(directory)
    config = yaml.safe_load((directory / "leakage.yaml").read_text("utf-8"))
    config["policy"] = {**config.get("policy", {}), "price_changed_only": True}
    (directory / "leakage.yaml").write_text(yaml.safe_dump(config), "utf-8")


def add_exception(directory: Path, covered: dict[str, Any]) -> None:
    """An exception of this customer and leakage type, in force for ever."""
    path = directory / "data/exceptions.csv"
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        approved, names = list(reader), list(reader.fieldnames or ())
    more = covered | {"exception_id": "exc_new", "reason": "a pilot", "approved_by": "cfo"}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows([*approved, more | {"valid_from": "2020-01-01"}])


def a_leak(url: str) -> dict[str, Any]:
    """Customer and type of some leak that was found."""
    return rows(
        url,
        "select customer_id, leakage_type from marts.fct_leakage_detections"
        " where direction = 'leak' and customer_id is not null order by detection_id",
    )[0]


def change(company: Company, directory: Path, covered: dict[str, Any]) -> None:
    """A seat more, customers who leave and come, an invoice paid, terms, accounts, usage."""
    account = company.account
    active = [item for item in account.subscriptions if item["status"] == "active"]
    # One more unit of a plan that is sold by the unit already: that concerns nobody else.
    item = next(
        entry
        for subscription in active
        for entry in subscription["items"]["data"]
        if (entry.get("quantity") or 0) > 1
    )
    item["quantity"] += 1
    ended = int((FIRST + timedelta(days=1)).timestamp())
    active[3].update(status="canceled", canceled_at=ended, ended_at=ended)
    open_invoice = next(item for item in account.invoices if item["status"] == "open")
    open_invoice.update(status="paid", amount_paid=open_invoice["amount_due"], amount_remaining=0)
    _clone(company, active[5]["customer"])
    rewrite(directory / "data/contracts.csv", 0, {"discount_percent": "7"})
    accounts = directory / "data/accounts.csv"
    rewrite(accounts, 5, {"seats": "99"}, as_new=True)
    rewrite(accounts, 8, None)
    add_exception(directory, covered)
    use(directory, [item["id"] for item in account.customers[6:8]], SECOND - timedelta(hours=20))


def _clone(company: Company, customer_id: str) -> None:
    """A new customer: the same as another one, with ids of their own."""
    account = company.account
    (customer,) = [item for item in account.customers if item["id"] == customer_id]
    subscriptions = [item for item in account.subscriptions if item["customer"] == customer_id]
    invoices = [item for item in account.invoices if item["customer"] == customer_id]
    text = json.dumps([customer, subscriptions, invoices], default=str)
    owned = {customer_id}
    for item in (*subscriptions, *invoices):
        owned.add(item["id"])
        inner = item["items"]["data"] if "items" in item else item["lines"]["data"]
        owned.update(entry["id"] for entry in inner)
    for name in sorted(owned, key=len, reverse=True):
        text = text.replace(f'"{name}"', f'"{name}_new"')
    new, more_subscriptions, more_invoices = json.loads(text)
    new["email"] = "new@customer.example"
    account.customers.append(new)
    account.subscriptions.extend(more_subscriptions)
    account.invoices.extend(more_invoices)


def rewrite(path: Path, index: int, values: dict[str, str] | None, *, as_new: bool = False) -> None:
    """Change a row of a file, drop it (values is None), or add a changed copy of it."""
    with path.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    names = list(table[0])
    if values is None:
        dropped = table[index]["account_id"]
        table = [row for row in table if row["account_id"] != dropped]
    else:
        changed: dict[str, Any] = copy.copy(table[index]) | values
        if "updated_at" in changed:
            changed["updated_at"] = (SECOND - timedelta(days=1)).isoformat()
        table = [*table, changed] if as_new else [*table[:index], changed, *table[index + 1 :]]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(table)


def use(directory: Path, customers: list[str], at: datetime) -> None:
    """A new file of the usage log with one event of each customer."""
    folder = directory / "data/usage" / f"date={at:%Y-%m-%d}"
    folder.mkdir(parents=True, exist_ok=True)
    events = [
        {
            "event_id": f"evt_next_{customer}_{at:%j}",
            "customer_id": customer,
            "meter": "api_calls",
            "value": 1234,
            "occurred_at": at,
            "source": "gateway_eu",
            "received_at": at + timedelta(minutes=1),
        }
        for customer in customers
    ]
    pq.write_table(pa.Table.from_pylist(events, schema=USAGE_SCHEMA), folder / "part-9.parquet")


def _told(url: str) -> str:
    """Why the newest build priced everybody; empty when it did not."""
    (build,) = rows(url, "select reason from night.build")
    return str(build["reason"])
