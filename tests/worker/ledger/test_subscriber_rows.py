"""Subscribers that people add: what they select, when they are disabled, and in which order they get what waited."""

import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clock import FakeClock
from tests.examples import examples
from tests.factories import archived, failure, new, submitted
from tests.patience import wait_for
from tests.worker.ledger.delivering import hand_over
from tests.worker.ledger.statements import statements_of
from tests.worker.ledger.test_notifying import LEASE, REFUSED, happen
from worker.errors import NotFound, RequestInvalid
from worker.ledger import Ledger
from worker.ledger.changes import Changes
from worker.ledger.events import DeliveryFilter, EventDelivery, Handed, NewSubscriber, Response
from worker.ledger.events.deliveries import FEWEST_FAILURES, LONGEST_RETRY_AFTER, REPLIES_KEPT, WAITS

SECRET = "whsec_c2VjcmV0"
FLOW = ["generation.submitted", "generation.succeeded", "asset.archived", "generation.archived"]


def add(ledger: Ledger, name: str = "shop", **how) -> None:
    row = {"kind": "webhook", "address": "https://shop.test/hooks/token", "secrets": [SECRET], "created_by": "me"}
    ledger.events.add_subscriber(NewSubscriber(name=name, **{**row, **how}))


def deliver(
    ledger: Ledger, name: str = "shop", answers=lambda _: None, wanted: DeliveryFilter | None = None, **said
) -> list[EventDelivery]:
    """Hand over what is due, as `tasks.notify` does; `answers` says why the subscriber does not take one."""

    def send(delivery: EventDelivery) -> Handed:
        error = answers(delivery)
        return Handed(delivery, error, response=Response(**said) if error else Response({"status": 204}))

    claims = ledger.events.claim([name], 1, LEASE)
    return [one for mine in claims for one in hand_over(ledger, mine, send, wanted or DeliveryFilter())]


def types(tried: list[EventDelivery]) -> list[str]:
    return [one.type for one in tried]


def row_of(ledger: Ledger, name: str = "shop"):
    return next(one for one in ledger.events.known_subscribers() if one.name == name)


def test_a_subscriber_that_was_added_gets_events_whatever_the_settings_declare(ledger: Ledger):
    ledger.events.register_subscribers([])
    add(ledger)
    happen(ledger, "one")
    assert types(deliver(ledger)) == ["one"]
    ledger.events.register_subscribers(["other"])
    happen(ledger, "two")
    assert types(deliver(ledger)) == ["two"]


def test_an_older_clock_that_does_not_know_it_takes_nothing_from_it(ledger: Ledger):
    """It takes it for one that the settings cease to name."""
    add(ledger)
    with ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE subscribers SET left_at = '2026-11-21 12:00:00'")
    happen(ledger, "one")
    ledger.events.register_subscribers([])
    assert types(deliver(ledger)) == ["one"]


def test_a_name_is_given_once(ledger: Ledger):
    add(ledger)
    with pytest.raises(RequestInvalid, match="there is already a subscriber 'shop'"):
        add(ledger)
    ledger.events.register_subscribers(["declared"])
    with pytest.raises(RequestInvalid, match="already"):
        add(ledger, "declared")
    with pytest.raises(NotFound, match="declared by a setting"):
        ledger.events.remove_subscriber("declared")


def test_who_is_removed_gets_nothing_is_forgotten_and_continues_when_added_again(ledger: Ledger):
    add(ledger)
    happen(ledger, "one")
    assert types(deliver(ledger)) == ["one"]
    ledger.events.remove_subscriber("shop")
    happen(ledger, "two")
    assert deliver(ledger) == []
    with ledger.database.read() as connection:
        assert "token" not in str(connection.exec_driver_sql("SELECT * FROM subscribers").all())
    with pytest.raises(NotFound):
        ledger.events.remove_subscriber("shop")
    ledger.events.register_subscribers([])
    add(ledger)
    assert types(deliver(ledger)) == ["two"]


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        (DeliveryFilter(batch="spring"), {"fox"}),
        (DeliveryFilter(provider="kie"), {"owl"}),
        (DeliveryFilter(labels={"client": "acme"}), {"crow"}),
        (DeliveryFilter(labels={"client": "acme", "kind": "x"}), set()),
        (DeliveryFilter(), {"fox", "owl", "crow"}),
    ],
)
def test_it_gets_what_it_selects(ledger: Ledger, wanted: DeliveryFilter, keys: set[str]):
    add(ledger)
    ledger.generations.create([new(key="fox")], "spring")
    ledger.generations.create([new(key="owl", provider="kie")])
    ledger.generations.create([new(key="crow", labels={"client": "acme"})])
    found = {one.key: one.id for one in ledger.generations.page()}
    with ledger.database.write() as connection:
        changes = Changes(connection, ledger.database.clock())
        for generation_id in found.values():
            changes.event("generation.submitted", generation_id=generation_id)
        changes.event("provider.paused", provider="acedata")
        changes.flush()
    told = deliver(ledger, wanted=wanted)
    assert {one.about["key"] for one in told if one.type == "generation.submitted"} == keys
    assert ("provider.paused" in types(told)) == wanted.is_by_type


