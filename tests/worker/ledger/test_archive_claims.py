"""Leases of assets: renewed by their holder only, and careful with what may have killed the last one."""

import pytest

from tests.clock import FakeClock
from tests.factories import LEASE, all_stored, one, state_of, stored, succeeded
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.assets import ArchiveClaim, Archived, Postponed


def taken(ledger: Ledger, limit: int = 10, *, suspects: bool = True) -> list[ArchiveClaim]:
    return ledger.assets.claim(limit, LEASE, suspects=suspects)


def test_a_renewed_claim_stays_with_its_worker(ledger: Ledger, clock: FakeClock):
    succeeded(ledger, 2, links=2)
    slow, dead = taken(ledger)
    clock.advance(100)
    ledger.assets.renew([slow], LEASE)
    clock.advance(119)
    assert [claim.generation.id for claim in taken(ledger)] == [dead.generation.id]
    clock.advance(1)
    assert [claim.generation.id for claim in taken(ledger)] == [slow.generation.id]


def test_renewing_a_claim_that_another_has_taken_over_changes_nothing(ledger: Ledger, clock: FakeClock):
    """As a worker does that was frozen for longer than its lease; also when nobody holds it any more."""
    (claim,) = succeeded(ledger, links=2)
    (frozen,) = taken(ledger)
    clock.advance(120)
    (heir,) = taken(ledger)
    clock.advance(119)
    ledger.assets.renew([frozen], LEASE)
    clock.advance(1)
    (second_heir,) = taken(ledger)
    ledger.assets.record(
        [Archived(second_heir, (Postponed(index=0, error="503"), Postponed(index=1, error="503")), described=False)]
    )
    ledger.assets.renew([frozen, heir, second_heir], LEASE)
    clock.advance(8)
    (last,) = taken(ledger)
    ledger.assets.record([all_stored(last)])
    assert state_of(ledger, claim) is State.ARCHIVED


def test_what_was_held_by_a_worker_that_died_comes_alone(ledger: Ledger, clock: FakeClock):
    """If it was what killed the worker, no other shall suffer with it."""
    succeeded(ledger, 3)
    dead = taken(ledger, 2)
    clock.advance(120)
    counts = [[claim.deaths for claim in taken(ledger)] for _ in range(4)]
    assert counts == [[1], [1], [0], []]
    assert [claim.deaths for claim in dead] == [0, 0]


def test_who_is_busy_with_others_gets_no_suspects(ledger: Ledger, clock: FakeClock):
    succeeded(ledger, 3)
    taken(ledger, 2)
    clock.advance(120)
    assert [claim.deaths for claim in taken(ledger, suspects=False)] == [0]
    assert taken(ledger, suspects=False) == []
    assert [claim.deaths for claim in taken(ledger)] == [1]


def test_deaths_in_a_row_are_counted_and_forgotten_after_any_result(ledger: Ledger, clock: FakeClock):
    (claim,) = succeeded(ledger, links=2)
    for number in range(12):
        (held,) = taken(ledger)
        assert held.deaths == number
        clock.advance(120)
    (held,) = taken(ledger)
    ledger.assets.record([Archived(held, (stored(0),), described=False)])
    (held,) = taken(ledger)
    assert held.deaths == 0
    ledger.assets.record([Archived(held, (stored(1),), described=True)])
    assert one(ledger, claim).state is State.ARCHIVED


@pytest.mark.parametrize("results", [(), (stored(0),)], ids=["nothing done", "one done"])
def test_what_is_given_back_by_a_worker_that_stops_is_no_suspect(ledger: Ledger, results: tuple):
    succeeded(ledger, links=3)
    (held,) = taken(ledger)
    ledger.assets.record([Archived(held, results, described=False)])
    (again,) = taken(ledger)
    assert again.deaths == 0
    assert {asset.tries for asset in again.assets} == {1}
