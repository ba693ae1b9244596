"""A ledger whose connections pass nothing on any more, and are not closed: a fail-over that nobody told the clients of.

New connections work. Whoever waits on an old one is ended and started again, or left alone by those who go on.
"""

import http.client
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.broker import running_broker
from tests.computer import DARKROOM, eventually
from tests.cutting_proxy import CuttingProxy
from tests.patience import patient
from tests.procfile import prepared
from tests.webhook.receiving import new_attempt, path_of, rows
from tests.webhook.serving import served
from worker.embedded.processes import Child, Supervisor
from worker.embedded.servers import LOOPBACK, http_answers
from worker.ledger import Ledger

pytestmark = [pytest.mark.system, pytest.mark.processes, pytest.mark.timeout(90)]

_IMPATIENT = "import tasks.sweep, worker.celery; tasks.sweep.HANGS_AFTER = worker.celery._LAST_SECONDS = 3"
#: seconds until a process is there and at work, however busy the machine is
PATIENCE = 40


@pytest.fixture
def ledger(postgresql_url: str) -> Iterator[Ledger]:
    """The way to it that never fails."""
    ledger = Ledger(postgresql_url)
    yield ledger
    ledger.close()


@pytest.fixture
def proxy(postgresql_url: str) -> Iterator[CuttingProxy]:
    with CuttingProxy(postgresql_url) as proxy:
        yield proxy


def test_a_clock_whose_ledger_falls_silent_is_started_again_and_works(
    ledger: Ledger, proxy: CuttingProxy, tmp_path: Path
) -> None:
    def pid_that_was_heard() -> int | None:
        return next((beat.pid for beat in ledger.maintenance.heartbeats()), None)

    said: list[str] = []
    command = prepared("clock", _IMPATIENT)
    env = {"PATH": f"{DARKROOM.parent}:/usr/bin:/bin", "DATABASE_URL": proxy.url, "HOME": str(tmp_path)}
    with running_broker(tmp_path) as url, Supervisor(lambda _, line: said.append(line)) as supervisor:
        supervisor.start(Child(name="clock", argv=("/bin/sh", "-c", command), env=env | {"REDIS_URL": url}))
        eventually(lambda: pid_that_was_heard() is not None, seconds=PATIENCE)
        before = pid_that_was_heard()
        proxy.silence()
        eventually(lambda: "-- exited with code 1 --" in said, seconds=PATIENCE)
        assert any("this process ends and must be restarted: the clock (" in line for line in said)
        eventually(lambda: pid_that_was_heard() != before, seconds=PATIENCE)


def test_the_receiver_keeps_callbacks_within_thirty_seconds_of_its_ledgers_silence(
    ledger: Ledger, proxy: CuttingProxy
) -> None:
    with served(proxy.url) as server, ThreadPoolExecutor(24) as pool:

        def deliver(attempt: str) -> int:
            connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=60)
            try:
                connection.request("POST", path_of(attempt), b'{"task_id": "t"}')
                answer = connection.getresponse()
                assert answer.status == 200 or (answer.status == 503 and answer.getheader("Retry-After"))
                return answer.status
            finally:
                connection.close()

        def deliver_until_kept(attempt: str) -> float:
            while deliver(attempt) != 200:
                time.sleep(0.5)
            assert attempt in kept()
            return time.monotonic()

        def kept() -> list[str]:
            return [str(row.attempt_id) for row in rows(ledger)]

        # So many that each process has had some, and so a connection.
        before, after = ([new_attempt() for _ in range(24)] for _ in range(2))
        assert set(pool.map(deliver, before)) == {200}
        # And more of them, which wait in its pool for whoever comes next.
        for _ in range(24):
            http_answers(LOOPBACK, server.port, "/readyz")
        proxy.silence()
        began = time.monotonic()
        assert max(pool.map(deliver_until_kept, after)) - began < patient(30)
        assert sorted(kept()) == sorted(before + after)
