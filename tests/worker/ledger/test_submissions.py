"""The only dangerous step: one attempt, one POST, and every way in which it can end."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import event, select, text, update

from tests.clock import NOON, FakeClock
from tests.cutting_proxy import Cut, CuttingProxy
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    ask,
    at_once,
    attempts_of,
    claimed,
    events_of,
    flat,
    history,
    one,
    progress,
    queued,
    resubmit,
    state_of,
    submitted,
    success,
    task_of,
)
from tests.patience import patient
from tests.worker.ledger.purses import NO_CAP, totals
from worker.errors import AccountBlocked, LedgerUnavailable, NotTaken, ProviderError, Rejected, Uncertain
from worker.generation import Accepted, State
from worker.ledger import Ledger
from worker.ledger.changes import Changes, Person
from worker.ledger.dispatch.accounts import BLOCKED_FOR
from worker.ledger.schema import attempts
from worker.ledger.submission import Claim, Decision, Submitted

FINAL_WORDS: list[Accepted | ProviderError] = [
    Accepted("another-task"),
    NotTaken("the connection was refused", code="refused"),
    Rejected("the prompt is forbidden", code="forbidden"),
    Uncertain("no answer", code="time_out"),
]


def record(ledger: Ledger, claim: Claim, result: Accepted | ProviderError) -> None:
    ledger.submissions.record([Submitted(claim.attempt_id, result)], POLL_AFTER)


def test_a_claim_is_written_down_before_anything_is_sent(ledger: Ledger):
    (claim,) = claimed(ledger)
    found = one(ledger, claim)
    assert (found.state, found.tries) == (State.SUBMITTING, 1)
    (attempt,) = ledger.generations.story(found.id).attempts
    assert (attempt.id, attempt.number, attempt.state, attempt.sent_at) == (claim.attempt_id, 1, "sending", NOON)
    assert len(bytes.fromhex(claim.attempt_id)) == 16
    assert history(ledger, claim) == [State.QUEUED, State.SUBMITTING]


def test_nothing_is_claimed_that_was_not_dispatched(ledger: Ledger):
    queued(ledger, 3)
    assert ledger.submissions.claim(10, LEASE) == []


def test_four_workers_at_once_never_take_the_same_generation(ledger: Ledger):
    queued(ledger, 40)
    ledger.dispatch.run(PROVIDER, PLENTY)
    claims = flat(at_once(*[lambda: [claim for _ in range(8) for claim in ledger.submissions.claim(2, LEASE)]] * 4))
    assert len({claim.generation.id for claim in claims}) == len(claims) == 40
    assert ledger.generations.counts() == {State.SUBMITTING: 40}


def test_accepted(ledger: Ledger):
    (claim,) = submitted(ledger)
    found = one(ledger, claim)
    assert (found.state, found.task_id, found.submitted_at) == (State.SUBMITTED, task_of(claim), NOON)
    assert attempts_of(ledger, claim) == ["accepted"]
    assert events_of(ledger, claim) == ["generation.submitted"]


@pytest.mark.parametrize(("asked", "seconds"), [(timedelta(seconds=40), 40), (None, 1), (timedelta(0), 1)])
def test_what_was_not_taken_is_tried_again_after_a_while(
    ledger: Ledger, clock: FakeClock, asked: timedelta | None, seconds: int
):
    (claim,) = claimed(ledger)
    record(ledger, claim, NotTaken("busy", code="busy", status=503, retry_after=asked))
    found = one(ledger, claim)
    assert (found.state, found.reason, found.tries) == (State.QUEUED, "busy", 1)
    assert attempts_of(ledger, claim) == ["rejected"]
    clock.advance(seconds - 0.1)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    clock.advance(0.1)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 1
    (again,) = ledger.submissions.claim(9, LEASE)
    assert again.attempt_id != claim.attempt_id
    record(ledger, again, Accepted("t1"))
    assert (one(ledger, claim).reason, attempts_of(ledger, claim)) == (None, ["rejected", "accepted"])


def test_each_refusal_makes_the_wait_longer(ledger: Ledger, clock: FakeClock):
    queued(ledger)
    waits = []
    for _ in range(4):
        began = clock.now
        while not ledger.dispatch.run(PROVIDER, PLENTY):
            clock.advance(0.5)
        waits.append((clock.now - began).total_seconds())
        record(ledger, ledger.submissions.claim(1, LEASE)[0], NotTaken("refused", code="refused"))
    assert waits == [0, 1, 2, 4]


def test_too_many_requests_stops_the_provider_for_as_long_as_it_asks(ledger: Ledger, clock: FakeClock):
    (claim,) = claimed(ledger)
    queued(ledger)
    record(ledger, claim, NotTaken("slower", code="busy", status=429, retry_after=timedelta(seconds=20)))
    clock.advance(19)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    clock.advance(1)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 2


def test_a_blocked_account_stops_the_provider_and_tells_it_once(ledger: Ledger, clock: FakeClock):
    claims = claimed(ledger, 3)
    blocked = AccountBlocked("the balance is empty", code="used_up", status=402)
    ledger.submissions.record([Submitted(claim.attempt_id, blocked) for claim in claims], POLL_AFTER)
    assert [state_of(ledger, claim) for claim in claims] == [State.QUEUED] * 3
    assert sum(events_of(ledger, claim).count("provider.paused") for claim in claims) == 1
    clock.advance(BLOCKED_FOR.total_seconds() - 1)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    # As soon as somebody has paid and says so, they go, all of them.
    assert ledger.dispatch.resume_account(PROVIDER)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 3


def test_rejected_for_good(ledger: Ledger):
    (claim,) = claimed(ledger)
    record(ledger, claim, Rejected("the prompt is forbidden", code="forbidden", status=400))
    found = one(ledger, claim)
    assert (found.state, found.reason) == (State.FAILED, "forbidden")
    assert found.message == "the prompt is forbidden (code forbidden, HTTP 400)"
    assert attempts_of(ledger, claim) == ["rejected"]


def test_without_a_clear_answer_it_is_never_submitted_again_by_itself(ledger: Ledger, clock: FakeClock):
    (claim,) = claimed(ledger)
    record(ledger, claim, Uncertain("no answer", code="time_out"))
    for _ in range(50):
        clock.advance(hours=1)
        assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
        assert ledger.submissions.claim(10, LEASE) == []
        assert ledger.submissions.mark_lost_unconfirmed() == 0
    found = one(ledger, claim)
    assert (found.state, found.reason, found.tries) == (State.UNCONFIRMED, "time_out", 1)
    assert attempts_of(ledger, claim) == ["uncertain"]
    assert events_of(ledger, claim) == ["generation.unconfirmed"]


def test_a_dead_worker_leaves_its_submissions_unconfirmed(ledger: Ledger, clock: FakeClock):
    dead = claimed(ledger, 2)
    clock.advance(100)
    (alive,) = claimed(ledger)
    assert ledger.submissions.mark_lost_unconfirmed() == 0
    clock.advance(21)
    assert ledger.submissions.mark_lost_unconfirmed() == 2
    assert ledger.submissions.mark_lost_unconfirmed() == 0
    assert [state_of(ledger, claim) for claim in (*dead, alive)] == [State.UNCONFIRMED] * 2 + [State.SUBMITTING]
    assert one(ledger, dead[0]).reason == "worker_lost"
    assert attempts_of(ledger, dead[0]) == ["uncertain"]


def test_a_renewed_submission_stays_with_its_worker(ledger: Ledger, clock: FakeClock):
    slow, dead = claimed(ledger, 2)
    assert slow.lease_until == NOON + LEASE
    clock.advance(100)
    ledger.submissions.renew([slow.attempt_id], LEASE)
    clock.advance(21)
    assert ledger.submissions.mark_lost_unconfirmed() == 1
    assert (state_of(ledger, slow), state_of(ledger, dead)) == (State.SUBMITTING, State.UNCONFIRMED)
    clock.advance(100)
    assert ledger.submissions.mark_lost_unconfirmed() == 1


def test_renewing_what_was_given_up_changes_nothing(ledger: Ledger, clock: FakeClock):
    """As a worker does that was frozen for longer than its lease."""
    frozen, settled = claimed(ledger, 2)
    record(ledger, settled, NotTaken("refused", code="refused"))
    clock.advance(121)
    ledger.submissions.mark_lost_unconfirmed()
    before = [ledger.generations.story(claim.generation.id) for claim in (frozen, settled)]
    ledger.submissions.renew([frozen.attempt_id, settled.attempt_id], LEASE)
    assert [ledger.generations.story(claim.generation.id) for claim in (frozen, settled)] == before
    assert attempts_of(ledger, frozen) == ["uncertain"]


def test_renewing_does_not_wait_for_those_that_are_settled_meanwhile(postgresql_url: str, clock: FakeClock):
    ledger = Ledger(postgresql_url, clock)
    busy, slow = claimed(ledger, 2)
    with ledger.database.write() as connection:
        connection.execute(select(attempts).where(attempts.c.id == busy.attempt_id).with_for_update())
        clock.advance(60)
        ledger.submissions.renew([busy.attempt_id, slow.attempt_id], LEASE)
    clock.advance(61)
    assert ledger.submissions.mark_lost_unconfirmed() == 1
    assert (state_of(ledger, busy), state_of(ledger, slow)) == (State.UNCONFIRMED, State.SUBMITTING)
    ledger.close()


def test_a_worker_that_was_only_slow_may_still_say_that_it_was_accepted(ledger: Ledger, clock: FakeClock):
    (claim,) = claimed(ledger)
    clock.advance(121)
    ledger.submissions.mark_lost_unconfirmed()
    record(ledger, claim, Accepted("t1"))
    assert (one(ledger, claim).state, one(ledger, claim).task_id) == (State.SUBMITTED, "t1")
    assert attempts_of(ledger, claim) == ["accepted"]


def test_a_slow_worker_brings_back_what_was_certainly_not_taken(ledger: Ledger, clock: FakeClock):
    """Nobody is asked what the program knows."""
    (claim,) = claimed(ledger)
    clock.advance(121)
    ledger.submissions.mark_lost_unconfirmed()
    ask(ledger)
    record(ledger, claim, NotTaken("refused", code="refused"))
    assert (state_of(ledger, claim), attempts_of(ledger, claim)) == (State.QUEUED, ["rejected"])
    clock.advance(1)
    ledger.dispatch.run(PROVIDER, PLENTY)
    (again,) = ledger.submissions.claim(9, LEASE)
    record(ledger, again, Accepted("t1"))
    # It is asked for as often as one that was never unclear.
    clock.advance(POLL_AFTER.total_seconds())
    assert [silent.asked for silent in ask(ledger)] == [1]


@pytest.mark.parametrize("decision", list(Decision))
def test_a_slow_worker_changes_nothing_once_a_person_has_decided(ledger: Ledger, clock: FakeClock, decision: Decision):
    (claim,) = claimed(ledger)
    clock.advance(121)
    ledger.submissions.mark_lost_unconfirmed()
    ledger.submissions.resolve([claim.generation.id], decision, Person("somebody"))
    before = ledger.generations.story(claim.generation.id)
    record(ledger, claim, NotTaken("refused", code="refused"))
    after = ledger.generations.story(claim.generation.id)
    assert (after.generation, after.transitions) == (before.generation, before.transitions)
    # Of one that was replaced, it says that it cost nothing.
    assert (after.attempts == before.attempts) is (decision is not Decision.RESUBMIT)


def test_what_was_claimed_and_not_begun_is_queued_again_at_no_cost(ledger: Ledger, clock: FakeClock):
    queued(ledger, 2)
    ledger.dispatch.run(PROVIDER, PLENTY, NO_CAP)
    begun, left = ledger.submissions.claim(9, LEASE)
    assert ledger.submissions.begin(begun.attempt_id)
    ledger.submissions.requeue_unsent()
    assert [state_of(ledger, one) for one in (begun, left)] == [State.SUBMITTING, State.QUEUED]
    assert attempts_of(ledger, left) == ["rejected"]
    assert totals(ledger) == {"reserved": 1, "released": 1}
    # Its thread comes too late, and the one that has begun does not begin again.
    assert not ledger.submissions.begin(left.attempt_id)
    assert not ledger.submissions.begin(begun.attempt_id)
    clock.advance(1)
    assert ledger.dispatch.run(PROVIDER, PLENTY, NO_CAP) == 1
    (again,) = ledger.submissions.claim(9, LEASE)
    assert ledger.submissions.begin(again.attempt_id)
    assert totals(ledger) == {"reserved": 2, "released": 1}


def test_giving_back_takes_nothing_back_that_is_known_already(ledger: Ledger):
    heard, recorded = claimed(ledger, 2)
    ledger.generations.apply_outcomes([success(heard)])
    record(ledger, recorded, Accepted("t1"))
    ledger.submissions.requeue_unsent()
    assert [state_of(ledger, claim) for claim in (heard, recorded)] == [State.SUCCEEDED, State.SUBMITTED]
    assert [*attempts_of(ledger, heard), *attempts_of(ledger, recorded)] == ["succeeded", "accepted"]


def test_what_was_not_sent_is_queued_again_also_when_it_was_taken_for_lost(ledger: Ledger, clock: FakeClock):
    (claim,) = claimed(ledger)
    clock.advance(121)
    assert ledger.submissions.mark_lost_unconfirmed() == 1
    ledger.submissions.requeue_unsent()
    assert (state_of(ledger, claim), one(ledger, claim).reason) == (State.QUEUED, "not_sent")


def test_a_claim_for_which_the_disk_has_no_room_leaves_nothing_behind(sqlite_url: str, clock: FakeClock):
    ledger = Ledger(sqlite_url, clock)
    queued(ledger, 200)
    ledger.dispatch.run(PROVIDER, PLENTY)
    most = ["PRAGMA max_page_count=1", "PRAGMA max_page_count=1000000"]
    event.listen(ledger.database.engine, "begin", lambda connection: connection.exec_driver_sql(most[0]))
    with pytest.raises(LedgerUnavailable, match="full"):
        ledger.submissions.claim(200, LEASE)
    del most[0]
    ledger.submissions.requeue_unsent()
    assert len(ledger.submissions.claim(200, LEASE)) == 200
    assert {len(ledger.generations.story(one.id).attempts) for one in ledger.generations.page(limit=200)} == {1}
    ledger.close()


@pytest.mark.parametrize("verb", ["claim", "renew", "record"])
def test_a_claim_that_got_no_answer_is_settled_by_the_next_transaction(
    postgresql_url: str, clock: FakeClock, verb: str
):
    """While others are under way the task goes on, and a lease is short."""
    with CuttingProxy(postgresql_url) as proxy:
        ledger = Ledger(proxy.url, clock)
        (busy,) = claimed(ledger)
        queued(ledger)
        ledger.dispatch.run(PROVIDER, PLENTY)
        proxy.arm(Cut.COMMITTED)
        with pytest.raises(LedgerUnavailable):
            ledger.submissions.claim(9, LEASE)
        assert ledger.generations.counts() == {State.SUBMITTING: 2}
        {
            "claim": lambda: ledger.submissions.claim(9, LEASE),
            "renew": lambda: ledger.submissions.renew([busy.attempt_id], LEASE),
            "record": lambda: record(ledger, busy, Uncertain("no answer", code="time_out")),
        }[verb]()
        assert ledger.generations.counts()[State.QUEUED] == 1
        # What is under way stays so.
        assert ledger.submissions.begin(busy.attempt_id) == (verb != "record")
        ledger.close()


def test_a_claim_that_is_committed_after_all_is_given_back_when_it_is(postgresql_url: str, clock: FakeClock):
    """Its COMMIT comes to the server long after the connection was lost: by then, nobody may have forgotten it."""
    direct = Ledger(postgresql_url, clock)
    generations = queued(direct, 3)
    direct.dispatch.run(PROVIDER, PLENTY)
    with CuttingProxy(postgresql_url) as proxy:
        ledger = Ledger(proxy.url, clock)
        ledger.maintenance.ping()
        proxy.arm(Cut.LATE)
        with pytest.raises(LedgerUnavailable):
            ledger.submissions.claim(2, LEASE)
        with pytest.raises(LedgerUnavailable, match="by its own claim"):
            ledger.submissions.requeue_unsent()
        # It holds up no other.
        (other,) = ledger.submissions.claim(9, LEASE)
        assert ledger.submissions.begin(other.attempt_id)
        proxy.release()
        give_up_at = time.monotonic() + patient(30)
        while direct.generations.counts() != {State.SUBMITTING: 3} and time.monotonic() < give_up_at:
            time.sleep(0.01)
        record(ledger, other, Accepted("t1"))
        assert direct.generations.counts() == {State.QUEUED: 2, State.SUBMITTED: 1}
        ledger.submissions.requeue_unsent()
        ledger.close()
    tried = [attempt.state for one in generations for attempt in direct.generations.story(one.id).attempts]
    assert sorted(tried) == ["accepted", "rejected", "rejected"]
    direct.close()


@pytest.mark.parametrize("word", FINAL_WORDS, ids=lambda word: type(word).__name__)
def test_a_late_reply_changes_nothing_once_the_callback_has_said_more(ledger: Ledger, word: Accepted | ProviderError):
    finished, going_on = claimed(ledger, 2)
    ledger.generations.apply_outcomes([success(finished), progress(going_on, 30)])
    for claim in (finished, going_on):
        record(ledger, claim, word)
    assert (one(ledger, finished).state, one(ledger, finished).task_id) == (State.SUCCEEDED, task_of(finished))
    assert (one(ledger, going_on).state, one(ledger, going_on).task_id) == (State.SUBMITTED, task_of(going_on))
    assert attempts_of(ledger, finished) == ["succeeded"]
    assert attempts_of(ledger, going_on) == ["accepted"]


def test_two_attempts_never_get_one_task_id(ledger: Ledger):
    (first,) = submitted(ledger)
    (second,) = claimed(ledger)
    record(ledger, second, accepted(first))
    found = one(ledger, second)
    assert (found.state, found.reason, found.task_id) == (State.UNCONFIRMED, "task_id_taken", None)


def test_one_that_is_under_way_when_its_predecessor_succeeds_after_all_is_settled_too(ledger: Ledger, clock: FakeClock):
    """Else it would look for ever like the submission of a dead worker."""
    for word, settled in zip(FINAL_WORDS, ["accepted", "rejected", "rejected", "uncertain"], strict=True):
        (first,) = claimed(ledger)
        record(ledger, first, Uncertain("no answer", code="time_out"))
        resubmit(ledger, first)
        ledger.dispatch.run(PROVIDER, PLENTY)
        (second,) = ledger.submissions.claim(9, LEASE)
        ledger.generations.apply_outcomes([success(first)])
        record(ledger, second, word)
        assert state_of(ledger, first) is State.SUCCEEDED
        assert attempts_of(ledger, first) == ["succeeded", settled]
        # Whether it is paid for as well shows its outcome.
        assert "generation.paid_twice" not in events_of(ledger, first)
        clock.advance(hours=1)
        assert ledger.submissions.mark_lost_unconfirmed() == 0


def test_the_attempt_of_a_dead_worker_is_settled_although_its_predecessor_succeeded(ledger: Ledger, clock: FakeClock):
    (first,) = claimed(ledger)
    record(ledger, first, Uncertain("no answer", code="time_out"))
    resubmit(ledger, first)
    ledger.dispatch.run(PROVIDER, PLENTY)
    ledger.submissions.claim(9, LEASE)
    ledger.generations.apply_outcomes([success(first)])
    clock.advance(hours=1)
    assert [ledger.submissions.mark_lost_unconfirmed() for _ in range(2)] == [1, 0]
    assert (state_of(ledger, first), attempts_of(ledger, first)) == (State.SUCCEEDED, ["succeeded", "uncertain"])


def test_two_that_write_down_one_task_id_at_the_same_moment_lose_neither_reply(postgresql_url: str, clock: FakeClock):
    ledger = Ledger(postgresql_url, clock)
    first, second, third = claimed(ledger, 3)
    replies = [Submitted(second.attempt_id, Accepted("one-task")), Submitted(third.attempt_id, accepted(third))]
    with ThreadPoolExecutor(1) as pool:
        with ledger.database.write() as connection:
            mine = update(attempts).where(attempts.c.id == first.attempt_id)
            connection.execute(mine.values(state="accepted", task_id="one-task"))
            recorded = pool.submit(ledger.submissions.record, replies, POLL_AFTER)
            waiting = text("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
            give_up_at = time.monotonic() + patient(10)
            while not connection.execute(waiting).first() and time.monotonic() < give_up_at:
                time.sleep(0.01)
        # It was refused, and looked again.
        recorded.result()
    assert [state_of(ledger, claim) for claim in (second, third)] == [State.UNCONFIRMED, State.SUBMITTED]
    assert one(ledger, second).reason == "task_id_taken"
    ledger.close()


def test_an_attempt_that_is_settled_at_the_last_moment_does_not_expire(
    postgresql_url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    """Between the look and the lock a slow worker says "not taken", and another one begins anew."""
    ledger = Ledger(postgresql_url, clock)
    (claim,) = claimed(ledger)
    clock.advance(121)
    lock = Changes.lock

    def meanwhile(changes: Changes, generation_ids: Iterable[str]) -> set[str]:
        monkeypatch.undo()
        record(ledger, claim, NotTaken("refused", code="refused"))
        clock.advance(1)
        ledger.dispatch.run(PROVIDER, PLENTY)
        assert len(ledger.submissions.claim(9, LEASE)) == 1
        return lock(changes, generation_ids)

    monkeypatch.setattr(Changes, "lock", meanwhile)
    assert ledger.submissions.mark_lost_unconfirmed() == 0
    assert (state_of(ledger, claim), attempts_of(ledger, claim)) == (State.SUBMITTING, ["rejected", "sending"])
    ledger.close()
