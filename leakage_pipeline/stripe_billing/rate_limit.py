"""The one limiter that every request of a run goes through, whatever thread sends it.

It spaces requests evenly instead of letting bursts through, so that no second ever sees more
than the configured rate, and it can be paused for all threads when Stripe asks for it.
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


class RateLimiter:
    """Token bucket of depth one, shared by threads.

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

    def acquire(self) -> None:
        """Wait for this caller's turn: each reserves the next free slot, in order of arrival."""
        with self._lock:
            now = self._clock()
            slot = max(now, self._next_slot)
            self._next_slot = slot + self._interval
        if slot > now:
            self._sleep(slot - now)

    def pause(self, seconds: float) -> None:
        """Let nobody start a request for a while: the account is over its limit."""
        with self._lock:
            self._next_slot = max(self._next_slot, self._clock() + seconds)
