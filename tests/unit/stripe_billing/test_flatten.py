import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.simulator import stripe_objects as so
from leakage_pipeline.stripe_billing import flatten, flatten_invoices, flatten_payments, tables
from leakage_pipeline.stripe_billing.columns import Sync
from leakage_pipeline.stripe_billing.flatten import FoundDiscount
from tests.unit.stripe_billing.trap_account import AS_OF, JAN, JUN, MAY, trap_account

Json = dict[str, Any]


@pytest.fixture
def sync() -> Sync:
    return Sync(AS_OF)


def _rows(batch: pa.RecordBatch) -> list[Json]:
    return batch.to_pylist()


def _as_read(objects: list[Json]) -> list[Json]:
    """Objects as the reader hands them on: no floats."""
    read: list[Json] = json.loads(json.dumps(objects), parse_float=Decimal)
    return read


def _invoices(objects: list[Json], sync: Sync, **items: str) -> dict[str, list[Json]]:
    batches = flatten_invoices.invoices(objects, sync, items)
    return {name: _rows(batch) for name, batch in batches.items()}


# ---------------------------------------------------------------- shape


@pytest.mark.parametrize(
    "flattened",
    [
        flatten.customers,
        flatten.products,
        flatten.prices,
        flatten.coupons,
        flatten.meters,
        flatten.subscriptions,
        flatten.discounts,
        flatten_invoices.credit_notes,
        lambda objects, sync: flatten_invoices.invoices(objects, sync, {}),
    ],
)
def test_nothing_flattens_to_empty_batches_of_the_tables_own_shape(
    flattened: Callable[..., dict[str, pa.RecordBatch]], sync: Sync
) -> None:
    specs = {spec.name: spec for spec in tables.TABLES}
    for name, batch in flattened([], sync).items():
        assert batch.schema == specs[name].arrow_schema
        assert batch.num_rows == 0


def test_every_row_says_where_it_comes_from(sync: Sync) -> None:
    customer = so.customer("cus_1", created=JAN) | {"invented": Decimal("1.50")}
    (row,) = _rows(flatten.customers([customer], sync)["customers"])
    assert row["stripe_version"] == "2026-10-28.endive"
    assert row["synced_at"] == AS_OF
    assert '"invented":1.50' in row["payload"]
    assert json.loads(row["payload"])["id"] == "cus_1"


def test_embedded_lists_that_are_tables_are_not_stored_twice(sync: Sync) -> None:
    account = trap_account()
    (first, _) = _rows(flatten.subscriptions(account.subscriptions, sync)["subscriptions"])
    (invoice,) = _invoices(account.invoices, sync)["invoices"]
    assert "items" not in json.loads(first["payload"])
    assert "lines" not in json.loads(invoice["payload"])
    assert "total_taxes" in json.loads(invoice["payload"])


# ---------------------------------------------------------------- oddities


def test_unknown_keys_and_values_are_noted_and_never_fail(sync: Sync) -> None:
    subscription = trap_account().subscriptions[0] | {
        "status": "hibernating",
        "a_key_of_2027": {"deep": [1]},
    }
    (row,) = _rows(flatten.subscriptions([subscription], sync)["subscriptions"])
    assert row["status"] == "hibernating"
    assert "subscriptions.status=hibernating" in sync.unknown
    assert "subscriptions.a_key_of_2027" in sync.unknown


def test_the_present_layout_has_nothing_unknown_in_it(sync: Sync) -> None:
    account = trap_account()
    flatten.subscriptions(account.subscriptions, sync)
    flatten.customers(account.customers[:1], sync)
    flatten.coupons(_as_read(account.coupons[:1]), sync)
    flatten.meters(account.meters, sync)
    flatten_invoices.invoices(account.invoices, sync, {})
    flatten_invoices.credit_notes(account.credit_notes, sync)
    assert sync.unknown == set()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("amount", "9800", "amount.*whole number"),
        ("amount", Decimal("98.5"), "amount.*whole number"),
        ("amount", True, "amount.*whole number"),
        ("amount", None, "amount is missing"),
        ("currency", 840, "currency.*text"),
        ("quantity_decimal", "many", "quantity.*no decimal"),
        ("period", {"start": MAY, "end": "June"}, "period_end.*whole number"),
        ("period", None, "period_start is missing"),
        ("parent", "si_1", "parent_type cannot be read"),
        ("discount_amounts", [{"discount": "di_1"}], "discount_amount cannot be read"),
        ("taxes", [{"amount": 1}], "exclusive_tax cannot be read"),
    ],
)
def test_a_wrong_type_names_object_column_and_value(
    key: str, value: object, said: str, sync: Sync
) -> None:
    invoice = trap_account().invoices[0]
    invoice["lines"]["data"][3] |= {key: value}
    with pytest.raises(PermanentFailure, match=f"invoice_lines il_3: {said}"):
        _invoices([invoice], sync)


