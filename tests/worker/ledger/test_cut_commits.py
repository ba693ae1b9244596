"""The connection is lost at the COMMIT of each verb that writes, and its caller goes on as if nothing had happened."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from tests.clock import FakeClock
from tests.cutting_proxy import Cut, CuttingProxy
from tests.postgres import Postgres
from tests.worker.ledger.cut_stories import STORIES, Ending, Process
from worker.errors import LedgerUnavailable
from worker.ledger import Ledger
from worker.ledger.schema import metadata

#: those that are no transaction: each is committed by its only statement
ALONE = {
    "access.end_session": "UPDATE sessions",
    "access.keep_rehashed": "UPDATE users",
    "access.note_session_use": "UPDATE sessions",
    "access.note_token_use": "UPDATE api_tokens",
    "access.record_action": "INSERT INTO actions",
    "access.record_answer": "UPDATE actions",
    "callbacks.store": "INSERT INTO callbacks",
}
OTHERS_ARE_AT_WORK = text(
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND xact_start IS NOT NULL AND backend_type = 'client backend'"
)


def writes(part: Any, verb: str) -> bool:
    """Whether it, or what it calls of its own part, begins a transaction that writes."""
    source = inspect.getsource(getattr(part, verb))
    if "_database.write(" in source:
        return True
    own = set(re.findall(r"self\.(\w+)", source)) - {verb}
    return any(writes(part, other) for other in own if hasattr(part, other))


def verbs_that_write() -> list[str]:
    ledger = Ledger("sqlite:////nowhere")
    parts = {name: type(part) for name, part in vars(ledger).items() if name != "database"}
    return [
        f"{name}.{verb}"
        for name, part in parts.items()
        for verb, _ in inspect.getmembers(part, inspect.isfunction)
        if not verb.startswith("_") and writes(part, verb)
    ]


VERBS = verbs_that_write()


@dataclass
class Undisturbed:
    ending: Ending
    verbs: set[str]


@pytest.fixture(scope="module")
def proxy(postgres: Postgres, migrated_database: str) -> Iterator[CuttingProxy]:
    with CuttingProxy(postgres.url(migrated_database)) as running:
        yield running


@pytest.fixture(scope="module")
def shared_ledger(proxy: CuttingProxy) -> Iterator[Ledger]:
    """One for all: to build its statements anew takes longer than a story."""
    ledger = Ledger(proxy.url)
    yield ledger
    ledger.close()


@pytest.fixture(scope="module")
def undisturbed(shared_ledger: Ledger) -> Mapping[str, Undisturbed]:
    """How each story ends without a cut."""
    found = {}
    for story in STORIES:
        verbs: set[str] = set()

        @contextmanager
        def noted(verb: str, verbs: set[str] = verbs) -> Iterator[None]:
            verbs.add(verb)
            yield

        process = begin(shared_ledger, noted)
        story(process)
        found[story.__name__] = Undisturbed(process.ending(), verbs)
    return found


def begin(ledger: Ledger, around: Callable[[str], AbstractContextManager[None]]) -> Process:
    """With no rows, at noon."""
    with ledger.database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    ledger.database.clock = clock = FakeClock()
    return Process(ledger, clock, around)


@pytest.mark.system
@pytest.mark.parametrize("cut", [Cut.COMMITTED, Cut.LOST])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_whose_commit_was_cut_is_repeated_without_harm(
    shared_ledger: Ledger, proxy: CuttingProxy, undisturbed: Mapping[str, Undisturbed], verb: str, cut: Cut
):
    story = next(story for story in STORIES if verb in undisturbed[story.__name__].verbs)
    # At its first use and at each second one, later less and less often: what is repeated comes through.
    cuts = spare = 0

    @contextmanager
    def now_and_then(called: str) -> Iterator[None]:
        nonlocal cuts, spare
        if called != verb or spare:
            spare -= called == verb
            yield
            return
        proxy.arm(cut, ALONE.get(verb, "COMMIT"))
        try:
            yield
        except LedgerUnavailable:
            cuts, spare = cuts + 1, max(1, cuts - 3)
            # What the server has not got is rolled back a moment later; callers wait for longer than this test.
            with shared_ledger.database.read() as connection:
                while connection.execute(OTHERS_ARE_AT_WORK).first():
                    connection.rollback()
            raise
        finally:
            proxy.disarm()

    process = begin(shared_ledger, now_and_then)
    story(process)
    assert cuts
    assert process.ending() == undisturbed[story.__name__].ending


def test_each_verb_that_writes_has_a_story(undisturbed: Mapping[str, Undisturbed]):
    used = {verb for story in undisturbed.values() for verb in story.verbs}
    assert not set(VERBS) - used, "tell in tests/worker/ledger/cut_stories.py what the callers of these do"


def test_undisturbed_everything_is_told_and_nothing_is_left_to_do(undisturbed: Mapping[str, Undisturbed]):
    for story in undisturbed.values():
        assert (story.ending.untold, story.ending.due) == (frozenset(), frozenset())
        assert {state for _, state in story.ending.generations} <= {"archived", "cancelled", "deleted"}
        assert not story.ending.money.get("reserved")
