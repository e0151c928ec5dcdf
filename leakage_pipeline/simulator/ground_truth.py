"""The known leaks as rows: what an audit of the simulated company must find, to the cent.

One label per expected finding, worked out from the planted fault with `pricing`. The pipeline
never reads them; only `scoring` does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from leakage_pipeline.simulator import (
    leaks_accounts,
    leaks_billing,
    leaks_drafts,
    leaks_payments,
    leaks_usage,
)
from leakage_pipeline.simulator.catalog import FEATURES, UsageTerm, midnight
from leakage_pipeline.simulator.customers import Leak
from leakage_pipeline.simulator.history import Amounts, History
from leakage_pipeline.simulator.invoicing_periods import Period, grid
from leakage_pipeline.simulator.opportunities import Opportunity, opportunities
from leakage_pipeline.simulator.pricing import (
    amount,
    discount_share,
    free_quantity,
    overage_amount,
    to_major,
)
from leakage_pipeline.simulator.settling import net_amount

TOLERANCE_PERCENT = Decimal(5)
MIN_AMOUNT = Decimal(1)
OVERBILLING = frozenset({"overbilled_usage", "overbilled_price", "double_charge"})
JPY_PER_USD = Decimal(150)  # good enough to stay away from the smallest published amount


@dataclass(frozen=True)
class Label:
    """One expected finding; `amount` is a magnitude in currency units."""

    customer_id: str
    subscription_id: str | None
    leakage_type: str
    variant: str
    meter: str | None
    period_start: datetime
    period_end: datetime
    phase: str
    currency: str
    amount: Decimal | None
    """None for usage that nobody prices."""

    def as_row(self) -> dict[str, Any]:
        """The label as it stands in ground_truth.json: instants in ISO 8601, money as text."""
        return {
            "customer_id": self.customer_id,
            "subscription_id": self.subscription_id,
            "leakage_type": self.leakage_type,
            "variant": self.variant,
            "meter": self.meter,
            "period_start": self.period_start.isoformat(),
            "period_end": self.period_end.isoformat(),
            "phase": self.phase,
            "currency": self.currency,
            "amount": None if self.amount is None else format(self.amount, "f"),
        }


def labels(history: History) -> list[Label]:
    """What an audit must find about one customer: an honest one has opportunities at most."""
    found = [_opportunity(history, each) for each in opportunities(history)]
    leak = history.customer.leak
    if leak is not None:
        for leakage_type in (leak.leakage_type, *leak.besides):
            found += _labels_of(history, leak, leakage_type)
    return found


def covered(history: History) -> list[Label]:
    """What an approved exception covers: the findings that there are not."""
    approval = history.customer.approval
    if approval is None:
        return []
    as_leak = Leak(approval.leakage_type, approval.variant)
    return list(_labels_of(history, as_leak, approval.leakage_type))


def hold(history: History) -> dict[str, Any] | None:
    """The draft that should be held back: what it says, and what it should say."""
    wrong = [label for label in labels(history) if label.phase == "preflight"]
    if not wrong:
        return None
    customer = history.customer
    signed = sum(
        (-label.amount if label.leakage_type in OVERBILLING else label.amount)
        for label in wrong
        if label.amount is not None
    )
    draft = next(invoice for invoice in history.invoices if invoice.status == "draft")
    drafted = to_major(net_amount(draft), customer.currency)
    return {
        "customer_id": customer.customer_id,
        "subscription_id": customer.subscription_id,
        "drafted_amount": format(drafted, "f"),
        "expected_amount": format(drafted + signed, "f"),
        "reasons": sorted({label.leakage_type for label in wrong}),
    }


def _opportunity(history: History, each: Opportunity) -> Label:
    customer = history.customer
    return Label(
        *(customer.customer_id, customer.subscription_id, each.leakage_type, each.variant),
        *(each.meter, each.period.start, each.period.end),
        _phase(history, each.period),
        customer.currency,
        None if each.amount is None else to_major(each.amount, customer.currency),
    )


def _labels_of(history: History, leak: Leak, leakage_type: str) -> Iterator[Label]:
    customer = history.customer
    rule = leaks_drafts.VARIANT_RULES.get(leak.variant, RULES[leakage_type])
    smallest = MIN_AMOUNT * JPY_PER_USD if customer.currency == "jpy" else MIN_AMOUNT
    owners: tuple[str, str | None] = (customer.customer_id, customer.subscription_id)
    if customer.stray_usage is not None:
        owners = (customer.stray_usage[0], None)
    elif not customer.has_subscription:
        owners = (customer.customer_id, None)
    for period, minor in sorted(rule(history), key=lambda p: p[0].start):
        value = None if minor is None else to_major(minor, customer.currency)
        if value is not None and value < smallest:
            continue
        yield Label(
            *owners,
            leakage_type=leakage_type,
            variant=leak.variant,
            meter=leak.meter,
            period_start=period.start,
            period_end=period.end,
            phase="preflight" if leak.is_on_draft else _phase(history, period),
            currency=customer.currency,
            amount=value,
        )


def _phase(history: History, period: Period) -> str:
    return "closed" if history.is_closed(period.end) else "open"


def _list_price(history: History, plan: str, at: datetime) -> Decimal:
    customer = history.customer
    row = history.world.catalog.list_row(plan, customer.currency, customer.interval, at)
    return row.base_price


def _minor(history: History, value: Decimal) -> int:
    return int(value / to_major(1, history.customer.currency))


def _outdated_pricing(history: History) -> Amounts:
    """(List price - Stripe price) x quantity, where the Stripe price is older than the list row."""
    for index, period in history.paid_periods():
        step = history.customer.licence_at(period.start)
        row = history.world.catalog.list_row(
            step.price.plan, history.customer.currency, history.customer.interval, period.start
        )
        if step.price.created > midnight(row.effective_from) or not history.has_licence_line(index):
            continue
        gap = _minor(history, row.base_price) - step.price.unit_in(history.customer.currency)
        yield period, gap * step.quantity


def _term(history: History, meter: str, at: datetime) -> tuple[UsageTerm, Decimal]:
    """The contract's or the price book's term of a meter, and the quantity it leaves free."""
    customer, contract = history.customer, history.customer.contract
    row = history.world.catalog.list_row(customer.plan, customer.currency, customer.interval, at)
    agreed = contract.terms if contract else ()
    term = next(term for term in (*agreed, *row.terms) if term.meter == meter)
    grace = contract.grace_percent if contract and contract.grace_percent else Decimal(0)
    return term, free_quantity(term.included, grace)


def _missing_overage(history: History) -> Amounts:
    """No item for the meter: all of its charge. Else: meter's charge - what the lines say."""
    leak = history.customer.leak
    if leak is None or leak.meter is None:
        return
    used = history.usage[leak.meter]
    price = next((p for p in history.customer.metered if p.meter == leak.meter), None)
    for index, period in history.paid_periods():
        if price is None:
            term, free = _term(history, leak.meter, period.start)
            yield period, overage_amount(term.rate, used.true_quantity(index), free)
        elif (leak.meter, index) in history.customer.lowered_lines:
            rate = price.rate_in(history.customer.currency)
            billed = sum(
                line.charge.amount
                for line in history.finalized_lines(index)
                if line.kind == "usage" and line.price is price
            )
            yield period, amount(rate, used.metered_quantity(index)) - billed


