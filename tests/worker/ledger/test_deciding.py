"""What a person decides: cancel, try again, and nothing that the table of moves does not allow."""

from dataclasses import replace

import pytest

from tests.clock import FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    archived,
    at_once,
    attempts_of,
    claimed,
    events_of,
    failure,
    one,
    queued,
    resubmit,
    state_of,
    stored,
    submitted,
    succeeded,
    success,
)
from worker.errors import NotFound, RequestInvalid, Uncertain
from worker.generation import Refused, State, Trouble
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Lost, Postponed
from worker.ledger.submission import Claim, Submitted


def unclear(ledger: Ledger) -> Claim:
    (claim,) = claimed(ledger)
    ledger.submissions.record([Submitted(claim.attempt_id, Uncertain("no answer", code="time_out"))], POLL_AFTER)
    return claim


def failed(ledger: Ledger) -> Claim:
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim)])
    return claim


def expired(ledger: Ledger) -> Claim:
    (claim,) = succeeded(ledger)
    (held,) = ledger.assets.claim(1, LEASE)
    ledger.assets.record([Archived(held, (Lost(0, "404"),), described=False)])
    return claim


def test_cancel_takes_back_only_what_was_not_submitted(ledger: Ledger):
    under_way = {
        claimed(ledger)[0].generation.id: State.SUBMITTING,
        submitted(ledger)[0].generation.id: State.SUBMITTED,
        archived(ledger)[0]: State.ARCHIVED,
        failed(ledger).generation.id: State.FAILED,
        unclear(ledger).generation.id: State.UNCONFIRMED,
    }
    waiting, dispatched = queued(ledger, 2)
    ledger.dispatch.run(PROVIDER, PLENTY)
    ids = [*under_way, waiting.id, dispatched.id]
    expected = under_way | {waiting.id: State.CANCELLED, dispatched.id: State.CANCELLED}
    assert ledger.generations.cancel(ids) == expected
    assert ledger.generations.cancel(ids) == expected
    assert {generation_id: state_of(ledger, generation_id) for generation_id in ids} == expected
    assert ledger.submissions.claim(9, LEASE) == []
    assert one(ledger, waiting).reason == "cancelled"


def test_an_unknown_id_is_named_and_nothing_is_done(ledger: Ledger):
    (known,) = queued(ledger)
    for verb in (ledger.generations.cancel, ledger.generations.retry):
        with pytest.raises(NotFound, match="there is no generation gen_nobody; `darkroom list` shows those that exist"):
            verb([known.id, "gen_nobody"])
    assert state_of(ledger, known) is State.QUEUED


def test_a_failed_generation_is_submitted_again(ledger: Ledger):
    claim = failed(ledger)
    assert ledger.generations.retry([claim.generation.id]) == {claim.generation.id: State.QUEUED}
    found = one(ledger, claim)
    assert (found.task_id, found.progress, found.reason, found.message, found.finished_at) == (None,) * 5
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 1
    (second,) = ledger.submissions.claim(1, LEASE)
    assert second.attempt_id != claim.attempt_id
    assert attempts_of(ledger, claim) == ["failed", "sending"]


def test_an_unconfirmed_one_is_not_simply_tried_again(ledger: Ledger):
    claim = unclear(ledger)
    assert ledger.generations.retry([claim.generation.id]) == {claim.generation.id: State.UNCONFIRMED}
    assert attempts_of(ledger, claim) == ["uncertain"]


def test_retry_leaves_alone_what_is_under_way_or_done(ledger: Ledger):
    expected = {
        archived(ledger)[0]: State.ARCHIVED,
        succeeded(ledger)[0].generation.id: State.SUCCEEDED,
        submitted(ledger)[0].generation.id: State.SUBMITTED,
        queued(ledger)[0].id: State.QUEUED,
    }
    assert ledger.generations.retry([*expected]) == expected
    assert {generation_id: state_of(ledger, generation_id) for generation_id in expected} == expected


