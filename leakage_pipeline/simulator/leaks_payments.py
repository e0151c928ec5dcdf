"""Leaks and risks on the side of payments: debts, refunds, disputes, cards, drafts, lost events.

`LEAKS` plants them on honest customers, `RULES` says what each of them comes to per period.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from leakage_pipeline.simulator.customers import (
    HISTORY_MONTHS,
    Customer,
    Wish,
    World,
    closed_periods,
    new_customer,
)
from leakage_pipeline.simulator.customers_profiles import cancel_at_end, close_account
from leakage_pipeline.simulator.history import Amounts, History
from leakage_pipeline.simulator.invoicing_periods import Period, add_months
from leakage_pipeline.simulator.payment_life import (
    Dispute,
    Fate,
    LostEvent,
    PauseBehavior,
    PaymentLife,
    Refund,
    WaitingItem,
)
from leakage_pipeline.simulator.settling import due_amount, net_amount, refunded_amount

Variant = Callable[[World, int], Customer]

HOUR = 3600
BEYOND_GRACE = timedelta(days=20)  # longer than the days of grace of the policy
OLD_ENOUGH = timedelta(days=40)
PAUSED_FOR = timedelta(days=75)
DECLINED_TIMES = 4


def _customer(world: World, index: int, oldest_of: int = 4) -> Customer:
    plan = ("pro", "business", "basic")[index % 3]
    wish = Wish(plan, months=(oldest_of, HISTORY_MONTHS), is_settled=True, has_usage=False)
    return new_customer(world, index, wish)


def _renewals(world: World, customer: Customer, since: datetime) -> list[int]:
    """The renewals from an instant on, the running period's included; never the first invoice."""
    starts = [period.start for period in customer.periods(world.as_of)]
    return [number for number, start in enumerate(starts) if number > 0 and start >= since]


def _paid_period(world: World, customer: Customer, topic: str) -> int:
    closed = [i for i in closed_periods(customer, world.as_of, OLD_ENOUGH) if i > 0]
    return world.rng(topic, customer.index).choice(closed)


# --- debts ---------------------------------------------------------------------------------------


def _unpaid(status: str, *, tries_again: bool) -> Variant:
    def build(world: World, index: int) -> Customer:
        customer = _customer(world, index, 5)
        beyond = [
            number
            for number in _renewals(world, customer, customer.start)
            if customer.periods(world.as_of)[number].start + BEYOND_GRACE <= world.as_of
        ]
        again = world.as_of + timedelta(days=2) if tries_again else None
        unpaid = _renewals(world, customer, customer.periods(world.as_of)[beyond[-1]].start)
        fate = Fate("open", DECLINED_TIMES, again, auto_advance=tries_again)
        customer.payment = PaymentLife(
            subscription_status=status, fates=dict.fromkeys(unpaid, fate)
        )
        return customer

    return build


def _given_up(world: World, index: int) -> Customer:
    """The last invoice was never paid, and then the subscription ended."""
    customer = _customer(world, index, 6)
    cancel_at_end(world, customer)
    close_account(customer, customer.ended_at or world.as_of)
    last = len(customer.periods(world.as_of)) - 1
    customer.payment = PaymentLife(fates={last: Fate("open", DECLINED_TIMES)})
    return customer


# --- cards ---------------------------------------------------------------------------------------


def _card_expired(world: World, index: int) -> Customer:
    customer = _customer(world, index)
    ended = add_months(world.as_of, -1)
    customer.payment = PaymentLife(card_ends=(ended.year, ended.month))
    return customer


def _card_expires(world: World, index: int) -> Customer:
    """A yearly subscription whose card ends with the month before the next charge."""
    plan = "pro" if index % 2 else "business"
    customer = new_customer(world, index, Wish(plan, interval="year", is_settled=True))
    before = add_months(customer.periods(world.as_of)[-1].natural_end, -1)
    customer.payment = PaymentLife(card_ends=(before.year, before.month))
    return customer


# --- refunds, disputes ---------------------------------------------------------------------------


def _refunded_twice(world: World, index: int) -> Customer:
    customer = _customer(world, index, 5)
    period = _paid_period(world, customer, "refund")
    customer.payment = PaymentLife(
        refunds=(Refund(period, HOUR), Refund(period, HOUR + 300)),
    )
    return customer


def _disputed(status: str) -> Variant:
    def build(world: World, index: int) -> Customer:
        customer = _customer(world, index, 5)
        period = _paid_period(world, customer, "dispute")
        dispute = Dispute(period, 9 * 24 * HOUR, status)
        customer.payment = PaymentLife(disputes=(dispute,))
        return customer

    return build


# --- invoices that collect nothing ---------------------------------------------------------------


def _stuck_draft(*, auto_advance: bool) -> Variant:
    def build(world: World, index: int) -> Customer:
        customer = _customer(world, index, 6)
        period = _paid_period(world, customer, "draft")
        customer.payment = PaymentLife(fates={period: Fate("draft", auto_advance=auto_advance)})
        return customer

    return build


