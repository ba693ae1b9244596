"""Requests of another application, read by the Procfile's worker from a real broker."""

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest
from celery import Celery
from kombu import pools
from redis import Redis

from tests.broker import running_broker
from tests.computer import DARKROOM
from tests.patience import wait_for
from tests.procfile import prepared, running
from worker.ledger import Ledger

QUEUE = "darkroom:generations"
#: a worker that is busy with a request until it is killed, and says so
BUSY = (
    "import time\n"
    "from pathlib import Path\n"
    "import tasks.usecases.create as one\n"
    "one.create = lambda *_: (Path({busy!r}).touch(), time.sleep(1000))"
)
#: one that finds after seconds, and not after minutes, what another had taken
IMPATIENT = (
    "from worker.celery import app\n"
    "app.conf.broker_transport_options.update(visibility_timeout=5, unacked_restore_interval=1)"
)


@pytest.mark.system
def test_each_request_is_one_generation_also_if_a_worker_is_killed_with_it(
    sqlite_url: str, migrated_file: Path, tmp_path: Path
) -> None:
    env = {
        "PATH": f"{DARKROOM.parent}:/usr/bin:/bin",
        "DATABASE_URL": sqlite_url,
        "ACEDATACLOUD_API_TOKEN": "any",
        "WORKER_CONCURRENCY": "1",
    }
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with (
        running_broker(tmp_path) as url,
        closing(Ledger(sqlite_url)) as ledger,
        Celery("shop", broker=url, set_as_current=False) as shop,
        Redis.from_url(url) as broker,
    ):

        def send(**asked: str) -> None:
            shop.send_task("generation.create", kwargs=asked, queue=QUEUE)

        def keys() -> list[str]:
            return sorted(str(one.key) for one in ledger.generations.page())

        env["REDIS_URL"] = url
        send(key="taken", prompt="a fox")
        busy = first / "busy"
        with running("worker", env, first, prepared("worker", BUSY.format(busy=str(busy)))) as worker:
            assert wait_for(busy.exists, seconds=60)
            os.killpg(worker.pid, signal.SIGKILL)
        for _ in range(3):
            send(key="order-17", prompt="a fox")
        send(prompt="a fox")
        send(key="order-18", prompt="an owl")
        with running("worker", env, second, prepared("worker", IMPATIENT)):
            assert wait_for(lambda: keys() == ["order-17", "order-18", "taken"], seconds=90), keys()
            assert wait_for(lambda: not broker.llen(QUEUE) and not broker.hlen("darkroom:unacked"), seconds=30)
        log = (second / "worker.log").read_text(encoding="utf-8")
        assert log.count("generation.create: refused") == 1
        assert "key is missing: give each request its own key" in log
        assert "Traceback" not in log
        assert keys() == ["order-17", "order-18", "taken"]
        pools.reset()
