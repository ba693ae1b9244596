"""Stored callbacks: kept once, claimed by one, tried a few times, and played again when a person asks."""

from dataclasses import replace

import pytest
from sqlalchemy import select, update

from tests.clock import NOON, FakeClock
from tests.factories import (
    LEASE,
    POLL_AFTER,
    at_once,
    claimed,
    delivery,
    failure,
    flat,
    resubmit,
    submitted,
    succeeded,
    success,
    task_of,
)
from worker.errors import LedgerUnfit, Uncertain
from worker.generation import Verdict
from worker.ledger import Ledger
from worker.ledger.outcome import News, StoredCallback
from worker.ledger.outcome.callbacks import LATEST, MAX_TRIES, MOST_BODIES
from worker.ledger.schema import attempts, callbacks
from worker.ledger.submission import Claim, Submitted

pytestmark = pytest.mark.matrix


def applied(ledger: Ledger, callback: StoredCallback) -> list[str]:
    unknown = success(claimed(ledger)[0])
    return ledger.generations.apply_outcomes(
        [
            News(
                attempt_id=callback.attempt_id,
                outcome=unknown.outcome,
                cause="c",
                deadlines=unknown.deadlines,
                callback_id=callback.id,
            )
        ]
    )


def test_what_came_is_kept_byte_for_byte(ledger: Ledger):
    body = bytes(range(256))
    ledger.callbacks.store([delivery("a1", body, headers={"X-Sign": "ünï\udcff\x00", "Content-Type": "x"})])
    (callback,) = ledger.callbacks.claim(10, LEASE)
    assert (callback.attempt_id, callback.provider, callback.body) == ("a1", "acedata", body)
    assert callback.headers == {"X-Sign": "ünï\udcff\x00", "Content-Type": "x"}


def test_a_trial_of_the_store_leaves_nothing(ledger: Ledger):
    ledger.callbacks.try_store()
    with ledger.database.read() as connection:
        assert not connection.execute(select(callbacks.c.id)).all()


def test_a_trial_fails_where_a_callback_would(blank_database_url: str):
    ledger = Ledger(blank_database_url)
    with pytest.raises(LedgerUnfit):
        ledger.callbacks.try_store()
    ledger.close()


def test_the_same_body_for_the_same_attempt_is_kept_once(ledger: Ledger):
    ledger.callbacks.store([delivery("a1"), delivery("a1"), delivery("a1", digest="d2"), delivery("a2")])
    ledger.callbacks.store([delivery("a1")])
    assert [callback.attempt_id for callback in ledger.callbacks.claim(10, LEASE)] == ["a1", "a1", "a2"]


def test_sixteen_deliveries_at_once_are_kept_once(ledger: Ledger):
    results = at_once(*[lambda: ledger.callbacks.store([delivery("a1"), delivery("a2")])] * 16)
    assert results == [0] * 16
    assert len(ledger.callbacks.claim(10, LEASE)) == 2


def test_the_oldest_goes_first_and_none_goes_twice(ledger: Ledger, clock: FakeClock):
    ledger.callbacks.store([delivery(f"a{number}") for number in range(5)])
    assert [callback.attempt_id for callback in ledger.callbacks.claim(3, LEASE)] == ["a0", "a1", "a2"]
    assert [callback.attempt_id for callback in ledger.callbacks.claim(3, LEASE)] == ["a3", "a4"]
    assert ledger.callbacks.claim(3, LEASE) == []
    clock.advance(119)
    assert ledger.callbacks.claim(3, LEASE) == []


def test_four_readers_at_once_never_take_the_same(ledger: Ledger):
    ledger.callbacks.store([delivery(f"a{number}") for number in range(60)])
    taken = flat(at_once(*[lambda: [one for _ in range(10) for one in ledger.callbacks.claim(3, LEASE)]] * 4))
    assert len({callback.id for callback in taken}) == len(taken) == 60