def test_what_selects_costs_the_same_statements_for_any_number_of_events(ledger: Ledger):
    add(ledger)
    counts = []
    for number in (1, 40):
        archived(ledger, number)
        (mine,) = ledger.events.claim(["shop"], 1, LEASE)
        with statements_of(ledger) as statements:
            ledger.events.enqueue_new(mine, DeliveryFilter(provider="acedata", labels={"a": "b"}))
        counts.append(len(statements))
        ledger.events.release(mine)
    assert counts[0] == counts[1]


def test_a_later_event_of_a_generation_waits_for_the_earlier_one_and_others_do_not(ledger: Ledger, clock: FakeClock):
    add(ledger)
    first, second = submitted(ledger, 2)
    refuses = lambda one: REFUSED if one.generation_id == first.generation.id else None  # noqa: E731
    deliver(ledger, answers=refuses)
    ledger.generations.apply_outcomes([failure(first), failure(second)])
    clock.advance(5)
    got: list[EventDelivery] = []
    for _ in range(3):
        got += [one for one in deliver(ledger, answers=refuses) if one.generation_id == second.generation.id]
        clock.advance(10)
    assert types(got) == ["generation.submitted", "generation.failed"]
    clock.advance(hours=1)
    mine = [one for one in deliver(ledger) if one.generation_id == first.generation.id]
    assert types(mine) == ["generation.submitted", "generation.failed"]


def test_what_is_held_up_makes_nobody_look_again_and_again(ledger: Ledger, clock: FakeClock):
    add(ledger)
    (one,) = submitted(ledger)
    deliver(ledger, answers=lambda _: REFUSED)
    ledger.generations.apply_outcomes([failure(one)])
    clock.advance(5)
    deliver(ledger, answers=lambda _: REFUSED)
    clock.advance(15)
    # Only the first waits for its own time, in half a minute.
    with ledger.database.write() as connection:
        connection.exec_driver_sql('UPDATE subscribers SET not_before = NULL, "cursor" = 1000000')
    assert not ledger.maintenance.is_due("notify")


def test_who_was_away_for_an_hour_gets_every_event_in_order_as_soon_as_it_is_back(ledger: Ledger, clock: FakeClock):
    add(ledger)
    for _ in range(3):
        archived(ledger)
    began = clock.now
    while clock.now - began < timedelta(hours=1):
        deliver(ledger, answers=lambda _: REFUSED)
        clock.advance(minutes=1)
    while not (tried := deliver(ledger)):
        clock.advance(minutes=1)
    assert clock.now - began < timedelta(hours=1, minutes=6)
    by_generation: dict[str | None, list[str]] = {}
    for one in tried:
        by_generation.setdefault(one.generation_id, []).append(one.type)
    assert list(by_generation.values()) == [FLOW] * 3


