"""The tools of the chaos suite do what they say: the gate before the S3 server, and the command line."""

import http.client
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.chaos.__main__ import DATABASES, main
from tests.chaos.databases import database
from tests.chaos.gate import Gate, Mode, gate
from tests.patience import patient
from tests.serving import HttpServer, at_work


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def opened() -> Iterator[Gate]:
    with at_work(HttpServer(("127.0.0.1", 0), Echo)) as server, gate(server.server_port) as opened:
        yield opened


def put(connection: http.client.HTTPConnection, body: bytes = b"a picture") -> tuple[int, bytes]:
    connection.request("PUT", "/bucket/key", body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_an_open_gate_lets_everything_through(opened: Gate):
    connection = http.client.HTTPConnection("127.0.0.1", opened.port, timeout=patient(10))
    assert put(connection) == put(connection) == (200, b"a picture")
    assert opened.met == {Mode.REFUSING: 0, Mode.HANGING: 0}
    connection.close()


def test_a_gate_that_refuses_answers_503_also_to_those_who_were_connected(opened: Gate):
    kept = http.client.HTTPConnection("127.0.0.1", opened.port, timeout=patient(10))
    assert put(kept)[0] == 200
    opened.set(Mode.REFUSING)
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        put(kept)
    kept.close()
    assert put(kept)[0] == 503
    assert opened.met[Mode.REFUSING] == 1
    opened.set(Mode.OPEN)
    kept.close()
    assert put(kept)[0] == 200
    kept.close()


def test_a_gate_that_hangs_answers_when_it_is_opened_again(opened: Gate):
    connection = http.client.HTTPConnection("127.0.0.1", opened.port, timeout=0.3)
    opened.set(Mode.HANGING)
    connection.request("PUT", "/bucket/key", b"a picture")
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    waiting = http.client.HTTPConnection("127.0.0.1", opened.port, timeout=patient(10))
    waiting.request("PUT", "/bucket/key", b"a picture")
    opened.set(Mode.OPEN)
    answer = waiting.getresponse()
    assert (answer.status, answer.read()) == (200, b"a picture")
    assert opened.met[Mode.HANGING] >= 1
    waiting.close()


@pytest.mark.parametrize(
    "arguments", [["--faults", "none"], ["--faults", "0"], ["--database", "mysql"], ["--seeds", "1"], ["more"]]
)
def test_wrong_flags_are_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: python -m tests.chaos" in capsys.readouterr().err


@pytest.mark.processes
@pytest.mark.parametrize("kind", DATABASES)
def test_a_process_that_is_stopped_inside_a_transaction_is_told_from_another(kind: str, tmp_path: Path):
    script = """
import sys
from sqlalchemy import text
from worker.ledger import Ledger
ledger = Ledger(sys.argv[1])
for _ in range(2):
    with ledger.database.write(under_way=True) as connection:
        connection.execute(text("SELECT 1"))
        print("inside", flush=True)
        sys.stdin.readline()
    print("outside", flush=True)
    sys.stdin.readline()
"""
    if kind == "sqlite":
        (tmp_path / "ledger.sqlite3").touch()
    with (
        database(kind, tmp_path) as hurt,
        subprocess.Popen(
            (sys.executable, "-c", script, hurt.url), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        for _ in range(2):
            for where in ("inside", "outside"):
                assert process.stdout.readline() == f"{where}\n"
                process.send_signal(signal.SIGSTOP)
                assert hurt.holds_transaction(process.pid) is (where == "inside")
                process.send_signal(signal.SIGCONT)
                process.stdin.write("\n")
                process.stdin.flush()
