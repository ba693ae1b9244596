import threading
import time
from itertools import pairwise

import pytest

from tests.patience import patient
from tests.webhook.receiving import until
from webhook.waker import Waker


class Recorder:
    def __init__(self, *, heard: bool = True) -> None:
        self.times: list[float] = []
        self.heard = heard

    def __call__(self) -> bool:
        self.times.append(time.monotonic())
        return self.heard


def test_a_press_is_rung_at_once() -> None:
    ring = Recorder()
    Waker(ring, pause=3600).request()
    until(lambda: ring.times)


def test_one_press_is_one_bell() -> None:
    ring = Recorder()
    Waker(ring, pause=0.01).request()
    time.sleep(0.15)
    assert len(ring.times) == 1


def test_many_presses_are_few_bells_and_the_last_press_is_rung_for() -> None:
    ring = Recorder()
    waker = Waker(ring, pause=0.1)
    presses = 0

    def request() -> bool:
        nonlocal presses, last
        waker.request()
        presses += 1
        last = time.monotonic()
        return len(ring.times) >= 3

    last = 0.0
    until(request)
    until(lambda: ring.times[-1] >= last)
    assert 3 <= len(ring.times) <= 4 < presses
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(ring.times))


def test_a_press_never_waits_for_a_broker_that_hangs() -> None:
    release, answered = threading.Event(), threading.Event()

    def hang() -> bool:
        release.wait(patient(10))
        answered.set()
        return True

    waker = Waker(hang, pause=0)
    for _ in range(1000):
        waker.request()
    assert not answered.is_set()
    release.set()


def test_a_broker_that_refuses_is_left_alone_for_a_while() -> None:
    ring = Recorder(heard=False)
    waker = Waker(ring, pause=0, pause_after_failure=0.2)

    def request() -> bool:
        waker.request()
        return len(ring.times) >= 2

    until(request)
    assert ring.times[1] - ring.times[0] >= 0.2


def test_the_bell_outlives_an_unexpected_error(caplog: pytest.LogCaptureFixture) -> None:
    woken: list[int] = []

    def ring() -> bool:
        woken.append(1)
        if len(woken) == 1:
            raise RuntimeError("odd")
        return True

    waker = Waker(ring, pause=0, pause_after_failure=0)
    waker.request()
    until(lambda: len(woken) == 1)
    waker.request()
    until(lambda: len(woken) >= 2)
    assert "RuntimeError: odd" in caplog.text
