"""Groups findings into cases: one incident, or one leak of one customer over all its periods.

A model is asked once per case; 212 customers behind one broken endpoint are one question.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from leakage_pipeline.classification.evidence import History, show_finding, show_incident
from leakage_pipeline.classification.finding_types import OVERBILLING, finding_type
from leakage_pipeline.classification.findings import Finding, Incident
from leakage_pipeline.classification.prompt import Prompt, build_prompt

_SHARED_BY_SEVERAL = 2
_EARLIER = 5
_DECIDED = ("approved", "dismissed", "recovered", "written_off")


@dataclass(frozen=True)
class Case:
    """Findings that one decision covers, and the question about them."""

    findings: tuple[Finding, ...]
    prompt: Prompt
    priority: Decimal
    scope: str
    """How the rationale names what it was decided on; empty for a case of one finding."""
    is_incident: bool = False


def build_cases(
    findings: Sequence[Finding],
    incidents: Sequence[Incident],
    states: Mapping[str, str] | None = None,
) -> list[Case]:
    """Group findings into cases, the most urgent first.

    Args:
        findings: All findings to classify.
        incidents: All incidents; one that several customers share becomes one case per direction.
        states: What people decided about findings, by detection id.

    Returns:
        Incidents first, then single leaks, each by priority: a budget that ends early has paid
        for what covers the most.
    """
    shared = {
        (incident.incident_id, incident.currency): incident
        for incident in incidents
        if incident.customers >= _SHARED_BY_SEVERAL
    }
    groups: defaultdict[tuple[str | None, ...], list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[_key(finding, shared)].append(finding)
    cases = [
        _incident_case(members, shared[(key[1] or "", key[2])])
        if key[0] == "incident"
        else _leak_case(members, states or {})
        for key, members in groups.items()
    ]
    return sorted(
        cases,
        key=lambda case: (not case.is_incident, -case.priority, case.findings[0].detection_id),
    )


def _key(
    finding: Finding, shared: dict[tuple[str, str | None], Incident]
) -> tuple[str | None, ...]:
    if finding.incident_id and (finding.incident_id, finding.currency) in shared:
        return ("incident", finding.incident_id, finding.currency, finding.direction)
    return (
        "leak",
        finding.customer_id,
        finding.subscription_id,
        finding.leakage_type,
        finding.meter,
        finding.direction,
        finding.currency,
    )


def _incident_case(members: list[Finding], incident: Incident) -> Case:
    first = members[0]
    kind = finding_type(first.leakage_type, first.direction)
    shown = show_incident(incident, amount_basis=first.amount_basis)
    return Case(
        findings=tuple(members),
        prompt=build_prompt(shown, kind, may_be_noise=False),
        priority=sum((finding.priority_score for finding in members), Decimal(0)),
        scope=f"Decided once for the incident that {incident.customers} customers share",
        is_incident=True,
    )


def _leak_case(members: list[Finding], states: Mapping[str, str]) -> Case:
    ordered = sorted(members, key=_by_period)
    closed = [finding for finding in ordered if finding.phase == "closed"]
    newest = (closed or ordered)[-1]
    kind = finding_type(newest.leakage_type, newest.direction)
    shown = show_finding(newest, _history(closed, newest, members, states))
    return Case(
        findings=tuple(ordered),
        prompt=build_prompt(shown, kind, may_be_noise=may_be_noise(members)),
        priority=max(finding.priority_score for finding in members),
        scope="Decided on the newest period of this leak" if len(members) > 1 else "",
    )


def _history(
    closed: list[Finding], newest: Finding, members: list[Finding], states: Mapping[str, str]
) -> History:
    earlier = [finding.amount for finding in closed if finding is not newest]
    decided = [states.get(finding.detection_id, "") for finding in members]
    return History(
        periods=len(closed) or 1,
        earlier_amounts=tuple(earlier[-_EARLIER:]),
        decided={name: decided.count(name) for name in _DECIDED if name in decided},
    )


def may_be_noise(members: Sequence[Finding]) -> bool:
    """Tell whether a case may be called noise: nothing measured, large or overbilled."""
    return all(
        finding.amount_basis != "measured"
        and finding.severity == "low"
        and finding.direction != OVERBILLING
        for finding in members
    )


def _by_period(finding: Finding) -> tuple[str, str]:
    return (
        finding.period_start.isoformat() if finding.period_start else "",
        finding.detection_id,
    )
