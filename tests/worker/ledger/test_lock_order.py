"""Rows are locked in one order, so that two transactions never wait for each other in a circle."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from tests.clock import FakeClock
from tests.factories import POLL_AFTER, accepted, at_once, delivery, failure, progress, success
from tests.worker.ledger.statements import statements_of
from tests.worker.ledger.test_group_size import archives, claims_of, outcomes, submissions
from worker.ledger import Ledger
from worker.ledger.submission import Submitted

ORDER = ["generations", "attempts", "assets", "callbacks", "accounts", "flows", "batches", "budgets", "label_budgets"]
#: rows that no other transaction changes without the row of their generation
WITH_GENERATION = {"charges"}
ROUNDS = 15


@pytest.fixture
def ledger(postgresql_url: str, clock: FakeClock) -> Iterator[Ledger]:
    ledger = Ledger(postgresql_url, clock)
    yield ledger
    ledger.close()


@pytest.fixture
def other(postgresql_url: str, ledger: Ledger) -> Iterator[Ledger]:
    other = Ledger(postgresql_url, ledger.database.clock)
    yield other
    other.close()


@pytest.mark.parametrize("kind", [submissions, outcomes, archives])
def test_each_table_is_locked_by_one_statement_that_orders_its_rows(
    ledger: Ledger, kind: Callable[[Ledger], Callable[[], Any]]
):
    record = kind(ledger)
    with statements_of(ledger) as sent:
        record()
    locks = [re.sub(r"\s+", " ", one) for one in sent if re.search(r"FOR (NO KEY |KEY )?(UPDATE|SHARE)", one)]
    locked = [re.search(r" FROM (\w+)", one)[1] for one in locks]
    assert all(re.search(r"ORDER BY .* FOR ", one) for one in locks), locks
    assert all(ORDER.index(before) < ORDER.index(after) for before, after in pairwise(locked)), locked
    changed = [found[1] for one in sent if (found := re.match(r"UPDATE (\w+)", one))]
    assert set(changed) - WITH_GENERATION <= set(locked)


def test_groups_that_overlap_in_opposite_order_wait_and_never_die(ledger: Ledger, other: Ledger):
    claims = claims_of(ledger)
    ledger.submissions.record([Submitted(claim.attempt_id, accepted(claim)) for claim in claims], POLL_AFTER)
    for number in range(ROUNDS):
        ledger.callbacks.store([delivery(claim.attempt_id, digest=f"d{number}") for claim in claims])
        taken = {one.attempt_id: one.id for one in ledger.callbacks.claim(len(claims), POLL_AFTER)}
        is_last = number == ROUNDS - 1
        here = [success(claim) if is_last else progress(claim, number) for claim in claims]
        there = [failure(claim) if is_last else progress(claim, number) for claim in reversed(claims)]
        groups = [[replace(one, callback_id=taken[one.attempt_id]) for one in news] for news in (here, there)]
        done = at_once(
            partial(ledger.generations.apply_outcomes, groups[0]), partial(other.generations.apply_outcomes, groups[1])
        )
        assert not [one for one in done if isinstance(one, Exception)]
