"""Runs network-bound producers in a few threads and hands their items to one consumer, in bounds.

Order of arrival is not kept. The rate is the reader's matter: its limiter is shared by all threads.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
Producer = Callable[[], Iterable[T]]

_LOOK_UP_SECONDS = 0.2


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True)
class _Failed:
    error: BaseException


class _Finished:
    """One thread has no more work."""


class _Exchange(Generic[T]):
    """What the threads of one `gather` share."""

    def __init__(self, producers: Iterable[Producer[T]], depth: int) -> None:
        self.results: queue.Queue[_Item[T] | _Failed | _Finished] = queue.Queue(maxsize=depth)
        self.stopped = threading.Event()
        self._producers = iter(producers)
        self._taking = threading.Lock()

    def work(self) -> None:
        try:
            while (producer := self._take()) is not None:
                for item in producer():
                    self._offer(_Item(item))
                    if self.stopped.is_set():
                        return
        except BaseException as error:  # noqa: BLE001 - raised again by the consumer
            self._offer(_Failed(error))
        finally:
            self._offer(_Finished())

    def _take(self) -> Producer[T] | None:
        if self.stopped.is_set():
            return None
        with self._taking:
            return next(self._producers, None)

    def _offer(self, result: _Item[T] | _Failed | _Finished) -> None:
        # A consumer that has gone must not leave a thread behind that waits for room for ever.
        while not self.stopped.is_set():
            try:
                self.results.put(result, timeout=_LOOK_UP_SECONDS)
            except queue.Full:
                continue
            return


def gather(producers: Iterable[Producer[T]], workers: int) -> Iterator[T]:
    """Run producers in threads and yield their items as they come.

    Args:
        producers: Each is called once, in one thread; taken from the iterable only when a thread is
            free, so there may be very many.
        workers: Threads. At most ``2 * workers`` items wait for the consumer, so that a fast
            network does not fill the memory.

    Yields:
        Every item of every producer.

    Raises:
        BaseException: the first error of any producer; the others end after their current request.
    """
    exchange: _Exchange[T] = _Exchange(producers, depth=2 * workers)
    for number in range(workers):
        threading.Thread(target=exchange.work, name=f"stripe-{number}", daemon=True).start()
    running = workers
    try:
        while running:
            result = exchange.results.get()
            if isinstance(result, _Item):
                yield result.value
            elif isinstance(result, _Failed):
                raise result.error
            else:
                running -= 1
    finally:
        exchange.stopped.set()
