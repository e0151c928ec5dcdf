"""Groups findings, one row per period, into leaks as a person counts them, and adds them up.

Totals never mix: direction, basis, currency and closed or open periods stay apart, and what comes
back every month is never multiplied into a year.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property

from leakage_pipeline.classification.finding_types import DIRECTIONS, finding_type, is_recurring
from leakage_pipeline.classification.findings import Finding

BASES = ("measured", "estimated", "at_risk")
SEVERITIES = ("low", "medium", "high", "critical")
# Usage is billed in arrears and the finding waits for the invoice: a leak whose newest period ended
# less than one more period and these days ago is taken as still running.
_STILL_RUNNING_SLACK = timedelta(days=7)


@dataclass(frozen=True)
class Leak:
    """One leak of one customer: the same subscription, type and meter, over all its periods."""

    findings: tuple[Finding, ...]
    """Ordered by period, at least one."""
    as_of: datetime

    @property
    def newest(self) -> Finding:
        """The finding of the newest closed period, or of the open one if none is closed."""
        closed = [finding for finding in self.findings if finding.phase == "closed"]
        return (closed or list(self.findings))[-1]

    @property
    def title(self) -> str:
        """The finding type in plain words."""
        return finding_type(self.newest.leakage_type, self.newest.direction).title

    @property
    def customer(self) -> str:
        """The customer's name, else the id, else the id that only the usage log knows."""
        finding = self.newest
        return finding.customer_name or finding.customer_id or _stray(finding) or "Unknown customer"

    @cached_property
    def closed_amount(self) -> Decimal | None:
        """The sum over closed periods; None when nobody prices them or none is closed."""
        return _sum(f.amount for f in self.findings if f.phase == "closed")

    @cached_property
    def open_amount(self) -> Decimal | None:
        """The amount so far of periods that are not invoiced yet."""
        return _sum(f.amount for f in self.findings if f.phase != "closed")

    @cached_property
    def reporting_amount(self) -> Decimal | None:
        """Closed periods in the reporting currency; None unless every one of them has a rate."""
        closed = [f for f in self.findings if f.phase == "closed" and f.amount is not None]
        if not closed or any(f.reporting_amount is None for f in closed):
            return None
        return _sum(f.reporting_amount for f in closed)

    @property
    def is_running(self) -> bool:
        """Whether the leak comes back every period and nothing shows that it has ended."""
        last = self.findings[-1]
        if not is_recurring(last.leakage_type):
            return False
        if last.phase != "closed" or last.period_start is None or last.period_end is None:
            return True
        length = last.period_end - last.period_start
        return last.period_end + length + _STILL_RUNNING_SLACK >= self.as_of

    @property
    def monthly_amount(self) -> Decimal | None:
        """What a month costs now, by the newest period; None unless the leak is running."""
        return self.newest.monthly_amount if self.is_running else None

    @property
    def first_detected_at(self) -> datetime:
        """When any of its periods was first found."""
        return min(finding.first_detected_at for finding in self.findings)

    @property
    def priority(self) -> Decimal:
        """The highest priority of its periods."""
        return max(finding.priority_score for finding in self.findings)

    @property
    def severity(self) -> str:
        """The highest severity of its periods."""
        return max((finding.severity for finding in self.findings), key=_severity_rank)

    @property
    def started_at(self) -> datetime | None:
        """The start of its first period."""
        return self.findings[0].period_start


@dataclass(frozen=True)
class Total:
    """Leaks of one direction, basis and currency, added up."""

    direction: str
    basis: str
    currency: str | None
    leaks: int
    customers: int
    closed_amount: Decimal
    open_amount: Decimal
    monthly_amount: Decimal
    reporting_amount: Decimal | None
    """None unless every leak has a rate into the reporting currency."""
    unpriced: int
    """Leaks without any amount: usage that nobody prices."""


def group_leaks(findings: Iterable[Finding], as_of: datetime) -> list[Leak]:
    """Group findings into leaks, the highest priority first.

    Args:
        findings: Rows of the detections mart; those that people dismissed already left out.
        as_of: The instant that decides whether a leak is still running.
    """
    groups: defaultdict[tuple[str, ...], list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[_key(finding)].append(finding)
    leaks = [Leak(tuple(sorted(group, key=_by_period)), as_of) for group in groups.values()]
    return sorted(leaks, key=lambda leak: (-leak.priority, leak.newest.detection_id))


def add_up(leaks: Sequence[Leak], first_currency: str = "") -> list[Total]:
    """Add leaks up per direction, basis and currency, in the order a report shows them.

    Args:
        leaks: What to add up.
        first_currency: The currency that stands first; the others follow by their code.
    """
    groups: defaultdict[tuple[str, str, str | None], list[Leak]] = defaultdict(list)
    for leak in leaks:
        finding = leak.newest
        groups[finding.direction, finding.amount_basis, finding.currency].append(leak)
    totals = [_total(key, group) for key, group in groups.items()]
    return sorted(
        totals,
        key=lambda total: (
            _rank(total.direction, DIRECTIONS),
            _rank(total.basis, BASES),
            total.currency != first_currency,
            total.currency or "~",
        ),
    )


def _total(key: tuple[str, str, str | None], leaks: list[Leak]) -> Total:
    direction, basis, currency = key
    priced = [leak for leak in leaks if leak.closed_amount is not None]
    reporting = [leak.reporting_amount for leak in priced]
    return Total(
        direction=direction,
        basis=basis,
        currency=currency,
        leaks=len(leaks),
        customers=len({leak.newest.customer_id for leak in leaks}),
        closed_amount=_sum(leak.closed_amount for leak in leaks) or Decimal(0),
        open_amount=_sum(leak.open_amount for leak in leaks) or Decimal(0),
        monthly_amount=_sum(leak.monthly_amount for leak in leaks) or Decimal(0),
        reporting_amount=None if None in reporting else _sum(reporting),
        unpriced=sum(leak.closed_amount is None and leak.open_amount is None for leak in leaks),
    )


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Add what is there; None when nothing is, which is not the same as zero."""
    present = [amount for amount in amounts if amount is not None]
    return sum(present, Decimal(0)) if present else None


def _key(finding: Finding) -> tuple[str, ...]:
    parts = (
        finding.customer_id or _stray(finding),
        finding.subscription_id,
        finding.leakage_type,
        finding.meter,
        finding.direction,
        finding.amount_basis,
        finding.currency,
    )
    return tuple(part or "" for part in parts)


def _stray(finding: Finding) -> str:
    """The id in the usage log of somebody whom nobody knows."""
    return str(finding.evidence.get("customer_ref") or "")


def _by_period(finding: Finding) -> tuple[bool, str, str]:
    start = finding.period_start.isoformat() if finding.period_start else ""
    return (finding.phase != "closed", start, finding.detection_id)


def _severity_rank(severity: str) -> int:
    return _rank(severity, SEVERITIES)


def _rank(value: str, order: Sequence[str]) -> int:
    return order.index(value) if value in order else len(order)
