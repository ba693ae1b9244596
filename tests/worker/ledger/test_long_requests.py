"""A request of several transactions is claimed, renewed, kept, given up and forgotten."""

from datetime import timedelta

import pytest

from tests.clock import NOON, FakeClock
from worker.errors import KeyInUse, KeyReused
from worker.ledger import Ledger
from worker.ledger.access import Once
from worker.ledger.access.long_requests import Claimed

LEASE = timedelta(seconds=30)
ONCE = Once(owner="tok_1", key="order-1", request_sha256="ab")
OTHER = Once(owner="tok_1", key="order-1", request_sha256="cd")
MADE = {"batch": ["batch_1"]}


def test_one_at_a_time_carries_a_request_out(ledger: Ledger, clock: FakeClock) -> None:
    assert ledger.access.claim_request(ONCE, LEASE) == Claimed(None, NOON, is_new=True)
    clock.advance(29)
    with pytest.raises(KeyInUse):
        ledger.access.claim_request(ONCE, LEASE)
    with pytest.raises(KeyReused):
        ledger.access.claim_request(OTHER, LEASE)
    # The keys of another token have nothing to do with it.
    assert ledger.access.claim_request(Once(owner="tok_2", key="order-1", request_sha256="cd"), LEASE).is_new


def test_a_lease_that_is_renewed_goes_on(ledger: Ledger, clock: FakeClock) -> None:
    ledger.access.claim_request(ONCE, LEASE)
    for _ in range(3):
        clock.advance(20)
        ledger.access.renew_request(ONCE, LEASE)
    with pytest.raises(KeyInUse):
        ledger.access.claim_request(ONCE, LEASE)


def test_whoever_died_is_followed_by_the_same_request_which_knows_when_it_began(
    ledger: Ledger, clock: FakeClock
) -> None:
    ledger.access.claim_request(ONCE, LEASE)
    clock.advance(31)
    assert ledger.access.claim_request(ONCE, LEASE) == Claimed(None, NOON, is_new=False)
    with pytest.raises(KeyInUse):
        ledger.access.claim_request(ONCE, LEASE)


def test_what_was_made_is_kept_for_good(ledger: Ledger, clock: FakeClock) -> None:
    ledger.access.claim_request(ONCE, LEASE)
    ledger.access.keep_request(ONCE, MADE)
    # Late: by the thread of the one that kept it, or by one that took so long that another kept it.
    ledger.access.renew_request(ONCE, LEASE)
    ledger.access.give_up_request(ONCE)
    ledger.access.forget_request(ONCE)
    clock.advance(days=1)
    assert ledger.access.claim_request(ONCE, LEASE) == Claimed(MADE, NOON, is_new=False)
    with pytest.raises(KeyReused):
        ledger.access.claim_request(OTHER, LEASE)


def test_what_was_broken_off_is_completed_at_once_by_the_same_request_only(ledger: Ledger, clock: FakeClock) -> None:
    ledger.access.claim_request(ONCE, LEASE)
    ledger.access.give_up_request(ONCE)
    with pytest.raises(KeyReused):
        ledger.access.claim_request(OTHER, LEASE)
    # At the same time by the clock, or by one that is behind: it is the same request all the same.
    clock.advance(-1)
    assert ledger.access.claim_request(ONCE, LEASE) == Claimed(None, NOON, is_new=False)


def test_the_key_of_what_came_to_nothing_is_free(ledger: Ledger) -> None:
    ledger.access.claim_request(ONCE, LEASE)
    ledger.access.forget_request(ONCE)
    assert ledger.access.claim_request(OTHER, LEASE).is_new