def test_what_expired_is_fetched_again_and_not_submitted(ledger: Ledger, clock: FakeClock):
    claim = expired(ledger)
    clock.advance(60)
    ledger.generations.retry([claim.generation.id])
    found = one(ledger, claim)
    assert (found.state, found.reason, found.tries) == (State.SUCCEEDED, None, 1)
    (held,) = ledger.assets.claim(1, LEASE)
    assert [(asset.state, asset.tries, asset.renewals) for asset in held.assets] == [("waiting", 1, 0)]


def test_cancel_and_claim_at_once_agree(ledger: Ledger):
    ids = [generation.id for generation in queued(ledger, 20)]
    ledger.dispatch.run(PROVIDER, PLENTY)
    cancelled, claims = at_once(lambda: ledger.generations.cancel(ids), lambda: ledger.submissions.claim(20, LEASE))
    taken = {claim.generation.id for claim in claims}
    assert {generation_id for generation_id, state in cancelled.items() if state is State.CANCELLED} == set(ids) - taken


def test_many_who_retry_overlapping_lists_never_wait_for_each_other_in_a_circle(ledger: Ledger):
    claims = [submitted(ledger, 2, batch=f"b{number}") for number in range(4)]
    everything = [claim for pair in claims for claim in pair]
    ledger.generations.apply_outcomes([failure(claim) for claim in everything])
    ids = [claim.generation.id for claim in everything]
    results = at_once(*[lambda order=order: ledger.generations.retry(order) for order in [ids, ids[::-1]] * 4])
    assert results == [dict.fromkeys(ids, State.QUEUED)] * 8


def test_a_success_still_wins_over_a_cancelled_retry(ledger: Ledger):
    claim = unclear(ledger)
    resubmit(ledger, claim)
    ledger.generations.cancel([claim.generation.id])
    assert ledger.generations.apply_outcomes([success(claim)]) == ["applied"]
    assert state_of(ledger, claim) is State.SUCCEEDED


def test_only_refused_bytes_that_are_kept_can_be_accepted(ledger: Ledger):
    (claim,) = succeeded(ledger, links=2)
    (held,) = ledger.assets.claim(1, LEASE)
    aside = Refused(3, "ab" * 32, "image/png", "damaged")
    results = (Postponed(index=0, error="damaged", reason=Trouble.BAD_CONTENT, refused=aside), Lost(1, "404"))
    ledger.assets.record([Archived(held, results, described=False)])
    for index in (1, 2):
        with pytest.raises(RequestInvalid, match=f"no refused file is kept for asset {index}"):
            ledger.assets.accept(held.generation.id, [0, index], "somebody")
    assert ledger.assets.refused_bytes() == 3
    for _ in range(2):
        ledger.assets.accept(held.generation.id, [0], "somebody", "looked at it")
    assert events_of(ledger, claim).count("asset.accepted") == 1
    (again,) = ledger.assets.claim(1, LEASE)
    accepted = again.assets[0].accepted
    assert accepted is not None
    assert (accepted.by, accepted.why) == ("somebody", "damaged")
    ledger.assets.record([Archived(again, (replace(stored(0), accepted=True),), described=True)])
    assert ledger.assets.refused_bytes() == 0
    kept = ledger.generations.assets_of([held.generation.id])[held.generation.id][0]
    assert (kept.state, kept.refused, kept.accepted) == ("stored", None, accepted)


def test_what_waits_for_its_next_try_is_tried_now(ledger: Ledger):
    (claim,) = succeeded(ledger)
    (held,) = ledger.assets.claim(1, LEASE)
    ledger.assets.record([Archived(held, (Postponed(index=0, error="503"),), described=False)])
    assert ledger.assets.claim(1, LEASE) == []
    assert ledger.generations.retry([claim.generation.id]) == {claim.generation.id: State.SUCCEEDED}
    assert len(ledger.assets.claim(1, LEASE)) == 1
