from decimal import Decimal

import pytest

from leakage_pipeline.simulator.stripe_objects import (
    JsonObject,
    StripeAccount,
    balance_transaction,
    bank_debit,
    billing_mode,
    charge,
    coupon,
    credit_note,
    credit_note_line,
    currency_option,
    customer,
    decimal_text,
    deleted_customer,
    discount,
    dispute,
    event,
    invoice,
    invoice_item,
    invoice_payment,
    line,
    meter,
    meter_event,
    payment_method,
    price,
    product,
    promotion_code,
    proration_line,
    refund,
    schedule_item,
    schedule_phase,
    subscription,
    subscription_item,
    subscription_schedule,
    tax,
    tier,
    webhook_endpoint,
)
from tests.unit.simulator.stripe_spec import needs_samples, needs_spec, problems, samples

START, END = 1_790_021_304, 1_792_613_304

SEATS = price("price_seats", product="prod_1", currency="usd", created=START, unit_amount=14900)
CALLS = price(
    "price_calls",
    product="prod_1",
    currency="usd",
    created=START,
    tiers=[tier(10_000, unit_amount=0), tier(None, unit_amount="0.05", flat_amount=900)],
    tiers_mode="graduated",
    usage_type="metered",
    meter="mtr_1",
    currency_options={
        "eur": currency_option(tiers=[tier(None, unit_amount="0.04")], tax_behavior="exclusive")
    },
)
MINUTES = price(
    "price_minutes",
    product="prod_1",
    currency="jpy",
    created=START,
    unit_amount="0.000000000001",
    transform_quantity=(60, "up"),
    interval="year",
    usage_type="metered",
    meter="mtr_1",
)
SETUP = price(
    "price_setup", product="prod_1", currency="usd", created=START, unit_amount=5, interval=None
)
DEAL = discount("di_1", coupon="co_1", start=START, customer="cus_1", subscription="sub_1")


def seats_line(line_id: str = "il_1", **changes: object) -> JsonObject:
    fields: dict[str, object] = {
        "invoice": "in_1",
        "amount": 14900,
        "currency": "usd",
        "period_start": START,
        "period_end": END,
        "price": SEATS,
        "subscription": "sub_1",
        "subscription_item": "si_1",
        **changes,
    }
    return line(line_id, **fields)  # type: ignore[arg-type]


def bill(*lines: JsonObject, **changes: object) -> JsonObject:
    fields: dict[str, object] = {
        "customer": "cus_1",
        "currency": "usd",
        "created": START,
        "subscription": "sub_1",
        **changes,
    }
    return invoice("in_1", lines=lines, **fields)  # type: ignore[arg-type]


def every_object() -> list[JsonObject]:
    proration = proration_line(
        "il_2",
        invoice="in_1",
        amount=-3,
        currency="usd",
        period_start=START,
        period_end=END,
        price=SEATS,
        quantity=1,
        subscription="sub_1",
        subscription_item="si_1",
        invoice_item="ii_1",
        credited_items=("in_0", ["il_0"]),
    )
    loose = seats_line("il_3", subscription=None, subscription_item=None, invoice_item="ii_2")
    taxed = seats_line(
        discounts=[DEAL],
        discount_amounts=[("di_1", 1490)],
        credit_balance_amounts=[("cbtxn_1", 10)],
        taxes=[tax(1000, taxable_amount=13400)],
    )
    items = [
        subscription_item(
            f"si_{number}",
            subscription="sub_1",
            price=sold,
            created=START,
            current_period_start=START,
            current_period_end=END,
            discounts=[DEAL],
        )
        for number, sold in enumerate([SEATS, CALLS, MINUTES])
    ]
    charged = charge("ch_1", customer="cus_1", amount=500, currency="usd", created=START)
    billed = bill(taxed, proration, loose, discounts=[DEAL], due_date=END, from_invoice="in_0")
    return [
        product("prod_1", name="Pro", created=START, metadata={"plan": "pro"}),
        SEATS,
        CALLS,
        MINUTES,
        SETUP,
        coupon("co_1", created=START, percent_off="12.5", applies_to_products=["prod_1"]),
        coupon(
            "co_2",
            created=START,
            amount_off=500,
            currency="usd",
            duration="repeating",
            duration_in_months=3,
        ),
        DEAL,
        meter("mtr_1", event_name="api_calls", created=START),
        meter("mtr_2", event_name="old", created=START, formula="last", deactivated_at=END),
        customer("cus_1", created=START, name="A", email="a@example.com", discount=DEAL),
        deleted_customer("cus_2"),
        *items,
        subscription(
            "sub_1",
            customer="cus_1",
            currency="usd",
            created=START,
            billing_cycle_anchor=START,
            items=items,
            discounts=[DEAL],
            pause_collection="void",
            mode=billing_mode("classic"),
        ),
        taxed,
        proration,
        loose,
        billed,
        bill(seats_line(), status="draft", automatically_finalizes_at=END),
        invoice_item("ii_1", customer="cus_1", amount=5, currency="usd", date=START, price=SETUP),
        invoice_item(
            "ii_2",
            customer="cus_1",
            amount=-5,
            currency="usd",
            date=START,
            subscription="sub_1",
            subscription_item="si_1",
            proration=True,
            invoice="in_1",
        ),
        credit_note(
            "cn_1",
            invoice=billed,
            created=END,
            lines=[
                credit_note_line("cnli_1", amount=100, invoice_line_item="il_1", quantity=1),
                credit_note_line("cnli_2", amount=50, unit_amount=50, quantity=1),
            ],
        ),
        webhook_endpoint("we_1", url="https://example.com/stripe", created=START),
        subscription_schedule(
            "sub_sched_1",
            customer="cus_1",
            created=START,
            subscription="sub_1",
            current_phase=(START, END),
            phases=[
                schedule_phase(
                    START,
                    END,
                    currency="usd",
                    items=[
                        schedule_item("price_seats", quantity=3),
                        schedule_item("price_calls", quantity=None),
                    ],
                )
            ],
        ),
        promotion_code("promo_1", coupon="co_1", code="SPRING", created=START),
        payment_method("pm_1", customer="cus_1", created=START),
        bank_debit("pm_2", customer="cus_1", created=START),
        charged,
        charge(
            "ch_2",
            customer="cus_1",
            amount=500,
            currency="usd",
            created=START,
            status="failed",
            failure_code="card_declined",
        ),
        refund("re_1", charge=charged, amount=100, created=END),
        dispute("dp_1", charge=charged, created=END, evidence_due_by=END),
        invoice_payment("inpay_1", invoice=billed, created=END, payment_intent="pi_1"),
        invoice_payment("inpay_2", invoice=billed, created=END, charge="ch_2", status="open"),
        balance_transaction(
            "cbtxn_1",
            customer="cus_1",
            amount=-500,
            ending_balance=-500,
            currency="usd",
            created=START,
        ),
        event(
            "evt_1",
            type="invoice.paid",
            created=END,
            data_object=billed,
            previous_attributes={"status": "open"},
            pending_webhooks=1,
        ),
    ]


