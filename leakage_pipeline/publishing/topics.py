"""What Slack talks about: a cause that customers share, or one leak of one customer.

A topic keeps its key from night to night, so that what was told of it can be compared and answered
in its thread.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from leakage_pipeline.classification.finding_types import OPPORTUNITY
from leakage_pipeline.classification.findings import Incident
from leakage_pipeline.classification.schema import ACTIONS, NextAction, Owner
from leakage_pipeline.publishing.leaks import SEVERITIES, Leak
from leakage_pipeline.publishing.shared_causes import shared_causes

# What a month of usage moves by itself is no change worth telling.
_WORTH_TELLING = Decimal("0.05")


@dataclass(frozen=True)
class TopicState:
    """What is said of a topic, as far as a change of it is worth telling."""

    key: str
    title: str
    who: str
    severity: str
    customers: int
    currency: str | None
    closed_amount: Decimal
    detections: tuple[str, ...]

    def has_changed_since(self, told: "TopicState") -> bool:
        """Whether customers, severity or closed amounts differ from what was told.

        Open periods move every night by nature and do not count.
        """
        moved = abs(self.closed_amount - told.closed_amount)
        return (
            self.customers != told.customers
            or severity_rank(self.severity) > severity_rank(told.severity)
            or moved > _WORTH_TELLING * max(told.closed_amount, Decimal(1))
        )


@dataclass(frozen=True)
class Topic:
    """A cause or a leak, ready to be told."""

    direction: str
    is_incident: bool
    owner: Owner
    action: str
    started_at: datetime | None
    first_detected_at: datetime
    open_amount: Decimal
    monthly_amount: Decimal
    priority: Decimal
    state: TopicState

    @property
    def key(self) -> str:
        """What makes it the same topic from night to night."""
        return self.state.key


def severity_rank(severity: str) -> int:
    """Order severities; one that is unknown comes before all."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1


def find_topics(
    leaks: Sequence[Leak], incidents: Sequence[Incident], actions: Mapping[str, str]
) -> list[Topic]:
    """Return the topics, incidents first, then single leaks, each by priority.

    Args:
        leaks: What is told, dismissed findings left out. Opportunities are counted, not told.
        incidents: All incidents.
        actions: The classified next action by detection id.
    """
    told = [leak for leak in leaks if leak.newest.direction != OPPORTUNITY]
    causes = shared_causes(told, incidents, with_lone_sources=True)
    by_cause: defaultdict[tuple[str | None, str | None], list[Leak]] = defaultdict(list)
    for leak in told:
        by_cause[leak.newest.incident_id, leak.newest.currency].append(leak)
    topics: list[Topic] = []
    covered: set[str] = set()
    for cause in causes:
        members = by_cause[cause.incident_id, cause.currency]
        if not members:
            continue
        covered |= {leak.newest.detection_id for leak in members}
        state = TopicState(
            key=f"incident/{cause.incident_id}/{cause.currency or ''}",
            title=cause.title,
            who=cause.cause,
            severity=_highest(members),
            customers=cause.customers,
            currency=cause.currency,
            closed_amount=cause.closed_amount,
            detections=_detections(members),
        )
        topics.append(
            Topic(
                is_incident=True,
                started_at=cause.started_at,
                open_amount=cause.open_amount,
                monthly_amount=cause.monthly_amount,
                state=state,
                **_shared(members, actions),
            )
        )
    single = [leak for leak in told if leak.newest.detection_id not in covered]
    topics += [_single(leak, actions) for leak in single]
    return sorted(topics, key=lambda topic: (not topic.is_incident, -topic.priority, topic.key))


def _single(leak: Leak, actions: Mapping[str, str]) -> Topic:
    finding = leak.newest
    parts = (
        finding.customer_id or leak.customer,
        *(finding.subscription_id, finding.leakage_type),
        *(finding.meter, finding.direction, finding.amount_basis, finding.currency),
    )
    identity = "\x1f".join(part or "" for part in parts)
    state = TopicState(
        key=f"leak/{hashlib.sha256(identity.encode()).hexdigest()[:24]}",
        title=leak.title,
        who=leak.customer,
        severity=leak.severity,
        customers=1,
        currency=finding.currency,
        closed_amount=leak.closed_amount or Decimal(0),
        detections=_detections([leak]),
    )
    return Topic(
        is_incident=False,
        started_at=leak.started_at,
        open_amount=leak.open_amount or Decimal(0),
        monthly_amount=leak.monthly_amount or Decimal(0),
        state=state,
        **_shared([leak], actions),
    )


def _shared(members: Sequence[Leak], actions: Mapping[str, str]) -> dict[str, Any]:
    chosen = Counter(
        actions[leak.newest.detection_id]
        for leak in members
        if actions.get(leak.newest.detection_id) in set(NextAction)
    )
    action = NextAction(max(sorted(chosen), key=chosen.__getitem__)) if chosen else None
    return {
        "direction": members[0].newest.direction,
        "owner": ACTIONS[action].owner if action else Owner.FINANCE,
        "action": ACTIONS[action].label if action else "",
        "first_detected_at": min(leak.first_detected_at for leak in members),
        "priority": sum((leak.priority for leak in members), Decimal(0)),
    }


def _highest(members: Iterable[Leak]) -> str:
    return max((leak.severity for leak in members), key=severity_rank)


def _detections(members: Iterable[Leak]) -> tuple[str, ...]:
    return tuple(sorted(finding.detection_id for leak in members for finding in leak.findings))
