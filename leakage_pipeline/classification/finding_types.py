"""Every finding type in one table: its name in plain words, its categories, its actions.

The first category and the first action are what the rules choose when nothing in the evidence says
otherwise; the rest is what a classifier may choose. A test holds the table complete.
"""

from dataclasses import dataclass

from leakage_pipeline.classification.schema import Category as C  # noqa: N817 - a table to read across
from leakage_pipeline.classification.schema import NextAction as A

LEAK = "leak"
OVERBILLING = "overbilling"
RISK = "risk"
OPPORTUNITY = "opportunity"

DIRECTIONS = (LEAK, OVERBILLING, RISK, OPPORTUNITY)


@dataclass(frozen=True)
class FindingType:
    """What is known of a finding type before any evidence is read."""

    title: str
    direction: str
    categories: tuple[C, ...]
    actions: tuple[A, ...]


FINDING_TYPES: dict[str, FindingType] = {
    # ------------------------------------------------------------------ leak, measured
    "outdated_pricing": FindingType(
        "Billed below the price in force",
        LEAK,
        (C.PRICING_MIGRATION, C.CONTRACT_EXCEPTION, C.TECHNICAL_ERROR),
        (A.MIGRATE_PRICE, A.CONFIRM_CONTRACT, A.INVOICE_DIFFERENCE, A.INVESTIGATE),
    ),
    "missing_overage": FindingType(
        "Usage above the included quantity not billed",
        LEAK,
        (C.TECHNICAL_ERROR, C.EXPANSION_OPPORTUNITY, C.CONTRACT_EXCEPTION),
        (
            A.ADD_METERED_PRICE,
            A.INVOICE_DIFFERENCE,
            A.OFFER_UPGRADE,
            A.CONFIRM_CONTRACT,
            A.INVESTIGATE,
        ),
    ),
    "unreported_usage": FindingType(
        "Usage that never reached the meter",
        LEAK,
        (C.TECHNICAL_ERROR,),
        (A.FIX_METERING, A.REPORT_USAGE, A.INVOICE_DIFFERENCE, A.INVESTIGATE),
    ),
    "incorrect_discount": FindingType(
        "Discount without entitlement",
        LEAK,
        (C.CONTRACT_EXCEPTION, C.TECHNICAL_ERROR, C.PRICING_MIGRATION),
        (A.CORRECT_DISCOUNT, A.CONFIRM_CONTRACT, A.INVOICE_DIFFERENCE, A.INVESTIGATE),
    ),
    "seat_leakage": FindingType(
        "More seats in use than billed",
        LEAK,
        (C.EXPANSION_OPPORTUNITY, C.CUSTOMER_ERROR, C.CONTRACT_EXCEPTION),
        (A.TRUE_UP_SEATS, A.OFFER_UPGRADE, A.CONFIRM_CONTRACT, A.INVESTIGATE),
    ),
    "missing_invoice": FindingType(
        "Period without an invoice",
        LEAK,
        (C.TECHNICAL_ERROR, C.CONTRACT_EXCEPTION),
        (A.ISSUE_INVOICE, A.FIX_SUBSCRIPTION, A.CONFIRM_CONTRACT, A.INVESTIGATE),
    ),
    "unbilled_proration": FindingType(
        "Change inside a period not prorated",
        LEAK,
        (C.TECHNICAL_ERROR, C.CONTRACT_EXCEPTION),
        (A.INVOICE_DIFFERENCE, A.FIX_SUBSCRIPTION, A.CONFIRM_CONTRACT, A.INVESTIGATE),
    ),
    "minimum_shortfall": FindingType(
        "Minimum commitment not reached and not billed",
        LEAK,
        (C.TECHNICAL_ERROR, C.CONTRACT_EXCEPTION),
        (A.INVOICE_DIFFERENCE, A.CONFIRM_CONTRACT, A.INVESTIGATE),
    ),
    "over_credited": FindingType(
        "Credit beyond policy",
        LEAK,
        (C.CONTRACT_EXCEPTION, C.CUSTOMER_ERROR),
        (A.CONFIRM_CONTRACT, A.INVOICE_DIFFERENCE, A.INVESTIGATE),
    ),
    "late_usage": FindingType(
        "Usage that arrived after the invoice",
        LEAK,
        (C.TECHNICAL_ERROR,),
        (A.INVOICE_DIFFERENCE, A.FIX_METERING, A.INVESTIGATE),
    ),
    "final_usage_lost": FindingType(
        "Usage before an immediate cancellation never invoiced",
        LEAK,
        (C.TECHNICAL_ERROR,),
        (A.INVOICE_DIFFERENCE, A.FIX_SUBSCRIPTION, A.INVESTIGATE),
    ),
    # ------------------------------------------------------------------ leak, estimated
    "unmetered_usage": FindingType(
        "Usage that nobody prices",
        LEAK,
        (C.TECHNICAL_ERROR, C.EXPANSION_OPPORTUNITY, C.CONTRACT_EXCEPTION),
        (A.ADD_METERED_PRICE, A.CONFIRM_CONTRACT, A.OFFER_UPGRADE, A.INVESTIGATE),
    ),
    "unattributed_usage": FindingType(
        "Usage without a known customer",
        LEAK,
        (C.TECHNICAL_ERROR,),
        (A.MAP_USAGE, A.INVESTIGATE),
    ),
    "usage_after_cancellation": FindingType(
        "Usage after the cancellation",
        LEAK,
        (C.TECHNICAL_ERROR, C.CUSTOMER_ERROR, C.EXPANSION_OPPORTUNITY),
        (A.REVOKE_ACCESS, A.INVOICE_DIFFERENCE, A.FIX_SUBSCRIPTION, A.INVESTIGATE),
    ),
    "feature_leakage": FindingType(
        "Features enabled beyond the plan",
        LEAK,
        (C.EXPANSION_OPPORTUNITY, C.TECHNICAL_ERROR, C.CONTRACT_EXCEPTION),
        (A.OFFER_UPGRADE, A.REVOKE_ACCESS, A.CONFIRM_CONTRACT, A.INVESTIGATE),
    ),
    "access_after_cancellation": FindingType(
        "Access still on after cancellation",
        LEAK,
        (C.TECHNICAL_ERROR, C.EXPANSION_OPPORTUNITY, C.CONTRACT_EXCEPTION),
        (A.REVOKE_ACCESS, A.FIX_SUBSCRIPTION, A.CONFIRM_CONTRACT, A.INVESTIGATE),
    ),
    "plan_mismatch": FindingType(
        "Product plan above the billed plan",
        LEAK,
        (C.TECHNICAL_ERROR, C.EXPANSION_OPPORTUNITY, C.CONTRACT_EXCEPTION),
        (A.FIX_SUBSCRIPTION, A.OFFER_UPGRADE, A.REVOKE_ACCESS, A.CONFIRM_CONTRACT, A.INVESTIGATE),
    ),
    "trial_not_converted": FindingType(
        "Trial over, access on, nothing billed",
        LEAK,
        (C.EXPANSION_OPPORTUNITY, C.TECHNICAL_ERROR, C.CONTRACT_EXCEPTION),
        (A.FIX_SUBSCRIPTION, A.REVOKE_ACCESS, A.CONFIRM_CONTRACT, A.INVESTIGATE),
    ),
    "missing_stripe_subscription": FindingType(
        "Active account without a subscription",
        LEAK,
        (C.TECHNICAL_ERROR, C.CONTRACT_EXCEPTION),
        (A.FIX_SUBSCRIPTION, A.CONFIRM_CONTRACT, A.REVOKE_ACCESS, A.INVESTIGATE),
    ),
    "duplicate_refund": FindingType(
        "The same refund more than once",
        LEAK,
        (C.TECHNICAL_ERROR, C.CUSTOMER_ERROR),
        (A.RECOVER_REFUND, A.CONFIRM_CONTRACT, A.INVESTIGATE),
    ),
    # ------------------------------------------------------------------ risk
    "unpaid_access": FindingType(
        "Access on while payment is overdue",
        RISK,
        (C.PAYMENT_PROBLEM,),
        (A.COLLECT_PAYMENT, A.UPDATE_PAYMENT_METHOD, A.REVOKE_ACCESS, A.INVESTIGATE),
    ),
    "retries_exhausted": FindingType(
        "Payment retries used up",
        RISK,
        (C.PAYMENT_PROBLEM,),
        (A.UPDATE_PAYMENT_METHOD, A.COLLECT_PAYMENT, A.REVOKE_ACCESS, A.INVESTIGATE),
    ),
    "expiring_payment_method": FindingType(
        "Payment method about to expire",
        RISK,
        (C.PAYMENT_PROBLEM,),
        (A.UPDATE_PAYMENT_METHOD, A.NO_ACTION, A.INVESTIGATE),
    ),
    "stuck_draft_invoice": FindingType(
        "Draft invoice that never finalised",
        RISK,
        (C.TECHNICAL_ERROR, C.CONTRACT_EXCEPTION),
        (A.FINALIZE_INVOICE, A.CONFIRM_CONTRACT, A.INVESTIGATE),
    ),
    "webhook_delivery_failure": FindingType(
        "Events that Stripe could not deliver",
        RISK,
        (C.TECHNICAL_ERROR,),
        (A.REPAIR_WEBHOOK, A.INVESTIGATE),
    ),
    "orphaned_subscription": FindingType(
        "Subscription without an account",
        RISK,
        (C.TECHNICAL_ERROR, C.CUSTOMER_ERROR),
        (A.INVESTIGATE, A.FIX_SUBSCRIPTION, A.CONFIRM_CONTRACT),
    ),
    "paused_collection": FindingType(
        "Collection paused",
        RISK,
        (C.CONTRACT_EXCEPTION, C.PAYMENT_PROBLEM, C.TECHNICAL_ERROR),
        (A.CONFIRM_CONTRACT, A.RESUME_COLLECTION, A.INVESTIGATE),
    ),
    "dispute_open": FindingType(
        "Open dispute",
        RISK,
        (C.PAYMENT_PROBLEM, C.CUSTOMER_ERROR),
        (A.RESPOND_TO_DISPUTE, A.INVESTIGATE),
    ),
    # ------------------------------------------------------------------ overbilling
    "overbilled_usage": FindingType(
        "More usage billed than used",
        OVERBILLING,
        (C.TECHNICAL_ERROR,),
        (A.CREDIT_CUSTOMER, A.FIX_METERING, A.INVESTIGATE),
    ),
    "overbilled_price": FindingType(
        "Billed above the price in force",
        OVERBILLING,
        (C.TECHNICAL_ERROR, C.PRICING_MIGRATION, C.CONTRACT_EXCEPTION),
        (A.CREDIT_CUSTOMER, A.CONFIRM_CONTRACT, A.FIX_SUBSCRIPTION, A.INVESTIGATE),
    ),
    "double_charge": FindingType(
        "Charged more than the price gives",
        OVERBILLING,
        (C.TECHNICAL_ERROR,),
        (A.CREDIT_CUSTOMER, A.INVESTIGATE),
    ),
    "duplicate_subscription": FindingType(
        "The same product subscribed to twice",
        OVERBILLING,
        (C.CUSTOMER_ERROR, C.TECHNICAL_ERROR, C.CONTRACT_EXCEPTION),
        (A.STOP_DUPLICATE, A.CONFIRM_CONTRACT, A.CREDIT_CUSTOMER, A.INVESTIGATE),
    ),
    "missing_local_access": FindingType(
        "Paid for more than the product gives",
        OVERBILLING,
        (C.TECHNICAL_ERROR,),
        (A.GRANT_ACCESS, A.CREDIT_CUSTOMER, A.INVESTIGATE),
    ),
    # ------------------------------------------------------------------ opportunity
    "approaching_limit": FindingType(
        "Close to the included quantity",
        OPPORTUNITY,
        (C.EXPANSION_OPPORTUNITY,),
        (A.NOTIFY_LIMIT, A.OFFER_UPGRADE, A.NO_ACTION),
    ),
    "outgrown_plan": FindingType(
        "Outgrown the plan",
        OPPORTUNITY,
        (C.EXPANSION_OPPORTUNITY,),
        (A.OFFER_UPGRADE, A.NO_ACTION),
    ),
}

