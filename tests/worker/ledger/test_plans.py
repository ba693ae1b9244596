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
from worker.ledger.access import Once
from worker.ledger.assets import Extent
from worker.ledger.budget import By, Dimension
from worker.ledger.events import DeliveryFilter, Handed
from worker.ledger.events.addresses import addresses_of
from worker.ledger.generations import Orphan, Wanted, batch_pages
from worker.ledger.schema import COUNTED, BudgetKey, BudgetKind, assets, budgets, generations
from worker.pricing.prices import Caps, Prices, Rule
from worker.steps import Step

pytestmark = pytest.mark.matrix

LATER, TOMORROW = NOON + timedelta(hours=1), NOON + timedelta(days=1)


def _where_events_go(ledger: Ledger) -> None:
    with ledger.database.read() as connection:
        addresses_of(connection, [1, 2])


UNDO = Once(owner="console:ada", key="undo", request_sha256="ab")
_RESULTS = (State.EXPIRED, State.SUCCEEDED, State.ARCHIVED)
#: what is looked for, and the indexes that find it; never the primary key, whose newest rows may all be queued
GALLERY: dict[str, tuple[Wanted, set[str]]] = {
    "all": (Wanted(states=_RESULTS), {"ix_generations_by_state"}),
    "one state": (Wanted(states=(State.FAILED,)), {"ix_generations_by_state"}),
    "a provider": (Wanted(states=_RESULTS, provider=PROVIDER), {"ix_generations_by_state"}),
    "words": (Wanted(states=_RESULTS, words="fox"), {"ix_generations_by_state"}),
    "a pattern": (Wanted(states=_RESULTS, key="B-*"), {"ix_generations_by_state"}),
    "a key": (Wanted(states=_RESULTS, key="B-1", is_exact=True), {"ix_generations_key", "ix_generations_parent"}),
    "a batch": (Wanted(states=_RESULTS, batches=("batch_1",)), {"ix_generations_batch_state"}),
    "words in a batch": (
        Wanted(states=_RESULTS, batches=("batch_1",), words="fox", labels={"client": "acme"}),
        {"ix_generations_batch_state"},
    ),
    "a label": (Wanted(states=_RESULTS, labels={"client": "acme"}, provider=PROVIDER), {"ix_labels_name"}),
}
#: question, and the indexes that answer it
SEARCHES: dict[str, tuple[Callable[[Ledger], Any], set[str]]] = {
    "due": (
        lambda ledger: ledger.maintenance.due(),
        {"ix_callbacks_due", "ix_generations_waiting", "ix_generations_dispatched", "ix_assets_free",
         "ix_assets_unmade", "ix_generations_follow_up", "ix_attempts_poll", "ix_batches_manifest",
         "ix_subscribers_here", "ix_deliveries_waiting", "ix_generations_in_flight", "ix_attempts_sending"},
    ),
    "dispatch": (
        lambda ledger: ledger.dispatch.run(PROVIDER, PLENTY),
        {"ix_generations_in_flight", "ix_flows_awake", "ix_generations_waiting"},
    ),
    "tests": (
        lambda ledger: (
            # The first look is at all.
            ledger.dispatch.providers_with_tests([PROVIDER]),
            ledger.dispatch.providers_with_tests([PROVIDER, "kie"]),
            ledger.dispatch.has_open_tests([PROVIDER, "kie"]),
        ),
        {"ix_flows_awake", "ix_generations_waiting", "ix_generations_in_flight"},
    ),
    "failing over": (
        lambda ledger: (
            ledger.dispatch.providers_failing_over(),
            ledger.dispatch.movable(PROVIDER, "", 500),
            ledger.dispatch.movable(PROVIDER, "", 500, held=True),
            ledger.dispatch.stopped_accounts(PROVIDER, {}),
        ),
        {"ix_generations_failing_over", "ix_generations_held", "ix_attempts_generation"},
    ),
    "submissions": (lambda ledger: ledger.submissions.claim(4, LEASE), {"ix_generations_dispatched"}),
    "dead workers": (lambda ledger: ledger.submissions.mark_lost_unconfirmed(), {"ix_attempts_sending"}),
    "inbox": (lambda ledger: ledger.callbacks.claim(100, LEASE), {"ix_callbacks_due"}),
    "archive": (lambda ledger: ledger.assets.claim(4, LEASE), {"ix_assets_free"}),
    "at risk": (lambda ledger: ledger.assets.at_risk(NOON), {"ix_assets_due"}),
    "assets that wait": (lambda ledger: ledger.assets.waiting(100), {"ix_assets_troubled"}),
    "follow-ups": (lambda ledger: ledger.generations.due_follow_ups(50), {"ix_generations_follow_up"}),
    "steps of recipes": (lambda ledger: ledger.generations.due_steps(50), {"ix_generations_recipe_due"}),
    "decisions that are overdue": (lambda ledger: ledger.approvals.overdue(50), {"ix_approvals_asked"}),
    "tasks that pick, not asked yet": (lambda ledger: ledger.approvals.unsent(50), {"ix_approvals_unsent"}),
    "silent": (
        lambda ledger: ledger.submissions.claim_polls(200, LEASE, POLL_AFTER),
        {"ix_attempts_poll"},
    ),
    "unclear": (lambda ledger: ledger.submissions.unconfirmed(), {"ix_generations_by_state"}),
    "tasks of others": (
        lambda ledger: ledger.generations.match_tasks(
            PROVIDER,
            [Orphan(task_id="t", request=new().request, created_at=NOON, attempt_id="a", marked=True)],
        ),
        {"ix_generations_in_flight"},
    ),
    "subscribers": (lambda ledger: ledger.events.claim(["a"], 8, LEASE), {"ix_deliveries_waiting"}),
    "subscribers in trouble": (
        lambda ledger: ledger.events.failing_subscribers(lambda *_: True),
        # For the deliveries PostgreSQL takes either of two indexes that begin with the subscriber.
        {"ix_subscribers_here"},
    ),
    "one story": (
        lambda ledger: ledger.generations.story(ledger.generations.page(limit=20)[-1].id),
        {"ix_events_generation", "ix_transitions_generation", "ix_attempts_generation"},
    ),
    "undelivered": (lambda ledger: ledger.events.dead(50), {"ix_deliveries_dead"}),
    "given up": (lambda ledger: ledger.assets.dead(50), {"ix_generations_by_state"}),
    "follow-ups given up": (lambda it: it.generations.refused_follow_ups(50), {"ix_generations_follow_up_refused"}),
    "callbacks that are old": (lambda ledger: ledger.maintenance.prune_callbacks(NOON), {"ix_callbacks_done_with"}),
    "links that are old": (lambda ledger: ledger.maintenance.prune_links(NOON), {"ix_assets_linked"}),
    "addresses of submissions": (
        lambda ledger: ledger.maintenance.prune_notify_addresses(LATER),
        {"ix_notify_addresses_created"},
    ),
    "where events go": (_where_events_go, set()),
    "events that are old": (lambda ledger: ledger.maintenance.prune_events(LATER), {"ix_deliveries_event"}),
    "set aside": (lambda ledger: ledger.callbacks.dead(), {"ix_callbacks_set_aside"}),
    "thumbnails": (lambda ledger: ledger.assets.claim_thumbnails(2, LEASE), {"ix_assets_unmade"}),
    "hashes of a batch": (
        lambda ledger: ledger.assets.fingerprints(batch_of(ledger), 100),
        {"ix_generations_batch_state"},
    ),
    "thumbnails that are asked for": (lambda ledger: ledger.assets.want_thumbnails([1, 2]), set()),
    "manifests": (lambda ledger: ledger.assets.claim_manifest(LEASE), {"ix_batches_manifest"}),
    "budgets": (
        lambda ledger: ledger.budgets.standings(
            Prices(rules=(Rule(price=1),), caps=Caps(day=5, providers={PROVIDER: 5}, batch=5))
        ),
        {"ix_batches_incomplete", "ix_generations_held"},
    ),
    "same bytes": (lambda ledger: ledger.assets.first_copy("ab" * 32), {"ix_assets_sha256"}),
    "one state": (lambda ledger: ledger.generations.page(state=State.FAILED), {"ix_generations_by_state"}),
    "one batch": (
        lambda ledger: ledger.generations.page(batch=batch_of(ledger), limit=1000),
        {"ix_generations_batch_state"},
    ),
    "one batch, next page": (
        lambda ledger: ledger.generations.page(batch="b", before="gen_~"),
        {"ix_generations_batch_state", "ix_batches_name"},
    ),
    "one batch, one state": (
        lambda ledger: ledger.generations.page(batch="b", state=State.FAILED),
        {"ix_generations_batch_state", "ix_batches_name"},
    ),
    "newest batch": (lambda ledger: ledger.generations.newest_batch("b"), {"ix_batches_name"}),
    "by key, short id, beginning": (
        lambda ledger: (
            ledger.generations.with_keys(["fox"]),
            ledger.generations.family("gen_01a"),
            ledger.generations.with_part("2359182c-2a", 5),
            ledger.generations.with_part("gen_01a", 5),
            ledger.generations.batches_called("batch_01a", 5),
        ),
        {"ix_batches_name", "ix_generations_parent"},
    ),
    "lineages": (lambda ledger: ledger.generations.lineages([batch_of(ledger)]), set()),
    "counts": (lambda ledger: (ledger.generations.counts(), ledger.generations.counts(batch_of(ledger))), set()),
    "moves": (lambda ledger: ledger.generations.moves(batch_of(ledger), 0, 10**6), set()),
    "last moves": (lambda ledger: ledger.generations.last_moves([batch_of(ledger)]), {"ix_transitions_generation"}),
    "stored assets of a batch": (
        lambda ledger: list(ledger.assets.stored_pages(Extent(batch_id=batch_of(ledger)))),
        {"ix_generations_batch_state"},
    ),
    "stored assets since": (
        lambda ledger: list(ledger.assets.stored_pages(Extent(since=TOMORROW))),
        {"ix_generations_finished"},
    ),
    "number of stored assets": (
        lambda ledger: [ledger.assets.count_stored(it) for it in (Extent(batch_of(ledger)), Extent(since=TOMORROW))],
        {"ix_generations_batch_state", "ix_generations_finished"},
    ),
    "other providers": (
        lambda it: (it.dispatch.open_at_others([PROVIDER]), it.dispatch.unreachable({PROVIDER: ["default"]})),
        {"ix_generations_waiting", "ix_generations_held", "ix_generations_in_flight"},
    ),
    "approvals": (
        lambda ledger: (ledger.approvals.waiting(9), ledger.approvals.pending(9)),
        {"ix_approvals_pending"},
    ),
    "review": (
        lambda ledger: (
            ledger.approvals.review_place("apr_1"),
            ledger.approvals.review_place("apr_1", recipe="shop"),
            ledger.approvals.review_recipes(9),
            ledger.approvals.decisions(9),
        ),
        {"ix_approvals_decided"},
    ),
    "what follows from decisions": (lambda ledger: ledger.approvals.sent_of(["gen_1"]), {"ix_generations_parent"}),
    "culling": (
        lambda ledger: ledger.marks.place(batch_of(ledger), None, None, unmarked=True),
        {"ix_generations_batch_state"},
    ),
    "marks of a person": (lambda ledger: ledger.marks.undo("ada", UNDO), {"ix_marks_by"}),
    "metrics: what is counted": (
        lambda ledger: (ledger.maintenance.tallies(), ledger.maintenance.fold_tallies()),
        set(),
    ),
    "metrics: since when work is due": (
        lambda ledger: ledger.maintenance.due_since(),
        {"ix_callbacks_due", "ix_generations_dispatched", "ix_assets_free", "ix_attempts_poll", "ix_assets_unmade"},
    ),
    "metrics: ages of the unconfirmed": (
        lambda ledger: ledger.submissions.unconfirmed_ages(NOON, 1000),
        {"ix_generations_by_state"},
    ),
    "metrics: budgets": (
        lambda ledger: ledger.budgets.used_of_caps(
            Prices(rules=(Rule(price=1),), caps=Caps(day=5, labels={"client": {"acme": 5, "*": 1}}))
        ),
        set(),
    ),
    "in flight": (lambda ledger: ledger.dispatch.in_flight(), {"ix_generations_in_flight"}),
    "approvals of a batch": (
        lambda ledger: ledger.approvals.count_pending(batch_of(ledger)),
        {"ix_approvals_batch"},
    ),
    "the board": (
        lambda ledger: (
            ledger.generations.ended_lately(NOON, 5),
            ledger.generations.failed_of_batches([batch_of(ledger)], NOON),
            ledger.generations.edges_of_batches([batch_of(ledger)]),
            ledger.assets.count_at_risk(NOON),
            ledger.approvals.count_pending_of([batch_of(ledger)]),
        ),
        {"ix_generations_finished", "ix_generations_batch_state", "ix_assets_due", "ix_assets_troubled",
         "ix_approvals_batch"},
    ),
    "spending": (lambda ledger: [
        ledger.budgets.totals([Dimension(by, "client" * (by is By.LABEL))], NOON.date()) for by in By
    ], {"ix_charges_day"}),
    **{
        f"gallery, {name}": (lambda it, wanted=wanted: it.generations.look(wanted, before="gen_f", limit=9), indexes)
        for name, (wanted, indexes) in GALLERY.items()
    },
}  # fmt: skip


