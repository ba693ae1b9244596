"""Connections, transactions, and the gate in which writers of a SQLite file queue."""

import fcntl
import multiprocessing
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
from sqlalchemy import Connection, TextClause, select, text, update

from tests.clock import FakeClock
from tests.cutting_proxy import Cut, CuttingProxy
from tests.factories import at_once, queued
from tests.left_open import is_open
from tests.patience import patient
from tests.webhook.receiving import until
from worker.errors import CommitUnknown, ConfigurationError, LedgerUnavailable
from worker.ledger import Ledger
from worker.ledger.database import Database, sessions, system_clock
from worker.ledger.database import database as module
from worker.ledger.schema import heartbeats

ENDS = {
    "statement_timeout": "10s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "15s",
    "synchronous_commit": "on",
    "TimeZone": "UTC",
}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "not a database URL"),
        ("nonsense", "not a database URL"),
        ("postgresql://someone:s3cret@host:port/name", "not a database URL"),
        ("mysql://someone:s3cret@host/name", "names 'mysql'"),
        ("postgresql+asyncpg://someone:s3cret@host/name", r"names 'postgresql\+asyncpg'"),
        ("sqlite://", "names 'sqlite'"),
        ("sqlite:///:memory:", "names 'sqlite'"),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str, words: str):
    with pytest.raises(ConfigurationError, match=f"DATABASE_URL.*{words}") as caught:
        Ledger(url)
    assert "s3cret" not in str(caught.value)


def test_the_short_name_that_hosting_companies_use_is_understood():
    database = Database("postgres://someone@host/name")
    assert database.url == "postgresql+psycopg://someone@host/name"
    database.close()


def test_a_transaction_that_raises_leaves_nothing(ledger: Ledger):
    def half_done() -> None:
        with ledger.database.write() as connection:
            connection.execute(heartbeats.insert().values(worker="w", pid=1, seen_at=system_clock()))
            raise KeyError

    with pytest.raises(KeyError):
        half_done()
    assert ledger.maintenance.heartbeats() == []


def test_a_read_sees_one_moment_and_stops_no_writer(ledger: Ledger):
    ledger.maintenance.beat("w", 1)
    with ledger.database.read() as connection:
        assert connection.execute(select(heartbeats.c.pid)).scalar_one() == 1
        ledger.maintenance.beat("w", 2)
    assert ledger.maintenance.heartbeats()[0].pid == 2


def test_sixteen_threads_that_count_lose_nothing(ledger: Ledger):
    ledger.maintenance.beat("w", 0)

    def count() -> None:
        for _ in range(20):
            with ledger.database.write() as connection:
                pid = connection.execute(select(heartbeats.c.pid).with_for_update()).scalar_one()
                connection.execute(update(heartbeats).values(pid=pid + 1))

    assert at_once(*[count] * 16) == [None] * 16
    assert ledger.maintenance.heartbeats()[0].pid == 320


def _count_in_a_process(url: str, times: int) -> None:
    database = Database(url)
    for _ in range(times):
        with database.write() as connection:
            pid = connection.execute(select(heartbeats.c.pid)).scalar_one()
            connection.execute(update(heartbeats).values(pid=pid + 1))
    database.close()


@pytest.mark.processes
def test_four_processes_that_count_in_one_file_lose_nothing(sqlite_url: str):
    ledger = Ledger(sqlite_url)
    ledger.maintenance.beat("w", 0)
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_count_in_a_process, args=(sqlite_url, 200)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(patient(60))
    assert [process.exitcode for process in processes] == [0] * 4
    assert ledger.maintenance.heartbeats()[0].pid == 800
    ledger.close()


def test_a_stranger_cannot_write_between_what_we_read_and_what_we_write(sqlite_url: str):
    """A program that knows nothing of the gate, as a backup tool or a person with the sqlite3 shell."""
    ledger = Ledger(sqlite_url)
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=0)) as stranger:
        with ledger.database.write() as connection:
            assert connection.execute(select(heartbeats)).all() == []
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                stranger.execute("DELETE FROM heartbeats")
        stranger.execute("DELETE FROM heartbeats")
    ledger.close()


