"""A worker whose event loop hangs ends, with its pool; one that has lost its broker has no event loop, and waits."""

import time
from pathlib import Path

import psutil
import pytest
from redis import Redis

from tests.broker import running_broker
from tests.computer import DARKROOM, eventually, family_of, is_alive
from tests.procfile import prepared, running

pytestmark = [pytest.mark.system, pytest.mark.processes, pytest.mark.timeout(90)]

_IMPATIENT = "import worker.celery; worker.celery._LOOP_SECONDS = 3"
#: seconds until a process is there and at work, however busy the machine is
PATIENCE = 40


def environment(broker_url: str, database_url: str) -> dict[str, str]:
    return {"PATH": f"{DARKROOM.parent}:/usr/bin:/bin", "REDIS_URL": broker_url, "DATABASE_URL": database_url}


def test_a_worker_whose_event_loop_hangs_ends_with_its_pool(sqlite_url: str, tmp_path: Path) -> None:
    hang = f"""{_IMPATIENT}
import time
from celery.signals import worker_ready
@worker_ready.connect(weak=False)
def hang(sender, **_):
    sender.timer.call_after(1, time.sleep, (3600,))
"""
    command, log = prepared("worker", hang), tmp_path / "worker.log"
    with (
        running_broker(tmp_path) as url,
        running("worker", environment(url, sqlite_url), tmp_path, command) as process,
    ):
        eventually(lambda: "ready." in log.read_text(), seconds=PATIENCE)
        family = family_of(process.pid)
        assert len(family) > 1
        assert process.wait(PATIENCE) == 1
        assert "a turn of the event loop did not finish within 3 s" in log.read_text()
        eventually(lambda: not any(map(is_alive, family)), seconds=10)


def test_a_worker_whose_broker_is_away_waits_for_it(sqlite_url: str, tmp_path: Path) -> None:
    command, log = prepared("worker", _IMPATIENT), tmp_path / "worker.log"
    with (
        running_broker(tmp_path) as url,
        running("worker", environment(url, sqlite_url), tmp_path, command) as process,
    ):
        eventually(lambda: "ready." in log.read_text(), seconds=PATIENCE)
        # Longer than a turn may take: an event loop that works is left alone, and so is a worker that has none.
        time.sleep(5)
        with Redis.from_url(url) as client:
            psutil.Process(int(client.info("server")["process_id"])).kill()
        eventually(lambda: "Cannot connect" in log.read_text(), seconds=PATIENCE)
        time.sleep(5)
        assert process.poll() is None
        assert "event loop" not in log.read_text()
