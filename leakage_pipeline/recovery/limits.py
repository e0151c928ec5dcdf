"""What the policy says about recovery: caps and stops (`action_limits`), and whose CRM (`crm`)."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from leakage_pipeline.config_types import Amount, Count, StrictModel, Text


class ActionLimits(StrictModel):
    """Caps in the reporting currency, credits counted like charges; 0 lets nothing through.

    Attributes:
        per_customer: All that is sent about one customer within 31 days.
        per_run: All that one run sends.
        per_day: All that is sent within 24 hours.
        error_pct: A run stops, and stays stopped, when more of its requests fail than this.
        min_confidence: Mode auto releases no finding below it.
        audit_age_hours: Nothing is sent on an audit older than this.
    """

    per_customer: Amount = Decimal(500)
    per_run: Amount = Decimal(5000)
    per_day: Amount = Decimal(10000)
    error_pct: Annotated[Amount, Field(le=100)] = Decimal(20)
    min_confidence: Annotated[Amount, Field(le=1)] = Decimal("0.9")
    audit_age_hours: Annotated[Count, Field(ge=1, le=168)] = 36


class Crm(StrictModel):
    """Where deals for sales go. `stage` and `pipeline` are the system's own ids; None: its default.

    A Pipedrive id is a number.
    """

    system: Literal["none", "hubspot", "pipedrive"] = "none"
    stage: Text | None = None
    pipeline: Text | None = None
