"""What concerns very many is done a few at a time: others write in between, and nobody sees half a batch."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, event, func, select

from tests.clock import FakeClock
from tests.computer import eventually
from tests.cutting_proxy import Cut, CuttingProxy
from tests.factories import PLENTY, PROVIDER, at_once, delivery, failure, flat, new, one, queued, submitted
from worker.errors import CommitUnknown, LedgerUnavailable, NotFound, RequestInvalid
from worker.generation import Generation, State
from worker.ledger import Ledger
from worker.ledger.database import Database, bites
from worker.ledger.generations import NewGeneration, create, unfinished
from worker.ledger.generations.unfinished import ABANDONED, STALLED, BeingWritten
from worker.ledger.schema import batches, callbacks, flows, generations, transitions

pytestmark = pytest.mark.matrix

BITE, MANY = 5, 33
INSERT = "INSERT INTO generations"


class Killed(BaseException):
    """Nothing of ours catches it, so what follows is what a process leaves that is killed."""


@pytest.fixture(autouse=True)
def small_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in ("FIRST", "LEAST", "MOST"):
        monkeypatch.setattr(bites, size, BITE)
    monkeypatch.setattr(bites, "PAUSE", 0.01)


def many(count: int = MANY, prefix: str = "k", **facts: object) -> list[NewGeneration]:
    return [new(f"fox {number}", key=f"{prefix}{number:04}", **facts) for number in range(count)]


@contextmanager
def at_statement(ledger: Ledger, start: str, number: int, act: Callable[[], None]) -> Iterator[None]:
    """Call `act` before the statement that begins so is executed for the `number`th time."""
    seen = 0

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal seen
        seen += statement.startswith(start)
        if seen == number and statement.startswith(start):
            act()

    event.listen(ledger.database.engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(ledger.database.engine, "before_cursor_execute", look)


def die() -> None:
    raise Killed


def killed(ledger: Ledger, wanted: list[NewGeneration], *, at: int = 4, batch: str = "big") -> None:
    """Write the batch down until the process dies in its `at`th transaction."""
    with at_statement(ledger, INSERT, at, die), pytest.raises(Killed):
        ledger.generations.create(wanted, batch)


def between_two_transactions(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Once, after the second one that writes a part of a batch."""
    left = [act]

    def watched(database: Database, items: Sequence[Any]) -> Iterator[tuple[Sequence[Any], bool]]:
        for number, bite in enumerate(bites.in_bites(database, items)):
            if number == 2 and left:
                left.pop()()
            yield bite

    monkeypatch.setattr(create, "in_bites", watched)


def rows(ledger: Ledger, table: Table = generations) -> int:
    with ledger.database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def nobody_sees_anything(ledger: Ledger) -> None:
    assert ledger.generations.page() == ledger.generations.page(batch="big") == []
    assert ledger.generations.page(state=State.QUEUED) == []
    assert ledger.generations.counts() == {}
    assert ledger.maintenance.due() == []


# --- each transaction is short ---


