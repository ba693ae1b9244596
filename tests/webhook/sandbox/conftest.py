from collections.abc import Iterator

import pytest
import urllib3

from tests.webhook.sandbox.helpers import Client, Receiver, receiving
from webhook.sandbox import Sandbox, running


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running(delay=0, size=128) as served:
        yield served


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(maxsize=64) as pool:
        yield pool


@pytest.fixture
def client(sandbox: Sandbox, http: urllib3.PoolManager) -> Client:
    return Client(sandbox.url, http)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as taking:
        yield taking
