"""A machine whose clock is wrong is told so: by its broker and its database, in one sentence each."""

from datetime import timedelta
from pathlib import Path

import pytest

from tasks.usecases import clocks
from tasks.usecases.clocks import TOLERANCE, broker_error, complaint
from tests.broker import running_broker, used
from worker.ledger.database import system_clock

SECONDS = timedelta(seconds=20)


def test_the_broker_tells_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_broker(tmp_path) as url, used(url):
        assert abs(broker_error()) < SECONDS
        for wrong in (timedelta(minutes=10), timedelta(minutes=-10)):
            monkeypatch.setattr(clocks, "system_clock", lambda wrong=wrong: system_clock() + wrong)
            assert abs(broker_error() - wrong) < SECONDS


def test_what_differs_by_more_than_seconds_is_told() -> None:
    assert [complaint("broker", error) for error in (None, timedelta(), TOLERANCE, -TOLERANCE)] == [None] * 4
    advice = "synchronize both with NTP (`timedatectl` shows the status)"
    assert complaint("broker", timedelta(minutes=10)) == (
        f"this machine's clock is 600 s ahead of the broker's: {advice}"
    )
    assert complaint("database", timedelta(seconds=-6.2)) == (
        f"this machine's clock is 6 s behind the database's: {advice}"
    )
