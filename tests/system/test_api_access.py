"""The private process as it is really served: nothing that its server makes of headers and targets gets others in."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.commands import darkroom
from tests.patience import patient, wait_for
from worker.embedded.servers import free_port, http_answers

pytestmark = pytest.mark.system
#: of a request that got in: there is no such generation
IN, OUT = 404, 401


@dataclass
class Server:
    host: str
    port: int

    @property
    def name(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def ask(self, *headers: str, target: str = "/v1/generations/gen_1", version: str = "HTTP/1.1") -> int:
        """The status of the answer to a GET with just these headers."""
        lines = (f"GET {target} {version}", *headers, "Connection: close", "", "")
        with socket.create_connection((self.host, self.port), timeout=patient(30)) as connection:
            connection.sendall("\r\n".join(lines).encode())
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        assert b"access-control" not in answer.lower()
        return int(answer.split(b" ", 2)[1])


@pytest.fixture(params=["127.0.0.1", "::1"])
def server(request: pytest.FixtureRequest, sqlite_url: str, tmp_path: Path) -> Iterator[Server]:
    port = free_port()
    env = {
        **os.environ,
        "API_HOST": request.param,
        "API_PORT": str(port),
        "DATABASE_URL": sqlite_url,
        "DARKROOM_DATA": str(tmp_path),
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "webhook.api"], env=env, stdout=log, stderr=log)
    try:
        answers = wait_for(lambda: http_answers(request.param, port, "/v1/openapi.json"), 60, pause=0.1)
        assert answers, (tmp_path / "log").read_text()
        yield Server(request.param, port)
    finally:
        process.terminate()
        process.wait(timeout=patient(20))


def test_only_this_machine_gets_in_without_a_token(server: Server) -> None:
    own = f"Host: {server.name}:{server.port}"
    assert server.ask(own) == IN
    assert server.ask(f"Host: localhost:{server.port}") == IN
    foreign = (
        (f"Host: evil.example:{server.port}",),
        (f"Host: {server.name}:{server.port + 1}",),
        (f"Host: {server.name}",),
        (own, f"Host: evil.example:{server.port}"),
        (f"Host: evil.example:{server.port}", own),
        (own, "X-Forwarded-For: 127.0.0.1"),
        (own, "X-Forwarded_Host: evil.example"),
        (own, "via: 1.1 proxy"),
        (own, "Forwarded: for=127.0.0.1", "Forwarded: for=127.0.0.1"),
    )
    assert [server.ask(*headers) for headers in foreign] == [OUT] * len(foreign)
    assert server.ask(own, version="HTTP/1.0") == OUT


def test_a_target_with_a_host_of_its_own_replaces_no_header(server: Server) -> None:
    target = f"http://{server.name}:{server.port}/v1/generations/gen_1"
    assert server.ask("Host: evil.example", target=target) == OUT
    assert server.ask(f"Host: {server.name}:{server.port}", target=target) == IN


def test_a_token_gets_in_until_it_is_revoked(
    server: Server, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
    secret = darkroom("token", "create", "studio", "--scope", "generations:read").stdout.strip()
    shown = ("Host: darkroom.example", f"Authorization: Bearer {secret}")
    assert server.ask(*shown) == IN
    # Twice is one too many, even if both are right.
    assert server.ask(*shown, shown[1]) == OUT
    assert darkroom("token", "revoke", "studio").exit_code == 0
    assert wait_for(lambda: server.ask(*shown) == OUT, 10)
    assert secret not in (tmp_path / "log").read_text()
