"""What an error of the database means is decided by its SQLSTATE: later, a person, or these rows alone."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tests.factories import POLL_AFTER, claimed, one
from tests.postgres import Postgres, read_only
from worker.errors import ConfigurationError, LedgerUnavailable, LedgerUnfit
from worker.generation import Accepted, State
from worker.ledger import Ledger
from worker.ledger.submission import Claim, Submitted
from worker.runtime import unwritten
from worker.runtime.draining import drain

LATER = (
    "08000 08001 08003 08006 08P01 25001 25006 25P01 25P02 25P03 25P04 26000 0A000 40000 40001 40003 40P01 42P05 53000 "
    "53100 53200 53300 53400 55000 55006 55P03 57000 57014 57P01 57P02 57P03 57P04 57P05 58000 58030 58P01 72000 F0000 "
    "XX000 XX001 XX002"
)
PERSON = "0P000 28000 28P01 3D000 3F000 42501 42703 42704 42883 42P01 42P10 P0001"
ROWS = "21000 22001 22003 22021 22P02 22P05 23502 23503 23505 23514 42601 42804 54000"
#: another connection is needed
SPOILT = "25006 26000 0A000 42P05"

TABLE = [
    *((state, LedgerUnavailable) for state in LATER.split()),
    *((state, LedgerUnfit) for state in PERSON.split()),
    *((state, DBAPIError) for state in ROWS.split()),
]


@pytest.fixture(scope="module")
def server(postgres: Postgres, migrated_database: str) -> Iterator[Ledger]:
    ledger = Ledger(postgres.url(migrated_database))
    yield ledger
    ledger.close()


def pid_of(ledger: Ledger) -> int:
    with ledger.database.read() as connection:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


@pytest.mark.parametrize(("state", "meaning"), TABLE)
def test_each_sqlstate_has_its_meaning_and_only_a_spoilt_connection_is_replaced(
    server: Ledger, state: str, meaning: type[Exception]
):
    before = pid_of(server)
    with (
        pytest.raises(meaning, match=r"odd|tables are missing or outdated") as caught,
        server.database.write() as connection,
    ):
        connection.execute(text(f"DO $$BEGIN RAISE 'odd' USING ERRCODE = '{state}'; END$$"))
    assert type(caught.value) in {LedgerUnavailable, LedgerUnfit} or issubclass(meaning, DBAPIError)
    assert (pid_of(server) == before) is (state not in SPOILT.split())


def test_a_connection_whose_transaction_idles_too_long_is_replaced(server: Ledger):
    with pytest.raises(LedgerUnavailable), server.database.write() as connection:
        _idle(server, connection)
    assert pid_of(server)


def _idle(server: Ledger, connection: Connection) -> None:
    connection.execute(text("SET idle_in_transaction_session_timeout = '1ms'"))
    _until_cut(server, connection)
    connection.execute(text("SELECT 1"))


def _until_cut(server: Ledger, connection: Connection) -> None:
    pid = connection.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
    with server.database.read() as other:
        there = text(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")
        while other.execute(there).scalar_one():
            other.rollback()


def test_what_was_prepared_before_an_upgrade_works_on_another_connection(
    postgres: Postgres, migrated_database: str, postgresql_url: str
):
    ledger = Ledger(postgresql_url)

    def look() -> None:
        with ledger.database.write() as connection:
            connection.execute(text("SELECT * FROM odd")).all()

    postgres.execute("CREATE TABLE odd (a integer)", migrated_database)
    try:
        for _ in range(7):
            look()
        postgres.execute("ALTER TABLE odd ADD b integer", migrated_database)
        with pytest.raises(LedgerUnavailable, match="cached plan"):
            look()
        look()
    finally:
        ledger.close()
        postgres.execute("DROP TABLE odd", migrated_database)


@pytest.mark.parametrize(
    ("before", "statement", "meaning"),
    [
        ("PRAGMA query_only = ON", "DELETE FROM heartbeats", LedgerUnavailable),
        ("PRAGMA max_page_count = 1", "CREATE TABLE odd AS SELECT zeroblob(1000000)", LedgerUnavailable),
        ("SELECT 1", "SELECT odd FROM heartbeats", LedgerUnfit),
        ("SELECT 1", "SELECT * FROM odd", LedgerUnfit),
        ("SELECT 1", "INSERT INTO heartbeats (odd) VALUES (1)", LedgerUnfit),
        ("SELECT 1", "INSERT INTO heartbeats (worker) VALUES ('w') ON CONFLICT (pid) DO NOTHING", LedgerUnfit),
        ("SELECT 1", "SELECT FROM", DBAPIError),
        ("SELECT 1", "INSERT INTO heartbeats (worker) VALUES ('w')", DBAPIError),
    ],
)
def test_each_result_of_sqlite_has_its_meaning(sqlite_url: str, before: str, statement: str, meaning: type[Exception]):
    ledger = Ledger(sqlite_url)
    with ledger.database.read() as connection:
        connection.exec_driver_sql(before)
    with pytest.raises(meaning), ledger.database.write() as connection:
        connection.exec_driver_sql(statement)
    ledger.close()


def test_a_damaged_file_is_for_a_person(sqlite_url: str):
    path = sqlite_url.removeprefix("sqlite:///")
    with Path(path).open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)
    ledger = Ledger(sqlite_url)
    with pytest.raises(LedgerUnfit, match="malformed"):
        ledger.maintenance.ping()
    ledger.close()


def test_a_stranger_who_writes_too_long_is_for_later(sqlite_url: str):
    ledger = Ledger(sqlite_url)
    with ledger.database.read() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 1")
    stranger = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match="locked"):
        ledger.maintenance.beat("w", 1)
    stranger.close()
    ledger.close()


def test_what_a_paid_post_was_answered_waits_for_a_server_that_is_read_only(
    postgres: Postgres, migrated_database: str, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
):
    ledger, worker = Ledger(postgresql_url), Ledger(postgresql_url)
    claims = claimed(ledger, 2)
    with read_only(postgres, migrated_database):
        worker.maintenance.ping()
    assert _recorded(worker, claims, monkeypatch) > 1
    assert {one(ledger, claim.generation).state for claim in claims} == {State.SUBMITTED}
    worker.close()
    ledger.close()


def test_what_a_paid_post_was_answered_waits_for_a_column_that_comes(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    claims = claimed(ledger, 2)
    with ledger.database.write() as connection:
        connection.execute(text("ALTER TABLE attempts RENAME task_id TO later"))

    def upgrade() -> None:
        with ledger.database.write() as connection, suppress(DBAPIError):
            connection.execute(text("ALTER TABLE attempts RENAME later TO task_id"))

    try:
        assert _recorded(ledger, claims, monkeypatch, upgrade) > 1
    finally:
        with suppress(ConfigurationError, DBAPIError):
            upgrade()
    assert {one(ledger, claim.generation).state for claim in claims} == {State.SUBMITTED}


def _recorded(
    ledger: Ledger, claims: Sequence[Claim], monkeypatch: pytest.MonkeyPatch, mend: Callable[[], None] = lambda: None
) -> int:
    monkeypatch.setattr(unwritten, "_RETRY_SECONDS", 0.01)
    due, tries = [claims], list[Sequence[Submitted]]()

    def record(results: Sequence[Submitted]) -> None:
        tries.append(results)
        try:
            ledger.submissions.record(results, POLL_AFTER)
        except (LedgerUnavailable, LedgerUnfit):
            mend()
            raise

    def answered(claim: Claim) -> Submitted:
        return Submitted(claim.attempt_id, Accepted(f"task-{claim.attempt_id}"))

    drain(lambda _: due.pop() if due else [], answered, record, renew=lambda _: None, threads=4)
    return len(tries)
