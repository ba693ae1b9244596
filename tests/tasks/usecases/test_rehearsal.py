"""An upgrade is rehearsed on a copy: the ledger stays as it is, whatever becomes of the copy."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from tasks.usecases.rehearsal import Rehearsal, RehearsalRequest, RehearsalTold, rehearse
from tests.commands import darkroom
from tests.factories import PLENTY, archived, claimed, queued, submitted, succeeded
from tests.next_version import NEXT, next_version, upgrade_by_next_version
from tests.patience import patient, wait_for
from tests.postgres import Postgres
from tests.worker.ledger.previous_tables import back_to_0035
from worker.errors import ConfigurationError
from worker.ledger import Ledger
from worker.ledger.database import REVISION
from worker.ledger.migrations import upgrade
from worker.ledger.rehearsal import open_original
from worker.settings import load_settings

pytestmark = pytest.mark.matrix

only_sqlite = pytest.mark.parametrize("blank_database_url", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("blank_database_url", ["postgresql"], indirect=True)
LATER = [f"{number:04}" for number in range(36, int(REVISION) + 1)]
NAMES = "SELECT datname FROM pg_database WHERE datname LIKE 'darkroom_rehearsal%'"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@pytest.fixture
def url(blank_database_url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger of revision 0035, with a generation in each state that matters."""
    monkeypatch.setenv("DATABASE_URL", blank_database_url)
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
    ledger = Ledger(blank_database_url)
    upgrade(ledger.database)
    archived(ledger, 3, batch="shop")
    claimed(ledger)
    submitted(ledger)
    succeeded(ledger)
    queued(ledger, 2)
    with ledger.database.write() as connection:
        back_to_0035(connection)
    ledger.close()
    return blank_database_url


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Postgres:
    return request.getfixturevalue("postgres")  # type: ignore[no-any-return]


def rehearsed(scratch: str | None = None, told: RehearsalTold | None = None) -> Rehearsal:
    return rehearse(load_settings(), RehearsalRequest(scratch), told or RehearsalTold())


def everything(url: str) -> Any:
    """All that is in it: every row of every table, and how the tables are made; of SQLite also its bytes."""
    if url.startswith("sqlite"):
        file = Path(url.removeprefix("sqlite:///"))
        return {
            one.name: hashlib.sha256(one.read_bytes()).hexdigest()
            for one in file.parent.glob(f"{file.name}*")
            # An empty log says nothing.
            if not one.name.endswith(("-shm", ".lock")) and one.stat().st_size
        }
    ledger = Ledger(url)
    try:
        with ledger.database.read() as connection:
            about = inspect(connection)
            tables = sorted(about.get_table_names())
            return {
                table: (
                    str(about.get_columns(table)),
                    sorted(map(str, connection.execute(text(f'SELECT xmin, * FROM "{table}"')))),
                )
                for table in tables
            }
    finally:
        ledger.close()


def left_behind(url: str, folder: Path) -> list[str]:
    if url.startswith("sqlite"):
        return [one.name for one in folder.iterdir()]
    ledger = Ledger(url)
    try:
        with ledger.database.read() as connection:
            return list(connection.execute(text(NAMES)).scalars())
    finally:
        ledger.close()


def test_the_copy_is_upgraded_and_the_ledger_is_not_touched(url: str, folder: Path) -> None:
    before = everything(url)
    shares: list[float] = []
    rehearsal = rehearsed(told=RehearsalTold(shares.append))
    assert rehearsal.problems == ()
    assert (rehearsal.before, rehearsal.after) == ("0035", REVISION)
    assert [one.migration.revision for one in rehearsal.migrations] == LATER
    assert rehearsal.migrations[0].migration.title.startswith("Thumbnails of stored images")
    assert all(one.seconds > 0 for one in rehearsal.migrations)
    assert rehearsal.bytes
    assert rehearsal.bytes_after
    assert rehearsal.bytes_after >= rehearsal.bytes > 100_000
    assert shares == sorted(shares)
    assert shares[-1] <= 1
    assert everything(url) == before
    assert left_behind(url, folder) == []


def test_the_copy_has_every_row_and_goes_on_numbering_them(url: str, folder: Path) -> None:
    with open_original(url).copied(lambda _: None) as copied:
        if url.startswith("postgresql"):
            of_rows = [everything(one) for one in (url, copied.url)]
            for rows in of_rows:
                for table, (columns, found) in rows.items():
                    # Which transaction wrote it is another one.
                    rows[table] = (columns, sorted(row.partition(",")[2] for row in found))
            assert of_rows[0] == of_rows[1]
        ledger = Ledger(copied.url)
        try:
            upgrade(ledger.database)
            (one,) = queued(ledger)
            counts = ledger.generations.counts()
            assert sum(counts.values()) == 9
            assert ledger.generations.get([one.id]) == [one]
            assert ledger.dispatch.run("acedata", PLENTY) == 3
        finally:
            ledger.close()
    assert left_behind(url, folder) == []


