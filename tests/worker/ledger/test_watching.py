"""What the clock finds: silent generations, forgotten work, and workers that stopped."""

from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import select

from tests.clock import NOON, FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    all_stored,
    archived,
    ask,
    at_once,
    claimed,
    delivery,
    failure,
    flat,
    queued,
    submitted,
    succeeded,
    success,
    task_of,
)
from worker.errors import NotTaken, Uncertain
from worker.ledger import Ledger
from worker.ledger.database import REVISION
from worker.ledger.maintenance import Heartbeat
from worker.ledger.schema import attempts
from worker.ledger.submission import Silent, Submitted

pytestmark = pytest.mark.matrix


def test_a_silent_generation_is_asked_for_at_growing_intervals(ledger: Ledger, clock: FakeClock):
    submitted(ledger)
    began, asked = clock.now, []
    while clock.now < began + timedelta(minutes=30):
        clock.advance(2)
        if ask(ledger):
            asked.append((clock.now - began).total_seconds())
    gaps = [round(later - earlier) for earlier, later in pairwise(asked)]
    assert asked[0] == 60
    assert gaps[:5] == [60, 96, 154, 246, 300]
    assert set(gaps[5:]) == {300}


def test_an_interval_that_is_long_from_the_start_does_not_shrink(ledger: Ledger, clock: FakeClock):
    submitted(ledger)
    hour = timedelta(hours=1)
    clock.advance(minutes=1)
    assert len(ask(ledger, 100, hour)) == 1
    clock.advance(minutes=59)
    assert ask(ledger, 100, hour) == []
    clock.advance(minutes=1)
    assert len(ask(ledger, 100, hour)) == 1


def test_what_is_asked_for_is_named_by_its_live_attempt(ledger: Ledger, clock: FakeClock):
    known, unknown = claimed(ledger, 2)
    ledger.submissions.record(
        [Submitted(known.attempt_id, accepted(known)), Submitted(unknown.attempt_id, Uncertain("?", code="time_out"))],
        POLL_AFTER,
    )
    clock.advance(60)
    next_at = clock.now + POLL_AFTER
    by_id = {one.generation_id: one for one in ask(ledger)}
    assert by_id == {
        known.generation.id: Silent(
            generation_id=known.generation.id,
            attempt_id=known.attempt_id,
            provider=PROVIDER,
            account="default",
            state="accepted",
            task_id=task_of(known),
            sent_at=NOON,
            asked=1,
            next_at=next_at,
        ),
        unknown.generation.id: Silent(
            generation_id=unknown.generation.id,
            attempt_id=unknown.attempt_id,
            provider=PROVIDER,
            account="default",
            state="uncertain",
            task_id=None,
            sent_at=NOON,
            asked=1,
            next_at=next_at,
        ),
    }


def test_the_longest_due_are_asked_for_first_and_only_so_many(ledger: Ledger, clock: FakeClock):
    claims = []
    for _ in range(5):
        claims += submitted(ledger)
        clock.advance(1)
    clock.advance(60)
    assert [one.attempt_id for one in ask(ledger, 3)] == [c.attempt_id for c in claims[:3]]


def test_a_question_whose_worker_died_is_asked_again_after_its_lease(ledger: Ledger, clock: FakeClock):
    submitted(ledger)
    clock.advance(hours=1)
    (held,) = ledger.submissions.claim_polls(100, LEASE, hours(1))
    assert held.next_at == clock.now + hours(1)
    clock.advance(LEASE.total_seconds() - 1)
    assert ledger.submissions.claim_polls(100, LEASE, hours(1)) == []
    ledger.submissions.renew_polls([held], LEASE)
    clock.advance(LEASE.total_seconds() - 1)
    assert ledger.submissions.claim_polls(100, LEASE, hours(1)) == []
    clock.advance(1)
    (again,) = ledger.submissions.claim_polls(100, LEASE, hours(1))
    assert (again.attempt_id, again.asked) == (held.attempt_id, 2)


def test_who_comes_too_late_with_its_question_puts_off_none_of_others(ledger: Ledger, clock: FakeClock):
    (claim,) = submitted(ledger)
    clock.advance(60)
    (late,) = ledger.submissions.claim_polls(100, LEASE, hours(9))
    clock.advance(LEASE.total_seconds())
    assert len(ledger.submissions.claim_polls(100, LEASE, POLL_AFTER)) == 1
    ledger.submissions.record_polled([late])
    ledger.submissions.renew_polls([late], hours(9))
    clock.advance(LEASE.total_seconds())
    assert "poll" in ledger.maintenance.due()
    ledger.generations.apply_outcomes([failure(claim)])
    ledger.generations.retry([claim.generation.id])
    ledger.dispatch.run(PROVIDER, PLENTY)
    (second,) = ledger.submissions.claim(1, LEASE)
    ledger.submissions.record([Submitted(second.attempt_id, accepted(second))], POLL_AFTER)
    clock.advance(60)
    assert [one.attempt_id for one in ledger.submissions.claim_polls(100, LEASE, POLL_AFTER)] == [second.attempt_id]
    # The first of this attempt, as `late` was of the other.
    ledger.submissions.record_polled([late])
    clock.advance(LEASE.total_seconds())
    assert "poll" in ledger.maintenance.due()


