"""The private process under its real server: what it needs, what it withstands, how it ends."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import psutil
import pytest

from tests.factories import queued
from tests.patience import patient, wait_for
from tests.webhook import serving as receiving
from tests.webhook.api.serving import served
from webhook.api.app import OPERATIONS
from worker.embedded.machine import procfile_commands
from worker.ledger import Ledger

pytestmark = pytest.mark.processes

JSON = "Content-Type: application/json\r\n"

SECRETS = {
    "KIE_API_KEY": "studio:provider-secret,shop:other-secret",
    "KIE_WEBHOOK_HMAC_KEY": "callback-secret",
    "DARKROOM_SIGNING_KEYS": "k1:0123456789abcdef0123456789abcdef",
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Iterator[tuple[int, int]]:
    """Its port and its process."""
    log = tmp_path_factory.mktemp("api") / "log"
    with served(f"sqlite:///{migrated_file}", log=log, AWS_SECRET_ACCESS_KEY="of-the-bucket", **SECRETS) as (url, one):
        yield int(urlsplit(url).port or 0), one.pid


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=patient(10))) as connection:
        connection.request(method, path, body, headers)
        with connection.getresponse() as answer:
            return answer.status, answer.read()


def raw(port: int, message: bytes) -> bytes:
    """The whole answer to `message`, until the connection ends."""
    answer = b""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=patient(10)) as connection,
        suppress(ConnectionResetError, BrokenPipeError),
    ):
        connection.sendall(message)
        while piece := connection.recv(65536):
            answer += piece
    return answer


def test_it_is_one_process(api: tuple[int, int]) -> None:
    assert psutil.Process(api[1]).children(recursive=True) == []


def test_it_has_the_secrets_of_the_bucket_and_of_links_to_approvals_and_no_others(api: tuple[int, int]) -> None:
    known = psutil.Process(api[1]).environ()
    assert known["AWS_SECRET_ACCESS_KEY"] == "of-the-bucket"
    assert known["DARKROOM_SIGNING_KEYS"] == SECRETS["DARKROOM_SIGNING_KEYS"]
    assert not [value for value in known.values() if "-secret" in value]
    assert known["KIE_API_KEY"].startswith("studio:")


def test_it_is_ready_if_the_ledger_answers_and_says_what_is_missing(api: tuple[int, int]) -> None:
    assert ask(api[0], "GET", "/livez") == (200, b"ok")
    status, body = ask(api[0], "GET", "/readyz")
    found = json.loads(body)
    assert (status, found["status"]) == (200, "degraded")
    assert found["ledger"]["status"] == "ok"
    assert "submitted later" in found["broker"]["detail"]
    assert b"broker-password" not in body


def test_a_ledger_without_tables_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "blank.sqlite3").touch()
    with served(f"sqlite:///{tmp_path / 'blank.sqlite3'}") as (url, _):
        status, body = ask(int(urlsplit(url).port or 0), "GET", "/readyz")
    assert (status, json.loads(body)["ledger"]["status"]) == (503, "unavailable")
    assert "darkroom db upgrade" in body.decode()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/generations", {"Content-Type": "text/plain"}, 415),
        ("/v1/generations", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        ("/v1/generations", {"Content-Type": "application/json", "Origin": "https://example.com"}, 401),
        ("/v1/generations", {"Content-Type": "application/json", "Authorization": "Bearer dk_unknown"}, 401),
        ("/v1/providers", {"Content-Type": "application/json"}, 405),
        ("/v1/nothing", {"Content-Type": "application/json"}, 404),
        ("/generations/gen_1/actions", {"Content-Type": "application/x-www-form-urlencoded"}, 403),
    ],
)
def test_whoever_is_refused_hears_so_although_they_still_send(
    api: tuple[int, int], path: str, headers: dict[str, str], status: int
) -> None:
    for _ in range(20):
        assert ask(api[0], "POST", path, b" " * 900_000, headers)[0] == status


def test_what_is_no_http_ends_without_a_page(api: tuple[int, int]) -> None:
    head = b"Host: 127.0.0.1\r\nConnection: close\r\n\r\n"
    for message in (
        b"GET /v1/" + b"x" * 200_000 + b" HTTP/1.1\r\n" + head,
        b"GET /v1/generations/\xff\xfe HTTP/1.1\r\n" + head,
        b"GET /v1/generations/%ff%00 HTTP/1.1\r\n" + head,
        b"GET http://elsewhere/v1/nothing HTTP/1.1\r\n" + head,
        b"GET /v1/nothing HTTP/1.1\r\n" + b"X: " + b"y" * 200_000 + b"\r\n" + head,
        b"\0" * 100 + b"\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n" + head,
    ):
        answer = raw(api[0], message)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]
        assert b"<" not in answer.partition(b"\r\n\r\n")[2]
    assert ask(api[0], "GET", "/livez")[0] == 200


def test_a_port_that_is_taken_is_refused_in_one_sentence(api: tuple[int, int], sqlite_url: str) -> None:
    env = {**os.environ, "DATABASE_URL": sqlite_url, "API_PORT": str(api[0])}
    env["PATH"] = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    command = ["/bin/sh", "-c", procfile_commands()["api"]]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=patient(30), check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"the API cannot start: the API cannot listen on API_PORT {api[0]} of 127.0.0.1: Address already in use; "
        "stop the program that uses it or set API_PORT to another number\n"
    )


def test_it_says_where_it_is_and_who_needs_a_token(sqlite_url: str, tmp_path: Path) -> None:
    with served(sqlite_url, log=tmp_path / "log") as (url, _):
        assert f"the API is at {url}: this machine needs no token" in (tmp_path / "log").read_text()
    with served(sqlite_url, log=tmp_path / "log", API_HOST="0.0.0.0"):
        assert (
            "programs need a token (`darkroom token create`), and people a login (`darkroom user add`)"
            in (tmp_path / "log").read_text()
        )


def test_it_ends_within_seconds_whoever_is_connected(sqlite_url: str) -> None:
    head = f"HTTP/1.1\r\nHost: 127.0.0.1:{{port}}\r\n{JSON}Content-Length: 100\r\n\r\n{{{{"
    with served(sqlite_url) as (url, process):
        port = int(urlsplit(url).port or 0)
        clients = [socket.create_connection(("127.0.0.1", port), timeout=patient(10)) for _ in range(3)]
        clients[1].sendall(b"GET /v1/nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        # A thread reads this body, which never ends.
        clients[2].sendall(f"POST /v1/generations {head.format(port=port)}".encode())
        assert wait_for(lambda: psutil.Process(process.pid).num_threads() > 6, 10)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=patient(6)) == 0
        for client in clients:
            client.close()


def test_whoever_waits_when_it_ends_gets_an_answer(sqlite_url: str) -> None:
    with closing(Ledger(sqlite_url)) as ledger:
        (generation,) = queued(ledger)
    with served(sqlite_url) as (url, process):
        port = int(urlsplit(url).port or 0)
        path = f"/v1/generations/{generation.id}?wait=60"
        with ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(ask, port, "GET", path) for _ in range(4)]
            while not all(one.running() for one in waiting):
                time.sleep(0.05)
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert [one.result(timeout=patient(10))[0] for one in waiting] == [200] * 4
        assert process.wait(timeout=patient(6)) == 0


@pytest.mark.parametrize("is_asked_first", [True, False])
def test_a_body_is_read_in_chunks_and_after_an_interim_answer(api: tuple[int, int], is_asked_first: bool) -> None:
    expect = "Expect: 100-continue\r\n" if is_asked_first else ""
    head = f"POST /v1/generations HTTP/1.1\r\nHost: 127.0.0.1:{api[0]}\r\n{JSON}{expect}Connection: close\r\n"
    with socket.create_connection(("127.0.0.1", api[0]), timeout=patient(10)) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        if is_asked_first:
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        for piece in (b'9\r\n{"prompt"\r\n', b"4\r\n: 1}\r\n", b"0\r\n\r\n"):
            connection.sendall(piece)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 422 ")
    assert json.loads(body)["errors"][0]["pointer"] == "/prompt"


# --- the public receiver ----------------------------------------------------------------------------------------------


def test_the_public_receiver_has_none_of_it(sqlite_url: str) -> None:
    with receiving.served(sqlite_url) as receiver:
        for one in OPERATIONS:
            assert ask(receiver.port, one.method, one.path)[0] == 404, one.path
        assert ask(receiver.port, "GET", "/v1/openapi.json")[0] == 404
