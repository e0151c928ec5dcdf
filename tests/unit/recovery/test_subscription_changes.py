"""Changes of subscriptions are drafts: a person makes them, Stripe's own state confirms them."""

from decimal import Decimal
from typing import Any

import psycopg2.extensions
import pytest

from leakage_pipeline.policy import Policy
from leakage_pipeline.recovery import ledger, sending
from leakage_pipeline.recovery.stripe_writer import StripeWriter
from leakage_pipeline.recovery.subscription_changes import CHANGE, plan_changes, settle
from leakage_pipeline.simulator.stripe_server import StripeServer
from tests.unit.publishing.sample import Row, insert
from tests.unit.recovery import company
from tests.unit.recovery.company import AS_OF, END, NOW, START

Connection = psycopg2.extensions.connection
_STRIPE = """
    create schema if not exists staging;
    create table staging.currencies (currency text, exponent int);
    insert into staging.currencies values ('usd', 2);
    insert into raw_stripe.subscription_items (subscription_item_id, subscription_id, price_id)
        select 'si_cus_' || n || '_price_pro', 'sub_cus_' || n, 'price_pro'
        from generate_series(0, 5) as n;
    insert into raw_stripe.prices (
        price_id, product_id, currency, "interval", interval_count, usage_type, active,
        billing_scheme, unit_amount_decimal
    )
        select id, 'prod_pro', 'usd', 'month', 1, 'licensed', id != 'price_old', 'per_unit', amount
        from (
            values ('price_pro', 9900), ('price_new', 14900), ('price_old', 14900)
        ) as prices (id, amount);
    insert into raw_stripe.discounts (discount_id, subscription_id)
        values ('di_wrong', 'sub_cus_2'), ('di_right', 'sub_cus_2');
"""
_ADVICE = {
    "cus_0": ("seat_leakage", "true_up_seats", {"expected_quantity": 7, "billed_quantity": 1}),
    "cus_1": ("outdated_pricing", "migrate_price", {"billed_quantity": 1}),
    "cus_2": ("incorrect_discount", "correct_discount", {"discount_id": "di_wrong"}),
    "cus_3": ("paused_collection", "resume_collection", {}),
    "cus_4": ("incorrect_discount", "correct_discount", {"discount_id": "di_elsewhere"}),
    "cus_5": ("outdated_pricing", "migrate_price", {"billed_quantity": 3}),
}


@pytest.fixture
def planned(ready: Connection) -> Connection:
    """Two months of every kind of advice, drafted."""
    charge = {"stripe_price_id": "price_pro", "expected_gross_at_billed_quantity": 149}
    with ready, ready.cursor() as cursor:
        cursor.execute(_STRIPE)
    for customer, (leakage_type, action, evidence) in _ADVICE.items():
        for start in (START, END):
            name = f"{customer}-{start:%m}"
            row = Row(
                name,
                customer_id=customer,
                subscription_id=f"sub_{customer}",
                leakage_type=leakage_type,
                period_start=start,
                evidence={**evidence, "charges": [charge]},
            )
            insert(ready, "marts.fct_leakage_detections", [row])
            with ready, ready.cursor() as cursor:
                cursor.execute(
                    "insert into ops.classifications values"
                    " (%s, 'technical_error', %s, 0.9, 'r', null, null, 'rules', 'h', now())",
                    (name, action),
                )
    plan_changes(ready, _policy(), AS_OF)
    return ready


def _policy(**messages: Any) -> Policy:
    wanted = {"subscription_changes": True} | messages
    return Policy.model_validate({"action_mode": "approve", "messages": wanted})


def _run(conn: Connection, writer: StripeWriter) -> dict[str, str]:
    others = {CHANGE: lambda c, action, now: settle(c, writer, action, now)}
    report = sending.run(conn, _policy(), writer, NOW, others)
    return {str(action.customer_id): outcome for action, outcome in report.outcomes}


def test_a_draft_says_what_stripe_would_be_sent(planned: Connection) -> None:
    drafts = {str(each.customer_id): each for each in ledger.read(planned)}
    assert len(drafts) == len(_ADVICE)
    params = {name: each.request[0]["params"] for name, each in drafts.items()}
    unprorated = {"proration_behavior": "none"}
    assert params["cus_0"] == {"items": [{"id": "si_cus_0_price_pro", "quantity": 7}]} | unprorated
    assert (
        params["cus_1"]
        == {"items": [{"id": "si_cus_1_price_pro", "price": "price_new"}]} | unprorated
    )
    assert params["cus_2"] == {"discounts": [{"discount": "di_right"}]}
    assert params["cus_3"] == {"pause_collection": ""}
    assert {name: each.held_because for name, each in drafts.items() if each.held_because} == {
        "cus_4": "the discount is not on the subscription itself",
        "cus_5": "Stripe has no price that comes to what was agreed: make one first",
    }
    assert drafts["cus_0"].detection_id == "cus_0-11"
    assert drafts["cus_0"].amount == Decimal("50.00")


def test_only_what_stripe_shows_is_confirmed_and_nothing_is_written(
    planned: Connection, stripe_server: StripeServer, writer: StripeWriter
) -> None:
    assert _run(planned, writer) == {}
    company.approve_all(planned)
    first = _run(planned, writer)
    assert first.pop("cus_3") == "made in Stripe"  # nothing is paused
    assert set(first) == {"cus_0", "cus_1", "cus_2"}
    assert first["cus_0"].startswith("waits: ann makes this change in Stripe")
    subscriptions = stripe_server.account.subscriptions
    subscriptions[0]["items"]["data"][0]["quantity"] = 7
    subscriptions[1]["items"]["data"][0]["price"] = {
        **subscriptions[1]["items"]["data"][0]["price"],
        "id": "price_new",
    }
    stripe_server.load(stripe_server.account)
    second = _run(planned, writer)
    assert (second["cus_0"], second["cus_1"]) == ("made in Stripe", "made in Stripe")
    assert {record.method for record in stripe_server.requests} == {"GET"}


def test_nothing_is_drafted_unless_the_policy_says_so(planned: Connection) -> None:
    assert plan_changes(planned, _policy(subscription_changes=False), AS_OF) == 0


def test_a_draft_that_the_audit_no_longer_calls_for_goes(planned: Connection) -> None:
    with planned, planned.cursor() as cursor:
        cursor.execute("delete from marts.fct_leakage_detections where customer_id = 'cus_0'")
    plan_changes(planned, _policy(), AS_OF)
    states = {str(each.customer_id): each.status for each in ledger.read(planned)}
    assert (states["cus_0"], states["cus_1"]) == ("reverted", "planned")
