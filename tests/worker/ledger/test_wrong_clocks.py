"""Clocks that are wrong stop nothing for longer than a lease, and take no work away from who does it.

On PostgreSQL machines have wrong clocks of their own; a SQLite file has one clock, which may be wrong until it is put
right. What older versions have written under wrong clocks may lie in either, so both are tried with a clock that jumps.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from tests.asking import a_recipe, asked
from tests.clock import FakeClock
from tests.computer import eventually
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    all_stored,
    archived,
    claimed,
    delivery,
    failure,
    queued,
    state_of,
    submitted,
    succeeded,
)  # fmt: skip
from tests.machines import machine
from worker.errors import AccountBlocked, NotTaken
from worker.generation import Generation, State
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Postponed
from worker.ledger.dispatch import LONGEST_PAUSE, Limits
from worker.ledger.dispatch.accounts import BLOCKED_FOR
from worker.ledger.events import DeliveryFilter
from worker.ledger.maintenance import future_times
from worker.ledger.maintenance.future_times import LONGEST_LEASE
from worker.ledger.schema import UtcDateTime, generations, metadata
from worker.ledger.submission import Submitted
from worker.providers import http
from worker.recipes import Recipe, Step
from worker.runtime import draining

pytestmark = pytest.mark.matrix

AHEAD = (timedelta(minutes=10), timedelta(days=365))
SLOW, FAST = Limits(rate=2, in_flight=1000), Limits(rate=20, in_flight=1000)


# --- machines whose own clocks differ ---


@pytest.fixture(params=[(10, 0), (0, 10), (-10, 10)], ids=str)
def machines(request: pytest.FixtureRequest, postgresql_url: str) -> Iterator[tuple[Ledger, Ledger]]:
    """Two, whose clocks are so many minutes ahead."""
    both = tuple(machine(postgresql_url, timedelta(minutes=ahead)) for ahead in request.param)
    yield both
    for one in both:
        one.close()


def test_no_machine_takes_what_another_one_submits(machines: tuple[Ledger, Ledger]):
    for here, there in (machines, machines[::-1]):
        taken, refused = claimed(here, 2)
        assert there.submissions.mark_lost_unconfirmed() == 0
        results = (accepted(taken), NotTaken("429 too many", code="429", status=429))
        here.submissions.record(
            [Submitted(one.attempt_id, end) for one, end in zip((taken, refused), results, strict=True)], POLL_AFTER
        )
        assert (state_of(here, taken), state_of(here, refused)) == (State.SUBMITTED, State.QUEUED)
        assert there.submissions.unconfirmed() == []
        here.generations.cancel([refused.generation.id])
        here.dispatch.resume_account(PROVIDER)


def some_go(ledger: Ledger) -> bool:
    return ledger.dispatch.run(PROVIDER, FAST) > 0


def test_no_machine_stops_the_dispatch_of_another_one(machines: tuple[Ledger, Ledger]):
    for here, there in (machines, machines[::-1]):

        def all_went(there: Ledger = there) -> bool:
            there.dispatch.run(PROVIDER, FAST)
            return not there.maintenance.is_due("dispatch")

        queued(here, 30)
        # The other one may have emptied the bucket a moment ago.
        eventually(partial(some_go, here), 30)
        eventually(all_went, 30)


def test_no_machine_throws_the_downloads_of_another_one_away(machines: tuple[Ledger, Ledger]):
    for here, there in (machines, machines[::-1]):
        succeeded(here, 4)
        mine = here.assets.claim(4, LEASE)
        assert len(mine) == 4
        assert there.assets.claim(4, LEASE) == []
        here.assets.record([all_stored(claim) for claim in mine])
        assert {state_of(here, claim.generation) for claim in mine} == {State.ARCHIVED}


def test_no_machine_lets_another_one_compare_with_the_bucket_again_and_again(machines: tuple[Ledger, Ledger]):
    here, there = machines
    for one, other in (machines, machines[::-1]):
        one.restore.verify_marker(None)
        assert not other.restore.is_check_due()
    there.restore.verify_marker(None)
    here.restore.marker_unreachable()
    gate = there.restore.state()
    assert gate is not None
    assert gate.closed_at is None


def is_over(ledger: Ledger, moment: datetime) -> bool:
    return ledger.database.clock() > moment


def test_lists_are_in_the_order_in_which_it_was_submitted_wherever(machines: tuple[Ledger, Ledger]):
    made: list[Generation] = []
    for one in machines * 3:
        if made:
            # Two machines agree no better than the round trips in which they measured; an id tells milliseconds.
            eventually(partial(is_over, one, made[-1].created_at + timedelta(milliseconds=1)), 5)
        made += queued(one)
    assert [one.id for one in machines[0].generations.page()] == [one.id for one in made[::-1]]


def test_ids_tell_the_ledgers_time_and_within_it_the_order(ledger: Ledger, clock: FakeClock):
    made = [queued(ledger)[0].id for _ in range(20)]
    clock.advance(hours=-1)
    before = queued(ledger)[0].id
    assert [one.id for one in ledger.generations.page()] == [*made[::-1], before]


def test_a_worker_counts_as_alive_wherever_it_runs(machines: tuple[Ledger, Ledger]):
    here, there = machines
    here.maintenance.beat("here", 1)
    (beat,) = there.maintenance.heartbeats()
    assert beat.silence(there.database.clock()) < timedelta(seconds=20)


# --- a clock that was ahead, and is put right ---


@pytest.fixture(params=AHEAD, ids=str)
def ahead(request: pytest.FixtureRequest, clock: FakeClock) -> timedelta:
    """The clock is ahead by so much from the beginning."""
    found: timedelta = request.param
    clock.now += found
    return found


def test_dispatch_goes_on_at_once_and_no_faster(ledger: Ledger, clock: FakeClock, ahead: timedelta):
    queued(ledger, 300)
    assert ledger.dispatch.run(PROVIDER, SLOW) == 2
    clock.now -= ahead
    assert ledger.dispatch.run(PROVIDER, SLOW) == 0
    for _ in range(5):
        clock.advance(1)
        assert ledger.dispatch.run(PROVIDER, SLOW) == 2


def test_a_person_mends_the_bucket_and_is_told(ledger: Ledger, clock: FakeClock, ahead: timedelta):
    queued(ledger, 3)
    ledger.dispatch.run(PROVIDER, SLOW)
    until = clock.now
    clock.now -= ahead
    assert ledger.dispatch.resume_account(PROVIDER) == {"default": until}
    assert ledger.dispatch.resume_account(PROVIDER) == {}
    clock.advance(1)
    assert ledger.dispatch.run(PROVIDER, SLOW) == 1


def test_a_pause_ends_within_its_longest(ledger: Ledger, clock: FakeClock, ahead: timedelta):
    (claim,) = claimed(ledger)
    blocked = AccountBlocked("the balance is used up", code="used_up", status=402)
    ledger.submissions.record([Submitted(claim.attempt_id, blocked)], POLL_AFTER)
    clock.now -= ahead
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    clock.advance(seconds=(max(LONGEST_PAUSE, BLOCKED_FOR)).total_seconds())
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 1


def test_what_is_held_stays_held_for_one_lease_more_and_comes_up_after_it(
    ledger: Ledger, clock: FakeClock, ahead: timedelta
):
    """Whoever holds it may live; if so, it goes on, and its results are kept."""
    succeeded(ledger, batch="b")
    (download,) = ledger.assets.claim(1, LEASE)
    archived(ledger, batch="c")
    manifest = ledger.assets.claim_manifest(LEASE)
    ledger.events.register_subscribers(["a"])
    (subscriber,) = ledger.events.claim(["a"], 1, LEASE)
    (post,) = claimed(ledger)
    ledger.callbacks.store([delivery(post.attempt_id)])
    (callback,) = ledger.callbacks.claim(1, LEASE)
    assert manifest is not None
    clock.now -= ahead
    ledger.maintenance.due()

    def taken() -> tuple[int, int, bool, int, int]:
        return (
            ledger.submissions.mark_lost_unconfirmed(),
            len(ledger.assets.claim(9, LEASE)),
            ledger.assets.claim_manifest(LEASE) is not None,
            len(ledger.events.claim(["a"], 9, LEASE)),
            len(ledger.callbacks.claim(9, LEASE)),
        )

    assert taken() == (0, 0, False, 0, 0)
    clock.advance(seconds=LONGEST_LEASE.total_seconds() - 1)
    assert taken() == (0, 0, False, 0, 0)
    clock.advance(2)
    assert taken() == (1, 1, True, 1, 1)
    assert (subscriber.subscriber, callback.attempt_id) == ("a", post.attempt_id)
    assert download.generation.id == ledger.generations.page(batch="b")[0].id


def test_a_worker_that_lives_keeps_what_it_holds(ledger: Ledger, clock: FakeClock, ahead: timedelta):
    succeeded(ledger)
    downloads = ledger.assets.claim(1, LEASE)
    (post,) = claimed(ledger)
    clock.now -= ahead
    ledger.maintenance.due()
    for _ in range(30):
        clock.advance(10)
        ledger.assets.renew(downloads, LEASE)
        ledger.submissions.renew([post.attempt_id], LEASE)
        assert ledger.submissions.mark_lost_unconfirmed() == 0
        assert ledger.assets.claim(1, LEASE) == []
    ledger.assets.record([all_stored(claim) for claim in downloads])
    assert state_of(ledger, downloads[0].generation) is State.ARCHIVED


def test_what_waits_for_another_try_is_due_within_its_longest_wait(ledger: Ledger, clock: FakeClock, ahead: timedelta):
    succeeded(ledger)
    ledger.assets.record(
        [Archived(one, (Postponed(index=0, error="503"),), described=False) for one in ledger.assets.claim(1, LEASE)]
    )
    (again,) = claimed(ledger)
    refused = NotTaken("the queue is full", code="full", status=400)
    ledger.submissions.record([Submitted(again.attempt_id, refused)], POLL_AFTER)
    submitted(ledger)
    clock.now -= ahead
    ledger.maintenance.due(POLL_AFTER)
    clock.advance(30)
    assert ledger.maintenance.is_due("dispatch")
    clock.advance(minutes=5)
    assert ledger.maintenance.is_due("archive")
    clock.advance(minutes=10)
    assert ledger.maintenance.is_due("poll")


def test_follow_ups_that_could_not_be_created_are_tried_again_within_minutes(
    ledger: Ledger, clock: FakeClock, ahead: timedelta
):
    archived(ledger, follow_up=("upscale1",))
    (parent,) = ledger.generations.due_follow_ups(1)
    ledger.generations.record_follow_up_failure(parent, "KeyError: 'zoom'")
    clock.now -= ahead
    ledger.maintenance.due()
    assert not ledger.maintenance.is_due("follow_up")
    clock.advance(minutes=3)
    assert ledger.maintenance.is_due("follow_up")


def test_somebody_has_as_long_to_decide_as_the_recipe_says(
    ledger: Ledger, clock: FakeClock, ahead: timedelta, tmp_path: Path
):
    (approval,) = asked(ledger, a_recipe(tmp_path))
    clock.now -= ahead
    ledger.maintenance.due()
    assert ledger.approvals.get(approval.id).expires_at - clock.now == approval.expires_at - approval.asked_at
    clock.advance(days=3)
    assert ledger.approvals.overdue(9) != []


def test_the_steps_of_a_recipe_that_could_not_be_created_are_tried_again_within_minutes(
    ledger: Ledger, clock: FakeClock, ahead: timedelta
):
    archived(ledger, recipe=Recipe(name="r", steps=(Step(id="cut", do="split"),), max_depth=1, max_fan_out=1))
    (due,) = ledger.generations.due_steps(1)
    ledger.generations.record_follow_up_failure(due.generation, "KeyError: 'zoom'")
    clock.now -= ahead
    ledger.maintenance.due()
    assert not ledger.maintenance.is_due("follow_up")
    clock.advance(minutes=3)
    assert ledger.maintenance.is_due("follow_up")


#: when something was, or when it ends whatever the clock says; what dispatch or the gate puts right itself
NOT_WAITED_FOR = {
    "actions.at", "api_tokens.created_at", "api_tokens.expires_at", "api_tokens.revoked_at", "api_tokens.used_at",
    "accounts.open_until", "accounts.opened_at", "accounts.paused_at", "accounts.paused_until", "accounts.refilled_at",
    "accounts.shrunk_at", "approvals.asked_at", "approvals.decided_at", "approvals.sent_at",
    "generations.followed_failure_at", "generations.followed_success_at", "generations.followed_archive_at",
    "recipes.created_at", "assets.accepted_at", "assets.at_risk_at",
    "assets.deadline", "attempts.sent_at", "attempts.settled_at", "batches.completed_at", "batches.created_at",
    "batches.paused_at", "batches.start_at", "batches.unfinished_at",
    "batches.manifest_at", "callbacks.applied_at", "callbacks.received_at", "deliveries.delivered_at", "events.at",
    "flows.asleep_since", "generations.created_at", "generations.finished_at", "generations.followed_up_at",
    "idempotency_keys.created_at", "idempotency_keys.lease_until", "inputs.created_at", "inputs.used_at", "marks.at",
    "generations.submitted_at", "generations.updated_at", "heartbeats.seen_at", "gate.closed_at",
    "gate.compared_at", "gate.idle_since", "gate.opened_at", "gate.tried_at",
    "notify_addresses.created_at", "prunes.ended_at",
    "prunes.before", "sessions.created_at", "sessions.ended_at", "sessions.expires_at", "sessions.seen_at",
    "subscribers.created_at", "subscribers.disabled_at", "subscribers.failing_since",
    "subscribers.left_at", "transitions.at", "users.created_at", "users.logged_in_at", "users.removed_at",
}  # fmt: skip


def test_every_time_that_is_waited_for_is_pulled_back():
    """A new column belongs into `future_times`, or above."""
    known = {str(column) for kind in future_times._KINDS for column in kind.pull._values} | {"approvals.expires_at"}
    times = {
        str(column)
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, UtcDateTime)
    }
    assert known & NOT_WAITED_FOR == set()
    assert times - known == NOT_WAITED_FOR


def test_a_failure_that_may_be_none_is_looked_at_again_within_the_hour(ledger: Ledger, clock: FakeClock):
    clock.now += AHEAD[1]
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim, reason="timeout")])
    clock.now -= AHEAD[1]
    ledger.maintenance.due()
    clock.advance(hours=1)
    assert ledger.maintenance.is_due("poll")


def test_subscribers_are_told_at_once(ledger: Ledger, clock: FakeClock, ahead: timedelta):
    ledger.events.register_subscribers(["a"])
    submitted(ledger)
    (mine,) = ledger.events.claim(["a"], 1, LEASE)
    assert ledger.events.enqueue_new(mine, DeliveryFilter())
    ledger.events.release(mine)
    clock.now -= ahead
    ledger.maintenance.due()
    clock.advance(5)
    (mine,) = ledger.events.claim(["a"], 1, LEASE)
    assert ledger.events.record_and_claim_next(mine, LEASE)


def test_a_failed_subscriber_is_tried_again_within_the_hour(ledger: Ledger, clock: FakeClock, ahead: timedelta):
    ledger.events.register_subscribers(["a"])
    with ledger.database.write() as connection:
        connection.execute(text("UPDATE subscribers SET not_before = :at"), {"at": _stored(ledger, clock)})
    submitted(ledger)
    clock.now -= ahead
    ledger.maintenance.due()
    assert ledger.events.claim(["a"], 1, LEASE) == []
    clock.advance(hours=1)
    assert len(ledger.events.claim(["a"], 1, LEASE)) == 1


def _stored(ledger: Ledger, clock: FakeClock) -> object:
    return f"{clock.now:%Y-%m-%d %H:%M:%S.%f}" if ledger.database.is_sqlite else clock.now


def test_room_that_is_held_by_what_nobody_answers_is_free_an_hour_later(
    ledger: Ledger, clock: FakeClock, ahead: timedelta
):
    submitted(ledger)
    queued(ledger)
    clock.now -= ahead
    ledger.maintenance.due()
    one = Limits(rate=100, in_flight=1)
    assert ledger.dispatch.run(PROVIDER, one) == 0
    clock.advance(minutes=61)
    assert ledger.dispatch.run(PROVIDER, one) == 1


def test_a_dead_worker_does_not_live_in_the_future(ledger: Ledger, clock: FakeClock, ahead: timedelta):
    ledger.maintenance.beat("w", 1)
    clock.now -= ahead
    (beat,) = ledger.maintenance.heartbeats()
    assert beat.silence(clock.now) == ahead
    ledger.maintenance.beat("w", 1)
    (beat,) = ledger.maintenance.heartbeats()
    assert beat.silence(clock.now) == timedelta()


def test_the_gate_compares_once_and_then_keeps_its_pace(ledger: Ledger, clock: FakeClock, ahead: timedelta):
    ledger.restore.verify_marker(None)
    clock.now -= ahead
    assert ledger.restore.is_check_due()
    ledger.restore.marker_unreachable()
    assert not ledger.restore.is_check_due()


def test_a_clock_that_is_set_back_is_noticed_at_once_and_one_that_is_right_only_each_minute(
    ledger: Ledger, clock: FakeClock
):
    ledger.maintenance.due()
    for ahead, looks in ((3600, False), (0, False), (61, True), (-120, True)):
        (made,) = queued(ledger)
        with ledger.database.write() as connection:
            far = update(generations).where(generations.c.id == made.id).values(not_before=clock.now + AHEAD[1])
            connection.execute(far)
        if ahead != 3600:
            clock.advance(ahead)
        ledger.maintenance.due()
        with ledger.database.read() as connection:
            found = select(generations.c.not_before).where(generations.c.id == made.id)
            pulled = connection.execute(found).scalar_one() <= clock.now + LONGEST_PAUSE
        assert pulled == looks


def test_what_is_not_further_ahead_than_it_may_be_stays(ledger: Ledger, clock: FakeClock):
    succeeded(ledger)
    ledger.assets.claim(1, LEASE)
    submitted(ledger)
    claimed(ledger)
    before = _all_times(ledger)
    ledger.maintenance.due(POLL_AFTER)
    assert _all_times(ledger) == before


def test_the_settings_may_have_silent_ones_asked_for_later_than_is_ever_learned(ledger: Ledger, clock: FakeClock):
    hours = timedelta(hours=3)
    (claim,) = claimed(ledger)
    ledger.submissions.record([Submitted(claim.attempt_id, accepted(claim))], hours)
    ledger.maintenance.due(hours)
    clock.advance(hours=2)
    assert not ledger.maintenance.is_due("poll")
    clock.advance(hours=1)
    assert ledger.maintenance.is_due("poll")


def _all_times(ledger: Ledger) -> list[object]:
    with ledger.database.read() as connection:
        return [
            connection.exec_driver_sql(f"SELECT {columns} FROM {table} ORDER BY id").all()
            for table, columns in {
                "generations": "not_before, dispatched_at",
                "attempts": "lease_until, poll_at",
                "assets": "not_before",
            }.items()
        ]


def test_a_bucket_is_not_filled_twice_by_clocks_that_differ_by_little(ledger: Ledger, clock: FakeClock):
    queued(ledger, 100)
    went = 0
    for step in range(20):
        clock.advance(4 if step % 2 else -4)
        went += ledger.dispatch.run(PROVIDER, SLOW)
    assert went == 2 + 2, "the four seconds were there once"


def test_no_wait_that_the_program_sets_is_longer_than_what_counts_as_wrong():
    assert draining.LEASE <= LONGEST_LEASE
    assert LEASE <= LONGEST_LEASE
    assert http.LONGEST_WAIT <= LONGEST_PAUSE
    assert BLOCKED_FOR <= LONGEST_PAUSE
