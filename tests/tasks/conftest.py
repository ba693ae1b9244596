"""A real broker for tests of messages from and to other applications."""

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.broker import as_ours, running_broker


@pytest.fixture(scope="module")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_broker(tmp_path_factory.mktemp("broker")) as url:
        yield url


@pytest.fixture
def broker(broker_url: str) -> Iterator[Redis]:
    with as_ours(broker_url) as client:
        yield client
