"""What goes wrong on purpose: rate limits, server errors, cut connections, stalls, scripts.

Decides only; the application carries the decision out. The same seed and the same order of
requests give the same faults.
"""

import random
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any

RATE_LIMITED = int(HTTPStatus.TOO_MANY_REQUESTS)
SERVER_ERROR = int(HTTPStatus.INTERNAL_SERVER_ERROR)


@dataclass(frozen=True)
class ScriptedFault:
    """The next `times` requests that match, after letting `skip` of them through, go wrong.

    `path` is a shell pattern (`/v1/invoices*`), `method` None is any. `status` is the error to
    answer with; None answers normally, unless `cut` closes the connection in mid-answer.
    `stall_seconds` delays whatever follows. `retry_after` and `should_retry` become headers.
    """

    path: str
    status: int | None = SERVER_ERROR
    times: int = 1
    skip: int = 0
    method: str | None = None
    cut: bool = False
    stall_seconds: float = 0.0
    retry_after: int | None = None
    should_retry: bool | None = None
    message: str | None = None


@dataclass(frozen=True)
class Faults:
    """Random faults by rate (0 to 1 of all requests) and scripted ones; the default is none.

    `requests_per_second` answers 429 above that rate, as Stripe's own limiter would.
    `retry_after` (seconds) and `should_retry` become headers of every random fault.
    """

    seed: int = 0
    rate_429: float = 0.0
    rate_500: float = 0.0
    rate_cut: float = 0.0
    rate_stall: float = 0.0
    stall_seconds: float = 1.0
    requests_per_second: int | None = None
    retry_after: int | None = None
    should_retry: bool | None = None
    script: tuple[ScriptedFault, ...] = ()


@dataclass(frozen=True)
class Fault:
    """What happens to one request; the default is nothing."""

    status: int | None = None
    cut: bool = False
    stall_seconds: float = 0.0
    retry_after: int | None = None
    should_retry: bool | None = None
    message: str | None = None

    def headers(self) -> dict[str, str]:
        """Headers that tell the client what to do."""
        headers = {}
        if self.should_retry is not None:
            headers["Stripe-Should-Retry"] = "true" if self.should_retry else "false"
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.status == RATE_LIMITED:
            headers["Stripe-Rate-Limited-Reason"] = "endpoint-rate"
        return headers

    def body(self) -> dict[str, Any]:
        """The error in Stripe's shape."""
        if self.status == RATE_LIMITED:
            text = "Request rate limit exceeded. You can learn more about rate limits here"
            link = "https://stripe.com/docs/rate-limits"
            message = self.message or f"{text} {link}."
            kind = "invalid_request_error"
            return {"error": {"code": "rate_limit", "message": message, "type": kind}}
        message = self.message or "Sorry! There was an error while talking to one of our backends."
        server_side = (self.status or SERVER_ERROR) >= SERVER_ERROR
        return {
            "error": {
                "message": message,
                "type": "api_error" if server_side else "invalid_request_error",
            }
        }


NO_FAULT = Fault()


@dataclass
class _Script:
    fault: ScriptedFault
    seen: int = 0

    def matches(self, method: str, path: str) -> bool:
        wanted = self.fault
        if wanted.method not in {None, method} or not fnmatchcase(path, wanted.path):
            return False
        self.seen += 1
        return wanted.skip < self.seen <= wanted.skip + wanted.times


@dataclass
class FaultInjector:
    """The faults of one server at work: a random stream, counters of scripts, a sliding second."""

    faults: Faults
    _random: random.Random = field(init=False)
    _scripts: list[_Script] = field(init=False)
    _recent: deque[float] = field(init=False, default_factory=deque)

    def __post_init__(self) -> None:
        self._random = random.Random(self.faults.seed)  # noqa: S311 - reproducible, not secret
        self._scripts = [_Script(fault) for fault in self.faults.script]

    def add(self, faults: Iterable[ScriptedFault]) -> None:
        """Script further faults while the server runs."""
        self._scripts.extend(_Script(fault) for fault in faults)

    def decide(self, method: str, path: str) -> Fault:
        """The fault of this request; scripts go before the rate limit and chance."""
        for script in self._scripts:
            if script.matches(method, path):
                wanted = script.fault
                return Fault(
                    status=None if wanted.cut else wanted.status,
                    cut=wanted.cut,
                    stall_seconds=wanted.stall_seconds,
                    retry_after=wanted.retry_after,
                    should_retry=wanted.should_retry,
                    message=wanted.message,
                )
        if self._over_the_limit():
            return self._random_fault(status=RATE_LIMITED)
        return self._by_chance()

    def _by_chance(self) -> Fault:
        rates = self.faults
        draw = self._random.random()
        for share, status, cut in (
            (rates.rate_429, RATE_LIMITED, False),
            (rates.rate_500, SERVER_ERROR, False),
            (rates.rate_cut, None, True),
        ):
            if draw < share:
                return self._random_fault(status=status, cut=cut)
            draw -= share
        if draw < rates.rate_stall:
            return Fault(stall_seconds=rates.stall_seconds)
        return NO_FAULT

    def _random_fault(self, *, status: int | None, cut: bool = False) -> Fault:
        return Fault(
            status=status,
            cut=cut,
            retry_after=self.faults.retry_after,
            should_retry=self.faults.should_retry,
        )

    def _over_the_limit(self) -> bool:
        limit = self.faults.requests_per_second
        if limit is None:
            return False
        now = time.monotonic()
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if len(self._recent) >= limit:
            return True
        self._recent.append(now)
        return False
