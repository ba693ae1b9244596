"""A request with an idempotency key is carried out once, however often it is sent, and by however many at once."""

from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.clock import FakeClock
from tests.examples import examples
from tests.factories import LEASE, at_once, failure, new, one, queued, submitted
from worker.errors import KeyInUse, KeyReused, NotFound
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.access import Once
from worker.ledger.access.long_requests import Claimed
from worker.ledger.generations import Created
from worker.ledger.schema import idempotency_keys, metadata

FOX = Once(owner="tok_1", key="order-7", request_sha256="a" * 64)
OTHER = Once(owner="tok_1", key="order-7", request_sha256="b" * 64)


def ask(ledger: Ledger, once: Once = FOX, number: int = 1) -> Created:
    wanted = [new(f"fox {n}", dedupe=f"api:{once.owner}/{once.key}/{n}") for n in range(number)]
    return ledger.generations.create_once(wanted, None, once)


def kept(ledger: Ledger) -> list[tuple[str, str]]:
    with ledger.database.read() as connection:
        rows = connection.execute(select(idempotency_keys.c.owner, idempotency_keys.c.key)).all()
    return [(row.owner, row.key) for row in rows]


def test_the_same_request_is_answered_with_what_it_has_made(ledger: Ledger):
    first, second = ask(ledger, number=3), ask(ledger, number=3)
    assert not first.is_replayed
    assert len(first.new) == 3
    assert second == (first.generations, frozenset(), True)
    assert ledger.generations.counts() == {State.QUEUED: 3}


def test_a_replay_gives_the_state_of_now(ledger: Ledger):
    (made,) = ask(ledger).generations
    ledger.generations.cancel([made.id])
    (again,) = ask(ledger).generations
    assert (again.id, again.state) == (made.id, State.CANCELLED)


def test_another_request_with_the_same_key_is_refused_and_writes_nothing(ledger: Ledger):
    ask(ledger)
    with pytest.raises(KeyReused, match="'order-7' already belongs to another request"):
        ask(ledger, OTHER)
    with pytest.raises(KeyReused):
        ledger.access.result_of(OTHER)
    assert ledger.generations.counts() == {State.QUEUED: 1}


def test_the_keys_of_two_tokens_have_nothing_to_do_with_each_other(ledger: Ledger):
    ask(ledger)
    assert not ask(ledger, Once(owner="tok_2", key="order-7", request_sha256="b" * 64)).is_replayed


def test_after_its_key_was_pruned_a_request_still_creates_nothing_twice(ledger: Ledger, clock: FakeClock):
    made = ask(ledger).generations
    clock.advance(days=8)
    assert ledger.maintenance.count_prunable(clock())["idempotency_keys"] == 1
    assert ledger.maintenance.prune_idempotency_keys(clock()).gone == {"idempotency_keys": 1}
    again = ask(ledger)
    assert (again.generations, again.new) == (made, frozenset())


def test_a_key_is_kept_for_a_week_however_short_the_retention(ledger: Ledger, clock: FakeClock):
    ask(ledger)
    clock.advance(days=6)
    assert ledger.maintenance.prune_idempotency_keys(clock()).gone == {"idempotency_keys": 0}
    assert ledger.maintenance.count_prunable(clock())["idempotency_keys"] == 0
    assert ask(ledger).is_replayed


def test_a_key_under_a_lease_is_not_pruned(ledger: Ledger, clock: FakeClock):
    assert ledger.access.claim_request(FOX, LEASE).result is None
    clock.advance(days=8)
    ledger.access.renew_request(FOX, LEASE)
    ledger.maintenance.prune_idempotency_keys(clock())
    assert kept(ledger) == [("tok_1", "order-7")]


def test_of_many_at_once_one_carries_it_out_and_the_others_get_what_it_made(ledger: Ledger):
    found: Any = at_once(*[lambda: ask(ledger, number=2)] * 8)
    assert sorted(created.is_replayed for created in found) == [False, *[True] * 7]
    assert {tuple(one.id for one in created.generations) for created in found} == {
        tuple(one.id for one in found[0].generations)
    }
    assert ledger.generations.counts() == {State.QUEUED: 2}


def test_of_many_who_claim_at_once_all_but_one_hear_that_it_is_being_carried_out(ledger: Ledger):
    found = at_once(*[lambda: ledger.access.claim_request(FOX, LEASE)] * 6)
    assert sum(isinstance(one, KeyInUse) for one in found) == 5
    assert sum(isinstance(one, Claimed) and one.is_new for one in found) == 1
    with pytest.raises(KeyInUse, match="'order-7' is being carried out: repeat it later"):
        ledger.access.result_of(FOX)


def test_when_the_lease_has_expired_the_next_one_completes_the_request(ledger: Ledger, clock: FakeClock):
    ledger.access.claim_request(FOX, LEASE)
    clock.advance(LEASE.total_seconds() - 1)
    with pytest.raises(KeyInUse):
        ledger.access.claim_request(FOX, LEASE)
    ledger.access.renew_request(FOX, LEASE)
    clock.advance(LEASE.total_seconds() - 1)
    with pytest.raises(KeyInUse):
        ledger.access.claim_request(FOX, LEASE)
    clock.advance(1)
    assert ledger.access.claim_request(FOX, LEASE).result is None
    ledger.access.keep_request(FOX, {"batches": ["batch_1"]})
    assert ledger.access.claim_request(FOX, LEASE).result == ledger.access.result_of(FOX) == {"batches": ["batch_1"]}


