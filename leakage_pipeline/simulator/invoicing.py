"""Invoices of a simulated customer: which lines fall due when, at which amount.

Licences are billed in advance and usage in arrears on one invoice per renewal; plan changes are
prorated by the second. Amounts come from `pricing`, JSON from `stripe_objects`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from leakage_pipeline.simulator.catalog import StripePrice
from leakage_pipeline.simulator.customers import Customer, LicenceStep
from leakage_pipeline.simulator.invoicing_periods import Period, epoch
from leakage_pipeline.simulator.pricing import (
    HUNDRED,
    Charge,
    charges,
    discount_share,
    proration,
    round_half_away,
)
from leakage_pipeline.simulator.usage import MeterUsage

DRAFT_TIME = timedelta(hours=1)
PAYS_AFTER = timedelta(days=16)  # customers that get their invoices sent
DAYS_UNTIL_DUE = 30
REPLACED_AFTER = timedelta(days=2)
LineKind = Literal["licence", "usage", "credit", "debit"]


@dataclass(frozen=True)
class DueLine:
    """One line before it is JSON. Amounts are minor units; `discount` is what is taken off it."""

    kind: LineKind
    period_index: int
    price: StripePrice
    charge: Charge
    start: datetime
    end: datetime
    discount: int = 0
    tax: int = 0


@dataclass
class DueInvoice:
    """One invoice before it is JSON; `instant` is the second at which billing happened."""

    instant: datetime
    reason: str
    lines: list[DueLine]
    window: tuple[datetime, datetime]
    created: datetime
    finalized_at: datetime
    status: str = "paid"
    paid_at: datetime | None = None
    voided_at: datetime | None = None
    credits: list[tuple[int, datetime]] = field(default_factory=list)
    """Amount and instant of each credit note over the last line."""
    extra: int = 0
    """A one-off fee that somebody added by hand."""
    replaces: datetime | None = None
    """The instant of the void invoice that this one was made instead of."""
    attempt_count: int | None = None
    next_payment_attempt: datetime | None = None
    auto_advance: bool | None = None


def due_invoices(
    customer: Customer,
    periods: Sequence[Period],
    usage: dict[str, MeterUsage],
    as_of: datetime,
) -> list[DueInvoice]:
    """All invoices of a customer in time order; the ones that were never made are left out."""
    billing = _Billing(customer, periods, usage, as_of)
    invoices = [billing.renewal(index) for index in range(len(periods))]
    invoices.extend(billing.change_invoices())
    final = billing.final_invoice()
    if final is not None:
        invoices.append(final)
    kept = [entry for entry in invoices if entry is not None and entry.lines]
    kept.extend([_replacement(entry) for entry in kept if entry.replaces is not None])
    return sorted(kept, key=lambda entry: (entry.created, entry.instant))


def _replacement(original: DueInvoice) -> DueInvoice:
    """Make an invoice void and make it again, line by line, two days later."""
    created = original.created + REPLACED_AFTER
    again = replace(original, instant=created, created=created, finalized_at=created)
    again.paid_at = created + timedelta(seconds=2)
    original.status, original.paid_at, original.replaces = "void", None, None
    original.voided_at = created
    return again


class _Billing:
    """Decides the lines of one customer's invoices."""

    def __init__(
        self,
        customer: Customer,
        periods: Sequence[Period],
        usage: dict[str, MeterUsage],
        as_of: datetime,
    ) -> None:
        self.customer = customer
        self.periods = periods
        self.usage = usage
        self.as_of = as_of

    def renewal(self, index: int) -> DueInvoice | None:
        """The invoice at the start of a period: this licence, the usage of the period before."""
        if self.customer.missing_invoices.get(index) == "absent":
            return None
        edits = self.customer.edits
        period = self.periods[index]
        lines: list[DueLine] = []
        if index > 0:
            lines.extend(self._waiting_prorations(index - 1))
            lines.extend(self._usage_lines(index - 1))
        lines.extend([self._licence_line(index)] * (1 + ((None, index) in edits.repeated)))
        if period.is_trial:
            lines.extend(self._trial_lines(index))
        window = (self.periods[max(index - 1, 0)].start, period.start)
        reason = "subscription_create" if index == 0 else "subscription_cycle"
        invoice = self._invoice(period.start, reason, lines, window)
        paused = self.customer.paused_from
        is_void = self.customer.missing_invoices.get(index) == "void" or (
            paused is not None and paused <= period.start
        )
        if is_void and invoice.status != "draft":
            invoice.status, invoice.paid_at = "void", None
            invoice.voided_at = invoice.finalized_at
        for credit in self.customer.credits:
            if credit.period == index:
                given = int(lines[-1].charge.amount * credit.share)
                invoice.credits.append((given, invoice.finalized_at + credit.after))
        invoice.extra = edits.extras.get(index, 0)
        invoice.replaces = period.start if index in edits.replaced else None
        return invoice

    def change_invoices(self) -> list[DueInvoice]:
        """Invoices made at once for a change of the licence inside a period."""
        invoices = []
        for step in self.customer.licence:
            if step.invoicing == "at_once":
                index = self._period_of(step.at)
                lines = self._proration_lines(index, step)
                window = (self.periods[index].start, step.at)
                invoices.append(self._invoice(step.at, "subscription_update", lines, window))
        return invoices

    def final_invoice(self) -> DueInvoice | None:
        """What is left to bill when a subscription ends: the last usage, perhaps a credit."""
        ending = self.customer.cancellation
        if ending is None or not self.customer.is_finally_billed:
            return None
        index = len(self.periods) - 1
        lines: list[DueLine] = []
        if ending.credits_rest:
            step = self.customer.licence_at(ending.ended_at)
            lines.append(self._proration_line("credit", index, step, ending.ended_at))
        lines.extend(self._usage_lines(index))
        window = (self.periods[index].start, ending.ended_at)
        return self._invoice(ending.ended_at, "subscription_cycle", lines, window)

    def _invoice(
        self,
        instant: datetime,
        reason: str,
        lines: list[DueLine],
        window: tuple[datetime, datetime],
    ) -> DueInvoice:
        at_once = reason != "subscription_cycle"
        # A renewal's draft appears some seconds after the period's end and waits for an hour.
        created = instant if at_once else instant + timedelta(seconds=self.customer.index % 40)
        finalized = created if at_once else created + DRAFT_TIME
        paid = finalized + (PAYS_AFTER if self.customer.sends_invoices else timedelta(seconds=2))
        invoice = DueInvoice(
            instant,
            reason,
            [self._net(line, instant) for line in lines],
            window,
            created,
            finalized,
        )
        if finalized > self.as_of:
            invoice.status = "draft"
        elif paid > self.as_of:
            invoice.status = "open"
        else:
            invoice.paid_at = paid
        return invoice

    def _net(self, line: DueLine, instant: datetime) -> DueLine:
        """The line with its discount and its tax."""
        grant, amount = self.customer.grant, line.charge.amount
        discount = 0
        if grant is not None and grant.covers(instant) and line.kind in {"licence", "usage"}:
            if grant.coupon.percent is not None:
                discount = discount_share(amount, grant.coupon.percent)
            else:
                discount = min(grant.coupon.amount_off or 0, amount)
        tax = 0
        if self.customer.tax is not None:
            percent, behavior = self.customer.tax
            base = HUNDRED if behavior == "exclusive" else HUNDRED + percent
            tax = round_half_away((amount - discount) * percent / base)
        return DueLine(
            *(line.kind, line.period_index, line.price, line.charge, line.start, line.end),
            *(discount, tax),
        )

    def _licence_line(self, index: int) -> DueLine:
        period = self.periods[index]
        step = self.customer.licence_at(period.start)
        unit = 0 if period.is_trial else step.price.unit_in(self.customer.currency)
        unit = int(unit * self.customer.edits.fees.get(index, 1))
        charge = Charge(Decimal(step.quantity), Decimal(unit), unit * step.quantity)
        return DueLine("licence", index, step.price, charge, period.start, period.natural_end)

    def _usage_lines(self, index: int) -> list[DueLine]:
        period = self.periods[index]
        if period.is_trial:
            return []
        lines: list[DueLine] = []
        for price in self.customer.metered:
            if price.meter is None or price.meter not in self.usage:
                continue
            share = self.customer.lowered_lines.get((price.meter, index), Decimal(1))
            if share == 0:
                continue
            quantity = self.usage[price.meter].metered_quantity(index)
            if share != 1:
                quantity = (quantity * share).to_integral_value()
            billed = [
                DueLine("usage", index, price, charge, period.start, period.end)
                for charge in charges(price.rate_in(self.customer.currency), quantity)
            ]
            lines.extend(billed * (1 + ((price.meter, index) in self.customer.edits.repeated)))
        return lines

    def _trial_lines(self, index: int) -> list[DueLine]:
        period = self.periods[index]
        free = Charge(Decimal(0), None, 0)
        return [
            DueLine("usage", index, price, free, period.start, period.end)
            for price in self.customer.metered
        ]

    def _period_of(self, instant: datetime) -> int:
        seconds = epoch(instant)
        return next(i for i, period in enumerate(self.periods) if period.contains(seconds))

    def _waiting_prorations(self, index: int) -> list[DueLine]:
        period = self.periods[index]
        return [
            line
            for step in self.customer.licence
            if step.invoicing == "next_invoice" and period.contains(epoch(step.at))
            for line in self._proration_lines(index, step)
        ]

    def _proration_lines(self, index: int, step: LicenceStep) -> list[DueLine]:
        before = self.customer.licence[self.customer.licence.index(step) - 1]
        return [
            self._proration_line("credit", index, before, step.at),
            self._proration_line("debit", index, step, step.at),
        ]

    def _proration_line(
        self, kind: LineKind, index: int, step: LicenceStep, at: datetime
    ) -> DueLine:
        period = self.periods[index]
        sign = -1 if kind == "credit" else 1
        amount = proration(
            sign * step.price.unit_in(self.customer.currency),
            step.quantity,
            epoch(period.natural_end) - epoch(at),
            epoch(period.natural_end) - epoch(period.start),
        )
        charge = Charge(Decimal(step.quantity), None, amount)
        return DueLine(kind, index, step.price, charge, at, period.natural_end)
