"""Invoices, their lines and credit notes: which JSON key feeds which column, old layouts included.

An amount that a list spells out (discounts, taxes, prepaid credits) is summed here, so that SQL
sees one number; a list that Stripe leaves out says that there is none, unless noted otherwise.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import stripe

from leakage_pipeline.stripe_billing import tables
from leakage_pipeline.stripe_billing.columns import Flattener, Sync
from leakage_pipeline.stripe_billing.getters import (
    Getter,
    declared,
    elements,
    first,
    path,
    ref,
    without_counters,
)
from leakage_pipeline.stripe_billing.values import Json, at, reference

Batches = dict[str, pa.RecordBatch]

# `line.type` until 2025-03-31, `line.parent.type` since.
_PARENT_OF_OLD_TYPE = {
    "subscription": "subscription_item_details",
    "invoiceitem": "invoice_item_details",
}


def _pretax(item: Json, name: str, kind: str) -> list[Json]:
    return [entry for entry in item.get(name) or () if entry["type"] == kind]


def _sum(entries: Sequence[Json]) -> int:
    return sum(entry["amount"] for entry in entries)


def _discount_entries(item: Json) -> list[Json]:
    """The discounts of a line; pre-tax credits name them too, and some answers have only those."""
    found: list[Json] | None = item.get("discount_amounts")
    if found is None:
        found = _pretax(item, "pretax_credit_amounts", "discount")
    return found


def _total_discount(item: Json) -> int:
    found = item.get("total_discount_amounts")
    if found is None:
        found = _pretax(item, "total_pretax_credit_amounts", "discount")
    return _sum(found)


def _total_pretax_credits(item: Json) -> int | None:
    found = item.get("total_pretax_credit_amounts")
    return None if found is None else _sum(found)


def _tax(new: str, old: str, behavior: str) -> Getter:
    """A getter for the tax on top (`exclusive`) or inside (`inclusive`) of an amount."""

    def get(item: Json) -> int:
        entries = item.get(new)
        if entries is not None:
            return _sum([entry for entry in entries if entry["tax_behavior"] == behavior])
        inside = behavior == "inclusive"
        return _sum([entry for entry in item.get(old) or () if entry["inclusive"] is inside])

    return get


_INVOICES = Flattener(
    tables.INVOICES,
    {
        "invoice_id": "id",
        "number": "number",
        "customer_id": ref("customer"),
        # `invoice.subscription` until 2025-03-31.
        "subscription_id": first(
            ref("parent", "subscription_details", "subscription"), ref("subscription")
        ),
        "status": "status",
        "billing_reason": "billing_reason",
        "collection_method": "collection_method",
        "currency": "currency",
        "created": "created",
        "period_start": "period_start",
        "period_end": "period_end",
        "finalized_at": "status_transitions.finalized_at",
        "paid_at": "status_transitions.paid_at",
        "voided_at": "status_transitions.voided_at",
        "marked_uncollectible_at": "status_transitions.marked_uncollectible_at",
        "due_date": "due_date",
        "auto_advance": "auto_advance",
        "automatically_finalizes_at": "automatically_finalizes_at",
        "subtotal": "subtotal",
        "total": "total",
        "total_exclusive_tax": _tax("total_taxes", "total_tax_amounts", "exclusive"),
        "total_inclusive_tax": _tax("total_taxes", "total_tax_amounts", "inclusive"),
        "total_discount": _total_discount,
        "total_pretax_credits": _total_pretax_credits,
        # Versions without the key had no shipping on invoices.
        "amount_shipping": lambda item: item.get("amount_shipping", 0),
        "amount_due": "amount_due",
        "amount_paid": "amount_paid",
        "amount_remaining": "amount_remaining",
        "starting_balance": "starting_balance",
        "ending_balance": "ending_balance",
        "pre_payment_credit_notes_amount": "pre_payment_credit_notes_amount",
        "post_payment_credit_notes_amount": "post_payment_credit_notes_amount",
        "attempt_count": "attempt_count",
        "next_payment_attempt": "next_payment_attempt",
        "from_invoice_id": ref("from_invoice", "invoice"),
        "latest_revision_id": ref("latest_revision"),
        "metadata": "metadata",
    },
    required=frozenset({"customer_id", "currency", "created", "subtotal", "total"}),
    payload_without="lines",
    known_keys=declared(stripe.Invoice, "subscription"),
    known_values={
        "status": frozenset({"draft", "open", "paid", "uncollectible", "void"}),
        "billing_reason": frozenset(
            {"automatic_pending_invoice_item_invoice", "manual", "quote_accept", "subscription"}
            | {"subscription_create", "subscription_cycle", "subscription_threshold"}
            | {"subscription_update", "upcoming"}
        ),
    },
)


def _details(line: Json) -> Json:
    """What the line's parent says, whichever of its kinds it is."""
    parent = line.get("parent") or {}
    details: Json = parent.get(parent.get("type")) or {}
    return details


