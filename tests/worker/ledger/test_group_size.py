"""How many statements a group of results takes: a few for each kind of result that it has, however many there are."""

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from typing import Any

import pytest

from tests.clock import NOON
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    all_stored,
    delivery,
    failure,
    new,
    progress,
    stored,
    success,
)
from tests.worker.ledger.purses import NO_CAP
from tests.worker.ledger.statements import statements_of
from worker.errors import NotTaken, Rejected, Uncertain
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Lost, Postponed
from worker.ledger.submission import Claim, Submitted

#: with all kinds of results at once, each of which sets columns of its own; in five batches, with events and prices
MOST = {"submissions": 25, "outcomes": 23, "archives": 16}
GROUP = 50
REPLIES = (accepted, lambda _: NotTaken("no", code="no"), lambda _: Rejected("no", code="no"),
           lambda _: Uncertain("?", code="?"))  # fmt: skip
ENDS: tuple[Callable[[int], Any], ...] = (
    *(stored, lambda index: Postponed(index=index, error="503"), lambda index: Lost(index, "404")),
    lambda index: Postponed(index=index, error="404", url="https://cdn.example/new.png", deadline=NOON),
)


def claims_of(ledger: Ledger) -> list[Claim]:
    """In a batch for every ten, all with a price."""
    for batch in range(GROUP // 10):
        ledger.generations.create([new(f"fox {batch} {number}") for number in range(10)], f"batch {batch}")
    ledger.dispatch.run(PROVIDER, PLENTY, NO_CAP)
    return ledger.submissions.claim(GROUP, LEASE)


def submissions(ledger: Ledger) -> Callable[[], Any]:
    claims = claims_of(ledger)
    results = [Submitted(claim.attempt_id, reply(claim)) for claim, reply in zip(claims, cycle(REPLIES), strict=False)]
    return lambda: ledger.submissions.record(results, POLL_AFTER)


def outcomes(ledger: Ledger) -> Callable[[], Any]:
    claims = claims_of(ledger)
    ledger.submissions.record([Submitted(claim.attempt_id, accepted(claim)) for claim in claims[::2]], POLL_AFTER)
    ledger.callbacks.store([delivery(claim.attempt_id) for claim in claims])
    callbacks = {callback.attempt_id: callback.id for callback in ledger.callbacks.claim(GROUP, LEASE)}
    said = cycle((success, success, failure, lambda claim: progress(claim, 40)))
    news = [say(claim) for claim, say in zip(claims, said, strict=False)]
    wanted = [replace(one, callback_id=callbacks[one.attempt_id]) for one in news]
    return lambda: ledger.generations.apply_outcomes(wanted)


def archives(ledger: Ledger) -> Callable[[], Any]:
    claims = claims_of(ledger)
    ledger.generations.apply_outcomes([success(claim, links=2) for claim in claims])
    ends = cycle(ENDS)
    done = [
        all_stored(claim) if number % 2 else Archived(claim, (next(ends)(0),), described=False)
        for number, claim in enumerate(ledger.assets.claim(GROUP, LEASE))
    ]
    return lambda: ledger.assets.record(done)


@pytest.mark.parametrize("kind", [submissions, outcomes, archives])
def test_a_group_takes_a_handful_of_statements_however_many_it_has(
    ledger: Ledger, kind: Callable[[Ledger], Callable[[], Any]]
):
    record = kind(ledger)
    with statements_of(ledger) as sent:
        record()
    assert len(sent) <= MOST[kind.__name__], "\n".join(sent)
