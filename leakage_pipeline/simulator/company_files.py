"""The files that the simulated company hands to an audit, and its leakage.yaml.

Usage in daily parquet parts with repeated, late and unreadable rows; contracts, price book,
accounts and rates as CSV. Writes files, decides nothing about billing.
"""

import csv
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from leakage_pipeline.simulator.catalog import METERS, UsageTerm
from leakage_pipeline.simulator.customers import Approval, Contract, Customer, World
from leakage_pipeline.simulator.history import History
from leakage_pipeline.simulator.invoicing_periods import add_months, epoch
from leakage_pipeline.simulator.pricing import to_major
from leakage_pipeline.simulator.usage import DAY, MICROS, MeterUsage, UsageEvent

REPEATED_SHARE = 0.01
BAD_ROWS = 12
RATES = {"eur": Decimal("1.08"), "jpy": Decimal("0.0066")}
USAGE_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("customer_id", pa.string()),
        ("meter", pa.string()),
        ("value", pa.decimal128(18, 4)),
        ("occurred_at", pa.timestamp("us", tz="UTC")),
        ("source", pa.string()),
        ("received_at", pa.timestamp("us", tz="UTC")),
    ]
)


@dataclass(frozen=True)
class UsageRow:
    """One row of the log as it lies in the file of `day` (days since 1970)."""

    day: int
    event_id: str | None
    customer_id: str
    meter: str
    value: Decimal
    occurred_at: int
    source: str
    received_at: int
    offset: timedelta | None = None
    """The offset in which the row is written, in a file of another source; None for UTC."""


def usage_rows(world: World, histories: Sequence[History]) -> list[UsageRow]:
    """Every row of the usage log: all events, some of them twice, and some unreadable ones."""
    rng = world.rng("log")
    today = epoch(world.as_of) // DAY
    rows: list[UsageRow] = []
    for history in histories:
        offset = history.customer.log_offset
        for customer_id, usage in _logged(history):
            for index in range(len(usage.periods)):
                for event in usage.logged(index):
                    row = _row(customer_id, usage.meter.name, event, offset)
                    rows.append(row)
                    if rng.random() < REPEATED_SHARE:
                        # The same event again, in the next day's file.
                        rows.append(replace(row, day=min(row.day + 1, today)))
    return rows + bad_rows(world, rows)


def _fields(row: UsageRow) -> tuple[Any, ...]:
    return (
        *(row.day, row.event_id, row.customer_id, row.meter, row.value),
        *(row.occurred_at, row.source, row.received_at),
    )


def _logged(history: History) -> Iterator[tuple[str, MeterUsage]]:
    """Everything a customer's history leaves in the log, with the id that stands there."""
    customer = history.customer
    own = customer.account.account_id if customer.logs_account_id else customer.customer_id
    yield from ((own, usage) for usage in (*history.usage.values(), *history.after_end.values()))
    if history.stray is not None and customer.stray_usage is not None:
        yield customer.stray_usage[0], history.stray


def _row(customer_id: str, meter: str, event: UsageEvent, offset: timedelta | None) -> UsageRow:
    return UsageRow(
        day=event.at // MICROS // DAY,
        event_id=event.event_id,
        customer_id=customer_id,
        meter=meter,
        value=event.value,
        occurred_at=event.at,
        source=event.source,
        received_at=event.received_at,
        offset=offset,
    )


def bad_rows(world: World, rows: Sequence[UsageRow]) -> list[UsageRow]:
    """Rows that nobody can count: a negative value, no event id, an instant after `as_of`."""
    rng = world.rng("bad rows")
    future = epoch(world.as_of + timedelta(days=2)) * MICROS
    broken: list[UsageRow] = []
    for number in range(min(BAD_ROWS, len(rows))):
        good = rng.choice(rows)
        day, _, customer_id, meter, value, at, source, received = _fields(good)
        event_id: str | None = f"evt_bad_{world.seed}_{number}"
        if number % 3 == 0:
            value = -value
        elif number % 3 == 1:
            event_id = None
        else:
            at = received = future
        broken.append(UsageRow(day, event_id, customer_id, meter, value, at, source, received))
    return broken


