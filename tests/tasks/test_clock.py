"""The clock: a pass each second, whatever happens to the broker, and a heartbeat that says that passes work."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tasks.sweep import keep_time, sweep
from tests.computer import eventually
from tests.factories import queued
from tests.procfile import running_clock
from worker.celery import app
from worker.ledger import Ledger
from worker.services import services


@pytest.fixture
def ledger(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    services.cache_clear()
    ledger = Ledger(sqlite_url)
    yield ledger
    ledger.close()
    services().close()
    services.cache_clear()


@contextmanager
def clock_at_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A clock in a hurry; what it rings for."""
    over = threading.Event()
    rung: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr("worker.runtime.shutdown.is_asked", over.is_set)
        patch.setattr("worker.wakeup.send", rung.extend)
        patch.setattr("tasks.sweep.PAUSE", 0.01)
        patch.setattr("tasks.sweep.HEARTBEAT_SECONDS", 0.05)
        thread = threading.Thread(target=keep_time, args=("clock@here",))
        thread.start()
        try:
            yield rung
        finally:
            over.set()
            thread.join()


def rename(database_url: str, old: str, new: str) -> None:
    """Without its table `assets` no pass comes to its end."""
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=10)) as connection:
        connection.execute(f"ALTER TABLE {old} RENAME TO {new}")


def test_the_heartbeat_of_the_clock_says_that_its_passes_work(
    ledger: Ledger, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename(sqlite_url, "assets", "elsewhere")
    with clock_at_work(monkeypatch) as rung:
        # Workers show their own life, whatever the passes do.
        eventually(lambda: rung.count("ping") > 2, seconds=10)
        assert ledger.maintenance.heartbeats() == []
        rename(sqlite_url, "elsewhere", "assets")
        eventually(lambda: [beat.worker for beat in ledger.maintenance.heartbeats()] == ["clock@here"], seconds=10)
        assert ledger.maintenance.heartbeats()[0].pid == os.getpid()


@pytest.mark.processes
def test_the_work_that_the_clock_does_beside_its_passes_is_no_sign_of_them(
    ledger: Ledger, sqlite_url: str, tmp_path: Path
) -> None:
    queued(ledger)
    rename(sqlite_url, "assets", "elsewhere")
    with running_clock(sqlite_url, tmp_path) as url:
        with app.connection_for_write(url) as connection:
            app.send_task("dispatch", connection=connection)
        eventually(lambda: ledger.maintenance.is_due("submit"), seconds=30)
    assert ledger.maintenance.heartbeats() == []


def test_one_watchdog_watches_a_pass_and_hears_of_each_part_before_it_begins(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    happened: list[str] = []

    @contextmanager
    def limit(what: str, _seconds: float) -> Iterator[Callable[[], None]]:
        happened.append(what)
        yield lambda: happened.append("goes on")

    def fails(_here: object) -> None:
        happened.append("fails")
        raise RuntimeError("of the test")

    monkeypatch.setattr("worker.runtime.watchdog.limit", limit)
    monkeypatch.setattr("tasks.sweep.PARTS", [fails, lambda _: happened.append("works")])
    assert sweep.run() is False
    assert happened == ["the clock (a pass)", "goes on", "fails", "goes on", "works"]
