"""What makes the tests hold on a machine that is busy, and in a run that was started in the background."""

import signal
import subprocess

import pytest

from tests import patience, signals
from tests.patience import patient, wait_for


@pytest.mark.parametrize(("wanting", "factor", "seconds"), [(0, 1, 10), (2, 1, 10), (8, 1, 40), (8, 3, 120)])
def test_a_busy_machine_gets_more_time_and_the_factor_more_still(
    monkeypatch: pytest.MonkeyPatch, wanting: float, factor: float, seconds: float
) -> None:
    monkeypatch.setattr(patience, "_CORES", 2)
    monkeypatch.setattr(patience, "_wanting_to_run", lambda: wanting)
    monkeypatch.setattr(patience, "FACTOR", factor)
    assert patient(10) == seconds


def test_what_comes_is_waited_for_and_what_does_not_come_is_given_up() -> None:
    answers = iter(["", "", "here"])
    assert wait_for(lambda: next(answers), seconds=10) == "here"
    assert wait_for(lambda: "", seconds=0.02) == ""


@pytest.mark.parametrize("number", signals.NUMBERS)
def test_a_process_hears_a_signal_although_the_run_ignores_it(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with signals.not_ignored(), subprocess.Popen(["sleep", "60"]) as process:
            process.send_signal(number)
            assert process.wait(timeout=patient(10)) == -number
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
