import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import urllib3

from tests.patience import patient
from tests.webhook.sandbox.helpers import Client


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "webhook.sandbox", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop_and_then_stops_at_once(http: urllib3.PoolManager, number: signal.Signals):
    with start("--port", "0", "--delay", "30", "--faults", '{"reject": 0}') as process:
        url = process.stdout.readline().removeprefix("sandbox: serving on ").strip()
        client = Client(url, http)
        assert client.get("/sandbox/faults").json() == {"reject": 0}
        client.made(callback_url="http://127.0.0.1:9/")
        began = time.monotonic()
        os.kill(process.pid, number)
        assert process.wait(patient(5)) == 0
        assert time.monotonic() - began < patient(1)
        assert process.stderr.read() == ""


@pytest.mark.processes
def test_a_port_in_use_is_one_sentence_and_exit_1():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start("--port", str(port)) as process:
            assert process.wait(patient(10)) == 1
            assert process.stderr.read() == f"sandbox: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--faults", "{"], "argument --faults: not JSON"),
        (["--faults", '{"explode": 1}'], "argument --faults: there is no knob 'explode'"),
        (["--delay", "-1"], "argument --delay: -1 is not between 0 and 86400"),
        (["--delay", "nan"], "argument --delay: nan is not between 0 and 86400"),
        (["--size", "1"], "argument --size: 1 is not between 2 and 4096"),
        (["--port", "70000"], "argument --port: 70000 is not between 0 and 65535"),
        (["--size", "big"], "argument --size: invalid int value: 'big'"),
    ],
)
def test_wrong_arguments_are_refused_with_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
):
    from webhook.sandbox.__main__ import main  # noqa: PLC0415

    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
