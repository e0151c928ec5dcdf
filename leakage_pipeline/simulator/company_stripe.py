"""The simulated company's Stripe account: its customers, prices and invoices as raw objects.

Only translation into JSON happens here; what is billed was decided in `invoicing`.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import count
from typing import Any

from leakage_pipeline.simulator import stripe_objects as build
from leakage_pipeline.simulator.catalog import METERS, PRODUCTS, Catalog, StripePrice
from leakage_pipeline.simulator.company_edits import (
    add_change_events,
    add_credit_notes,
    extra_lines,
    name_revisions,
)
from leakage_pipeline.simulator.company_entitlements import add_entitlements
from leakage_pipeline.simulator.company_payments import (
    add_payments,
    default_methods,
    webhook_endpoints,
)
from leakage_pipeline.simulator.customers import Customer, Grant, World
from leakage_pipeline.simulator.history import History
from leakage_pipeline.simulator.invoicing import DAYS_UNTIL_DUE, DueInvoice, DueLine
from leakage_pipeline.simulator.invoicing_periods import epoch
from leakage_pipeline.simulator.pricing import Rate
from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount
from leakage_pipeline.simulator.usage import meter_events

FOUNDED = 1_546_300_800  # 2019-01-01: products and meters are older than every price
DAY = 86_400
METERED_PRODUCTS = {name: f"prod_meter_{name}" for name in METERS}


def stripe_account(world: World, histories: Sequence[History]) -> StripeAccount:
    """The whole account of a company."""
    account = StripeAccount(
        products=_products(),
        webhook_endpoints=webhook_endpoints(FOUNDED),
        meters=[
            build.meter(
                meter.stripe_id,
                event_name=meter.event_name,
                created=FOUNDED,
                formula=meter.formula,
                display_name=meter.name.replace("_", " ").capitalize(),
            )
            for meter in METERS.values()
        ],
    )
    prices: dict[str, JsonObject] = {}
    for price in _all_prices(world.catalog, [history.customer for history in histories]):
        prices[price.price_id] = price_object(price)
        (account.inline_prices if price.is_inline else account.prices).append(
            prices[price.price_id]
        )
    for history in histories:
        _CustomerObjects(history, prices).add_to(account)
    add_entitlements(account)
    return account


def _products() -> list[JsonObject]:
    plans = [
        build.product(product_id, name=name, created=FOUNDED, metadata=metadata)
        for product_id, name, metadata in PRODUCTS.values()
    ]
    meters = [
        build.product(product_id, name=f"Usage: {name}", created=FOUNDED, unit_label=name)
        for name, product_id in METERED_PRODUCTS.items()
    ]
    return plans + meters


def _all_prices(catalog: Catalog, customers: Sequence[Customer]) -> list[StripePrice]:
    own = [
        price
        for customer in customers
        for price in (*(step.price for step in customer.licence), *customer.metered)
    ]
    return list({price.price_id: price for price in (*catalog.prices(), *own)}.values())


def price_object(price: StripePrice) -> JsonObject:
    """A Stripe price as JSON."""
    return build.price(
        price.price_id,
        product=price.product_id,
        currency=price.currency,
        created=epoch(price.created),
        interval=price.interval,
        usage_type="licensed" if price.meter is None else "metered",
        meter=None if price.meter is None else METERS[price.meter].stripe_id,
        active=price.active,
        lookup_key=price.lookup_key,
        nickname=price.nickname,
        tax_behavior="inclusive" if price.currency == "jpy" else "exclusive",
        metadata=price.metadata,
        currency_options={
            currency: build.currency_option(unit_amount=rate.unit, tax_behavior="exclusive")
            for currency, rate in price.currency_options.items()
        },
        **_rate_fields(price.rate),
    )


def _rate_fields(rate: Rate) -> dict[str, Any]:
    if rate.kind == "per_unit":
        return {"unit_amount": rate.unit}
    if rate.kind == "package":
        return {
            "unit_amount": rate.unit,
            "transform_quantity": (rate.divide_by, rate.round_mode),
        }
    return {
        "tiers_mode": rate.kind,
        "tiers": [
            build.tier(tier.up_to, unit_amount=tier.unit, flat_amount=tier.flat)
            for tier in rate.tiers
        ],
    }


def _seconds(instant: datetime | None) -> int | None:
    return None if instant is None else epoch(instant)


class _CustomerObjects:
    """Writes the objects of one customer."""

    def __init__(self, history: History, prices: dict[str, JsonObject]) -> None:
        self.history = history
        self.customer = history.customer
        self.prices = prices
        self.code = self.customer.subscription_id[4:]
        self.discounts = [] if self.customer.grant is None else [self._discount()]
        self.line_numbers = count(1)
        self.invoice_ids: dict[datetime, str] = {}

    def add_to(self, account: StripeAccount) -> None:
        """Append everything this customer has in Stripe."""
        if not self.customer.has_subscription:
            if self.customer.is_known_to_stripe and not self.customer.is_beside:
                account.customers.append(self._customer(0))
            return
        invoices: list[JsonObject] = []
        for number, due in enumerate(self.history.invoices, start=1):
            invoices.append(self._invoice(due, number, account))
        name_revisions(invoices)
        balance = sum(invoice["ending_balance"] or 0 for invoice in invoices)
        if not self.customer.is_beside:
            account.customers.append(self._customer(balance))
        subscription = self._subscription(invoices[-1]["id"])
        account.subscriptions.append(subscription)
        add_payments(self.history, invoices, subscription, account)
        add_change_events(self.customer, subscription, self.prices, account)
        account.invoices.extend(invoices)
        if self.customer.grant is not None:
            account.coupons.append(self._coupon(self.customer.grant))
        for name, usage in self.history.usage.items():
            if name not in METERS:
                continue
            account.meter_events.extend(meter_events(self.customer, usage, self.history.periods))

    def _customer(self, balance: int) -> JsonObject:
        slug = self.customer.name.lower().replace(" ", "-")
        return build.customer(
            self.customer.customer_id,
            created=epoch(self.customer.start) - DAY,
            name=self.customer.name,
            email=f"billing@{slug}.{self.customer.customer_id[4:]}.example",
            currency=self.customer.currency,
            balance=balance,
            default_payment_method=default_methods(self.customer)[0],
            metadata={"account_id": self.customer.account.account_id},
        )

    def _coupon(self, grant: Grant) -> JsonObject:
        coupon, now = grant.coupon, self.history.world.as_of
        contract = self.customer.contract
        return build.coupon(
            coupon.coupon_id,
            created=epoch(coupon.created),
            percent_off=coupon.percent,
            amount_off=coupon.amount_off,
            currency=coupon.currency,
            duration=coupon.duration,
            duration_in_months=coupon.months,
            name=coupon.name,
            redeem_by=_seconds(coupon.redeem_by),
            times_redeemed=1,
            valid=coupon.redeem_by is None or coupon.redeem_by > now,
            metadata={} if contract is None else {"contract_id": contract.contract_id},
        )

    def _discount(self) -> JsonObject:
        grant = self.customer.grant
        if grant is None:
            message = "the customer has no discount"
            raise ValueError(message)
        return build.discount(
            grant.discount_id,
            coupon=grant.coupon.coupon_id,
            start=epoch(grant.start),
            end=_seconds(grant.end),
            customer=self.customer.customer_id,
            subscription=self.customer.subscription_id,
        )

    def _subscription(self, latest_invoice: str) -> JsonObject:
        customer, as_of = self.customer, self.history.world.as_of
        ending = customer.cancellation
        running = self.history.periods[-1]
        if ending is not None:
            status = "canceled"
        else:
            status = "trialing" if running.is_trial and running.end > as_of else "active"
        status = customer.payment.subscription_status or status
        grant = customer.grant
        is_discounted = grant is not None and grant.coupon.duration != "once" and ending is None
        has_ended = grant is not None and grant.end is not None and grant.end <= as_of
        leaving = customer.cancels_at_period_end
        return build.subscription(
            customer.subscription_id,
            customer=customer.customer_id,
            currency=customer.currency,
            created=epoch(customer.start),
            billing_cycle_anchor=epoch(customer.trial_end or customer.start),
            items=self._items(),
            status=status,
            trial_start=epoch(customer.start) if customer.trial_end else None,
            trial_end=_seconds(customer.trial_end),
            cancel_at=epoch(running.natural_end) if leaving else None,
            cancel_at_period_end=leaving or (ending is not None and ending.at_period_end),
            canceled_at=epoch(ending.decided_at if ending else running.start)
            if ending or leaving
            else None,
            ended_at=_seconds(customer.ended_at),
            cancellation_reason="cancellation_requested" if ending or leaving else None,
            pause_collection="void" if customer.paused_from else customer.payment.pause,
            default_payment_method=default_methods(customer)[1],
            collection_method="send_invoice" if customer.sends_invoices else "charge_automatically",
            days_until_due=DAYS_UNTIL_DUE if customer.sends_invoices else None,
            discounts=self.discounts if is_discounted and not has_ended else (),
            latest_invoice=latest_invoice,
            metadata={"account_id": customer.account.account_id},
        )

    def _items(self) -> list[JsonObject]:
        running, step = self.history.periods[-1], self.customer.licence[-1]
        if self.customer.ended_at is not None:
            step = self.customer.licence_at(self.customer.ended_at)
        return [
            build.subscription_item(
                self._item_id(price),
                subscription=self.customer.subscription_id,
                price=self.prices[price.price_id],
                created=epoch(self.customer.start),
                current_period_start=epoch(running.start),
                current_period_end=epoch(running.natural_end),
                quantity=step.quantity,
            )
            for price in (step.price, *self.customer.metered)
        ]

    def _item_id(self, price: StripePrice) -> str:
        return f"si_{self.code}_{price.meter or 'licence'}"

    def _invoice(self, due: DueInvoice, number: int, account: StripeAccount) -> JsonObject:
        customer = self.customer
        invoice_id = f"in_{self.code}_{number:03d}"
        lines = [self._line(line, invoice_id, due, account) for line in due.lines]
        lines.extend(extra_lines(customer, due, invoice_id, account))
        draft = due.status == "draft"
        sent = customer.sends_invoices
        invoice = build.invoice(
            invoice_id,
            customer=customer.customer_id,
            currency=customer.currency,
            created=epoch(due.created),
            lines=lines,
            period_start=epoch(due.window[0]),
            period_end=epoch(due.window[1]),
            status=due.status,
            number=f"{self.code.upper()}-{number:04d}",
            billing_reason=due.reason,
            subscription=customer.subscription_id,
            subscription_metadata={"account_id": customer.account.account_id},
            collection_method="send_invoice" if sent else "charge_automatically",
            due_date=epoch(due.finalized_at) + DAYS_UNTIL_DUE * DAY if sent else None,
            finalized_at=None if draft else epoch(due.finalized_at),
            paid_at=_seconds(due.paid_at),
            voided_at=_seconds(due.voided_at),
            automatically_finalizes_at=_seconds(
                None if due.auto_advance is False else due.finalized_at
            ),
            marked_uncollectible_at=_seconds(
                due.finalized_at if due.status == "uncollectible" else None
            ),
            auto_advance=due.auto_advance,
            attempt_count=due.attempt_count,
            next_payment_attempt=_seconds(due.next_payment_attempt),
            post_payment_credit_notes_amount=sum(amount for amount, _ in due.credits),
            from_invoice=self.invoice_ids.get(due.replaces) if due.replaces else None,
            discounts=self.discounts if any(line.discount for line in due.lines) else (),
        )
        self.invoice_ids[due.instant] = invoice_id
        add_credit_notes(due, invoice, account)
        return invoice

    def _line(
        self, line: DueLine, invoice_id: str, due: DueInvoice, account: StripeAccount
    ) -> JsonObject:
        customer = self.customer
        number = next(self.line_numbers)
        behavior = "exclusive" if customer.tax is None else customer.tax[1]
        shares = [] if customer.grant is None else [(customer.grant.discount_id, line.discount)]
        common: dict[str, Any] = {
            "invoice": invoice_id,
            "amount": line.charge.amount,
            "currency": customer.currency,
            "period_start": epoch(line.start),
            "period_end": epoch(line.end),
            "price": self.prices[line.price.price_id],
            "quantity": line.charge.quantity,
            "subscription": customer.subscription_id,
            "subscription_item": self._item_id(line.price),
            "discount_amounts": shares if line.discount else (),
            "taxes": [] if customer.tax is None else [build.tax(line.tax, behavior=behavior)],
        }
        line_id = f"il_{self.code}_{number:04d}"
        if line.kind in {"credit", "debit"}:
            common["invoice_item"] = f"ii_{self.code}_{number:04d}"
            account.invoice_items.append(self._invoice_item(line, common, due))
            return build.proration_line(line_id, **common)
        return build.line(
            line_id, unit_amount=line.charge.unit, description=_description(line), **common
        )

    def _invoice_item(self, line: DueLine, common: dict[str, Any], due: DueInvoice) -> JsonObject:
        taken = ("invoice", "amount", "currency", "period_start", "period_end")
        return build.invoice_item(
            common["invoice_item"],
            customer=self.customer.customer_id,
            date=epoch(line.start),
            proration=True,
            discountable=False,
            description="Change of plan" if due.lines else None,
            **{key: common[key] for key in (*taken, "price", "quantity")},
            subscription=common["subscription"],
            subscription_item=common["subscription_item"],
        )


def _description(line: DueLine) -> str:
    name = line.price.meter.replace("_", " ") if line.price.meter else line.price.plan
    if line.charge.unit is None and line.kind == "usage":
        return f"{name} (flat fee)"
    return f"{line.charge.quantity} x {name}"
