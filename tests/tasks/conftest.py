"""A real broker for tests of messages from and to other applications."""

from collections.abc import Iterator

import pytest
from kombu import pools
from redis import Redis

from tests.broker import running_broker
from worker.celery import app


@pytest.fixture(scope="module")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_broker(tmp_path_factory.mktemp("broker")) as url:
        yield url


@pytest.fixture
def broker(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    """It is empty, and our messages go there."""
    monkeypatch.setattr(app.conf, "broker_url", broker_url)
    monkeypatch.setattr(app.amqp, "_producer_pool", None)
    with Redis.from_url(broker_url) as client:
        client.flushall()
        yield client
    pools.reset()
