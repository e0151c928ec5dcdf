"""The vocabulary of a decision: categories, next actions, the model's answer, the stored row.

Closed lists on purpose: whatever reads `ops.classifications` may rely on them.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

RULES = "rules"
"""What `ops.classifications.classifier` says when no model took part."""


class Category(StrEnum):
    """Why the money is missing, seen from the person who has to act."""

    TECHNICAL_ERROR = "technical_error"
    EXPANSION_OPPORTUNITY = "expansion_opportunity"
    PRICING_MIGRATION = "pricing_migration"
    CONTRACT_EXCEPTION = "contract_exception"
    PAYMENT_PROBLEM = "payment_problem"
    CUSTOMER_ERROR = "customer_error"
    NOISE = "noise"


class Owner(StrEnum):
    """The team that a next action lands with."""

    ENGINEERING = "engineering"
    FINANCE = "finance"
    SALES = "sales"
    SUPPORT = "support"


class NextAction(StrEnum):
    """What to do next. Which of these a finding type allows stands in `finding_types`."""

    FIX_METERING = "fix_metering"
    REPORT_USAGE = "report_usage"
    MAP_USAGE = "map_usage"
    ADD_METERED_PRICE = "add_metered_price"
    MIGRATE_PRICE = "migrate_price"
    CORRECT_DISCOUNT = "correct_discount"
    TRUE_UP_SEATS = "true_up_seats"
    INVOICE_DIFFERENCE = "invoice_difference"
    ISSUE_INVOICE = "issue_invoice"
    FINALIZE_INVOICE = "finalize_invoice"
    FIX_SUBSCRIPTION = "fix_subscription"
    STOP_DUPLICATE = "stop_duplicate"
    OFFER_UPGRADE = "offer_upgrade"
    NOTIFY_LIMIT = "notify_limit"
    REVOKE_ACCESS = "revoke_access"
    GRANT_ACCESS = "grant_access"
    COLLECT_PAYMENT = "collect_payment"
    UPDATE_PAYMENT_METHOD = "update_payment_method"
    RESUME_COLLECTION = "resume_collection"
    RESPOND_TO_DISPUTE = "respond_to_dispute"
    REPAIR_WEBHOOK = "repair_webhook"
    CREDIT_CUSTOMER = "credit_customer"
    RECOVER_REFUND = "recover_refund"
    CONFIRM_CONTRACT = "confirm_contract"
    INVESTIGATE = "investigate"
    NO_ACTION = "no_action"


@dataclass(frozen=True)
class ActionText:
    """How a next action reads in a report, and who does it."""

    label: str
    owner: Owner


ACTIONS: dict[NextAction, ActionText] = {
    NextAction.FIX_METERING: ActionText("Repair the usage reporting", Owner.ENGINEERING),
    NextAction.REPORT_USAGE: ActionText(
        "Report the missing usage before the invoice closes", Owner.ENGINEERING
    ),
    NextAction.MAP_USAGE: ActionText("Map the usage to its customer or meter", Owner.ENGINEERING),
    NextAction.ADD_METERED_PRICE: ActionText(
        "Add the metered price to the subscription", Owner.FINANCE
    ),
    NextAction.MIGRATE_PRICE: ActionText("Move to the current price, with notice", Owner.SALES),
    NextAction.CORRECT_DISCOUNT: ActionText("Correct the discount", Owner.FINANCE),
    NextAction.TRUE_UP_SEATS: ActionText("True up the seats", Owner.SALES),
    NextAction.INVOICE_DIFFERENCE: ActionText("Invoice the difference", Owner.FINANCE),
    NextAction.ISSUE_INVOICE: ActionText("Issue the missing invoice", Owner.FINANCE),
    NextAction.FINALIZE_INVOICE: ActionText("Finalise the draft invoice", Owner.FINANCE),
    NextAction.FIX_SUBSCRIPTION: ActionText("Set the subscription right", Owner.FINANCE),
    NextAction.STOP_DUPLICATE: ActionText(
        "End the duplicate subscription and credit it", Owner.FINANCE
    ),
    NextAction.OFFER_UPGRADE: ActionText("Offer the plan that fits", Owner.SALES),
    NextAction.NOTIFY_LIMIT: ActionText("Tell the customer about the limit", Owner.SUPPORT),
    NextAction.REVOKE_ACCESS: ActionText("Switch the access off", Owner.ENGINEERING),
    NextAction.GRANT_ACCESS: ActionText("Give the access that is paid for", Owner.ENGINEERING),
    NextAction.COLLECT_PAYMENT: ActionText("Collect the open payment", Owner.FINANCE),
    NextAction.UPDATE_PAYMENT_METHOD: ActionText("Ask for a new payment method", Owner.FINANCE),
    NextAction.RESUME_COLLECTION: ActionText("Resume the collection", Owner.FINANCE),
    NextAction.RESPOND_TO_DISPUTE: ActionText("Answer the dispute", Owner.FINANCE),
    NextAction.REPAIR_WEBHOOK: ActionText("Repair the webhook and replay", Owner.ENGINEERING),
    NextAction.CREDIT_CUSTOMER: ActionText("Credit the customer", Owner.FINANCE),
    NextAction.RECOVER_REFUND: ActionText("Recover the second refund", Owner.FINANCE),
    NextAction.CONFIRM_CONTRACT: ActionText("Confirm what was agreed", Owner.SALES),
    NextAction.INVESTIGATE: ActionText("Look into it by hand", Owner.FINANCE),
    NextAction.NO_ACTION: ActionText("Nothing to do", Owner.FINANCE),
}


MESSAGE_ACTIONS = frozenset(
    {
        NextAction.MIGRATE_PRICE,
        NextAction.CORRECT_DISCOUNT,
        NextAction.TRUE_UP_SEATS,
        NextAction.INVOICE_DIFFERENCE,
        NextAction.ISSUE_INVOICE,
        NextAction.FIX_SUBSCRIPTION,
        NextAction.OFFER_UPGRADE,
        NextAction.NOTIFY_LIMIT,
        NextAction.REVOKE_ACCESS,
        NextAction.GRANT_ACCESS,
        NextAction.COLLECT_PAYMENT,
        NextAction.UPDATE_PAYMENT_METHOD,
        NextAction.CREDIT_CUSTOMER,
    }
)
"""Actions that the customer hears of, each with a template; the others are internal work."""


class ModelAnswer(BaseModel):
    """The structured output asked of the model, before any of our checks."""

    model_config = ConfigDict(extra="forbid")

    category: Category
    next_action: NextAction
    # Asked for as a number, read without a float in between.
    confidence: Annotated[
        Decimal, Field(ge=0, le=1), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})
    ]
    rationale: Annotated[str, Field(min_length=1, max_length=800)]
    evidence_fields: Annotated[list[str], Field(min_length=1, max_length=20)]
    draft_subject: Annotated[str, Field(max_length=150)] | None = None
    draft_body: Annotated[str, Field(max_length=3000)] | None = None


@dataclass(frozen=True)
class Decision:
    """A category and an action for one finding.

    Drafts are a model's own and hold `{placeholders}`; without one the action's template is used.
    """

    category: Category
    next_action: NextAction
    confidence: Decimal
    rationale: str
    draft_subject: str | None
    draft_body: str | None


@dataclass(frozen=True)
class ClassificationRow:
    """One row of `ops.classifications` without `created_at`."""

    detection_id: str
    category: str
    next_action: str
    confidence: Decimal
    rationale: str
    draft_subject: str | None
    draft_body: str | None
    classifier: str
    prompt_hash: str