def test_a_lease_of_a_wrong_clock_holds_nobody(ledger: Ledger, clock: FakeClock):
    clock.advance(days=400)
    ledger.access.claim_request(FOX, LEASE)
    clock.advance(days=-400)
    assert ledger.access.claim_request(FOX, LEASE).result is None


def test_a_request_that_was_given_up_is_carried_out_by_whoever_repeats_it(ledger: Ledger):
    ledger.access.claim_request(FOX, LEASE)
    ledger.access.give_up_request(FOX)
    assert ledger.access.result_of(FOX) is None
    assert ledger.access.claim_request(FOX, LEASE).result is None


def test_a_refused_creation_keeps_no_key(ledger: Ledger):
    ledger.generations.create([new("an owl", key="bird")])
    with pytest.raises(Exception, match="'bird' already belongs"):
        ledger.generations.create_once([new("a crow", key="bird")], None, FOX)
    assert kept(ledger) == []


def failed(ledger: Ledger) -> str:
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim)])
    return claim.generation.id


def test_a_retry_is_carried_out_once_however_often_it_is_sent_at_once(ledger: Ledger):
    generation_id = failed(ledger)
    found: Any = at_once(*[lambda: ledger.generations.retry_once(generation_id, FOX)] * 6)
    assert sorted(retried.is_replayed for retried in found) == [False, *[True] * 5]
    (first,) = (retried for retried in found if not retried.is_replayed)
    assert first == (State.FAILED, State.QUEUED, False)
    moves = ledger.generations.transitions_of([generation_id])[generation_id]
    assert [move.cause for move in moves].count("submitted again by a person") == 1


def test_a_retry_that_is_repeated_after_the_next_failure_changes_nothing(ledger: Ledger, clock: FakeClock):
    generation_id = failed(ledger)
    ledger.generations.retry_once(generation_id, FOX)
    ledger.generations.cancel([generation_id])
    assert ledger.generations.retry_once(generation_id, FOX) == (State.CANCELLED, State.CANCELLED, True)


def test_a_retry_that_changes_nothing_keeps_no_key_and_may_be_repeated(ledger: Ledger):
    (made,) = queued(ledger)
    assert ledger.generations.retry_once(made.id, FOX) == (State.QUEUED, State.QUEUED, False)
    assert kept(ledger) == []


def test_a_retry_of_nothing_is_not_found(ledger: Ledger):
    with pytest.raises(NotFound):
        ledger.generations.retry_once("gen_0", FOX)
    assert kept(ledger) == []


def test_the_keys_are_pruned_in_bites(ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worker.ledger.maintenance.pruning.BITE", 2)
    for number in range(3):
        ask(ledger, Once(owner="tok_1", key=str(number), request_sha256="a" * 64))
    clock.advance(days=8)
    first, second = (ledger.maintenance.prune_idempotency_keys(clock()) for _ in range(2))
    assert (first.gone, first.after, second.gone, second.after) == (
        {"idempotency_keys": 2},
        0,
        {"idempotency_keys": 1},
        None,
    )


#: what is asked → how many generations it creates
NUMBERS = {"create": 1, "create two": 2, "retry": 0}
_requests = st.tuples(st.sampled_from("abc"), st.sampled_from(sorted(NUMBERS)))


@settings(max_examples=examples(64))
@given(st.lists(_requests, max_size=12), st.data())
def test_any_interleaving_of_repeats_gives_each_request_its_work_once(
    ledger: Ledger, asked: list[tuple[str, str]], data: st.DataObject
):
    """The first request under a key is what the key stands for; all others under it are repeats of it or refused."""
    with ledger.database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    parent_id = failed(ledger)
    numbers, meant, made = count(), dict[str, str](), dict[str, list[str]]()
    for key, what in asked:
        once = Once(owner="tok_1", key=key, request_sha256=what)
        if key in meant and meant[key] != what:
            with pytest.raises(KeyReused):
                ledger.access.result_of(once)
            with pytest.raises(KeyReused):
                _carry_out(ledger, once, what, parent_id)
            continue
        is_repeated = key in made
        ids, is_replayed = _carry_out(ledger, once, what, parent_id)
        if what == "retry" and not is_repeated and "retry" in meant.values():
            assert not is_replayed
            continue  # it is queued again since another key: nothing is kept, and this key may be used for anything
        meant[key] = what
        assert is_replayed == is_repeated
        assert made.setdefault(key, ids) == ids
        if data.draw(st.booleans(), label=f"cancel {next(numbers)}"):
            ledger.generations.cancel(ids)
    created = [one_id for key, ids in made.items() if meant[key] != "retry" for one_id in ids]
    assert (
        len(created) == len(set(created)) == sum({"create": 1, "create two": 2}.get(what, 0) for what in meant.values())
    )
    assert sum(ledger.generations.counts().values()) == len(created) + 1
    moves = ledger.generations.transitions_of([parent_id])[parent_id]
    assert [move.cause for move in moves].count("submitted again by a person") == ("retry" in meant.values())


def _carry_out(ledger: Ledger, once: Once, what: str, parent: str) -> tuple[list[str], bool]:
    if what == "retry":
        retried = ledger.generations.retry_once(parent, once)
        assert one(ledger, parent).state is retried.after
        return [], retried.is_replayed
    found = ask(ledger, once, number=NUMBERS[what])
    return [generation.id for generation in found.generations], found.is_replayed
