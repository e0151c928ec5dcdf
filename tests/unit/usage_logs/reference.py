"""The roll-up once more, event by event in plain Python, for the engines to be compared with."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any

Row = Mapping[str, str | None]
DAY = timedelta(days=1)
STEP = Decimal(1).scaleb(-12)


@dataclass
class World:
    """What the warehouse knows: cuts per customer, finalisations, names."""

    as_of: datetime
    customers: Mapping[str, str]
    cuts: Mapping[str, Sequence[datetime]] = field(default_factory=dict)
    finalizations: Sequence[tuple[str, str, datetime, datetime, datetime | None]] = ()
    meter_names: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Answer:
    windows: dict[tuple[Any, ...], tuple[Any, ...]]
    unattributed: dict[tuple[Any, ...], tuple[Any, ...]]
    coverage: dict[str, tuple[Any, ...]]
    rejected: dict[str, dict[str, int]]
    duplicates: int


def instant_of(text: str | None) -> datetime | None:
    if not text:
        return None
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", text):
        number = Decimal(text.strip())
        seconds = number if number < 10**11 else number / 1000
        if number >= 10**14:
            return None
        micros = int((seconds * 10**6).to_integral_value(ROUND_HALF_UP))
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def value_of(text: str | None) -> Decimal | None:
    if text is None or not text.strip():
        return Decimal(1)
    if not re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", text):
        return None
    number = Decimal(text.strip())
    return number.quantize(STEP, ROUND_HALF_UP) if abs(number) < 10**18 else None


def reason_of(row: Row, as_of: datetime) -> str | None:
    for ours in ("event_id", "customer_id", "meter"):
        if not (row.get(ours) or "").strip():
            return f"missing {ours}"
    value, occurred = value_of(row.get("value")), instant_of(row.get("occurred_at"))
    if value is None:
        return "bad value"
    if value < 0:
        return "negative value"
    if occurred is None or occurred < datetime(2000, 1, 1, tzinfo=UTC):
        return "bad occurred_at"
    received = instant_of(row.get("received_at"))
    if occurred > as_of:
        had_arrived = received is not None and received <= as_of
        return "occurred_at after as_of" + (", received before" if had_arrived else "")
    return "received_at after as_of" if received and received > as_of else None


def roll_up(sources: Sequence[tuple[str, Iterable[Row]]], world: World) -> Answer:
    rejected: dict[str, Counter[str]] = defaultdict(Counter)
    copies: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    never = datetime.max.replace(tzinfo=UTC)
    for order, (name, rows) in enumerate(sources):
        for row in rows:
            reason = reason_of(row, world.as_of)
            if reason:
                rejected[name][reason] += 1
                continue
            copies[str(row["event_id"])].append(
                (
                    instant_of(row["occurred_at"]),
                    order,
                    instant_of(row.get("received_at")) or never,
                    row["customer_id"],
                    row["meter"],
                    row.get("source") or "",
                    value_of(row.get("value")),
                )
            )
    windows: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    lost: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    spans: dict[str, list[datetime]] = defaultdict(list)
    for found in copies.values():
        at, _, received, ref, meter, source, value = min(found)
        spans[meter].append(at)
        customer = world.customers.get(ref)
        start, end = window_of(at, world.cuts.get(customer, ()) if customer else ())
        if customer is None:
            lost[ref, meter, source, start, end].append(value)
            continue
        late = received != never and is_late(world, customer, meter, start, received)
        skewed = received < at - timedelta(minutes=1)
        windows[customer, meter, source, start, end].append(
            (at, value, late, len(found) - 1, skewed)
        )
    return Answer(
        {key: summary(events) for key, events in windows.items()},
        {key: (len(values), sum(values)) for key, values in lost.items()},
        {meter: (min(found), max(found), len(found)) for meter, found in spans.items()},
        {name: dict(counts) for name, counts in rejected.items()},
        sum(len(found) - 1 for found in copies.values()),
    )


def window_of(at: datetime, cuts: Sequence[datetime]) -> tuple[datetime, datetime]:
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    bounds = sorted({day, day + DAY, *(cut for cut in cuts if day < cut < day + DAY)})
    return next((start, end) for start, end in pairwise(bounds) if start <= at < end)


def is_late(world: World, customer: str, meter: str, start: datetime, received: datetime) -> bool:
    name = world.meter_names.get(meter, meter)
    finalized = [
        final
        for ref, event_name, begin, end, final in world.finalizations
        if ref == customer and event_name == name and begin <= start < end
    ]
    return bool(finalized) and all(final is not None and received >= final for final in finalized)


def summary(events: list[Any]) -> tuple[Any, ...]:
    last_at, last_value, *_ = max(events)
    late = [value for _, value, is_late, *_ in events if is_late]
    return (
        len(events),
        sum(value for _, value, *_ in events),
        last_value,
        last_at,
        len(late),
        sum(late),
        sum(extra for *_, extra, _ in events),
        sum(skewed for *_, skewed in events),
    )
