"""What is asked for by id is found by id, also while PostgreSQL's statistics are older than a change of very many rows.

If they say that no row is in a state, an index by that state looks best to the planner: it then reads all that are in
that state by now for each few ids, and a command for 50,000 takes ten times as long.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.clock import FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    all_stored,
    archived,
    claimed,
    failure,
    queued,
    submitted,
    succeeded,
    success,
)
from worker.errors import Uncertain
from worker.ledger import Ledger
from worker.ledger.changes import Person
from worker.ledger.submission import Decision, Submitted

MANY, FEW = 300, 10


def failed(ledger: Ledger, **facts: str) -> list[str]:
    claims = submitted(ledger, MANY)
    ledger.generations.apply_outcomes([failure(claim, **facts) for claim in claims])
    return [claim.generation.id for claim in claims[:FEW]]


def retry(ledger: Ledger) -> Callable[[], object]:
    ids = failed(ledger)
    return lambda: ledger.generations.retry(ids)


def retry_timed_out(ledger: Ledger) -> Callable[[], object]:
    ids = failed(ledger, reason="timeout")
    return lambda: (ledger.generations.retry(ids), ledger.generations.retry(ids, may_pay_twice=True))


def cancel(ledger: Ledger) -> Callable[[], object]:
    ids = [generation.id for generation in queued(ledger, MANY)[:FEW]]
    return lambda: ledger.generations.cancel(ids)


def submit(ledger: Ledger) -> Callable[[], object]:
    clock = ledger.database.clock
    assert isinstance(clock, FakeClock)
    for _ in range(MANY // FEW):
        # Those of one moment are sorted by their ids.
        clock.advance(seconds=1)
        queued(ledger, FEW)
        ledger.dispatch.run(PROVIDER, PLENTY)

    def few() -> None:
        claims = ledger.submissions.claim(FEW, LEASE)
        ledger.submissions.renew([claim.attempt_id for claim in claims], LEASE)
        ledger.submissions.record([Submitted(claim.attempt_id, accepted(claim)) for claim in claims], POLL_AFTER)

    return few


def outcomes(ledger: Ledger) -> Callable[[], object]:
    claims = submitted(ledger, MANY)[:FEW]
    return lambda: ledger.generations.apply_outcomes([success(claim) for claim in claims])


def archive(ledger: Ledger) -> Callable[[], object]:
    succeeded(ledger, MANY)

    def few() -> None:
        # Few, because 16 links are looked at for each.
        claims = ledger.assets.claim(FEW // 5, LEASE)
        ledger.assets.renew(claims, LEASE)
        ledger.assets.record([all_stored(claim) for claim in claims])

    return few


def fetch_now(ledger: Ledger) -> Callable[[], object]:
    ids = [claim.generation.id for claim in succeeded(ledger, MANY)[:FEW]]
    return lambda: ledger.generations.retry(ids)


def resolve(ledger: Ledger) -> Callable[[], object]:
    claims = claimed(ledger, MANY)
    lost = Uncertain("nobody knows", code="read_timeout")
    ledger.submissions.record([Submitted(claim.attempt_id, lost) for claim in claims], POLL_AFTER)
    ids = [claim.generation.id for claim in claims[:FEW]]
    return lambda: ledger.submissions.resolve(ids, Decision.RESUBMIT, Person("somebody"))


def delete(ledger: Ledger) -> Callable[[], object]:
    ids = failed(ledger, reason="timeout")
    return lambda: (ledger.generations.obstacles_to_delete(ids), ledger.generations.delete(ids, Person("somebody")))


VERBS: Mapping[str, Callable[[Ledger], Callable[[], object]]] = {
    "retry": retry,
    "retry of what timed out": retry_timed_out,
    "cancel": cancel,
    "submit": submit,
    "outcomes": outcomes,
    "archive": archive,
    "retry of what waits": fetch_now,
    "resolve": resolve,
    "delete": delete,
}


@pytest.fixture
def old(postgresql_url: str, clock: FakeClock) -> Iterator[Ledger]:
    """A ledger whose statistics say that all generations are archived."""
    ledger = Ledger(postgresql_url, clock)
    archived(ledger, MANY)
    with ledger.database.write() as connection:
        connection.execute(text("ANALYZE"))
    yield ledger
    ledger.close()


@contextmanager
def explained(ledger: Ledger) -> Iterator[list[tuple[int, str]]]:
    """Of each statement, how many rows it reads."""
    found: list[tuple[int, str]] = []

    def explain(connection, cursor, statement: str, parameters: Any, *_) -> None:
        if statement.startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
            cursor.execute("SAVEPOINT before")
            # Tables of a few pages are best read from end to end.
            cursor.execute(
                "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
            )
            cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", parameters)
            (plan,) = cursor.fetchone()
            cursor.execute("ROLLBACK TO SAVEPOINT before")
            found.append((rows_read(plan[0]["Plan"]), f"{statement}\n{plan}"))

    event.listen(ledger.database.engine, "before_cursor_execute", explain)
    yield found
    event.remove(ledger.database.engine, "before_cursor_execute", explain)


def rows_read(plan: Mapping[str, Any]) -> int:
    counts = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    mine = sum(plan.get(count, 0) for count in counts) * plan["Actual Loops"] if "Scan" in plan["Node Type"] else 0
    return int(mine) + sum(map(rows_read, plan.get("Plans", ())))


@pytest.mark.parametrize("verb", VERBS)
def test_a_few_of_very_many_are_found_by_their_ids(old: Ledger, verb: str):
    call = VERBS[verb](old)
    with explained(old) as statements:
        call()
    for count, statement in statements:
        # A search without ids may read everything that is due, once.
        assert count < (MANY if "ids_1" in statement else 2 * MANY), statement
