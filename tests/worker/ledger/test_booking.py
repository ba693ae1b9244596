"""What a restored ledger takes in was paid for before: it counts on the day on which it was sent, also beyond a cap."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.clock import NOON
from tests.factories import LEASE, PLENTY, PROVIDER, at_once, claimed, failure, new, one, queued, success
from tests.worker.ledger.purses import NO_CAP, THREE_A_DAY, events, held, totals
from worker.errors import NotTaken
from worker.generation import GenerationRequest, Operation, State
from worker.ledger import Ledger
from worker.ledger.generations import Orphan, Placed
from worker.ledger.schema import charges
from worker.ledger.submission import Submitted
from worker.pricing.prices import Caps, Prices, Rule

OURS = Orphan(
    task_id="forgotten",
    request=new("a boat").request,
    created_at=NOON - timedelta(hours=13),
    attempt_id="ab" * 16,
    marked=True,
)
#: nothing has room
FULL = Prices(rules=(Rule(price=1),), caps=Caps(day=0))


def taken(ledger: Ledger, *orphans: Orphan, prices: Prices | None = NO_CAP, owner: str | None = None) -> list[Placed]:
    waiting = {orphans[0].task_id: owner} if owner else None
    return ledger.generations.import_tasks(PROVIDER, orphans, waiting=waiting, prices=prices)


def booked(ledger: Ledger) -> list[tuple[str, int]]:
    """Day and price."""
    with ledger.database.read() as connection:
        return [(row.day, row.price) for row in connection.execute(select(charges).order_by(charges.c.day))]


@pytest.mark.parametrize(("outcome", "state"), [(success, "spent"), (failure, "released")])
def test_it_counts_on_the_day_on_which_it_was_sent_and_is_settled(ledger: Ledger, outcome, state: str):
    (placed,) = taken(ledger, OURS)
    assert booked(ledger) == [("2026-11-20", 1)]
    assert totals(ledger) == {"reserved": 1}
    news = outcome(claimed(ledger)[0], task_id=OURS.task_id)
    ledger.generations.apply_outcomes([replace(news, attempt_id=str(placed.attempt_id))])
    assert totals(ledger) == {state: 1}


def test_a_price_follows_operation_speed_version_and_options(ledger: Ledger):
    prices = Prices(
        rules=(Rule(price=1), Rule(price=7, provider=PROVIDER, operation="imagine", speed="turbo", version="7"))
    )
    prompt = "a boat --turbo --v 7 --q 2"
    taken(ledger, replace(OURS, request=GenerationRequest(operation=Operation.IMAGINE, prompt=prompt)), prices=prices)
    assert totals(ledger) == {"reserved": 14}


@pytest.mark.parametrize("prices", [None, Prices(), Prices(rules=(Rule(price=1, provider="kie"),))])
def test_without_a_price_it_counts_nowhere(ledger: Ledger, prices: Prices | None):
    taken(ledger, OURS, prices=prices)
    assert totals(ledger) == {}


def test_it_is_taken_in_beyond_a_cap_and_the_next_one_waits(ledger: Ledger):
    today = replace(OURS, created_at=NOON)
    taken(ledger, *[replace(today, task_id=f"task-{number}", attempt_id=None) for number in range(4)],
          prices=THREE_A_DAY)  # fmt: skip
    assert totals(ledger) == {"reserved": 4}
    (waits,) = queued(ledger)
    assert ledger.dispatch.run(PROVIDER, PLENTY, THREE_A_DAY) == 0
    assert held(ledger) == [waits.id]
    assert one(ledger, waits).message == (
        "the daily budget has no room: 0.000004 USD of 0.000003 USD spent or reserved, this costs 0.000001 USD"
    )


def test_one_that_waited_for_money_counts_in_its_batch_and_waits_no_more(ledger: Ledger):
    (generation,) = queued(ledger, batch="animals")
    ledger.dispatch.run(PROVIDER, PLENTY, FULL)
    assert held(ledger) == [generation.id]
    taken(ledger, OURS, owner=generation.id)
    found = one(ledger, generation)
    assert (found.state, found.reason, found.message) == (State.SUBMITTED, None, None)
    assert totals(ledger) == {"reserved": 1}
    assert [event.type for event in events(ledger)].count("budget.late_charge") == 0
    batch = found.batch_id
    assert batch is not None
    (standing,) = ledger.budgets.standings(Prices(rules=(Rule(price=1),), caps=Caps(batch=5)))
    assert (standing.key, standing.used) == (batch, 1)


def test_what_the_backup_has_reserved_for_it_is_not_counted_twice(ledger: Ledger):
    (generation,) = queued(ledger)
    ledger.dispatch.run(PROVIDER, PLENTY, NO_CAP)
    taken(ledger, OURS, prices=Prices(rules=(Rule(price=9),)), owner=generation.id)
    assert booked(ledger) == [("2026-11-21", 1)]
    assert totals(ledger) == {"reserved": 1}


def test_what_the_backup_has_given_back_counts_when_it_was_sent(ledger: Ledger):
    """It had been dispatched, and was taken back because its provider was slower than that."""
    made = queued(ledger, 2)
    ledger.dispatch.run(PROVIDER, PLENTY, NO_CAP)
    (claim,) = ledger.submissions.claim(1, LEASE)
    ledger.submissions.record(
        [Submitted(claim.attempt_id, NotTaken("slower", code="busy", status=429))], timedelta(minutes=1)
    )
    assert totals(ledger) == {"released": 2}
    (other,) = {generation.id for generation in made} - {claim.generation.id}
    taken(ledger, OURS, prices=Prices(rules=(Rule(price=9),)), owner=other)
    assert booked(ledger) == [("2026-11-20", 9), ("2026-11-21", 1)]
    assert totals(ledger) == {"reserved": 9, "released": 1}


def test_four_who_take_them_in_at_once_count_each_once(ledger: Ledger):
    orphans = [replace(OURS, task_id=f"task-{number}", attempt_id=f"{number:032x}") for number in range(20)]
    at_once(*[lambda: taken(ledger, *orphans)] * 4)
    taken(ledger, *orphans)
    assert totals(ledger) == {"reserved": 20}
