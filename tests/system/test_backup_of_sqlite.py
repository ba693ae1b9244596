"""SQLite is replicated by litestream and restored, as the RUNBOOK says, while everything is killed now and then."""

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from tests import s3
from tests.computer import DARKROOM, Computer, eventually
from tests.patience import patient
from tests.system.recipes_of_the_runbook import begin, follow
from webhook import sandbox

pytestmark = [pytest.mark.system, pytest.mark.processes]


@pytest.fixture
def computer(tmp_path: Path) -> Iterator[Computer]:
    home = tmp_path / "home"
    home.mkdir()
    computer = Computer(home)
    yield computer
    for orphan in computer.processes():
        orphan.kill()


@pytest.fixture
def provider() -> Iterator[sandbox.Sandbox]:
    with sandbox.running(delay=0.2, size=64) as provider:
        yield provider


@pytest.fixture(params=["folder", "bucket"])
def replica(request: pytest.FixtureRequest, computer: Computer, tmp_path: Path) -> str:
    if request.param == "folder":
        return f"file://{tmp_path / 'replica'}"
    server: s3.Server = request.getfixturevalue("rclone")
    return f"s3://{s3.BUCKET}/{tmp_path.name}?endpoint={server.endpoint}&forcePathStyle=true&region=us-east-1"


def backup_env(computer: Computer, replica: str) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": s3.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": s3.SECRET_KEY}
    return {**computer.env, **keys, "REPLICA": replica}


@contextmanager
def replicating(computer: Computer, replica: str) -> "Iterator[subprocess.Popen[bytes]]":
    process = begin(
        "replicate-sqlite", backup_env(computer, replica), computer.home / "litestream.log", cwd=computer.home
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=patient(10))


@contextmanager
def up(computer: Computer) -> Iterator[psutil.Process]:
    """`darkroom up`, which is killed at the end with all that it has started, as by a power cut."""
    with (computer.home / "up.log").open("a") as log:
        process = subprocess.Popen(
            [DARKROOM, "up", "--json"],
            env=computer.env,
            cwd=computer.home,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout
        assert process.stdout.readline(), (computer.home / "up.log").read_text()
        yield psutil.Process(process.pid)
    finally:
        family = [process.pid, *(one.pid for one in computer.processes() if "litestream" not in one.name())]
        for pid in family:
            with_pid = psutil.Process(pid) if psutil.pid_exists(pid) else None
            if with_pid is not None:
                with_pid.kill()
        process.communicate()
        eventually(lambda: all("litestream" in one.name() for one in computer.processes()), seconds=10)


def generations(file: Path) -> dict[str, str]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return dict(connection.execute("SELECT id, state FROM generations"))


def marker(computer: Computer) -> int:
    file = computer.data / "s3" / "darkroom" / ".darkroom" / "ledger.json"
    return int(json.loads(file.read_text())["number"]) if file.exists() else 0


def restored_elsewhere(computer: Computer, replica: str, file: Path) -> Path:
    """What a restore would give now."""
    subprocess.run(
        [DARKROOM.parent / "litestream", "restore", "-o", file, replica],
        env=backup_env(computer, replica),
        capture_output=True,
        timeout=patient(60),
        check=True,
    )
    return file


def test_whatever_is_killed_the_replica_is_whole_and_after_a_restore_nothing_is_paid_twice(
    computer: Computer, provider: sandbox.Sandbox, replica: str, tmp_path: Path
) -> None:
    computer.env |= {"ACEDATACLOUD_BASE_URL": provider.url, "PUBLIC_URL": computer.url, "DARKROOM_POLL_SECONDS": "1"}
    ledger = computer.data / "ledger.sqlite3"
    with up(computer), replicating(computer, replica) as litestream:
        computer.json("submit", *(f"tower {number}" for number in range(20)))
        eventually(lambda: len(provider.log("submit")) > 3, seconds=30)
        litestream.kill()
        litestream.wait(timeout=patient(10))
        # Darkroom moves its log into the file meanwhile, which litestream has not seen.
        eventually(lambda: len(provider.log("submit")) > 8, seconds=30)
        with replicating(computer, replica):
            eventually(lambda: len(provider.log("submit")) > 12, seconds=30)
            computer.json("submit", *(f"bridge {number}" for number in range(5)))
    # Both were killed at their work. The last connection removes the log, which litestream finds without it.
    computer.darkroom("list")
    with replicating(computer, replica), up(computer):
        eventually(lambda: set(generations(ledger).values()) == {"archived"}, seconds=90)
        before = generations(ledger)
        assert len(before) == 25 == provider.bill()["charges"]
        number = 0

        def caught_up() -> bool:
            nonlocal number
            number += 1
            return generations(restored_elsewhere(computer, replica, tmp_path / f"look {number}")) == before

        eventually(caught_up, seconds=30)
    with up(computer):
        computer.json("submit", "a lost lamp", "a lost chair")
        eventually(
            lambda: len(generations(ledger)) == 27 and set(generations(ledger).values()) == {"archived"}, seconds=60
        )
        seen = marker(computer)
        # The ledger compares itself with the bucket every 30 seconds; a younger backup goes unnoticed.
        eventually(lambda: marker(computer) > seen, seconds=60)
        assert provider.bill()["charges"] == 27

    follow("restore-sqlite", backup_env(computer, replica), cwd=computer.home)
    assert generations(ledger) == before
    assert ledger.stat().st_mode & 0o077 == 0
    with closing(sqlite3.connect(ledger)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with up(computer):
        computer.json("submit", "a new lamp")
        eventually(lambda: "submissions are paused" in computer.darkroom("doctor").stdout, seconds=60)
        (report,) = map(json.loads, computer.darkroom("reconcile", "--confirm", "--json").stdout.splitlines())
        assert report["opened"], report
        eventually(
            lambda: len(generations(ledger)) == 28 and set(generations(ledger).values()) == {"archived"}, seconds=60
        )
        assert provider.bill()["charges"] == 28
    assert list(computer.data.glob("before-*/ledger.sqlite3")) != []
