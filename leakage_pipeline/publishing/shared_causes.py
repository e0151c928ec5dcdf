"""Causes that several customers share: one broken endpoint is one line, whatever it costs whom.

What an incident is says `marts.fct_incidents`; the amounts are added up here from the same leaks as
every other figure of a report, so that they agree and leave out what people dismissed.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from leakage_pipeline.classification.finding_types import OPPORTUNITY, finding_type
from leakage_pipeline.classification.findings import Finding, Incident
from leakage_pipeline.publishing.leaks import Leak

_SHARED_BY_SEVERAL = 2
# What findings of these types always share says nothing about why.
_NO_CAUSES = frozenset({"seats", "invoice"})


@dataclass(frozen=True)
class SharedCause:
    """An incident that at least two customers share, in one currency."""

    incident_id: str
    title: str
    cause: str
    direction: str
    started_at: datetime | None
    customers: int
    currency: str | None
    closed_amount: Decimal
    open_amount: Decimal
    monthly_amount: Decimal
    """What a month costs now: leaks that have ended do not count."""
    found_at: datetime | None
    lost_before_found: Decimal
    """What the periods cost that were over when an audit found any of it first."""
    reporting_amount: Decimal | None
    """All periods in the reporting currency; None unless every one of them has a rate."""


def shared_causes(
    leaks: Sequence[Leak], incidents: Sequence[Incident], *, with_lone_sources: bool = False
) -> list[SharedCause]:
    """Return the causes that several customers share, the costliest a month first.

    Args:
        leaks: What is told, dismissed ones left out.
        incidents: All incidents.
        with_lone_sources: Also a broken source of usage that only one customer has met yet.
    """
    findings: defaultdict[tuple[str | None, str | None], list[Finding]] = defaultdict(list)
    monthly: defaultdict[tuple[str | None, str | None], Decimal] = defaultdict(Decimal)
    for leak in leaks:
        for finding in leak.findings:
            findings[finding.incident_id, finding.currency].append(finding)
        # A leak may have changed its cause: what it costs now belongs to the newest one.
        newest = leak.newest
        monthly[newest.incident_id, newest.currency] += leak.monthly_amount or 0
    told: list[SharedCause] = []
    for incident in incidents:
        key = (incident.incident_id, incident.currency)
        # That many customers come near their limits has no cause to mend.
        if key not in findings or incident.direction == OPPORTUNITY:
            continue
        cause = _shared(incident, findings[key], monthly[key])
        if cause.customers >= _SHARED_BY_SEVERAL or (with_lone_sources and incident.source):
            told.append(cause)
    return sorted(told, key=_costliest_first)


def _shared(incident: Incident, findings: Sequence[Finding], monthly: Decimal) -> SharedCause:
    starts = [finding.period_start for finding in findings if finding.period_start]
    return SharedCause(
        incident_id=incident.incident_id,
        title=finding_type(incident.leakage_type, incident.direction).title,
        cause=_cause(incident),
        direction=incident.direction,
        # A source's day is known better than by the periods that it touched.
        started_at=incident.started_at if incident.source else min(starts, default=None),
        customers=len({finding.customer_id for finding in findings}),
        currency=incident.currency,
        closed_amount=_sum(findings, closed=True),
        open_amount=_sum(findings, closed=False),
        monthly_amount=monthly,
        found_at=incident.first_detected_at,
        lost_before_found=_lost_before(incident.first_detected_at, findings),
        reporting_amount=_in_reporting_currency(findings),
    )


def _lost_before(found_at: datetime | None, findings: Sequence[Finding]) -> Decimal:
    over = [f for f in findings if found_at and f.period_end and f.period_end <= found_at]
    return _sum(over, closed=True)


def _sum(findings: Sequence[Finding], *, closed: bool) -> Decimal:
    amounts = (f.amount for f in findings if (f.phase == "closed") is closed)
    return sum((amount for amount in amounts if amount is not None), Decimal(0))


def _in_reporting_currency(findings: Sequence[Finding]) -> Decimal | None:
    amounts = [f.reporting_amount for f in findings if f.amount is not None]
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if len(known) == len(amounts) else None


def _costliest_first(cause: SharedCause) -> tuple[bool, Decimal, Decimal, str, str]:
    """Order across currencies by the reporting currency; what has no rate into it comes last."""
    total = cause.closed_amount + cause.open_amount
    rate = cause.reporting_amount / total if cause.reporting_amount is not None and total else None
    weight = rate if rate is not None else Decimal(1)
    return (
        *(rate is None, -cause.monthly_amount * weight, -total * weight),
        *(cause.incident_id, cause.currency or ""),
    )


def _cause(incident: Incident) -> str:
    """Name the cause: the source of usage, else what the findings share, else the meter."""
    cause = incident.source or incident.cause or ""
    parts = ["" if cause in _NO_CAUSES else cause]
    if incident.meter and incident.meter not in parts:
        parts.append(f"meter {incident.meter}")
    return ", ".join(part for part in parts if part)
