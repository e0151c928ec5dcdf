"""What people do to invoices by hand while they are drafts, or to keep them from being made.

Stripe bills as `engine` plays; these are the mistakes on top of it.
"""

from dataclasses import dataclass, replace
from typing import Literal

from leakage_pipeline.simulator.billing_engine.ledger import Subscription


@dataclass(frozen=True)
class InvoiceEdit:
    """An act on one invoice: remove or void it whole, drop or repeat one line of it."""

    invoice_id: str
    act: Literal["remove", "void", "drop_line", "repeat_line"]
    line_id: str | None = None


def apply_edits(sub: Subscription, edits: tuple[InvoiceEdit, ...]) -> None:
    """Change the subscription's invoices as told."""
    for edit in edits:
        invoice = next((e for e in sub.invoices if e.invoice_id == edit.invoice_id), None)
        if invoice is None:
            continue
        if edit.act == "remove":
            sub.invoices.remove(invoice)
        elif edit.act == "void":
            invoice.collection = "void"
        elif edit.act == "drop_line":
            invoice.lines = [line for line in invoice.lines if line.line_id != edit.line_id]
        else:
            again = next(line for line in invoice.lines if line.line_id == edit.line_id)
            invoice.lines.append(replace(again, line_id=f"{again.line_id}r"))
