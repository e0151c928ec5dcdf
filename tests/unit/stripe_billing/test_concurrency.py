import threading
import time
from collections.abc import Callable, Iterator

import pytest

from leakage_pipeline.stripe_billing.concurrency import gather


def _numbers(start: int) -> Callable[[], Iterator[int]]:
    return lambda: iter(range(start, start + 10))


def _ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("stripe-")]


def test_every_item_of_every_producer_arrives_once() -> None:
    producers = [_numbers(start) for start in range(0, 500, 10)]
    assert sorted(gather(producers, workers=4)) == list(range(500))


def test_nothing_to_do_is_fine() -> None:
    assert list(gather([], workers=3)) == []


def test_the_first_error_reaches_the_consumer() -> None:
    def fail() -> Iterator[int]:
        yield 1
        message = "no"
        raise LookupError(message)

    with pytest.raises(LookupError, match="no"):
        list(gather([fail, _numbers(0)], workers=2))


def test_producers_are_taken_only_when_a_thread_is_free() -> None:
    taken = []

    def endless() -> Iterator[Callable[[], list[int]]]:
        number = 0
        while True:
            taken.append(number)
            yield lambda number=number: [number]
            number += 1

    results = gather(endless(), workers=2)
    for _ in range(5):
        next(results)
    results.close()
    time.sleep(0.1)
    assert len(taken) < 30


def test_a_consumer_that_leaves_early_leaves_no_thread_behind() -> None:
    results = gather([_numbers(start) for start in range(0, 5000, 10)], workers=4)
    next(results)
    results.close()
    deadline = time.monotonic() + 5
    while _ours() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _ours() == []
