"""`darkroom healthcheck`: exit code and one sentence, without what a container need not pay for."""

import json
import socket
from pathlib import Path

import pytest

from tasks.cli import healthcheck
from tests.tasks.cli.conftest import Darkroom
from tests.tasks.cli.test_command import modules_after
from worker.embedded.servers import free_port
from worker.ledger import Ledger
from worker.settings import ENV_FILE_READ


def test_a_question_to_a_process_that_listens_loads_no_library() -> None:
    statement = "from tasks.cli import cli; cli(['healthcheck', 'web'], standalone_mode=False)"
    loaded = modules_after(statement)
    assert not loaded & {"pydantic", "sqlalchemy", "celery", "rich", "requests", "worker.ledger"}


def test_a_worker_of_this_host_that_has_reported_is_well(darkroom: Darkroom, ledger: Ledger) -> None:
    before = darkroom("healthcheck", "worker")
    assert (before.exit_code, before.stdout) == (
        1,
        "no worker on this host has reported: it is starting, or stopped\n",
    )
    ledger.maintenance.beat(f"worker.7@{socket.gethostname()}", 7)
    after = darkroom("healthcheck", "worker", "--json")
    assert after.exit_code == 0
    document = json.loads(after.stdout)
    assert (document["process"], document["ok"]) == ("worker", True)
    assert document["detail"].startswith("worker reported ")


def test_a_container_need_not_be_told_what_it_runs(
    darkroom: Darkroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("PORT", str(port))
    monkeypatch.setattr(healthcheck, "_FIRST", first := tmp_path / "cmdline")
    first.write_bytes(b"/usr/bin/python\0-m\0webhook\0")
    result = darkroom("healthcheck")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"web does not answer at 127.0.0.1:{port}: ")


def test_elsewhere_it_asks_for_the_name(darkroom: Darkroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for first in (tmp_path / "missing", Path("/dev/null")):
        monkeypatch.setattr(healthcheck, "_FIRST", first)
        result = darkroom("healthcheck")
        assert result.exit_code == 2
        assert "name the process, one of web, api, worker, clock" in result.stderr


def test_a_ledger_that_is_away_is_unknown_and_tells_no_password(
    darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hunter2@127.0.0.1:1/name")
    as_json = darkroom("healthcheck", "clock", "--json")
    as_text = darkroom("healthcheck", "clock")
    assert as_json.exit_code == as_text.exit_code == 1
    assert json.loads(as_json.stdout)["detail"].startswith("unknown: ")
    assert as_text.stdout.startswith("unknown: ")
    assert "hunter2" not in as_json.output + as_text.output


def test_a_port_of_the_env_file_is_the_one_that_is_asked(
    darkroom: Darkroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENV_FILE_READ)
    port = free_port()
    (tmp_path / ".env").write_text(f"PORT={port}\n")
    assert f"127.0.0.1:{port}" in darkroom("healthcheck", "web").stdout
