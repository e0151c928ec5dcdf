"""What became of a simulated customer's invoices, and what each of them comes to.

Who pays how stands in `payment_life`; nothing here knows JSON.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from leakage_pipeline.simulator.invoicing import DueInvoice
from leakage_pipeline.simulator.payment_life import PaymentLife, Refund


def settle(life: PaymentLife, starts: Sequence[datetime], invoices: Sequence[DueInvoice]) -> None:
    """Let the invoices of the renewals at `starts` meet their fate."""
    fates = {starts[index]: fate for index, fate in life.fates.items()}
    for invoice in invoices:
        fate = fates.get(invoice.instant)
        if fate is None or invoice.status == "draft":
            continue
        invoice.status, invoice.paid_at = fate.status, None
        invoice.attempt_count = fate.attempt_count
        invoice.next_payment_attempt = fate.next_payment_attempt
        invoice.auto_advance = fate.auto_advance


def net_amount(invoice: DueInvoice) -> int:
    """What an invoice bills, less discounts and without exclusive tax, in minor units."""
    return sum(line.charge.amount - line.discount for line in invoice.lines) + invoice.extra


def due_amount(invoice: DueInvoice, tax: tuple[Decimal, str] | None) -> int:
    """What the customer has to pay for it, in minor units; never below 0."""
    on_top = 0
    if tax is not None and tax[1] == "exclusive":
        on_top = sum(line.tax for line in invoice.lines)
    return max(net_amount(invoice) + on_top, 0)


def refunded_amount(refund: Refund, charged: int) -> int:
    """What a refund gives back of so much, in minor units, cut to whole ones."""
    return int(charged * refund.share)
