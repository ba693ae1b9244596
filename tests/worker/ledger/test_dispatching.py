"""Who goes next: rate, room, pauses, priority, and fairness between batches."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event

from tests.clock import FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    at_once,
    claimed,
    failure,
    flat,
    new,
    one,
    queued,
    state_of,
    submitted,
)
from worker.errors import AccountBlocked, NotTaken, Uncertain
from worker.generation import Accepted, State
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits, backoff, dispatching
from worker.ledger.submission import Submitted
from worker.settings.settings import Settings

pytestmark = pytest.mark.matrix


def dispatched(ledger: Ledger, limits: Limits = PLENTY) -> list[str]:
    """What one more round lets go, by prompt or key; claimed at once, so that the next round shows only new ones."""
    ledger.dispatch.run(PROVIDER, limits)
    return [claim.generation.key or claim.generation.prompt for claim in ledger.submissions.claim(10_000, LEASE)]


def test_the_rate_holds_and_refills_with_the_clock(ledger: Ledger, clock: FakeClock):
    queued(ledger, 100)
    limits = Limits(rate=10, in_flight=1000)
    went = [ledger.dispatch.run(PROVIDER, limits) for _ in range(3)]
    clock.advance(0.5)
    went.append(ledger.dispatch.run(PROVIDER, limits))
    clock.advance(3600)
    went.append(ledger.dispatch.run(PROVIDER, limits))
    assert went == [10, 0, 0, 5, 10]


def test_kies_default_never_comes_to_more_than_20_in_any_10_seconds(ledger: Ledger, clock: FakeClock):
    """Also after a rest, when the bucket is full. More is refused there, and costs half of the rate for a while."""
    queued(ledger, 100)
    rate = Settings.model_fields["kie_rate"].default
    went = []
    for _ in range(80):
        went.append(ledger.dispatch.run(PROVIDER, Limits(rate, in_flight=1000)))
        clock.advance(0.25)
    windows = [sum(went[start : start + 40]) for start in range(40)]
    assert 18 <= max(windows) <= 20


def test_a_slow_rate_lets_one_go_now_and_then(ledger: Ledger, clock: FakeClock):
    queued(ledger, 9)
    went = []
    for _ in range(9):
        went.append(ledger.dispatch.run(PROVIDER, Limits(rate=0.25, in_flight=1000)))
        clock.advance(1)
    assert went == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_the_bucket_survives_the_process(ledger: Ledger, database_url: str, clock: FakeClock):
    queued(ledger, 20)
    ledger.dispatch.run(PROVIDER, Limits(rate=10, in_flight=1000))
    restarted = Ledger(database_url, clock)
    assert restarted.dispatch.run(PROVIDER, Limits(rate=10, in_flight=1000)) == 0
    restarted.close()


def test_a_clock_that_is_set_back_gives_no_tokens(ledger: Ledger, clock: FakeClock):
    queued(ledger, 20)
    limits = Limits(rate=2, in_flight=1000)
    assert ledger.dispatch.run(PROVIDER, limits) == 2
    clock.advance(hours=-1)
    assert ledger.dispatch.run(PROVIDER, limits) == 0


def test_no_more_are_under_way_than_there_is_room(ledger: Ledger):
    queued(ledger, 10)
    limits = Limits(rate=100, in_flight=4)
    assert ledger.dispatch.run(PROVIDER, limits) == 4
    claims = ledger.submissions.claim(10, LEASE)
    assert ledger.dispatch.run(PROVIDER, limits) == 0
    ledger.submissions.record(
        [Submitted(claim.attempt_id, Accepted(f"t{n}")) for n, claim in enumerate(claims)], POLL_AFTER
    )
    assert ledger.dispatch.run(PROVIDER, limits) == 0
    ledger.generations.apply_outcomes([failure(claims[0], task_id="t0")])
    assert ledger.dispatch.run(PROVIDER, limits) == 1


def test_an_unclear_submission_holds_its_room_for_an_hour(ledger: Ledger, clock: FakeClock):
    """Without an end, a few that nobody resolves would stop the provider for good."""
    (claim,) = claimed(ledger)
    ledger.submissions.record([Submitted(claim.attempt_id, Uncertain("silence", code="time_out"))], POLL_AFTER)
    queued(ledger)
    limits = Limits(rate=100, in_flight=1)
    clock.advance(minutes=59)
    assert ledger.dispatch.run(PROVIDER, limits) == 0
    clock.advance(minutes=2)
    assert ledger.dispatch.run(PROVIDER, limits) == 1


def test_one_that_waits_for_its_worker_holds_its_room_for_ever(ledger: Ledger, clock: FakeClock):
    queued(ledger, 2)
    limits = Limits(rate=100, in_flight=1)
    assert ledger.dispatch.run(PROVIDER, limits) == 1
    clock.advance(hours=48)
    assert ledger.dispatch.run(PROVIDER, limits) == 0


def test_each_provider_has_its_own_limits(ledger: Ledger):
    queued(ledger, 3)
    queued(ledger, 3, provider="kie")
    limits = Limits(rate=2, in_flight=100)
    assert [ledger.dispatch.run(name, limits) for name in (PROVIDER, "kie", "nobody")] == [2, 2, 0]


def test_a_pause_ends_by_itself_or_by_a_person(ledger: Ledger, clock: FakeClock):
    queued(ledger, 4)
    for ended in (lambda: clock.advance(minutes=16), lambda: ledger.dispatch.resume_account(PROVIDER)):
        assert ledger.dispatch.run(PROVIDER, Limits(1, 100)) == 1
        (claim,) = ledger.submissions.claim(9, LEASE)
        blocked = AccountBlocked("the balance is empty", code="used_up", status=402)
        ledger.submissions.record([Submitted(claim.attempt_id, blocked)], POLL_AFTER)
        clock.advance(60)
        assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
        assert [(pause.provider, pause.reason) for pause in ledger.dispatch.throttled_accounts()] == [
            (PROVIDER, str(blocked))
        ]
        ended()
        assert ledger.dispatch.throttled_accounts() == []
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 4
    assert not ledger.dispatch.resume_account(PROVIDER)
    assert not ledger.dispatch.resume_account("nobody")


def test_a_short_pause_never_ends_a_longer_one(ledger: Ledger, clock: FakeClock):
    first, second = claimed(ledger, 2)
    ledger.submissions.record(
        [
            Submitted(first.attempt_id, AccountBlocked("the balance is empty", code="used_up", status=402)),
            Submitted(second.attempt_id, NotTaken("slower", code="busy", status=429, retry_after=timedelta(seconds=2))),
        ],
        POLL_AFTER,
    )
    clock.advance(60)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0


def test_a_higher_priority_goes_first(ledger: Ledger, clock: FakeClock):
    for priority in (0, -5, 10):
        queued(ledger, key=f"priority {priority}", priority=priority)
    for priority in (10, 0, -5):
        assert dispatched(ledger, Limits(1, 100)) == [f"priority {priority}"]
        clock.advance(1)


def test_a_small_new_batch_takes_turns_with_a_big_old_one(ledger: Ledger, clock: FakeClock):
    ledger.generations.create([new(f"big {number}") for number in range(100)], batch="big")
    assert dispatched(ledger, Limits(40, 1000)) == [f"big {number}" for number in range(40)]
    clock.advance(60)
    ledger.generations.create([new(f"small {number}") for number in range(20)], batch="small")
    went = dispatched(ledger, Limits(10, 1000))
    assert sorted(went) == sorted([f"big {40 + n}" for n in range(5)] + [f"small {n}" for n in range(5)])


def test_single_ones_do_not_wait_for_the_end_of_a_batch(ledger: Ledger, clock: FakeClock):
    queued(ledger, 100, batch="big")
    dispatched(ledger, Limits(40, 1000))
    clock.advance(60)
    ledger.generations.create([new(f"single {number}") for number in range(5)])
    went = dispatched(ledger, Limits(10, 1000))
    assert [prompt for prompt in went if prompt.startswith("single")] == [f"single {number}" for number in range(5)]


def test_one_that_was_not_taken_waits_and_the_next_ones_pass_it(ledger: Ledger, clock: FakeClock):
    queued(ledger, 2)
    assert dispatched(ledger, Limits(1, 100)) == ["fox 0"]
    attempt = ledger.generations.story(ledger.generations.page(state=State.SUBMITTING)[0].id).attempts[0]
    refused = NotTaken("the connection was refused", code="refused", retry_after=timedelta(seconds=30))
    ledger.submissions.record([Submitted(attempt.id, refused)], POLL_AFTER)
    clock.advance(10)
    assert dispatched(ledger) == ["fox 1"]
    clock.advance(19)
    assert dispatched(ledger) == []
    clock.advance(1)
    assert dispatched(ledger) == ["fox 0"]


def test_four_dispatchers_at_once_keep_to_rate_and_room(ledger: Ledger):
    # Once in vain: who has to open a connection first comes too late to meet the others.
    at_once(*[lambda: ledger.dispatch.run(PROVIDER, Limits(7, 100))] * 4)
    queued(ledger, 60)
    spent = at_once(*[lambda: [ledger.dispatch.run(PROVIDER, Limits(7, 100)) for _ in range(3)]] * 4)
    assert sum(flat(spent)) == 7
    full = at_once(*[lambda: [ledger.dispatch.run("kie", Limits(1000, 9)) for _ in range(3)]] * 4)
    assert sum(flat(full)) == 0
    queued(ledger, 60, provider="kie")
    full = at_once(*[lambda: [ledger.dispatch.run("kie", Limits(1000, 9)) for _ in range(3)]] * 4)
    assert sum(flat(full)) == 9


def test_what_was_cancelled_is_not_dispatched(ledger: Ledger):
    kept, cancelled = queued(ledger, 2)
    ledger.generations.cancel([cancelled.id])
    assert dispatched(ledger) == [kept.prompt]
    assert state_of(ledger, cancelled) is State.CANCELLED


def test_the_waits_grow_and_stay_numbers_however_long_it_takes():
    assert [backoff(tries).total_seconds() for tries in (0, 1, 2, 3, 9, 10, 5000)] == [1, 1, 2, 4, 30, 30, 30]


def test_submitted_ones_count_as_under_way(ledger: Ledger):
    claims = submitted(ledger, 3)
    queued(ledger, 5)
    assert ledger.dispatch.run(PROVIDER, Limits(100, 4)) == 1
    assert one(ledger, claims[0]).state is State.SUBMITTED


@pytest.mark.parametrize("accounts", [("default",), ("default", "shop", "studio")])
def test_very_many_go_a_few_at_a_time_however_much_room_there_is(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, accounts: tuple[str, ...]
):
    """PostgreSQL refuses a statement of more than 65,535 values, and others wait for each transaction."""
    monkeypatch.setattr(dispatching, "MOST_AT_ONCE", 12)
    queued(ledger, 30)
    went: list[int] = []

    def note(_connection: Connection) -> None:
        went.append(0)

    def count(_connection: Connection, cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE generations SET"):
            went[-1] += cursor.rowcount

    event.listen(ledger.database.engine, "begin", note)
    event.listen(ledger.database.engine, "after_cursor_execute", count)
    assert ledger.dispatch.run(PROVIDER, PLENTY, accounts=accounts) == 30
    event.remove(ledger.database.engine, "begin", note)
    event.remove(ledger.database.engine, "after_cursor_execute", count)
    assert [number for number in went if number] == [12, 12, 6]
    assert ledger.dispatch.run(PROVIDER, PLENTY, accounts=accounts) == 0
