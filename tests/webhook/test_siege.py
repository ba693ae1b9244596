"""The receiver under siege, on its real server: what is answered with 200 is kept, whoever drips or hangs."""

import http.client
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.patience import patient
from tests.webhook.dripping import Drippers
from tests.webhook.receiving import new_attempt, path_of, rows, until
from tests.webhook.serving import Served, served, valkey
from worker.ledger import Ledger

pytestmark = pytest.mark.processes

CALLBACKS = 50


@pytest.fixture
def besieged(tmp_path: Path, database_url: str) -> Iterator[Served]:
    """One whose broker has frozen since it was reached."""
    (tmp_path / "broker").mkdir()
    with valkey(tmp_path / "broker") as (redis_url, broker), served(database_url, redis_url=redis_url) as server:
        assert post(server, new_attempt()) == 200
        connections = psutil.Process(broker.pid).net_connections
        until(lambda: any(one.status == psutil.CONN_ESTABLISHED for one in connections()))
        broker.send_signal(signal.SIGSTOP)
        yield server


@pytest.mark.parametrize(("headers", "bodies"), [(20, 20), (0, 400)])
def test_clients_that_drip_and_a_frozen_broker_keep_no_callback_from_being_stored(
    besieged: Served, database_url: str, headers: int, bodies: int
) -> None:
    attempts = [new_attempt() for _ in range(CALLBACKS)]
    with Drippers(besieged.port, headers=headers, bodies=bodies), ThreadPoolExecutor(8) as senders:
        statuses = list(senders.map(lambda attempt: post(besieged, attempt), attempts))
    assert statuses == [200] * CALLBACKS
    ledger = Ledger(database_url)
    kept = {row.attempt_id for row in rows(ledger)}
    ledger.close()
    assert set(attempts) <= kept


def post(server: Served, attempt: str) -> int:
    """The status: of a callback on a connection of its own, as providers send it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=patient(10))
    try:
        connection.request("POST", path_of(attempt), b"{}")
        with connection.getresponse() as response:
            return response.status
    finally:
        connection.close()
