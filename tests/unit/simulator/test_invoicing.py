"""Periods and invoices: month ends, lines in advance and in arrears, prorations, totals."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from leakage_pipeline.simulator.company import Company, generate
from leakage_pipeline.simulator.customers_profiles import PROFILES
from leakage_pipeline.simulator.history import History
from leakage_pipeline.simulator.invoicing import DueInvoice
from leakage_pipeline.simulator.invoicing_periods import add_months, billing_periods, epoch
from leakage_pipeline.simulator.pricing import amount
from leakage_pipeline.simulator.stripe_objects import JsonObject

AS_OF = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def honest() -> Company:
    return generate(11, 2 * len(PROFILES), AS_OF, leaks=False, events_per_month=12)


def named(company: Company, profile: str) -> list[History]:
    return [h for h in company.histories if h.customer.profile == profile]


def standing(history: History) -> Iterator[DueInvoice]:
    return (i for i in history.invoices if i.status not in {"draft", "void"})


def test_month_end_anchors_clamp_and_return() -> None:
    anchor = datetime(2026, 1, 31, 14, 23, 7, tzinfo=UTC)
    periods = billing_periods(anchor, None, "month", None, datetime(2026, 5, 1, tzinfo=UTC))
    assert [period.start.day for period in periods] == [31, 28, 31, 30]
    assert periods[0].end == datetime(2026, 2, 28, 14, 23, 7, tzinfo=UTC)
    assert all(left.end == right.start for left, right in pairwise(periods))


def test_leap_day() -> None:
    assert add_months(datetime(2023, 8, 31, tzinfo=UTC), 6) == datetime(2024, 2, 29, tzinfo=UTC)
    assert add_months(datetime(2024, 2, 29, tzinfo=UTC), 12) == datetime(2025, 2, 28, tzinfo=UTC)


def test_a_trial_is_a_period_and_moves_the_anchor() -> None:
    start = datetime(2026, 3, 1, 9, 0, 1, tzinfo=UTC)
    trial_end = start + timedelta(days=14)
    trial, first, *_ = billing_periods(start, trial_end, "month", None, AS_OF)
    assert (trial.start, trial.end, trial.is_trial) == (start, trial_end, True)
    assert (first.start, first.end) == (trial_end, add_months(trial_end, 1))


def test_the_last_period_ends_with_the_subscription() -> None:
    start = datetime(2026, 3, 1, 9, 0, 1, tzinfo=UTC)
    ended = datetime(2026, 4, 20, 12, 0, 3, tzinfo=UTC)
    periods = billing_periods(start, None, "month", ended, AS_OF)
    assert (periods[-1].end, periods[-1].natural_end) == (ended, add_months(start, 2))
    # Ended exactly on a bound: no further period begins there.
    on_bound = billing_periods(start, None, "month", add_months(start, 2), AS_OF)
    assert on_bound[-1].end == add_months(start, 2)


def test_every_invoice_adds_up(honest: Company) -> None:
    for invoice in honest.account.invoices:
        lines = invoice["lines"]["data"]
        gross = sum(line["amount"] for line in lines)
        off = sum(share["amount"] for line in lines for share in line["discount_amounts"])
        exclusive = sum(
            tax["amount"]
            for line in lines
            for tax in line["taxes"]
            if tax["tax_behavior"] == "exclusive"
        )
        assert gross - off + exclusive == invoice["total"], invoice["id"]


def test_usage_lines_bill_the_quantity_of_their_own_period(honest: Company) -> None:
    checked = 0
    for history in honest.histories:
        for invoice in history.invoices:
            billed: dict[tuple[str, int], int] = {}
            for line in invoice.lines:
                if line.kind == "usage" and line.price.meter:
                    key = (line.price.meter, line.period_index)
                    billed[key] = billed.get(key, 0) + line.charge.amount
            prices = {price.meter: price for price in history.customer.metered}
            for (meter, index), total in billed.items():
                if history.periods[index].is_trial:
                    assert total == 0
                    continue
                quantity = history.usage[meter].metered_quantity(index)
                rate = prices[meter].rate_in(history.customer.currency)
                assert total == amount(rate, quantity)
                checked += 1
    assert checked > 100


def test_licences_in_advance_and_usage_in_arrears_on_one_invoice(honest: Company) -> None:
    history = named(honest, "pro")[0]
    renewal = history.invoices[1]
    licence = [line for line in renewal.lines if line.kind == "licence"]
    usage = [line for line in renewal.lines if line.kind == "usage"]
    assert [line.start for line in licence] == [renewal.instant]
    assert {line.end for line in usage} == {renewal.instant}
    assert {line.price.meter for line in usage} == {"api_calls", "transcode_minutes", "sms"}


def test_the_open_period_is_licensed_already(honest: Company) -> None:
    for history in named(honest, "basic"):
        running = len(history.periods) - 1
        lines = [line for invoice in history.invoices for line in invoice.lines]
        assert any(line.kind == "licence" and line.period_index == running for line in lines)


def test_renewals_are_finalised_an_hour_after_their_draft(honest: Company) -> None:
    for history in named(honest, "business"):
        first, *renewals = standing(history)
        assert first.finalized_at == first.created == history.customer.start
        for renewal in renewals:
            assert renewal.finalized_at - renewal.created == timedelta(hours=1)


def test_an_upgrade_credits_the_old_plan_and_debits_the_new(honest: Company) -> None:
    for history in named(honest, "upgrade"):
        lines = [line for invoice in history.invoices for line in invoice.lines]
        credit, debit = (line for line in lines if line.kind in {"credit", "debit"})
        period = history.periods[credit.period_index]
        total = epoch(period.end) - epoch(period.start)
        remaining = epoch(period.end) - epoch(credit.start)
        assert credit.charge.amount == -4900 * remaining // total
        assert debit.charge.amount == 19_900 * remaining // total
        assert credit.charge.amount < 0 < debit.charge.amount
        assert (credit.price.plan, debit.price.plan) == ("basic", "business")


def test_trials_are_free(honest: Company) -> None:
    for history in named(honest, "trial_converted"):
        assert history.periods[0].is_trial
        assert all(line.charge.amount == 0 for line in history.finalized_lines(0))
        assert any(usage.true_quantity(0) for usage in history.usage.values())


def test_a_paused_subscription_has_only_void_invoices(honest: Company) -> None:
    for history in named(honest, "paused"):
        assert [invoice.status for invoice in history.invoices][-3:] == ["void"] * 3


def test_repeating_coupons_cover_three_months(honest: Company) -> None:
    for history in named(honest, "repeating_coupon"):
        discounts = [line.discount for invoice in history.invoices for line in invoice.lines]
        assert all(discounts[:3])
        assert not any(discounts[3:])


def test_cancelling_at_once_bills_the_last_usage(honest: Company) -> None:
    for history in named(honest, "cancelled_at_once"):
        final = history.invoices[-1]
        assert final.instant == history.customer.ended_at
        assert {line.end for line in final.lines if line.kind == "usage"} == {final.instant}


def summary(company: Company, customer_id: str, event_name: str, start: int, end: int) -> Decimal:
    return sum(
        (
            Decimal(event["value"])
            for event in company.account.meter_events
            if (event["customer"], event["event_name"]) == (customer_id, event_name)
            and start <= event["timestamp"] < end
        ),
        Decimal(0),
    )


def test_meter_summaries_bracket_the_billed_quantity(honest: Company) -> None:
    """Whole minutes inside the period hold less or the same, with both edge minutes more."""
    for history in named(honest, "basic"):
        for meter, usage in history.usage.items():
            event_name = usage.meter.event_name
            for index, period in enumerate(history.periods):
                metered = usage.metered_quantity(index)
                start, end = epoch(period.start), epoch(period.end)
                customer_id = history.customer.customer_id
                inner = (-(-start // 60) * 60, end // 60 * 60)
                outer = (start // 60 * 60, -(-end // 60) * 60)
                low = summary(honest, customer_id, event_name, *inner)
                high = summary(honest, customer_id, event_name, *outer)
                assert low <= metered <= high, (customer_id, meter, index)
                assert summary(honest, customer_id, event_name, start, end) == metered


def test_events_on_a_bound_belong_to_the_next_period(honest: Company) -> None:
    history = named(honest, "basic")[0]
    events = history.usage["api_calls"].periods
    for period, members in zip(history.periods, events, strict=True):
        inside = range(epoch(period.start) * 10**6, epoch(period.end) * 10**6)
        assert all(event.at in inside for event in members)
    assert any(event.at == epoch(history.periods[1].start) * 10**6 for event in events[1])


def test_line_amounts_are_those_in_the_json(honest: Company) -> None:
    subscribed = {subscription["id"] for subscription in honest.account.subscriptions}
    for history in honest.histories:
        if history.customer.subscription_id not in subscribed:
            continue  # an account that another one's subscription pays for, or a free one
        # What somebody added by hand is no charge of the subscription.
        wrote = [
            line["amount"]
            for invoice in invoices_of(honest, history)
            for line in lines(invoice)
            if line["parent"]["type"] == "subscription_item_details"
        ]
        due = [line.charge.amount for invoice in history.invoices for line in invoice.lines]
        assert wrote == due


def invoices_of(company: Company, history: History) -> list[JsonObject]:
    # A customer may have several subscriptions, each with a history of its own.
    wanted = history.customer.subscription_id
    return [
        invoice
        for invoice in company.account.invoices
        if invoice["parent"]["subscription_details"]["subscription"] == wanted
    ]


def lines(invoice: JsonObject) -> list[JsonObject]:
    found: list[JsonObject] = invoice["lines"]["data"]
    return found