def batch_of(ledger: Ledger) -> str:
    return str(ledger.generations.newest_batch("b"))


def plans(ledger: Ledger, verb: Callable[[Ledger], Any]) -> str:
    """Run a verb of the ledger; how the database searches for each of its SELECTs."""
    selects: list[tuple[str, Any]] = []

    def note(_connection, _cursor, statement: str, parameters: Any, *_) -> None:
        # The version of the ledger is one row, and asked for each second.
        if statement.startswith(("SELECT", "WITH")) and "alembic_version" not in statement:
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
    ledger.events.register_subscribers(["a"])
    (mine,) = ledger.events.claim(["a"], 1, LEASE)
    ledger.events.enqueue_new(mine, DeliveryFilter())
    delivery = ledger.events.record_and_claim_next(mine, LEASE)
    assert delivery is not None
    ledger.events.record_and_claim_next(mine, LEASE, Handed(delivery, "HTTP 503"))


#: of a batch of which one is queued and one at the provider
STEERING: dict[str, tuple[Callable[[Ledger, str], Any], set[str]]] = {
    "dispatch of a limited batch": (
        lambda ledger, _: ledger.dispatch.run(PROVIDER, PLENTY),
        {"ix_flows_awake", "ix_generations_waiting", "ix_generations_batch_state", "ix_generations_dispatched"},
    ),
    "pause": (lambda ledger, batch: ledger.batches.pause(batch), {"ix_generations_dispatched"}),
    "resume": (lambda ledger, batch: ledger.batches.resume(batch), {"ix_flows_flow"}),
    "reprioritize": (lambda ledger, batch: ledger.batches.reprioritize(batch, 5), {"ix_generations_batch_state"}),
    "no follow-ups": (
        lambda ledger, batch: ledger.batches.drop_follow_ups(batch),
        {"ix_generations_batch_state", "ix_generations_recipe_due", "ix_approvals_batch"},
    ),
    "start": (lambda ledger, _: ledger.batches.start_due(), {"ix_batches_starting"}),
    "what waits": (lambda ledger, _: ledger.batches.restricted(), {"ix_batches_incomplete"}),
}


