"""The ledger by way of PgBouncer, whose sessions change from one transaction to the next."""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial

import psycopg
import pytest
from sqlalchemy import text

from tests.commands import darkroom
from tests.factories import LEASE, POLL_AFTER, PROVIDER, accepted, at_once, delivery, queued, submitted, success
from tests.machines import machine
from tests.postgres import Postgres
from tests.system.pgbouncer import pgbouncer
from tests.worker.ledger.test_database import ENDS
from worker.errors import LedgerUnavailable
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits
from worker.ledger.migrations import check, upgrade
from worker.ledger.submission import Submitted

pytestmark = pytest.mark.system

PLENTY = Limits(10_000, 10_000)


@pytest.fixture(scope="module", params=["transaction", "session"])
def bounced(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Postgres]:
    with pgbouncer(postgres, request.param) as through:
        yield through


@pytest.fixture
def url(bounced: Postgres, migrated_database: str, postgresql_url: str) -> str:
    """An empty ledger; the fixtures that make it have gone to the server itself."""
    assert migrated_database in postgresql_url
    return bounced.url(migrated_database)


def test_processes_that_share_few_sessions_do_all_kinds_of_work(url: str, opened: Callable[[str], Ledger]):
    """Each statement often enough to be prepared, where that is not left off."""

    def work(ledger: Ledger) -> None:
        for number in range(30):
            queued(ledger)
            ledger.dispatch.run(PROVIDER, PLENTY)
            claims = ledger.submissions.claim(2, LEASE)
            ledger.submissions.record([Submitted(one.attempt_id, accepted(one)) for one in claims], POLL_AFTER)
            ledger.callbacks.store([delivery(one.attempt_id, body=str(number).encode()) for one in claims])
            ledger.generations.apply_outcomes([success(one) for one in claims])
            ledger.maintenance.due()
            ledger.maintenance.beat("w", number)

    results = at_once(*[partial(work, opened(url)) for _ in range(8)])
    assert results == [None] * 8
    assert opened(url).generations.counts() == {State.SUCCEEDED: 240}


def test_its_time_outs_hold_in_every_transaction_and_in_nobody_elses(url: str, opened: Callable[[str], Ledger]):
    ledger = opened(url)
    assert ledger.database.is_pooled
    for begin in (ledger.database.write, ledger.database.read, lambda: ledger.database.write(alone=True)):
        for _ in range(3):
            with begin() as connection:
                held = {name: connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in ENDS}
            assert held == ENDS
    with psycopg.connect(url, autocommit=True) as stranger:
        assert stranger.execute("SHOW statement_timeout").fetchone() == ("0",)
        assert stranger.execute("SHOW lock_timeout").fetchone() == ("0",)


def test_a_row_that_is_held_too_long_is_given_up(url: str, opened: Callable[[str], Ledger]):
    ledger, other = opened(url), opened(url)
    (made,) = queued(ledger)
    with ledger.database.write() as connection:
        connection.execute(text("SELECT id FROM generations FOR UPDATE"))
        with pytest.raises(LedgerUnavailable, match="lock timeout"):
            other.generations.cancel([made.id])


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(minutes=-10)])
def test_the_time_is_the_servers(url: str, ahead: timedelta):
    with closing(machine(url, ahead)) as ledger:
        # Not the clock first: it waits 2 s for the server, which may take longer on a busy machine.
        with ledger.database.read() as connection:
            told = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        assert abs(ledger.database.clock() - told) < timedelta(seconds=20)
        assert abs(ledger.database.local_error - ahead) < timedelta(seconds=20)


def test_a_ledger_is_upgraded_through_it_also_by_several_at_once(
    postgres: Postgres, bounced: Postgres, opened: Callable[[str], Ledger]
):
    name = f"darkroom_{secrets.token_hex(6)}"
    postgres.create(name)
    ledgers = [opened(bounced.url(name)) for _ in range(4)]
    results = at_once(*[partial(upgrade, ledger.database) for ledger in ledgers])
    assert [result for result in results if isinstance(result, BaseException)] == []
    check(ledgers[0].database)
    assert len(submitted(ledgers[0])) == 1
    for ledger in ledgers:
        ledger.close()
    postgres.drop(name)


def test_doctor_says_that_a_pooler_is_there(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    found = {one["check"]: one for one in json.loads(darkroom("doctor", "--json").stdout)["checks"]}
    assert found["ledger"]["verdict"] == "ok"
    assert found["ledger"]["message"].startswith("PostgreSQL through a pooler")
