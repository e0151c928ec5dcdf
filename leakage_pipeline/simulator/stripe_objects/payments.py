"""How money moves: cards, charges, refunds, disputes, payments of invoices, credit balances.

Amounts are minor units. A failed charge moves nothing; a dispute takes its amount at once.
"""
# ruff: noqa: PLR0913 - a builder takes one keyword per field of the object it builds

from collections.abc import Mapping

from leakage_pipeline.simulator.stripe_objects.shapes import JsonObject, metadata_of, nulls

_NOBODY: JsonObject = {
    "address": nulls("city", "country", "line1", "line2", "postal_code", "state"),
    **nulls("email", "name", "phone", "tax_id"),
}


def payment_method(
    method_id: str,
    *,
    customer: str,
    created: int,
    brand: str = "visa",
    last4: str = "4242",
    exp_month: int = 12,
    exp_year: int = 2034,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """A card; valid to the end of its month."""
    return {
        "id": method_id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": _NOBODY,
        "card": {
            "brand": brand,
            "checks": nulls("address_line1_check", "address_postal_code_check", "cvc_check"),
            "country": "US",
            "display_brand": brand,
            "exp_month": exp_month,
            "exp_year": exp_year,
            "fingerprint": f"fp{last4}",
            "funding": "credit",
            "generated_from": None,
            "last4": last4,
            "networks": {"available": [brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": created,
        "customer": customer,
        "customer_account": None,
        "livemode": False,
        "metadata": metadata_of(metadata),
        "type": "card",
    }


def bank_debit(method_id: str, *, customer: str, created: int, last4: str = "3000") -> JsonObject:
    """A SEPA direct debit: a payment method that never expires."""
    return {
        "id": method_id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": _NOBODY,
        "created": created,
        "customer": customer,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "sepa_debit": {
            "bank_code": "37040044",
            "branch_code": "",
            "country": "DE",
            "fingerprint": f"fp{last4}",
            "generated_from": {"charge": None, "setup_attempt": None},
            "last4": last4,
        },
        "type": "sepa_debit",
    }


def charge(
    charge_id: str,
    *,
    customer: str | None,
    amount: int,
    currency: str,
    created: int,
    status: str = "succeeded",
    payment_intent: str | None = None,
    payment_method: str | None = None,
    amount_refunded: int = 0,
    disputed: bool = False,
    failure_code: str | None = None,
    failure_message: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """An attempt to charge; `status` is succeeded, pending or failed."""
    paid = status == "succeeded"
    return {
        "id": charge_id,
        "object": "charge",
        "amount": amount,
        "amount_captured": amount if paid else 0,
        "amount_refunded": amount_refunded,
        "billing_details": _NOBODY,
        "captured": paid,
        "created": created,
        "currency": currency,
        "customer": customer,
        "disputed": disputed,
        "failure_code": failure_code,
        "failure_message": failure_message,
        "fraud_details": {},
        "livemode": False,
        "metadata": metadata_of(metadata),
        "outcome": {
            **nulls("advice_code", "network_advice_code", "network_decline_code", "reason"),
            "network_status": "approved_by_network" if paid else "declined_by_network",
            "seller_message": "Payment complete." if paid else "The bank declined the payment.",
            "type": "authorized" if paid else "issuer_declined",
        },
        "paid": paid,
        "payment_intent": payment_intent,
        "payment_method": payment_method,
        "refunded": paid and amount_refunded >= amount,
        "status": status,
        **nulls(
            *("application", "application_fee", "application_fee_amount", "balance_transaction"),
            *("calculated_statement_descriptor", "description", "failure_balance_transaction"),
            *("on_behalf_of", "payment_method_details", "receipt_email", "receipt_number"),
            *("receipt_url", "review", "shipping", "source_transfer", "statement_descriptor"),
            *("statement_descriptor_suffix", "transfer_data", "transfer_group"),
        ),
    }


def refund(
    refund_id: str,
    *,
    charge: JsonObject,
    amount: int,
    created: int,
    status: str = "succeeded",
    reason: str | None = "requested_by_customer",
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """Money given back; a failed or canceled one gives none."""
    return {
        "id": refund_id,
        "object": "refund",
        "amount": amount,
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "customer": charge["customer"],
        "destination_details": {"card": {"type": "refund"}, "type": "card"},
        "metadata": metadata_of(metadata),
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": reason,
        "status": status,
        **nulls(
            *("balance_transaction", "customer_account", "receipt_number"),
            *("source_transfer_reversal", "transfer_reversal"),
        ),
    }


def dispute(
    dispute_id: str,
    *,
    charge: JsonObject,
    created: int,
    status: str = "needs_response",
    amount: int | None = None,
    reason: str = "general",
    evidence_due_by: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> JsonObject:
    """A customer's bank asks for the money of a charge, or a part of it, back."""
    return {
        "id": dispute_id,
        "object": "dispute",
        "amount": charge["amount"] if amount is None else amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {
            "enhanced_evidence": {},
            **nulls(
                *("access_activity_log", "billing_address", "cancellation_policy"),
                *("cancellation_policy_disclosure", "cancellation_rebuttal"),
                *("customer_communication", "customer_email_address", "customer_name"),
                *("customer_purchase_ip", "customer_signature", "duplicate_charge_documentation"),
                *("duplicate_charge_explanation", "duplicate_charge_id", "product_description"),
                *("receipt", "refund_policy", "refund_policy_disclosure"),
                *("refund_refusal_explanation", "service_date", "service_documentation"),
                *("shipping_address", "shipping_carrier", "shipping_date"),
                *("shipping_documentation", "shipping_tracking_number", "uncategorized_file"),
                "uncategorized_text",
            ),
        },
        "evidence_details": {
            "due_by": evidence_due_by,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": metadata_of(metadata),
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": "visa",
                "case_type": "chargeback",
                "network": "visa",
                "network_reason_code": "10.4",
            },
            "type": "card",
        },
        "reason": reason,
        "status": status,
    }


def invoice_payment(
    payment_id: str,
    *,
    invoice: JsonObject,
    created: int,
    payment_intent: str | None = None,
    charge: str | None = None,
    status: str = "paid",
    amount_requested: int | None = None,
    amount_paid: int | None = None,
    is_default: bool = True,
    paid_at: int | None = None,
    canceled_at: int | None = None,
) -> JsonObject:
    """A payment towards an invoice: of what is due, by a payment intent unless told otherwise.

    Raises:
        ValueError: When neither or both of payment intent and charge are given.
    """
    if (payment_intent is None) == (charge is None):
        message = "an invoice is paid by either a payment intent or a charge"
        raise ValueError(message)
    requested = invoice["amount_due"] if amount_requested is None else amount_requested
    if status == "paid":
        amount_paid = requested if amount_paid is None else amount_paid
        paid_at = created if paid_at is None else paid_at
    by: JsonObject = {"payment_intent": payment_intent, "type": "payment_intent"}
    if charge is not None:
        by = {"charge": charge, "type": "charge"}
    return {
        "id": payment_id,
        "object": "invoice_payment",
        "amount_paid": amount_paid,
        "amount_requested": requested,
        "created": created,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": is_default,
        "livemode": False,
        "payment": by,
        "status": status,
        "status_transitions": {"canceled_at": canceled_at, "paid_at": paid_at},
    }


def balance_transaction(
    transaction_id: str,
    *,
    customer: str,
    amount: int,
    ending_balance: int,
    currency: str,
    created: int,
    type: str = "adjustment",  # noqa: A002 - Stripe's own word
    invoice: str | None = None,
    credit_note: str | None = None,
) -> JsonObject:
    """A change of a customer's credit balance; a negative amount gives the customer credit."""
    return {
        "id": transaction_id,
        "object": "customer_balance_transaction",
        "amount": amount,
        "created": created,
        "credit_note": credit_note,
        "currency": currency,
        "customer": customer,
        "ending_balance": ending_balance,
        "invoice": invoice,
        "livemode": False,
        "metadata": {},
        "type": type,
        **nulls("checkout_session", "customer_account", "description"),
    }
