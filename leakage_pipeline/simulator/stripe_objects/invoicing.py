"""What is billed: invoice lines, invoices that add up their lines, invoice items, credit notes.

The arithmetic here is only the adding up that Stripe does itself (subtotal, discounts, credits,
tax, total, amount due); what a line should cost is decided by whoever calls.
"""
# ruff: noqa: PLR0913 - a builder takes one keyword per field of the object it builds

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from leakage_pipeline.simulator.stripe_objects.shapes import (
    DiscountShare,
    JsonObject,
    Number,
    amounts_by_discount,
    decimal_text,
    embedded_list,
    id_of,
    metadata_of,
    nulls,
    pretax_credits,
    sum_taxes,
    tax_amount,
    text_or_none,
)


def pricing(price: JsonObject, *, unit_amount: Number | None) -> JsonObject:
    """`pricing` of a line: ids of price and product, and the unit amount where there is one."""
    return {
        "price_details": {"price": price["id"], "product": id_of(price["product"])},
        "type": "price_details",
        "unit_amount_decimal": text_or_none(unit_amount),
    }


def line(
    line_id: str,
    *,
    invoice: str,
    amount: int,
    currency: str,
    period_start: int,
    period_end: int,
    price: JsonObject | None = None,
    quantity: Number | None = 1,
    unit_amount: Number | None = None,
    subscription: str | None = None,
    subscription_item: str | None = None,
    invoice_item: str | None = None,
    proration: bool = False,
    credited_items: tuple[str, Sequence[str]] | None = None,
    discounts: Sequence[JsonObject] = (),
    discount_amounts: Iterable[DiscountShare] = (),
    credit_balance_amounts: Sequence[DiscountShare] = (),
    taxes: Sequence[JsonObject] = (),
    discountable: bool | None = None,
    description: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """An invoice line; `amount` is before discounts and exclusive tax, in minor units.

    With `subscription_item` its parent is that item, else `invoice_item`. `unit_amount` None means
    the price's own for an ordinary per-unit line and null for tiered and proration lines.
    `discounts` are the line's own; those of the subscription appear in `discount_amounts` alone.
    `credited_items` is (invoice id, line ids), for the credit half of a proration.
    """
    shown = unit_amount
    if shown is None and price is not None and not proration:
        shown = price["unit_amount_decimal"]
    off = amounts_by_discount(discount_amounts)
    exact = None if quantity is None else decimal_text(quantity)
    return {
        "id": line_id,
        "object": "line_item",
        "amount": amount,
        "currency": currency,
        "description": description,
        "discount_amounts": off,
        "discountable": (not proration) if discountable is None else discountable,
        "discounts": list(discounts),
        "invoice": invoice,
        "livemode": False,
        "metadata": metadata_of(metadata),
        "parent": _line_parent(
            subscription, subscription_item, invoice_item, credited_items, proration=proration
        ),
        "period": {"end": period_end, "start": period_start},
        "pretax_credit_amounts": pretax_credits(off, credit_balance_amounts),
        "pricing": None if price is None else pricing(price, unit_amount=shown),
        "quantity": None if exact is None else int(Decimal(exact)),
        "quantity_decimal": exact,
        "subscription": subscription,
        "subtotal": amount,
        "taxes": list(taxes),
    }


def _line_parent(
    subscription: str | None,
    subscription_item: str | None,
    invoice_item: str | None,
    credited_items: tuple[str, Sequence[str]] | None,
    *,
    proration: bool,
) -> JsonObject | None:
    credited = None
    if credited_items is not None:
        credited = {"invoice": credited_items[0], "invoice_line_items": list(credited_items[1])}
    details: JsonObject = {
        "invoice_item": invoice_item,
        "proration": proration,
        "proration_details": {"credited_items": credited},
        "subscription": subscription,
    }
    if subscription_item is not None:
        details["subscription_item"] = subscription_item
        kinds = ("subscription_item_details", "invoice_item_details")
    elif invoice_item is not None:
        kinds = ("invoice_item_details", "subscription_item_details")
    else:
        return None
    return {kinds[0]: details, kinds[1]: None, "type": kinds[0]}


def proration_line(
    line_id: str,
    *,
    invoice: str,
    amount: int,
    currency: str,
    period_start: int,
    period_end: int,
    price: JsonObject,
    quantity: Number,
    subscription: str,
    subscription_item: str,
    invoice_item: str,
    credited_items: tuple[str, Sequence[str]] | None = None,
    discount_amounts: Iterable[DiscountShare] = (),
    taxes: Sequence[JsonObject] = (),
    description: str | None = None,
) -> JsonObject:
    """One half of a proration: the unused time credited, or the remaining time charged.

    Not discountable and without a unit amount, as recorded from Stripe.
    """
    return line(
        line_id,
        invoice=invoice,
        amount=amount,
        currency=currency,
        period_start=period_start,
        period_end=period_end,
        price=price,
        quantity=quantity,
        subscription=subscription,
        subscription_item=subscription_item,
        invoice_item=invoice_item,
        proration=True,
        credited_items=credited_items,
        discount_amounts=discount_amounts,
        taxes=taxes,
        description=description
        or ("Unused time on previous plan" if amount < 0 else "Remaining time on new plan"),
    )


def invoice_item(
    item_id: str,
    *,
    customer: str,
    amount: int,
    currency: str,
    date: int,
    period_start: int | None = None,
    period_end: int | None = None,
    price: JsonObject | None = None,
    quantity: Number = 1,
    invoice: str | None = None,
    subscription: str | None = None,
    subscription_item: str | None = None,
    proration: bool = False,
    discountable: bool | None = None,
    discounts: Sequence[JsonObject] = (),
    description: str | None = None,
    test_clock: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """An invoice item, dated by `date`; `invoice` None means it waits to be invoiced."""
    parent = None
    if subscription is not None:
        owner = {"subscription": subscription, "subscription_item": subscription_item}
        if subscription_item is None:
            del owner["subscription_item"]
        parent = {"subscription_details": owner, "type": "subscription_details"}
    shown = None if price is None or proration else price["unit_amount_decimal"]
    exact = decimal_text(quantity)
    return {
        "id": item_id,
        "object": "invoiceitem",
        "amount": amount,
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "date": date,
        "description": description,
        "discountable": (not proration) if discountable is None else discountable,
        "discounts": list(discounts),
        "invoice": invoice,
        "livemode": False,
        "metadata": metadata_of(metadata),
        "net_amount": amount,
        "parent": parent,
        "period": {
            "end": date if period_end is None else period_end,
            "start": date if period_start is None else period_start,
        },
        "pricing": None if price is None else pricing(price, unit_amount=shown),
        "proration": proration,
        "quantity": int(Decimal(exact)),
        "quantity_decimal": exact,
        "tax_rates": [],
        "test_clock": test_clock,
    }


def credit_note_line(
    line_id: str,
    *,
    amount: int,
    invoice_line_item: str | None = None,
    quantity: int | None = None,
    unit_amount: Number | None = None,
    discount_amounts: Iterable[DiscountShare] = (),
    taxes: Sequence[JsonObject] = (),
    description: str | None = None,
) -> JsonObject:
    """A credited line, a custom one without `invoice_line_item`.

    `amount` is before discounts and exclusive tax.
    """
    off = amounts_by_discount(discount_amounts)
    built: JsonObject = {
        "id": line_id,
        "object": "credit_note_line_item",
        "amount": amount,
        "description": description,
        "discount_amount": sum(entry["amount"] for entry in off),
        "discount_amounts": off,
        "livemode": False,
        "metadata": {},
        "pretax_credit_amounts": pretax_credits(off),
        "quantity": quantity,
        "tax_rates": [],
        "taxes": list(taxes),
        "type": "custom_line_item" if invoice_line_item is None else "invoice_line_item",
        "unit_amount": None,
        "unit_amount_decimal": text_or_none(unit_amount),
    }
    if invoice_line_item is not None:
        built["invoice_line_item"] = invoice_line_item
    return built


def credit_note(
    credit_note_id: str,
    *,
    invoice: JsonObject,
    created: int,
    lines: Sequence[JsonObject],
    number: str | None = None,
    reason: str | None = None,
    status: str = "issued",
    effective_at: int | None = None,
    voided_at: int | None = None,
    post_payment_amount: int | None = None,
    out_of_band_amount: int | None = None,
    refunds: Sequence[JsonObject] = (),
    memo: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """A credit note that adds up its lines.

    All of it is post-payment when the invoice is paid, pre-payment else, unless told otherwise.
    """
    gross = sum(entry["amount"] for entry in lines)
    off = amounts_by_discount(
        (share["discount"], share["amount"])
        for entry in lines
        for share in entry["discount_amounts"]
    )
    discounted = sum(entry["amount"] for entry in off)
    taxes = sum_taxes(entry for credited in lines for entry in credited["taxes"])
    total = gross - discounted + tax_amount(taxes, "exclusive")
    after = post_payment_amount
    if after is None:
        after = total if invoice["status"] == "paid" else 0
    kind = "post_payment" if after == total else ("mixed" if after else "pre_payment")
    return {
        "id": credit_note_id,
        "object": "credit_note",
        "amount": total,
        "amount_shipping": 0,
        "created": created,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "discount_amount": discounted,
        "discount_amounts": off,
        "effective_at": created if effective_at is None else effective_at,
        "invoice": invoice["id"],
        "lines": embedded_list(f"/v1/credit_notes/{credit_note_id}/lines", lines),
        "livemode": False,
        "memo": memo,
        "metadata": metadata_of(metadata),
        "number": number or f"{invoice['number']}-CN-{credit_note_id[-4:]}",
        "out_of_band_amount": out_of_band_amount,
        "pdf": f"https://pay.example.com/credit_notes/{credit_note_id}/pdf",
        "post_payment_amount": after,
        "pre_payment_amount": total - after,
        "pretax_credit_amounts": pretax_credits(off),
        "reason": reason,
        "refunds": list(refunds),
        "status": status,
        "subtotal": gross,
        "subtotal_excluding_tax": gross - tax_amount(taxes, "inclusive"),
        "total": total,
        "total_excluding_tax": total - sum(entry["amount"] for entry in taxes),
        "total_taxes": taxes,
        "type": kind,
        "voided_at": voided_at,
        **nulls("customer_account", "customer_balance_transaction", "shipping_cost"),
    }