def _usage_gap(history: History) -> Amounts:
    """Signed charge of what was known in time minus what was metered, beyond the tolerance."""
    leak = history.customer.leak
    if leak is None or leak.meter is None:
        return
    used = history.usage[leak.meter]
    price = next(p for p in history.customer.metered if p.meter == leak.meter)
    rate = price.rate_in(history.customer.currency)
    for index, period in history.paid_periods():
        true, metered = used.true_quantity(index), used.metered_quantity(index)
        within = metered > 0 and abs(true - metered) * 100 <= TOLERANCE_PERCENT * metered
        if not within:
            known = true - used.late_quantity(index)
            yield period, amount(rate, known) - amount(rate, metered)


def _overbilled_usage(history: History) -> Amounts:
    return ((period, -(minor or 0)) for period, minor in _usage_gap(history))


def _incorrect_discount(history: History) -> Amounts:
    """Discount given - discount entitled, over all lines of the period."""
    customer = history.customer
    if customer.leak is None:
        return
    variant, contract, grant = customer.leak.variant, customer.contract, customer.grant
    is_first = True
    for index, period in history.paid_periods():
        lines = list(history.finalized_lines(index))
        given = sum(line.discount for line in lines)
        entitled = 0
        if variant == "exceeds_contract" and contract and contract.discount_percent:
            percent = contract.discount_percent
            entitled = sum(discount_share(line.charge.amount, percent) for line in lines)
        elif variant == "referral_repeated" and is_first:
            entitled = given
        elif variant == "volume_threshold_not_met" and not history.is_closed(period.end):
            entitled = given  # the threshold can still be reached
        elif variant == "discount_past_end" and grant and grant.end and period.start < grant.end:
            entitled = given
        elif variant == "discount_past_contract" and contract and contract.end_date:
            until = midnight(contract.end_date) + timedelta(days=1)
            entitled = given if period.start < until else 0
        elif variant == "discount_not_given" and contract and contract.discount_percent:
            percent = contract.discount_percent
            entitled = sum(discount_share(line.charge.amount, percent) for line in lines)
        is_first = is_first and given == 0
        yield period, abs(given - entitled)