ONE_OFF_TYPES = frozenset(
    {
        "missing_invoice",
        "unbilled_proration",
        "minimum_shortfall",
        "over_credited",
        "late_usage",
        "final_usage_lost",
        "duplicate_refund",
        "double_charge",
        "stuck_draft_invoice",
        "webhook_delivery_failure",
        "dispute_open",
        "expiring_payment_method",
        "retries_exhausted",
        "unpaid_access",
        "orphaned_subscription",
        "approaching_limit",
    }
)
"""Types that happen once: they never enter a monthly figure."""

_OTHER_DIRECTION: dict[str, tuple[tuple[C, ...], tuple[A, ...]]] = {
    LEAK: (
        (C.TECHNICAL_ERROR, C.CONTRACT_EXCEPTION),
        (A.INVESTIGATE, A.INVOICE_DIFFERENCE, A.CONFIRM_CONTRACT),
    ),
    OVERBILLING: (
        (C.TECHNICAL_ERROR, C.CONTRACT_EXCEPTION),
        (A.CREDIT_CUSTOMER, A.CONFIRM_CONTRACT, A.INVESTIGATE),
    ),
    RISK: (
        (C.PAYMENT_PROBLEM, C.TECHNICAL_ERROR, C.CONTRACT_EXCEPTION),
        (A.INVESTIGATE, A.CONFIRM_CONTRACT),
    ),
    OPPORTUNITY: ((C.EXPANSION_OPPORTUNITY,), (A.OFFER_UPGRADE, A.NO_ACTION)),
}


def finding_type(leakage_type: str, direction: str) -> FindingType:
    """Return the table's row, or a cautious stand-in for a type or direction it does not know.

    A discount smaller than the customer is entitled to, for one, is `incorrect_discount` with
    direction overbilling: it must never be answered with an invoice.

    Args:
        leakage_type: As in `marts.fct_leakage_detections`.
        direction: leak, overbilling, risk or opportunity, as on the same row.

    Returns:
        The finding type with the categories and actions that hold for this direction.
    """
    known = FINDING_TYPES.get(leakage_type)
    if known is not None and known.direction == direction:
        return known
    categories, actions = _OTHER_DIRECTION.get(direction, _OTHER_DIRECTION[LEAK])
    title = known.title if known else leakage_type.replace("_", " ").capitalize()
    if leakage_type == "incorrect_discount" and direction == OVERBILLING:
        title = "Discount smaller than agreed"
    return FindingType(title, direction, categories, actions)


def is_recurring(leakage_type: str) -> bool:
    """Tell whether a leak of this type comes back every period until someone mends it."""
    return leakage_type not in ONE_OFF_TYPES
