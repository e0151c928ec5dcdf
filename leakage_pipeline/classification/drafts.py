"""Messages to customers: the templates of the rules, and the one place where numbers enter them.

Tone: helpful, transparent, never accusatory; say what we noticed, what it means, what happens next
and how to object. A template holds `{placeholders}` only; every number comes from the finding.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from leakage_pipeline.classification.findings import Finding
from leakage_pipeline.classification.schema import NextAction
from leakage_pipeline.classification.wording import money, period, quantity

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")
_MAX_EVIDENCE_TEXT = 80


@dataclass(frozen=True)
class Draft:
    """Subject and body with placeholders."""

    subject: str
    body: str


_CLOSING = (
    "\n\nIf you see this differently, or if something else was agreed, please reply to this "
    "message and we will look at it together before anything changes."
    "\n\nKind regards\n{company}"
)


def _draft(subject: str, body: str) -> Draft:
    return Draft(subject, f"Hello {{customer_name}},\n\n{body}{_CLOSING}")


DRAFTS: dict[NextAction, Draft] = {
    NextAction.MIGRATE_PRICE: _draft(
        "Your {plan} plan: a change of price",
        "your subscription still runs at an earlier price of the {plan} plan. For {period} the "
        "difference to the current price was {amount}. We would like to move you to the current "
        "price with your next renewal; past invoices stay as they are.",
    ),
    NextAction.CORRECT_DISCOUNT: _draft(
        "The discount on your {plan} plan",
        "while checking our own records we found that the discount on your invoice for {period} is "
        "not the one in our agreement; the difference is {amount}. We will correct it from your "
        "next invoice on, unless you have an agreement that we do not know of.",
    ),
    NextAction.TRUE_UP_SEATS: _draft(
        "Seats on your {plan} plan",
        "it is good to see your team grow. During {period} more seats were in use than your "
        "subscription covers, worth {amount}. Shall we adjust the subscription to the seats you "
        "need, or would you rather free some of them?",
    ),
    NextAction.INVOICE_DIFFERENCE: _draft(
        "A correction to your invoice for {period}",
        "our invoice for {period} left out a part of what you used: {amount}. The omission was "
        "ours. We plan to add this amount to your next invoice, with the details line by line.",
    ),
    NextAction.ISSUE_INVOICE: _draft(
        "Your invoice for {period}",
        "we did not send you an invoice for {period}; the amount is {amount}. The omission was "
        "ours. You will receive the invoice shortly, and we gladly agree a later due date.",
    ),
    NextAction.FIX_SUBSCRIPTION: _draft(
        "Your {plan} subscription",
        "your account and your subscription do not match in our records for {period}. We would "
        "like to set the subscription right from now on and will confirm the plan with you first.",
    ),
    NextAction.OFFER_UPGRADE: _draft(
        "A plan that fits how you use {company}",
        "you use more of {company} than the {plan} plan includes. For {period} that was worth "
        "{amount}. There is a plan that covers it; we would be happy to show you what it costs and "
        "what it adds.",
    ),
    NextAction.NOTIFY_LIMIT: _draft(
        "You are close to your included quantity",
        "your usage of {meter} in {period} is close to the quantity that your {plan} plan "
        "includes. Nothing stops working; usage above it is charged at the agreed rate.",
    ),
    NextAction.REVOKE_ACCESS: _draft(
        "Your access after the end of your subscription",
        "your subscription has ended, but your access is still switched on. We will switch it off "
        "soon. If you would like to keep it, we can start the subscription again.",
    ),
    NextAction.GRANT_ACCESS: _draft(
        "Your access to the {plan} plan",
        "you pay for the {plan} plan, but our product did not give you all of it. We are sorry. We "
        "are switching it on now and will look into what we owe you for {period}.",
    ),
    NextAction.COLLECT_PAYMENT: _draft(
        "An open payment for {period}",
        "the payment of {amount} for {period} has not reached us yet. Perhaps a card was replaced "
        "or a bank declined it. You can settle it from your account, or tell us what would help.",
    ),
    NextAction.UPDATE_PAYMENT_METHOD: _draft(
        "Your payment method",
        "the payment method on your account needs your attention before the next charge. You can "
        "update it in your account in a minute.",
    ),
    NextAction.CREDIT_CUSTOMER: _draft(
        "We charged you too much for {period}",
        "we found that our invoice for {period} was {amount} too high. We are sorry. We will "
        "credit this amount to you; you need not do anything.",
    ),
}
"""Actions without an entry here are internal work: no customer hears of them."""

FACT_PLACEHOLDERS = frozenset(
    {"customer_name", "company", "plan", "meter", "period", "amount", "monthly_amount"}
)


def placeholders_in(text: str) -> set[str]:
    """Return the names of the placeholders in a template."""
    return set(_PLACEHOLDER.findall(text))


def placeholder_values(finding: Finding, company: str) -> dict[str, str]:
    """Return what each placeholder stands for in this finding: its facts, its scalar evidence."""
    values = {
        "customer_name": _one_line(finding.customer_name or "there"),
        "company": _one_line(company),
        "plan": _one_line(finding.plan or "current"),
        "meter": _one_line(finding.meter or "the metered service"),
        "period": period(finding.period_start, finding.period_end) or "the last period",
        "amount": money(finding.amount, finding.currency),
        "monthly_amount": money(finding.monthly_amount, finding.currency),
    }
    for key, value in finding.evidence.items():
        if key not in values and _PLACEHOLDER.fullmatch(f"{{{key}}}"):
            text = _scalar(key, value, finding.currency)
            if text is not None:
                values[key] = text
    return values


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values into a template once: braces inside a value stay text.

    Raises:
        KeyError: The template names a placeholder that has no value.
    """
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], template)


def _one_line(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()[:_MAX_EVIDENCE_TEXT]


def _scalar(key: str, value: object, currency: str | None) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | Decimal):
        return money(Decimal(value), currency) if key.endswith("amount") else quantity(value)
    return _one_line(value) if isinstance(value, str) else None