def test_a_renewed_callback_stays_with_its_reader(ledger: Ledger, clock: FakeClock):
    ledger.callbacks.store([delivery("a0"), delivery("a1")])
    slow, done = ledger.callbacks.claim(10, LEASE)
    applied(ledger, done)
    clock.advance(100)
    ledger.callbacks.renew([slow.id, done.id], LEASE)
    clock.advance(119)
    assert ledger.callbacks.claim(10, LEASE) == []
    clock.advance(1)
    assert [callback.id for callback in ledger.callbacks.claim(10, LEASE)] == [slow.id]


def test_one_that_was_not_applied_comes_up_again_alone(ledger: Ledger, clock: FakeClock):
    """If it breaks its reader, no other shall suffer with it."""
    ledger.callbacks.store([delivery("a0"), delivery("a1")])
    ledger.callbacks.claim(10, LEASE)
    clock.advance(120)
    ledger.callbacks.store([delivery("a2"), delivery("a3")])
    assert [[callback.attempt_id for callback in ledger.callbacks.claim(10, LEASE)] for _ in range(4)] == [
        ["a0"], ["a1"], ["a2", "a3"], [],
    ]  # fmt: skip


def test_one_that_always_breaks_its_reader_is_set_aside(ledger: Ledger, clock: FakeClock):
    ledger.callbacks.store([delivery("a0")])
    for _ in range(MAX_TRIES):
        assert len(ledger.callbacks.claim(10, LEASE)) == 1
        clock.advance(120)
    assert ledger.callbacks.claim(10, LEASE) == []
    assert ledger.maintenance.due() == []
    (note,) = ledger.callbacks.dead()
    assert (note.verdict, note.error, note.bytes) == ("poison", "not applied after 5 tries", 2)
    assert ledger.callbacks.replay([note.id]) == 1
    assert len(ledger.callbacks.claim(10, LEASE)) == 1


@pytest.mark.parametrize("by_id", [True, False])
def test_replay_takes_only_what_was_set_aside_or_asked_for(ledger: Ledger, by_id: bool):
    ledger.callbacks.store([delivery("unknown"), delivery("waiting")])
    callback = ledger.callbacks.claim(1, LEASE)[0]
    assert applied(ledger, callback) == ["orphan"]
    assert ledger.callbacks.replay([callback.id, 10**9] if by_id else None) == 1
    assert ledger.callbacks.replay() == 0
    assert [one.attempt_id for one in ledger.callbacks.claim(9, LEASE)] == ["unknown", "waiting"]


def test_of_two_who_had_the_same_callback_the_first_says_what_became_of_it(ledger: Ledger, clock: FakeClock):
    (claim,) = submitted(ledger)
    ledger.callbacks.store([delivery(claim.attempt_id)])
    (slow,) = ledger.callbacks.claim(1, LEASE)
    clock.advance(LEASE.total_seconds() + 1)
    (again,) = ledger.callbacks.claim(1, LEASE)
    told = replace(success(claim), callback_id=slow.id)
    assert [ledger.generations.apply_outcomes([told]) for _ in (again, slow)] == [["applied"], ["ignored"]]
    (note,) = ledger.generations.story(claim.generation.id).callbacks
    assert (note.verdict, note.error) == (Verdict.APPLIED, None)


def test_when_it_came_is_kept_to_the_microsecond(ledger: Ledger):
    (claim,) = claimed(ledger)
    moment = NOON.replace(microsecond=123456)
    ledger.callbacks.store([delivery(claim.attempt_id, received_at=moment)])
    (note,) = ledger.generations.story(claim.generation.id).callbacks
    assert (note.received_at, note.verdict, note.bytes) == (moment, None, 2)


def test_what_came_earlier_for_the_same_attempt_is_remembered_by_its_headers(ledger: Ledger):
    for attempt_id, digest, sign in (("a0", "d1", "first"), ("a1", "d1", "other"), ("a0", "d2", "second")):
        ledger.callbacks.store([delivery(attempt_id, digest=digest, headers={"X-Webhook-Signature": sign})])
    first, _, second = ledger.callbacks.claim(9, LEASE)
    assert second.received_at == NOON
    assert ledger.callbacks.earlier_headers(second) == [{"X-Webhook-Signature": "first"}]
    assert ledger.callbacks.earlier_headers(first) == []


