"""Plays subscriptions as Stripe bills them: commands and renewals in time order.

Written from Stripe's documentation and recordings alone; the audit's SQL is never consulted.
"""

from collections.abc import Callable, Sequence
from itertools import count

from leakage_pipeline.simulator.billing_engine.calendar import cell_around
from leakage_pipeline.simulator.billing_engine.changes import Changes
from leakage_pipeline.simulator.billing_engine.commands import (
    AddInvoiceItem,
    AddItem,
    ApplyDiscount,
    Cancel,
    CancelAtPeriodEnd,
    ChangeItem,
    ChangeTrialEnd,
    Command,
    Create,
    Pause,
    PauseCollection,
    RemoveDiscount,
    RemoveItem,
    ResetAnchor,
    Resume,
)
from leakage_pipeline.simulator.billing_engine.ledger import Buyer, Item, Plan, Subscription
from leakage_pipeline.simulator.billing_engine.usage import MeterBook
from leakage_pipeline.simulator.billing_engine.writer import LineWriter


def play(buyer: Buyer, plan: Plan, usage: MeterBook, as_of: int) -> Subscription:
    """One subscription's life up to `as_of`: its last state, its invoices, what still waits.

    Raises:
        ValueError: When a command does not fit the state that it meets.
    """
    sub = Subscription(plan, buyer)
    code = plan.subscription_id.removeprefix("sub_")
    play_ = _Play(Changes(sub, LineWriter(sub, usage, code), code, count(1)), as_of)
    for command in sorted(plan.commands, key=lambda entry: entry.at):
        if command.at > as_of:
            break
        play_.renew_until(command.at)
        play_.apply(command)
    play_.renew_until(as_of)
    return sub


def play_all(
    buyer: Buyer, plans: Sequence[Plan], usage: MeterBook, as_of: int
) -> list[Subscription]:
    """Every subscription of a customer."""
    return [play(buyer, plan, usage, as_of) for plan in plans]


class _Play:
    """Drives the changes through time."""

    def __init__(self, changes: Changes, as_of: int) -> None:
        self.changes = changes
        self.sub = changes.sub
        self.as_of = as_of

    def renew_until(self, limit: int) -> None:
        """Every renewal, trial end and planned end up to and at this second."""
        while self.sub.status in {"active", "trialing"}:
            due = min((item.end for item in self.sub.items), default=limit + 1)
            if due > limit:
                return
            self.changes.renew(due)

    def apply(self, command: Command) -> None:
        """One command at its second."""
        acts: dict[type, Callable[..., None]] = {
            Create: self._create,
            ChangeItem: self.changes.change_item,
            AddItem: self._add,
            RemoveItem: self.changes.remove_item,
            ApplyDiscount: self.changes.apply_discount,
            RemoveDiscount: self.changes.withdraw,
            ChangeTrialEnd: self.changes.change_trial_end,
            ResetAnchor: self.changes.reset,
            PauseCollection: self.changes.pause_collection,
            Pause: self.changes.pause,
            Resume: self.changes.resume,
            Cancel: self.changes.cancel,
            CancelAtPeriodEnd: self.changes.cancel_later,
            AddInvoiceItem: self.changes.add_invoice_item,
        }
        acts[type(command)](command)
        self.changes.note(command.at, is_new=isinstance(command, Create))

    def _add(self, command: AddItem) -> None:
        item = self.changes.new_item(command.item, command.at)
        self.place(item, command.at)
        self.changes.add_item(item, command)

    def place(self, item: Item, at: int) -> None:
        """Put an added item into the grid: its first period ends where the grid's cell ends."""
        if self.sub.status == "trialing" and self.sub.trial_end is not None:
            item.start, item.end, item.is_trial = at, self.sub.trial_end, True
            item.full = (item.start, item.end)
            return
        price = item.price
        item.full = cell_around(self.sub.anchor, price.interval, price.interval_count, at)
        item.start, item.end = at, item.full[1]

    def _create(self, command: Create) -> None:
        sub = self.sub
        sub.mode, sub.created = command.mode, command.at
        sub.itemizes_prorations = command.itemizes_prorations
        sub.start = command.at if command.backdate_to is None else command.backdate_to
        sub.anchor = command.anchor or command.trial_end or self._natural_anchor(command)
        if command.trial_end is not None:
            sub.status = "trialing"
            sub.trial_start, sub.trial_end = command.at, command.trial_end
        sub.items = [self.changes.new_item(entry, command.at) for entry in command.items]
        for discount in command.discounts:
            self.changes.give(discount, sub.start)
        for item in sub.items:
            self.place(item, command.at)
        self.changes.first_invoice(command)

    @staticmethod
    def _natural_anchor(command: Create) -> int:
        is_flexible = command.mode == "flexible"
        if is_flexible and command.backdate_to is not None:
            return command.backdate_to
        return command.at
