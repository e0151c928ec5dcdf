import threading

import pytest

from leakage_pipeline.stripe_billing.rate_limit import RateLimiter


class Clock:
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_requests_are_spaced_evenly_and_do_not_save_up_while_idle() -> None:
    clock = Clock()
    limiter = RateLimiter(10, clock=clock, sleep=clock.sleep)
    clock.now += 60
    started = []
    for _ in range(11):
        limiter.acquire()
        started.append(clock.now)
    assert started[0] == 160
    assert started[-1] == pytest.approx(161.1)


def test_a_pause_holds_back_everyone() -> None:
    clock = Clock()
    limiter = RateLimiter(10, clock=clock, sleep=clock.sleep)
    limiter.pause(5)
    limiter.acquire()
    assert clock.now == 105
    limiter.pause(-1)
    limiter.acquire()
    assert clock.now == pytest.approx(105.11)


def test_threads_share_one_rate() -> None:
    limiter = RateLimiter(200)
    passed = []

    def work() -> None:
        for _ in range(10):
            limiter.acquire()
            passed.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    clock = limiter._clock
    before = clock()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 40
    assert clock() - before >= 39 / 200


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_must_be_positive(rate: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        RateLimiter(rate)


def test_a_refusal_halves_the_rate_once_and_it_comes_back() -> None:
    clock = Clock()
    limiter = RateLimiter(10, clock=clock, sleep=clock.sleep)
    limiter.slow_down()
    limiter.slow_down()  # of the same moment: one message
    assert limiter.share == pytest.approx(0.5)
    limiter.acquire()
    limiter.acquire()
    assert clock.now == pytest.approx(100.22, abs=0.001)
    clock.now += 15
    assert limiter.share == pytest.approx(0.75, abs=0.01)
    clock.now += 60
    assert limiter.share == 1.0


def test_a_rate_that_is_refused_again_and_again_never_falls_to_nothing() -> None:
    clock = Clock()
    limiter = RateLimiter(16, clock=clock, sleep=clock.sleep)
    for _ in range(50):
        limiter.slow_down()
        clock.now += 1.5
    assert 1 / 16 <= limiter.share < 0.2
