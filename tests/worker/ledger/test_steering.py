"""A person steers a batch: dispatch obeys at once, whatever else happens, and what is at a provider goes on."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import func, select, update

from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, PROVIDER, archived, at_once, new, queued, submitted, succeeded
from tests.worker.ledger.purses import NO_CAP, held, totals
from tests.worker.ledger.test_plans import steps
from worker.errors import NotFound
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits
from worker.ledger.generations import NewGeneration
from worker.ledger.schema import batches, flows, generations
from worker.pricing.prices import Caps, Prices, Rule

OTHER = "kie"
EVERY = (Rule(price=1),)
_g = generations.c


def batch(ledger: Ledger, count: int = 3, name: str = "b", **facts: object) -> str:
    (made, *_) = queued(ledger, count, batch=name, **facts)
    return str(made.batch_id)


def went(ledger: Ledger, prices: Prices | None = None, limits: Limits = PLENTY, provider: str = PROVIDER) -> int:
    return ledger.dispatch.run(provider, limits, prices)


def dispatched(ledger: Ledger) -> Counter[str]:
    """How many of each batch were dispatched and are not claimed."""
    with ledger.database.read() as connection:
        query = select(_g.batch_id, func.count()).where(_g.dispatched_at.is_not(None), _g.state == State.QUEUED)
        return Counter({row[0]: row[1] for row in connection.execute(query.group_by(_g.batch_id))})


def awake(ledger: Ledger, batch_id: str) -> list[bool]:
    with ledger.database.read() as connection:
        found = select(flows.c.asleep_since.is_(None)).where(flows.c.flow == batch_id)
        return [bool(one) for one in connection.execute(found).scalars()]


def add(ledger: Ledger, batch_id: str, count: int = 1, **facts: object) -> None:
    ledger.generations.create([new(batch_id=batch_id, **facts) for _ in range(count)])


# --- pause and resume ---


def test_nothing_of_a_paused_batch_goes_until_it_is_resumed(ledger: Ledger):
    paused, other = batch(ledger), batch(ledger, 2, "other")
    assert ledger.batches.pause(paused)
    assert not ledger.batches.pause(paused)
    assert (went(ledger), dispatched(ledger)) == (2, {other: 2})
    assert not ledger.maintenance.is_due("dispatch")
    assert ledger.batches.resume(paused)
    assert not ledger.batches.resume(paused)
    assert ledger.maintenance.is_due("dispatch")
    assert (went(ledger), dispatched(ledger)) == (3, {paused: 3, other: 2})


def test_what_no_worker_has_claimed_comes_back_and_what_one_has_claimed_goes_on(ledger: Ledger):
    mine = batch(ledger, 3)
    assert went(ledger, NO_CAP) == 3
    (claim,) = ledger.submissions.claim(1, LEASE)
    ledger.batches.pause(mine)
    assert ledger.submissions.claim(9, LEASE) == []
    assert ledger.generations.counts(mine) == {State.QUEUED: 2, State.SUBMITTING: 1}
    assert totals(ledger) == {"reserved": 1, "released": 2}
    assert ledger.submissions.begin(claim.attempt_id)
    ledger.batches.resume(mine)
    assert went(ledger, NO_CAP) == 2


def test_what_joins_a_paused_batch_waits_with_it(ledger: Ledger, clock: FakeClock):
    """Follow-ups, retries and a flow of its own at another priority; also after nothing of it was left to wait."""
    mine = batch(ledger, 1)
    (claim,) = _claims(ledger)
    ledger.batches.pause(mine)
    add(ledger, mine, 2)
    add(ledger, mine, 1, priority=5)
    for _ in range(2):
        assert went(ledger) == 0
        clock.advance(minutes=2)
    assert awake(ledger, mine) == [False, False]
    assert not ledger.maintenance.is_due("dispatch")
    add(ledger, mine)
    assert awake(ledger, mine) == [False, False]
    ledger.batches.resume(mine)
    assert went(ledger) == 4
    assert claim.generation.batch_id == mine


def _claims(ledger: Ledger) -> list[object]:
    assert went(ledger)
    return list(ledger.submissions.claim(9, LEASE))


def test_a_flow_that_nobody_has_woken_is_found_a_minute_later(ledger: Ledger, clock: FakeClock):
    """As after a process that died, or a version that knows no pauses."""
    mine = batch(ledger)
    ledger.batches.pause(mine)
    assert went(ledger) == 0
    with ledger.database.write() as connection:
        connection.execute(update(batches).values(paused_at=None))
    assert went(ledger) == 0
    clock.advance(minutes=1)
    assert went(ledger) == 3


def test_a_batch_that_does_not_exist_is_not_steered(ledger: Ledger):
    for verb in (ledger.batches.pause, ledger.batches.resume, ledger.batches.limit, ledger.batches.steering):
        with pytest.raises(NotFound, match="there is no batch batch_none"):
            verb("batch_none")
    with pytest.raises(NotFound):
        ledger.batches.reprioritize("batch_none", 1)


# --- a start that is to come ---


def test_a_batch_starts_when_its_time_has_come(ledger: Ledger, clock: FakeClock):
    mine = batch(ledger)
    assert went(ledger) == 3
    ledger.batches.limit(mine, start_at=clock() + timedelta(hours=1))
    assert (went(ledger), dispatched(ledger)) == (0, {})
    assert not ledger.maintenance.is_due("dispatch")
    assert ledger.batches.start_due() == 0
    clock.advance(hours=1)
    assert ledger.maintenance.is_due("dispatch")
    assert ledger.batches.start_due() == 1
    assert ledger.batches.steering(mine).start_at is None
    assert went(ledger) == 3


def test_a_paused_batch_whose_time_has_come_stays_paused(ledger: Ledger, clock: FakeClock):
    mine = batch(ledger)
    ledger.batches.limit(mine, start_at=clock() + timedelta(hours=1))
    ledger.batches.pause(mine)
    clock.advance(hours=2)
    ledger.batches.start_due()
    assert went(ledger) == 0
    ledger.batches.resume(mine)
    assert went(ledger) == 3


def test_a_start_in_the_past_or_none_starts_it_now(ledger: Ledger, clock: FakeClock):
    mine = batch(ledger, 1)
    ledger.batches.limit(mine, start_at=clock() + timedelta(hours=1))
    ledger.batches.resume(mine)
    assert went(ledger) == 0
    ledger.batches.limit(mine, start_at=clock() - timedelta(hours=1))
    assert went(ledger) == 1


# --- as many as may be in flight ---


def test_no_more_of_a_batch_are_in_flight_than_may_be(ledger: Ledger):
    """At all providers and priorities together; what is claimed and sent counts until it has ended."""
    mine, other = batch(ledger, 4), batch(ledger, 2, "other")
    add(ledger, mine, 4, provider=OTHER)
    add(ledger, mine, 4, priority=3)
    ledger.batches.limit(mine, max_in_flight=3)
    assert went(ledger) == 5
    assert went(ledger, provider=OTHER) == 0
    assert dispatched(ledger) == {mine: 3, other: 2}
    claims = [one for one in ledger.submissions.claim(9, LEASE) if one.generation.batch_id == mine]
    assert went(ledger) == 0
    ledger.batches.limit(mine, max_in_flight=5)
    assert went(ledger, provider=OTHER) == 2
    assert went(ledger) == 0
    ledger.batches.limit(mine, max_in_flight=None)
    assert went(ledger) == 5
    assert len(claims) == 3


def test_batches_at_their_limit_keep_nobody_from_room_behind_them(ledger: Ledger):
    full = [batch(ledger, 5, f"full {number}") for number in range(4)]
    for one in full:
        ledger.batches.limit(one, max_in_flight=1)
    assert went(ledger) == 4
    last = batch(ledger, 5, "last")
    assert went(ledger, limits=Limits(3, 10_000)) == 3
    assert dispatched(ledger) == {**dict.fromkeys(full, 1), last: 3}


def test_several_flows_of_a_limited_batch_leave_no_room_unused(ledger: Ledger):
    mine = batch(ledger, 2)
    for priority in range(1, 25):
        add(ledger, mine, priority=priority)
    ledger.batches.limit(mine, max_in_flight=1)
    last = batch(ledger, 9, "last", priority=-1)
    assert went(ledger, limits=Limits(10, 10_000)) == 10
    assert dispatched(ledger) == {mine: 1, last: 9}


def test_what_is_forgotten_keeps_no_room(ledger: Ledger, clock: FakeClock):
    mine = batch(ledger, 2)
    ledger.batches.limit(mine, max_in_flight=1)
    assert went(ledger) == 1
    ledger.submissions.claim(1, LEASE)
    clock.advance(minutes=59)
    assert went(ledger) == 0
    clock.advance(minutes=2)
    assert went(ledger) == 1


# --- its own cap ---


def test_the_stricter_of_its_own_cap_and_that_of_the_price_file_holds(ledger: Ledger):
    mine = batch(ledger, 9)
    prices = Prices(rules=EVERY, caps=Caps(batch=4))
    ledger.batches.limit(mine, max_cost=2)
    assert (went(ledger, prices), len(held(ledger))) == (2, 7)
    assert "the budget of its batch has no room" in str(ledger.generations.get(held(ledger))[0].message)
    ledger.batches.limit(mine, max_cost=8)
    assert (went(ledger, prices), dispatched(ledger)[mine]) == (2, 4)
    assert (went(ledger, Prices(rules=EVERY)), dispatched(ledger)[mine]) == (4, 8)
    ledger.batches.limit(mine, max_cost=None)
    assert (went(ledger, Prices(rules=EVERY)), held(ledger)) == (1, [])
    assert totals(ledger) == {"reserved": 9}


def test_its_own_cap_is_a_budget_like_others(ledger: Ledger):
    mine = batch(ledger, 3)
    ledger.batches.limit(mine, max_cost=1)
    went(ledger, NO_CAP)
    (standing,) = ledger.budgets.standings(NO_CAP)
    assert (standing.key, standing.cap, standing.used, standing.waiting, standing.is_own) == (mine, 1, 1, 2, True)


# --- priority ---


def test_a_batch_gets_another_priority_with_all_that_is_open(ledger: Ledger):
    (sent,) = submitted(ledger, 1, batch="b")
    mine = str(sent.generation.batch_id)
    add(ledger, mine, 150)
    batch(ledger, 5, "other", priority=1)
    assert ledger.batches.reprioritize(mine, 2) == 150
    assert ledger.batches.reprioritize(mine, 2) == 0
    assert went(ledger, limits=Limits(100, 10_000)) == 100
    assert dispatched(ledger) == {mine: 100}
    assert ledger.generations.get([sent.generation.id])[0].priority == 2


def test_a_paused_batch_stays_paused_at_another_priority(ledger: Ledger):
    mine = batch(ledger)
    ledger.batches.pause(mine)
    assert ledger.batches.reprioritize(mine, 7) == 3
    assert went(ledger) == 0
    ledger.batches.resume(mine)
    assert went(ledger) == 3


# --- no follow-ups ---


def test_what_is_under_way_gets_no_follow_ups_and_the_batch_is_complete_without(ledger: Ledger):
    archived(ledger, 1, batch="b", follow_up=("upscale1",))
    mine = str(ledger.generations.newest_batch("b"))
    assert ledger.batches.drop_follow_ups(mine) == (1, 0)
    assert ledger.generations.due_follow_ups(9) == []
    assert ledger.batches.steering(mine).completed_at is not None
    assert ledger.batches.drop_follow_ups(mine) == (0, 0)
    succeeded(ledger, 1, batch="c", follow_up=("upscale1",))
    assert ledger.batches.drop_follow_ups(str(ledger.generations.newest_batch("c"))) == (1, 0)


# --- many ---


def test_thousands_of_paused_batches_do_not_make_dispatch_slower(sqlite_url: str, clock: FakeClock):
    ledger = Ledger(sqlite_url, clock)
    for name in ("a", "b"):
        batch(ledger, 2, name)

    def dispatch(ledger: Ledger) -> None:
        ledger.dispatch.run(PROVIDER, PLENTY)

    with ledger.database.write() as connection:
        connection.execute(update(batches).values(paused_at=clock()))
    for _ in range(2):
        dispatch(ledger)
    few = steps(ledger, dispatch)
    with ledger.database.write() as connection:
        rows = [f"batch_{number}" for number in range(2000)]
        fact = {"created_at": clock(), "paused_at": clock()}
        connection.execute(batches.insert(), [{"id": name, "name": name, **fact} for name in rows])
        flow = {"provider": PROVIDER, "priority": 0, "pinned": "", "turn": 0, "asleep_since": clock()}
        connection.execute(flows.insert(), [{"flow": name, **flow} for name in rows])
    assert steps(ledger, dispatch) < 1.3 * few + 20
    ledger.close()


# --- two at once ---


@pytest.fixture
def two(postgresql_url: str, clock: FakeClock) -> Iterator[tuple[Ledger, Ledger]]:
    """Two machines."""
    ledgers = (Ledger(postgresql_url, clock), Ledger(postgresql_url, clock))
    yield ledgers
    for ledger in ledgers:
        ledger.close()


def test_two_dispatchers_never_take_more_of_a_batch_than_may_be_in_flight(two: tuple[Ledger, Ledger]):
    here, there = two
    for number in range(8):
        wanted: list[NewGeneration] = [new(), new(provider=OTHER)] * 10
        mine = str(here.generations.create(wanted, f"b{number}")[0].batch_id)
        here.batches.limit(mine, max_in_flight=5)
        done = at_once(
            partial(here.dispatch.run, PROVIDER, PLENTY, NO_CAP), partial(there.dispatch.run, OTHER, PLENTY, NO_CAP)
        )
        assert not [one for one in done if isinstance(one, Exception)]
        assert 0 < dispatched(here)[mine] <= 5
        went(here)
        went(there, provider=OTHER)
        assert dispatched(here)[mine] == 5


def test_what_is_dispatched_while_it_is_paused_comes_back(two: tuple[Ledger, Ledger]):
    here, there = two
    for number in range(8):
        mine = batch(here, 40, f"b{number}")
        done = at_once(partial(here.dispatch.run, PROVIDER, PLENTY, NO_CAP), partial(there.batches.pause, mine))
        assert not [one for one in done if isinstance(one, Exception)]
        assert dispatched(here)[mine] == 0
        done = at_once(partial(here.dispatch.run, PROVIDER, PLENTY, NO_CAP), partial(there.batches.resume, mine))
        assert not [one for one in done if isinstance(one, Exception)]
        went(here, NO_CAP)
        assert dispatched(here)[mine] == 40
    assert totals(here)["reserved"] == 320
