"""Flows take turns: a batch is one, all single generations are one, and neither size nor history gives an advantage."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select, text

from tests.clock import FakeClock
from tests.computer import eventually
from tests.examples import examples
from tests.factories import LEASE, PLENTY, POLL_AFTER, PROVIDER, accepted, at_once, flat, new, queued
from tests.worker.ledger.purses import EVERY, totals
from tests.worker.ledger.statements import statements_of
from worker.errors import AccountBlocked, NotTaken, Rejected
from worker.generation import AttemptState, Generation, State
from worker.ledger import Ledger
from worker.ledger.changes import Changes
from worker.ledger.dispatch import Limits
from worker.ledger.dispatch.line import Line
from worker.ledger.flows import find_strays
from worker.ledger.schema import ANY_ACCOUNT, budgets, flows, generations, metadata
from worker.ledger.submission import Attempts, Submitted
from worker.pricing.prices import Caps, Prices

pytestmark = pytest.mark.matrix

ACCOUNTS = ("default", "shop")
#: a batch, or all single ones, at a priority
Flow = tuple[int, str]
_g = generations.c
FULL = NotTaken("the queue is full", code="queue_full", status=400, retry_after=timedelta(seconds=3))
BLOCKED = AccountBlocked("the balance is empty", code="used_up", status=402)


@pytest.fixture
def turns() -> Iterator[list[Any]]:
    """The rows that were let go, in their order."""
    taken: list[Any] = []
    take = Line.take

    def noting(line: Line, row: Any, account: str) -> None:
        taken.append(row)
        take(line, row, account)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Line, "take", noting)
        yield taken


# --- the scenes in which a batch of 10 waited behind a thousand others ---


def in_order(ledger: Ledger, clock: FakeClock, count: int, prices: Prices | None = None) -> list[str]:
    """The prompts of the next ones, each dispatched by itself."""
    went = []
    for _ in range(count):
        clock.advance(1)
        assert ledger.dispatch.run(PROVIDER, Limits(1, 10**6), prices) == 1
        with ledger.database.read() as connection:
            last = select(_g.prompt).order_by(_g.dispatched_at.desc().nulls_last()).limit(1)
            went.append(str(connection.execute(last).scalar()))
    return went


def ten(ledger: Ledger) -> None:
    ledger.generations.create([new("small") for _ in range(10)], "small")


def is_served(went: list[str], word: str = "small") -> bool:
    places = [place for place, prompt in enumerate(went, start=1) if prompt == word]
    return len(places) == 10 and places[0] <= 3 and places[-1] <= 30


def all_go(ledger: Ledger) -> None:
    ledger.dispatch.run(PROVIDER, PLENTY)


def fail_all(ledger: Ledger) -> list[str]:
    claims = ledger.submissions.claim(10_000, LEASE)
    ledger.submissions.record([Submitted(it.attempt_id, Rejected("no", code="no")) for it in claims], POLL_AFTER)
    return [claim.generation.id for claim in claims]


def big_batch(ledger: Ledger) -> None:
    queued(ledger, 1000, batch="big")


def singles(ledger: Ledger) -> None:
    queued(ledger, 1000)


def follow_ups(ledger: Ledger) -> None:
    parents = queued(ledger, 250, batch="big")
    all_go(ledger)
    ledger.submissions.claim(1000, LEASE)
    for parent in parents:
        facts = {"parent_id": parent.id, "batch_id": parent.batch_id, "depth": 1}
        ledger.generations.create([new("follow-up", **facts) for _ in range(4)])


def retried(ledger: Ledger) -> None:
    queued(ledger, 1000, batch="big")
    all_go(ledger)
    ledger.generations.retry(fail_all(ledger))


def after_an_urgent_batch(ledger: Ledger) -> None:
    queued(ledger, 1000, batch="big")
    queued(ledger, 500, batch="urgent", priority=1)
    assert ledger.dispatch.run(PROVIDER, Limits(500, 10**6)) == 500
    assert all(claim.generation.priority == 1 for claim in ledger.submissions.claim(1000, LEASE))


def not_taken(ledger: Ledger) -> None:
    queued(ledger, 1000, batch="big")
    all_go(ledger)
    claims = ledger.submissions.claim(1000, LEASE)
    busy = NotTaken(str(FULL), code=FULL.code, status=FULL.status, retry_after=timedelta(seconds=1))
    ledger.submissions.record([Submitted(claim.attempt_id, busy) for claim in claims], POLL_AFTER)


def came_back_from_a_blocked_account(ledger: Ledger) -> None:
    """Dispatched, recalled when the first of them found the account empty, and free again."""
    queued(ledger, 1000, batch="big")
    all_go(ledger)
    (claim,) = ledger.submissions.claim(1, LEASE)
    ledger.submissions.record([Submitted(claim.attempt_id, BLOCKED)], POLL_AFTER)
    ledger.dispatch.resume_account(PROVIDER)


def held(ledger: Ledger) -> None:
    queued(ledger, 1000, batch="big")
    for _ in range(2):
        assert ledger.dispatch.run(PROVIDER, PLENTY, Prices(rules=EVERY, caps=Caps(day=0))) == 0


def held_singles(ledger: Ledger) -> None:
    queued(ledger, 1000)
    assert ledger.dispatch.run(PROVIDER, PLENTY, Prices(rules=EVERY, caps=Caps(day=0))) == 0


SCENES = (
    big_batch, singles, follow_ups, retried, after_an_urgent_batch, not_taken, came_back_from_a_blocked_account,
    held, held_singles,
)  # fmt: skip


@pytest.mark.parametrize("before", SCENES)
def test_a_batch_of_ten_is_served_among_the_next_thirty(sqlite_url: str, clock: FakeClock, before: Any):
    ledger = Ledger(sqlite_url, clock)
    before(ledger)
    clock.advance(60)
    ten(ledger)
    prices = Prices(rules=EVERY, caps=Caps(day=10**6)) if before in {held, held_singles} else None
    # Since all of them went, the bucket must not give a thousand at once.
    with ledger.database.write() as connection:
        connection.execute(text("UPDATE accounts SET tokens = 0"))
    assert is_served(in_order(ledger, clock, 40, prices))
    ledger.close()


def test_of_what_is_held_each_batch_gets_its_share_of_a_budget_that_frees_little_by_little(
    ledger: Ledger, clock: FakeClock
):
    held(ledger)
    ten(ledger)
    held_singles(ledger)
    went: Counter[str] = Counter()
    for spent in range(30):
        prices = Prices(rules=EVERY, caps=Caps(day=spent + 1))
        assert ledger.dispatch.run(PROVIDER, PLENTY, prices) == 1
        (claim,) = ledger.submissions.claim(10, LEASE)
        went[claim.generation.batch_id or "single"] += 1
        clock.advance(1)
    assert sorted(went.values()) == [10, 10, 10]


def test_who_waits_for_a_paused_account_hinders_nobody_and_claims_nothing_afterwards(ledger: Ledger, clock: FakeClock):
    def follow(parent: Generation) -> None:
        child = new(parent_id=parent.id, batch_id=parent.batch_id)
        child = replace(child, request=replace(child.request, parent={"image_id": "i"}))
        ledger.generations.create([child] * 30)

    early, late = (queued(ledger, batch=batch)[0] for batch in ("early", "late"))
    assert ledger.dispatch.run(PROVIDER, PLENTY, accounts=["shop"]) == 2
    ledger.submissions.claim(2, LEASE)
    follow(early)
    queued(ledger, 100, batch="anywhere")
    # `shop` is paused: only what may go anywhere goes.
    for _ in range(50):
        clock.advance(1)
        assert ledger.dispatch.run(PROVIDER, Limits(1, 10**6), accounts=["default"]) == 1
    follow(late)
    ledger.submissions.claim(1000, LEASE)
    with ledger.database.write() as connection:
        connection.execute(text("UPDATE accounts SET tokens = 0"))
    went = []
    for _ in range(30):
        clock.advance(1)
        assert ledger.dispatch.run(PROVIDER, Limits(1, 10**6), accounts=["shop"]) == 1
        (claim,) = ledger.submissions.claim(10, LEASE)
        went.append(str(claim.generation.batch_id))
    assert sorted(Counter(went).values()) == [10, 10, 10]


def test_what_was_put_into_the_line_by_an_earlier_version_is_found(ledger: Ledger):
    queued(ledger, 3, batch="b")
    with ledger.database.write() as connection:
        connection.execute(flows.delete())
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 3


def test_flows_that_are_over_are_forgotten(ledger: Ledger, clock: FakeClock):
    for number in range(30):
        queued(ledger, 2, batch=f"b{number}")
        all_go(ledger)
        clock.advance(1)
    with ledger.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(flows)).scalar_one() <= 2


def test_flows_that_all_wait_for_a_time_of_their_own_cost_no_statement_each(ledger: Ledger, clock: FakeClock):
    """There may be thousands of them, and whoever dispatches holds the accounts meanwhile."""
    for number in range(60):
        queued(ledger, 2, batch=f"b{number}")
    all_go(ledger)
    claims = ledger.submissions.claim(1000, LEASE)
    ledger.submissions.record([Submitted(claim.attempt_id, FULL) for claim in claims], POLL_AFTER)
    queued(ledger, batch="last")
    with statements_of(ledger) as statements:
        assert ledger.dispatch.run(PROVIDER, PLENTY) == 1
        assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    assert len(statements) < 60
    clock.advance(3)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 120


def test_after_a_great_cancellation_each_dispatch_clears_a_part_away(ledger: Ledger):
    """All at once would take longer than a task may, and the next one would begin anew."""
    made = [queued(ledger, batch=f"b{number}")[0].id for number in range(200)]
    queued(ledger, batch="last")
    ledger.generations.cancel(made)
    with statements_of(ledger) as statements:
        assert ledger.dispatch.run(PROVIDER, PLENTY) == 1
    assert len(statements) < 400
    for _ in range(4):
        all_go(ledger)
    with ledger.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(flows)).scalar_one() == 0


def test_creators_and_dispatchers_at_once_leave_nobody_behind(ledger: Ledger):
    """The flow of single ones empties and fills all the time; also in batches that others add to."""
    (parent,) = queued(ledger, batch="b")

    def create() -> list[Generation]:
        more = [new(batch_id=parent.batch_id, parent_id=parent.id)]
        return [made for _ in range(15) for made in (*queued(ledger), *ledger.generations.create(more))]

    def dispatch() -> list[Generation]:
        for _ in range(40):
            all_go(ledger)
        return []

    made = flat(at_once(create, create, dispatch, dispatch))
    all_go(ledger)
    assert len(ledger.submissions.claim(1000, LEASE)) == len(made) + 1


@pytest.fixture
def both(postgresql_url: str) -> Iterator[tuple[Ledger, Ledger]]:
    """Two processes with one ledger."""
    with closing(Ledger(postgresql_url)) as one, closing(Ledger(postgresql_url)) as other:
        yield one, other


def test_who_repeats_a_creation_and_who_brings_its_generation_back_do_not_wait_in_a_circle(
    both: tuple[Ledger, Ledger],
):
    """An INSERT that finds its key there waits for whoever changes that row, and that one may have to wake its flow."""
    ledger, other = both
    (made,) = queued(ledger, key="fox")
    for _ in range(2):
        all_go(ledger)
    (claim,) = ledger.submissions.claim(1, LEASE)
    waits = text("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")

    def is_waited_for() -> bool:
        with other.database.read() as connection:
            return connection.execute(waits).first() is not None

    with ThreadPoolExecutor(1) as pool:
        with ledger.database.write() as connection:
            assert connection.execute(select(flows.c.asleep_since)).scalar_one() is not None
            changes = Changes(connection, ledger.database.clock())
            assert Attempts(changes, [claim.attempt_id]).move(claim.attempt_id, AttemptState.REJECTED)
            assert changes.move(made.id, State.QUEUED, "not taken", dispatched_at=None)
            changes.write()
            repeated = pool.submit(other.generations.create, [new(made.prompt, key="fox"), new("an owl", key="owl")])
            eventually(is_waited_for, 30)
            changes.flush()
        assert repeated.result()[0].id == made.id
    all_go(ledger)
    assert len(ledger.submissions.claim(9, LEASE)) == 2


def test_what_is_held_and_belongs_to_an_account_without_room_keeps_no_other_of_its_flow_back(
    ledger: Ledger, clock: FakeClock
):
    (parent,) = queued(ledger)
    ledger.dispatch.run(PROVIDER, PLENTY, Prices(rules=EVERY), ["shop"])
    child = new(parent_id=parent.id)
    ledger.generations.create([replace(child, request=replace(child.request, parent={"image_id": "i"}))] * 5)
    queued(ledger, 3)
    clock.advance(1)
    used = sum(totals(ledger).values())
    ledger.dispatch.run(PROVIDER, PLENTY, Prices(rules=EVERY, caps=Caps(day=used)), ["default", "shop"])
    clock.advance(1)
    # There is room in the budget now, and only at the account to which the first five may not go.
    assert ledger.dispatch.run(PROVIDER, Limits(rate=2, in_flight=10), Prices(rules=EVERY), ["default"]) == 2


# --- any history ---


class Fairness:
    """What went since each flow began to wait, or was served last."""

    def __init__(self) -> None:
        self._others: dict[Flow, Counter[Flow]] = {}

    def look(self, before: set[Flow], served: list[Flow], after: set[Flow]) -> None:
        for flow in set(self._others) - before:
            del self._others[flow]
        for flow in before:
            self._others.setdefault(flow, Counter())
        for place, flow in enumerate(served):
            # Those that wait still, or are served later, waited at this moment.
            waiting = {flow} | (before & (after | set(served[place + 1 :])))
            assert flow[0] == max(priority for priority, _ in waiting), (served, waiting)
            self._others[flow] = Counter()
            for other in waiting - {flow}:
                self._others[other][flow] += 1
                if other[0] == flow[0]:
                    assert self._others[other][flow] == 1, f"{flow} goes twice while {other} waits"


class History:
    def __init__(self, ledger: Ledger, clock: FakeClock, turns: list[Any], draw: Any) -> None:
        self._ledger = ledger
        self._clock = clock
        self._turns = turns
        self._draw = draw
        self._made: list[Generation] = []
        self._failed: list[str] = []
        self._fairness = Fairness()

    def go_on(self) -> None:
        steps = (self.create, self.create, self.follow, self.dispatch, self.dispatch, self.dispatch, self.retry,
                 self.cancel, self.block)  # fmt: skip
        self._one_of(steps)()
        self._clock.advance(1)
        with self._ledger.database.read() as connection:
            assert find_strays(connection, PROVIDER, [ANY_ACCOUNT, *ACCOUNTS]) == []

    def create(self) -> None:
        batch = self._one_of([None, "b"])
        self._made += queued(self._ledger, self._number(1, 6), batch=batch, priority=self._number(0, 1))

    def follow(self) -> None:
        if not self._made:
            return
        parent = self._one_of(self._made)
        child = new(parent_id=parent.id, batch_id=parent.batch_id, priority=parent.priority, depth=1)
        if self._one_of([True, False]):
            child = replace(child, request=replace(child.request, parent={"image_id": "i"}))
        self._made += self._ledger.generations.create([child] * self._number(1, 6))

    def dispatch(self) -> None:
        account, rate, prices = self._one_of(ACCOUNTS), self._number(1, 4), self._prices()
        before = self._waiting(account, prices)
        self._turns.clear()
        self._ledger.dispatch.run(PROVIDER, Limits(rate, 10**6), prices, [account])
        served = [(row.priority, row.batch_id or "") for row in self._flows_of(self._turns)]
        assert bool(served) == bool(before)
        self._fairness.look(before, served, self._waiting(account, prices))
        how = self._one_of(["accepted", "rejected", "not taken", "later"])
        claims = [] if how == "later" else self._ledger.submissions.claim(100, LEASE)
        ends = {"rejected": Rejected("no", code="no"), "not taken": FULL}
        results = [Submitted(it.attempt_id, ends.get(how, accepted(it))) for it in claims]
        self._ledger.submissions.record(results, POLL_AFTER)
        if how == "rejected":
            self._failed += [claim.generation.id for claim in claims]

    def retry(self) -> None:
        self._ledger.generations.retry(self._failed)
        self._failed.clear()

    def cancel(self) -> None:
        if self._made:
            self._ledger.generations.cancel([self._one_of(self._made).id])

    def block(self) -> None:
        """An account is empty: what no worker has taken is recalled. Then it is filled, sooner or later."""
        claims = self._ledger.submissions.claim(1, LEASE)
        self._ledger.submissions.record([Submitted(it.attempt_id, BLOCKED) for it in claims], POLL_AFTER)
        if self._one_of([True, False]):
            self._ledger.dispatch.resume_account(PROVIDER)

    def _prices(self) -> Prices | None:
        """None, a budget for so many more, or one for each batch."""
        if (more := self._one_of([None, 0, 1, 3, 100, "batch"])) is None:
            return None
        counted = sum(amount for state, amount in totals(self._ledger).items() if state != "released")
        return Prices(rules=EVERY, caps=Caps(batch=4) if more == "batch" else Caps(day=counted + int(more)))

    def _waiting(self, account: str, prices: Prices | None) -> set[Flow]:
        """The flows of which something may go to this account now."""
        if any(one.account == account for one in self._ledger.dispatch.throttled_accounts()):
            return set()
        query = select(_g.priority, _g.batch_id).where(
            _g.state == State.QUEUED,
            _g.dispatched_at.is_(None),
            _g.pinned.in_([ANY_ACCOUNT, account]),
            _g.not_before.is_(None) | (_g.not_before <= self._clock.now),
        )
        with self._ledger.database.read() as connection:
            rows = connection.execute(query.distinct()).all()
            b = budgets.c
            used = (b.reserved + b.possible + b.spent + b.late).label("used")
            spent = {row.day or row.batch_id: row.used for row in connection.execute(
                select(b.day, b.batch_id, used).where(b.kind != "provider"))}  # fmt: skip
        caps = prices.caps if prices else Caps()
        if caps.day is not None and spent.get(f"{self._clock.now:%Y-%m-%d}", 0) >= caps.day:
            return set()
        is_full = {row.batch_id for row in rows if row.batch_id and caps.batch is not None
                   and spent.get(row.batch_id, 0) >= caps.batch}  # fmt: skip
        return {(row.priority, row.batch_id or "") for row in rows if row.batch_id not in is_full}

    def _flows_of(self, rows: list[Any]) -> list[Any]:
        with self._ledger.database.read() as connection:
            query = select(_g.id, _g.priority, _g.batch_id).where(_g.id.in_([row.id for row in rows]))
            found = {row.id: row for row in connection.execute(query)}
        return [found[row.id] for row in rows]

    def _one_of(self, items: Any) -> Any:
        return self._draw(st.sampled_from(items))

    def _number(self, least: int, most: int) -> int:
        return int(self._draw(st.integers(least, most)))


@pytest.mark.hypothesis
@pytest.mark.parametrize(("kind", "number"), [("sqlite", 60), ("postgresql", 10)])
def test_between_two_of_one_flow_each_other_goes_once_whatever_has_happened(
    request: pytest.FixtureRequest, clock: FakeClock, turns: list[Any], kind: str, number: int
):
    ledger = Ledger(request.getfixturevalue(f"{kind}_url"), clock)
    if kind == "sqlite":
        # No machine fails while this runs, and waiting for the disk is half of the time.
        event.listen(ledger.database.engine, "connect", lambda one, _: one.execute("PRAGMA synchronous=OFF"))

    @settings(max_examples=examples(number), suppress_health_check=list(HealthCheck))
    @given(st.data())
    def whatever_happens(data: Any) -> None:
        clock.now = FakeClock().now
        with ledger.database.write() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        history = History(ledger, clock, turns, data.draw)
        for _ in range(30):
            history.go_on()

    whatever_happens()
    ledger.close()