def test_an_object_without_id_or_lines_that_are_none_is_named(sync: Sync) -> None:
    with pytest.raises(PermanentFailure, match="customers number 0: customer_id is missing"):
        flatten.customers([{"object": "customer"}], sync)
    with pytest.raises(PermanentFailure, match="invoice in_1: lines is no list of objects"):
        _invoices([{"object": "invoice", "id": "in_1", "lines": {"data": ["il_1"]}}], sync)


# ---------------------------------------------------------------- catalogue


def test_amounts_of_prices_are_exact_in_every_currency_and_tier(sync: Sync) -> None:
    batches = flatten.prices(trap_account().prices + trap_account().inline_prices, sync)
    prices = {row["price_id"]: row for row in _rows(batches["prices"])}
    assert prices["price_inline"]["unit_amount"] is None
    assert prices["price_inline"]["unit_amount_decimal"] == "0.05"
    assert prices["price_inline"]["transform_divide_by"] == 1000
    assert prices["price_inline"]["transform_round"] == "up"
    assert prices["price_calls"]["meter_id"] == "mtr_calls"
    assert prices["price_calls"]["unit_amount_decimal"] is None
    assert not prices["price_old"]["active"]
    options = {
        (row["price_id"], row["currency"]): row["unit_amount_decimal"]
        for row in _rows(batches["price_currency_options"])
    }
    assert options[("price_seat", "usd")] == "4900"
    assert ("price_calls", "eur") in options
    tiers = {
        (row["currency"], row["tier_index"]): (
            row["up_to"],
            row["unit_amount_decimal"],
            row["flat_amount_decimal"],
        )
        for row in _rows(batches["price_tiers"])
    }
    assert tiers == {
        ("usd", 0): ("50", "0.5", "100"),
        ("usd", 1): (None, "0.000000000001", None),
        ("eur", 0): (None, "0.45", None),
    }


def test_a_price_lists_its_own_currency_once_though_the_options_repeat_it(sync: Sync) -> None:
    price = so.price("price_1", product="prod_1", currency="usd", created=JAN, unit_amount=500)
    price["currency_options"] = {
        "usd": so.currency_option(unit_amount=500),
        "jpy": so.currency_option(unit_amount=70),
    }
    batches = flatten.prices([price], sync)
    options = _rows(batches["price_currency_options"])
    assert [(row["currency"], row["unit_amount_decimal"]) for row in options] == [
        ("usd", "500"),
        ("jpy", "70"),
    ]


def test_integers_stand_in_for_decimals_that_older_versions_lack(sync: Sync) -> None:
    price = {"id": "price_1", "currency": "usd", "unit_amount": 500, "product": {"id": "prod_1"}}
    price["tiers"] = [{"up_to": "inf", "unit_amount": 3, "flat_amount": 7}]
    batches = flatten.prices([price], sync)
    assert _rows(batches["prices"])[0]["unit_amount_decimal"] == "500"
    assert _rows(batches["prices"])[0]["product_id"] == "prod_1"
    (tier,) = _rows(batches["price_tiers"])
    assert (tier["up_to"], tier["unit_amount_decimal"], tier["flat_amount_decimal"]) == (
        None,
        "3",
        "7",
    )


def test_tombstones_keep_their_id(sync: Sync) -> None:
    (customer,) = _rows(flatten.customers([so.deleted_customer("cus_gone")], sync)["customers"])
    assert customer["deleted"] is True
    product = {"id": "prod_gone", "object": "product", "deleted": True}
    (product,) = _rows(flatten.products([product], sync)["products"])
    assert product["active"] is False
    assert product["name"] is None


