"""Customers whose last period was billed too low, and one whose running usage is not metered."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.policy import Policy
from leakage_pipeline.recovery import ledger
from leakage_pipeline.recovery.corrections import plan_corrections
from leakage_pipeline.recovery.ledger import Action
from leakage_pipeline.simulator import stripe_objects as so
from leakage_pipeline.simulator.stripe_server import StripeServer
from tests.unit.publishing import sample

AS_OF = sample.AS_OF
NOW = AS_OF + timedelta(hours=3)
START = datetime(2026, 10, 1, 12, tzinfo=UTC)
END = datetime(2026, 11, 1, 12, tzinfo=UTC)
NEXT = datetime(2026, 12, 1, 12, tzinfo=UTC)
METER = "mtr_calls"
CUSTOMERS = 6

_LANES = """
    create table marts.fct_correction_lanes (
        detection_id text, lane text, held_because text, leakage_type text, direction text,
        customer_id text, subscription_id text, charge_id text, meter text, phase text,
        period_start timestamptz, period_end timestamptz, currency text, currency_exponent int,
        leakage_amount numeric, minor_amount bigint, reporting_amount numeric, confidence numeric,
        priority_score numeric,
        description text, evidence jsonb, tax_behavior text, meter_id text,
        stripe_event_name text, formula text, customer_event_key text, value_event_key text,
        summary_start timestamptz, summary_end timestamptz, metered_before numeric,
        metered_after numeric, quantity_change numeric, occurred_at timestamptz,
        subscription_status text, credited_invoice_id text, amount_remaining bigint,
        credit_lines jsonb, credit_total bigint, post_payment_amount bigint
    );
    insert into ops.reviewers values
        ('ann', 'approver', 'x', true, now()), ('rob', 'reviewer', 'x', true, now());
"""


def seconds(instant: datetime) -> int:
    """Epoch seconds."""
    return int(instant.timestamp())


def account() -> so.StripeAccount:
    """Every customer's subscription, its finalised invoice, and a meter with 60 events' worth."""
    made = so.StripeAccount()
    made.products.append(so.product("prod_pro", name="Pro", created=seconds(START)))
    made.meters.append(so.meter(METER, event_name="calls", created=seconds(START)))
    licence = so.price(
        "price_pro", product="prod_pro", currency="usd", created=seconds(START), unit_amount=9900
    )
    metered = so.price(
        "price_calls",
        product="prod_pro",
        currency="usd",
        created=seconds(START),
        unit_amount=10,
        usage_type="metered",
        meter=METER,
    )
    made.prices.extend((licence, metered))
    for number in range(CUSTOMERS):
        _add_customer(made, f"cus_{number}", licence, metered)
    return made


def _add_customer(made: so.StripeAccount, customer: str, *prices: dict[str, Any]) -> None:
    subscription = f"sub_{customer}"
    made.customers.append(
        so.customer(customer, created=seconds(START), name=customer, currency="usd")
    )
    made.subscriptions.append(
        so.subscription(
            subscription,
            customer=customer,
            currency="usd",
            created=seconds(START),
            start_date=seconds(START),
            billing_cycle_anchor=seconds(START),
            items=[
                so.subscription_item(
                    f"si_{customer}_{price['id']}",
                    subscription=subscription,
                    price=price,
                    created=seconds(START),
                    current_period_start=seconds(END),
                    current_period_end=seconds(NEXT),
                    quantity=None if price["recurring"]["meter"] else 1,
                )
                for price in prices
            ],
        )
    )
    made.invoices.append(
        so.invoice(
            f"in_{customer}",
            customer=customer,
            currency="usd",
            created=seconds(START),
            subscription=subscription,
            finalized_at=seconds(START) + 3600,
            lines=[
                so.line(
                    f"il_{customer}",
                    invoice=f"in_{customer}",
                    amount=9900,
                    currency="usd",
                    period_start=seconds(START),
                    period_end=seconds(END),
                    price=prices[0],
                    subscription=subscription,
                    subscription_item=f"si_{customer}_price_pro",
                )
            ],
        )
    )
    made.meter_events.append(
        so.meter_event(
            "calls", customer=customer, value=60, timestamp=seconds(END) + 600, identifier=customer
        )
    )


def create_marts(conn: Connection) -> None:
    """Empty marts, the bridge of every customer's periods, the people."""
    sample.create_marts(conn)
    with conn.cursor() as cursor:
        cursor.execute(_LANES)
        cursor.execute("delete from raw_business.audit_settings")
        cursor.execute(
            "insert into raw_business.audit_settings (singleton, as_of, company,"
            " reporting_currency) values (1, %s, 'Acme', 'usd')",
            (AS_OF,),
        )
    conn.commit()
    for number in range(CUSTOMERS):
        for start, end in ((START, END), (END, NEXT)):
            row = sample.bridge_row(f"cus_{number}", end, "149.00", price_gap_amount="50.00")
            row |= {"subscription_id": f"sub_cus_{number}", "period_start": start}
            sample.insert(conn, "marts.fct_expected_vs_billed", [row])


