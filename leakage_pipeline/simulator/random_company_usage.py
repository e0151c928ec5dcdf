"""What random customers use: the log's events, and which of them Stripe's meters were told.

No event lies in the minute of a period's bound by chance: Stripe sums whole minutes, so what
happens there is placed on purpose.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from leakage_pipeline.simulator.billing_engine.calendar import DAY, SECONDS
from leakage_pipeline.simulator.billing_engine.commands import ChangeTrialEnd, Command, Create
from leakage_pipeline.simulator.billing_engine.ledger import Buyer
from leakage_pipeline.simulator.billing_engine.usage import Reported
from leakage_pipeline.simulator.random_company_terms import MeterOffer, PlanOffer, chance

MINUTE = 60


@dataclass(frozen=True)
class LogEvent:
    """One event of the log; `reports` is how often Stripe's meter was told (0, 1 or 2)."""

    event_id: str
    customer_id: str
    meter: str
    event_name: str
    at: int
    value: Decimal
    source: str
    reports: int = 1


class User(Protocol):
    """Whose usage is drawn."""

    buyer: Buyer
    plan: PlanOffer
    create: Create
    later: list[Command]
    end: int | None


def draw_usage(
    rng: random.Random, latest: int, member: User, offer: MeterOffer
) -> Iterator[LogEvent]:
    """Events of one meter over the life of a subscription, about `offer.volume` a period."""
    interval, count = member.plan.rhythm
    length = SECONDS.get(interval, 30 * DAY if interval == "month" else 365 * DAY) * count
    start = member.create.backdate_to or member.create.at
    stop = min(latest, member.end if member.end is not None else latest)
    number = 0
    for first in range(start, stop, length):
        events = offer.volume if offer.meter.formula == "count" else rng.randint(2, 9)
        if chance(rng, 0.1):
            continue  # nothing for a while
        for value in _values(rng, offer, events):
            at = rng.randrange(first, first + length)
            if at < stop and not _is_near_a_bound(at, member):
                number += 1
                yield LogEvent(
                    f"ev_{member.buyer.customer_id[4:]}_{offer.log_name}_{number}",
                    member.buyer.customer_id,
                    offer.log_name,
                    offer.meter.event_name,
                    at,
                    value,
                    rng.choice(("gateway", "batch")),
                )


def _values(rng: random.Random, offer: MeterOffer, events: int) -> Iterator[Decimal]:
    if offer.meter.formula == "count":
        yield from (Decimal(1) for _ in range(rng.randint(0, 2 * events)))
        return
    places = rng.choice((0, 0, 1, 4))
    share = offer.volume if offer.meter.formula == "last" else max(1, offer.volume // events)
    for _ in range(events):
        yield Decimal(rng.randint(0, 2 * share * 10**places)).scaleb(-places)


def _is_near_a_bound(at: int, member: User) -> bool:
    """Whether the instant lies in the minute of the second at which the customer's periods turn.

    Every bound keeps the second of the minute of the start or of the trial's end.
    """
    create = member.create
    known = [create.at, create.trial_end, create.anchor, create.backdate_to, member.end]
    known.extend(
        command.trial_end if isinstance(command, ChangeTrialEnd) else command.at
        for command in member.later
    )
    turns = [turn for turn in known if turn is not None]
    return any(abs(at % DAY - turn % DAY) <= 2 * MINUTE for turn in turns)


def reported(log: Iterable[LogEvent]) -> Iterator[Reported]:
    """What Stripe was told: each event as often as it says."""
    for event in log:
        for repeat in range(event.reports):
            tail = "-again" if repeat else ""
            yield Reported(event.event_name, event.at, event.value, f"{event.event_id}{tail}")
