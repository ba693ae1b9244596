"""Each search for due work goes through its own small index, however many generations there are.

The planner takes a partial index only for a query that repeats the index's condition, so a changed word here or there
would cost a pass over the whole table, every second, and no other test would notice.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.clock import NOON, FakeClock
from tests.factories import LEASE, PLENTY, POLL_AFTER, PROVIDER, archived, failure, new, queued, submitted, succeeded
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.notifying import Handed
from worker.ledger.rescuing import Orphan
from worker.ledger.tables import generations
from worker.prices import Caps, Prices, Rule

LATER = NOON + timedelta(hours=1)
#: question, and the indexes that answer it
SEARCHES: dict[str, tuple[Callable[[Ledger], Any], set[str]]] = {
    "due": (
        lambda ledger: ledger.watching.due(),
        {"ix_callbacks_due", "ix_generations_waiting", "ix_generations_dispatched", "ix_assets_due",
         "ix_generations_follow_up", "ix_attempts_poll", "ix_batches_manifest", "ix_subscribers_here",
         "ix_deliveries_waiting", "ix_generations_in_flight", "ix_attempts_sending"},
    ),
    "dispatch": (
        lambda ledger: ledger.dispatching.dispatch(PROVIDER, PLENTY),
        {"ix_generations_in_flight", "ix_flows_awake", "ix_generations_waiting"},
    ),
    "submissions": (lambda ledger: ledger.submissions.claim(4, LEASE), {"ix_generations_dispatched"}),
    "dead workers": (lambda ledger: ledger.submissions.expire(), {"ix_attempts_sending"}),
    "inbox": (lambda ledger: ledger.inbox.claim(100, LEASE), {"ix_callbacks_due"}),
    "archive": (lambda ledger: ledger.archiving.claim(4, LEASE), {"ix_assets_due"}),
    "at risk": (lambda ledger: ledger.queries.at_risk(NOON), {"ix_assets_due"}),
    "assets that wait": (lambda ledger: ledger.queries.waiting_assets(100), {"ix_assets_due"}),
    "follow-ups": (lambda ledger: ledger.following.due(50), {"ix_generations_follow_up"}),
    "silent": (
        lambda ledger: ledger.watching.silent(200, LEASE, POLL_AFTER),
        {"ix_attempts_poll"},
    ),
    "unclear": (lambda ledger: ledger.unclear.all(), {"ix_generations_by_state"}),
    "tasks of others": (
        lambda ledger: ledger.rescuing.look(PROVIDER, [Orphan("t", new().request, NOON, "a", marked=True)]),
        {"ix_generations_in_flight"},
    ),
    "subscribers": (lambda ledger: ledger.notifying.claim(["a"], 8, LEASE), {"ix_deliveries_waiting"}),
    "subscribers in trouble": (
        lambda ledger: ledger.notifying.troubled(lambda _: True),
        # For the deliveries PostgreSQL takes either of two indexes that begin with the subscriber.
        {"ix_subscribers_here"},
    ),
    "one story": (
        lambda ledger: ledger.queries.story(ledger.queries.page(limit=20)[-1].id),
        {"ix_events_generation", "ix_transitions_generation", "ix_attempts_generation"},
    ),
    "undelivered": (lambda ledger: ledger.dead_letters.events(50), {"ix_deliveries_dead"}),
    "given up": (lambda ledger: ledger.dead_letters.assets(50), {"ix_generations_by_state"}),
    "follow-ups given up": (lambda ledger: ledger.following.refused(50), {"ix_generations_follow_up_refused"}),
    "callbacks that are old": (lambda ledger: ledger.pruning.callbacks(NOON), {"ix_callbacks_done_with"}),
    "links that are old": (lambda ledger: ledger.pruning.links(NOON), {"ix_assets_linked"}),
    "events that are old": (lambda ledger: ledger.pruning.events(LATER), {"ix_deliveries_event"}),
    "set aside": (lambda ledger: ledger.queries.dead_callbacks(), {"ix_callbacks_set_aside"}),
    "manifests": (lambda ledger: ledger.manifests.claim(LEASE), {"ix_batches_manifest"}),
    "budgets": (
        lambda ledger: ledger.spending.standings(Prices((Rule(1),), Caps(day=5, providers={PROVIDER: 5}, batch=5))),
        {"ix_batches_incomplete", "ix_generations_held"},
    ),
    "same bytes": (lambda ledger: ledger.inventory.first_copy("ab" * 32), {"ix_assets_sha256"}),
    "one state": (lambda ledger: ledger.queries.page(state=State.FAILED), {"ix_generations_by_state"}),
    "one batch": (lambda ledger: ledger.queries.counts("batch_1"), {"ix_generations_batch"}),
}  # fmt: skip


def plans(ledger: Ledger, verb: Callable[[Ledger], Any]) -> str:
    """Run a verb of the ledger; how the database searches for each of its SELECTs."""
    selects: list[tuple[str, Any]] = []

    def note(_connection, _cursor, statement: str, parameters: Any, *_) -> None:
        # The version of the ledger is one row, and asked for each second.
        if statement.startswith("SELECT") and "alembic_version" not in statement:
            selects.append((statement, parameters))

    event.listen(ledger.database.engine, "before_cursor_execute", note)
    verb(ledger)
    event.remove(ledger.database.engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if ledger.database.is_sqlite else "EXPLAIN "
    with ledger.database.write() as connection:
        if not ledger.database.is_sqlite:
            # A table of a few rows is best read from end to end; told not to, the planner shows what it could use.
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            connection.execute(text("SET LOCAL enable_bitmapscan = off"))
            connection.execute(text("SET LOCAL enable_sort = off"))
        lines = [row[-1] for one in selects for row in connection.exec_driver_sql(explain + one[0], one[1])]
    return "\n".join(lines)


def fail_delivery(ledger: Ledger) -> None:
    ledger.notifying.register(["a"])
    (mine,) = ledger.notifying.claim(["a"], 1, LEASE)
    ledger.notifying.feed(mine, lambda _: True)
    delivery = ledger.notifying.step(mine, LEASE)
    assert delivery is not None
    ledger.notifying.step(mine, LEASE, Handed(delivery, "it answers with HTTP 503"))


@pytest.mark.parametrize("search", SEARCHES)
def test_each_search_has_its_index(ledger: Ledger, clock: FakeClock, search: str):
    # Some of everything, so that the later steps of each verb are planned as well.
    archived(ledger, 2, follow_up=("upscale1",), batch="b")
    succeeded(ledger, 2)
    ledger.outcomes.apply([failure(claim) for claim in submitted(ledger, 2)])
    submitted(ledger, 2)
    queued(ledger, 2)
    ledger.dispatching.dispatch(PROVIDER, PLENTY)
    fail_delivery(ledger)
    queued(ledger)
    clock.advance(hours=1)
    verb, indexes = SEARCHES[search]
    seen = plans(ledger, verb)
    assert indexes <= set(re.findall(r"\bix_\w+", seen)), seen
    assert not re.search(r"Seq Scan|SCAN \w+$", seen, re.MULTILINE), seen


def test_a_hundred_times_more_generations_do_not_make_the_clock_slower(sqlite_url: str, clock: FakeClock):
    """Counted in steps of SQLite's machine, which do not depend on how busy this one is."""

    def steps(ledger: Ledger) -> int:
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        def watch(connection, *_) -> None:
            connection.set_progress_handler(tick, 10)

        event.listen(ledger.database.engine, "checkout", watch)
        for verb, _ in SEARCHES.values():
            verb(ledger)
        event.remove(ledger.database.engine, "checkout", watch)
        return count

    ledger = Ledger(sqlite_url, clock)
    archived(ledger, 20)
    few = steps(ledger)
    with ledger.database.write() as connection:
        for _ in range(7):
            copied = ", ".join(column.name for column in generations.columns if column.name != "id")
            copy = f"INSERT INTO generations (id, {copied}) SELECT hex(randomblob(16)), {copied} FROM generations"
            connection.execute(text(copy))
        assert connection.execute(text("SELECT count(*) FROM generations")).scalar_one() == 20 * 2**7
    assert steps(ledger) < 1.3 * few + 20
    ledger.close()
