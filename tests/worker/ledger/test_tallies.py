"""What is counted for `/metrics`: in the transaction that it is about, once, and for longer than what it counts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from tests.clock import NOON, FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    PROVIDER,
    all_stored,
    at_once,
    claimed,
    delivery,
    failure,
    flat,
    queued,
    submitted,
    succeeded,
    success,
)
from worker.errors import CallbackUnreadable
from worker.generation import State, Verdict
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Stored
from worker.ledger.maintenance import LINK_LIFE_BOUNDS, STOPPED, Tally, TallyKey, bound_of, estimated_size
from worker.ledger.migrations import upgrade
from worker.ledger.outcome import News
from worker.ledger.outcome.callbacks import MAX_TRIES
from worker.ledger.schema import callbacks, tallies, tally_deltas
from worker.ledger.submission import Claim
from worker.steps import Step

pytestmark = pytest.mark.matrix

ACKNOWLEDGED = TallyKey(Tally.ACKNOWLEDGED, "", "0.25")


def tallied(ledger: Ledger, kind: Tally) -> dict[tuple[str, str], int]:
    return {
        (key.provider, key.value): number
        for key, number in ledger.maintenance.tallies().items()
        if key.kind is kind and number
    }


def came(ledger: Ledger, attempt_id: str, digest: str = "d") -> int:
    """A callback that a worker has claimed."""
    ledger.callbacks.store([delivery(attempt_id, digest=digest)])
    (one,) = ledger.callbacks.claim(10, LEASE)
    return one.id


def of_callback(claim: Claim, callback_id: int, news: News | None = None) -> News:
    found = news or success(claim)
    return News(
        attempt_id=claim.attempt_id,
        outcome=found.outcome,
        cause="callback",
        deadlines=found.deadlines,
        callback_id=callback_id,
    )


def test_callbacks_are_counted_by_verdict_and_stay_so_when_they_are_pruned(ledger: Ledger, clock: FakeClock):
    fox, owl = submitted(ledger, 2)
    ledger.generations.apply_outcomes([of_callback(fox, came(ledger, fox.attempt_id))])
    ledger.generations.apply_outcomes([of_callback(fox, came(ledger, fox.attempt_id, "again"))])
    unreadable = News(attempt_id=owl.attempt_id, outcome=CallbackUnreadable("?"), cause="callback")
    ledger.generations.apply_outcomes([of_callback(owl, came(ledger, owl.attempt_id), unreadable)])
    # What a poll says is no callback.
    ledger.generations.apply_outcomes([failure(owl, cause="poll")])
    there = {(PROVIDER, "applied"): 1, (PROVIDER, "ignored"): 1, (PROVIDER, "unreadable"): 1}
    assert tallied(ledger, Tally.CALLBACKS) == there
    # A person has it read again: it is judged again.
    ledger.callbacks.replay()
    ledger.generations.apply_outcomes([of_callback(owl, ledger.callbacks.claim(10, LEASE)[0].id, success(owl))])
    there[PROVIDER, "applied"] += 1
    clock.advance(days=60)
    while ledger.maintenance.prune_callbacks(clock()).after is not None:
        pass
    with ledger.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(callbacks)).scalar_one() == 1
    assert tallied(ledger, Tally.CALLBACKS) == there


def test_a_verdict_that_was_given_meanwhile_is_not_counted_again(ledger: Ledger):
    (fox,) = submitted(ledger)
    news = of_callback(fox, came(ledger, fox.attempt_id))
    flat([[it] for it in at_once(*[lambda: ledger.generations.apply_outcomes([news])] * 4)])
    assert tallied(ledger, Tally.CALLBACKS) == {(PROVIDER, "applied"): 1}


def test_one_that_breaks_its_readers_is_poison_once_and_those_that_died_are_recoveries(
    ledger: Ledger, clock: FakeClock
):
    ledger.callbacks.store([delivery("a" * 32)])
    for _ in range(MAX_TRIES + 1):
        ledger.callbacks.claim(10, LEASE)
        clock.advance(seconds=200)
    assert tallied(ledger, Tally.CALLBACKS) == {(PROVIDER, Verdict.POISON): 1}
    assert tallied(ledger, Tally.RECOVERIES) == {("", "callback"): MAX_TRIES - 1}
    # One whose reader told why it broke was left behind by nobody.
    ledger.callbacks.store([delivery("b" * 32)])
    (one,) = ledger.callbacks.claim(10, LEASE)
    ledger.callbacks.record_failures({one.id: "KeyError"})
    clock.advance(seconds=200)
    assert len(ledger.callbacks.claim(10, LEASE)) == 1
    assert tallied(ledger, Tally.RECOVERIES) == {("", "callback"): MAX_TRIES - 1}


def test_what_dead_workers_leave_behind_is_counted_when_it_is_taken_over(ledger: Ledger, clock: FakeClock):
    claimed(ledger, 3)
    succeeded(ledger)
    assert ledger.assets.claim(1, LEASE)
    clock.advance(seconds=200)
    assert ledger.submissions.mark_lost_unconfirmed() == 3
    assert ledger.submissions.mark_lost_unconfirmed() == 0
    assert ledger.assets.claim(1, LEASE)[0].deaths == 1
    assert tallied(ledger, Tally.RECOVERIES) == {("", "submission"): 3, ("", "archive"): 1}


def test_the_share_of_a_links_life_that_was_left_is_counted_with_the_storing(ledger: Ledger, clock: FakeClock):
    """The link lives until noon of the next day."""
    succeeded(ledger, links=2)
    clock.now = NOON + timedelta(hours=18)
    succeeded(ledger)
    clock.now = NOON + timedelta(hours=21)
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(10, LEASE)])
    # An eighth of the first one's life, twice, and half of the other's.
    assert tallied(ledger, Tally.LINK_LIFE) == {(PROVIDER, "0.25"): 2, (PROVIDER, "0.5"): 1}
    assert tallied(ledger, Tally.LINK_LIFE_MILLIONTHS) == {(PROVIDER, ""): 2 * 125_000 + 500_000}


def test_what_is_stored_after_its_links_end_had_nothing_left(ledger: Ledger, clock: FakeClock):
    succeeded(ledger)
    clock.advance(days=2)
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(10, LEASE)])
    assert tallied(ledger, Tally.LINK_LIFE) == {(PROVIDER, "0"): 1}
    assert tallied(ledger, Tally.LINK_LIFE_MILLIONTHS) == {}


def test_what_has_no_link_or_lost_its_lease_is_not_counted(ledger: Ledger, clock: FakeClock):
    (fox,) = submitted(ledger)
    news = success(fox, links=0, text={"prompts": ["a fox"]})
    ledger.generations.apply_outcomes([news])
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(10, LEASE)])
    succeeded(ledger)
    (late,) = ledger.assets.claim(10, LEASE)
    clock.advance(seconds=200)
    (now,) = ledger.assets.claim(10, LEASE)
    ledger.assets.record([all_stored(late)])
    assert tallied(ledger, Tally.LINK_LIFE) == {}
    # Bytes that lay in the bucket came by no link now.
    accepted = Stored(index=0, object_key="k", sha256="a", bytes=1, content_type="image/png", accepted=True)
    ledger.assets.record([Archived(now, (accepted,), described=True)])
    assert tallied(ledger, Tally.LINK_LIFE) == {}


@pytest.mark.parametrize(("left", "bound"), [(0.0, "0"), (0.01, "0.05"), (0.5, "0.5"), (0.500001, "0.75"), (1, "+Inf")])
def test_a_value_is_counted_under_the_first_bound_that_is_not_below_it(left: float, bound: str):
    assert bound_of(LINK_LIFE_BOUNDS, left) == bound


def test_what_receivers_report_adds_up_and_never_shrinks(ledger: Ledger, clock: FakeClock):
    """Two at once, one that is killed and replaced, and those that are long forgotten."""
    report = ledger.maintenance.report
    first, second = (lambda pid=pid: report(f"receiver.{pid}@h", pid, {ACKNOWLEDGED: 5}) for pid in (1, 2))
    assert at_once(first, second) == [None, None]
    report("receiver.3@h", 3, {ACKNOWLEDGED: 1})
    ledger.maintenance.fold_tallies()
    report("receiver.3@h", STOPPED, {ACKNOWLEDGED: 2})
    assert tallied(ledger, Tally.ACKNOWLEDGED) == {("", "0.25"): 13}
    clock.advance(days=60)
    ledger.maintenance.prune_heartbeats(clock())
    assert ledger.maintenance.processes() == []
    assert tallied(ledger, Tally.ACKNOWLEDGED) == {("", "0.25"): 13}


def test_a_report_that_fails_leaves_nothing_of_it(ledger: Ledger):
    with ledger.database.write() as connection:
        connection.execute(text("ALTER TABLE tally_deltas RENAME TO away"))
        connection.execute(text("ALTER TABLE tallies RENAME TO away_too"))
    try:
        with pytest.raises(Exception, match=r"old|missing|exist"):
            ledger.maintenance.report("receiver.1@h", 1, {ACKNOWLEDGED: 5})
        assert ledger.maintenance.processes() == []
    finally:
        with ledger.database.write() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO tally_deltas"))
            connection.execute(text("ALTER TABLE away_too RENAME TO tallies"))


def test_a_receiver_is_no_worker(ledger: Ledger, clock: FakeClock):
    ledger.maintenance.report("receiver.1@h", 1, {})
    ledger.maintenance.beat("worker.2@h", 2)
    assert [one.worker for one in ledger.maintenance.heartbeats()] == ["worker.2@h"]
    assert [(one.role, one.seen_at) for one in ledger.maintenance.processes()] == [
        ("receiver", clock()),
        ("worker", clock()),
    ]


def test_folding_changes_no_sum_and_leaves_no_row(ledger: Ledger):
    queued(ledger, 3)
    ledger.maintenance.report("receiver.1@h", 1, {ACKNOWLEDGED: 5})
    before = ledger.maintenance.tallies()
    assert ledger.maintenance.fold_tallies() == (0 if ledger.database.is_sqlite else 2)
    assert ledger.maintenance.tallies() == before
    with ledger.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(tally_deltas)).scalar_one() == 0
        assert connection.execute(select(func.count()).select_from(tallies)).scalar_one() == len(before)


def test_how_old_the_unconfirmed_are(ledger: Ledger, clock: FakeClock):
    assert ledger.submissions.unconfirmed_ages(NOON, 10) == (0, None)
    claimed(ledger, 2)
    clock.advance(minutes=30)
    claimed(ledger)
    clock.advance(minutes=40)
    ledger.submissions.mark_lost_unconfirmed()
    assert ledger.generations.counts()[State.UNCONFIRMED] == 3
    assert ledger.submissions.unconfirmed_ages(clock() - timedelta(hours=1), 10) == (2, NOON)
    assert ledger.submissions.unconfirmed_ages(clock() - timedelta(hours=1), 1) == (1, NOON)


def test_since_when_work_is_due(ledger: Ledger, clock: FakeClock):
    assert set(ledger.maintenance.due_since().values()) == {None}
    ledger.callbacks.store([delivery("a" * 32)])
    fox, owl = submitted(ledger, 2)
    ledger.generations.apply_outcomes([success(fox)])
    queued(ledger)
    ledger.dispatch.run(PROVIDER, PLENTY)
    clock.advance(minutes=5)
    ledger.callbacks.store([delivery("b" * 32, received_at=clock())])
    ledger.generations.apply_outcomes([replace(success(owl), deadlines=(NOON + timedelta(hours=25),))])
    found = ledger.maintenance.due_since()
    assert {step: found[step] for step in (Step.INGEST, Step.ARCHIVE, Step.SUBMIT)} == {
        Step.INGEST: NOON,
        Step.ARCHIVE: NOON,
        Step.SUBMIT: NOON,
    }
    # What a worker has claimed is not due, until its lease is over.
    assert len(ledger.assets.claim(10, LEASE)) == 2
    assert ledger.maintenance.due_since()[Step.ARCHIVE] is None
    clock.advance(seconds=LEASE.total_seconds() + 60)
    assert ledger.maintenance.due_since()[Step.ARCHIVE] == clock() - timedelta(seconds=60)


def test_sizes_are_estimated_without_counting(blank_database_url: str, opened: Callable[[str], Ledger]):
    # In a database of its own: what other connections have still to report would be added to the estimate.
    ledger = opened(blank_database_url)
    upgrade(ledger.database)
    queued(ledger, 5)
    if not ledger.database.is_sqlite:
        for statement in ("SELECT pg_stat_force_next_flush()", "ANALYZE generations"):
            with ledger.database.write() as connection:
                connection.execute(text(statement))
    size = estimated_size(ledger.database)
    assert size.rows["generations"] == 5
    assert size.bytes > 100_000
    assert ("generations" in size.table_bytes) is not ledger.database.is_sqlite


def test_a_whole_pass_of_pruning_is_noted(ledger: Ledger, clock: FakeClock):
    assert ledger.maintenance.last_pruned() is None
    for _ in range(2):
        clock.advance(hours=1)
        ledger.maintenance.note_pruned(clock() - timedelta(days=30))
        assert ledger.maintenance.last_pruned() == clock()
