"""The one limiter that every request of a run goes through, whatever thread sends it.

It spaces requests evenly instead of letting bursts through, so that no second ever sees more
than the configured rate. A 429 slows everybody down for a while, and can hold everybody back.
"""

import threading
import time
from collections.abc import Callable

# Stripe allows 100 requests a second in live mode, 25 in a sandbox and 25 per endpoint; the product
# itself needs its share of them.
DEFAULT_REQUESTS_PER_SECOND = 20.0

# For a server on this machine, where nobody else is kept waiting.
LOCAL_REQUESTS_PER_SECOND = 500.0

_HEADROOM = 0.1
# Several 429s of one moment are one message; the rate is halved once for all of them.
_ONE_MESSAGE_SECONDS = 1.0
_SLOWEST = 1 / 16
# From half the rate back to all of it in half a minute.
_RECOVERY_PER_SECOND = 1 / 60


class RateLimiter:
    """Token bucket of depth one, shared by threads, whose rate gives way to a server's 429.

    Args:
        per_second: Highest rate, above 0.
        clock: Monotonic seconds.
        sleep: How to wait; both are arguments so that a test can run without waiting.

    Raises:
        ValueError: when the rate is not positive.
    """

    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if per_second <= 0:
            message = f"the request rate must be above 0, not {per_second}"
            raise ValueError(message)
        # Wider than needed: requests that a busy machine sends late, several together, still put
        # no second over the rate.
        self._interval = (1.0 + max(_HEADROOM, 1.0 / per_second)) / per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next_slot = clock()
        self._share = 1.0
        self._changed_at = clock()

    @property
    def share(self) -> float:
        """The part of the highest rate that is used at present."""
        with self._lock:
            return self._recovered(self._clock())

    def acquire(self) -> None:
        """Wait for this caller's turn: each reserves the next free slot, in order of arrival."""
        with self._lock:
            now = self._clock()
            slot = max(now, self._next_slot)
            self._next_slot = slot + self._interval / self._recovered(slot)
        if slot > now:
            self._sleep(slot - now)

    def pause(self, seconds: float) -> None:
        """Let nobody start a request for a while: the account is over its limit."""
        with self._lock:
            self._next_slot = max(self._next_slot, self._clock() + seconds)

    def slow_down(self) -> None:
        """Halve the rate, since the server has refused for its sake; it comes back by itself."""
        with self._lock:
            now = self._clock()
            share = self._recovered(now)
            if share < 1.0 and now - self._changed_at < _ONE_MESSAGE_SECONDS:
                return
            self._share = max(_SLOWEST, share / 2)
            self._changed_at = now

    def _recovered(self, now: float) -> float:
        passed = max(0.0, now - self._changed_at)
        return min(1.0, self._share + passed * _RECOVERY_PER_SECOND)
