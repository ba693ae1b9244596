"""Whether a process works: by its own answer, or by the latest heartbeat of its host."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from tasks.usecases.healthcheck import Process, check_heartbeat, check_listener, process_of
from tests.clock import FakeClock
from tests.serving import HttpServer, at_work
from worker.embedded.machine import procfile_commands
from worker.embedded.servers import free_port
from worker.ledger import Ledger
from worker.ledger.maintenance import STOPPED
from worker.services import Services
from worker.settings.settings import load_settings


@pytest.fixture
def here(settings_of_the_test: pytest.MonkeyPatch, clock: FakeClock) -> Iterator[Services]:
    services = Services(load_settings(), clock)
    yield services
    services.close()


def test_each_process_that_keeps_running_is_known_by_its_command_line() -> None:
    found = {name: process_of(command) for name, command in procfile_commands().items()}
    assert found == {"release": None, **{one.value: one for one in Process}}


@pytest.mark.parametrize(
    ("command", "process"),
    [
        ("/opt/darkroom/bin/python -m webhook", Process.WEB),
        ("/sbin/docker-init -- /bin/sh -c exec python -m webhook.api", Process.API),
        ("/opt/darkroom/bin/python /opt/darkroom/bin/celery -q -A worker worker -n clock.1@host", Process.CLOCK),
        ("/sbin/init", None),
        ("python -m webhook.sandbox", None),
        ("celery -A shop worker -n shop.1@host", None),
        ("", None),
    ],
)
def test_a_container_is_known_by_what_it_was_started_with(command: str, process: Process | None) -> None:
    assert process_of(command) == process


@pytest.mark.parametrize("process", [Process.WORKER, Process.CLOCK])
def test_a_heartbeat_is_good_for_ninety_seconds(
    here: Services, ledger: Ledger, clock: FakeClock, process: Process
) -> None:
    before = check_heartbeat(process, here, "host")
    assert (before.is_well, before.detail) == (
        False,
        f"no {process} on this host has reported: it is starting, or stopped",
    )
    ledger.maintenance.beat(f"{process}.7@host", 7)
    clock.advance(seconds=90)
    assert check_heartbeat(process, here, "host").is_well
    clock.advance(seconds=1)
    silent = check_heartbeat(process, here, "host")
    assert (silent.is_well, silent.detail) == (
        False,
        f"{process} hangs, or cannot reach broker or ledger: it last reported 91 s ago",
    )
    # One beside it works, or has replaced it.
    ledger.maintenance.beat(f"{process}.8@host", 8)
    assert check_heartbeat(process, here, "host").is_well


def test_heartbeats_of_other_hosts_of_other_processes_and_of_the_stopped_say_nothing(
    here: Services, ledger: Ledger
) -> None:
    ledger.maintenance.beat("worker.7@another", 7)
    ledger.maintenance.beat("clock.8@host", 8)
    ledger.maintenance.beat("worker.9@host", STOPPED)
    assert not check_heartbeat(Process.WORKER, here, "host").is_well


class _Answer(BaseHTTPRequestHandler):
    said = (200, b"ok")

    def do_GET(self) -> None:
        assert self.path == "/livez"
        status, body = self.said
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    handler = type("Answer", (_Answer,), {"said": (status, body)})
    with at_work(HttpServer(("127.0.0.1", 0), handler)) as server:
        yield server.server_port


@pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1"])
def test_what_listens_is_asked_where_it_listens(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with answering(200, b"ok") as port:
        web = check_listener(Process.WEB, {"HOST": host, "PORT": str(port)})
        api = check_listener(Process.API, {"API_HOST": host, "API_PORT": str(port)})
    assert (web.is_well, web.detail) == (True, f"web answers at 127.0.0.1:{port}")
    assert (api.is_well, api.detail) == (True, f"api answers at 127.0.0.1:{port}")


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (503, b"ok"), (404, b"")])
def test_another_program_on_the_port_is_no_process_of_ours(status: int, body: bytes) -> None:
    with answering(status, body) as port:
        health = check_listener(Process.WEB, {"PORT": str(port)})
    assert (health.is_well, health.detail) == (
        False,
        f"another program answers at 127.0.0.1:{port}: stop it, or set PORT to another port",
    )


def test_nobody_there_is_not_well() -> None:
    for port in (str(free_port()), "many"):
        health = check_listener(Process.API, {"API_PORT": port})
        assert not health.is_well
        assert health.detail.startswith(f"api does not answer at 127.0.0.1:{port}: ")