@needs_spec
@pytest.mark.parametrize("built", every_object(), ids=lambda built: f"{built['object']}")
def test_every_object_is_valid_by_the_openapi_file(built: JsonObject) -> None:
    schema = "deleted_customer" if built.get("deleted") else None
    assert problems(built, schema) == []


NOT_SIMULATED = {
    "customer": {"sources", "subscriptions", "tax", "tax_ids", "invoice_credit_balance"},
    "invoice": {"payments", "subscription", "confirmation_secret", "threshold_reason"},
    "subscription_item": {"plan", "billed_until"},
    "subscription": {"presentment_details"},
    "coupon": {"applies_to"},
    "charge": {"refunds", "source"},
    "payment_method": {"card"},
}


@needs_samples
@pytest.mark.parametrize("built", every_object(), ids=lambda built: f"{built['object']}")
def test_every_key_of_stripes_sample_is_present(built: JsonObject) -> None:
    if built.get("deleted"):
        pytest.skip("a tombstone has three keys")
    sample = samples()[built["object"]]
    optional = {"quantity", "tiers_mode"} | NOT_SIMULATED.get(built["object"], set())
    assert set(sample) - set(built) - optional == set()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        ("0.050", "0.05"),
        (Decimal("1E-12"), "0.000000000001"),
        (Decimal("1E+3"), "1000"),
        ("-0.0", "0"),
        ("100", "100"),
    ],
)
def test_decimal_text_is_plain_and_short(value: Decimal | int | str, text: str) -> None:
    assert decimal_text(value) == text


def test_decimal_text_refuses_floats_and_a_thirteenth_decimal() -> None:
    with pytest.raises(TypeError, match="float"):
        decimal_text(0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="12 decimal places"):
        decimal_text("0.0000000000001")


