"""Events on their way to subscribers: each at least once, in order, by one worker at a time, and not for ever."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from tests.clock import FakeClock
from tests.factories import archived, at_once, flat, new
from tests.worker.ledger.delivering import hand_over
from tests.worker.ledger.statements import statements_of
from worker.ledger import Ledger
from worker.ledger.changes import Changes
from worker.ledger.events import WAITS, DeliveryFilter, EventDelivery, Handed, NotifyClaim, Troubled
from worker.ledger.events.deliveries import pause_after, retry_wait
from worker.ledger.events.order import FIRST_LOOK

LEASE = timedelta(seconds=45)
REFUSED = "HTTP 503"


def happen(ledger: Ledger, *types: str) -> None:
    """Record events as the steps of the flow do."""
    with ledger.database.write() as connection:
        changes = Changes(connection, ledger.database.clock())
        for kind in types:
            changes.event(kind)
        changes.flush()


def claim(ledger: Ledger, *names: str) -> list[NotifyClaim]:
    return ledger.events.claim(names or ("a", "b"), 8, LEASE)


def deliver(
    ledger: Ledger,
    mine: NotifyClaim,
    take: Callable[[EventDelivery], str | None] = lambda _: None,
    wanted: Callable[[str], bool] = lambda _: True,
) -> list[EventDelivery]:
    """Hand over what is due, as `tasks.notify` does; `take` says why the subscriber does not take one."""
    return hand_over(ledger, mine, lambda one: Handed(one, take(one)), DeliveryFilter(is_wanted=wanted))


def deliver_all(ledger: Ledger, **how) -> list[str]:
    return [one.type for mine in claim(ledger) for one in deliver(ledger, mine, **how)]


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    """With one subscriber, `a`."""
    ledger.events.register_subscribers(["a"])
    return ledger


def test_each_event_is_delivered_once_and_in_order(ledger: Ledger):
    happen(ledger, "one", "two")
    happen(ledger, "three")
    assert deliver_all(ledger) == ["one", "two", "three"]
    assert deliver_all(ledger) == []
    happen(ledger, "four")
    assert deliver_all(ledger) == ["four"]


def test_a_delivery_tells_the_event_and_its_generation(ledger: Ledger):
    (generation_id,) = archived(ledger, key="fox-1")
    (mine,) = claim(ledger)
    told = deliver(ledger, mine)
    assert [one.type for one in told] == [
        "generation.submitted",
        "generation.succeeded",
        "asset.archived",
        "generation.archived",
    ]
    assert {one.generation_id for one in told} == {generation_id}
    assert told[2].payload["object_key"] == "pictures/0.png"
    assert told[3].about == {
        "key": "fox-1",
        "root_key": "fox-1",
        "provider": "acedata",
        "operation": "imagine",
        "assets": [
            {
                "index": 0,
                "kind": "image",
                "object_key": "pictures/0.png",
                "content_type": "image/png",
                "bytes": 1234,
            }
        ],
    }


def test_a_delivery_about_a_follow_up_tells_whose_it_is(ledger: Ledger):
    (parent,) = archived(ledger, key="fox-1", batch="animals")
    deliver_all(ledger)
    batch_id = ledger.generations.newest_batch("animals")
    (child,) = ledger.generations.create([new(action="upscale1", parent_id=parent, depth=1, batch_id=batch_id)])
    with ledger.database.write() as connection:
        changes = Changes(connection, ledger.database.clock())
        changes.event("asset.archived", generation_id=child.id, object_key="pictures/0.png")
        changes.flush()
    (mine,) = claim(ledger)
    (told,) = deliver(ledger, mine)
    assert (told.batch_id, told.about["batch"]) == (batch_id, "animals")
    assert told.about.items() >= {"parent": parent, "action": "upscale1", "root_key": "fox-1"}.items()
    assert "key" not in told.about


def test_work_is_due_exactly_while_there_is_some(ledger: Ledger, clock: FakeClock):
    assert "notify" not in ledger.maintenance.due()
    happen(ledger, "one")
    assert ledger.maintenance.is_due("notify")
    (mine,) = claim(ledger)
    assert not ledger.maintenance.is_due("notify")
    deliver(ledger, mine, lambda _: REFUSED)
    assert not ledger.maintenance.is_due("notify")
    clock.advance(5)
    assert ledger.maintenance.is_due("notify")
    assert deliver_all(ledger) == ["one"]
    assert not ledger.maintenance.is_due("notify")


def test_without_subscribers_there_is_never_anything_due(ledger: Ledger):
    ledger.events.register_subscribers([])
    happen(ledger, "one")
    assert ledger.maintenance.due() == []
    assert claim(ledger) == []


def test_what_is_not_wanted_is_passed_over(ledger: Ledger):
    happen(ledger, "asset.archived", "generation.failed", "batch.completed")
    assert deliver_all(ledger, wanted=lambda kind: kind.startswith("generation.")) == ["generation.failed"]
    assert not ledger.maintenance.is_due("notify")


def test_every_subscriber_gets_everything_at_its_own_pace(ledger: Ledger):
    ledger.events.register_subscribers(["a", "b"])
    happen(ledger, "one", "two")
    first, second = claim(ledger)
    assert [one.type for one in deliver(ledger, first, lambda _: REFUSED)] == ["one"]
    assert [one.type for one in deliver(ledger, second)] == ["one", "two"]


def test_one_worker_at_a_time_delivers_to_a_subscriber(ledger: Ledger):
    names = list("abcdefgh")
    ledger.events.register_subscribers(names)
    happen(ledger, "one")
    for _ in range(10):
        claims = flat(at_once(*[lambda: ledger.events.claim(names, 8, LEASE)] * 4))
        assert sorted(one.subscriber for one in claims) == names
        for one in claims:
            ledger.events.release(one)


def test_what_a_dead_worker_had_in_hand_is_delivered_again(ledger: Ledger, clock: FakeClock):
    happen(ledger, "one", "two")
    (lost,) = claim(ledger)
    ledger.events.enqueue_new(lost, DeliveryFilter())
    in_hand = ledger.events.record_and_claim_next(lost, LEASE)
    assert in_hand is not None
    assert claim(ledger) == []
    clock.advance(46)
    (mine,) = claim(ledger)
    again = deliver(ledger, mine)
    assert [(one.event_id, one.tries) for one in again] == [(in_hand.event_id, 2), (in_hand.event_id + 1, 1)]


def test_who_lost_the_lease_takes_nothing_more_and_spoils_nothing(ledger: Ledger, clock: FakeClock):
    happen(ledger, "one", "two", "three")
    (late,) = claim(ledger)
    ledger.events.enqueue_new(late, DeliveryFilter())
    one = ledger.events.record_and_claim_next(late, LEASE)
    assert one is not None
    clock.advance(46)
    (mine,) = claim(ledger)
    assert ledger.events.record_and_claim_next(late, LEASE, Handed(one, REFUSED)) is None
    assert ledger.events.enqueue_new(late, DeliveryFilter()) == 0
    ledger.events.release(late)
    assert claim(ledger) == []
    assert [again.type for again in deliver(ledger, mine)] == ["one", "two", "three"]


def test_what_was_taken_is_noted_even_when_the_lease_is_lost(ledger: Ledger, clock: FakeClock):
    happen(ledger, "one", "two")
    (late,) = claim(ledger)
    ledger.events.enqueue_new(late, DeliveryFilter())
    one = ledger.events.record_and_claim_next(late, LEASE)
    assert one is not None
    clock.advance(46)
    (mine,) = claim(ledger)
    assert ledger.events.record_and_claim_next(late, LEASE, Handed(one)) is None
    assert [again.type for again in deliver(ledger, mine)] == ["two"]


def test_after_a_failure_the_subscriber_is_left_alone_then_tried_in_order(ledger: Ledger, clock: FakeClock):
    happen(ledger, "one", "two")
    assert deliver_all(ledger, take=lambda _: REFUSED) == ["one"]
    assert claim(ledger) == []
    clock.advance(4.9)
    assert claim(ledger) == []
    clock.advance(0.1)
    assert deliver_all(ledger) == ["one", "two"]


def test_failures_in_a_row_make_the_pause_longer_and_a_success_makes_it_short_again(ledger: Ledger, clock: FakeClock):
    def pause() -> float:
        began = clock.now
        while not ledger.maintenance.is_due("notify"):
            clock.advance(1)
        return (clock.now - began).total_seconds()

    happen(ledger, *(f"event-{number}" for number in range(10)))
    pauses = []
    for _ in range(3):
        deliver_all(ledger, take=lambda _: REFUSED)
        pauses.append(pause())
    answers = iter([None, REFUSED])
    deliver_all(ledger, take=lambda _: next(answers))
    assert [*pauses, pause()] == [5, 10, 20, 5]


def test_an_event_that_is_never_taken_holds_up_the_others_for_seconds_only(ledger: Ledger, clock: FakeClock):
    happen(ledger, "poison", "one", "two")
    began = clock.now
    taken: list[str] = []
    while len(taken) < 2:
        taken += [
            kind
            for kind in deliver_all(ledger, take=lambda one: REFUSED if one.type == "poison" else None)
            if kind != "poison"
        ]
        clock.advance(1)
    assert clock.now - began < timedelta(seconds=20)
    assert taken == ["one", "two"]


def test_a_subscriber_that_is_away_for_hours_costs_few_tries_and_misses_nothing(sqlite_url: str, clock: FakeClock):
    ledger = Ledger(sqlite_url, clock)
    ledger.events.register_subscribers(["a"])
    happen(ledger, *(f"event-{number}" for number in range(50)))
    began, tries = clock.now, 0
    while clock.now - began < timedelta(hours=6):
        tries += len(deliver_all(ledger, take=lambda _: REFUSED))
        clock.advance(minutes=5)
    assert 60 < tries < 80
    arrived: list[str] = []
    while clock.now - began < timedelta(hours=12):
        arrived += deliver_all(ledger)
        clock.advance(minutes=30)
    assert len(set(arrived)) == len(arrived) == 50
    ledger.close()


def test_after_ten_tries_it_is_a_dead_letter_with_the_last_reason(
    ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("worker.ledger.events.deliveries.JITTER", 0)
    happen(ledger, "one")
    for wait in WAITS:
        assert deliver_all(ledger, take=lambda _: REFUSED) == ["one"]
        clock.advance(wait.total_seconds() - 1)
        assert not ledger.maintenance.is_due("notify")
        clock.advance(1)
    assert ledger.events.dead(1) == []
    assert deliver_all(ledger, take=lambda _: REFUSED) == ["one"]
    (letter,) = ledger.events.dead(1)
    assert (letter.subscriber, letter.type, letter.tries, letter.error) == ("a", "one", 10, REFUSED)
    clock.advance(hours=48)
    assert ledger.maintenance.due() == []


def test_who_wants_no_more_is_not_tried_again(ledger: Ledger):
    happen(ledger, "one")
    (mine,) = claim(ledger)
    ledger.events.enqueue_new(mine, DeliveryFilter())
    delivery = ledger.events.record_and_claim_next(mine, LEASE)
    assert delivery is not None
    ledger.events.record_and_claim_next(
        mine, LEASE, Handed(delivery, "it accepts no more events (HTTP 410)", final=True)
    )
    assert [letter.tries for letter in ledger.events.dead(1)] == [1]


def test_an_event_that_ends_its_worker_each_time_is_given_up_as_well(ledger: Ledger, clock: FakeClock):
    happen(ledger, "deadly", "one")
    for _ in range(11):
        (mine,) = claim(ledger)
        ledger.events.enqueue_new(mine, DeliveryFilter())
        delivery = ledger.events.record_and_claim_next(mine, LEASE)
        clock.advance(46)
    assert delivery is not None
    assert delivery.type == "one"
    (letter,) = ledger.events.dead(1)
    assert (letter.type, letter.error) == ("deadly", "its worker did not return from the last of 10 tries")


def test_a_dead_letter_is_delivered_again_on_demand_and_only_once(ledger: Ledger, clock: FakeClock):
    happen(ledger, "one")
    while not (letters := ledger.events.dead(1)):
        deliver_all(ledger, take=lambda _: REFUSED)
        clock.advance(hours=6)
    happen(ledger, "two")
    deliver_all(ledger, take=lambda _: REFUSED)
    event_id = letters[0].event_id
    assert ledger.events.replay(event_id, "a")
    assert not ledger.events.replay(event_id, "a")
    assert not ledger.events.replay(event_id, "b")
    assert not ledger.events.replay(10**15, "a")
    # At once, whatever the pause was; the other one keeps its own wait.
    (mine,) = claim(ledger)
    assert [(one.type, one.tries) for one in deliver(ledger, mine)] == [("one", 1)]
    assert ledger.events.dead(1) == []


def test_a_new_subscriber_is_told_of_what_happened_lately(ledger: Ledger, clock: FakeClock):
    happen(ledger, "long ago")
    clock.advance(FIRST_LOOK.total_seconds() + 1)
    happen(ledger, "just now")
    ledger.events.register_subscribers(["a", "b"])
    (mine,) = claim(ledger, "b")
    assert [one.type for one in deliver(ledger, mine)] == ["just now"]


def test_who_leaves_and_returns_goes_on_where_it_stopped(ledger: Ledger, clock: FakeClock):
    happen(ledger, "one")
    assert deliver_all(ledger) == ["one"]
    ledger.events.register_subscribers([])
    happen(ledger, "two")
    assert claim(ledger) == []
    clock.advance(hours=1)
    ledger.events.register_subscribers(["a"])
    assert deliver_all(ledger) == ["two"]


def test_two_clocks_may_note_the_subscribers_at_once(ledger: Ledger):
    assert at_once(*[lambda: ledger.events.register_subscribers(["a", "b", "c"])] * 4) == [None] * 4
    happen(ledger, "one")
    assert len(ledger.events.claim(["a", "b", "c"], 8, LEASE)) == 3


def test_many_events_are_lined_up_part_by_part(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worker.ledger.events.deliveries._CHUNK", 3)
    happen(ledger, *(f"event-{number}" for number in range(8)))
    assert deliver_all(ledger) == [f"event-{number}" for number in range(8)]


def test_an_event_that_is_committed_after_a_younger_one_is_not_passed_over(
    postgresql_url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    """SQLite has one writer at a time, PostgreSQL hands out the ids before the commit."""
    monkeypatch.setattr("worker.ledger.events.order._PATIENCE", 0.05)
    ledger = Ledger(postgresql_url, clock)
    ledger.events.register_subscribers(["a"])
    with ledger.database.write() as connection:
        changes = Changes(connection, clock())
        changes.event("older")
        changes.flush()
        happen(ledger, "younger")
        assert deliver_all(ledger) == []
        assert ledger.maintenance.is_due("notify")
    assert deliver_all(ledger) == ["older", "younger"]
    with ledger.database.write() as connection:
        connection.execute(text("SELECT id FROM events FOR SHARE"))
        happen(ledger, "another")
        assert deliver_all(ledger) == ["another"], "who only reads is not waited for"
    ledger.close()


def test_recording_an_event_costs_no_statement_more_for_any_number_of_subscribers(ledger: Ledger):
    with statements_of(ledger) as few:
        happen(ledger, "one")
    ledger.events.register_subscribers(list("abcdefgh"))
    with statements_of(ledger) as statements:
        happen(ledger, "two")
    assert len(statements) == len(few)
    assert not any("deliveries" in one or "subscribers" in one for one in statements)


@given(tries=st.integers(1, 10_000))
def test_waits_grow_from_seconds_to_hours_and_end(tries: int):
    wait = retry_wait(tries)
    if tries <= 9:
        assert wait is not None
        assert timedelta(seconds=5) <= wait <= timedelta(hours=6)
        later = retry_wait(tries + 1)
        assert later is None or later > wait
    else:
        assert wait is None
    assert timedelta(seconds=5) <= pause_after(tries) <= pause_after(tries + 1) <= timedelta(minutes=5)


def test_the_waits_last_for_half_a_day_to_a_day():
    assert timedelta(hours=12) < sum(WAITS, timedelta()) < timedelta(hours=24)
    assert all(later <= earlier * 6 for earlier, later in pairwise(WAITS))


def troubled(ledger: Ledger) -> list[Troubled]:
    return ledger.events.failing_subscribers(lambda _, kind: kind != "unwanted")


def test_a_subscriber_in_trouble_is_known_with_all_that_waits_for_it(ledger: Ledger, clock: FakeClock):
    ledger.events.register_subscribers(["a", "b"])
    happen(ledger, "one")
    first = clock.now
    assert troubled(ledger) == [], "nothing has failed"
    (mine,) = claim(ledger, "a")
    deliver(ledger, mine, take=lambda _: REFUSED)
    clock.advance(1)
    happen(ledger, "two", "unwanted", "three")
    assert troubled(ledger) == [
        Troubled(subscriber="a", failures=1, waiting=3, since=first, error=REFUSED, tried_at=first + pause_after(1))
    ]
    clock.advance(60)
    (mine,) = claim(ledger, "a")
    deliver(ledger, mine, take=lambda _: "another reason")
    assert troubled(ledger) == [
        Troubled(
            subscriber="a",
            failures=2,
            waiting=3,
            since=first,
            error="another reason",
            tried_at=clock.now + pause_after(2),
        )
    ]
    clock.advance(12)
    (mine,) = claim(ledger, "a")
    # Its first event waits longer than the pause, so the error of the second is the last one.
    deliver(ledger, mine, take=lambda one: f"not {one.type}")
    (seen,) = troubled(ledger)
    assert (seen.failures, seen.error) == (3, "not two")
    clock.advance(3600)
    deliver_all(ledger)
    assert troubled(ledger) == []


def test_when_only_one_that_failed_waits_it_is_tried_after_its_own_wait(ledger: Ledger, clock: FakeClock):
    happen(ledger, "one")
    for _ in range(2):
        deliver_all(ledger, take=lambda _: REFUSED)
        clock.advance(10)
    tried = clock.now - timedelta(seconds=10)
    assert [one.tried_at for one in troubled(ledger)] == [tried + WAITS[1]]


def test_who_wants_no_more_is_in_trouble_only_while_something_waits(ledger: Ledger):
    happen(ledger, "one")
    (mine,) = claim(ledger)
    ledger.events.enqueue_new(mine, DeliveryFilter())
    delivery = ledger.events.record_and_claim_next(mine, LEASE)
    assert delivery is not None
    ledger.events.record_and_claim_next(
        mine, LEASE, Handed(delivery, "it accepts no more events (HTTP 410)", final=True)
    )
    assert troubled(ledger) == []
    happen(ledger, "two")
    assert [(one.waiting, one.error) for one in troubled(ledger)] == [(1, "it accepts no more events (HTTP 410)")]
    ledger.events.register_subscribers([])
    assert troubled(ledger) == []