@pytest.mark.parametrize("search", SEARCHES)
def test_each_search_has_its_index(ledger: Ledger, clock: FakeClock, search: str):
    verb, indexes = SEARCHES[search]
    look_for_indexes(ledger, clock, verb, indexes)


@pytest.mark.parametrize("search", STEERING)
def test_each_search_of_those_who_steer_has_its_index(ledger: Ledger, clock: FakeClock, search: str):
    batch = str(submitted(ledger, batch="steered")[0].generation.batch_id)
    ledger.generations.create([new(batch_id=batch)])
    ledger.batches.limit(batch, max_in_flight=1)
    verb, indexes = STEERING[search]
    look_for_indexes(ledger, clock, lambda ledger: verb(ledger, batch), indexes)


def look_for_indexes(ledger: Ledger, clock: FakeClock, verb: Callable[[Ledger], Any], indexes: set[str]) -> None:
    if ledger.database.url.startswith("postgresql"):
        # What other tests left in the indexes of this small table decides between two that cost nearly the same.
        with ledger.database.write() as connection:
            connection.execute(text("TRUNCATE flows"))
    # Some of everything, so that the later steps of each verb are planned as well.
    archived(ledger, 2, follow_up=("upscale1",), batch="b")
    succeeded(ledger, 2)
    ledger.generations.apply_outcomes([failure(claim) for claim in submitted(ledger, 2)])
    submitted(ledger, 2)
    queued(ledger, 2)
    ledger.dispatch.run(PROVIDER, PLENTY)
    fail_delivery(ledger)
    queued(ledger)
    clock.advance(hours=1)
    seen = plans(ledger, verb)
    assert indexes <= set(re.findall(r"\b(?:ix|uq)_\w+", seen)), seen
    # What is folded each second is read from end to end.
    assert not re.search(
        r"Seq Scan on (?!generation_deltas|tall)|SCAN (?!generation_deltas|tall|anon_|up$|down$)\w+$",
        seen,
        re.MULTILINE,
    ), seen