def test_a_writer_that_dies_lets_the_next_one_in(sqlite_url: str):
    ready, child = os.pipe()
    pid = os.fork()
    if pid == 0:
        with Database(sqlite_url).write():
            os.write(child, b"!")
            signal.pause()
    os.read(ready, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(ready)
    os.close(child)
    ledger = Ledger(sqlite_url)
    assert len(queued(ledger)) == 1
    ledger.close()


def test_a_writer_does_not_wait_for_ever(sqlite_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    ledger = Ledger(sqlite_url)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with ledger.database.write():
            held.set()
            done.wait(patient(10))

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(patient(10))
    try:
        with pytest.raises(LedgerUnavailable, match="busy"):
            queued(ledger)
    finally:
        done.set()
        thread.join()
    assert len(queued(ledger)) == 1
    ledger.close()


@pytest.mark.processes
def test_a_writer_does_not_wait_for_a_frozen_process_for_ever_and_names_it(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.2)
    ledger = Ledger(sqlite_url)
    process = frozen(_freeze_while_writing, sqlite_url)
    try:
        for _ in range(3):
            with pytest.raises(LedgerUnavailable, match=f"busy .* process {process.pid} is writing"):
                queued(ledger)
        assert sum(thread.name == "gate" for thread in threading.enumerate()) == 1
        assert ledger.generations.page() == []
    finally:
        process.kill()
        process.join()
    assert len(queued(ledger)) == 1
    ledger.close()


def test_postgresql_gives_up_on_a_row_that_is_held_too_long(postgresql_url: str):
    ledger = Ledger(postgresql_url)
    (made,) = queued(ledger)
    with ledger.database.write() as connection:
        connection.execute(text("SELECT id FROM generations FOR UPDATE"))
        with pytest.raises(LedgerUnavailable, match="lock timeout"):
            ledger.generations.cancel([made.id])
    ledger.close()


def test_no_wait_on_postgresql_is_without_end(postgresql_url: str):
    ledger = Ledger(postgresql_url)
    assert not ledger.database.is_pooled
    for begin in (ledger.database.write, ledger.database.read, partial(ledger.database.write, alone=True)):
        with begin() as connection:
            held = {name: connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in ENDS}
            assert held == ENDS
            options = connection.connection.dbapi_connection.info.get_parameters()  # type: ignore[union-attr]
        assert options["tcp_user_timeout"] == "15000"
        assert [options[f"keepalives_{what}"] for what in ("idle", "interval", "count")] == ["5", "2", "3"]
    ledger.close()


def test_a_process_that_is_frozen_in_a_transaction_stops_the_others_for_seconds_only(postgresql_url: str):
    """The server ends its session, with whatever it has locked."""
    ledger = Ledger(postgresql_url)
    (made,) = queued(ledger)
    process = frozen(_freeze_with_a_row, postgresql_url)
    try:
        until(lambda: _is_cancelled(ledger, made.id), 60)
    finally:
        process.kill()
        process.join()
        ledger.close()


def frozen(target: Callable[[str], None], url: str) -> SpawnProcess:
    """A process that has stopped itself in `target`."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=(url,))
    process.start()
    _, status = os.waitpid(process.pid or 0, os.WUNTRACED)
    assert os.WIFSTOPPED(status), status
    return process


def _freeze_with_a_row(url: str) -> None:
    sessions._SET_UP = sessions._SET_UP.replace("'15s'", "'1s'")
    with Database(url).write() as connection:
        connection.execute(text("SELECT id FROM generations FOR UPDATE"))
        os.kill(os.getpid(), signal.SIGSTOP)


def _freeze_while_writing(url: str) -> None:
    with Database(url).write():
        os.kill(os.getpid(), signal.SIGSTOP)


def _is_cancelled(ledger: Ledger, generation_id: str) -> bool:
    with suppress(LedgerUnavailable):
        return len(ledger.generations.cancel([generation_id])) == 1
    return False


def test_a_restart_of_the_server_interrupts_only_what_is_under_way(postgresql_url: str):
    ledger = Ledger(postgresql_url)
    queued(ledger)
    cut = text(
        # It waits until they have ended.
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    other = Ledger(postgresql_url)
    with other.database.write() as connection:
        connection.execute(cut)
        # A connection that waited in the pool is noticed to be dead, and replaced.
        assert len(queued(ledger)) == 1
    with pytest.raises(LedgerUnavailable, match="terminating connection"), ledger.database.write() as under_way:
        _cut_and_go_on(other, cut, under_way)
    assert len(queued(ledger)) == 1
    ledger.close()
    other.close()


def test_a_server_is_asked_whether_it_is_there_only_after_a_while(postgresql_url: str, monkeypatch: pytest.MonkeyPatch):
    ledger = Ledger(postgresql_url)
    queued(ledger)
    asked: list[object] = []
    dialect = ledger.database.engine.dialect
    monkeypatch.setattr(dialect, "do_ping", asked.append)
    monkeypatch.setattr(sessions, "_IDLE_SECONDS", 3600.0)
    queued(ledger)
    assert asked == []
    monkeypatch.setattr(sessions, "_IDLE_SECONDS", 0.0)
    queued(ledger)
    assert len(asked) == 1
    ledger.close()


def _cut_and_go_on(other: Ledger, cut: TextClause, under_way: Connection) -> None:
    with other.database.write() as connection:
        connection.execute(cut)
    under_way.execute(text("SELECT 1"))


def test_writers_of_one_file_queue_at_the_gate(sqlite_url: str):
    """In the order in which they came, as SQLite's own waiting does not; across processes too, hence a file's lock."""
    ledger = Ledger(sqlite_url)
    with Path(f"{sqlite_url.removeprefix('sqlite:///')}.lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        writer = threading.Thread(target=lambda: queued(ledger))
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        assert ledger.generations.page() == []
    writer.join(patient(10))
    assert len(ledger.generations.page()) == 1
    ledger.close()


@pytest.mark.usefixtures("durable")
def test_acknowledged_writes_survive_a_power_cut(ledger: Ledger):
    with ledger.database.write() as connection:
        if ledger.database.is_sqlite:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
        else:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"


def test_times_come_back_as_utc_whatever_zone_they_had(ledger: Ledger, clock: FakeClock):
    clock.now = datetime(2026, 11, 21, 23, 30, 0, 123456, tzinfo=timezone(timedelta(hours=9)))
    ledger.maintenance.beat("w", 1)
    (beat,) = ledger.maintenance.heartbeats()
    assert beat.seen_at == clock.now
    assert beat.seen_at.tzinfo is UTC
    assert system_clock().tzinfo is UTC


def test_after_a_fork_the_child_opens_its_own_connections(sqlite_url: str, tmp_path: Path):
    ledger = Ledger(sqlite_url)
    queued(ledger)
    pid = os.fork()
    if pid == 0:
        ledger.database.dispose()
        queued(ledger)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(ledger.generations.page()) == 2
    ledger.close()


def test_a_commit_without_an_answer_is_not_told_as_if_nothing_had_happened(postgresql_url: str, clock: FakeClock):
    with CuttingProxy(postgresql_url) as proxy:
        ledger = Ledger(proxy.url, clock)
        ledger.maintenance.ping()
        before = ledger.database.commits
        proxy.arm(Cut.COMMITTED)
        with pytest.raises(CommitUnknown, match="the changes may have been saved"):
            queued(ledger)
        assert ledger.database.commits == before + 1
        proxy.arm(Cut.LOST, "INSERT INTO generations")
        with pytest.raises(LedgerUnavailable) as caught:
            queued(ledger)
        assert ledger.database.commits == before + 1
        assert "may have been" not in str(caught.value)
        assert len(ledger.generations.page()) == 1
        ledger.close()


def test_what_is_in_use_or_opened_after_the_ledger_is_closed_is_closed_when_it_comes_back(fresh_ledger: Ledger):
    with fresh_ledger.database.read() as connection:
        used = connection.connection.dbapi_connection
        fresh_ledger.close()
        connection.exec_driver_sql("SELECT 1")
        assert is_open(used)
    assert not is_open(used)
    with fresh_ledger.database.read() as connection:
        opened_later = connection.connection.dbapi_connection
        assert is_open(opened_later), "a thread that has not heard of the end goes on"
    assert not is_open(opened_later)
