"""A real broker of a test's own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kombu import pools
from redis import Redis

from tests.computer import eventually
from worker.celery import app
from worker.embedded.servers import broker
from worker.wakeup import broker as ours


@contextmanager
def running_broker(folder: Path) -> Iterator[str]:
    """Its URL; it keeps its files below `folder`."""
    server = broker(folder / "broker", "secret", {"PATH": os.environ["PATH"]})
    child = server.child
    with subprocess.Popen(child.argv, cwd=child.cwd, env=child.env, stdout=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: child.ready is None or child.ready(), seconds=10)
            yield server.found_by["REDIS_URL"]
        finally:
            process.kill()


@contextmanager
def as_ours(url: str) -> Iterator[Redis]:
    """It is empty, and our messages go there."""
    with used(url), Redis.from_url(url) as client:
        client.flushall()
        yield client


@contextmanager
def used(url: str) -> Iterator[None]:
    """Whatever is sent to our broker goes there, with Celery or without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", url)
        patch.setattr(app.conf, "broker_url", url)
        patch.setattr(app.amqp, "_producer_pool", None)
        ours.cache_clear()
        yield
        if ours.cache_info().currsize:
            ours().close()
            ours.cache_clear()
        pools.reset()
