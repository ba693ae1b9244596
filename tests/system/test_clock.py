"""A real clock whose broker is away."""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from tests.computer import eventually
from tests.factories import claimed, state_of
from tests.procfile import running_clock
from worker.generation import State
from worker.ledger import Ledger

pytestmark = [pytest.mark.system, pytest.mark.processes]


@pytest.mark.parametrize("stop", [signal.SIGSTOP, signal.SIGKILL], ids=["frozen", "dead"])
def test_the_clock_finds_forgotten_work_and_is_heard_while_the_broker_is_away(
    opened: Callable[[str], Ledger], sqlite_url: str, tmp_path: Path, stop: signal.Signals
) -> None:
    def is_heard_after(moment: datetime) -> bool:
        return any(beat.seen_at > moment for beat in ledger.maintenance.heartbeats())

    ledger = opened(sqlite_url)
    with running_clock(sqlite_url, tmp_path) as url:
        eventually(lambda: is_heard_after(datetime.now(UTC) - timedelta(hours=1)), seconds=30)
        with Redis.from_url(url) as broker:
            os.kill(int(broker.info("server")["process_id"]), stop)
        now = datetime.now(UTC)
        ledger.database.clock = lambda: now - timedelta(hours=1)
        (forgotten,) = claimed(ledger)
        eventually(lambda: state_of(ledger, forgotten) is State.UNCONFIRMED, seconds=40)
        eventually(lambda: is_heard_after(now), seconds=60)