@contextmanager
def changed_at_once(ledger: Ledger) -> Iterator[list[int]]:
    """How many generations each transaction has made or moved, one after the other."""
    written: list[int] = [0]

    def count(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO transitions"):
            written[-1] += cursor.rowcount

    def end(_connection: object) -> None:
        written.append(0)

    engine = ledger.database.engine
    event.listen(engine, "after_cursor_execute", count)
    event.listen(engine, "commit", end)
    try:
        yield written
    finally:
        event.remove(engine, "after_cursor_execute", count)
        event.remove(engine, "commit", end)


def test_create_cancel_and_retry_write_few_rows_in_each_transaction(ledger: Ledger):
    with changed_at_once(ledger) as written:
        made = ledger.generations.create(many(), "big")
    assert (max(written), sum(written)) == (BITE, MANY)
    ids = [generation.id for generation in made]
    with changed_at_once(ledger) as written:
        ledger.generations.cancel(ids)
    assert (max(written), sum(written)) == (BITE, MANY)
    claims = submitted(ledger, MANY)
    ledger.generations.apply_outcomes([failure(claim) for claim in claims])
    with changed_at_once(ledger) as written:
        ledger.generations.retry([claim.generation.id for claim in claims])
    assert (max(written), sum(written)) == (BITE, MANY)


@pytest.mark.parametrize("verb", ["create", "cancel", "retry"])
def test_callbacks_are_stored_between_two_transactions(ledger: Ledger, database_url: str, verb: str):
    """Seen by their order: a receiver, another process, stores one after the other while the verb is at work."""
    count = 60
    wanted: list[str] = []
    if verb == "cancel":
        wanted = [generation.id for generation in queued(ledger, count)]
    elif verb == "retry":
        claims = submitted(ledger, count)
        ledger.generations.apply_outcomes([failure(claim) for claim in claims])
        wanted = [claim.generation.id for claim in claims]
    happened: list[str] = []
    is_over = threading.Event()

    def receive(receiver: Ledger) -> None:
        number = 0
        while not is_over.is_set():
            receiver.callbacks.store([delivery(f"{number:032x}", b"{}", str(number))])
            happened.append("callback")
            number += 1

    def transaction(_connection: object) -> None:
        happened.append(verb)

    def next_transaction(_connection: object) -> None:
        # On a busy machine the receiver may not get a turn by itself. On SQLite, the verb itself has to leave it one.
        if not ledger.database.is_sqlite and happened and happened[-1] == verb:
            eventually(lambda: happened[-1] == "callback", 10)

    with closing(Ledger(database_url)) as receiver:
        thread = threading.Thread(target=receive, args=(receiver,))
        event.listen(ledger.database.engine, "begin", next_transaction)
        event.listen(ledger.database.engine, "commit", transaction)
        thread.start()
        try:
            if verb == "create":
                ledger.generations.create(many(count), "big")
            else:
                getattr(ledger.generations, verb)(wanted)
        finally:
            is_over.set()
            thread.join()
            event.remove(ledger.database.engine, "commit", transaction)
            event.remove(ledger.database.engine, "begin", next_transaction)
    first, last = happened.index(verb), len(happened) - 1 - happened[::-1].index(verb)
    assert happened.count(verb) >= count / BITE
    assert "callback" in happened[first:last]
    assert rows(ledger, callbacks) == happened.count("callback")


# --- a batch is there when all of it is ---


def test_nobody_sees_a_batch_before_its_last_transaction(ledger: Ledger, database_url: str):
    looks = 0

    def look(_connection: object) -> None:
        nonlocal looks
        looks += 1
        nobody_sees_anything(other)

    with closing(Ledger(database_url, ledger.database.clock)) as other:
        # Before each COMMIT, what the ones before have written is there.
        event.listen(ledger.database.engine, "commit", look)
        made = ledger.generations.create(many(), "big")
        event.remove(ledger.database.engine, "commit", look)
    assert looks >= MANY / BITE
    assert [generation.prompt for generation in made] == [f"fox {number}" for number in range(MANY)]
    assert ledger.generations.get([generation.id for generation in made]) == made
    assert [generation.id for generation in ledger.generations.page(batch="big")] == [it.id for it in reversed(made)]
    assert rows(ledger, transitions) == MANY
    assert ledger.maintenance.due() == ["dispatch"]
    assert ledger.dispatch.run(PROVIDER, PLENTY) == MANY


@pytest.mark.parametrize("keyless", [True, False])
def test_what_a_killed_command_has_left_is_not_dispatched_and_hinders_nobody(ledger: Ledger, *, keyless: bool):
    killed(ledger, [new(f"fox {number}") for number in range(MANY)] if keyless else many())
    nobody_sees_anything(ledger)
    assert rows(ledger) == 3 * BITE
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    assert rows(ledger, flows) == 0
    (single,) = queued(ledger)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 1
    assert [generation.id for generation in ledger.generations.page()] == [single.id]


@pytest.mark.parametrize("at", [1, 2, 4, 7])
def test_the_same_command_completes_it_and_creates_nothing_twice(ledger: Ledger, at: int):
    killed(ledger, many(), at=at, batch="2026-11-21-120000")
    made = ledger.generations.create(many(), "big")
    assert [generation.prompt for generation in made] == [f"fox {number}" for number in range(MANY)]
    assert ledger.generations.get([generation.id for generation in made]) == made
    assert (rows(ledger), rows(ledger, transitions), rows(ledger, batches)) == (MANY, MANY, 1)
    assert len(ledger.generations.page(batch="big")) == MANY
    assert ledger.generations.create(many(), "big") == made
    assert ledger.dispatch.run(PROVIDER, PLENTY) == MANY


@pytest.mark.processes
def test_a_process_that_is_killed_leaves_nothing_to_see_and_the_next_completes_it(ledger: Ledger, database_url: str):
    code = (
        "from tests.worker.ledger.test_bites import *; bites.FIRST = bites.LEAST = bites.MOST = 5; "
        f"bites.PAUSE = 0.05; Ledger({database_url!r}).generations.create(many(400), 'big')"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        eventually(lambda: rows(ledger) >= 3 * BITE, seconds=60)
        process.kill()
    assert BITE <= rows(ledger) < 400
    nobody_sees_anything(ledger)
    made = ledger.generations.create(many(400), "big")
    assert len(made) == rows(ledger) == len(ledger.generations.page(batch="big", limit=1000)) == 400


@pytest.mark.parametrize("cut", [Cut.COMMITTED, pytest.param(Cut.LOST, marks=pytest.mark.system)])
@pytest.mark.parametrize("at", range(1, MANY // BITE + 2))
def test_any_of_its_commits_may_be_cut(ledger_on_server: Ledger, proxy: CuttingProxy, at: int, cut: Cut):
    with at_statement(ledger_on_server, INSERT, at, lambda: proxy.arm(cut)), pytest.raises(CommitUnknown):
        ledger_on_server.generations.create(many(), "big")
    made = ledger_on_server.generations.create(many(), "big")
    assert len(made) == rows(ledger_on_server) == rows(ledger_on_server, transitions) == MANY
    assert len({generation.batch_id for generation in made}) == rows(ledger_on_server, batches) == 1
    assert ledger_on_server.dispatch.run(PROVIDER, PLENTY) == MANY


@pytest.fixture
def proxy(postgresql_url: str) -> Iterator[CuttingProxy]:
    with CuttingProxy(postgresql_url) as running:
        yield running


@pytest.fixture
def ledger_on_server(proxy: CuttingProxy) -> Iterator[Ledger]:
    with closing(Ledger(proxy.url)) as ledger:
        yield ledger


def test_a_key_of_another_request_refuses_all_of_it_and_nothing_is_written(ledger: Ledger):
    ledger.generations.create([new("an owl", key="k0032")])
    with pytest.raises(RequestInvalid, match="'k0032' already belongs to"):
        ledger.generations.create(many(), "big")
    assert (rows(ledger), rows(ledger, batches)) == (1, 0)


def test_so_does_one_that_somebody_else_takes_while_it_is_written(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    between_two_transactions(monkeypatch, lambda: queued(ledger, key="k0032"))
    with pytest.raises(RequestInvalid, match="'k0032' already belongs to"):
        ledger.generations.create(many(), "big")
    assert (rows(ledger), rows(ledger, transitions), rows(ledger, batches)) == (1, 1, 0)


def test_one_key_twice_in_a_large_batch_is_one_generation(ledger: Ledger):
    wanted = many()
    made = ledger.generations.create([*wanted, wanted[0]], "big")
    assert made[-1] == made[0]
    assert (len(made), rows(ledger)) == (MANY + 1, MANY)
    with pytest.raises(RequestInvalid, match="'j0000'"):
        ledger.generations.create([*many(prefix="j"), new("an owl", key="j0000")], "more")
    assert rows(ledger) == MANY


def test_those_that_are_there_stay_in_their_batch(ledger: Ledger):
    first = ledger.generations.create(many(), "big")
    both = ledger.generations.create(many(2 * MANY), "bigger")
    assert both[:MANY] == first
    assert len(ledger.generations.page(batch="bigger", limit=100)) == MANY
    assert ledger.generations.counts() == {State.QUEUED: 2 * MANY}


def test_eight_who_write_the_same_large_batch_at_once_write_it_once(ledger: Ledger):
    results = at_once(*[lambda: repeated(ledger, many(), "big")] * 8)
    assert len({generation.id for generation in flat(results)}) == rows(ledger) == MANY
    assert rows(ledger, batches) == 1
    assert ledger.dispatch.run(PROVIDER, PLENTY) == MANY


def repeated(ledger: Ledger, wanted: list[NewGeneration], batch: str) -> list[Generation]:
    """As the command does, until the ledger takes it."""
    found: list[list[Generation]] = []

    def create() -> bool:
        try:
            found.append(ledger.generations.create(wanted, batch))
        except LedgerUnavailable:
            return False
        return True

    eventually(create, seconds=60)
    return found[0]


def test_who_needs_the_keys_of_an_unfinished_batch_waits_and_takes_over_what_stands_still(
    ledger: Ledger, clock: FakeClock
):
    killed(ledger, many())
    other = [new("an owl", key="k0001"), *many(20, prefix="o")]
    for wanted in (other, other[:1]):
        with pytest.raises(BeingWritten, match="with some of the same keys, or to the same batch, is being written"):
            ledger.generations.create(wanted, "other")
    nobody_sees_anything(ledger)
    clock.now += STALLED
    assert len(ledger.generations.create(other, "other")) == 21
    # The first one lives and goes on: its key is taken now.
    with pytest.raises(RequestInvalid, match="'k0001' already belongs to"):
        ledger.generations.create(many(), "big")
    assert (rows(ledger), rows(ledger, batches)) == (21, 1)


@pytest.mark.parametrize(("in_one_pass", "passes"), [(1000, 2), (1000, 1), (4, 1)], ids=["gone", "emptied", "in part"])
def test_who_lives_and_was_given_up_begins_once_more(
    ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, in_one_pass: int, passes: int
):
    monkeypatch.setattr(unfinished, "_IN_ONE_PASS", in_one_pass)

    def sweep() -> None:
        clock.now += ABANDONED
        for _ in range(passes):
            ledger.generations.remove_abandoned()
        assert rows(ledger) < 2 * BITE

    between_two_transactions(monkeypatch, sweep)
    made = ledger.generations.create(many(), "big")
    assert len(made) == rows(ledger) == len(ledger.generations.page(batch="big")) == MANY


def test_dispatchers_at_work_meanwhile_let_nothing_go_of_half_a_batch(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    queued(ledger, 3)

    def dispatch() -> None:
        assert ledger.dispatch.run(PROVIDER, PLENTY) == 3

    between_two_transactions(monkeypatch, dispatch)
    ledger.generations.create(many(), "big")
    assert ledger.dispatch.run(PROVIDER, PLENTY) == MANY


def test_what_nobody_completes_is_removed_and_a_finished_batch_never(ledger: Ledger, clock: FakeClock):
    made = ledger.generations.create(many(prefix="done"), "done")
    killed(ledger, many())
    clock.now += ABANDONED - timedelta(seconds=1)
    ledger.generations.remove_abandoned()
    assert rows(ledger) == MANY + 3 * BITE
    clock.advance(1)
    for _ in range(3):
        ledger.generations.remove_abandoned()
    assert ledger.generations.page() == made[::-1]
    assert (rows(ledger), rows(ledger, transitions), rows(ledger, batches)) == (MANY, MANY, 1)


def test_what_a_clock_has_dated_ahead_is_removed_too(ledger: Ledger, clock: FakeClock):
    clock.advance(days=365)
    killed(ledger, many())
    clock.advance(days=-365)
    for _ in range(2):
        ledger.generations.remove_abandoned()
    assert (rows(ledger), rows(ledger, batches)) == (0, 0)


# --- each decision stands by itself ---


def cancel_until_it_breaks(ledger: Ledger, ids: list[str], at: int) -> str:
    def break_off() -> None:
        raise LedgerUnavailable("the ledger cannot be used now: it burns")

    with at_statement(ledger, "UPDATE generations", at, break_off), pytest.raises(LedgerUnavailable) as raised:
        ledger.generations.cancel(ids)
    return str(raised.value)


def test_a_failure_in_the_middle_says_how_many_are_done_and_the_same_command_does_the_rest(ledger: Ledger):
    ids = [generation.id for generation in queued(ledger, MANY)]
    assert cancel_until_it_breaks(ledger, ids, 1) == "the ledger cannot be used now: it burns"
    assert cancel_until_it_breaks(ledger, ids, 3) == (
        f"the ledger cannot be used now: it burns; {2 * BITE} of {MANY} are done: repeat the command for the rest; "
        "nothing is done twice"
    )
    assert [one(ledger, generation_id).state for generation_id in ids[: 2 * BITE]] == [State.CANCELLED] * 2 * BITE
    assert ledger.generations.cancel(ids) == dict.fromkeys(ids, State.CANCELLED)
    assert rows(ledger, transitions) == 2 * MANY


def test_an_unknown_one_at_the_end_of_many_is_named_before_anything_is_done(ledger: Ledger):
    ids = [generation.id for generation in queued(ledger, MANY)]
    for verb in (ledger.generations.cancel, ledger.generations.retry):
        with pytest.raises(NotFound, match="gen_nobody"):
            verb([*ids, "gen_nobody"])
    assert ledger.generations.counts() == {State.QUEUED: MANY}


def test_bites_become_smaller_where_writing_takes_long(monkeypatch: pytest.MonkeyPatch, ledger: Ledger):
    monkeypatch.setattr(bites, "MOST", 1000)
    monkeypatch.setattr(bites, "SECONDS", 1e-9)
    assert [len(some) for some, _ in bites.in_bites(ledger.database, range(12))] == [5, 5, 2]
    monkeypatch.setattr(bites, "SECONDS", 1e9)
    assert [len(some) for some, _ in bites.in_bites(ledger.database, range(40))] == [5, 10, 20, 5]
