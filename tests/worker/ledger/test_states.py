"""The table of moves, over all pairs of states, and the lock that keeps a generation from being paid for twice."""

import pytest
from sqlalchemy import Update, update
from sqlalchemy.exc import IntegrityError

from tests.clock import NOON
from tests.factories import claimed, new, queued
from worker.errors import LedgerUnavailable
from worker.generation import FINAL, TRANSITIONS, State
from worker.ledger import Ledger
from worker.ledger.changes import Changes
from worker.ledger.database import RowsChanged
from worker.ledger.schema import attempts, generations, transitions

pytestmark = pytest.mark.matrix


def _of(generation_id: str) -> Update:
    return update(generations).where(generations.c.id == generation_id)


def put_into(ledger: Ledger, state: State) -> str:
    (generation,) = ledger.generations.create([new()])
    with ledger.database.write() as connection:
        connection.execute(_of(generation.id).values(state=state))
        connection.execute(transitions.delete())
    return generation.id


def move(ledger: Ledger, generation_id: str, to: State) -> bool:
    with ledger.database.write() as connection:
        changes = Changes(connection, NOON)
        changes.lock([generation_id])
        moved = changes.move(generation_id, to, "because")
        changes.flush()
    return moved


@pytest.mark.parametrize("source", list(State), ids=lambda state: state.value)
def test_a_move_happens_with_its_history_or_not_at_all(ledger: Ledger, source: State):
    for to in State:
        generation_id = put_into(ledger, source)
        allowed = to in TRANSITIONS[source]
        assert move(ledger, generation_id, to) is allowed, to
        (found,) = ledger.generations.get([generation_id])
        assert found.state is (to if allowed else source), to
        history = ledger.generations.transitions_of([generation_id])[generation_id]
        assert [(past.from_state, past.to_state, past.at, past.cause) for past in history] == (
            [(source, to, NOON, "because")] if allowed else []
        )
        ends = to is State.SUCCEEDED or to in FINAL - {State.DELETED}
        assert (found.finished_at == NOON) is (allowed and ends), to


def test_move_and_history_are_one_transaction(ledger: Ledger):
    generation_id = put_into(ledger, State.QUEUED)

    def half_done() -> None:
        with ledger.database.write() as connection:
            changes = Changes(connection, NOON)
            changes.lock([generation_id])
            assert changes.move(generation_id, State.CANCELLED, "because")
            changes.flush()
            raise KeyError

    with pytest.raises(KeyError):
        half_done()
    assert ledger.generations.get([generation_id])[0].state is State.QUEUED
    assert ledger.generations.transitions_of([generation_id])[generation_id] == []


def test_whoever_read_an_older_state_comes_too_late(ledger: Ledger):
    """Also where no lock was held: what is written names the state that it starts from."""
    generation_id = put_into(ledger, State.QUEUED)

    def too_late() -> None:
        with ledger.database.write() as connection:
            changes = Changes(connection, NOON)
            changes.lock([generation_id])
            assert changes.move(generation_id, State.SUBMITTING, "because")
            connection.execute(update(generations).values(state=State.CANCELLED))
            changes.flush()

    with pytest.raises(RowsChanged):
        too_late()
    assert ledger.generations.get([generation_id])[0].state is State.QUEUED
    assert ledger.generations.transitions_of([generation_id])[generation_id] == []


@pytest.mark.parametrize("state", ["sending", "accepted", "uncertain"])
def test_the_database_itself_refuses_a_second_live_attempt(ledger: Ledger, state: str):
    (claim,) = claimed(ledger)
    row = {
        "generation_id": claim.generation.id,
        "provider": "acedata",
        "number": 2,
        "sent_at": NOON,
        "lease_until": NOON,
    }
    with ledger.database.write() as connection:
        connection.execute(update(attempts).values(state=state))
    with pytest.raises(IntegrityError), ledger.database.write() as connection:
        connection.execute(attempts.insert().values(id="other", state="sending", **row))
    with ledger.database.write() as connection:
        connection.execute(attempts.insert().values(id="other", state="rejected", **row))


def test_the_database_itself_refuses_a_task_id_that_another_attempt_has(ledger: Ledger):
    first, second = claimed(ledger, 2)
    with ledger.database.write() as connection:
        connection.execute(update(attempts).where(attempts.c.id == first.attempt_id).values(task_id="t1"))
    with pytest.raises((IntegrityError, LedgerUnavailable)), ledger.database.write() as connection:
        connection.execute(update(attempts).where(attempts.c.id == second.attempt_id).values(task_id="t1"))


def test_an_error_of_the_database_does_not_tell_what_was_to_be_written(ledger: Ledger):
    first, second = queued(ledger, 2)
    with pytest.raises(IntegrityError) as caught, ledger.database.write() as connection:
        connection.execute(_of(second.id).values(id=first.id, message="a signed link"))
    assert "a signed link" not in str(caught.value)
