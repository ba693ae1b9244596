"""What the board asks for many batches at once."""

from datetime import timedelta

import pytest

from tests.clock import FakeClock
from tests.factories import archived, claimed, failure, new, queued, submitted, succeeded
from tests.worker.ledger.statements import statements_of
from worker.errors import Uncertain
from worker.failures import Category
from worker.ledger import Ledger
from worker.ledger.access import NewAction
from worker.ledger.submission import Submitted

pytestmark = pytest.mark.matrix


def batch_of(ledger: Ledger, name: str) -> str:
    found = ledger.generations.newest_batch(name)
    assert found is not None
    return found


def test_what_ended_lately_is_counted_by_batch(ledger: Ledger, clock: FakeClock):
    archived(ledger, 2, batch="old")
    before = clock.advance(minutes=10) - timedelta(minutes=5)
    archived(ledger, 3, batch="spring")
    archived(ledger, 1, batch="autumn")
    # One without a batch is nobody's.
    archived(ledger)
    succeeded(ledger, batch="not stored yet")
    found = ledger.generations.ended_lately(before, 1000)
    assert found.numbers == {batch_of(ledger, "spring"): 3, batch_of(ledger, "autumn"): 1}
    assert found.since == before


def test_of_very_many_only_the_last_ones_are_looked_at_and_the_time_is_shorter(ledger: Ledger, clock: FakeClock):
    before = clock()
    clock.advance(minutes=1)
    archived(ledger, 2, batch="spring")
    then = clock.advance(minutes=1)
    archived(ledger, 2, batch="spring")
    found = ledger.generations.ended_lately(before, 2)
    assert found.numbers == {batch_of(ledger, "spring"): 2}
    assert found.since == then


def test_failures_are_counted_by_batch_and_kind_and_told_which_are_new(ledger: Ledger, clock: FakeClock):
    claims = submitted(ledger, 5, batch="spring")
    ledger.generations.apply_outcomes([failure(claims[0], reason="timeout"), failure(claims[1], reason="timeout")])
    since = clock.advance(minutes=1)
    ledger.generations.apply_outcomes(
        # What the provider calls a failure of its own is its moderators' work, says its message.
        [failure(claims[2], reason="timeout"), failure(claims[3], reason="server_error", message="banned words")]
    )
    spring = batch_of(ledger, "spring")
    others = submitted(ledger, 1, batch="autumn")
    ledger.generations.apply_outcomes([failure(others[0])])
    assert set(ledger.generations.failed_of_batches([spring], since)) == {
        (spring, Category.PROVIDER, "timeout", 3, 1),
        (spring, Category.MODERATION, "server_error", 1, 1),
    }
    assert ledger.generations.failed_of_batches([], since) == []


def test_what_is_unconfirmed_counts_as_such(ledger: Ledger, clock: FakeClock):
    (claim,) = claimed(ledger, batch="spring")
    ledger.submissions.record(
        [Submitted(claim.attempt_id, Uncertain("it was silent", code="read_timeout"))], timedelta(minutes=1)
    )
    spring = batch_of(ledger, "spring")
    (found,) = ledger.generations.failed_of_batches([spring], clock())
    assert (found.category, found.number, found.lately) == (Category.UNCONFIRMED, 1, 0)


def test_the_first_and_the_last_of_each_open_state_stand_for_all(ledger: Ledger):
    archived(ledger, 2, batch="over")
    sent = [claim.generation.id for claim in submitted(ledger, 3, batch="spring")]
    spring = batch_of(ledger, "spring")
    waiting = [one.id for one in ledger.generations.create([new(f"{i}", batch_id=spring) for i in range(4)])]
    queued(ledger, 2, batch="another")
    found = ledger.generations.edges_of_batches([spring, batch_of(ledger, "over")])
    assert {one.id for one in found} == {sent[0], sent[-1], waiting[0], waiting[-1]}
    assert ledger.generations.edges_of_batches([]) == []


def test_assets_at_risk_are_counted_by_batch(ledger: Ledger, clock: FakeClock):
    succeeded(ledger, 2, links=4, batch="spring")
    succeeded(ledger, 1, links=1)
    far = clock() + timedelta(days=2)
    assert ledger.assets.count_at_risk(far) == {batch_of(ledger, "spring"): 8, None: 1}
    assert sum(ledger.assets.count_at_risk(far).values()) == len(ledger.assets.at_risk(far))
    assert ledger.assets.count_at_risk(clock()) == {}


def test_what_was_done_to_a_batch_is_found(ledger: Ledger, clock: FakeClock):
    for subject in ("batch_1", "batch_2", "batch_1"):
        clock.advance(1)
        ledger.access.record_action(NewAction(door="console", actor="ann", action="pause", subject=subject))
    assert [one.subject for one in ledger.access.actions_about("batch_1")] == ["batch_1", "batch_1"]
    assert ledger.access.actions_about("batch_3") == []


@pytest.mark.parametrize("number", [1, 20])
def test_the_number_of_batches_does_not_matter(ledger: Ledger, clock: FakeClock, number: int):
    for name in range(number):
        queued(ledger, 2, batch=f"batch {name}")
    ids = [one.id for one in ledger.generations.newest_batches(50)]
    assert len(ids) == number
    with statements_of(ledger) as sent:
        ledger.generations.ended_lately(clock(), 1000)
        ledger.generations.failed_of_batches(ids, clock())
        ledger.generations.edges_of_batches(ids)
        ledger.assets.count_at_risk(clock())
        ledger.approvals.count_pending_of(ids)
    assert len([one for one in sent if one != "BEGIN"]) == 6