def _detail(name: str) -> Getter:
    return lambda line: _details(line).get(name)


def _is_proration(line: Json) -> object:
    return first(_detail("proration"), path("proration"))(line) or False


def _unit_amount(line: Json) -> object:
    """The price per unit as the line states it; the old layout shows the whole price instead."""
    if line.get("pricing") is not None:
        return at(line, "pricing", "unit_amount_decimal")
    if _is_proration(line):
        return None
    return first(
        path("price", "unit_amount_decimal"), path("price", "unit_amount"), path("unit_amount")
    )(line)


_LINES = Flattener(
    tables.INVOICE_LINES,
    {
        "line_id": "id",
        "parent_type": first(
            path("parent", "type"), lambda line: _PARENT_OF_OLD_TYPE.get(line.get("type", ""))
        ),
        "subscription_id": first(
            lambda line: reference(_details(line).get("subscription")), ref("subscription")
        ),
        "invoice_item_id": first(
            lambda line: reference(_details(line).get("invoice_item")), ref("invoice_item")
        ),
        "price_id": first(ref("pricing", "price_details", "price"), ref("price"), ref("plan")),
        "product_id": first(
            ref("pricing", "price_details", "product"),
            lambda line: _product_of_old_price(line.get("price") or line.get("plan")),
        ),
        "currency": "currency",
        "amount": "amount",
        "subtotal": first(path("subtotal"), path("amount")),
        # The integer is cut off where the quantity has a fraction.
        "quantity": first(path("quantity_decimal"), path("quantity")),
        "unit_amount_decimal": _unit_amount,
        "period_start": "period.start",
        "period_end": "period.end",
        "is_proration": _is_proration,
        "credited_items": first(
            lambda line: at(_details(line), "proration_details", "credited_items"),
            path("proration_details", "credited_items"),
        ),
        "description": "description",
        "discountable": "discountable",
        "discount_amount": lambda line: _sum(_discount_entries(line)),
        "credit_balance_amount": lambda line: _sum(
            _pretax(line, "pretax_credit_amounts", "credit_balance_transaction")
        ),
        "exclusive_tax": _tax("taxes", "tax_amounts", "exclusive"),
        "inclusive_tax": _tax("taxes", "tax_amounts", "inclusive"),
        "metadata": "metadata",
    },
    required=frozenset({"currency", "amount", "period_start", "period_end"}),
    known_keys=declared(stripe.InvoiceLineItem),
    known_values={"parent_type": frozenset(_PARENT_OF_OLD_TYPE.values())},
)


def _product_of_old_price(price: object) -> str | None:
    return reference(at(price, "product")) if isinstance(price, dict) else None


_LINE_DISCOUNTS = Flattener(
    tables.INVOICE_LINE_DISCOUNTS, {"discount_id": ref("discount"), "amount": "amount"}
)