@given(seed=st.integers(0, 2**32))
@settings(max_examples=examples(40))
def test_whatever_fails_each_event_arrives_and_each_generation_is_in_order(
    seed: int, fresh_ledger: Ledger, clock: FakeClock
):
    ledger, choose = fresh_ledger, random.Random(seed)
    with ledger.database.write() as connection:
        for table in ("deliveries", "subscribers", "events"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    add(ledger)
    archived(ledger, 3)
    arrived: list[EventDelivery] = []

    def answers(one: EventDelivery) -> str | None:
        # An event that failed in all of its tries is given up.
        may_fail = one.tries <= len(WAITS) // 2
        if may_fail and choose.random() < 0.4:
            return REFUSED
        arrived.append(one)
        # Some replies are lost: it has the event, and gets it again.
        return REFUSED if may_fail and choose.random() < 0.1 else None

    for _ in range(80):
        if choose.random() < 0.1 and (dying := ledger.events.claim(["shop"], 1, LEASE)):
            ledger.events.enqueue_new(dying[0], DeliveryFilter())
            if delivery := ledger.events.record_and_claim_next(dying[0], LEASE):
                arrived.append(delivery)
        deliver(ledger, answers=answers)
        clock.advance(choose.choice([5, 15, 60, 1800]))

    def all_arrived() -> bool:
        deliver(ledger, answers=answers)
        clock.advance(1800)
        return len({(one.generation_id, one.type) for one in arrived}) == 3 * len(FLOW)

    # PostgreSQL gives no event out while an older transaction is open, be it another database's.
    assert wait_for(all_arrived, seconds=20)
    first_seen = list(dict.fromkeys((one.generation_id, one.type) for one in arrived))
    by_generation: dict[str | None, list[str]] = {}
    for generation_id, kind in first_seen:
        by_generation.setdefault(generation_id, []).append(kind)
    assert list(by_generation.values()) == [FLOW] * 3


def test_the_wait_that_it_asks_for_is_honoured_up_to_an_hour(ledger: Ledger, clock: FakeClock):
    add(ledger)
    happen(ledger, "one", "two")
    deliver(ledger, answers=lambda _: "HTTP 429", retry_after=timedelta(minutes=20))
    clock.advance(minutes=19)
    assert deliver(ledger) == []
    clock.advance(minutes=1)
    deliver(ledger, answers=lambda _: "HTTP 429", retry_after=timedelta(days=400))
    clock.advance(seconds=LONGEST_RETRY_AFTER.total_seconds())
    assert types(deliver(ledger)) == ["one", "two"]


def test_who_wants_no_more_is_disabled_and_others_are_told_but_not_itself(ledger: Ledger, clock: FakeClock):
    add(ledger)
    add(ledger, "other")
    happen(ledger, "one", "two")
    deliver(ledger, answers=lambda _: "it accepts no more events (HTTP 410)", is_last=True)
    row = row_of(ledger)
    assert (row.disabled_at, row.disabled_reason) == (clock.now, "it accepts no more events (HTTP 410)")
    ledger.events.register_subscribers([])
    clock.advance(hours=1)
    assert deliver(ledger) == []
    (told,) = [one for one in deliver(ledger, "other") if one.type == "subscriber.disabled"]
    assert told.payload["subscriber"] == "shop"
    ledger.events.enable_subscriber("shop")
    ledger.events.register_subscribers([])
    assert types(deliver(ledger)) == ["one", "two"]


def test_a_declared_one_is_disabled_as_well_and_stays_so_until_it_is_enabled(ledger: Ledger):
    ledger.events.register_subscribers(["shop"])
    happen(ledger, "one")
    deliver(ledger, answers=lambda _: "HTTP 410", is_last=True)
    ledger.events.register_subscribers(["shop"])
    assert row_of(ledger).disabled_at
    ledger.events.enable_subscriber("shop")
    ledger.events.register_subscribers(["shop"])
    assert types(deliver(ledger)) == ["one"]


def test_after_five_days_of_failures_it_is_disabled_and_a_success_begins_anew(ledger: Ledger, clock: FakeClock):
    add(ledger)

    def fail_for(days: float) -> None:
        began = clock.now
        while clock.now - began < timedelta(days=days):
            happen(ledger, "one")
            deliver(ledger, answers=lambda _: REFUSED)
            clock.advance(hours=6)

    fail_for(4)
    assert row_of(ledger).failing_since == min(one.at for one in ledger.events.delivery_log("shop", 100))
    deliver(ledger)
    assert row_of(ledger).failing_since is None
    fail_for(4.5)
    assert row_of(ledger).disabled_at is None
    fail_for(1)
    row = row_of(ledger)
    assert row.disabled_at is not None
    assert row.failures >= FEWEST_FAILURES
    assert row.disabled_reason == f"no delivery has succeeded for 5 days: {REFUSED}"


def test_the_last_replies_to_each_delivery_are_kept(ledger: Ledger, clock: FakeClock):
    add(ledger)
    happen(ledger, "one")
    for number in range(REPLIES_KEPT + 2):
        kept = {"status": 500 + number, "reply": "no", "seconds": 0.1}
        deliver(ledger, answers=lambda _: REFUSED, kept=kept)
        clock.advance(hours=7)
    deliver(ledger)
    (log,) = ledger.events.delivery_log("shop", 10)
    assert log.replies is not None
    assert [one["status"] for one in log.replies] == [503, 504, 505, 506, 204]
    assert [one["error"] for one in log.replies] == [REFUSED] * 4 + [None]
    assert (log.state, log.tries) == ("delivered", REPLIES_KEPT + 3)


def test_those_that_fail_are_claimed_last_or_not_at_all(ledger: Ledger, clock: FakeClock):
    for name in ("a", "b", "c"):
        add(ledger, name)
    happen(ledger, "one")
    deliver(ledger, "a", answers=lambda _: REFUSED)
    deliver(ledger, "b", answers=lambda _: REFUSED)
    clock.advance(minutes=1)
    assert [one.subscriber for one in ledger.events.claim(["a", "b", "c"], 1, LEASE)] == ["c"]
    assert ledger.events.claim(["a", "b"], 9, LEASE, failing=False) == []
    assert [one.subscriber for one in ledger.events.claim(["a", "b"], 9, LEASE)] == ["a", "b"]


def test_secrets_are_no_part_of_what_a_traceback_shows(ledger: Ledger):
    add(ledger)
    assert SECRET not in repr(row_of(ledger))
    assert "token" not in repr(row_of(ledger))


def test_a_person_disables_a_subscriber_and_it_goes_on_where_it_stopped(ledger: Ledger):
    add(ledger)
    archived(ledger)
    ledger.events.disable_subscriber("shop", "disabled by ada")
    ledger.events.disable_subscriber("shop", "disabled by grace")
    assert ledger.events.claim(["shop"], 9, LEASE) == []
    (row,) = [one for one in ledger.events.known_subscribers() if one.name == "shop"]
    assert row.disabled_reason == "disabled by ada", "the first stands"
    ledger.events.register_subscribers([])
    assert ledger.events.claim(["shop"], 9, LEASE) == [], "the clock's next pass leaves it disabled"
    ledger.events.enable_subscriber("shop")
    assert [one.type for one in deliver(ledger)][: len(FLOW)] == FLOW
    with pytest.raises(NotFound):
        ledger.events.disable_subscriber("nobody", "disabled by ada")
