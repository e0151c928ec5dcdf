"""The payments of the simulated company as raw Stripe objects: cards, charges, refunds, events.

Customers without trouble have everything that looks like it and is none: refunds in two parts,
disputes that were won, events that are a few hours late.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from leakage_pipeline.simulator import stripe_objects as build
from leakage_pipeline.simulator.customers import Customer
from leakage_pipeline.simulator.history import History
from leakage_pipeline.simulator.invoicing_periods import epoch
from leakage_pipeline.simulator.payment_life import Dispute, PaymentLife, Refund, WaitingItem
from leakage_pipeline.simulator.settling import refunded_amount
from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount

CARD_YEARS = 6
DAY = timedelta(days=1)
MAIN_ENDPOINT = "we_main"
CRM_ENDPOINT = "we_crm"


def webhook_endpoints(founded: int) -> list[JsonObject]:
    """The product listens to everything about money, the CRM to customers alone."""
    wanted = ("invoice.paid", "customer.subscription.updated", "charge.refunded")
    return [
        build.webhook_endpoint(
            MAIN_ENDPOINT,
            url="https://app.example/stripe?token=simulated",
            created=founded,
            enabled_events=wanted,
        ),
        build.webhook_endpoint(
            CRM_ENDPOINT,
            url="https://crm.example/stripe",
            created=founded,
            enabled_events=("customer.created", "customer.updated"),
        ),
    ]


def default_methods(customer: Customer) -> tuple[str | None, str | None]:
    """What the customer pays with, and what the subscription does; None where it names nothing."""
    if customer.sends_invoices or not customer.has_subscription:
        return None, None
    method = f"pm_{customer.customer_id[4:]}"
    return (None, method) if customer.index % 9 == 0 else (method, None)


def add_payments(
    history: History, invoices: list[JsonObject], subscription: JsonObject, account: StripeAccount
) -> None:
    """Append what one customer paid, and what went wrong with it."""
    _Payments(history, invoices, subscription, account).add()


class _Payments:
    """Writes the payments of one customer."""

    def __init__(
        self,
        history: History,
        invoices: list[JsonObject],
        subscription: JsonObject,
        account: StripeAccount,
    ) -> None:
        self.customer = history.customer
        self.as_of = history.world.as_of
        self.code = self.customer.subscription_id[4:]
        self.account = account
        self.subscription = subscription
        self.starts = [period.start for period in history.periods]
        self.by_instant = dict(
            zip((due.instant for due in history.invoices), invoices, strict=True)
        )
        self.charges: dict[str, JsonObject] = {}
        self.life = self.customer.payment
        if self.life == PaymentLife():
            self.life = self._honest_life()

    def add(self) -> None:
        """Everything, in the order in which it happened."""
        self._add_method()
        for invoice in self.by_instant.values():
            self._add_charge(invoice)
        for number, refund in enumerate(self.life.refunds):
            self._add_refund(number, refund)
        for number, dispute in enumerate(self.life.disputes):
            self._add_dispute(number, dispute)
        for number, item in enumerate(self.life.waiting):
            self._add_item(number, item)
        self._add_events()

    def _honest_life(self) -> PaymentLife:
        """What looks like trouble and is none, on customers whose payments are in order."""
        index, last = self.customer.index, len(self.starts) - 2
        life = PaymentLife(pays_by_debit=index % 8 == 3)  # noqa: PLR2004
        if last < 1:
            return life
        tenth = Decimal("0.1")
        refunds = {
            0: (Refund(last, 3600, Decimal("0.25")),),
            1: (Refund(last, 3600, tenth), Refund(last, 3600 + 3 * 86_400, tenth)),
            2: (Refund(last, 3600, tenth, "failed"), Refund(last, 4200, tenth)),
            3: (Refund(last, 3600, tenth), Refund(last, 4200, tenth / 2)),
        }
        life.refunds = refunds.get(index % 7, ())
        closed = {0: "won", 1: "lost", 2: "warning_closed"}.get(index % 13)
        if closed is not None:
            life.disputes = (Dispute(last, 5 * 86_400, closed),)
        if index % 12 == 5 and self.customer.ended_at is None:  # noqa: PLR2004
            life.waiting = (WaitingItem(self.as_of - 2 * DAY, 2500),)
        return life

    def _add_method(self) -> None:
        method = next(filter(None, default_methods(self.customer)), None)
        if method is None or self.customer.is_beside:  # the customer has one card
            return
        created = epoch(self.customer.start)
        customer = self.customer.customer_id
        if self.life.pays_by_debit:
            made = build.bank_debit(method, customer=customer, created=created)
        else:
            year, month = self.life.card_ends or (self.as_of.year + CARD_YEARS, 12)
            last4 = f"{self.customer.index % 10_000:04d}"
            made = build.payment_method(
                method,
                customer=customer,
                created=created,
                last4=last4,
                exp_month=month,
                exp_year=year,
            )
        self.account.payment_methods.append(made)

    def _add_charge(self, invoice: JsonObject) -> None:
        is_paid = invoice["status"] == "paid"
        if invoice["amount_due"] == 0 or not (is_paid or invoice["attempt_count"]):
            return
        suffix = invoice["id"][3:]
        intent = f"pi_{suffix}"
        transitions = invoice["status_transitions"]
        at = transitions["paid_at"] if is_paid else transitions["finalized_at"]
        charge = build.charge(
            f"ch_{suffix}",
            customer=invoice["customer"],
            amount=invoice["amount_due"],
            currency=invoice["currency"],
            created=at,
            payment_intent=intent,
            status="succeeded" if is_paid else "failed",
            failure_code=None if is_paid else "card_declined",
        )
        payment = build.invoice_payment(
            f"inpay_{suffix}",
            invoice=invoice,
            created=transitions["finalized_at"],
            payment_intent=intent,
            status="paid" if is_paid else "open",
            paid_at=transitions["paid_at"],
        )
        self.account.charges.append(charge)
        self.account.invoice_payments.append(payment)
        self.charges[invoice["id"]] = charge

    def _charge_of(self, period: int) -> JsonObject | None:
        invoice = self.by_instant.get(self.starts[period])
        return None if invoice is None else self.charges.get(invoice["id"])

    def _add_refund(self, number: int, refund: Refund) -> None:
        charge = self._charge_of(refund.period)
        if charge is None or not charge["paid"]:
            return
        amount = refunded_amount(refund, charge["amount"])
        if refund.status == "succeeded":
            charge["amount_refunded"] += amount
        self.account.refunds.append(
            build.refund(
                f"re_{self.code}_{number}",
                charge=charge,
                amount=amount,
                created=charge["created"] + refund.seconds_after,
                status=refund.status,
            )
        )

    def _add_dispute(self, number: int, dispute: Dispute) -> None:
        charge = self._charge_of(dispute.period)
        if charge is None or not charge["paid"]:
            return
        charge["disputed"] = True
        created = charge["created"] + dispute.seconds_after
        self.account.disputes.append(
            build.dispute(
                f"dp_{self.code}_{number}",
                charge=charge,
                created=created,
                status=dispute.status,
                reason=dispute.reason,
                evidence_due_by=created + 20 * 86_400,
            )
        )

    def _add_item(self, number: int, item: WaitingItem) -> None:
        self.account.invoice_items.append(
            build.invoice_item(
                f"ii_{self.code}_waiting_{number}",
                customer=self.customer.customer_id,
                amount=item.amount,
                currency=self.customer.currency,
                date=epoch(item.date),
                subscription=self.customer.subscription_id,
                description="Extra support hours",
            )
        )

    def _add_events(self) -> None:
        for number, lost in enumerate(self.life.lost_events):
            about = self.by_instant[self.starts[lost.period]]
            if lost.type.startswith("customer.subscription"):
                about = self.subscription
            self._add_event(f"evt_{self.code}_{number}", lost.type, lost.at, about, pending=1)
        if self.customer.index % 10 == 0:  # still being delivered
            at = self.as_of - timedelta(hours=3)
            kind = "customer.subscription.updated"
            self._add_event(f"evt_{self.code}_late", kind, at, self.subscription, pending=1)

    def _add_event(
        self, event_id: str, kind: str, at: datetime, about: JsonObject, *, pending: int
    ) -> None:
        self.account.events.append(
            build.event(
                event_id,
                type=kind,
                created=epoch(at),
                data_object=about,
                previous_attributes={"metadata": {}} if kind.endswith(".updated") else None,
                pending_webhooks=pending,
            )
        )
