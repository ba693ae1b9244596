"""What is charged for a label counts in its budget, and a full one holds back what has that label, nothing else."""

from sqlalchemy import select

from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, PROVIDER, failure, new, one, queued, success
from tests.worker.ledger.purses import EVERY, NO_CAP, events, held, totals
from tests.worker.ledger.statements import statements_of
from worker.ledger import Ledger
from worker.ledger.budget import By
from worker.ledger.dispatch import Limits
from worker.ledger.schema import label_budgets
from worker.pricing.prices import Caps, Prices

ACME, BETA = {"client": "acme"}, {"client": "beta"}
TWO_FOR_ACME = Prices(rules=EVERY, caps=Caps(labels={"client": {"acme": 2}}))


def go(ledger: Ledger, prices: Prices, limits: Limits = PLENTY) -> int:
    return ledger.dispatch.run(PROVIDER, limits, prices)


def used(ledger: Ledger) -> dict[tuple[str, str], int]:
    with ledger.database.read() as connection:
        rows = connection.execute(select(label_budgets)).all()
    return {(row.name, row.value): row.reserved + row.possible + row.spent + row.late for row in rows}


def test_a_full_budget_holds_what_has_the_label_wherever_it_stands_in_its_flow(ledger: Ledger):
    """In one batch, the others go on behind it, and those behind them when there is room."""
    wanted = [new(f"fox {number}", labels=BETA if number % 4 == 3 else ACME) for number in range(12)]
    ledger.generations.create(wanted, "b")
    assert go(ledger, TWO_FOR_ACME) == 2 + 3
    assert (len(held(ledger)), used(ledger)) == (7, {("client", "acme"): 2, ("client", "beta"): 3})
    waits = one(ledger, ledger.generations.get(held(ledger))[0])
    assert (waits.reason, waits.held_label) == ("budget", "client=acme")
    assert waits.message == (
        "the budget of client=acme has no room: 0.000002 USD of 0.000002 USD spent or reserved, this costs 0.000001 USD"
    )
    assert go(ledger, TWO_FOR_ACME) == 0
    claims = ledger.submissions.claim(12, LEASE)
    theirs = ledger.generations.labels_of([claim.generation.id for claim in claims])
    lost = next(claim for claim in claims if theirs[claim.generation.id] == ACME)
    ledger.generations.apply_outcomes([failure(lost)])
    assert go(ledger, TWO_FOR_ACME) == 1
    assert totals(ledger)["released"] == 1
    assert used(ledger)["client", "acme"] == 2


def test_no_day_makes_room_but_a_higher_cap_does(ledger: Ledger, clock: FakeClock):
    queued(ledger, 5, labels=ACME)
    assert go(ledger, TWO_FOR_ACME) == 2
    clock.advance(hours=24)
    assert go(ledger, TWO_FOR_ACME) == 0
    (cap,) = ledger.budgets.standings(TWO_FOR_ACME)
    assert (cap.budget, cap.name, cap.cap, cap.used, cap.waiting) == (By.LABEL, "client=acme", 2, 2, 3)
    assert go(ledger, Prices(rules=EVERY, caps=Caps(labels={"client": {"acme": 4}}))) == 2
    assert go(ledger, NO_CAP) == 1
    assert held(ledger) == []
    assert one(ledger, ledger.generations.page()[0]).held_label is None


def test_a_star_is_for_each_value_that_has_no_cap_of_its_own(ledger: Ledger):
    prices = Prices(rules=EVERY, caps=Caps(labels={"client": {"acme": 3, "*": 1}}))
    for labels in (ACME, BETA, {"client": "gamma"}, {"order": "7"}):
        queued(ledger, 4, labels=labels)
    assert go(ledger, prices) == 3 + 1 + 1 + 4
    assert {cap.name: cap.waiting for cap in ledger.budgets.standings(prices)} == {
        "client=acme": 1, "client=beta": 3, "client=gamma": 3,
    }  # fmt: skip


def test_the_smallest_of_several_budgets_decides_and_a_cap_set_later_counts_from_the_beginning(ledger: Ledger):
    queued(ledger, 3, labels={**ACME, "order": "7"})
    assert go(ledger, NO_CAP) == 3
    queued(ledger, 2, labels=ACME)
    queued(ledger, labels={"order": "7"})
    caps = Caps(day=9, labels={"client": {"acme": 4}, "order": {"7": 3}})
    assert go(ledger, Prices(rules=EVERY, caps=caps)) == 1
    assert sorted(str(waiting.held_label) for waiting in ledger.generations.get(held(ledger))) == [
        "client=acme", "order=7",
    ]  # fmt: skip


def test_it_is_told_once_a_day_with_the_label(ledger: Ledger, clock: FakeClock):
    for _ in range(2):
        queued(ledger, 3, labels=ACME)
        go(ledger, TWO_FOR_ACME)
    told = [event.payload for event in events(ledger) if event.type == "budget.exceeded"]
    assert told == [
        {"budget": "label", "provider": PROVIDER, "day": "2026-11-21", "cap": "0.000002", "used": "0.000002",
         "label": "client", "value": "acme"}
    ]  # fmt: skip
    (cap,) = ledger.budgets.standings(TWO_FOR_ACME)
    assert ledger.budgets.full_since(cap) == clock.now


def test_what_has_no_label_costs_no_statement_when_it_is_settled(ledger: Ledger):
    sent: dict[bool, list[str]] = {}
    for has_label in (False, True):
        queued(ledger, 10, labels=ACME if has_label else {})
        go(ledger, NO_CAP)
        claims = ledger.submissions.claim(10, LEASE)
        with statements_of(ledger) as statements:
            ledger.generations.apply_outcomes([success(claim) for claim in claims])
        sent[has_label] = statements
    assert len(sent[True]) == len(sent[False]) + 3, "its labels, the lock on its budgets, their change"
    assert used(ledger) == {("client", "acme"): 10}


def test_what_is_held_is_not_taken_back_without_room(ledger: Ledger):
    queued(ledger, 40, batch="b", labels=ACME)
    go(ledger, TWO_FOR_ACME)
    with statements_of(ledger) as sent:
        assert go(ledger, TWO_FOR_ACME) == 0
    assert not [statement for statement in sent if statement.startswith("UPDATE generations")]
    assert len(held(ledger)) == 38
