"""Workers that start, end and die: each has a heartbeat of its own from its start, and for no longer than it lives."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.broker import running_broker
from tests.computer import DARKROOM
from tests.patience import wait_for
from tests.procfile import prepared, running
from worker.ledger import Ledger
from worker.ledger.maintenance import Heartbeat


@pytest.mark.system
def test_workers_of_one_host_are_told_apart_from_their_start_to_their_end(
    sqlite_url: str, migrated_file: Path, tmp_path: Path
) -> None:
    ledger = Ledger(sqlite_url)

    def beats() -> dict[int, Heartbeat]:
        """By the process that their names say."""
        return {
            int(one.worker.partition("@")[0].removeprefix("worker.")): one for one in ledger.maintenance.heartbeats()
        }

    def is_at_work(process: "subprocess.Popen[bytes]") -> bool:
        return process.pid in beats() and not beats()[process.pid].is_stopped

    env = {"PATH": f"{DARKROOM.parent}:/usr/bin:/bin", "DATABASE_URL": sqlite_url, "WORKER_CONCURRENCY": "1"}
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
    with running_broker(tmp_path) as url:
        env["REDIS_URL"] = url
        with running("worker", env, folders[0]) as one, running("worker", env, folders[1]) as two:
            # Nobody gives them a task, so this is what they say themselves.
            assert wait_for(lambda: is_at_work(one) and is_at_work(two), seconds=60)
            one.send_signal(signal.SIGTERM)
            one.wait(30)
            assert beats()[one.pid].is_stopped
            assert is_at_work(two)
            os.killpg(two.pid, signal.SIGKILL)
            two.wait(30)
            assert is_at_work(two), "nobody knows yet"
            with running("worker", env, folders[2]) as three:
                assert wait_for(lambda: beats().keys() == {three.pid}, seconds=60)
                assert is_at_work(three)
    ledger.close()


@pytest.mark.system
@pytest.mark.parametrize("queues", ["thumbnails", "quick", "generations"])
def test_a_worker_whom_no_ping_reaches_reports_all_the_same(
    sqlite_url: str, migrated_file: Path, tmp_path: Path, queues: str
) -> None:
    ledger = Ledger(sqlite_url)
    env = {"PATH": f"{DARKROOM.parent}:/usr/bin:/bin", "DATABASE_URL": sqlite_url, "WORKER_CONCURRENCY": "1"}
    soon = prepared("worker", "import worker.celery; worker.celery.IDLE_SECONDS = 0.5")
    command = soon.replace("quick,submit,archive,generations,thumbnails", queues)
    assert f"-Q {queues} " in command
    with running_broker(tmp_path) as url, running("worker", env | {"REDIS_URL": url}, tmp_path, command) as process:
        assert wait_for(ledger.maintenance.heartbeats, seconds=60)
        (first,) = ledger.maintenance.heartbeats()
        assert wait_for(lambda: ledger.maintenance.heartbeats()[0].seen_at > first.seen_at, seconds=30)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    (last,) = ledger.maintenance.heartbeats()
    assert last.is_stopped
    ledger.close()
