"""Credit notes over the API: preview, create, void, with what each does to invoice and balance.

A note first lowers what the invoice still asks for; the rest was paid, and goes to the customer's
balance, back to the card, or outside of Stripe. Discounts and taxes follow the credited line.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from itertools import count
from typing import Any

from leakage_pipeline.simulator import stripe_objects as build
from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount
from leakage_pipeline.simulator.stripe_server.errors import bad_request, missing_param, no_such
from leakage_pipeline.simulator.stripe_server.params import integer, refuse_unknown, required, text
from leakage_pipeline.simulator.stripe_server.store import Store
from leakage_pipeline.simulator.stripe_server.writes import metadata_given

PATH = "/v1/credit_notes"
PREVIEW = f"{PATH}/preview"
PARAMS = {
    *("invoice", "amount", "lines", "credit_amount", "refund_amount", "out_of_band_amount"),
    *("memo", "metadata", "reason", "email_type", "effective_at", "expand"),
}
_LINE_PARAMS = {"type", "invoice_line_item", "amount", "quantity", "description", "unit_amount"}
_REASONS = {"duplicate", "fraudulent", "order_change", "product_unsatisfactory"}
_EMAILS = {"credit_note", "none"}
_MOST_LINES = 250
_VOID = re.compile(rf"{PATH}/([^/]+)/void")


class CreditNotes:
    """The credit notes of one account, made and voided over the API."""

    def __init__(self, account: StripeAccount, store: Store, clock: Callable[[], int]) -> None:
        self._account = account
        self._store = store
        self._clock = clock
        self._numbers = count(len(account.credit_notes) + 1)

    def preview(self, params: Mapping[str, Any]) -> JsonObject:
        """`GET /v1/credit_notes/preview`: the note as it would be; nothing changes."""
        return self._build("cn_preview", params)

    def create(self, params: Mapping[str, Any]) -> JsonObject:
        """`POST /v1/credit_notes`."""
        note = self._build(f"cn_written_{next(self._numbers):06d}", params)
        self._lower_invoice(note, by=1)
        credited = integer("credit_amount", params.get("credit_amount", "0"))
        if credited:
            note["customer_balance_transaction"] = self._to_balance(note, credited)
        refunded = integer("refund_amount", params.get("refund_amount", "0"))
        if refunded:
            note["refunds"] = [self._to_card(note, refunded)]
        self._account.credit_notes.append(note)
        self._store.credit_note_lines[note["id"]] = list(note["lines"]["data"])
        self._store.add("credit_notes", note)
        return note

    def void(self, path: str) -> JsonObject | None:
        """`POST /v1/credit_notes/{id}/void`, None for another address."""
        match = _VOID.fullmatch(path)
        if match is None:
            return None
        note = self._store.retrieve("credit_note", match[1])
        if note is None:
            raise no_such(noun="credit note", object_id=match[1])
        invoice = self._store.retrieve("invoice", note["invoice"])
        if note["status"] != "issued" or note["post_payment_amount"]:
            message = "You can only void a credit note that is issued and gave nothing back."
            raise bad_request(message=message)
        if invoice is None or invoice["status"] != "open":
            message = "You can only void a credit note of an open invoice."
            raise bad_request(message=message)
        self._lower_invoice(note, by=-1)
        for each in self._both("credit_notes", note["id"]):
            each |= {"status": "void", "voided_at": self._clock()}
        return note

    def _build(self, note_id: str, params: Mapping[str, Any]) -> JsonObject:
        refuse_unknown(params, PARAMS)
        invoice = self._invoice(required(params, "invoice"))
        for name, known in (("reason", _REASONS), ("email_type", _EMAILS)):
            if name in params and params[name] not in known:
                raise bad_request(message=f"Invalid {name}: {params[name]}", param=name)
        lines = self._lines(note_id, invoice, params)
        total = sum(
            line["amount"]
            - line["discount_amount"]
            + sum(tax["amount"] for tax in line["taxes"] if tax["tax_behavior"] == "exclusive")
            for line in lines
        )
        if total <= 0:
            raise bad_request(message="The amount of a credit note must be positive.")
        after = max(0, total - invoice["amount_remaining"])
        self._check_split(invoice, after, params)
        now = self._clock()
        return build.credit_note(
            note_id,
            invoice=invoice,
            created=now,
            lines=lines,
            reason=params.get("reason"),
            effective_at=integer("effective_at", params.get("effective_at", str(now))),
            post_payment_amount=after,
            out_of_band_amount=integer("out_of_band_amount", params.get("out_of_band_amount", "0"))
            or None,
            memo=params.get("memo"),
            metadata=metadata_given(params.get("metadata", {})),
        )

    def _invoice(self, invoice_id: str) -> JsonObject:
        invoice = self._store.retrieve("invoice", invoice_id)
        if invoice is None:
            raise no_such(noun="invoice", object_id=invoice_id, param="invoice", in_path=False)
        if invoice["status"] in {"draft", "void"}:
            message = f"A credit note cannot be issued for an invoice that is {invoice['status']}."
            raise bad_request(message=message, param="invoice")
        return invoice

    def _lines(
        self, note_id: str, invoice: JsonObject, params: Mapping[str, Any]
    ) -> list[JsonObject]:
        given = params.get("lines")
        if (given is None) == ("amount" not in params):
            raise (
                missing_param(param="lines")
                if given is None
                else bad_request(
                    message="Only one of amount and lines may be given.", param="amount"
                )
            )
        if given is None:
            amount = integer("amount", params["amount"])
            return [build.credit_note_line(f"cnli_{note_id}_1", amount=amount, quantity=1)]
        if not isinstance(given, list) or not 0 < len(given) <= _MOST_LINES:
            raise bad_request(message="Invalid lines", param="lines")
        credited = self._credited_so_far(invoice["id"])
        made = []
        for number, line in enumerate(given, start=1):
            refuse_unknown(line, _LINE_PARAMS)
            name = f"cnli_{note_id}_{number}"
            if required(line, "type") == "custom_line_item":
                amount = integer("unit_amount", required(line, "unit_amount"))
                quantity = integer("quantity", line.get("quantity", "1"))
                made.append(
                    build.credit_note_line(name, amount=amount * quantity, quantity=quantity)
                )
                continue
            made.append(self._line_of_invoice(name, invoice, line, credited))
        return made

    def _line_of_invoice(
        self, name: str, invoice: JsonObject, line: Mapping[str, Any], credited: dict[str, int]
    ) -> JsonObject:
        """Part of an invoice line, with its share of the line's discounts and taxes."""
        line_id = text("invoice_line_item", required(line, "invoice_line_item"))
        billed = next((e for e in self._store.lines[invoice["id"]] if e["id"] == line_id), None)
        if billed is None:
            raise no_such(noun="invoice line item", object_id=line_id, param="lines", in_path=False)
        if "amount" in line:
            amount = integer("lines[amount]", line["amount"])
        else:
            quantity = integer("lines[quantity]", required(line, "quantity"))
            amount = _share(billed["amount"], quantity, billed["quantity"] or 1)
        left = billed["amount"] - credited.get(line_id, 0)
        if not 0 < amount <= left:
            message = (
                f"The credit note line item amount ({amount}) must be positive and cannot exceed "
                f"the remaining amount of the invoice line item ({left})."
            )
            raise bad_request(message=message, param="lines")
        credited[line_id] = credited.get(line_id, 0) + amount
        whole = billed["amount"]
        return build.credit_note_line(
            name,
            amount=amount,
            invoice_line_item=line_id,
            discount_amounts=[
                (off["discount"], _share(off["amount"], amount, whole))
                for off in billed["discount_amounts"]
            ],
            taxes=[
                tax
                | {
                    "amount": _share(tax["amount"], amount, whole),
                    "taxable_amount": _share(tax["taxable_amount"] or 0, amount, whole),
                }
                for tax in billed["taxes"]
            ],
            description=billed["description"],
        )

    def _credited_so_far(self, invoice_id: str) -> dict[str, int]:
        """What notes that are not void have taken off each line, before discounts."""
        sums: dict[str, int] = {}
        for note in self._account.credit_notes:
            if note["invoice"] == invoice_id and note["status"] != "void":
                for line in self._store.credit_note_lines[note["id"]]:
                    if "invoice_line_item" in line:
                        name = line["invoice_line_item"]
                        sums[name] = sums.get(name, 0) + line["amount"]
        return sums

    def _check_split(self, invoice: JsonObject, after: int, params: Mapping[str, Any]) -> None:
        """What was paid has to go somewhere, and no more of it than was not given back yet."""
        parts = [
            integer(name, params.get(name, "0"))
            for name in ("credit_amount", "refund_amount", "out_of_band_amount")
        ]
        if sum(parts) != after or min(parts) < 0:
            message = (
                f"The sum of credit amount, refund amount and out of band amount ({sum(parts)}) "
                f"must equal the post payment amount of the credit note ({after})."
            )
            raise bad_request(message=message)
        refunds = sum(
            refund["amount"]
            for charge in self._charges(invoice["id"])
            for refund in self._account.refunds
            if refund["charge"] == charge["id"] and refund["status"] not in {"failed", "canceled"}
        )
        noted = invoice["post_payment_credit_notes_amount"]
        most = invoice["amount_paid"] - max(noted, refunds)
        if after > most:
            message = f"The maximum that can be credited for this invoice is {max(most, 0)}."
            raise bad_request(message=message)

    def _lower_invoice(self, note: JsonObject, *, by: int) -> None:
        before, after = by * note["pre_payment_amount"], by * note["post_payment_amount"]
        for invoice in self._both("invoices", note["invoice"]):
            invoice["pre_payment_credit_notes_amount"] += before
            invoice["post_payment_credit_notes_amount"] += after
            invoice["amount_due"] -= before
            invoice["amount_remaining"] -= before
            if invoice["status"] == "open" and invoice["amount_remaining"] == 0:
                invoice["status"] = "paid"
                invoice["status_transitions"] = invoice["status_transitions"] | {
                    "paid_at": self._clock()
                }

    def _to_balance(self, note: JsonObject, amount: int) -> str:
        ending = 0
        for customer in self._both("customers", note["customer"]):
            ending = customer["balance"] = customer["balance"] - amount
        change = build.balance_transaction(
            f"cbtxn_{note['id']}",
            customer=note["customer"],
            amount=-amount,
            ending_balance=ending,
            currency=note["currency"],
            created=self._clock(),
            type="credit_note",
            invoice=note["invoice"],
            credit_note=note["id"],
        )
        self._account.balance_transactions.append(change)
        self._store.balance_transactions.setdefault(note["customer"], []).insert(0, change)
        return str(change["id"])

    def _to_card(self, note: JsonObject, amount: int) -> JsonObject:
        charge = next(iter(self._charges(note["invoice"])), None)
        if charge is None or charge["amount_captured"] - charge["amount_refunded"] < amount:
            message = "There is no charge of this invoice that could be refunded by so much."
            raise bad_request(message=message, param="refund_amount")
        refund = build.refund(
            f"re_{note['id']}", charge=charge, amount=amount, created=self._clock(), reason=None
        )
        refunded = charge["amount_refunded"] + amount
        for each in self._both("charges", charge["id"]):
            each["amount_refunded"] = refunded
        self._account.refunds.append(refund)
        self._store.add("refunds", refund)
        return {
            "amount_refunded": amount,
            "payment_record_refund": None,
            "refund": refund["id"],
            "type": "refund",
        }

    def _charges(self, invoice_id: str) -> Sequence[JsonObject]:
        """The charges that paid the invoice."""
        intents = {
            payment["payment"].get("payment_intent")
            for payment in self._account.invoice_payments
            if payment["invoice"] == invoice_id and payment["status"] == "paid"
        }
        return [each for each in self._account.charges if each["payment_intent"] in intents]

    def _both(self, shelf: str, object_id: str) -> list[JsonObject]:
        """The object in the account and as it is shown; often the same one."""
        kept = next(each for each in getattr(self._account, shelf) if each["id"] == object_id)
        shown = self._store.shelves[shelf].by_id[object_id]
        return [kept] if kept is shown else [kept, shown]


def _share(amount: int, part: int, whole: int) -> int:
    exact = Decimal(amount) * part / whole
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))
