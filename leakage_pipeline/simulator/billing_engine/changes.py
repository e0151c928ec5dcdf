"""What each command does to a subscription: new state, lines that wait, invoices made.

One method per command; time runs in `engine`.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from leakage_pipeline.simulator.billing_engine.calendar import (
    add_intervals,
    cell_around,
    intervals_between,
)
from leakage_pipeline.simulator.billing_engine.commands import (
    AddInvoiceItem,
    AddItem,
    ApplyDiscount,
    Cancel,
    CancelAtPeriodEnd,
    ChangeItem,
    ChangeTrialEnd,
    Create,
    Discount,
    NewItem,
    Pause,
    PauseCollection,
    Proration,
    RemoveDiscount,
    RemoveItem,
    ResetAnchor,
    Resume,
)
from leakage_pipeline.simulator.billing_engine.discounts import take_off
from leakage_pipeline.simulator.billing_engine.ledger import (
    ActiveDiscount,
    Invoice,
    Item,
    Line,
    Subscription,
)
from leakage_pipeline.simulator.billing_engine.prices import rounding_unit
from leakage_pipeline.simulator.billing_engine.rendering import subscription_object
from leakage_pipeline.simulator.billing_engine.subscription_events import record
from leakage_pipeline.simulator.billing_engine.writer import LineWriter

DRAFT_TIME = 3600
DRAFT_APPEARS = 40  # a renewal's draft is made within so many seconds after the period's end


class Changes:
    """The acts of one subscription."""

    def __init__(
        self, sub: Subscription, writer: LineWriter, code: str, numbers: Iterator[int]
    ) -> None:
        self.sub = sub
        self.writer = writer
        self.code = code
        self.numbers = numbers
        self._shown: dict[str, object] | None = None

    # ------------------------------------------------------------ birth and renewal

    def new_item(self, entry: NewItem, at: int) -> Item:
        """The item, not yet placed in time."""
        return Item(
            f"si_{self.code}_{entry.name}",
            entry.name,
            entry.price,
            entry.quantity,
            at,
            at,
            at,
            (at, at),
        )

    def first_invoice(self, command: Create) -> None:
        """The invoice of the creation: fees, zero lines (classic), backdated periods."""
        sub, lines = self.sub, []
        for item in sub.items:
            if command.backdate_to is not None and command.trial_end is None:
                lines.extend(self._backdated(item, command.backdate_to, command.at))
            elif item.price.meter is not None and sub.mode == "classic":
                lines.append(self.writer.nothing_used(item))
            elif (
                command.proration == "none" and item.end - item.start < item.full[1] - item.full[0]
            ):
                continue  # the time up to the anchor is a present
            else:
                lines.extend(self.writer.fees(item))
        self._invoice(command.at, "subscription_create", lines, (command.at, command.at))

    def _backdated(self, item: Item, start: int, at: int) -> list[Line]:
        """Elapsed time billed with the first invoice.

        Flexible: a line per period, usage too. Classic: one line for the elapsed time, in
        intervals imagined from the backdated start on; usage waits for the next invoice.
        """
        price, lines = item.price, []
        if self.sub.mode == "flexible":
            cell = cell_around(self.sub.anchor, price.interval, price.interval_count, start)
            while cell[0] <= at:
                item.start, item.end, item.full = max(cell[0], start), cell[1], cell
                if price.meter is None:
                    lines.extend(self.writer.fees(item))
                elif item.end <= at:
                    lines.extend(self.writer.used(item, item.end))
                cell = cell_around(self.sub.anchor, price.interval, price.interval_count, cell[1])
            return lines
        if price.meter is not None:
            item.start = start
            return [self.writer.nothing_used(item)]
        running = (item.start, item.end, item.full)
        item.start, item.end = start, at
        lump = self.writer.elapsed(
            item, intervals_between(start, price.interval, price.interval_count, at)
        )
        item.start, item.end, item.full = running
        return [lump, *self.writer.fees(item)]

    def renew(self, at: int) -> None:
        """Everything that falls due at this second: the ends of items' periods, a planned end."""
        sub = self.sub
        due = [item for item in sub.items if item.end == at]
        ends = sub.cancel_at is not None and at >= sub.cancel_at
        window = (min(item.start for item in due), at)
        lines = [line for item in due for line in self.writer.used(item, at)]
        if sub.status == "trialing" and sub.trial_end is not None and at >= sub.trial_end:
            sub.status = "active"
        if ends:
            sub.status, sub.ended_at = "canceled", at
        for item in due:
            if not ends:
                self._advance(item, at)
                lines.extend(self.writer.fees(item))
        self._invoice(at, "subscription_cycle", lines, window)
        self.note(at)

    def _advance(self, item: Item, at: int) -> None:
        price = item.price
        item.is_trial = False
        item.full = cell_around(self.sub.anchor, price.interval, price.interval_count, at)
        item.start, item.end = at, item.full[1]
        item.debits = []

    # ------------------------------------------------------------ changes of items

    def change_item(self, command: ChangeItem) -> None:
        """Another price or quantity: the old terms credited whole, the new ones debited whole."""
        item, at = self.sub.item(command.name), command.at
        price = command.price or item.price
        same_rhythm = (price.interval, price.interval_count) == (
            item.price.interval,
            item.price.interval_count,
        )
        if not same_rhythm and self.sub.mode == "flexible":
            message = "another interval in flexible mode needs an item of its own"
            raise ValueError(message)
        if item.price.meter is not None:
            self._change_meter_price(item, command)
            return
        lines = [] if command.proration == "none" else self.writer.credits(item, at)
        item.price = price
        if command.quantity is not None:
            item.quantity = command.quantity
        if not same_rhythm:
            self.sub.pending.extend(lines)
            self.reset_anchor(at, "none")
            return
        if command.proration != "none":
            lines.extend(self.writer.debit(item, at))
        self._prorate(lines, at, command.proration)

    def _change_meter_price(self, item: Item, command: ChangeItem) -> None:
        """Usage so far: flexible bills it by an invoice item, classic drops it."""
        lines = []
        if self.sub.mode == "flexible" and command.proration != "none":
            lines = self._used_so_far(item, command.at)
        item.price = command.price or item.price
        item.start = command.at
        self._prorate(lines, command.at, command.proration)

    def _used_so_far(self, item: Item, at: int) -> list[Line]:
        lines = self.writer.used(item, at)
        return [self.writer.as_invoice_item(line) for line in lines]

    def add_item(self, item: Item, command: AddItem) -> None:
        """One more item: its remaining time is debited, a meter counts from now on."""
        self.sub.items.append(item)
        if command.proration == "none":
            return
        if item.price.meter is None:
            lines = self.writer.debit(item, command.at)
        elif self.sub.mode == "classic" and command.proration == "always_invoice":
            lines = [self.writer.nothing_used(item)]
        else:
            return
        self._prorate(lines, command.at, command.proration)

    def remove_item(self, command: RemoveItem) -> None:
        """The item goes: unused time is credited, unbilled usage billed (flexible) or lost."""
        item, at = self.sub.item(command.name), command.at
        lines: list[Line] = []
        if command.proration != "none":
            lines.extend(self.writer.credits(item, at))
            if self.sub.mode == "flexible" and item.price.meter is not None:
                lines.extend(self._used_so_far(item, at))
        self.sub.items.remove(item)
        self.sub.removed.append(item)
        self._prorate(lines, at, command.proration)

    def add_invoice_item(self, command: AddInvoiceItem) -> None:
        """An amount that somebody adds by hand, or a program: it waits for the next invoice."""
        if self.sub.status in {"canceled", "paused"}:
            message = "no invoice of this subscription would take the item up"
            raise ValueError(message)
        self.sub.pending.append(
            Line(
                line_id=f"il_{command.item_id[3:]}",
                kind="item",
                item_id="",
                price=self.sub.items[0].price,
                quantity=Decimal(1),
                unit=None,
                amount=command.amount,
                start=command.start,
                end=command.end,
                service=(command.start, command.end),
                invoice_item=command.item_id,
                description=command.description,
                is_discountable=command.is_discountable,
                metadata=command.metadata,
            )
        )

    def _prorate(self, lines: Sequence[Line], at: int, proration: Proration) -> None:
        self.sub.pending.extend(lines)
        if proration == "always_invoice" and lines:
            starts = [item.start for item in self.sub.items]
            self._invoice(at, "subscription_update", [], (min(starts, default=at), at))

    # ------------------------------------------------------------ discounts

    def give(self, discount: Discount, at: int) -> None:
        """A discount from this second on; a repeating one ends after its months."""
        months = discount.coupon.months
        end = None if months is None else add_intervals(at, "month", 1, months)
        item_id = None if discount.item is None else f"si_{self.code}_{discount.item}"
        self.sub.discounts.append(ActiveDiscount(discount, at, end, item_id))

    def apply_discount(self, command: ApplyDiscount) -> None:
        """A discount is added to a running subscription."""
        self.give(command.discount, command.at)

    def withdraw(self, command: RemoveDiscount) -> None:
        """The discount applies no more."""
        for active in self.sub.discounts:
            if active.discount.discount_id == command.discount_id:
                active.removed_at = command.at

    # ------------------------------------------------------------ time

    def change_trial_end(self, command: ChangeTrialEnd) -> None:
        """The trial ends elsewhere, and so does everybody's running period."""
        sub = self.sub
        if sub.status != "trialing":
            message = "only a running trial can be moved"
            raise ValueError(message)
        sub.trial_end = sub.anchor = command.trial_end
        for item in sub.items:
            item.end = command.trial_end
            item.full = (item.start, item.end)
        if command.trial_end <= command.at:
            self._restart(command.at, "subscription_update")

    def reset(self, command: ResetAnchor) -> None:
        """The billing cycle starts anew now."""
        self.reset_anchor(command.at, command.proration)

    def reset_anchor(self, at: int, proration: Proration) -> None:
        """The period ends here: unused time credited, usage billed, a full period begins."""
        if proration != "none":
            for item in self.sub.items:
                self.sub.pending.extend(self.writer.credits(item, at))
        self.sub.anchor = at
        self._restart(at, "subscription_update")

    def _restart(self, at: int, reason: str, *, bills_usage: bool = True) -> None:
        sub = self.sub
        sub.status = "active"
        window = (min(item.start for item in sub.items), at)
        lines: list[Line] = []
        if bills_usage:  # what was used in a pause belongs to no period
            lines = [line for item in sub.items for line in self.writer.used(item, at)]
        for item in sub.items:
            self._advance(item, at)
            lines.extend(self.writer.fees(item))
        self._invoice(at, reason, lines, window)

    # ------------------------------------------------------------ pause and end

    def pause(self, command: Pause) -> None:
        """No more invoices; the running periods end here."""
        sub, at = self.sub, command.at
        if sub.mode != "flexible":
            message = "only a subscription in flexible mode can be paused"
            raise ValueError(message)
        window = (min(item.start for item in sub.items), at)
        for item in sub.items:
            if command.bills_usage:
                sub.pending.extend(self._used_so_far(item, at))
            if command.credits_from != "none":
                since = at if command.credits_from == "now" else item.start
                sub.pending.extend(self.writer.credits(item, since))
        if command.invoices:
            self._invoice(at, "subscription_update", [], window)
        for item in sub.items:
            item.end = at
        sub.status, sub.paused_at = "paused", at

    def pause_collection(self, command: PauseCollection) -> None:
        """Invoices from here on are made and not collected, or collected again."""
        self.sub.pause_collection = command.behavior

    def resume(self, command: Resume) -> None:
        """A new period from here, at full price."""
        at = command.at
        self.sub.paused_at = None
        self.sub.anchor = at
        self._restart(at, "subscription_update", bills_usage=False)

    def cancel(self, command: Cancel) -> None:
        """The end at once; without `invoice_now` what is unbilled stays so for ever."""
        sub, at = self.sub, command.at
        window = (min((item.start for item in sub.items), default=at), at)
        if command.prorate:
            for item in sub.items:
                sub.pending.extend(self.writer.credits(item, at))
        if command.invoice_now:
            used = [line for item in sub.items for line in self.writer.used(item, at)]
            self._invoice(at, "subscription_cycle", used, window)
        sub.status, sub.canceled_at, sub.ended_at = "canceled", at, at

    def cancel_later(self, command: CancelAtPeriodEnd) -> None:
        """The end comes with the longest running period."""
        sub = self.sub
        sub.cancels_at_period_end = command.is_cancelling and sub.mode == "classic"
        sub.cancel_at = max(item.end for item in sub.items) if command.is_cancelling else None
        sub.canceled_at = command.at if command.is_cancelling else None

    # ------------------------------------------------------------ invoices and events

    def _invoice(self, at: int, reason: str, lines: list[Line], window: tuple[int, int]) -> None:
        """Pending items come first; an invoice without any line is not made."""
        sub = self.sub
        taken, sub.pending = sub.pending, []
        everything = [*taken, *lines]
        if not everything:
            return
        take_off(everything, sub.discounts, at, rounding_unit(sub.currency))
        number = next(self.numbers)
        waits = reason == "subscription_cycle"
        created = at + (number * 7 + at) % DRAFT_APPEARS if waits else at
        invoice = Invoice(
            f"in_{self.code}_{number:03d}",
            created,
            reason,
            everything,
            window,
            created + (DRAFT_TIME if waits else 0),
            discounts=list(dict.fromkeys(key for line in everything for key, _ in line.off)),
            collection=sub.pause_collection,
        )
        for line in everything:
            line.invoice_id = invoice.invoice_id
        sub.invoices.append(invoice)

    def note(self, at: int, *, is_new: bool = False) -> None:
        """Keep an event when the subscription looks different from before."""
        shown = subscription_object(self.sub, at)
        record(self.sub.events, self._shown, shown, at, is_new=is_new)
        self._shown = shown
