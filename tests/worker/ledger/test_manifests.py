"""A complete batch gets a manifest, and a new one whenever what it tells has changed."""

from tests.clock import FakeClock
from tests.factories import LEASE, all_stored, archived, at_once, failure, flat, one, submitted, success
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.assets import BatchClaim


def claim(ledger: Ledger) -> BatchClaim:
    found = ledger.assets.claim_manifest(LEASE)
    assert found is not None
    return found


def test_only_a_complete_batch_is_due(ledger: Ledger):
    archived(ledger)
    first, second = submitted(ledger, 2, batch="cats")
    ledger.generations.apply_outcomes([failure(first)])
    assert ledger.assets.claim_manifest(LEASE) is None
    assert "manifest" not in ledger.maintenance.due()
    ledger.generations.apply_outcomes([failure(second)])
    assert ledger.maintenance.due() == ["manifest"]
    taken = claim(ledger)
    assert (taken.id, taken.name) == (one(ledger, first).batch_id, "cats")
    assert ledger.assets.generations_of_batch(taken.id) == [first.generation.id, second.generation.id]


def test_one_worker_writes_it_and_then_it_is_done(ledger: Ledger):
    archived(ledger, 3, batch="cats")
    taken = [found for found in flat([at_once(*[lambda: ledger.assets.claim_manifest(LEASE)] * 4)]) if found]
    assert len(taken) == 1
    assert ledger.assets.record_manifest(taken[0])
    assert ledger.maintenance.due() == []
    assert ledger.assets.claim_manifest(LEASE) is None


def test_what_a_dead_worker_left_is_due_after_its_lease(ledger: Ledger, clock: FakeClock):
    archived(ledger, batch="cats")
    dead = claim(ledger)
    assert ledger.assets.claim_manifest(LEASE) is None
    assert ledger.maintenance.due() == []
    clock.advance(seconds=LEASE.total_seconds() + 1)
    assert ledger.maintenance.due() == ["manifest"]
    living = claim(ledger)
    assert living.id == dead.id
    assert ledger.assets.record_manifest(living)


def test_a_late_writer_has_it_written_again(ledger: Ledger, clock: FakeClock):
    """It was only slow, and may have put an older manifest over the newer one."""
    archived(ledger, batch="cats")
    slow = claim(ledger)
    clock.advance(seconds=LEASE.total_seconds() + 1)
    assert ledger.assets.record_manifest(claim(ledger))
    assert not ledger.assets.record_manifest(slow)
    assert ledger.assets.record_manifest(claim(ledger))
    assert ledger.assets.claim_manifest(LEASE) is None


def test_a_batch_that_a_person_reopens_is_due_when_it_is_complete_once_more(ledger: Ledger):
    first, second = submitted(ledger, 2, batch="cats")
    ledger.generations.apply_outcomes([failure(first), failure(second)])
    assert ledger.assets.record_manifest(claim(ledger))
    ledger.generations.retry([first.generation.id])
    assert ledger.assets.claim_manifest(LEASE) is None
    ledger.generations.cancel([first.generation.id])
    assert ledger.assets.record_manifest(claim(ledger))


def test_a_late_success_is_told_in_a_new_manifest(ledger: Ledger):
    (late,) = submitted(ledger, batch="cats")
    ledger.generations.apply_outcomes([failure(late)])
    assert ledger.assets.record_manifest(claim(ledger))
    ledger.generations.apply_outcomes([success(late)])
    ledger.assets.record([all_stored(held) for held in ledger.assets.claim(9, LEASE)])
    assert one(ledger, late).state is State.ARCHIVED
    assert ledger.assets.record_manifest(claim(ledger))
    assert ledger.assets.claim_manifest(LEASE) is None


def test_a_batch_that_changes_while_its_manifest_is_written_is_due_again_at_once(ledger: Ledger):
    (late,) = submitted(ledger, batch="cats")
    ledger.generations.apply_outcomes([failure(late)])
    writing = claim(ledger)
    ledger.generations.apply_outcomes([success(late)])
    ledger.assets.record([all_stored(held) for held in ledger.assets.claim(9, LEASE)])
    assert not ledger.assets.record_manifest(writing)
    assert ledger.assets.record_manifest(claim(ledger))