@pytest.mark.parametrize(
    "content",
    [
        {"source": {"type": "coupon", "coupon": "co_1"}},
        {"source": {"type": "coupon", "coupon": {"id": "co_1", "object": "coupon"}}},
        {"coupon": {"id": "co_1", "object": "coupon"}},
    ],
)
def test_the_coupon_of_a_discount_is_found_in_every_layout(content: Json, sync: Sync) -> None:
    whole = {"id": "di_1", "object": "discount", "start": JAN, "end": None, **content}
    found = FoundDiscount(whole, {"subscription_id": "sub_1", "customer_id": "cus_1"})
    (row,) = _rows(flatten.discounts([found], sync)["discounts"])
    assert (row["coupon_id"], row["subscription_id"]) == ("co_1", "sub_1")


def test_a_discount_that_only_an_invoice_still_shows_is_its_subscriptions(sync: Sync) -> None:
    """Once a repeating coupon is over the subscription shows it no more, its invoices do."""
    whole = so.discount("di_1", coupon="c", start=JAN, customer="cus_1", subscription="sub_1")
    found = FoundDiscount(whole, {"invoice_id": "in_1", "customer_id": "cus_1"})
    (row,) = _rows(flatten.discounts([found], sync)["discounts"])
    assert (row["subscription_id"], row["invoice_id"]) == ("sub_1", None)


def test_a_discount_of_which_only_the_id_is_known_is_kept(sync: Sync) -> None:
    found = FoundDiscount("di_1", {"invoice_id": "in_1"})
    (row,) = _rows(flatten.discounts([found], sync)["discounts"])
    assert (row["discount_id"], row["coupon_id"], row["invoice_id"]) == ("di_1", None, "in_1")


# ---------------------------------------------------------------- subscriptions


def test_periods_come_from_the_item_and_from_the_subscription_of_old(sync: Sync) -> None:
    new = trap_account().subscriptions[1]
    price = {"id": "price_1", "currency": "chf"}
    old = {
        "id": "sub_old",
        "customer": {"id": "cus_1"},
        "status": "active",
        "created": JAN,
        "current_period_start": MAY,
        "current_period_end": JUN,
        "items": {"data": [{"id": "si_x", "price": price, "quantity": 3}], "has_more": False},
    }
    batches = flatten.subscriptions([new, old], sync)
    items = {row["subscription_item_id"]: row for row in _rows(batches["subscription_items"])}
    assert items["si_x"]["current_period_start"].timestamp() == MAY
    assert items["si_x"]["current_period_end"].timestamp() == JUN
    assert items["si_old"]["current_period_start"].timestamp() == JUN
    assert items["si_x"]["subscription_id"] == "sub_old"
    subscriptions = _rows(batches["subscriptions"])
    assert [row["currency"] for row in subscriptions] == ["eur", "chf"]
    assert [row["customer_id"] for row in subscriptions] == ["cus_gone", "cus_1"]


def test_metered_items_have_no_quantity(sync: Sync) -> None:
    batches = flatten.subscriptions(trap_account().subscriptions, sync)
    quantities = {
        row["subscription_item_id"]: row["quantity"] for row in _rows(batches["subscription_items"])
    }
    assert quantities["si_0"] == 2
    assert quantities["si_1"] is None


# ---------------------------------------------------------------- invoices


def test_a_line_of_a_pending_item_gets_its_subscription_item_from_that_item(sync: Sync) -> None:
    account = trap_account()
    items = flatten_payments.subscription_items_by_item(account.invoice_items)
    lines = {
        row["line_id"]: row for row in _invoices(account.invoices, sync, **items)["invoice_lines"]
    }
    pending = lines["il_pending"]
    assert pending["parent_type"] == "invoice_item_details"
    assert pending["invoice_item_id"] == "ii_1"
    assert pending["subscription_item_id"] == "si_0"
    assert pending["is_proration"] is True
    assert json.loads(pending["credited_items"])["invoice_line_items"] == ["il_x"]
    assert pending["unit_amount_decimal"] is None
    assert lines["il_usage"]["quantity"] == "125.5"
    assert lines["il_usage"]["line_index"] == 14


