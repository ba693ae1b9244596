"""Counts by state are right after anything that happens, whether it was folded or not, and nobody waits for them."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select, text

from tasks import sweep
from tests.clock import FakeClock
from tests.examples import examples
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    all_stored,
    at_once,
    failure,
    flat,
    new,
    queued,
    success,
)  # fmt: skip
from worker.errors import Rejected, Uncertain
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.changes import Person, new_id
from worker.ledger.database import bites
from worker.ledger.generations import counting
from worker.ledger.maintenance import Tally
from worker.ledger.schema import (
    UNFINISHED,
    batches,
    generation_counts,
    generation_deltas,
    generations,
    metadata,
    tally_deltas,
)
from worker.ledger.submission import Claim, Submitted

#: taken, refused, and lost
ANSWERS = (accepted, lambda _: Rejected("no", code="no"), lambda _: Uncertain("?", code="?"))


class History:
    """Things that happen, each chosen by its number; `known` are claims whose outcome may come at any time."""

    def __init__(self, ledger: Ledger, clock: FakeClock) -> None:
        self.ledger = ledger
        self.clock = clock
        self.known: list[Claim] = []
        self.happenings: tuple[Callable[[int], object], ...] = (
            self.create, self.begin_and_die, self.submit, self.hear, self.archive, self.cancel, self.retry,
            self.delete, self.pass_of_the_clock, self.fold, self.all_at_once,
        )  # fmt: skip

    def create(self, number: int) -> None:
        """More than a bite can hold are an unfinished batch for a while."""
        queued(self.ledger, 1 + number, batch="b" if number % 2 else None)

    def begin_and_die(self, number: int) -> None:
        """As a command that was killed after its first bite leaves a batch."""
        now = self.clock()
        batch_id = new_id("batch", now)
        (made,) = queued(self.ledger)
        with self.ledger.database.write() as connection:
            row = {"id": batch_id, "name": "b", "created_at": now, "unfinished": batch_id, "unfinished_at": now}
            connection.execute(batches.insert().values(row))
            connection.execute(
                text("UPDATE generations SET batch_id = :b WHERE id = :g"), {"b": batch_id, "g": made.id}
            )

    def submit(self, number: int) -> None:
        self.ledger.dispatch.run(PROVIDER, PLENTY)
        claims = self.ledger.submissions.claim(1 + number, LEASE)
        self.known += claims
        answered = [Submitted(one.attempt_id, ANSWERS[(number + place) % 3](one)) for place, one in enumerate(claims)]
        # The last one stays with a worker that dies.
        self.ledger.submissions.record(answered[:-1], POLL_AFTER)

    def hear(self, number: int) -> None:
        """Also late, of what has failed or was cancelled meanwhile."""
        words = (success, failure)
        self.ledger.generations.apply_outcomes(
            [words[(number + place) % 2](one) for place, one in enumerate(self.known[-4:])]
        )

    def archive(self, number: int) -> None:
        self.ledger.assets.record([all_stored(one) for one in self.ledger.assets.claim(1 + number, LEASE)])

    def cancel(self, number: int) -> None:
        self.ledger.generations.cancel(self._of(State.QUEUED, number))

    def retry(self, number: int) -> None:
        self.ledger.generations.retry(self._of(State.FAILED, number), may_pay_twice=True)

    def delete(self, number: int) -> None:
        over = [one for state in (State.ARCHIVED, State.FAILED, State.CANCELLED) for one in self._of(state, number)]
        self.ledger.generations.delete(over, Person("somebody"))

    def pass_of_the_clock(self, number: int) -> None:
        self.clock.advance(minutes=16)
        self.ledger.submissions.mark_lost_unconfirmed()
        self.ledger.generations.remove_abandoned()
        for prune in (self.ledger.maintenance.prune_callbacks, self.ledger.maintenance.prune_events):
            prune(self.clock() - timedelta(minutes=number))

    def fold(self, _: int) -> None:
        self.ledger.maintenance.fold_counts()
        self.ledger.maintenance.fold_tallies()

    def all_at_once(self, number: int) -> None:
        flat(
            [
                [it]
                for it in at_once(
                    self.ledger.maintenance.fold_counts,
                    self.ledger.maintenance.fold_tallies,
                    lambda: self.create(number),
                    self.ledger.maintenance.fold_counts,
                    self.ledger.maintenance.fold_tallies,
                )
            ]
        )

    def _of(self, state: State, number: int) -> list[str]:
        return [one.id for one in self.ledger.generations.page(state=state, limit=1 + number)]


def check(ledger: Ledger, batch_ids: Sequence[str | None]) -> None:
    """What is counted is what there is: of all (None), or of a batch."""
    g = generations.c
    is_seen = g.batch_id.is_(None) | g.batch_id.not_in(select(batches.c.id).where(text(UNFINISHED)))
    number = select(g.batch_id, g.state, func.count().label("number")).where(is_seen).group_by(g.batch_id, g.state)
    with ledger.database.read() as connection:
        rows = connection.execute(number).all()
    for batch_id in batch_ids:
        there: Counter[str] = Counter()
        for row in rows:
            there[row.state] += row.number if batch_id in {None, row.batch_id} else 0
        assert ledger.generations.counts(batch_id) == +there
    check_tallies(ledger)


def check_tallies(ledger: Ledger) -> None:
    """Also of batches that are still written down: by provider and state."""
    g = generations.c
    with ledger.database.read() as connection:
        rows = connection.execute(select(g.provider, g.state, func.count()).group_by(g.provider, g.state)).all()
    there = {(provider, state): number for provider, state, number in rows}
    tallied = {
        (key.provider, key.value): number
        for key, number in ledger.maintenance.tallies().items()
        if key.kind is Tally.GENERATIONS and number
    }
    assert tallied == there


# Each takes many steps, of which each does a lot: few of them come by everything.
@settings(max_examples=examples(4), deadline=None)
@given(happened=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 4)), min_size=15, max_size=25))
def test_what_is_counted_is_what_there_is_whatever_happens(
    ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, happened: list[tuple[int, int]]
):
    monkeypatch.setattr(bites, "FIRST", 3)
    monkeypatch.setattr(bites, "PAUSE", 0)
    history = History(ledger, clock)
    with ledger.database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    for what, number in happened:
        history.happenings[what](number)
        check(ledger, [None])
    ledger.maintenance.fold_counts()
    with ledger.database.read() as connection:
        ids = connection.execute(select(batches.c.id)).scalars().all()
    check(ledger, [None, *ids])


def test_an_open_transaction_keeps_nobody_from_counting_or_folding(ledger: Ledger):
    if ledger.database.is_sqlite:
        pytest.skip("it has one writer")
    queued(ledger, 3)
    with ledger.database.write() as connection:
        connection.execute(text("UPDATE generations SET state = 'cancelled'"))
        # Three in one statement are one row.
        assert ledger.maintenance.fold_counts() == 1
        assert ledger.generations.counts() == {State.QUEUED: 3}
    assert ledger.generations.counts() == {State.CANCELLED: 3}
    # Those three in one statement, whose sum was nothing.
    assert ledger.maintenance.fold_counts() == 2
    assert ledger.maintenance.fold_counts() == 0


def test_many_that_move_together_are_few_rows(ledger: Ledger):
    if ledger.database.is_sqlite:
        pytest.skip("it counts at once")
    made = queued(ledger, 40, batch="b")
    ledger.maintenance.fold_counts()
    ledger.generations.cancel([one.id for one in made])
    with ledger.database.read() as connection:
        assert _rows(connection, generation_deltas) == 2
        # From queued to cancelled, of the batch and of all: nobody has changed what others would wait for.
        assert _rows(connection, generation_counts) == 2
    ledger.maintenance.fold_counts()
    with ledger.database.read() as connection:
        assert _rows(connection, generation_deltas) == 0
        assert _rows(connection, generation_counts) == 2


def _rows(connection: Connection, table: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_more_than_one_transaction_folds_are_folded_in_one_pass(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(counting, "BITE", 2)
    for _ in range(9):
        queued(ledger)
    assert ledger.maintenance.fold_counts() == (0 if ledger.database.is_sqlite else 9)
    assert ledger.generations.counts() == {State.QUEUED: 9}


def test_a_count_is_never_between_two_states(ledger: Ledger):
    """While others move them and fold, no generation is missing or counted twice."""
    ids = [one.id for one in queued(ledger, 30)]

    def move() -> None:
        for one in ids:
            ledger.generations.cancel([one])

    def fold() -> None:
        for _ in range(30):
            ledger.maintenance.fold_counts()

    def count() -> set[int]:
        return {sum(ledger.generations.counts().values()) for _ in range(60)}

    moved, folded, *seen = at_once(move, fold, count, count)
    assert (moved, folded, *seen) == (None, None, {30}, {30})


def test_a_new_generation_that_is_there_already_is_not_counted_again(ledger: Ledger):
    for _ in range(2):
        ledger.generations.create([new(key="a"), new(key="a")])
    assert ledger.generations.counts() == {State.QUEUED: 1}


def test_the_sweep_folds(ledger: Ledger):
    queued(ledger, 2)
    (fold,) = [part for part in sweep.PARTS if part is sweep.fold_counts]
    fold(SimpleNamespace(ledger=ledger))
    with ledger.database.read() as connection:
        assert _rows(connection, generation_deltas) == _rows(connection, tally_deltas) == 0
    assert ledger.generations.counts() == {State.QUEUED: 2}
    check_tallies(ledger)


def test_what_moves_to_another_provider_is_counted_there(ledger: Ledger):
    queued(ledger, 3)
    with ledger.database.write() as connection:
        # As code that knows nothing of tallies writes it.
        connection.execute(text("UPDATE generations SET provider = 'kie' WHERE prompt = 'fox 1'"))
        connection.execute(text("UPDATE generations SET state = 'failed' WHERE prompt = 'fox 2'"))
    check_tallies(ledger)
    ledger.maintenance.fold_tallies()
    check_tallies(ledger)
