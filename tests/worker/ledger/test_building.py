"""Indexes that migrations build while the ledger is at work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from tests.factories import queued
from tests.next_version import upgrade_by_next_version
from worker.generation import State
from worker.ledger import Ledger, migrations
from worker.ledger.database import REVISION

pytestmark = pytest.mark.matrix

BUILD = 'create_index("ix_generations_prompt", "generations", ["prompt"])'
THE_INDEX = "indexrelid = 'ix_generations_prompt'::regclass"
IS_BUILDING = text("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND state = 'active'")


@pytest.fixture
def blank(blank_database_url: str, opened: Callable[[str], Ledger]) -> Ledger:
    return opened(blank_database_url)


@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_an_index_is_built_in_a_ledger_that_is_there(blank: Ledger, tmp_path: Path):
    migrations.upgrade(blank.database)
    queued(blank)
    upgrade_by_next_version(blank, tmp_path, REVISION, BUILD)
    with blank.database.read() as connection:
        assert "ix_generations_prompt" in {one["name"] for one in inspect(connection).get_indexes("generations")}


def test_in_a_new_ledger_it_is_part_of_the_only_transaction(blank: Ledger, tmp_path: Path):
    upgrade_by_next_version(blank, tmp_path, REVISION, BUILD)
    assert len(queued(blank)) == 1


@pytest.mark.parametrize("blank_database_url", ["postgresql"], indirect=True)
def test_what_stopped_half_way_is_built_anew(blank: Ledger, tmp_path: Path):
    migrations.upgrade(blank.database)
    with blank.database.write() as connection:
        connection.execute(text("CREATE INDEX ix_generations_prompt ON generations (key)"))
        connection.execute(text(f"UPDATE pg_index SET indisvalid = false WHERE {THE_INDEX}"))
    upgrade_by_next_version(blank, tmp_path, REVISION, BUILD)
    with blank.database.read() as connection:
        built = connection.execute(
            text(f"SELECT indisvalid, pg_get_indexdef(indexrelid) FROM pg_index WHERE {THE_INDEX}")
        )
        assert tuple(built.one()) == (
            True,
            "CREATE INDEX ix_generations_prompt ON public.generations USING btree (prompt)",
        )


@pytest.mark.parametrize("blank_database_url", ["postgresql"], indirect=True)
def test_others_write_while_it_waits_for_one_that_takes_long(
    blank: Ledger, tmp_path: Path, opened: Callable[[str], Ledger]
):
    migrations.upgrade(blank.database)
    queued(blank)
    other = opened(blank.database.url)
    with ThreadPoolExecutor() as pool:
        with other.database.write() as slow:
            slow.execute(text("UPDATE generations SET priority = 1"))
            building = pool.submit(upgrade_by_next_version, blank, tmp_path, REVISION, BUILD)
            with other.database.read() as connection:
                while not connection.execute(IS_BUILDING).first():
                    assert not building.done()
                    connection.rollback()
                    # That transaction must not be idle for long.
                    slow.execute(text("SELECT pg_sleep(0.01)"))
            assert not building.done()
            queued(other)
        building.result()
    assert other.generations.counts() == {State.QUEUED: 2}