def test_the_decimal_quantity_wins_over_the_one_that_is_cut_off(sync: Sync) -> None:
    invoice = trap_account().invoices[0]
    invoice["lines"]["data"] = [
        invoice["lines"]["data"][0] | {"quantity": 1, "quantity_decimal": "1.75"},
        invoice["lines"]["data"][1] | {"quantity": 4, "quantity_decimal": None},
    ]
    lines = _invoices([invoice], sync)["invoice_lines"]
    assert [row["quantity"] for row in lines] == ["1.75", "4"]


def test_taxes_are_summed_by_whether_they_come_on_top(sync: Sync) -> None:
    line = trap_account().invoices[0]["lines"]["data"][0]
    line["taxes"] = [
        so.tax(7, behavior="exclusive"),
        so.tax(3, behavior="exclusive"),
        so.tax(5, behavior="inclusive"),
    ]
    invoice = so.invoice("in_1", customer="cus_1", currency="usd", created=JUN, lines=[line])
    flat = _invoices([invoice], sync)
    assert (
        flat["invoice_lines"][0]["exclusive_tax"],
        flat["invoice_lines"][0]["inclusive_tax"],
    ) == (
        10,
        5,
    )
    assert flat["invoices"][0]["total_exclusive_tax"] == 10
    assert flat["invoices"][0]["total_inclusive_tax"] == 5


def test_discounts_and_prepaid_credits_are_told_apart(sync: Sync) -> None:
    invoice = trap_account().invoices[0]
    line = invoice["lines"]["data"][0]
    prepaid = [
        {"type": "discount", "amount": 500, "discount": "di_sub"},
        {
            "type": "credit_balance_transaction",
            "amount": 200,
            "credit_balance_transaction": "cbtxn",
        },
    ]
    line["pretax_credit_amounts"] = prepaid
    invoice["lines"]["data"] = [line]
    invoice["total_pretax_credit_amounts"] = prepaid
    flat = _invoices([invoice], sync)
    (row,) = flat["invoice_lines"]
    assert (row["discount_amount"], row["credit_balance_amount"]) == (500, 200)
    assert flat["invoices"][0]["total_pretax_credits"] == 700
    assert [
        (d["line_id"], d["discount_id"], d["amount"]) for d in flat["invoice_line_discounts"]
    ] == [("il_0", "di_sub", 500)]


def test_discounts_of_a_line_keep_the_order_in_which_they_were_taken_off(sync: Sync) -> None:
    invoice = trap_account().invoices[0]
    line = invoice["lines"]["data"][0]
    taken = [("di_b", 100), ("di_a", 50), ("di_b", 20)]
    line["discount_amounts"] = [{"discount": name, "amount": off} for name, off in taken]
    invoice["lines"]["data"] = [line]
    assert [
        (row["discount_id"], row["position"], row["amount"])
        for row in _invoices([invoice], sync)["invoice_line_discounts"]
    ] == [("di_b", 0, 120), ("di_a", 1, 50)]


def test_pretax_credits_stand_in_for_discounts_that_are_not_listed(sync: Sync) -> None:
    invoice = trap_account().invoices[0]
    line = invoice["lines"]["data"][0]
    line["pretax_credit_amounts"] = [{"type": "discount", "amount": 500, "discount": "di_sub"}]
    del line["discount_amounts"]
    del invoice["total_discount_amounts"]
    invoice["lines"]["data"] = [line]
    flat = _invoices([invoice], sync)
    assert flat["invoice_lines"][0]["discount_amount"] == 500
    assert len(flat["invoice_line_discounts"]) == 1
    assert flat["invoices"][0]["total_discount"] == 7000


def test_absent_pretax_credits_are_null_and_not_zero(sync: Sync) -> None:
    invoice = trap_account().invoices[0]
    del invoice["total_pretax_credit_amounts"]
    (row,) = _invoices([invoice], sync)["invoices"]
    assert row["total_pretax_credits"] is None
    assert row["total_discount"] == 7000


