"""The invoice: adds up its lines as Stripe does and carries its life (finalised, paid, voided).

Lines, invoice items and credit notes are built in `invoicing`.
"""
# ruff: noqa: PLR0913 - a builder takes one keyword per field of the object it builds

from collections.abc import Mapping, Sequence

from leakage_pipeline.simulator.stripe_objects.shapes import (
    DiscountShare,
    JsonObject,
    amounts_by_discount,
    embedded_list,
    id_of,
    metadata_of,
    nulls,
    pretax_credits,
    sum_taxes,
    tax_amount,
)

FINAL_STATUSES = frozenset({"paid", "void", "uncollectible"})


def invoice(
    invoice_id: str,
    *,
    customer: str,
    currency: str,
    created: int,
    lines: Sequence[JsonObject],
    period_start: int | None = None,
    period_end: int | None = None,
    status: str = "paid",
    number: str | None = None,
    billing_reason: str = "subscription_cycle",
    subscription: str | None = None,
    subscription_metadata: Mapping[str, str] | None = None,
    collection_method: str = "charge_automatically",
    due_date: int | None = None,
    finalized_at: int | None = None,
    paid_at: int | None = None,
    voided_at: int | None = None,
    marked_uncollectible_at: int | None = None,
    automatically_finalizes_at: int | None = None,
    auto_advance: bool | None = None,
    attempt_count: int | None = None,
    next_payment_attempt: int | None = None,
    amount_paid: int | None = None,
    amount_shipping: int = 0,
    starting_balance: int = 0,
    pre_payment_credit_notes_amount: int = 0,
    post_payment_credit_notes_amount: int = 0,
    discounts: Sequence[JsonObject] = (),
    from_invoice: str | None = None,
    latest_revision: str | None = None,
    test_clock: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """An invoice over its lines; all amounts are added up here, none is given twice.

    `period_*` is the window in which items were collected, not the service period (default:
    both `created`). `discounts` are the discounts of invoice and subscription (`discount()`).
    A draft has no number. `from_invoice` makes it a revision of that invoice.
    """
    draft = status == "draft"
    settled = status in FINAL_STATUSES
    if attempt_count is None:
        attempt_count = 1 if status == "paid" else 0
    if finalized_at is None and not draft:
        finalized_at = created
    if paid_at is None and status == "paid":
        paid_at = finalized_at
    totals = _totals(lines, amount_shipping, starting_balance, pre_payment_credit_notes_amount)
    due = totals["amount_due"]
    if amount_paid is None:
        amount_paid = due if status == "paid" else 0
    return {
        "id": invoice_id,
        "object": "invoice",
        **_EMPTY_FIELDS,
        **totals,
        "amount_paid": amount_paid,
        "amount_remaining": due - amount_paid,
        "attempt_count": attempt_count,
        "attempted": attempt_count > 0,
        "auto_advance": not settled if auto_advance is None else auto_advance,
        "automatically_finalizes_at": automatically_finalizes_at if draft else None,
        "billing_reason": billing_reason,
        "collection_method": collection_method,
        "created": created,
        "currency": currency,
        "customer": customer,
        "discounts": list(discounts),
        "due_date": due_date,
        "effective_at": finalized_at,
        "ending_balance": None if draft else totals["ending_balance"],
        "from_invoice": _revision_of(from_invoice),
        "latest_revision": latest_revision,
        "lines": embedded_list(f"/v1/invoices/{invoice_id}/lines", lines),
        "metadata": metadata_of(metadata),
        "next_payment_attempt": next_payment_attempt,
        "number": None if draft else (number or f"SIM-{invoice_id}"),
        "parent": _parent(subscription, subscription_metadata),
        "period_end": created if period_end is None else period_end,
        "period_start": created if period_start is None else period_start,
        "post_payment_credit_notes_amount": post_payment_credit_notes_amount,
        "status": status,
        "status_transitions": {
            "finalized_at": finalized_at,
            "marked_uncollectible_at": marked_uncollectible_at,
            "paid_at": paid_at,
            "voided_at": voided_at,
        },
        "test_clock": test_clock,
    }


_EMPTY_FIELDS: JsonObject = {
    "account_country": "US",
    "account_name": "Simulated company",
    "amount_overpaid": 0,
    "amount_paid_off_stripe": 0,
    "automatic_tax": {
        **nulls("disabled_reason", "liability", "provider", "status"),
        "enabled": False,
    },
    "customer_tax_exempt": "none",
    "customer_tax_ids": [],
    "default_tax_rates": [],
    "issuer": {"type": "self"},
    "livemode": False,
    "payment_settings": nulls("default_mandate", "payment_method_options", "payment_method_types"),
    "status_details": None,
    **nulls(
        *("account_tax_ids", "application", "custom_fields", "customer_account"),
        *("customer_address", "customer_email", "customer_name", "customer_phone"),
        *("customer_shipping", "default_payment_method", "default_source", "description"),
        *("footer", "hosted_invoice_url", "invoice_pdf", "last_finalization_error"),
        *("on_behalf_of", "receipt_number", "rendering", "shipping_cost", "shipping_details"),
        *("statement_descriptor", "webhooks_delivered_at"),
    ),
}


def _totals(
    lines: Sequence[JsonObject], shipping: int, starting_balance: int, pre_payment_credits: int
) -> JsonObject:
    """Everything that follows from the lines, by the identity that Stripe's totals keep.

    total = sum of line amounts - discounts - prepaid credits + exclusive tax + shipping. Discounts
    of a single line are inside the subtotal already, those of the whole invoice are not.
    """
    gross = sum(entry["amount"] for entry in lines)
    own = sum(
        share["amount"]
        for entry in lines
        for share in entry["discount_amounts"]
        if share["discount"] in {id_of(d) for d in entry["discounts"]}
    )
    off = amounts_by_discount(_shares(lines, "discount"))
    off_total = pretax_credits(off, _shares(lines, "credit_balance_transaction"))
    taxes = sum_taxes(entry for billed in lines for entry in billed["taxes"])
    inclusive = tax_amount(taxes, "inclusive")
    total = (
        gross
        - sum(entry["amount"] for entry in off_total)
        + tax_amount(taxes, "exclusive")
        + shipping
    )
    # The customer's credit (a negative balance) pays first; the rest of it stays there.
    owed = total + starting_balance
    return {
        "amount_due": max(owed - pre_payment_credits, 0),
        "amount_shipping": shipping,
        "ending_balance": min(owed, 0),
        "pre_payment_credit_notes_amount": pre_payment_credits,
        "starting_balance": starting_balance,
        "subtotal": gross - own,
        "subtotal_excluding_tax": gross - own - inclusive,
        "total": total,
        "total_discount_amounts": off,
        "total_excluding_tax": total - sum(entry["amount"] for entry in taxes),
        "total_pretax_credit_amounts": off_total,
        "total_taxes": taxes,
    }


def _shares(lines: Sequence[JsonObject], kind: str) -> list[DiscountShare]:
    return [
        (entry[kind], entry["amount"])
        for billed in lines
        for entry in billed["pretax_credit_amounts"]
        if entry["type"] == kind
    ]


def _parent(
    subscription: str | None, subscription_metadata: Mapping[str, str] | None
) -> JsonObject | None:
    if subscription is None:
        return None
    details = {"metadata": metadata_of(subscription_metadata), "subscription": subscription}
    return {
        "quote_details": None,
        "subscription_details": details,
        "type": "subscription_details",
    }


def _revision_of(invoice_id: str | None) -> JsonObject | None:
    return None if invoice_id is None else {"action": "revision", "invoice": invoice_id}
