"""Everything that can happen to generations, in any order that Hypothesis can think of; and money is spent once.

After each step the ledger must be as `model` says, and keep the promises of `holding`; what is due must be found again.
`make test TEST_FLAGS="-n 0 --hypothesis-profile long tests/worker/ledger/test_model.py"` looks for some minutes instead
of seconds.
"""

import shutil
from collections.abc import Iterator
from itertools import count
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import event

from tests.examples import examples, is_long
from tests.factories import PROVIDER
from tests.postgres import Postgres
from tests.worker.ledger import holding
from tests.worker.ledger.world import STEPS, World
from worker.ledger import Ledger
from worker.ledger.flows import find_strays
from worker.ledger.schema import ANY_ACCOUNT, metadata

pytestmark = [pytest.mark.timeout(3600)] if is_long() else []


class Machine(RuleBasedStateMachine):
    ledgers: ClassVar[tuple[Ledger, Ledger]]
    numbers: ClassVar[Iterator[int]]

    @initialize(data=st.data())
    def begin(self, data: Any) -> None:
        Machine.numbers = count()
        with self.ledgers[0].database.write() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        self.seen = holding.Seen()
        self.world = World(self.ledgers, data.draw)
        self.world.create()
        self.world.submit()

    # One rule for all steps: of many, Hypothesis leaves some out in each run, and few runs would get anywhere.
    @rule(data=st.data())
    def something_happens(self, data: Any) -> None:
        self.world._draw = data.draw
        self.world.choose_machine()
        possible = [done for done, when in STEPS if when(self.world)]
        data.draw(st.sampled_from(possible), "what happens")(self.world)

    @invariant()
    def all_promises_are_kept(self) -> None:
        self.world.model.look_at_batches()
        with self.world.ledger.database.read() as connection:
            assert find_strays(connection, PROVIDER, [ANY_ACCOUNT, "default", "shop"]) == [], "not in the line"
        now = holding.look(self.world.ledger, self.seen)
        for promise in holding.PROMISES:
            promise(now, self.world.model)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.goes_on()


class OnSqlite(Machine):
    pass


class OnPostgresql(Machine):
    pass


@pytest.fixture(scope="module", autouse=True)
def same_names_each_time() -> Iterator[None]:
    """The same example must take the same course each time, and the random part of an id decides who goes first."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("create", "creation"):
            patch.setattr(
                f"worker.ledger.generations.{module}.new_id", lambda prefix, _: f"{prefix}_{next(Machine.numbers):09}"
            )
        yield


@pytest.fixture(scope="class", autouse=True)
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One database for all examples: emptying it is much quicker than making it."""
    if request.cls is TestOnSqlite:
        path = shutil.copy(request.getfixturevalue("migrated_file"), tmp_path_factory.mktemp("model"))
        OnSqlite.ledgers = ledgers = (Ledger(f"sqlite:///{path}"), Ledger(f"sqlite:///{path}"))
        for ledger in ledgers:
            # No machine fails while this runs, and waiting for the disk is half of the time.
            event.listen(ledger.database.engine, "connect", lambda one, _: one.execute("PRAGMA synchronous=OFF"))
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.url(request.getfixturevalue("migrated_database"))
        OnPostgresql.ledgers = ledgers = (Ledger(url), Ledger(url))
    yield
    for ledger in ledgers:
        ledger.close()


def profile(number: int) -> settings:
    return settings(
        max_examples=examples(number),
        stateful_step_count=50,
        suppress_health_check=list(HealthCheck),
    )


TestOnSqlite = OnSqlite.TestCase
TestOnSqlite.settings = profile(50)
TestOnPostgresql = OnPostgresql.TestCase
TestOnPostgresql.settings = profile(8)
