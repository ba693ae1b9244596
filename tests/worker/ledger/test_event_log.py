"""The recorded events in their order, what is told with them, and what a subscriber gets again."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event

from tests.clock import FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    all_stored,
    archived,
    failure,
    one,
    progress,
    queued,
    submitted,
    success,
)
from tests.patience import patient
from tests.worker.ledger.purses import NO_CAP
from tests.worker.ledger.test_notifying import claim, deliver, deliver_all, happen
from worker.errors import AccountBlocked, NotFound, Uncertain
from worker.failures import category_of
from worker.ledger import Ledger
from worker.ledger.changes import _EVENT_OF_STATE, _TOLD_WITH_REASON, Changes, Person
from worker.ledger.dispatch.pacing import FAILURES
from worker.ledger.events import DeliveryFilter, EventFilter, Handed, RecordedEvent
from worker.ledger.submission import Decision, Submitted

EVERY = EventFilter()


def all_events(ledger: Ledger, wanted: EventFilter = EVERY) -> list[RecordedEvent]:
    return list(ledger.events.newest_events(wanted))[::-1]


def told(ledger: Ledger, kind: str) -> list[dict[str, Any]]:
    return [dict(event.payload) for event in all_events(ledger) if event.type == kind]


@contextmanager
def statements_of(ledger: Ledger) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sqlalchemy_event.listen(ledger.database.engine, "before_cursor_execute", note)
    yield statements
    sqlalchemy_event.remove(ledger.database.engine, "before_cursor_execute", note)


# --- reading ---


def test_pages_have_each_event_once_and_in_order(ledger: Ledger):
    happen(ledger, *(f"event-{number}" for number in range(5)))
    horizon = ledger.events.horizon()
    assert horizon is not None
    found: list[str] = []
    position, is_end = 0, False
    while not is_end:
        page = ledger.events.events_after(position, horizon, EVERY, limit=2)
        found += [event.type for event in page.events]
        position, is_end = page.position, page.is_end
    assert found == [f"event-{number}" for number in range(5)]
    assert position == horizon


def test_an_empty_ledger_has_a_beginning(ledger: Ledger):
    assert ledger.events.horizon() == 0
    assert ledger.events.oldest_event() is None


def test_what_is_not_wanted_moves_the_position_on(ledger: Ledger):
    happen(ledger, "one", "two", "three")
    wanted = EventFilter(is_wanted=lambda kind: kind == "two")
    horizon = ledger.events.horizon() or 0
    page = ledger.events.events_after(0, horizon, wanted, limit=5)
    assert [event.type for event in page.events] == ["two"]
    assert (page.position, page.is_end) == (horizon, True)
    assert page.cursor == ledger.events.cursor_at(horizon)


def test_one_call_looks_at_a_limited_number_of_events(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worker.ledger.events.event_log._CHUNK", 3)
    monkeypatch.setattr("worker.ledger.events.event_log._MOST", 6)
    happen(ledger, *(["dull"] * 8), "rare")
    wanted = EventFilter(is_wanted=lambda kind: kind == "rare")
    horizon = ledger.events.horizon() or 0
    page = ledger.events.events_after(0, horizon, wanted, limit=5)
    assert (len(page.events), page.is_end) == (0, False)
    page = ledger.events.events_after(page.position, horizon, wanted, limit=5)
    assert [event.type for event in page.events] == ["rare"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_event_of_a_slow_transaction_is_read_before_the_younger_ones(ledger: Ledger, monkeypatch):
    monkeypatch.setattr("worker.ledger.events.order._PATIENCE", 0.05)
    happen(ledger, "before")
    with ledger.database.write() as slow:
        changes = Changes(slow, ledger.database.clock())
        changes.event("slow")
        changes.flush()
        happen(ledger, "younger")
        # Who read up to the newest id now would never read the slow one.
        assert ledger.events.horizon() is None
    monkeypatch.setattr("worker.ledger.events.order._PATIENCE", patient(10))
    horizon = ledger.events.horizon()
    assert horizon is not None
    page = ledger.events.events_after(0, horizon, EVERY, limit=9)
    assert [event.type for event in page.events] == ["before", "slow", "younger"]


def test_a_position_is_found_by_the_public_id_and_not_by_that_of_another_ledger(ledger: Ledger, clock: FakeClock):
    happen(ledger, "one")
    clock.advance(1)
    happen(ledger, "two")
    (first, second) = all_events(ledger)
    assert ledger.events.position_of(first.public_id) == first.event_id
    assert ledger.events.oldest_event() == first.public_id
    # The number of one with the time of the other, as after a restore; and what is no id.
    mixed = f"evt_{first.event_id}_{second.public_id.rpartition('_')[2]}"
    for unknown in (mixed, "evt_99_1", "evt_1", "gen_1", f"{first.public_id}0"):
        assert ledger.events.position_of(unknown) is None


def test_a_batch_a_generation_and_a_time_select(ledger: Ledger, clock: FakeClock):
    (spring,) = archived(ledger, batch="spring")
    clock.advance(3600)
    (other,) = archived(ledger)
    batch_id = one(ledger, spring).batch_id
    of_batch = all_events(ledger, EventFilter(batch_id=batch_id))
    assert [event.type for event in of_batch][-1] == "batch.completed"
    assert {event.batch_id for event in of_batch} == {batch_id}
    assert {event.generation_id for event in all_events(ledger, EventFilter(generation_id=other))} == {other}
    recent = all_events(ledger, EventFilter(since=clock() - timedelta(minutes=1)))
    assert {event.generation_id for event in recent} == {other}


def test_many_events_are_read_in_as_few_statements_as_one(ledger: Ledger):
    parents = archived(ledger, 10, batch="spring", labels={"client": "acme"})
    submitted(ledger, 5, parent_id=parents[0], depth=1, action="upscale1")
    horizon = ledger.events.horizon() or 0
    with statements_of(ledger) as few:
        ledger.events.events_after(0, horizon, EVERY, limit=60)
    archived(ledger, 40, batch="summer", labels={"client": "acme"})
    horizon = ledger.events.horizon() or 0
    with statements_of(ledger) as many:
        page = ledger.events.events_after(0, horizon, EVERY, limit=200)
    assert len(page.events) > 150
    assert len(many) <= len(few)


# --- what is recorded with them ---


def test_the_reason_of_a_failure_stays_what_it_was_when_it_is_submitted_again(ledger: Ledger):
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim)])
    ledger.generations.retry([claim.generation.id])
    assert one(ledger, claim).reason is None
    assert told(ledger, "generation.failed") == [{"reason": "forbidden", "message": "the prompt is forbidden"}]


def test_an_older_version_s_event_has_the_reason_while_its_generation_has_failed(ledger: Ledger):
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim)])
    with ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE events SET payload = '{}'")
    (event,) = (event for event in all_events(ledger) if event.type == "generation.failed")
    assert event.about.items() >= {"reason": "forbidden", "message": "the prompt is forbidden"}.items()
    ledger.generations.retry([claim.generation.id])
    (event,) = (event for event in all_events(ledger) if event.type == "generation.failed")
    assert not {"reason", "message"} & event.about.keys()


def test_a_complete_batch_tells_its_counts_and_its_cost_after_the_last_charge(ledger: Ledger):
    good, bad = queued(ledger, 2, batch="spring")
    ledger.dispatch.run(PROVIDER, PLENTY, NO_CAP)
    claims = {claim.generation.id: claim for claim in ledger.submissions.claim(9, LEASE)}
    unclear = Uncertain("no answer came in time", code="read_timeout")
    ends = {good.id: accepted(claims[good.id]), bad.id: unclear}
    ledger.submissions.record([Submitted(claims[of].attempt_id, end) for of, end in ends.items()], POLL_AFTER)
    ledger.generations.apply_outcomes([success(claims[good.id])])
    for stored in ledger.assets.claim(9, LEASE):
        ledger.assets.record([all_stored(stored)])
    assert told(ledger, "batch.completed") == []
    ledger.submissions.resolve([bad.id], Decision.NOT_CHARGED, Person("somebody"))
    (facts,) = told(ledger, "batch.completed")
    # What was possible is given back in the same transaction.
    cost = {"known": "0.000001", "possible": "0.00"}
    assert facts == {"completion": 1, "counts": {"archived": 1, "failed": 1}, "cost": cost}


def test_a_batch_without_prices_has_no_cost(ledger: Ledger):
    archived(ledger, batch="spring")
    assert told(ledger, "batch.completed") == [{"completion": 1, "counts": {"archived": 1}, "cost": None}]


def test_progress_is_no_event_unless_it_is_wanted(ledger: Ledger, clock: FakeClock):
    (claim,) = submitted(ledger)
    clock.advance(60)
    ledger.generations.apply_outcomes([progress(claim, 10)])
    assert told(ledger, "generation.progress") == []


def test_progress_is_told_once_in_five_seconds(ledger: Ledger, clock: FakeClock):
    (claim,) = submitted(ledger)
    clock.advance(60)
    for percent in range(1, 21):
        ledger.generations.apply_outcomes([progress(claim, percent)], tells_progress=True)
        clock.advance(1)
    # Twenty reports in twenty seconds; one that is behind is no progress.
    ledger.generations.apply_outcomes([progress(claim, 3)], tells_progress=True)
    assert [facts["progress"] for facts in told(ledger, "generation.progress")] == [1, 6, 11, 16]


# --- accounts that are resumed ---


def refuse(ledger: Ledger, error: AccountBlocked | Uncertain, times: int = 1) -> None:
    queued(ledger, times)
    ledger.dispatch.run(PROVIDER, PLENTY)
    claims = ledger.submissions.claim(times, LEASE)
    assert len(claims) == times
    ledger.submissions.record([Submitted(claim.attempt_id, error) for claim in claims], POLL_AFTER)


def test_a_person_resumes_a_paused_account_and_that_is_told_once(ledger: Ledger):
    refuse(ledger, AccountBlocked("the balance is empty", code="used_up"))
    ledger.dispatch.resume_account(PROVIDER)
    ledger.dispatch.resume_account(PROVIDER)
    assert told(ledger, "provider.resumed") == [{"provider": PROVIDER, "account": "default", "reason": "person"}]


def test_another_key_ends_a_pause_and_that_is_told(ledger: Ledger, clock: FakeClock):
    refused = AccountBlocked("the key was refused", code="invalid_token")
    refused.key_mark = "old"
    refuse(ledger, refused)
    clock.advance(120)
    queued(ledger)
    ledger.dispatch.run(PROVIDER, PLENTY, key_marks={"default": "old"})
    assert told(ledger, "provider.resumed") == []
    ledger.dispatch.run(PROVIDER, PLENTY, key_marks={"default": "new"})
    ledger.dispatch.run(PROVIDER, PLENTY, key_marks={"default": "new"})
    assert told(ledger, "provider.resumed") == [{"provider": PROVIDER, "account": "default", "reason": "another_key"}]


def test_a_probe_that_is_answered_closes_the_circuit_and_that_is_told_once(ledger: Ledger, clock: FakeClock):
    refuse(ledger, Uncertain("no answer", code="http_500", status=500), FAILURES)
    assert len(told(ledger, "provider.circuit_opened")) == 1
    clock.advance(60)
    submitted(ledger)
    submitted(ledger)
    assert told(ledger, "provider.resumed") == [{"provider": PROVIDER, "account": "default", "reason": "probe"}]


# --- events that are sent again ---


@pytest.fixture
def subscribed(ledger: Ledger) -> Ledger:
    """With one subscriber, `a`."""
    ledger.events.register_subscribers(["a"])
    return ledger


def numbers(ledger: Ledger) -> list[int]:
    return [event.event_id for event in all_events(ledger)]


def test_what_was_delivered_is_delivered_again_in_its_order_and_under_its_id(subscribed: Ledger):
    happen(subscribed, "one", "two", "three")
    (mine,) = claim(subscribed)
    before = {one.type: one.public_id for one in deliver(subscribed, mine)}
    third, first = numbers(subscribed)[2], numbers(subscribed)[0]
    happen(subscribed, "four")
    assert subscribed.events.resend("a", [third, first], DeliveryFilter()).resent == 2
    assert subscribed.maintenance.is_due("notify")
    (mine,) = claim(subscribed)
    again = deliver(subscribed, mine)
    assert [one.type for one in again] == ["one", "three", "four"]
    assert [one.public_id for one in again[:2]] == [before["one"], before["three"]]
    assert [one.tries for one in again] == [1, 1, 1]


def test_to_send_again_twice_is_to_send_again_once(subscribed: Ledger):
    happen(subscribed, "one")
    deliver_all(subscribed)
    assert subscribed.events.resend("a", numbers(subscribed), DeliveryFilter()).resent == 1
    again = subscribed.events.resend("a", numbers(subscribed), DeliveryFilter())
    assert (again.resent, again.waiting) == (0, 1)
    assert deliver_all(subscribed) == ["one"]
    assert deliver_all(subscribed) == []


def test_an_event_that_it_never_got_is_delivered(subscribed: Ledger):
    happen(subscribed, "one", "two")
    assert deliver_all(subscribed, wanted=lambda kind: kind == "two") == ["two"]
    assert subscribed.events.resend("a", numbers(subscribed)[:1], DeliveryFilter()).resent == 1
    assert deliver_all(subscribed) == ["one"]


def test_what_is_not_enqueued_yet_keeps_its_turn(subscribed: Ledger):
    happen(subscribed, "one", "two")
    again = subscribed.events.resend("a", numbers(subscribed)[1:], DeliveryFilter())
    assert (again.resent, again.waiting) == (0, 1)
    assert deliver_all(subscribed) == ["one", "two"]


def test_a_worker_that_comes_back_late_does_not_answer_for_what_is_sent_again(subscribed: Ledger, clock: FakeClock):
    happen(subscribed, "one")
    (late,) = claim(subscribed)
    subscribed.events.enqueue_new(late, DeliveryFilter())
    delivery = subscribed.events.record_and_claim_next(late, LEASE)
    assert delivery is not None
    clock.advance(LEASE.total_seconds() + 1)
    assert deliver_all(subscribed) == ["one"]
    subscribed.events.resend("a", [delivery.event_id], DeliveryFilter())
    subscribed.events.record_and_claim_next(late, LEASE, Handed(delivery), more=False)
    assert deliver_all(subscribed) == ["one"]


def test_sending_again_ends_the_pause_of_a_subscriber_that_failed(subscribed: Ledger):
    happen(subscribed, "one", "two")
    (mine,) = claim(subscribed)
    deliver(subscribed, mine, lambda one: "HTTP 503" if one.type == "two" else None)
    assert claim(subscribed) == []
    subscribed.events.resend("a", numbers(subscribed)[:1], DeliveryFilter())
    assert deliver_all(subscribed) == ["one"]


def test_a_replay_is_for_what_was_abandoned_only(subscribed: Ledger):
    happen(subscribed, "one")
    deliver_all(subscribed)
    assert not subscribed.events.replay(numbers(subscribed)[0], "a")
    assert deliver_all(subscribed) == []


def test_nothing_is_sent_to_a_subscriber_that_is_unknown_or_has_left(subscribed: Ledger):
    happen(subscribed, "one")
    deliver_all(subscribed)
    subscribed.events.register_subscribers([])
    for name in ("a", "b"):
        with pytest.raises(NotFound, match=f"no events are delivered to '{name}'"):
            subscribed.events.resend(name, numbers(subscribed), DeliveryFilter())


def test_an_event_that_does_not_exist_is_left_out(subscribed: Ledger):
    happen(subscribed, "one")
    deliver_all(subscribed)
    again = subscribed.events.resend("a", [*numbers(subscribed), 99_999], DeliveryFilter())
    assert (again.resent, again.waiting) == (1, 0)


def test_the_states_of_a_generation_that_tell_a_reason_are_those_of_failures():
    failed = {state for state in _EVENT_OF_STATE if category_of(state, "x", "x") is not None}
    assert failed == _TOLD_WITH_REASON
