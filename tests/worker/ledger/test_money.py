"""Money: reserved when a generation goes, settled with its outcome; a budget without room stops what does not fit."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, POLL_AFTER, PROVIDER, archived, failure, new, one, queued, state_of, success
from tests.worker.ledger.purses import EVERY, NO_CAP, THREE_A_DAY, events, held, submit_again, totals
from tests.worker.ledger.test_plans import plans
from tests.worker.ledger.test_recipe_steps import RECIPE, follow
from worker.errors import NotTaken, ProviderError, Rejected, Uncertain
from worker.generation import Accepted, GenerationRequest, Operation, State
from worker.ledger import Ledger
from worker.ledger.budget import By, Dimension
from worker.ledger.changes import Person
from worker.ledger.dispatch import Limits, budgeted
from worker.ledger.generations import NewGeneration
from worker.ledger.schema import COUNTED
from worker.ledger.submission import Claim, Decision, Submitted
from worker.pricing.budget_days import read_zone
from worker.pricing.prices import MILLION, Caps, Prices, Rule
from worker.recipes import After


def go(ledger: Ledger, prices: Prices | None = NO_CAP, provider: str = PROVIDER, limits: Limits = PLENTY) -> int:
    return ledger.dispatch.run(provider, limits, prices)


def claims(ledger: Ledger) -> list[Claim]:
    return sorted(ledger.submissions.claim(1000, LEASE), key=lambda claim: claim.generation.id)


def reply(ledger: Ledger, claim: Claim, result: Accepted | ProviderError) -> None:
    ledger.submissions.record([Submitted(claim.attempt_id, result)], POLL_AFTER)


def sent(ledger: Ledger, count: int = 1, prices: Prices = NO_CAP) -> list[Claim]:
    queued(ledger, count)
    go(ledger, prices)
    return claims(ledger)


UNCLEAR = Uncertain("silence", code="time_out")


def test_without_prices_nothing_is_counted(ledger: Ledger):
    queued(ledger, 2)
    assert go(ledger, None) == 2
    assert totals(ledger) == {}
    assert go(ledger, Prices()) == 0


def test_what_costs_nothing_is_not_counted_and_needs_no_room(ledger: Ledger):
    queued(ledger, 2, provider="mjproxy")
    assert go(ledger, Prices(rules=(Rule(price=1, provider="acedata"),), caps=Caps(day=0)), "mjproxy") == 2
    assert totals(ledger) == {}


def test_what_goes_is_reserved_in_its_day_provider_and_batch(ledger: Ledger):
    made = queued(ledger, 3, batch="b")
    queued(ledger, 2)
    assert go(ledger) == 5
    assert totals(ledger) == {"reserved": 5}
    batch = str(made[0].batch_id)
    with ledger.database.read() as connection:
        rows = connection.execute(
            text("SELECT kind, day, provider, batch_id, reserved FROM budgets ORDER BY kind")
        ).all()
    assert rows == [
        ("batch", "", "", batch, 3), ("day", "2026-11-21", "", "", 5), ("provider", "2026-11-21", "acedata", "", 5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (Accepted("task"), "reserved"),
        (UNCLEAR, "possible"),
        (Rejected("no", code="no"), "released"),
        (NotTaken("busy", code="busy"), "released"),
    ],
)
def test_the_answer_to_the_submission_settles_it(ledger: Ledger, result: Accepted | ProviderError, state: str):
    (claim,) = sent(ledger)
    reply(ledger, claim, result)
    assert totals(ledger) == {state: 1}


def test_success_is_spent_and_failure_is_given_back(ledger: Ledger):
    first, second, third = sent(ledger, 3)
    ledger.generations.apply_outcomes([success(first), success(first), failure(second), failure(second)])
    assert totals(ledger) == {"spent": 1, "released": 1, "reserved": 1}
    ledger.generations.apply_outcomes([success(third)])
    assert totals(ledger) == {"spent": 2, "released": 1}


def test_what_is_cancelled_before_it_was_sent_is_given_back(ledger: Ledger):
    (generation,) = queued(ledger)
    go(ledger)
    ledger.generations.cancel([generation.id])
    assert totals(ledger) == {"released": 1}


def test_the_submission_of_a_dead_worker_is_possible_until_its_callback_comes(ledger: Ledger, clock: FakeClock):
    (claim,) = sent(ledger)
    clock.advance(hours=1)
    ledger.submissions.mark_lost_unconfirmed()
    assert totals(ledger) == {"possible": 1}
    ledger.generations.apply_outcomes([success(claim)])
    assert totals(ledger) == {"spent": 1}


def test_one_that_was_not_taken_reserves_again_when_it_goes_again(ledger: Ledger, clock: FakeClock):
    (claim,) = sent(ledger)
    reply(ledger, claim, NotTaken("busy", code="busy", retry_after=timedelta(seconds=5)))
    clock.advance(10)
    assert go(ledger) == 1
    assert totals(ledger) == {"released": 1, "reserved": 1}


def test_a_person_who_submits_again_reserves_again_and_the_first_stays_possible(ledger: Ledger):
    (first,) = sent(ledger, prices=THREE_A_DAY)
    reply(ledger, first, UNCLEAR)
    submit_again(ledger, first)
    assert totals(ledger) == {"possible": 1}
    go(ledger, THREE_A_DAY)
    assert totals(ledger) == {"possible": 1, "reserved": 1}
    (second,) = claims(ledger)
    ledger.generations.apply_outcomes([success(second)])
    assert totals(ledger) == {"possible": 1, "spent": 1}
    ledger.generations.apply_outcomes([success(first)])
    assert totals(ledger) == {"spent": 2}
    assert [event.type for event in events(ledger)].count("generation.paid_twice") == 1


@pytest.mark.parametrize(
    ("decision", "state"),
    [(Decision.CHARGED, "spent"), (Decision.NOT_CHARGED, "released"), (Decision.RESUBMIT, "possible")],
)
def test_what_a_person_finds_out_settles_it(ledger: Ledger, decision: Decision, state: str):
    (claim,) = sent(ledger)
    reply(ledger, claim, UNCLEAR)
    ledger.submissions.resolve([claim.generation.id], decision, Person("somebody"))
    assert totals(ledger) == {state: 1}


def test_a_late_success_of_the_first_gives_back_what_the_second_has_reserved(ledger: Ledger):
    (first,) = sent(ledger)
    reply(ledger, first, UNCLEAR)
    submit_again(ledger, first)
    go(ledger)
    ledger.generations.apply_outcomes([success(first)])
    assert totals(ledger) == {"spent": 1, "released": 1}


@pytest.mark.parametrize(
    ("result", "after"),
    [
        (Accepted("another-task"), {"spent": 1, "reserved": 1}),
        (UNCLEAR, {"spent": 1, "possible": 1}),
        (Rejected("no", code="no"), {"spent": 1, "released": 1}),
        (NotTaken("busy", code="busy"), {"spent": 1, "released": 1}),
    ],
)
def test_the_second_is_settled_although_the_first_has_succeeded_meanwhile(
    ledger: Ledger, result: Accepted | ProviderError, after: dict[str, int]
):
    (first,) = sent(ledger)
    reply(ledger, first, UNCLEAR)
    submit_again(ledger, first)
    go(ledger)
    (second,) = claims(ledger)
    ledger.generations.apply_outcomes([success(first)])
    reply(ledger, second, result)
    assert totals(ledger) == after


def test_a_success_after_failure_is_booked_beyond_the_cap_and_told(ledger: Ledger):
    lost, *_ = sent(ledger, 3, THREE_A_DAY)
    ledger.generations.apply_outcomes([failure(lost)])
    queued(ledger)
    assert go(ledger, THREE_A_DAY) == 1
    ledger.generations.apply_outcomes([success(lost)])
    assert totals(ledger) == {"reserved": 3, "late": 1}
    (told,) = [event for event in events(ledger) if event.type == "budget.late_charge"]
    assert (told.generation_id, told.payload) == (lost.generation.id, {"amount": "0.000001", "day": "2026-11-21"})
    queued(ledger)
    assert go(ledger, THREE_A_DAY) == 0


def test_what_a_recipe_makes_is_booked_in_its_batch_when_it_fails_is_retried_and_succeeds_late(ledger: Ledger):
    (parent,) = archived(ledger, recipe=RECIPE, batch="b")
    follow(ledger, parent, After.ARCHIVED, "one", "two", "three")
    batch_id = str(one(ledger, parent).batch_id)
    assert go(ledger) == 3
    retried, late, good = claims(ledger)
    ledger.generations.apply_outcomes([failure(retried), failure(late), success(good)])
    assert totals(ledger) == {"released": 2, "spent": 1}
    submit_again(ledger, retried)
    assert go(ledger) == 1
    (again,) = claims(ledger)
    ledger.generations.apply_outcomes([success(late)])
    assert totals(ledger) == {"released": 1, "reserved": 1, "spent": 1, "late": 1}
    ledger.generations.apply_outcomes([success(again)])
    assert totals(ledger) == {"released": 1, "spent": 2, "late": 1}
    assert ledger.generations.money_of_batches([batch_id])[batch_id].known == 3
    assert ledger.generations.spent(generation_ids=[retried.generation.id]) == 1
    assert follow(ledger, parent, After.ARCHIVED, "four") == 0


def test_a_full_budget_stops_what_does_not_fit_and_says_why(ledger: Ledger):
    queued(ledger, 5)
    assert go(ledger, THREE_A_DAY) == 3
    assert go(ledger, THREE_A_DAY) == 0
    waiting = [generation for generation in ledger.generations.page() if generation.reason == "budget"]
    assert [generation.state for generation in waiting] == [State.QUEUED] * 2
    assert waiting[0].message == (
        "the daily budget has no room: 0.000003 USD of 0.000003 USD spent or reserved, this costs 0.000001 USD"
    )
    assert len(held(ledger)) == 2


def test_it_is_told_once_per_budget_and_day(ledger: Ledger, clock: FakeClock):
    prices = Prices(rules=EVERY, caps=Caps(day=9, providers={"kie": 0}, batch=1))
    batch = queued(ledger, 3, batch="b")[0].batch_id
    queued(ledger, 2, provider="kie")
    for _ in range(3):
        go(ledger, prices)
        go(ledger, prices, "kie")
        queued(ledger, provider="kie")
    exceeded = [event for event in events(ledger) if event.type == "budget.exceeded"]
    assert [(event.batch_id, event.payload["budget"]) for event in exceeded] == [(batch, "batch"), (None, "provider")]
    assert exceeded[0].payload == {
        "budget": "batch", "provider": PROVIDER, "day": "2026-11-21", "cap": "0.000001", "used": "0.000001",
    }  # fmt: skip
    clock.advance(hours=24)
    queued(ledger, provider="kie")
    go(ledger, prices, "kie")
    assert [event.payload["budget"] for event in events(ledger)].count("provider") == 2


def test_others_go_on_while_one_batch_waits(ledger: Ledger):
    """Also behind very many of it."""
    prices = Prices(rules=EVERY, caps=Caps(batches={"big": 2}))
    limits = Limits(rate=10_000, in_flight=10)
    ledger.generations.create([new(priority=5) for _ in range(1300)], "big")
    queued(ledger, 3, batch="small")
    queued(ledger)
    assert go(ledger, prices, limits=limits) == 6
    assert len(held(ledger)) == 1298


def test_what_is_cheap_enough_goes_on_while_something_dearer_waits(ledger: Ledger):
    prices = Prices(rules=(Rule(price=1), Rule(price=4, speed="turbo")), caps=Caps(day=5))
    queued(ledger, 1, options={"speed": "turbo"})
    queued(ledger, 1, options={"speed": "turbo"})
    queued(ledger, 2)
    assert go(ledger, prices) == 2
    assert totals(ledger) == {"reserved": 5}
    assert len(held(ledger)) == 2


def test_a_provider_with_a_full_budget_does_not_stop_another(ledger: Ledger):
    prices = Prices(rules=EVERY, caps=Caps(day=10, providers={PROVIDER: 1}))
    queued(ledger, 2)
    queued(ledger, 2, provider="kie")
    assert [go(ledger, prices), go(ledger, prices, "kie")] == [1, 2]


@pytest.mark.parametrize("caps", [Caps(day=3), Caps(providers={PROVIDER: 3}), Caps(batch=3), Caps(batches={"b": 3})])
def test_what_is_given_back_lets_the_next_go(ledger: Ledger, caps: Caps):
    prices = Prices(rules=EVERY, caps=caps)
    waiting = queued(ledger, 6, batch="b")
    assert go(ledger, prices) == 3
    first, second, third = claims(ledger)
    assert ledger.maintenance.is_due("dispatch")
    ledger.generations.apply_outcomes([failure(first), failure(second), success(third)])
    assert go(ledger, prices) == 2
    assert [claim.generation.id for claim in claims(ledger)] == [one.id for one in waiting[3:5]]
    found = one(ledger, waiting[3])
    assert (found.reason, found.message) == (None, None)
    assert go(ledger, prices) == 0


def test_a_new_day_and_a_higher_cap_make_room_in_order_of_priority(ledger: Ledger, clock: FakeClock):
    queued(ledger, 7)
    (urgent,) = queued(ledger, priority=-1)
    assert go(ledger, THREE_A_DAY) == 3
    first = [claim.generation.id for claim in claims(ledger)]
    assert go(ledger, Prices(rules=EVERY, caps=Caps(day=4))) == 1
    clock.advance(hours=24)
    assert ledger.maintenance.due() == ["dispatch", "submit"]
    assert go(ledger, THREE_A_DAY) == 3
    assert len(held(ledger)) == 1
    assert state_of(ledger, urgent) is State.QUEUED
    assert urgent.id in held(ledger)
    assert not set(first) & set(held(ledger))
    assert totals(ledger) == {"reserved": 7}


def test_a_lower_price_lets_go_what_was_held_for_the_old_one(ledger: Ledger):
    queued(ledger, 6)
    assert go(ledger, Prices(rules=(Rule(price=4),), caps=Caps(day=5))) == 1
    assert go(ledger, Prices(rules=(Rule(price=1),), caps=Caps(day=5))) == 1
    assert totals(ledger) == {"reserved": 5}


def test_without_prices_what_was_held_goes(ledger: Ledger):
    queued(ledger, 5)
    assert go(ledger, THREE_A_DAY) == 3
    assert go(ledger, None) == 2
    assert held(ledger) == []
    assert go(ledger, None) == 0


def test_very_many_that_were_held_come_back_a_few_at_a_time(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(budgeted, "_MOST_BACK", 4)
    queued(ledger, 15)
    assert go(ledger, Prices(rules=EVERY, caps=Caps(day=1))) == 1
    went: list[int] = []

    def note(_connection: Connection) -> None:
        went.append(0)

    def count(_connection: Connection, cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE generations SET held"):
            went[-1] += cursor.rowcount

    event.listen(ledger.database.engine, "begin", note)
    event.listen(ledger.database.engine, "after_cursor_execute", count)
    assert go(ledger, None) == 14
    event.remove(ledger.database.engine, "begin", note)
    event.remove(ledger.database.engine, "after_cursor_execute", count)
    assert ([number for number in went if number], held(ledger)) == ([4, 4, 4, 2], [])


def test_what_was_reserved_is_settled_when_there_are_no_prices_any_more(ledger: Ledger):
    first, second = sent(ledger, 2)
    go(ledger, None)
    ledger.generations.apply_outcomes([success(first), failure(second)])
    assert totals(ledger) == {"spent": 1, "released": 1}


def test_a_success_after_failure_is_booked_although_the_second_try_costs_nothing(ledger: Ledger):
    (claim,) = sent(ledger)
    ledger.generations.apply_outcomes([failure(claim)])
    submit_again(ledger, claim)
    assert go(ledger, Prices()) == 1
    ledger.generations.apply_outcomes([success(claim)])
    assert (totals(ledger)["late"], totals(ledger).get("reserved", 0)) == (1, 0)


def test_what_was_taken_back_and_costs_nothing_now_reserves_nothing(ledger: Ledger, clock: FakeClock):
    first, second = queued(ledger, 2)
    assert go(ledger) == 2
    (claim,) = ledger.submissions.claim(1, LEASE)
    reply(ledger, claim, NotTaken("slower", code="busy", status=429))
    ledger.generations.cancel([claim.generation.id])
    clock.advance(minutes=5)
    assert go(ledger, Prices()) == 1
    assert {one.generation.id for one in claims(ledger)} == {first.id, second.id} - {claim.generation.id}
    assert sum(totals(ledger).get(state, 0) for state in COUNTED) == 0


def test_the_day_of_a_cap_is_that_of_its_zone(ledger: Ledger, clock: FakeClock):
    """A day of 25 hours in Berlin, from its first second to its last."""
    prices = replace(THREE_A_DAY, zone=read_zone("Europe/Berlin"))
    clock.now = datetime(2026, 10, 24, 22, tzinfo=UTC)
    queued(ledger, 5)
    assert go(ledger, prices) == 3
    clock.advance(hours=24, minutes=59, seconds=59)
    assert go(ledger, prices) == 0
    (day,) = ledger.budgets.standings(prices)
    assert (day.used, day.waiting) == (3, 2)
    clock.advance(1)
    assert go(ledger, prices) == 2
    assert [row.key for row in ledger.budgets.totals([Dimension(By.DAY)], date(2026, 10, 25))] == [
        "2026-10-25",
        "2026-10-26",
    ]


@pytest.mark.parametrize("zones", [("UTC", "Pacific/Auckland"), ("Pacific/Auckland", "UTC")])
def test_another_zone_neither_loses_nor_repeats_what_is_reserved(ledger: Ledger, zones: tuple[str, str]):
    """At noon it is the next day already in Auckland."""
    before, after = (replace(THREE_A_DAY, zone=read_zone(name)) for name in zones)
    queued(ledger, 8)
    assert go(ledger, before) == 3
    first, second, third = claims(ledger)
    ledger.generations.apply_outcomes([success(first), failure(second)])
    assert go(ledger, after) == 3
    assert totals(ledger) == {"spent": 1, "released": 1, "reserved": 4}
    # And back: what was given back has room on its own day.
    assert go(ledger, before) == 1
    ledger.generations.apply_outcomes([success(third)])
    assert totals(ledger) == {"spent": 2, "released": 1, "reserved": 4}


def test_a_held_generation_can_be_cancelled(ledger: Ledger):
    queued(ledger, 4)
    go(ledger, THREE_A_DAY)
    (waiting,) = held(ledger)
    assert ledger.generations.cancel([waiting]) == {waiting: State.CANCELLED}
    assert held(ledger) == []
    assert not ledger.maintenance.is_due("dispatch")


def test_a_pause_and_the_rate_hold_as_before(ledger: Ledger, clock: FakeClock):
    queued(ledger, 9)
    limits = Limits(rate=2, in_flight=3)
    assert [go(ledger, NO_CAP, limits=limits) for _ in range(2)] == [2, 0]
    clock.advance(10)
    assert go(ledger, NO_CAP, limits=limits) == 1
    assert totals(ledger) == {"reserved": 3}


def test_the_price_follows_provider_operation_speed_and_version(ledger: Ledger):
    prices = Prices(
        rules=(
            Rule(price=1),
            Rule(price=20, operation="blend"),
            Rule(price=300, speed="turbo"),
            Rule(price=4000, version="niji6"),
        )
    )
    requests: Sequence[GenerationRequest] = [
        GenerationRequest(operation=Operation.IMAGINE, prompt="a fox"),
        GenerationRequest(operation=Operation.BLEND, prompt=""),
        GenerationRequest(operation=Operation.IMAGINE, prompt="a fox --turbo"),
        GenerationRequest(operation=Operation.IMAGINE, prompt="a fox", options={"version": "niji 6"}),
    ]
    ledger.generations.create([NewGeneration(provider=PROVIDER, request=request) for request in requests])
    go(ledger, prices)
    assert totals(ledger) == {"reserved": 4321}


def test_an_option_multiplies_the_price_also_of_what_an_older_version_has_written(ledger: Ledger):
    """That one has not said which options there are: they are read off the request, wherever it says them."""
    prices = Prices(rules=(Rule(price=1),), factors=(Rule(price=4 * MILLION, version="8", extras=frozenset({"hd"})),))
    options = {"version": "8", "hd": True}
    requests = [
        GenerationRequest(operation=Operation.IMAGINE, prompt="a fox", options=options),
        GenerationRequest(operation=Operation.IMAGINE, prompt="a fox --hd --v 8"),
        GenerationRequest(operation=Operation.IMAGINE, prompt="a fox --q 4", options=options),
    ]
    made = ledger.generations.create([NewGeneration(provider=PROVIDER, request=request) for request in requests])
    with ledger.database.write() as connection:
        connection.execute(text("UPDATE generations SET extras = NULL WHERE id <> :id"), {"id": made[0].id})
    go(ledger, prices)
    assert totals(ledger) == {"reserved": 4 + 4 + 16}
    (assumed,) = ledger.budgets.assumed(ledger.database.clock().date())
    assert (assumed.provider, assumed.extras, assumed.amount) == (PROVIDER, ("quality=4",), 16)


def test_what_is_held_is_found_through_its_own_index_and_settled_through_keys(ledger: Ledger):
    queued(ledger, 4, batch="b")
    go(ledger, THREE_A_DAY)
    (first, *_) = claims(ledger)

    def all_of_it(ledger: Ledger) -> None:
        ledger.generations.apply_outcomes([failure(first)])
        queued(ledger)
        go(ledger, THREE_A_DAY)
        ledger.maintenance.is_due("dispatch")

    seen = plans(ledger, all_of_it)
    assert {"ix_generations_held", "ix_generations_waiting", "ix_attempts_generation"} <= set(
        re.findall(r"\bix_\w+", seen)
    ), seen
    # The exceptions are the lists of different holds and of their flows, which each run makes again.
    assert not re.search(r"Seq Scan|SCAN (?!found|flows_held)\w+$", seen, re.MULTILINE), seen