def _item_left_behind(world: World, index: int) -> Customer:
    customer = _customer(world, index, 5)
    at = (world.as_of - timedelta(days=50)).replace(microsecond=0)
    amount = 4900 + 100 * (index % 7)
    customer.payment = PaymentLife(waiting=(WaitingItem(at, amount),))
    return customer


def _paused(behavior: PauseBehavior) -> Variant:
    def build(world: World, index: int) -> Customer:
        customer = _customer(world, index, 6)
        paused = _renewals(world, customer, world.as_of - PAUSED_FOR)
        fate = Fate("draft" if behavior == "keep_as_draft" else "uncollectible")
        customer.payment = PaymentLife(pause=behavior, fates=dict.fromkeys(paused, fate))
        return customer

    return build


def _event_lost(kind: str) -> Variant:
    def build(world: World, index: int) -> Customer:
        customer = _customer(world, index)
        at = (world.as_of - timedelta(days=5)).replace(microsecond=0)
        last = len(customer.periods(world.as_of)) - 1
        customer.payment = PaymentLife(lost_events=(LostEvent(last, at, kind),))
        return customer

    return build


LEAKS: dict[str, tuple[tuple[str, str | None, Variant], ...]] = {
    "duplicate_refund": (("refunded_twice", None, _refunded_twice),),
    "unpaid_access": (
        ("past_due", None, _unpaid("past_due", tries_again=True)),
        ("unpaid", None, _unpaid("unpaid", tries_again=False)),
    ),
    "retries_exhausted": (("given_up", None, _given_up),),
    "expiring_payment_method": (
        ("card_expired", None, _card_expired),
        ("card_expires", None, _card_expires),
    ),
    "stuck_draft_invoice": (
        ("auto_advance_off", None, _stuck_draft(auto_advance=False)),
        ("item_left_behind", None, _item_left_behind),
        ("finalization_overdue", None, _stuck_draft(auto_advance=True)),
    ),
    "dispute_open": (
        ("needs_response", None, _disputed("needs_response")),
        ("under_review", None, _disputed("under_review")),
    ),
    "paused_collection": (
        ("kept_as_draft", None, _paused("keep_as_draft")),
        ("written_off", None, _paused("mark_uncollectible")),
    ),
    "webhook_delivery_failure": (
        ("invoice_paid", None, _event_lost("invoice.paid")),
        ("subscription_updated", None, _event_lost("customer.subscription.updated")),
    ),
}


# --- what each comes to --------------------------------------------------------------------------


def _from(start: datetime, history: History) -> Period:
    return Period(start, history.world.as_of, history.world.as_of)


def _charged(history: History, period: int) -> tuple[datetime, int]:
    """When the charge of a renewal was made, and over how much."""
    start = history.periods[period].start
    invoice = next(entry for entry in history.invoices if entry.instant == start)
    if invoice.paid_at is None:
        message = f"the invoice of {start} is not paid"
        raise ValueError(message)
    return invoice.paid_at, due_amount(invoice, history.customer.tax)


def _debts(history: History) -> Amounts:
    """All that is left to pay, since the oldest of the debts was due."""
    debts = [invoice for invoice in history.invoices if invoice.status == "open"]
    owed = sum(due_amount(invoice, history.customer.tax) for invoice in debts)
    yield _from(min(invoice.finalized_at for invoice in debts), history), owed


def _next_fee(history: History) -> Amounts:
    period = history.periods[-1]
    step = history.customer.licence_at(period.start)
    yield period, step.price.unit_in(history.customer.currency) * step.quantity


def _second_refund(history: History) -> Amounts:
    first, second = history.customer.payment.refunds
    paid_at, charged = _charged(history, first.period)
    start = paid_at + timedelta(seconds=first.seconds_after)
    yield Period(start, start, start), refunded_amount(second, charged)


def _disputes(history: History) -> Amounts:
    for dispute in history.customer.payment.disputes:
        paid_at, charged = _charged(history, dispute.period)
        yield _from(paid_at + timedelta(seconds=dispute.seconds_after), history), charged


def _held(history: History) -> Amounts:
    """What the invoices of the fated renewals bill, each for its own period."""
    life = history.customer.payment
    for period in life.fates:
        start = history.periods[period].start
        invoice = next(entry for entry in history.invoices if entry.instant == start)
        yield history.periods[period], net_amount(invoice)
    for item in life.waiting:
        yield _from(item.date, history), item.amount


def _lost_events(history: History) -> Iterator[tuple[Period, int]]:
    for lost in history.customer.payment.lost_events:
        start = history.periods[lost.period].start
        invoice = next(entry for entry in history.invoices if entry.instant == start)
        yield _from(lost.at, history), net_amount(invoice)


RULES: dict[str, Callable[[History], Amounts]] = {
    "duplicate_refund": _second_refund,
    "unpaid_access": _debts,
    "retries_exhausted": _debts,
    "expiring_payment_method": _next_fee,
    "stuck_draft_invoice": _held,
    "dispute_open": _disputes,
    "paused_collection": _held,
    "webhook_delivery_failure": _lost_events,
}