_CREDIT_NOTES = Flattener(
    tables.CREDIT_NOTES,
    {
        "credit_note_id": "id",
        "invoice_id": ref("invoice"),
        "customer_id": ref("customer"),
        "status": "status",
        "type": "type",
        "reason": "reason",
        "currency": "currency",
        "amount": "amount",
        "subtotal": "subtotal",
        "total": "total",
        "pre_payment_amount": "pre_payment_amount",
        "post_payment_amount": "post_payment_amount",
        "out_of_band_amount": "out_of_band_amount",
        "created": "created",
        "effective_at": "effective_at",
        "voided_at": "voided_at",
    },
    required=frozenset({"invoice_id", "currency", "amount", "status"}),
    payload_without="lines",
    known_keys=declared(stripe.CreditNote),
    known_values={
        "status": frozenset({"issued", "void"}),
        "type": frozenset({"pre_payment", "post_payment", "mixed"}),
    },
)

_CREDIT_NOTE_LINES = Flattener(
    tables.CREDIT_NOTE_LINES,
    {
        "credit_note_line_id": "id",
        "type": "type",
        "invoice_line_id": ref("invoice_line_item"),
        "amount": "amount",
        "discount_amount": first(
            path("discount_amount"), lambda line: _sum(_discount_entries(line))
        ),
        "quantity": first(path("quantity_decimal"), path("quantity")),
        "unit_amount_decimal": first(path("unit_amount_decimal"), path("unit_amount")),
        "exclusive_tax": _tax("taxes", "tax_amounts", "exclusive"),
        "inclusive_tax": _tax("taxes", "tax_amounts", "inclusive"),
        "description": "description",
    },
    required=frozenset({"amount"}),
    known_keys=declared(stripe.CreditNoteLineItem),
)


def invoices(
    objects: Sequence[Json], sync: Sync, subscription_item_of: Mapping[str, str]
) -> Batches:
    """Flatten invoices into invoices, lines and line discounts.

    Args:
        objects: Invoices with all their lines.
        sync: The synchronisation.
        subscription_item_of: Invoice item to subscription item, from `subscription_items_by_item`;
            a line that came through an invoice item does not name its subscription item itself.
    """
    lines = [
        (invoice.get("id"), index, line)
        for invoice in objects
        for index, line in enumerate(elements(invoice, "lines"))
    ]
    rows = [line for *_, line in lines]
    without_counters(objects)
    without_counters(rows)

    def subscription_item(line: Json) -> str | None:
        details = _details(line)
        own = details.get("subscription_item") or line.get("subscription_item")
        if own is None:
            item = reference(details.get("invoice_item") or line.get("invoice_item"))
            own = subscription_item_of.get(item or "")
        return reference(own)

    return {
        "invoices": _INVOICES.batch(objects, sync),
        "invoice_lines": _LINES.batch(
            rows,
            sync,
            invoice_id=[invoice for invoice, *_ in lines],
            line_index=[index for _, index, _ in lines],
            subscription_item_id=subscription_item,
        ),
        "invoice_line_discounts": _line_discounts(rows, sync),
    }


def invoice_items_of(objects: Iterable[Json]) -> set[str]:
    """The invoice items that lines of these invoices were made from."""
    found = (
        _details(line).get("invoice_item") or line.get("invoice_item")
        for invoice in objects
        for line in elements(invoice, "lines")
    )
    return {item for value in found if (item := reference(value))}


def _line_discounts(lines: Sequence[Json], sync: Sync) -> pa.RecordBatch:
    found: dict[tuple[object, object], Json] = {}
    for line in lines:
        for entry in _discount_entries(line):
            place = (line.get("id"), reference(entry.get("discount")))
            before = found.get(place)
            found[place] = (
                entry | {"amount": before["amount"] + entry["amount"]} if before else entry
            )
    counted: Counter[object] = Counter()
    positions = []
    for line_id, _ in found:
        positions.append(counted[line_id])
        counted[line_id] += 1
    return _LINE_DISCOUNTS.batch(
        list(found.values()), sync, line_id=[line for line, _ in found], position=positions
    )


def credit_notes(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten credit notes, given with all their lines, into credit notes and lines."""
    lines = [(note.get("id"), line) for note in objects for line in elements(note, "lines")]
    return {
        "credit_notes": _CREDIT_NOTES.batch(objects, sync),
        "credit_note_lines": _CREDIT_NOTE_LINES.batch(
            [line for _, line in lines], sync, credit_note_id=[note for note, _ in lines]
        ),
    }