OLD_LINE = {
    "id": "il_old",
    "object": "line_item",
    "amount": 1500,
    "currency": "usd",
    "type": "subscription",
    "subscription": "sub_1",
    "subscription_item": "si_1",
    "proration": False,
    "proration_details": {"credited_items": None},
    "price": {"id": "price_1", "product": "prod_1", "unit_amount_decimal": "1500"},
    "plan": {"id": "price_1"},
    "quantity": 1,
    "period": {"start": MAY, "end": JUN},
    "tax_amounts": [
        {"amount": 120, "inclusive": False, "tax_rate": "txr_1"},
        {"amount": 9, "inclusive": True, "tax_rate": "txr_2"},
    ],
    "discount_amounts": [{"amount": 100, "discount": "di_1"}],
    "metadata": {},
}

OLD_INVOICE = {
    "id": "in_old",
    "object": "invoice",
    "customer": "cus_1",
    "subscription": "sub_1",
    "status": "paid",
    "currency": "usd",
    "created": JUN,
    "subtotal": 1500,
    "total": 1520,
    "paid": True,
    "charge": "ch_1",
    "discount": {"id": "di_1", "coupon": {"id": "co_1"}},
    "total_tax_amounts": [{"amount": 120, "inclusive": False, "tax_rate": "txr_1"}],
    "total_discount_amounts": [{"amount": 100, "discount": "di_1"}],
    "lines": {"data": [OLD_LINE], "has_more": False},
}


def test_the_layout_before_2025_03_31_is_read_alike(sync: Sync) -> None:
    flat = _invoices([OLD_INVOICE], sync)
    (invoice,), (line,) = flat["invoices"], flat["invoice_lines"]
    assert invoice["subscription_id"] == "sub_1"
    assert (invoice["total_exclusive_tax"], invoice["total_discount"]) == (120, 100)
    assert invoice["amount_shipping"] == 0
    assert line["parent_type"] == "subscription_item_details"
    assert (line["subscription_id"], line["subscription_item_id"]) == ("sub_1", "si_1")
    assert (line["price_id"], line["product_id"]) == ("price_1", "prod_1")
    assert (line["quantity"], line["unit_amount_decimal"]) == ("1", "1500")
    assert (line["subtotal"], line["discount_amount"]) == (1500, 100)
    assert (line["exclusive_tax"], line["inclusive_tax"]) == (120, 9)
    assert "invoices.charge" in sync.unknown


def test_an_old_proration_line_finds_its_item_and_has_no_unit_amount(sync: Sync) -> None:
    old = OLD_LINE | {
        "type": "invoiceitem",
        "proration": True,
        "invoice_item": "ii_1",
        "subscription_item": None,
        "proration_details": {"credited_items": {"invoice": "in_0", "invoice_line_items": ["il"]}},
    }
    invoice = OLD_INVOICE | {"lines": {"data": [old], "has_more": False}}
    (line,) = _invoices([invoice], sync, ii_1="si_9")["invoice_lines"]
    assert line["parent_type"] == "invoice_item_details"
    assert line["subscription_item_id"] == "si_9"
    assert line["is_proration"] is True
    assert line["unit_amount_decimal"] is None
    assert json.loads(line["credited_items"])["invoice"] == "in_0"
    items = flatten_payments.subscription_items_by_item(
        [{"id": "ii_1", "subscription_item": "si_9"}]
    )
    assert items == {"ii_1": "si_9"}


def test_credit_notes_keep_what_each_line_takes_back(sync: Sync) -> None:
    batches = flatten_invoices.credit_notes(trap_account().credit_notes, sync)
    (note,), (line,) = _rows(batches["credit_notes"]), _rows(batches["credit_note_lines"])
    assert (note["invoice_id"], note["amount"], note["reason"]) == ("in_1", 100, "order_change")
    assert (line["credit_note_id"], line["invoice_line_id"], line["amount"]) == (
        "cn_1",
        "il_0",
        100,
    )


def test_meters_say_how_they_count(sync: Sync) -> None:
    rows = _rows(flatten.meters(trap_account().meters, sync)["meters"])[::2]
    assert [(row["event_name"], row["formula"], row["status"]) for row in rows] == [
        ("api_calls", "sum", "active"),
        ("old", "last", "inactive"),
    ]
    assert rows[0]["customer_event_key"] == "stripe_customer_id"