def test_others_write_while_it_is_copied(
    url: str, opened: Callable[[str], Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.ledger.rehearsal.sqlite._PAGES", 8)
    ledger, written = opened(url), []

    def write(_: float) -> None:
        if len(written) > 3:
            return
        # Anything; the tables are too old for a verb.
        with ledger.database.write(under_way=True) as connection:
            connection.execute(text("UPDATE generations SET message = :what"), {"what": "changed meanwhile"})
        written.append(True)

    with open_original(url).copied(write) as copied:
        copy = opened(copied.url)
        with copy.database.read() as connection:
            messages = set(connection.execute(text("SELECT message FROM generations")).scalars())
        copy.close()
    assert written
    assert messages == {None}


def test_a_migration_that_fails_is_named_and_the_ledger_is_not_touched(
    url: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(url)
    with next_version(tmp_path / "next", REVISION, 'op.execute("UPDATE generations SET nowhere = 1")'):
        rehearsal = rehearsed()
        done = darkroom("db", "rehearse")
        document = darkroom("db", "rehearse", "--json")
    (problem,) = rehearsal.problems
    assert problem.startswith(f"migration {NEXT} (What comes next) fails: ")
    assert "nowhere" in problem
    assert (rehearsal.after, len(rehearsal.migrations)) == (REVISION, len(LATER))
    assert done.exit_code == document.exit_code == 1
    assert problem in done.stdout.splitlines()
    assert "the upgrade from revision 0035 would fail" in done.stderr
    assert json.loads(document.stdout)["problems"] == [problem]
    assert everything(url) == before
    assert left_behind(url, folder) == []


def test_a_migration_that_stops_with_a_mistake_of_its_own_is_named(url: str, tmp_path: Path) -> None:
    with next_version(tmp_path / "next", REVISION, "1 / 0"):
        (problem,) = rehearsed().problems
    assert problem == f"migration {NEXT} (What comes next) fails: ZeroDivisionError: division by zero"


def test_what_the_new_version_could_not_read_is_found(url: str, tmp_path: Path) -> None:
    with next_version(tmp_path / "next", REVISION, 'op.drop_column("heartbeats", "revision")'):
        problems = rehearsed().problems
    assert len(problems) == 1
    assert problems[0].startswith("table heartbeats cannot be read: ")


def test_a_question_of_doctor_that_finds_no_answer_is_found(url: str, tmp_path: Path) -> None:
    state = "op.execute(\"UPDATE generations SET state = 'dreaming' WHERE state = 'queued'\")"
    with next_version(tmp_path / "next", REVISION, state):
        problems = rehearsed().problems
    assert any(one.startswith("`darkroom doctor` would not work: ") and "dreaming" in one for one in problems)


def test_a_ledger_that_needs_no_upgrade_is_not_copied(
    blank_database_url: str, folder: Path, opened: Callable[[str], Ledger], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("DATABASE_URL", blank_database_url)
    ledger = opened(blank_database_url)
    upgrade(ledger.database)
    assert not rehearsed().is_needed
    said = darkroom("db", "rehearse")
    assert (said.exit_code, said.stdout) == (0, f"the ledger is at revision {REVISION}: there is nothing to rehearse\n")
    upgrade_by_next_version(ledger, tmp_path / "next", REVISION)
    assert rehearsed() == Rehearsal(before=NEXT, after=NEXT)


def test_a_database_without_a_ledger_says_so(
    blank_database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", blank_database_url)
    said = darkroom("db", "rehearse")
    assert said.exit_code == 1
    assert "check DATABASE_URL" in said.stderr or "a database without a ledger" in said.stderr
    assert said.stderr.count("\n") == 1


def test_people_read_how_long_each_migration_took(url: str) -> None:
    said = darkroom("db", "rehearse")
    assert said.exit_code == 0
    assert [line.split()[0] for line in said.stdout.splitlines()] == LATER
    assert f"the upgrade from revision 0035 to {REVISION} succeeds: it took " in said.stderr
    assert "running migration 0036 (Thumbnails" in said.stderr


def test_without_room_for_a_copy_it_refuses(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=300_000))
    with pytest.raises(
        ConfigurationError, match=r"a rehearsal needs .*, 3 times the size of the ledger, but only 0\.3 MB are"
    ):
        rehearsed()
    assert left_behind(url, folder) == []


@pytest.mark.processes
def test_what_a_killed_rehearsal_left_is_removed_by_the_next_one(
    url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, flag = everything(url), tmp_path / "is running"
    sleeps = f"import pathlib, time; pathlib.Path({str(flag)!r}).touch(); time.sleep(600)"
    script = "\n".join(
        (
            "import pathlib, sys",
            "from tests.next_version import next_version",
            "from tasks.cli import cli",
            f"with next_version(pathlib.Path({str(tmp_path / 'next')!r}), {REVISION!r}, {sleeps!r}):",
            "    cli(['db', 'rehearse'])",
        )
    )
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(folder)})
    try:
        assert wait_for(flag.exists, 30)
        (one,) = left_behind(url, folder)
        # It is in use: nobody takes it away.
        assert rehearsed().is_ok
        assert left_behind(url, folder) == [one]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=patient(10))
    assert everything(url) == before
    assert left_behind(url, folder) == [one]
    assert wait_for(lambda: rehearsed().is_ok and left_behind(url, folder) == [], 10)


@only_sqlite
def test_damage_that_was_there_before_is_not_blamed_on_a_migration(url: str, opened: Callable[[str], Ledger]) -> None:
    ledger = opened(url)
    with ledger.database.engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("DELETE FROM attempts")
        connection.exec_driver_sql("DELETE FROM generations WHERE state = 'archived'")
        connection.exec_driver_sql("BEGIN")
    ledger.close()
    problems = rehearsed().problems
    assert problems
    assert all(one.startswith("before the upgrade: row ") for one in problems)


@only_sqlite
def test_a_ledger_that_somebody_has_left_with_its_log_is_read_whole(url: str, folder: Path) -> None:
    """As a killed process leaves it: nobody has moved the log into the file."""
    file = Path(url.removeprefix("sqlite:///"))
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute(\"UPDATE generations SET message = 'in the log'\"); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, file], check=True)
    before = everything(url)
    assert set(before) == {file.name, f"{file.name}-wal"}
    with open_original(url).copied(lambda _: None) as copied:
        copy = Ledger(copied.url)
        with copy.database.read() as connection:
            assert set(connection.execute(text("SELECT message FROM generations")).scalars()) == {"in the log"}
        copy.close()
    assert everything(url) == before


@only_sqlite
def test_the_copy_is_private(url: str, folder: Path) -> None:
    with open_original(url).copied(lambda _: None):
        (place,) = folder.iterdir()
        assert place.stat().st_mode & 0o777 == 0o700


@only_sqlite
def test_a_file_has_no_scratch_database(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--scratch is for PostgreSQL"):
        rehearsed("postgresql://localhost/scratch")


@pytest.fixture
def scratch(server: Postgres) -> Iterator[str]:
    server.create("scratch_of_somebody")
    yield server.url("scratch_of_somebody")
    server.drop("scratch_of_somebody")


@only_postgresql
def test_a_scratch_database_is_empty_before_and_after(url: str, folder: Path, scratch: str) -> None:
    before = everything(url)
    said = darkroom("db", "rehearse", "--scratch", scratch)
    assert said.exit_code == 0
    assert "copied to database scratch_of_somebody" in said.stderr
    assert everything(scratch) == {}
    assert everything(url) == before
    assert left_behind(url, folder) == []


@only_postgresql
def test_a_database_with_tables_is_no_scratch_database(url: str, scratch: str, server: Postgres) -> None:
    server.execute("CREATE TABLE orders (id integer)", "scratch_of_somebody")
    for other in (scratch, url):
        before = everything(other)
        said = darkroom("db", "rehearse", "--scratch", other)
        assert said.exit_code == 1
        assert " has tables: name an empty one, because everything in it is deleted" in said.stderr
        assert everything(other) == before


@only_postgresql
def test_what_a_killed_rehearsal_left_in_a_scratch_database_is_removed(url: str, scratch: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Whoever is killed empties nothing.
        patch.setattr("worker.ledger.rehearsal.postgresql._empty", lambda _: None)
        with open_original(url, scratch).copied(lambda _: None):
            pass
    assert "generations" in everything(scratch)
    assert rehearsed(scratch).is_ok
    assert everything(scratch) == {}


@only_postgresql
def test_a_user_who_may_not_create_databases_is_told_what_to_do(
    url: str, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.execute("DROP ROLE IF EXISTS modest")
    server.execute("CREATE ROLE modest LOGIN IN ROLE pg_read_all_data")
    try:
        monkeypatch.setenv("DATABASE_URL", url.replace("postgres@", "modest@", 1))
        said = darkroom("db", "rehearse")
        assert said.exit_code == 1
        assert "cannot create a database for the copy beside the ledger: permission denied" in said.stderr
        assert "name an empty one with --scratch" in said.stderr
        assert said.stderr.count("\n") == 1
    finally:
        server.execute("DROP ROLE modest")


@only_postgresql
def test_a_ledger_that_lacks_a_column_of_its_revision_is_not_copied(url: str, opened: Callable[[str], Ledger]) -> None:
    with opened(url).database.write(under_way=True) as connection:
        connection.execute(text("ALTER TABLE heartbeats DROP COLUMN limits"))
    with pytest.raises(ConfigurationError, match="the ledger's table heartbeats lacks the column limits"):
        rehearsed()
