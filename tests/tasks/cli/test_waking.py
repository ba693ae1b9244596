"""What is saved is told before anybody is woken, and stays a success whatever the broker does."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from click.testing import Result

from tests.commands import darkroom as run
from tests.computer import DARKROOM
from tests.patience import patient
from tests.pipeline import Start
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from tests.tasks.cli.test_dead import set_aside
from tests.tasks.cli.test_submit import NOT_WOKEN
from tests.tasks.test_rescue import elsewhere
from tests.tasks.test_restore import backup, restore
from worker import wakeup
from worker.errors import AccountBlocked
from worker.ledger import Ledger
from worker.steps import Step

RING = wakeup.ring


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What stood on standard output whenever a wake-up was sent, which the broker answers with nonsense."""
    before: list[str] = []

    def send(*_: object, **__: object) -> None:
        before.append(sys.stdout.buffer.getvalue().decode())  # type: ignore[attr-defined]  # click's own, for tests
        raise KeyError("No such transport: foo")

    monkeypatch.setattr(wakeup, "send", send)
    return before


def holds(result: Result, printed: list[str]) -> None:
    assert result.exit_code == 0, result.stderr
    assert NOT_WOKEN in result.stderr.splitlines()
    assert "KeyError" not in result.stderr
    assert result.stdout
    assert printed[0] == result.stdout


COMMANDS: dict[str, Callable[[Ledger], tuple[str, ...]]] = {
    "submit": lambda _: ("submit", "a fox", "an owl"),
    "retry": lambda ledger: ("retry", stories.failed(ledger)),
    "resolve": lambda ledger: ("resolve", stories.unconfirmed(ledger), "--resubmit"),
    "dead replay": lambda ledger: ("dead", "replay", *set_aside(ledger, b"?")),
    "resume": lambda ledger: ("resume", paused(ledger)),
}


def paused(ledger: Ledger) -> str:
    stories.answered(ledger, AccountBlocked("the balance is used up", code="used_up", status=403))
    return "acedata"


@pytest.mark.parametrize("command", COMMANDS)
def test_what_was_done_is_printed_before_anybody_is_woken(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, printed: list[str], command: str
) -> None:
    monkeypatch.setattr(wakeup, "ring", RING)
    holds(darkroom(*COMMANDS[command](ledger)), printed)


def test_what_was_rescued_is_printed_before_anybody_is_woken(start: Start, request: pytest.FixtureRequest) -> None:
    elsewhere(start(), "acedata", "a boat of others", "http://127.0.0.1:1/hook")
    printed = request.getfixturevalue("printed")
    holds(run("rescue", "--provider", "acedata", "--since", "24h", "-v"), printed)


def test_what_was_confirmed_is_printed_before_anybody_is_woken(
    start: Start, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pipeline = start()
    pipeline.submit("a red fox")
    copy = backup(tmp_path)
    pipeline.until_settled()
    pipeline.clock.advance(seconds=31)
    pipeline.step("reconcile")
    restore(pipeline, copy, tmp_path)
    pipeline.clock.advance(seconds=31)
    pipeline.step("reconcile")
    printed = request.getfixturevalue("printed")
    holds(run("reconcile", "--confirm"), printed)


@pytest.mark.processes
def test_ids_are_there_while_a_broker_that_hangs_is_waited_for(darkroom: Darkroom) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        process = subprocess.Popen(
            [DARKROOM, "submit", "a fox"], cwd=darkroom.data, env={**os.environ, "REDIS_URL": url},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("gen_")
            connection, _ = silent.accept()
            with connection:
                assert process.poll() is None
            silent.close()
            _, told = process.communicate(timeout=patient(60))
        finally:
            process.kill()
            process.communicate()
    assert (process.returncode, told) == (0, f"{NOT_WOKEN}\n")


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), OSError("x"), RuntimeError("x")])
def test_no_error_of_the_broker_gets_out_of_a_bell(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr(wakeup, "send", raising(error))
    assert RING(Step.DISPATCH, Step.ARCHIVE) is False
    assert f"could not send the wake-up for dispatch, archive: {type(error).__name__}: " in caplog.text


def test_a_time_limit_is_no_error_of_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeup, "send", raising(SoftTimeLimitExceeded()))
    with pytest.raises(SoftTimeLimitExceeded):
        RING(Step.DISPATCH)


def raising(error: Exception) -> Callable[..., Any]:
    def send(*_: object, **__: object) -> None:
        raise error

    return send
