"""`darkroom sandbox`: what it prints can be pasted, it tells what happens, and it ends when it is told to."""

import argparse
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from urllib.parse import quote_plus

import pytest
import urllib3
from click.testing import CliRunner

from tests.golden.golden import compare_shape
from tests.patience import patient
from tests.webhook.sandbox.helpers import Client, Receiver, until
from webhook.sandbox import command, running
from webhook.sandbox.app import DIALECTS
from webhook.sandbox.progress import plain

MODULE = ("-m", "webhook.sandbox")
DARKROOM = ("-c", "from tasks.cli import main; main()", "sandbox")


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def pasted(http: urllib3.PoolManager, curl: str) -> urllib3.BaseHTTPResponse:
    """Send what a shell and curl would make of the line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-d")
    parser.add_argument("-X")
    name, *words = shlex.split(curl)
    assert name == "curl"
    given = parser.parse_args(words)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if given.d else {}
    headers |= {name: value for name, _, value in (header.partition(": ") for header in given.H)}
    method = given.X or ("POST" if given.d else "GET")
    return http.request(method, given.url, body=given.d, headers=headers, retries=False, timeout=patient(8))


@pytest.mark.processes
def test_its_examples_can_be_pasted_and_each_submission_and_callback_is_told(
    http: urllib3.PoolManager, receiver: Receiver
):
    with start(*DARKROOM, "--json", "--port", "0", "--delay", "0", "--size", "16") as process:
        told = json.loads(process.stdout.readline())
        compare_shape("sandbox", "darkroom sandbox --json", told)
        for one in told["providers"]:
            line = one["curl"].replace(command.RECEIVER, receiver.url)
            line = line.replace(quote_plus(command.RECEIVER), quote_plus(receiver.url))
            assert pasted(http, line).status == 200, one

        def called_back() -> set[str]:
            log = http.request("GET", told["pages"]["log"]).json()
            return {entry["provider"] for entry in log if entry["kind"] == "callback" and entry["progress"] == 100}

        names = {dialect.name for dialect in DIALECTS}
        until(lambda: called_back() == names)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(patient(5)) == 0
        lines = process.stderr.read().splitlines()
    for name in names:
        (taken,) = (line for line in lines if f"{name}: " in line and "was accepted as task" in line)
        assert "“a red fox in tall grass”" in taken
        (last,) = (line for line in lines if f"{name}: callback" in line and "at 100 %" in line)
        assert f"to {receiver.url}: HTTP 200 after " in last


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop_and_then_stops_at_once(http: urllib3.PoolManager, number: signal.Signals):
    with start(*MODULE, "--quiet", "--port", "0", "--delay", "600", "--faults", '{"reject": 0}') as process:
        url = process.stdout.readline().removeprefix("sandbox: serving on ").strip()
        client = Client(url, http)
        assert client.get("/sandbox/faults").json() == {"reject": 0}
        client.made(callback_url="http://127.0.0.1:9/")
        os.kill(process.pid, number)
        assert process.wait(patient(20)) == 0, "it does not wait for the callback"
        assert process.stderr.read() == ""


@pytest.mark.processes
def test_a_port_in_use_is_one_sentence_and_exit_1():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start(*DARKROOM, "--port", str(port)) as process:
            assert process.wait(patient(10)) == 1
            assert process.stderr.read() == (
                f"sandbox: cannot listen on 127.0.0.1:{port}: Address already in use; omit --port to use "
                "the next free one\n"
            )


def test_without_a_port_it_takes_the_next_free_one(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(command, "FIRST_PORT", port)
        assert port < command._free_port("127.0.0.1") < port + command.PORTS
        monkeypatch.setattr(command, "PORTS", 1)
        with pytest.raises(command.CannotServe, match=f"no port from {port} to {port} is free on 127"):
            command._free_port("127.0.0.1")


def test_a_host_that_is_none_is_one_sentence():
    with pytest.raises(
        command.CannotServe, match=r"cannot listen on 192\.0\.2\.1:9000: Cannot assign requested address"
    ):
        command._free_port("192.0.2.1")


def test_it_says_who_can_reach_it(capsys: pytest.CaptureFixture[str]):
    with running() as served:
        assert command.facts(served)["loopback"] is True
        assert "(this machine only)" in command._summary(served)
        command._warn(served)
        assert capsys.readouterr().err == ""
    with running(host="0.0.0.0") as served:
        told = command.facts(served)
        assert (told["loopback"], told["host"], told["url"]) == (False, "0.0.0.0", f"http://127.0.0.1:{told['port']}")
        assert "open to the network" in command._summary(served)
        command._warn(served)
        assert "0.0.0.0 is open without a password" in capsys.readouterr().err


def test_what_it_tells_holds_no_password_and_repaints_no_terminal():
    told = plain("to http://me:secret@127.0.0.1:1/callback?token=hidden#x: \x1b[2Jno answer")
    assert told == "to http://127.0.0.1:1/callback?…  [2Jno answer"


def test_a_refusal_is_told_with_its_reason(http: urllib3.PoolManager, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "webhook.sandbox.progress")

    def told() -> list[str]:
        # A thread of an earlier test may log, too.
        return [record.message for record in caplog.records if record.name == "webhook.sandbox.progress"]

    with running(delay=0) as served:
        client = Client(served.url, http)
        client.imagine("")
        client.imagine("a cat sandbox:reject")
        client.made("a fox sandbox:drop", callback_url="http://127.0.0.1:9/")
        until(lambda: len(told()) == 4)
    assert told()[0] == "acedata: a request “” was refused: prompt is required"
    assert told()[1].startswith("acedata: generate “a cat sandbox:reject” was refused: Sorry! ")
    assert told()[1].endswith("(fault reject)")
    assert {"not sent: dropped" in message for message in told()[2:]} == {True, False}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--faults", "{"], "'--faults': not JSON, like {\"drop\": 0.1}"),
        (["--faults", '{"explode": 1}'], "'--faults': unknown knob 'explode'"),
        (["--delay", "-1"], "'--delay': -1.0 is not in the range 0<=x<=86400"),
        (["--delay", "nan"], "'--delay': nan is not a number"),
        (["--link-life", "inf"], "'--link-life': inf is not in the range"),
        (["--size", "1"], "'--size': 1 is not in the range 2<=x<=4096"),
        (["--port", "70000"], "'--port': 70000 is not in the range 0<=x<=65535"),
        (["--size", "big"], "'--size': 'big' is not a valid integer"),
    ],
)
def test_wrong_arguments_are_refused_with_a_sentence(arguments: list[str], sentence: str):
    refused = CliRunner().invoke(command.sandbox, arguments)
    assert refused.exit_code == 2
    assert sentence in refused.stderr
