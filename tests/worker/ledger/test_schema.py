"""Migrations: from nothing to the tables of `tables.py`, harmless when repeated, clear when they cannot help."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, select, text

from tests.factories import LEASE, archived, at_once, failure, new, one, queued, submitted, succeeded
from tests.worker.ledger.previous_tables import back_to_0023
from worker.errors import ConfigurationError, LedgerUnavailable
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits
from worker.ledger.migrations import check, runner, upgrade
from worker.ledger.schema import attempts, metadata

pytestmark = pytest.mark.matrix

HEAD = "0040"


@pytest.fixture
def blank(blank_database_url: str) -> Iterator[Ledger]:
    ledger = Ledger(blank_database_url)
    yield ledger
    ledger.close()


def indexes(connection: Connection) -> dict[str, str]:
    """Every index with all that it says, conditions and directions too: Alembic does not compare those."""
    if connection.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    else:
        query = (
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        )
    return {name: " ".join(sql.split()) for name, sql in connection.execute(text(query))}


def triggers(connection: Connection) -> set[str]:
    """A table that a migration copies, because SQLite cannot change it otherwise, loses its own."""
    is_sqlite = connection.dialect.name == "sqlite"
    names = (
        "name FROM sqlite_master WHERE type = 'trigger'"
        if is_sqlite
        else "tgname FROM pg_trigger WHERE NOT tgisinternal"
    )
    return set(connection.execute(text(f"SELECT {names}")).scalars())


@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_the_migrations_make_the_tables_that_the_program_expects(blank: Ledger):
    assert upgrade(blank.database) == (None, HEAD)
    with blank.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        migrated = indexes(connection)
        assert triggers(connection) == {
            f"{what}_{when}" for what in ("count", "tally") for when in ("added", "moved", "removed")
        }
    for index in (index for table in metadata.sorted_tables for index in table.indexes if index.info):
        index.dialect_options[blank.database.engine.dialect.name]["where"] = text(index.info["where"])
    with blank.database.write() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
        assert indexes(connection) == migrated


def test_a_second_upgrade_changes_nothing(blank: Ledger):
    upgrade(blank.database)
    (made,) = queued(blank)
    assert upgrade(blank.database) == (HEAD, HEAD)
    assert blank.generations.get([made.id]) == [made]
    check(blank.database)


def test_an_upgrade_keeps_what_an_older_ledger_holds(blank: Ledger):
    upgrade(blank.database)
    (claim,) = succeeded(blank, batch="b")
    with blank.database.write() as connection:
        back_to_0010(connection)
        connection.execute(text("ALTER TABLE assets DROP COLUMN content"))
        connection.execute(text("ALTER TABLE assets DROP COLUMN at_risk_at"))
        connection.execute(text("ALTER TABLE assets DROP COLUMN seconds"))
        connection.execute(text("ALTER TABLE assets DROP COLUMN source_sha256"))
        connection.execute(text("DROP INDEX ix_assets_sha256"))
        connection.execute(text("DROP INDEX ix_batches_manifest"))
        for column in ("manifest_at", "manifest_lease", "manifest_not_before"):
            connection.execute(text(f"ALTER TABLE batches DROP COLUMN {column}"))
        connection.execute(text("DROP TABLE second_looks"))
        for table in ("charges", "budgets", "durations", "deliveries", "subscribers", "gate"):
            connection.execute(text(f"DROP TABLE {table}"))
        for index in ("held", "waiting"):
            connection.execute(text(f"DROP INDEX ix_generations_{index}"))
        connection.execute(text("CREATE INDEX ix_generations_waiting ON generations (id)"))
        for column in ("speed", "version", "held", "price"):
            connection.execute(text(f"ALTER TABLE generations DROP COLUMN {column}"))
        connection.execute(text("ALTER TABLE provider_limits DROP COLUMN prices"))
        undo_accounts(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))

    assert upgrade(blank.database) == ("0001", HEAD)
    (asset,) = blank.generations.assets_of([claim.generation.id])[claim.generation.id]
    assert (asset.state, asset.content) == ("waiting", None)
    assert blank.generations.counts() == blank.generations.counts(claim.generation.batch_id) == {"succeeded": 1}


def back_to_0010(connection: Connection) -> None:
    """Nothing is counted or pruned, no flows, follow-ups are tried for ever, a generation is asked for."""
    back_to_0023(connection)
    connection.execute(text("DROP INDEX ix_assets_troubled"))
    for column in ("verified", "remark"):
        connection.execute(text(f"ALTER TABLE assets DROP COLUMN {column}"))
    for column in ("paused_at", "paused_key", "opened_at"):
        connection.execute(text(f"ALTER TABLE accounts DROP COLUMN {column}"))
    connection.execute(text("ALTER TABLE alembic_version DROP COLUMN oldest_code"))
    connection.execute(text("ALTER TABLE heartbeats DROP COLUMN revision"))
    connection.execute(text("ALTER TABLE heartbeats DROP COLUMN limits"))
    connection.execute(text("ALTER TABLE generations DROP COLUMN extras"))
    connection.execute(text("ALTER TABLE charges DROP COLUMN assumed"))
    for name in ("added", "moved", "removed"):
        on_table = "" if connection.dialect.name == "sqlite" else " ON generations"
        connection.execute(text(f"DROP TRIGGER count_{name}{on_table}"))
    for table in ("generation_counts", "generation_deltas"):
        connection.execute(text(f"DROP TABLE {table}"))
    for index in ("generations_batch_state", "generations_finished", "batches_name", "assets_free"):
        connection.execute(text(f"DROP INDEX ix_{index}"))
    connection.execute(text("CREATE INDEX ix_generations_batch ON generations (batch_id, state)"))
    connection.execute(text("DROP INDEX ix_assets_refused"))
    for column in ("reason", *(f"refused_{what}" for what in ("bytes", "sha256", "type", "why"))):
        connection.execute(text(f"ALTER TABLE assets DROP COLUMN {column}"))
    for column in ("by", "at"):
        connection.execute(text(f"ALTER TABLE assets DROP COLUMN accepted_{column}"))
    connection.execute(text("DROP TABLE prunes"))
    for index in ("deliveries_event", "callbacks_done_with", "assets_linked"):
        connection.execute(text(f"DROP INDEX ix_{index}"))
    connection.execute(text("ALTER TABLE attempts DROP COLUMN callbacks_refused"))
    for index in ("uq_batches_unfinished", "ix_batches_incomplete"):
        connection.execute(text(f"DROP INDEX {index}"))
    for column in ("unfinished", "unfinished_at"):
        connection.execute(text(f"ALTER TABLE batches DROP COLUMN {column}"))
    connection.execute(text("DROP INDEX ix_generations_follow_up_refused"))
    for column in ("tries", "error", "not_before"):
        connection.execute(text(f"ALTER TABLE generations DROP COLUMN follow_up_{column}"))
    moment = "timestamp" if connection.dialect.name == "sqlite" else "timestamptz"
    connection.execute(text("DROP INDEX ix_attempts_poll"))
    for column in (f"poll_at {moment}", "polls integer NOT NULL DEFAULT 0"):
        connection.execute(text(f"ALTER TABLE generations ADD COLUMN {column}"))
    connection.execute(text("CREATE INDEX ix_generations_poll ON generations (poll_at)"))
    looks = f"attempt_id text PRIMARY KEY, at {moment} NOT NULL, looks integer NOT NULL"
    connection.execute(text(f"CREATE TABLE second_looks ({looks})"))
    for column in ("poll_at", "polls", "candidates"):
        connection.execute(text(f"ALTER TABLE attempts DROP COLUMN {column}"))
    connection.execute(text("DROP TABLE flows"))
    connection.execute(text("UPDATE alembic_version SET version_num = '0010'"))


def undo_accounts(connection: Connection) -> None:
    """Back to one account per provider: from revision 0010 to 0008."""
    if inspect(connection).has_table("gate"):
        connection.execute(text("ALTER TABLE gate DROP COLUMN idle_since"))
    connection.execute(text("DROP TABLE accounts"))
    connection.execute(text("DROP INDEX IF EXISTS ix_generations_waiting"))
    connection.execute(text("CREATE INDEX ix_generations_waiting ON generations (id)"))
    connection.execute(text("DROP INDEX ix_generations_in_flight"))
    connection.execute(text("CREATE INDEX ix_generations_in_flight ON generations (id)"))
    for column in ("account", "pinned"):
        connection.execute(text(f"ALTER TABLE generations DROP COLUMN {column}"))
    connection.execute(text("ALTER TABLE attempts DROP COLUMN account"))
    moment = "timestamp" if connection.dialect.name == "sqlite" else "timestamptz"
    for column in ("tokens float NOT NULL DEFAULT 1", f"refilled_at {moment} NOT NULL DEFAULT '2026-01-01 00:00:00'",
                   f"paused_until {moment}", "pause_reason text"):  # fmt: skip
        connection.execute(text(f"ALTER TABLE provider_limits ADD COLUMN {column}"))


def test_after_an_upgrade_what_waits_takes_turns(blank: Ledger):
    upgrade(blank.database)
    batch, singles = queued(blank, 3, batch="b"), queued(blank, 3)
    with blank.database.write() as connection:
        back_to_0010(connection)
        # As they were lined up: the singles one after the other, some time after the batch.
        for turn, single in enumerate(singles, start=40):
            connection.execute(text(f"UPDATE generations SET turn = {turn} WHERE id = '{single.id}'"))
        connection.execute(text("UPDATE generations SET held = 'day 12345678 1' WHERE id = :id"), {"id": batch[0].id})

    assert upgrade(blank.database) == ("0010", HEAD)
    (later,) = queued(blank)
    assert blank.dispatch.run("acedata", Limits(7, 100)) == 6
    went = [claim.generation.id for claim in blank.submissions.claim(100, LEASE)]
    assert [one for one in went if one not in {it.id for it in batch}] == [*(it.id for it in singles), later.id]


def test_an_upgrade_takes_over_pauses_and_says_which_account_has_what_is_under_way(blank: Ledger):
    upgrade(blank.database)
    (under_way,) = submitted(blank)
    (parent,) = archived(blank)
    child = new(parent_id=parent)
    (follow_up,) = blank.generations.create([replace(child, request=replace(child.request, parent={"image_id": "i"}))])
    (waits,) = queued(blank)
    with blank.database.write() as connection:
        back_to_0010(connection)
        undo_accounts(connection)
        paused = "UPDATE provider_limits SET paused_until = '2126-01-01 00:00:00', pause_reason = 'no money'"
        connection.execute(text(paused))
        connection.execute(text("UPDATE alembic_version SET version_num = '0008'"))

    assert upgrade(blank.database) == ("0008", HEAD)
    assert [(it.account, it.reason) for it in blank.dispatch.throttled_accounts()] == [("default", "no money")]
    whose = [one(blank, it).account for it in (under_way, parent, waits, follow_up)]
    assert whose == ["default", "default", None, None]
    assert blank.dispatch.accounts_of([under_way.attempt_id]) == {under_way.attempt_id: "default"}
    assert [(it.account, it.waiting, it.under_way) for it in blank.dispatch.unreachable({})] == [("default", 1, 1)]


def test_an_upgrade_takes_over_who_is_asked_for_and_asks_for_those_that_were_forgotten(blank: Ledger):
    upgrade(blank.database)
    usual, timed_out, forgotten = submitted(blank, 3)
    blank.generations.apply_outcomes([failure(timed_out, reason="timeout")])
    soon, later = datetime(2126, 1, 1, tzinfo=UTC), datetime(2126, 1, 2, tzinfo=UTC)
    with blank.database.write() as connection:
        back_to_0010(connection)
        connection.execute(text("UPDATE generations SET poll_at = '2126-01-01 00:00:00', polls = 3"))
        look = "INSERT INTO second_looks VALUES (:attempt, '2126-01-02 00:00:00', 1)"
        connection.execute(text(look), {"attempt": timed_out.attempt_id})
        gone_on = text("UPDATE generations SET state = 'archived' WHERE id = :mine")
        connection.execute(gone_on, {"mine": forgotten.generation.id})
    assert upgrade(blank.database) == ("0010", HEAD)
    with blank.database.read() as connection:
        rows = {row.id: (row.poll_at, row.polls) for row in connection.execute(select(attempts))}
    assert rows == {
        usual.attempt_id: (soon, 3),
        timed_out.attempt_id: (later, 1),
        forgotten.attempt_id: (forgotten.lease_until - LEASE, 0),
    }


def test_four_upgrades_at_once_are_one(blank: Ledger):
    results = at_once(*[lambda: upgrade(blank.database)] * 4)
    assert sorted(results, key=str) == [(HEAD, HEAD)] * 3 + [(None, HEAD)]
    check(blank.database)


@pytest.mark.parametrize("blank_database_url", ["postgresql"], indirect=True)
def test_an_upgrade_waits_for_a_backup_without_keeping_others_from_the_tables(
    blank: Ledger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runner, "_LOCK_SECONDS", 1)
    monkeypatch.setattr(runner, "_PAUSE_SECONDS", 0.1)
    upgrade(blank.database)
    (made,) = queued(blank)
    with blank.database.write() as connection:
        back_to_0010(connection)
    told: SimpleQueue[str] = SimpleQueue()
    with ThreadPoolExecutor() as pool:
        with blank.database.read() as backup:
            backup.execute(text("SELECT 1 FROM generations"))
            upgrading = pool.submit(upgrade, blank.database, told.put)
            for _ in range(3):
                assert "perhaps by a backup" in told.get(timeout=60)
                with blank.database.read() as connection:
                    assert connection.execute(text("SELECT id FROM generations")).scalar_one() == made.id
        assert upgrading.result(60) == ("0010", HEAD)


@pytest.mark.parametrize("blank_database_url", ["postgresql"], indirect=True)
def test_an_upgrade_does_not_wait_for_ever_and_keeps_what_it_did(blank: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "_LOCK_SECONDS", 1)
    monkeypatch.setattr(runner, "PATIENCE_SECONDS", 0)
    upgrade(blank.database)
    with blank.database.write() as connection:
        back_to_0010(connection)
    with blank.database.read() as backup:
        # The first of the three migrations leaves that table alone.
        backup.execute(text("SELECT 1 FROM attempts"))
        with pytest.raises(ConfigurationError, match=r"in use for too long.*run `darkroom db upgrade` again"):
            upgrade(blank.database)
    assert upgrade(blank.database) == ("0011", HEAD)


def test_an_upgrade_that_stops_half_way_leaves_nothing_and_can_be_repeated(blank: Ledger):
    with blank.database.write(under_way=True) as connection:
        connection.execute(text("CREATE TABLE transitions (id INTEGER)"))
    with pytest.raises(Exception, match="transitions"):
        upgrade(blank.database)
    with blank.database.write(under_way=True) as connection:
        connection.execute(text("DROP TABLE transitions"))
    assert upgrade(blank.database) == (None, HEAD)
    assert blank.maintenance.due() == []


def test_a_ledger_without_tables_says_what_to_do(blank: Ledger):
    with pytest.raises(ConfigurationError, match="tables are missing or outdated: run `darkroom db upgrade`"):
        blank.maintenance.due()
    with pytest.raises(ConfigurationError, match="tables are missing or outdated: run `darkroom db upgrade`"):
        queued(blank)
    with pytest.raises(ConfigurationError, match=f"at revision none, not {HEAD}: run `darkroom db upgrade`"):
        check(blank.database)


def test_an_older_ledger_says_what_to_do(ledger: Ledger):
    with ledger.database.write() as connection:
        connection.execute(text("ALTER TABLE heartbeats DROP COLUMN pid"))
    try:
        with pytest.raises(ConfigurationError, match="tables are missing or outdated: run `darkroom db upgrade`"):
            ledger.maintenance.heartbeats()
    finally:
        with ledger.database.write() as connection:
            connection.execute(text("ALTER TABLE heartbeats ADD COLUMN pid INTEGER NOT NULL DEFAULT 0"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://someone:s3cret@127.0.0.1:1/darkroom", "refused"),
        ("postgresql://someone:s3cret@/darkroom?host=/nowhere", "No such file or directory"),
        ("sqlite:////nowhere/ledger.sqlite3", "No such file or directory: /nowhere/ledger.sqlite3"),
        # Not even root may write there.
        ("sqlite:////proc/ledger.sqlite3", "No such file or directory: /proc/ledger.sqlite3"),
    ],
)
def test_a_ledger_that_cannot_be_opened_says_so_without_its_password(
    opened: Callable[[str], Ledger], url: str, reason: str
):
    ledger = opened(url)
    with pytest.raises(ConfigurationError, match=rf"{reason}.*; check DATABASE_URL and DARKROOM_DATA") as caught:
        upgrade(ledger.database)
    assert "s3cret" not in str(caught.value)
    # Where only the file is missing, nobody but a person makes it.
    error, sentence = (
        (ConfigurationError, "the ledger's file does not exist")
        if "/proc/" in url
        else (LedgerUnavailable, "the ledger can")
    )
    for verb in (ledger.maintenance.ping, lambda: check(ledger.database), lambda: ledger.maintenance.beat("w", 1)):
        with pytest.raises(error, match=f"^{sentence}") as caught:
            verb()
        assert "s3cret" not in str(caught.value)


def test_a_ledger_in_a_folder_with_odd_characters_works(opened: Callable[[str], Ledger], tmp_path: Path):
    folder = tmp_path / "50% of ünï #1"
    folder.mkdir()
    ledger = opened(f"sqlite:///{folder / 'ledger.sqlite3'}")
    upgrade(ledger.database)
    assert len(queued(ledger)) == 1


def test_a_file_that_is_no_database_says_so(opened: Callable[[str], Ledger], tmp_path: Path):
    (tmp_path / "notes.txt").write_text("dear diary, " * 1000)
    ledger = opened(f"sqlite:///{tmp_path / 'notes.txt'}")
    for verb in (ledger.maintenance.ping, lambda: queued(ledger), lambda: upgrade(ledger.database)):
        with pytest.raises(ConfigurationError, match="file is not a database; check DATABASE_URL"):
            verb()
    assert (tmp_path / "notes.txt").read_text().startswith("dear diary")


def test_a_folder_where_the_file_should_be_says_so(opened: Callable[[str], Ledger], tmp_path: Path):
    with pytest.raises(ConfigurationError, match="unable to open database file; check DATABASE_URL and DARKROOM_DATA"):
        upgrade(opened(f"sqlite:///{tmp_path}").database)
