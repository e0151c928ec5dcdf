"""Writes the lines of one subscription: fees in advance, usage in arrears, prorations.

Which lines an invoice gets is decided in `changes` and `engine`; here is what each says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import count, pairwise

from leakage_pipeline.simulator.billing_engine.discounts import (
    exact_gross,
    floored,
    full_net,
    in_force,
    last_used,
)
from leakage_pipeline.simulator.billing_engine.ledger import (
    Debit,
    Item,
    Line,
    LineKind,
    Subscription,
)
from leakage_pipeline.simulator.billing_engine.usage import MeterBook
from leakage_pipeline.simulator.pricing import Charge

ZERO = Decimal(0)


@dataclass
class LineWriter:
    """Makes lines with ids of their own; the subscription's state is read, debits are kept."""

    sub: Subscription
    usage: MeterBook
    code: str
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def fees(self, item: Item) -> list[Line]:
        """The advance fee of the item's running period: whole, or its share of a short period."""
        if item.price.meter is not None:
            return []
        if item.is_trial:
            free = Charge(item.units, ZERO, 0)
            return [self._line("licence", item, free, f"Free trial for {item.name}")]
        length, full = item.end - item.start, item.full[1] - item.full[0]
        if length == full:
            charges = item.price.lines(item.units, self.sub.currency)
        else:
            # A short first period is prorated like any other time, to the second.
            exact = exact_gross(item, self.sub.currency) * length / full
            charges = [Charge(item.units, None, floored(exact, self.sub.currency))]
        lines = [self._line("licence", item, charge) for charge in charges]
        item.debits = [Debit(line, item.start, item.end) for line in lines]
        return lines

    def elapsed(self, item: Item, intervals: Fraction) -> Line:
        """One line for time that had gone by when the subscription was made (classic mode)."""
        exact = exact_gross(item, self.sub.currency) * intervals
        amount = floored(exact, self.sub.currency)
        return self._line("licence", item, Charge(item.units, None, amount))

    def used(self, item: Item, until: int) -> list[Line]:
        """The usage of the item's running period up to `until`, at its present price."""
        meter = item.price.meter
        if meter is None:
            return []
        quantity = self.usage.quantity(meter, item.start, until)
        if item.is_trial:
            free = [Charge(quantity, ZERO, 0)]
            return [self._line("usage", item, charge, end=until) for charge in free]
        charges = item.price.lines(quantity, self.sub.currency)
        return [self._line("usage", item, charge, end=until) for charge in charges]

    def nothing_used(self, item: Item) -> Line:
        """The zero line that classic mode writes when a metered item is added."""
        return self._line("usage", item, Charge(ZERO, ZERO, 0))

    def credits(self, item: Item, at: int) -> list[Line]:
        """The unused time from here on given back, toward minus infinity.

        Flexible mode credits every original debit with what was really charged; classic mode the
        present price and quantity, charged or not, with the discounts last used.
        """
        if item.price.meter is not None or item.is_trial or at >= item.end:
            return []
        if self.sub.mode == "flexible":
            lines = []
            for debit in item.debits:
                share = Fraction(debit.end - at, debit.end - debit.start)
                amount = floored(-debit.line.net * share, self.sub.currency)
                line = self._proration(item, amount, at, debit.line)
                whole = floored(-debit.line.amount * share, self.sub.currency)
                self._itemize(line, self._parts(whole - amount, debit.line.off))
                lines.append(line)
            return lines
        share = Fraction(item.end - at, item.full[1] - item.full[0])
        net = full_net(self.sub, item, last_used(self.sub, item))
        amount = floored(-net * share, self.sub.currency)
        origin = item.debits[-1].line if item.debits else None
        return [self._proration(item, amount, at, origin, quantity=item.units)]

    def debit(self, item: Item, at: int) -> list[Line]:
        """The remaining time at the item's present terms, toward minus infinity."""
        if item.price.meter is not None or item.is_trial or at >= item.end:
            return []
        share = Fraction(item.end - at, item.full[1] - item.full[0])
        discounts = in_force(self.sub, item, at)
        amount = floored(full_net(self.sub, item, discounts) * share, self.sub.currency)
        line = self._proration(item, amount, at, None)
        inside = tuple(active.discount.discount_id for active in discounts)
        left = [
            floored(full_net(self.sub, item, discounts[:n]) * share, self.sub.currency)
            for n in range(len(discounts) + 1)
        ]
        off = [before - after for before, after in pairwise(left)]
        self._itemize(line, list(zip(inside, off, strict=True)))
        item.debits = [Debit(line, at, item.end, () if line.off else inside)]
        return [line]

    def _itemize(self, line: Line, off: Sequence[tuple[str, int]]) -> None:
        """Show a proration at its gross amount and what each discount takes off it."""
        if self.sub.itemizes_prorations:
            line.off = [(key, amount) for key, amount in off if amount]
            line.amount += sum(amount for _, amount in line.off)

    @staticmethod
    def _parts(whole: int, taken: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """A credit's discount over those of the line it gives back, the rest to the last."""
        total = sum(amount for _, amount in taken)
        shares = [whole * amount // total for _, amount in taken[:-1]]
        return [
            (key, share)
            for (key, _), share in zip(
                taken, [*shares, whole - sum(shares)][: len(taken)], strict=True
            )
        ]

    def as_invoice_item(self, line: Line) -> Line:
        """The line as one that waits for an invoice."""
        line.invoice_item = f"ii_{line.line_id[3:]}"
        return line

    def _proration(
        self,
        item: Item,
        amount: int,
        at: int,
        credited: Line | None,
        quantity: Decimal | None = None,
    ) -> Line:
        shown = quantity or (item.units if credited is None else credited.quantity)
        line = self._line("proration", item, Charge(shown, None, amount), start=at)
        if credited is not None:
            line.credited_line = credited.line_id
            line.price = credited.price if quantity is None else item.price
        line.description = f"{'Unused' if amount < 0 else 'Remaining'} time on {item.name}"
        return self.as_invoice_item(line)

    def _line(
        self,
        kind: LineKind,
        item: Item,
        charge: Charge,
        description: str | None = None,
        *,
        start: int | None = None,
        end: int | None = None,
    ) -> Line:
        return Line(
            line_id=f"il_{self.code}_{next(self._numbers):04d}",
            kind=kind,
            item_id=item.item_id,
            price=item.price,
            quantity=charge.quantity,
            unit=charge.unit,
            amount=charge.amount,
            start=item.start if start is None else start,
            end=item.end if end is None else end,
            service=(item.start, item.end),
            description=description or f"{charge.quantity} x {item.name}",
        )