def write_usage(directory: Path, rows: Iterable[UsageRow]) -> None:
    """Write the log, one parquet part per UTC day; what was logged in local time as one CSV."""
    # Days of an earlier, larger company would otherwise stay and be read as this one's.
    shutil.rmtree(directory, ignore_errors=True)
    days: dict[int, list[UsageRow]] = {}
    local: list[UsageRow] = []
    for row in rows:
        if row.offset is None:
            days.setdefault(row.day, []).append(row)
        else:
            local.append(row)
    _write_local(directory.with_name("usage_local.csv"), local)
    for day, members in sorted(days.items()):
        name = datetime.fromtimestamp(day * DAY, UTC).date().isoformat()
        folder = directory / f"date={name}"
        folder.mkdir(parents=True, exist_ok=True)
        columns = [
            pa.array([getattr(row, column.name) for row in members], column.type)
            for column in USAGE_SCHEMA
        ]
        pq.write_table(
            pa.Table.from_arrays(columns, schema=USAGE_SCHEMA), folder / "part-0.parquet"
        )


def _write_local(path: Path, rows: Sequence[UsageRow]) -> None:
    """Write events as a producer does that knows its local time alone."""

    def local(micros: int, offset: timedelta) -> str:
        instant = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)
        return instant.astimezone(timezone(offset)).isoformat()

    names = [column.name for column in USAGE_SCHEMA]
    written = [
        {
            **{name: getattr(row, name) for name in names},
            "occurred_at": local(row.occurred_at, row.offset),
            "received_at": local(row.received_at, row.offset),
        }
        for row in rows
        if row.offset is not None
    ]
    _write_csv(path, written, names)


def rate_json(term: UsageTerm, currency: str) -> dict[str, Any]:
    """A rate in the words of `overage_rates`: currency units as text."""
    rate = term.rate
    if rate.kind in {"per_unit", "package"}:
        rounding = rate.round_mode if rate.kind == "package" else "none"
        price = _plain(to_major(rate.unit, currency))
        return {"price": price, "per": rate.divide_by, "rounding": rounding}
    tiers = []
    for tier in rate.tiers:
        entry = {"up_to": tier.up_to, "unit_amount": _plain(to_major(tier.unit, currency))}
        if tier.flat is not None:
            entry["flat_amount"] = _plain(to_major(tier.flat, currency))
        tiers.append(entry)
    return {"tiers_mode": rate.kind, "tiers": tiers}


def overage_json(terms: Sequence[UsageTerm], currency: str) -> str:
    """The `overage_rates` column; packages that round up use the shorthand `<meter>_per_<n>`."""
    rates: dict[str, Any] = {}
    for term in terms:
        if term.rate.kind == "package" and term.rate.round_mode == "up" and not term.included:
            price = to_major(term.rate.unit, currency)
            rates[f"{term.meter}_per_{term.rate.divide_by}"] = float(price)
        else:
            rates[term.meter] = rate_json(term, currency)
    return json.dumps(rates) if rates else ""


