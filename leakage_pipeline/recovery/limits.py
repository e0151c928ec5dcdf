"""What the policy says about recovery.

Caps and stops (`action_limits`), whose CRM (`crm`), and who is written to (`messages`).
"""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from leakage_pipeline.config_types import Amount, Count, StrictModel, Text

MailAddress = Annotated[str, Field(pattern=r"^[^@\s<>,;\"]+@[^@\s<>,;\"]+$", max_length=254)]


class ActionLimits(StrictModel):
    """Caps in the reporting currency, credits counted like charges; 0 lets nothing through.

    Attributes:
        per_customer: All that is sent about one customer within 31 days.
        per_run: All that one run sends.
        per_day: All that is sent within 24 hours.
        error_pct: A run stops, and stays stopped, when more of its requests fail than this.
        min_confidence: Mode auto releases no finding below it.
        audit_age_hours: Nothing is sent on an audit older than this.
        messages_per_day: Messages to customers and teams, all together, within 24 hours.
        mails_per_customer: Mails to one customer within 31 days.
    """

    per_customer: Amount = Decimal(500)
    per_run: Amount = Decimal(5000)
    per_day: Amount = Decimal(10000)
    error_pct: Annotated[Amount, Field(le=100)] = Decimal(20)
    min_confidence: Annotated[Amount, Field(le=1)] = Decimal("0.9")
    audit_age_hours: Annotated[Count, Field(ge=1, le=168)] = 36
    messages_per_day: Annotated[Count, Field(ge=0)] = 50
    mails_per_customer: Annotated[Count, Field(ge=0)] = 2


class Crm(StrictModel):
    """Where deals for sales go. `stage` and `pipeline` are the system's own ids; None: its default.

    A Pipedrive id is a number.
    """

    system: Literal["none", "hubspot", "pipedrive"] = "none"
    stage: Text | None = None
    pipeline: Text | None = None


class MessagePolicy(StrictModel):
    """Which messages the ledger plans; none by default.

    Attributes:
        customers: Mails to customers, as files for somebody's own mail program (export) or over
            SMTP_URL (smtp). Either way a person releases each.
        sender: Who they are from; needed for smtp.
        teams: Slack messages to the team that has to act, in `slack.channels`.
        subscription_changes: Drafts of changes that a person makes in Stripe.
    """

    customers: Literal["off", "export", "smtp"] = "off"
    sender: MailAddress | None = None
    teams: bool = False
    subscription_changes: bool = False

    @model_validator(mode="after")
    def _has_sender(self) -> "MessagePolicy":
        if self.customers == "smtp" and self.sender is None:
            message = "customers: smtp needs a sender, such as billing@example.com"
            raise ValueError(message)
        return self