PAGES: dict[str, Callable[[Ledger], Any]] = {
    "all": lambda ledger: ledger.generations.page(before="gen_~"),
    "one state": lambda ledger: ledger.generations.page(state=State.FAILED, before="gen_~"),
    "one batch": lambda ledger: ledger.generations.page(batch="none"),
    "gallery": lambda ledger: ledger.generations.look(Wanted(states=_RESULTS), before="gen_f", limit=7),
    "gallery, words": lambda ledger: ledger.generations.look(
        Wanted(states=_RESULTS, words="fox", key="B-*"), before="gen_f", limit=7
    ),
    "gallery, a batch": lambda ledger: ledger.generations.look(
        Wanted(states=_RESULTS, batches=("b",), provider="kie"), before="gen_f", limit=7
    ),
    "gallery, a label": lambda ledger: ledger.generations.look(
        Wanted(states=_RESULTS, labels={"client": "acme"}), before="gen_f", limit=7
    ),
    "one batch, one state": lambda ledger: ledger.generations.page(batch="none", state=State.FAILED),
    "batches of a name": lambda ledger: ledger.generations.newest_batch("none"),
    "a state of one batch": lambda ledger: batch_ids(ledger, state=State.FAILED),
    "all states of one batch": lambda ledger: batch_ids(ledger, state=None),
    "stored assets": lambda ledger: next(ledger.assets.stored_pages(Extent()), None),
    "stored assets of a batch": lambda ledger: next(ledger.assets.stored_pages(Extent("none")), None),
    "moves": lambda ledger: ledger.generations.moves("none", 0, 10**6),
    "at risk": lambda ledger: ledger.assets.at_risk(NOON),
    "dead callbacks": lambda ledger: ledger.callbacks.dead(),
    "follow-ups given up": lambda ledger: ledger.generations.refused_follow_ups(50),
    "unconfirmed": lambda ledger: ledger.submissions.unconfirmed(),
}