def test_unit_amount_is_null_when_it_is_no_whole_number() -> None:
    assert (SEATS["unit_amount"], SEATS["unit_amount_decimal"]) == (14900, "14900")
    assert (MINUTES["unit_amount"], MINUTES["unit_amount_decimal"]) == (None, "0.000000000001")
    assert (CALLS["unit_amount"], CALLS["unit_amount_decimal"]) == (None, None)
    assert CALLS["currency_options"]["usd"]["tiers"] == CALLS["tiers"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "either unit_amount or tiers"),
        ({"unit_amount": 1, "tiers_mode": "volume"}, "go together"),
        ({"tiers": [tier(5, unit_amount=1)], "tiers_mode": "volume"}, "must be open"),
        (
            {
                "tiers": [tier(None, unit_amount=1)],
                "tiers_mode": "volume",
                "transform_quantity": (5, "up"),
            },
            "cannot be combined",
        ),
        ({"unit_amount": 1, "usage_type": "metered"}, "names its meter"),
        ({"unit_amount": 1, "meter": "mtr_1"}, "names its meter"),
    ],
)
def test_a_price_that_stripe_would_refuse_is_refused(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        price("p", product="prod_1", currency="usd", created=1, **fields)  # type: ignore[arg-type]


def test_a_coupon_is_percent_or_amount() -> None:
    with pytest.raises(ValueError, match="either percent_off or amount_off"):
        coupon("co", created=1)
    assert coupon("co", created=1, percent_off="33.33")["percent_off"] == 33.33


def test_an_invoice_adds_up_discounts_credits_and_taxes() -> None:
    own = discount("di_own", coupon="co_1", start=START)
    billed = bill(
        seats_line(
            "il_1",
            amount=10_000,
            discounts=[own],
            discount_amounts=[("di_own", 1_000), ("di_1", 900)],
            credit_balance_amounts=[("cbtxn_1", 100)],
            taxes=[tax(800, taxable_amount=8_000)],
        ),
        seats_line(
            "il_2",
            amount=5_000,
            discount_amounts=[("di_1", 500)],
            taxes=[tax(90, taxable_amount=900), tax(7, behavior="inclusive")],
        ),
        discounts=[DEAL],
        starting_balance=-2_000,
        amount_shipping=300,
    )
    assert billed["subtotal"] == 14_000, "the line's own discount is inside, the invoice's is not"
    assert billed["total_discount_amounts"] == [
        {"amount": 1_000, "discount": "di_own"},
        {"amount": 1_400, "discount": "di_1"},
    ]
    assert sum(entry["amount"] for entry in billed["total_pretax_credit_amounts"]) == 2_500
    assert billed["total"] == 15_000 - 2_500 + 890 + 300
    assert billed["total_excluding_tax"] == billed["total"] - 897
    assert [entry["amount"] for entry in billed["total_taxes"]] == [890, 7]
    assert billed["amount_due"] == billed["amount_paid"] == billed["total"] - 2_000
    assert (billed["amount_remaining"], billed["ending_balance"]) == (0, 0)


def test_credit_beyond_the_total_stays_on_the_balance() -> None:
    billed = bill(seats_line(amount=1_000), starting_balance=-2_500)
    assert (billed["amount_due"], billed["ending_balance"]) == (0, -1_500)


def test_the_life_of_an_invoice_follows_its_status() -> None:
    paid, draft, void = bill(), bill(status="draft"), bill(status="void", voided_at=END)
    assert paid["status_transitions"]["paid_at"] == START
    assert (paid["attempted"], paid["auto_advance"]) == (True, False)
    assert (draft["number"], draft["status_transitions"]["finalized_at"]) == (None, None)
    assert (draft["auto_advance"], draft["ending_balance"]) == (True, None)
    assert (void["status_transitions"]["voided_at"], void["amount_paid"]) == (END, 0)


def test_quantities_are_exact_text_beside_a_truncated_integer() -> None:
    built = seats_line(price=CALLS, quantity="12345.678")
    assert (built["quantity"], built["quantity_decimal"]) == (12_345, "12345.678")
    assert built["pricing"]["unit_amount_decimal"] is None
    assert seats_line()["pricing"]["unit_amount_decimal"] == "14900"


def test_a_proration_line_has_no_unit_amount_and_names_what_it_credits() -> None:
    built = next(b for b in every_object() if b["id"] == "il_2")
    details = built["parent"]["subscription_item_details"]
    assert (built["discountable"], built["pricing"]["unit_amount_decimal"]) == (False, None)
    assert (details["proration"], details["invoice_item"]) == (True, "ii_1")
    credited = details["proration_details"]["credited_items"]
    assert credited == {"invoice": "in_0", "invoice_line_items": ["il_0"]}


def test_metered_items_have_no_quantity() -> None:
    by_price = {b["price"]["id"]: b for b in every_object() if b["object"] == "subscription_item"}
    assert by_price["price_seats"]["quantity"] == 1
    assert "quantity" not in by_price["price_calls"]


def test_a_credit_note_is_after_payment_only_for_a_paid_invoice() -> None:
    credited = [
        credit_note_line(
            "cnli", amount=1_000, discount_amounts=[("di_1", 100)], taxes=[tax(90)], quantity=1
        )
    ]
    notes = {
        status: credit_note("cn", invoice=bill(status=status), created=END, lines=credited)
        for status in ("paid", "open")
    }
    assert notes["paid"]["total"] == 990
    assert (notes["paid"]["type"], notes["paid"]["post_payment_amount"]) == ("post_payment", 990)
    assert (notes["open"]["type"], notes["open"]["pre_payment_amount"]) == ("pre_payment", 990)


def test_an_account_survives_its_file(tmp_path) -> None:
    account = StripeAccount(
        customers=[customer("cus_1", created=1)],
        prices=[CALLS],
        meter_events=[
            meter_event("api_calls", customer="cus_1", value="1.50", timestamp=5, identifier="e")
        ],
    )
    account.to_json(tmp_path / "account.json")
    assert StripeAccount.from_json(tmp_path / "account.json") == account
    assert account.meter_events[0]["value"] == "1.5"


def test_a_file_with_unknown_lists_is_refused(tmp_path) -> None:
    path = tmp_path / "account.json"
    path.write_text('{"payouts": []}', encoding="utf-8")
    with pytest.raises(ValueError, match="unknown lists payouts"):
        StripeAccount.from_json(path)