def owed(number: int = 0, **other: Any) -> dict[str, Any]:
    """A finding of 50.00 about customer `number`'s last period, as the audit offers it."""
    row = {
        "detection_id": f"d{number}",
        "lane": "invoice_item",
        "held_because": None,
        "leakage_type": "outdated_pricing",
        "direction": "leak",
        "customer_id": f"cus_{number}",
        "subscription_id": f"sub_cus_{number}",
        "charge_id": f"charge_{number}",
        "meter": None,
        "phase": "closed",
        "period_start": START,
        "period_end": END,
        "currency": "usd",
        "currency_exponent": 2,
        "leakage_amount": Decimal("50.00"),
        "minor_amount": 5000,
        "reporting_amount": Decimal("50.00"),
        "confidence": Decimal("0.95"),
        "priority_score": Decimal(28),
        "description": "Billed 99.00 instead of 149.00.",
        "evidence": {"charges": [{"invoice_ids": [f"in_cus_{number}"]}]},
        **dict.fromkeys(
            (
                *("tax_behavior", "meter_id", "stripe_event_name", "formula"),
                *("customer_event_key", "value_event_key", "summary_start", "summary_end"),
                *("metered_before", "metered_after", "quantity_change", "occurred_at"),
                *("subscription_status", "credited_invoice_id", "amount_remaining"),
                *("credit_lines", "credit_total", "post_payment_amount"),
            )
        ),
    }
    return row | other


def unmetered(number: int = 0, **other: Any) -> dict[str, Any]:
    """40 calls of the running period that the meter, at 60, does not know."""
    return owed(
        number,
        **{
            "detection_id": f"m{number}",
            "lane": "meter_event",
            "leakage_type": "unreported_usage",
            "meter": "calls",
            "phase": "open",
            "period_start": END,
            "period_end": NEXT,
            "leakage_amount": Decimal("4.00"),
            "reporting_amount": Decimal("4.00"),
            "meter_id": METER,
            "stripe_event_name": "calls",
            "formula": "sum",
            "customer_event_key": "stripe_customer_id",
            "value_event_key": "value",
            "summary_start": END,
            "summary_end": AS_OF,
            "metered_before": Decimal(60),
            "metered_after": Decimal(100),
            "quantity_change": Decimal(40),
            "occurred_at": END + timedelta(days=3),
            "evidence": {},
            **other,
        },
    )


def overbilled(number: int = 0, **other: Any) -> dict[str, Any]:
    """Customer `number` was billed 20.00 too much on the invoice of its last period."""
    return owed(
        number,
        **{
            "detection_id": f"o{number}",
            "lane": "credit_note",
            "leakage_type": "overbilled_price",
            "direction": "overbilling",
            "leakage_amount": Decimal("20.00"),
            "minor_amount": 2000,
            "reporting_amount": Decimal("20.00"),
            "subscription_status": "active",
            "credited_invoice_id": f"in_cus_{number}",
            "amount_remaining": 0,
            "credit_lines": [
                {
                    "type": "invoice_line_item",
                    "invoice_line_item": f"il_cus_{number}",
                    "amount": 2000,
                }
            ],
            "credit_total": 2000,
            "post_payment_amount": 2000,
            **other,
        },
    )


def offer(
    conn: Connection,
    *rows: Mapping[str, Any],
    as_of: datetime = AS_OF,
    paid_back_to: str = "balance",
) -> None:
    """Let an audit of this instant offer exactly these corrections, and plan them."""
    with conn.cursor() as cursor:
        cursor.execute("delete from marts.fct_correction_lanes")
        cursor.execute("update raw_business.audit_settings set as_of = %s", (as_of,))
    conn.commit()
    sample.insert(conn, "marts.fct_correction_lanes", [dict(row) for row in rows])
    chosen = policy().model_copy(update={"paid_back_to": paid_back_to})
    plan_corrections(conn, chosen, as_of)


def approve_all(conn: Connection) -> list[Action]:
    """Ann releases all that is not held."""
    planned = [each for each in ledger.read(conn, ("planned",)) if each.held_because is None]
    for action in planned:
        ledger.release(conn, action.action_id, by="ann", at=NOW)
    return planned


def policy(mode: str = "approve", **limits: Any) -> Policy:
    """A policy with wide caps, unless told otherwise."""
    wide = {"per_customer": 10_000, "per_run": 100_000, "per_day": 100_000} | limits
    return Policy.model_validate({"action_mode": mode, "action_limits": wide})


def statuses(conn: Connection) -> dict[str, str]:
    """Finding to the state of its newest action."""
    return {action.detection_id: action.status for action in ledger.read(conn)}


def items(server: StripeServer) -> list[dict[str, Any]]:
    """What Stripe has to bill, straight from the account."""
    return server.account.invoice_items


def log(conn: Connection) -> list[tuple[str, str]]:
    """Actor and step of every entry of the audit log."""
    with conn.cursor() as cursor:
        cursor.execute("select actor, action from ops.audit_log order by entry_id")
        return [(row[0], row[1]) for row in cursor.fetchall()]


def dumped(value: object) -> str:
    """As JSON, for a readable comparison."""
    return json.dumps(value, default=str, sort_keys=True)
