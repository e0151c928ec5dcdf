"""Slows down guessing: after five wrong passwords a name has to wait."""

from collections.abc import Callable
from datetime import datetime, timedelta

ALLOWED = 5
WAIT = timedelta(minutes=15)


class Attempts:
    """Wrong passwords per name within the waiting time, in this process."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """`clock` says what is now."""
        self._clock = clock
        self._failed: dict[str, list[datetime]] = {}

    def allowed(self, name: str) -> bool:
        """Whether this name may try now."""
        since = self._clock() - WAIT
        recent = [at for at in self._failed.get(name, []) if at > since]
        if recent:
            self._failed[name] = recent
        else:
            self._failed.pop(name, None)
        return len(recent) < ALLOWED

    def failed(self, name: str) -> None:
        """Note a wrong password."""
        self._failed.setdefault(name, []).append(self._clock())

    def forget(self, name: str) -> None:
        """The right password: earlier wrong ones do not count any more."""
        self._failed.pop(name, None)
