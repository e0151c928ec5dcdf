"""`policy` of leakage.yaml: what counts as a finding, who hears of it, and what may be done.

Nothing here connects or decides; the defaults are those of docs/configuration.md.
"""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from leakage_pipeline.config_types import Amount, Count, StrictModel, Text, TimeZone
from leakage_pipeline.recovery.limits import ActionLimits, Crm, MessagePolicy

_HIGHEST_SOFT_CAP = 1000
SlackReader = Literal["engineering", "finance", "sales", "support", "high", "critical"]


class Severity(StrictModel):
    """From which amount, in the reporting currency, a finding is medium, high or critical."""

    medium: Amount = Decimal(100)
    high: Amount = Decimal(500)
    critical: Amount = Decimal(5000)

    @model_validator(mode="after")
    def _ascending(self) -> "Severity":
        if not self.medium <= self.high <= self.critical:
            message = "must ascend: medium <= high <= critical"
            raise ValueError(message)
        return self


class SlackPolicy(StrictModel):
    """Where and when Slack hears of findings."""

    # None: SLACK_CHANNEL, else #revenue-leakage.
    channel: Text | None = None
    # By audience (engineering, finance, sales, support) or by severity (high, critical).
    channels: dict[SlackReader, Text] = Field(default_factory=dict)
    digest_at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "17:00"
    timezone: TimeZone = "UTC"
    at_once: Literal["high", "critical", "never"] = "high"
    test_channel: Text | None = None


class ClassifierPolicy(StrictModel):
    """What a run may spend on the model, and how long a night waits for a batch."""

    max_calls: Annotated[Count, Field(ge=0)] = 200
    max_dollars: Amount = Decimal("2.00")
    batches: bool = True
    wait_minutes: Annotated[Count, Field(ge=0, le=24 * 60)] = 15


class Policy(StrictModel):
    """What counts as a finding, how long things may take, and whether recovery may act."""

    usage_tolerance_pct: Annotated[Amount, Field(le=100)] = Decimal(5)
    min_amount: Amount = Decimal("1.00")
    severity: Severity = Severity()
    payment_grace_days: Annotated[Count, Field(ge=0, le=365)] = 7
    invoice_grace_days: Annotated[Count, Field(ge=0, le=365)] = 3
    refund_window_days: Annotated[Count, Field(ge=0, le=3650)] = 30
    # Stripe waits about an hour before it finalises a draft; 72 is the longest it can be told to.
    finalization_delay_hours: Annotated[Count, Field(ge=0, le=72)] = 1
    # False: every night prices every customer. Their results are the same; see decision 0030.
    price_changed_only: bool = False
    soft_cap_pct: tuple[Annotated[Count, Field(gt=0, le=_HIGHEST_SOFT_CAP)], ...] = (80, 90, 100)
    action_mode: Literal["off", "dry_run", "approve", "auto"] = "off"
    action_limits: ActionLimits = ActionLimits()
    # Where a credit note puts what the customer has paid: off the next invoices, or back at once.
    paid_back_to: Literal["balance", "card"] = "balance"
    crm: Crm = Crm()
    messages: MessagePolicy = MessagePolicy()
    classifier: ClassifierPolicy = ClassifierPolicy()
    slack: SlackPolicy = SlackPolicy()
    # Folder with a company's own messages to customers; what it lacks is ours.
    templates: Text | None = None
