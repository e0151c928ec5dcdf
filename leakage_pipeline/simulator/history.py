"""What really happened to one customer of the simulated company, and what was billed for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from leakage_pipeline.simulator.customers import Customer, World
from leakage_pipeline.simulator.invoicing import DueInvoice, DueLine
from leakage_pipeline.simulator.invoicing_periods import Period
from leakage_pipeline.simulator.usage import MeterUsage

FINALIZATION_DELAY = timedelta(hours=1)


@dataclass(frozen=True)
class History:
    """What really happened to one customer, and what was billed for it."""

    world: World
    customer: Customer
    periods: Sequence[Period]
    usage: dict[str, MeterUsage]
    invoices: Sequence[DueInvoice]
    stray: MeterUsage | None = None
    after_end: dict[str, MeterUsage] = field(default_factory=dict)

    def finalized_lines(self, index: int) -> Iterator[DueLine]:
        """Lines of a period on invoices that count as billed."""
        return self._lines_without(index, {"draft", "void"})

    def written_lines(self, index: int) -> Iterator[DueLine]:
        """Lines of a period on invoices that count, drafts included."""
        return self._lines_without(index, {"void"})

    def _lines_without(self, index: int, statuses: set[str]) -> Iterator[DueLine]:
        for invoice in self.invoices:
            if invoice.status not in statuses:
                yield from (line for line in invoice.lines if line.period_index == index)

    def has_licence_line(self, index: int) -> bool:
        """Whether the licence of a period stands on an invoice that counts."""
        return any(line.kind == "licence" for line in self.finalized_lines(index))

    def is_closed(self, end: datetime) -> bool:
        """Whether a period that ends then is closed at the company's as_of."""
        return end + FINALIZATION_DELAY <= self.world.as_of

    def paid_periods(self) -> Iterator[tuple[int, Period]]:
        """Periods outside a trial, with their index."""
        return ((i, period) for i, period in enumerate(self.periods) if not period.is_trial)


Amounts = Iterator[tuple[Period, int | None]]
"""Period and amount in minor units, not yet filtered; None for usage that nobody prices."""