def _counts(history: History, period: Period) -> bool:
    """Whether the account's snapshot speaks about the period: later closed ones, and the open."""
    is_open = not history.is_closed(period.end)
    return is_open or history.customer.account.updated_at <= period.start


def _feature_leakage(history: History) -> Amounts:
    """Cheapest plan with all enabled features - the plan's own list price."""
    customer = history.customer
    wanted = set(customer.account.features)
    for _, period in history.paid_periods():
        if not _counts(history, period):
            continue
        fitting = [
            _list_price(history, plan, period.start)
            for plan, features in FEATURES.items()
            if wanted <= set(features)
            and (plan, customer.currency, customer.interval) in history.world.catalog.licences
        ]
        own = _list_price(history, customer.plan, period.start)
        yield period, _minor(history, min(fitting) - own)


def _seat_leakage(history: History) -> Amounts:
    for _, period in history.paid_periods():
        step = history.customer.licence_at(period.start)
        if _counts(history, period):
            unit = _minor(history, _list_price(history, step.price.plan, period.start))
            yield period, unit * max(0, history.customer.account.seats - step.quantity)


def _access_after_cancellation(history: History) -> Amounts:
    """Periods of the plan's interval from the cancellation on, at the list price then."""
    customer = history.customer
    if customer.ended_at is None:
        return
    step = customer.licence_at(customer.ended_at)
    for start, end in grid(customer.ended_at, customer.interval):
        if start > history.world.as_of:
            return
        period = Period(start, end, end)
        if _counts(history, period):
            yield (
                period,
                _minor(history, _list_price(history, customer.plan, start)) * step.quantity,
            )


def _missing_invoice(history: History) -> Amounts:
    """What the absent invoice would have billed: this period's licence, the last one's usage."""
    customer = history.customer
    owed: dict[int, int] = {}
    for index in customer.missing_invoices:
        step = customer.licence_at(history.periods[index].start)
        owed[index] = owed.get(index, 0) + step.price.unit_in(customer.currency) * step.quantity
        for price in customer.metered:
            if price.meter is not None:
                quantity = history.usage[price.meter].true_quantity(index - 1)
                charge = amount(price.rate_in(customer.currency), quantity)
                owed[index - 1] = owed.get(index - 1, 0) + charge
    return ((history.periods[index], minor) for index, minor in owed.items())


RULES: dict[str, Callable[[History], Amounts]] = {
    "outdated_pricing": _outdated_pricing,
    "missing_overage": _missing_overage,
    "unreported_usage": _usage_gap,
    "overbilled_usage": _overbilled_usage,
    "incorrect_discount": _incorrect_discount,
    "feature_leakage": _feature_leakage,
    "missing_invoice": _missing_invoice,
    "access_after_cancellation": _access_after_cancellation,
    "seat_leakage": _seat_leakage,
    **leaks_billing.RULES,
    **leaks_usage.RULES,
    **leaks_accounts.RULES,
    **leaks_payments.RULES,
}