def refused(ledger: Ledger, claim: Claim) -> tuple[int, int]:
    """How many callbacks of this one are kept, and how many were not."""
    story = ledger.generations.story(claim.generation.id)
    return len(story.callbacks), sum(attempt.callbacks_refused for attempt in story.attempts)


@pytest.mark.parametrize("at_a_time", [1, 7, 64])
def test_an_attempt_keeps_fifty_bodies_and_counts_the_others(ledger: Ledger, at_a_time: int):
    claim, other = submitted(ledger, 2)
    bodies = [delivery(claim.attempt_id, digest=f"d{number}") for number in range(MOST_BODIES + 20)]
    groups = [bodies[start : start + at_a_time] for start in range(0, len(bodies), at_a_time)]
    assert sum(ledger.callbacks.store(group) for group in groups) == 20
    assert refused(ledger, claim) == (MOST_BODIES, 20)
    # Those that are there already come again, and the other one has room of its own.
    assert ledger.callbacks.store([bodies[0], bodies[-1], delivery(other.attempt_id)]) == 1
    assert refused(ledger, claim) == (MOST_BODIES, 21)
    assert refused(ledger, other) == (1, 0)


def test_many_deliveries_of_an_attempt_that_nobody_knows_are_bounded_too(ledger: Ledger):
    assert ledger.callbacks.store([delivery("a0", digest=f"d{number}") for number in range(60)]) == 10
    assert len(ledger.callbacks.claim(100, LEASE)) == MOST_BODIES


def test_an_attempt_whose_callback_was_refused_is_asked_for_within_a_minute(ledger: Ledger, clock: FakeClock):
    """What was refused may have said how it ended."""
    (claim,) = submitted(ledger)
    ledger.submissions.record_polled(ledger.submissions.claim_polls(9, LEASE, POLL_AFTER))
    ledger.callbacks.store([delivery(claim.attempt_id, digest=f"d{number}") for number in range(MOST_BODIES)])
    later = POLL_AFTER * 100
    assert not ledger.submissions.claim_polls(9, LEASE, later)
    with ledger.database.write() as connection:
        connection.execute(update(attempts).values(poll_at=clock() + later))
    clock.advance(1)
    ledger.callbacks.store([delivery(claim.attempt_id, digest="the outcome")])
    clock.advance(59)
    assert not ledger.submissions.claim_polls(9, LEASE, later)
    clock.advance(2)
    (asked,) = ledger.submissions.claim_polls(9, LEASE, later)
    assert ledger.generations.apply_outcomes([success(claim, cause="poll")]) == ["applied"]
    assert asked.task_id == task_of(claim)


def test_two_days_after_the_end_of_an_attempt_nothing_is_kept(ledger: Ledger, clock: FakeClock):
    (done,), (failed,), (open_one,) = succeeded(ledger), submitted(ledger), submitted(ledger)
    ledger.generations.apply_outcomes([failure(failed)])
    clock.advance(LATEST.total_seconds())
    for number, late in ((1, 0), (2, 1)):
        for claim in (done, failed):
            assert ledger.callbacks.store([delivery(claim.attempt_id, digest=f"d{number}")]) == late
            assert refused(ledger, claim) == (1, late)
        assert ledger.callbacks.store([delivery(open_one.attempt_id, digest=f"d{number}")]) == 0
        clock.advance(1)


def test_what_was_given_up_and_may_have_been_paid_for_has_no_end(ledger: Ledger, clock: FakeClock):
    (claim,) = claimed(ledger)
    ledger.submissions.record([Submitted(claim.attempt_id, Uncertain("?", code="time_out"))], POLL_AFTER)
    resubmit(ledger, claim)
    clock.advance(days=30)
    assert ledger.callbacks.store([delivery(claim.attempt_id)]) == 0
    assert refused(ledger, claim) == (1, 0)
