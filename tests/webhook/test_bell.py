import threading
import time
from itertools import pairwise

import pytest

from tests.patience import patient
from tests.webhook.receiving import until
from webhook.bell import Bell


class Recorder:
    def __init__(self, *, heard: bool = True) -> None:
        self.times: list[float] = []
        self.heard = heard

    def __call__(self) -> bool:
        self.times.append(time.monotonic())
        return self.heard


def test_a_press_is_rung_at_once() -> None:
    ring = Recorder()
    pressed_at = time.monotonic()
    Bell(ring, pause=5).press()
    until(lambda: ring.times)
    assert ring.times[0] - pressed_at < patient(0.5)


def test_one_press_is_one_bell() -> None:
    ring = Recorder()
    Bell(ring, pause=0.01).press()
    time.sleep(0.15)
    assert len(ring.times) == 1


def test_many_presses_are_few_bells_and_the_last_press_is_rung_for() -> None:
    ring = Recorder()
    bell = Bell(ring, pause=0.1)
    presses = 0

    def press() -> bool:
        nonlocal presses, last
        bell.press()
        presses += 1
        last = time.monotonic()
        return len(ring.times) >= 3

    last = 0.0
    until(press)
    until(lambda: ring.times[-1] >= last)
    assert 3 <= len(ring.times) <= 4 < presses
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(ring.times))


def test_a_press_never_waits_for_a_broker_that_hangs() -> None:
    release = threading.Event()
    bell = Bell(lambda: release.wait(10), pause=0)
    bell.press()
    started = time.monotonic()
    for _ in range(1000):
        bell.press()
    assert time.monotonic() - started < patient(0.5)
    release.set()


def test_a_broker_that_refuses_is_left_alone_for_a_while() -> None:
    ring = Recorder(heard=False)
    bell = Bell(ring, pause=0, pause_after_failure=0.2)

    def press() -> bool:
        bell.press()
        return len(ring.times) >= 2

    until(press)
    assert ring.times[1] - ring.times[0] >= 0.2


def test_the_bell_outlives_an_unexpected_error(caplog: pytest.LogCaptureFixture) -> None:
    rung: list[int] = []

    def ring() -> bool:
        rung.append(1)
        if len(rung) == 1:
            raise RuntimeError("odd")
        return True

    bell = Bell(ring, pause=0, pause_after_failure=0)
    bell.press()
    until(lambda: len(rung) == 1)
    bell.press()
    until(lambda: len(rung) >= 2)
    assert "RuntimeError: odd" in caplog.text