def hours(count: int) -> timedelta:
    return timedelta(hours=count)


def test_who_notes_a_question_waits_for_nobody_who_settles_the_attempt(postgresql_url: str, clock: FakeClock):
    """Each holds several attempts: two that waited for each other would be a deadlock."""
    ledger = Ledger(postgresql_url, clock)
    first, _ = submitted(ledger, 2)
    clock.advance(hours=1)
    silent = ledger.submissions.claim_polls(9, LEASE, hours(1))
    with ledger.database.write() as connection:
        mine = select(attempts.c.id).where(attempts.c.id == first.attempt_id).with_for_update(nowait=True)
        connection.execute(mine).one()
        ledger.submissions.record_polled(silent)
        ledger.submissions.claim_polls(9, LEASE, hours(1))
    clock.advance(LEASE.total_seconds())
    # Of the one that was settled meanwhile nothing was noted; a question too many is harmless.
    assert [one.attempt_id for one in ledger.submissions.claim_polls(9, LEASE, hours(1))] == [first.attempt_id]
    ledger.close()


def test_what_ended_is_not_asked_for(ledger: Ledger, clock: FakeClock):
    won, lost = submitted(ledger, 2)
    ledger.generations.apply_outcomes([success(won), failure(lost)])
    clock.advance(hours=1)
    assert ask(ledger) == []


def test_four_clocks_at_once_never_ask_for_the_same(ledger: Ledger, clock: FakeClock):
    submitted(ledger, 60)
    clock.advance(60)
    taken = flat(at_once(*[lambda: [one for _ in range(8) for one in ask(ledger, 4)]] * 4))
    assert len({one.generation_id for one in taken}) == len(taken) == 60


def test_nothing_is_due_in_an_empty_ledger(ledger: Ledger):
    assert ledger.maintenance.due() == []


def test_each_kind_of_work_is_due_when_there_is_some(ledger: Ledger, clock: FakeClock):
    watching = ledger.maintenance
    queued(ledger)
    assert watching.due() == ["dispatch"]
    ledger.dispatch.run(PROVIDER, PLENTY)
    assert watching.due() == ["submit"]
    (claim,) = ledger.submissions.claim(1, LEASE)
    assert watching.due() == []
    ledger.submissions.record([Submitted(claim.attempt_id, accepted(claim))], POLL_AFTER)
    assert watching.due() == []
    clock.advance(60)
    assert watching.due() == ["poll"]
    ask(ledger)
    assert watching.due() == []
    ledger.callbacks.store([delivery(claim.attempt_id)])
    assert watching.due() == ["ingest"]
    ledger.callbacks.claim(1, LEASE)
    assert watching.due() == []
    ledger.generations.apply_outcomes([success(claim)])
    assert watching.due() == ["archive"]
    (held,) = ledger.assets.claim(1, LEASE)
    assert watching.due() == []
    ledger.assets.record([all_stored(held)])
    assert watching.due() == []
    archived(ledger, follow_up=("upscale1",))
    assert watching.due() == ["follow_up"]


def test_what_waits_for_a_later_moment_is_not_due_before(ledger: Ledger, clock: FakeClock):
    (claim,) = claimed(ledger)
    ledger.submissions.record([Submitted(claim.attempt_id, NotTaken("busy", code="busy"))], POLL_AFTER)
    succeeded(ledger)
    ledger.assets.claim(1, LEASE)
    ledger.callbacks.store([delivery("a1")])
    ledger.callbacks.claim(1, LEASE)
    assert ledger.maintenance.due() == []
    clock.advance(120)
    assert ledger.maintenance.due() == ["ingest", "dispatch", "archive"]


def test_a_heartbeat_is_the_latest_of_its_worker(ledger: Ledger, clock: FakeClock):
    began = clock.now
    ledger.maintenance.beat("w2", 7)
    clock.advance(10)
    ledger.maintenance.beat("w1", 8)
    ledger.maintenance.beat("w1", 9)
    assert ledger.maintenance.heartbeats() == [
        Heartbeat(worker="w1", pid=9, seen_at=clock.now, revision=REVISION),
        Heartbeat(worker="w2", pid=7, seen_at=began, revision=REVISION),
    ]


def test_first_heartbeats_at_once_are_no_trouble(ledger: Ledger):
    results = at_once(*[lambda: ledger.maintenance.beat("w1", 1)] * 8)
    assert results == [None] * 8
    assert len(ledger.maintenance.heartbeats()) == 1