def batch_ids(ledger: Ledger, state: State | None) -> None:
    query = batch_pages._ids(0, is_of_state=state is not None, is_continued=True)
    with ledger.database.read() as connection:
        connection.execute(query, {"batch": "b", "state": state, "before": "gen_~", "limit": 7})


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_read_in_the_order_of_their_index(ledger: Ledger, page: str):
    """Or the first would cost as much as all of them together."""
    queued(ledger, batch="b")
    seen = plans(ledger, PAGES[page])
    assert not re.search(r"USE TEMP B-TREE FOR ORDER BY|(?<!Incremental )Sort  \(", seen), seen


def steps(ledger: Ledger, *verbs: Callable[[Ledger], Any]) -> int:
    """Of SQLite's machine, which do not depend on how busy this one is."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    def watch(connection, *_) -> None:
        connection.set_progress_handler(tick, 10)

    event.listen(ledger.database.engine, "checkout", watch)
    for verb in verbs:
        verb(ledger)
    event.remove(ledger.database.engine, "checkout", watch)
    return count


def test_a_hundred_times_more_generations_do_not_make_the_clock_slower(sqlite_url: str, clock: FakeClock):
    ledger = Ledger(sqlite_url, clock)
    archived(ledger, 20)
    verbs = [verb for verb, _ in SEARCHES.values()]
    few = steps(ledger, *verbs)
    assert copied_generations(ledger) == 20 * 2**7
    assert steps(ledger, *verbs) < 1.3 * few + 20
    ledger.close()


def copied_generations(ledger: Ledger) -> int:
    """How many there are now."""
    copied = ", ".join(column.name for column in generations.columns if column.name != "id")
    copy = f"INSERT INTO generations (id, {copied}) SELECT hex(randomblob(16)), {copied} FROM generations"
    with ledger.database.write() as connection:
        for _ in range(7):
            connection.execute(text(copy))
        return int(connection.execute(text("SELECT count(*) FROM generations")).scalar_one())


def test_a_hundred_times_more_that_no_budget_has_room_for_do_not_make_dispatch_slower(
    sqlite_url: str, clock: FakeClock
):
    """They are alike in few things, and found by jumps from one kind to the next."""
    ledger = Ledger(sqlite_url, clock)
    prices = Prices(
        rules=(Rule(price=1), Rule(price=3, speed="turbo")),
        caps=Caps(day=0, batches={"a": 0, "b": 0}),
    )
    for batch in ("a", "b", None):
        queued(ledger, 3, batch=batch)
    queued(ledger, 3, options={"speed": "turbo"})

    def dispatch(ledger: Ledger) -> None:
        assert ledger.dispatch.run(PROVIDER, PLENTY, prices) == 0

    for _ in range(2):
        dispatch(ledger)
    few = steps(ledger, dispatch)
    assert copied_generations(ledger) == 12 * 2**7
    with ledger.database.write() as connection:
        long_ago = [BudgetKey(BudgetKind.BATCH, batch_id=f"batch_{number}") for number in range(3000)]
        empty = dict.fromkeys(COUNTED, 0)
        connection.execute(budgets.insert(), [{**key._asdict(), **empty} for key in long_ago])
    assert steps(ledger, dispatch) < 1.3 * few + 20
    ledger.close()


def test_a_hundred_times_more_that_wait_do_not_make_counting_what_is_due_slower(sqlite_url: str, clock: FakeClock):
    """Each flow is found by itself, not among all that wait."""
    ledger = Ledger(sqlite_url, clock)
    for batch in ("a", "b", None):
        queued(ledger, 3, batch=batch)

    def count(ledger: Ledger) -> None:
        assert ledger.maintenance.due_counts(100)[Step.DISPATCH] == 3

    count(ledger)
    few = steps(ledger, count)
    copied_generations(ledger)
    assert steps(ledger, count) < 1.3 * few + 20
    ledger.close()


def test_assets_that_wait_for_another_try_stand_in_nobodys_way(sqlite_url: str, clock: FakeClock):
    ledger = Ledger(sqlite_url, clock)
    succeeded(ledger, 4)
    verbs = (lambda it: it.maintenance.is_due("archive"), lambda it: it.assets.claim(1, LEASE))
    steps(ledger, *verbs)
    few = steps(ledger, *verbs)
    with ledger.database.write() as connection:
        copied = ", ".join(
            f'"{column.name}"' for column in assets.columns if column.name not in {"id", "index", "not_before"}
        )
        # Their links die first.
        connection.execute(
            text(
                f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "
                f"INSERT INTO assets (\"index\", not_before, {copied}) SELECT i + 1, '2126-01-01 00:00:00', {copied} "
                "FROM n, (SELECT * FROM assets ORDER BY id LIMIT 1)"
            )
        )
    assert steps(ledger, *verbs) < 1.3 * few + 20
    ledger.close()


def test_a_page_far_down_the_gallery_reads_no_more_than_the_first(postgresql_url: str, clock: FakeClock):
    ledger = Ledger(postgresql_url, clock)
    archived(ledger, 20)
    copied = ", ".join(column.name for column in generations.columns if column.name != "id")
    with ledger.database.write() as connection:
        for _ in range(10):
            connection.execute(
                text(
                    f"INSERT INTO generations (id, {copied}) SELECT 'gen_' || md5(random()::text), {copied} "
                    "FROM generations"
                )
            )
        connection.execute(text("ANALYZE generations"))
        oldest = connection.execute(text("SELECT id FROM generations ORDER BY id LIMIT 1 OFFSET 100")).scalar_one()

    def pages_read(before: str | None) -> int:
        """By the database, of 8 kB."""
        count = 0

        def explain(_connection, cursor, statement: str, parameters: Any, *_) -> None:
            nonlocal count
            if statement.startswith("SELECT generations.id"):
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
                plan = cursor.fetchone()[0][0]["Plan"]
                count += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]

        event.listen(ledger.database.engine, "before_cursor_execute", explain)
        ledger.generations.look(Wanted(states=(State.ARCHIVED,)), before=before, limit=10)
        event.remove(ledger.database.engine, "before_cursor_execute", explain)
        return count

    assert 0 < pages_read(oldest) < 2 * pages_read(None) + 10
    ledger.close()
