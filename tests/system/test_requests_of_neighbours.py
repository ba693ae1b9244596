"""Requests of another application, read by the Procfile's worker from a real broker."""

from contextlib import closing
from pathlib import Path

import pytest
from celery import Celery
from kombu import pools
from redis import Redis

from tests.broker import running_broker
from tests.computer import DARKROOM
from tests.patience import wait_for
from tests.procfile import running
from worker.celery import app
from worker.ledger import Ledger

QUEUE = "darkroom:generations"


@pytest.mark.system
def test_each_request_is_one_generation_also_if_a_worker_was_killed_with_it(
    sqlite_url: str, migrated_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {
        "PATH": f"{DARKROOM.parent}:/usr/bin:/bin",
        "DATABASE_URL": sqlite_url,
        "ACEDATACLOUD_API_TOKEN": "any",
        "WORKER_CONCURRENCY": "1",
    }
    with (
        running_broker(tmp_path) as url,
        closing(Ledger(sqlite_url)) as ledger,
        Celery("shop", broker=url, set_as_current=False) as shop,
        Redis.from_url(url) as broker,
    ):
        shop.send_task("generation.create", kwargs={"key": "taken", "prompt": "a fox"}, queue=QUEUE)
        as_if_its_worker_was_killed(broker, url, monkeypatch)
        for _ in range(3):
            shop.send_task("generation.create", kwargs={"key": "order-17", "prompt": "a fox"}, queue=QUEUE)
        shop.send_task("generation.create", kwargs={"prompt": "a fox"}, queue=QUEUE)
        shop.send_task("generation.create", kwargs={"key": "order-18", "prompt": "an owl"}, queue=QUEUE)
        with running("worker", env | {"REDIS_URL": url}, tmp_path):

            def keys() -> list[str | None]:
                return sorted(str(one.key) for one in ledger.generations.page())

            assert wait_for(lambda: keys() == ["order-17", "order-18", "taken"], seconds=90), keys()
            assert wait_for(lambda: not broker.llen(QUEUE) and not broker.hlen("darkroom:unacked"), seconds=30)
        log = (tmp_path / "worker.log").read_text(encoding="utf-8")
        assert log.count("generation.create: refused") == 1
        assert "key is missing: give each request a key of your own" in log
        assert "Traceback" not in log
        assert len(ledger.generations.page()) == 3
        pools.reset()


def as_if_its_worker_was_killed(broker: "Redis", url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the message and leave everything in the broker as it is then, long ago."""
    monkeypatch.setattr(app.conf, "broker_url", url)
    with app.connection_for_read() as connection:
        assert app.amqp.queues["generations"](connection.default_channel).get() is not None
        left = broker.hgetall("darkroom:unacked")
        assert len(left) == 1
    # Closed in good order, it has put the message back.
    assert broker.delete("darkroom:darkroom:generations") == 1
    broker.hset("darkroom:unacked", mapping=left)
    broker.zadd("darkroom:unacked_index", dict.fromkeys(left, 0))
