"""Meter events in, event summaries out: validation, eventual consistency, aggregation.

Summaries come from per-customer series sorted by time with running sums, so one answer costs two
binary searches however many events there are.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount, meter_event
from leakage_pipeline.simulator.stripe_server.errors import bad_request, missing_param
from leakage_pipeline.simulator.stripe_server.params import integer, refuse_unknown, required, text

MINUTE, HOUR, DAY = 60, 3_600, 86_400
WINDOWS = {"hour": HOUR, "day": DAY}
OLDEST_EVENT = 35 * DAY
NEWEST_EVENT = 5 * MINUTE
UNIQUE_FOR = DAY
CANCELABLE_FOR = DAY
MAX_NAME = 100
MAX_DIGITS = 15
_DECIMAL = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?")
_ALWAYS = -1


class _Event(NamedTuple):
    timestamp: int
    value: Decimal
    event_name: str
    identifier: str
    received_at: int
    visible_at: int


class _Running(NamedTuple):
    """Events of one customer and meter: times ascending, values, sums before each place."""

    times: list[int]
    values: list[Decimal]
    sums: list[Decimal]


@dataclass
class _Series:
    """Events as received, and their running sums, which hold until the next event shows up."""

    events: list[_Event] = field(default_factory=list)
    running: _Running | None = None
    next_visible_at: int | None = None

    def change(self, events: list[_Event]) -> None:
        self.events = events
        self.running = None


@dataclass(frozen=True)
class MeterError:
    """What Stripe would report later about an event that it answered with 200."""

    code: str
    event_name: str
    identifier: str
    at: int


class MeterLedger:
    """The meter events of an account and everything that is asked about them."""

    def __init__(self, account: StripeAccount, *, lag_seconds: int = 0) -> None:
        self.errors: list[MeterError] = []
        self.posted: list[JsonObject] = []
        self._account = account
        self._lag = lag_seconds
        self._customers = {entry["id"] for entry in account.customers if not entry.get("deleted")}
        self._meters = {meter["id"]: meter for meter in account.meters}
        self._by_event_name: dict[str, JsonObject] = {}
        for meter in sorted(account.meters, key=lambda meter: bool(meter["status"] == "active")):
            self._by_event_name[meter["event_name"]] = meter
        self._series: dict[tuple[str, str], _Series] = {}
        self._received: dict[tuple[str, str], tuple[int, str]] = {}
        for event in account.meter_events:
            self._seed(event)

    def _seed(self, event: JsonObject) -> None:
        """An event of the account itself: received when it happened, visible at once."""
        self._received[event["event_name"], event["identifier"]] = (
            event["timestamp"],
            event["customer"],
        )
        meter = self._by_event_name.get(event["event_name"])
        if meter is not None:
            series = self._series.setdefault((meter["id"], event["customer"]), _Series())
            series.events.append(
                _Event(
                    timestamp=event["timestamp"],
                    value=Decimal(event["value"]),
                    event_name=event["event_name"],
                    identifier=event["identifier"],
                    received_at=event["timestamp"],
                    visible_at=_ALWAYS,
                )
            )

    # ---------------------------------------------------------------- events in

    def create_event(self, params: Mapping[str, Any], *, now: int, generated_id: str) -> JsonObject:
        """`POST /v1/billing/meter_events`; what Stripe finds out later goes to `errors`."""
        refuse_unknown(params, {"event_name", "payload", "timestamp", "identifier", "expand"})
        event_name = _short(params, "event_name")
        payload = params.get("payload")
        if payload is None:
            raise missing_param(param="payload")
        if not isinstance(payload, dict):
            raise bad_request(message="Invalid object", param="payload")
        identifier = _short(params, "identifier") if "identifier" in params else generated_id
        timestamp = _event_time(params, now)
        meter = self._by_event_name.get(event_name)
        value = None if meter is None else _value(meter, payload)
        received = self._received.get((event_name, identifier))
        if received is not None and now - received[0] < UNIQUE_FOR:
            message = f"An event already exists with identifier {identifier}."
            raise bad_request(message=message, param="identifier")
        customer, code = self._accept(meter, payload, value)
        if code is not None:
            self.errors.append(MeterError(code, event_name, identifier, now))
        elif meter is not None and value is not None:
            event = _Event(timestamp, value, event_name, identifier, now, now + self._lag)
            series = self._series.setdefault((meter["id"], customer), _Series())
            series.change([*series.events, event])
            self.posted.append(
                meter_event(
                    event_name,
                    customer=customer,
                    value=value,
                    timestamp=timestamp,
                    identifier=identifier,
                )
            )
        self._received[event_name, identifier] = (now, customer)
        return {
            "object": "billing.meter_event",
            "created": now,
            "event_name": event_name,
            "identifier": identifier,
            "livemode": False,
            "payload": payload,
            "timestamp": timestamp,
        }

    def _accept(
        self, meter: JsonObject | None, payload: JsonObject, value: Decimal | None
    ) -> tuple[str, str | None]:
        """The customer of the event, and the code of the error that rejects it later."""
        if meter is None:
            return "", "no_meter"
        customer = payload.get(meter["customer_mapping"]["event_payload_key"])
        if not customer:
            return "", "meter_event_no_customer_defined"
        code = None
        if meter["status"] != "active":
            code = "archived_meter"
        elif customer not in self._customers:
            code = "meter_event_customer_not_found"
        elif value is None:
            code = "meter_event_invalid_value"
        return str(customer), code

    def adjust(self, params: Mapping[str, Any], *, now: int) -> JsonObject:
        """`POST /v1/billing/meter_event_adjustments`: cancel an event received within a day."""
        refuse_unknown(params, {"event_name", "type", "cancel", "expand"})
        event_name = required(params, "event_name")
        if required(params, "type") != "cancel":
            raise bad_request(message="Invalid type: must be one of cancel", param="type")
        cancel = params.get("cancel")
        if not isinstance(cancel, dict) or "identifier" not in cancel:
            raise missing_param(param="cancel[identifier]")
        identifier = text("cancel[identifier]", cancel["identifier"])
        received = self._received.get((event_name, identifier))
        if received is None:
            message = f"No meter event found with identifier {identifier}."
            raise bad_request(message=message, param="cancel[identifier]", code="resource_missing")
        if now - received[0] > CANCELABLE_FOR:
            message = "Meter events can be canceled within 24 hours of being received only."
            raise bad_request(message=message, param="cancel[identifier]")
        meter = self._by_event_name.get(event_name)
        series = self._series.get((meter["id"] if meter else "", received[1]))
        if series is not None:
            series.change([e for e in series.events if e.identifier != identifier])
            self.posted = [e for e in self.posted if e["identifier"] != identifier]
        return {
            "object": "billing.meter_event_adjustment",
            "cancel": {"identifier": identifier},
            "event_name": event_name,
            "livemode": False,
            "status": "pending",
            "type": "cancel",
        }

    # ---------------------------------------------------------------- summaries out

    def summaries(self, meter_id: str, params: Mapping[str, Any], *, now: int) -> list[JsonObject]:
        """Rows of `event_summaries`, newest window first; windows without events have none.

        `end_time` is exclusive. Without `value_grouping_window` there is one row at most.
        """
        customer = required(params, "customer")
        start, end = (integer(name, required(params, name)) for name in ("start_time", "end_time"))
        size = _check_window(params.get("value_grouping_window"), start, end)
        running = self._running(meter_id, customer, now)
        times = running.times
        low, high = bisect_left(times, start), bisect_left(times, end)
        if low == high:
            return []
        if size is None:
            bounds: Iterable[tuple[int, int]] = [(start, end)]
        else:
            begins = sorted({time - time % size for time in times[low:high]}, reverse=True)
            bounds = [(begin, begin + size) for begin in begins]
        formula = self._meters[meter_id]["default_aggregation"]["formula"]
        return [
            _summary(meter_id, customer, window, _aggregate(formula, running, *window))
            for window in bounds
        ]

    def _running(self, meter_id: str, customer: str, now: int) -> _Running:
        series = self._series.get((meter_id, customer))
        if series is None:
            return _Running([], [], [])
        next_visible_at = series.next_visible_at
        if series.running is None or (next_visible_at is not None and next_visible_at <= now):
            size = WINDOWS.get(self._meters[meter_id]["event_time_window"] or "")
            series.running = _run([e for e in series.events if e.visible_at <= now], size)
            waiting = (e.visible_at for e in series.events if e.visible_at > now)
            series.next_visible_at = min(waiting, default=None)
        return series.running


def _run(events: list[_Event], pre_aggregated: int | None) -> _Running:
    """Sort by time (same second: by receipt) and add up.

    For a pre-aggregated meter only the event that was received last counts in each window.
    """
    if pre_aggregated is not None:
        by_receipt = sorted(events, key=lambda event: event.received_at)
        events = list({e.timestamp // pre_aggregated: e for e in by_receipt}.values())
    ordered = sorted(events, key=lambda event: (event.timestamp, event.received_at))
    sums = [Decimal(0)]
    for event in ordered:
        sums.append(sums[-1] + event.value)
    return _Running([e.timestamp for e in ordered], [e.value for e in ordered], sums)


def _aggregate(formula: str, running: _Running, start: int, end: int) -> Decimal:
    low, high = bisect_left(running.times, start), bisect_left(running.times, end)
    if formula == "count":
        return Decimal(high - low)
    if formula == "last":
        return running.values[high - 1]
    return running.sums[high] - running.sums[low]


def _summary(meter_id: str, customer: str, window: tuple[int, int], value: Decimal) -> JsonObject:
    start, end = window
    number = format(value.normalize(), "f")
    return {
        "id": f"mtrusg_{meter_id}_{customer}_{start}_{end}",
        "object": "billing.meter_event_summary",
        "aggregated_value": orjson.Fragment("0" if number == "-0" else number),
        "end_time": end,
        "livemode": False,
        "meter": meter_id,
        "start_time": start,
    }


def _check_window(grouping: Any, start: int, end: int) -> int | None:
    """Size in seconds of the grouping window, bounds checked against it."""
    if grouping is not None and grouping not in WINDOWS:
        message = "Invalid value_grouping_window: must be one of day or hour"
        raise bad_request(message=message, param="value_grouping_window")
    size = WINDOWS.get(grouping) if grouping else None
    step = size or MINUTE
    named = {MINUTE: "minute", HOUR: "hour", DAY: "day"}[step]
    for name, instant in (("start_time", start), ("end_time", end)):
        if instant % step:
            message = f"{name} must be aligned with {named} boundaries in UTC."
            raise bad_request(message=message, param=name)
    if end <= start:
        raise bad_request(message="end_time must be after start_time.", param="end_time")
    return size


def _short(params: Mapping[str, Any], name: str) -> str:
    value = required(params, name)
    if len(value) > MAX_NAME:
        message = f"Invalid string: must be at most {MAX_NAME} characters"
        raise bad_request(message=message, param=name)
    return value


def _event_time(params: Mapping[str, Any], now: int) -> int:
    if "timestamp" not in params:
        return now
    timestamp = integer("timestamp", params["timestamp"])
    if timestamp < now - OLDEST_EVENT:
        message = "The timestamp must be within the past 35 calendar days."
        raise bad_request(message=message, param="timestamp", code="timestamp_too_far_in_past")
    if timestamp > now + NEWEST_EVENT:
        message = "The timestamp must be no more than 5 minutes in the future."
        raise bad_request(message=message, param="timestamp", code="timestamp_in_future")
    return timestamp


def _value(meter: JsonObject, payload: JsonObject) -> Decimal | None:
    """The event's value, None when it is no decimal.

    Raises:
        ApiError: For more than 15 significant digits.
    """
    if meter["default_aggregation"]["formula"] == "count":
        return Decimal(1)
    raw = payload.get(meter["value_settings"]["event_payload_key"])
    if not isinstance(raw, str) or not _DECIMAL.fullmatch(raw):
        return None
    value = Decimal(raw)
    if len(value.normalize().as_tuple().digits) > MAX_DIGITS:
        message = f"The value of a meter event has at most {MAX_DIGITS} significant digits."
        raise bad_request(
            message=message, param="payload", code="meter_event_value_too_many_digits"
        )
    return value
