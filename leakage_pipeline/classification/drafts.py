"""What a message may say of a finding: the one place where its facts become text.

Our templates and a model's draft are filled from the same values; every number comes from here.
"""

import re
from collections.abc import Mapping
from decimal import Decimal

from leakage_pipeline.classification.findings import Finding
from leakage_pipeline.classification.schema import MESSAGE_ACTIONS
from leakage_pipeline.classification.wording import money, period, quantity
from leakage_pipeline.communication.messages import VARIABLES, Message, Messages
from leakage_pipeline.settings import Settings

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")
_MAX_EVIDENCE_TEXT = 80

FACT_PLACEHOLDERS = VARIABLES
"""What a model may put in braces."""


def messages_of(settings: Settings) -> Messages:
    """The message templates that the policy names.

    Raises:
        ConfigurationError: A template is wrong.
    """
    folder = settings.policy.templates
    return Messages(MESSAGE_ACTIONS, settings.base_dir / folder if folder else None)


def placeholders_in(text: str) -> set[str]:
    """Return the names of the placeholders in a model's draft."""
    return set(_PLACEHOLDER.findall(text))


def placeholder_values(finding: Finding, company: str) -> dict[str, str]:
    """Return the text of every fact of this finding."""
    return {
        "customer_name": _one_line(finding.customer_name or "there"),
        "company": _one_line(company),
        "plan": _one_line(finding.plan or "current"),
        "meter": _one_line(finding.meter or "the metered service"),
        "period": period(finding.period_start, finding.period_end) or "the last period",
        "amount": money(finding.amount, finding.currency),
        "monthly_amount": money(finding.monthly_amount, finding.currency),
    }


def evidence_values(finding: Finding) -> dict[str, str]:
    """Return the scalar evidence of this finding as text, by name."""
    texts = {key: _scalar(key, value, finding) for key, value in finding.evidence.items()}
    return {key: text for key, text in texts.items() if text is not None}


def write_message(
    messages: Messages, action: str, finding: Finding, company: str
) -> Message | None:
    """Write the template of an action for a finding; None when the action is internal work."""
    return messages.write(action, placeholder_values(finding, company), evidence_values(finding))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values into a model's draft once: braces inside a value stay text.

    Raises:
        KeyError: The draft names a placeholder that has no value.
    """
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], template)


def _one_line(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()[:_MAX_EVIDENCE_TEXT]


def _scalar(key: str, value: object, finding: Finding) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | Decimal):
        is_money = key.endswith("amount")
        return money(Decimal(value), finding.currency) if is_money else quantity(value)
    return _one_line(value) if isinstance(value, str) else None