def included_json(terms: Sequence[UsageTerm], without_rate: Sequence[tuple[str, int]] = ()) -> str:
    """The `included_usage` column; empty when the terms include nothing."""
    included = {term.meter: term.included for term in terms if term.included} | dict(without_rate)
    return json.dumps(included) if included else ""


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _write_csv(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def contract_row(contract: Contract, customer: Customer) -> dict[str, Any]:
    """A contract as a row of contracts.csv; None becomes an empty cell."""
    threshold = contract.threshold
    return {
        "contract_id": contract.contract_id,
        "customer_id": customer.customer_id,
        "plan": contract.plan,
        "base_price": contract.base_price,
        "currency": contract.currency,
        "interval": contract.interval,
        "included_usage": included_json(contract.terms, contract.included),
        "overage_rates": overage_json(contract.terms, contract.currency),
        "grace_percent": contract.grace_percent,
        "discount_percent": contract.discount_percent,
        "discount_reason": contract.discount_reason,
        "discount_threshold": (
            json.dumps({"meter": threshold[0], "min": threshold[1]}) if threshold else ""
        ),
        "minimum_commitment": contract.minimum_commitment,
        "grandfathered": str(contract.grandfathered).lower(),
        "effective_date": contract.effective_date.isoformat(),
        "end_date": contract.end_date.isoformat() if contract.end_date else "",
    }


def _price_book_rows(world: World) -> list[dict[str, Any]]:
    return [
        {
            "plan": row.plan.capitalize(),
            "currency": row.currency,
            "interval": row.interval,
            "base_price": row.base_price,
            "included_usage": included_json(row.terms),
            "overage_rates": overage_json(row.terms, row.currency),
            "features": json.dumps(row.features),
            "seats_included": row.seats_included,
            "effective_from": row.effective_from.isoformat(),
        }
        for row in world.catalog.rows
    ]


def _account_row(customer: Customer) -> dict[str, Any]:
    account = customer.account
    return {
        "account_id": account.account_id,
        "customer_id": customer.customer_id,
        "plan": account.plan,
        "status": account.status,
        "access_enabled": str(account.access_enabled).lower(),
        "seats": account.seats,
        "features": json.dumps(account.features),
        "updated_at": account.updated_at.isoformat(),
        "health_score": account.health_score,
        "churn_risk": account.churn_risk,
        "owner_email": f"owner{customer.index % 5}@acme.example",
    }


def _fx_rows(world: World) -> list[dict[str, Any]]:
    """A rate every third day: always one that is young enough, never one for every day."""
    rng = world.rng("fx")
    day = add_months(world.as_of, -14).date()
    rows: list[dict[str, Any]] = []
    while day <= world.as_of.date():
        rows.extend(
            {
                "rate_date": day.isoformat(),
                "from_currency": currency,
                "to_currency": "usd",
                "rate": (rate * rng.randint(970, 1030) / 1000).quantize(Decimal("0.000001")),
            }
            for currency, rate in RATES.items()
        )
        day += timedelta(days=3)
    return rows


def _exception_row(customer: Customer, approval: Approval) -> dict[str, Any]:
    return {
        "exception_id": f"exc_{customer.customer_id[4:]}",
        "customer_id": customer.customer_id,
        "leakage_type": approval.leakage_type,
        "reason": approval.reason,
        "approved_by": "Head of finance",
        "valid_from": customer.start.date().isoformat(),
        "valid_until": "",
    }


def write_business(directory: Path, world: World, histories: Sequence[History]) -> None:
    """Write contracts, price book, accounts, rates and approved exceptions."""
    customers = [history.customer for history in histories]
    contracts = [contract_row(c.contract, c) for c in customers if c.contract is not None]
    exceptions = [_exception_row(c, c.approval) for c in customers if c.approval is not None]
    blank = Contract("", "", "usd", world.as_of.date())
    nothing = Approval("", "", "")
    tables = {
        "contracts.csv": (contracts, list(contract_row(blank, customers[0]))),
        "price_book.csv": (_price_book_rows(world), None),
        "accounts.csv": ([_account_row(c) for c in customers if c.is_in_accounts], None),
        "fx_rates.csv": (_fx_rows(world), None),
        "exceptions.csv": (exceptions, list(_exception_row(customers[0], nothing))),
    }
    for name, (rows, columns) in tables.items():
        _write_csv(directory / name, rows, columns or list(rows[0]))


def configuration() -> dict[str, Any]:
    """leakage.yaml of the company; paths are relative to it."""
    return {
        "company": "Acme Cloud",
        "reporting_currency": "usd",
        "sources": {
            "usage": [
                {"name": "gateway", "kind": "files", "uri": "data/usage/**/*.parquet"},
                {"name": "abroad", "kind": "files", "uri": "data/usage_local.csv"},
            ],
            "contracts": "data/contracts.csv",
            "price_book": "data/price_book.csv",
            "accounts": "data/accounts.csv",
            "fx_rates": "data/fx_rates.csv",
            "exceptions": "data/exceptions.csv",
        },
        "meters": {
            meter.name: {"stripe_event_name": meter.event_name} for meter in METERS.values()
        },
    }


def write_configuration(path: Path) -> None:
    """Write leakage.yaml."""
    path.write_text(yaml.safe_dump(configuration(), sort_keys=False), encoding="utf-8")
