"""What was sent without a price is counted, and charged afterwards: once, on its day, in all its budgets."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from tests.clock import NOON, FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    at_once,
    claimed,
    failure,
    new,
    queued,
    submitted,
    success,
)
from tests.worker.ledger.purses import EVERY, NO_CAP, totals
from tests.worker.ledger.test_label_budgets import used
from worker.errors import Uncertain
from worker.ledger import Ledger
from worker.ledger.budget import Unpriced, unpriced
from worker.ledger.schema import charges, label_budgets
from worker.ledger.submission import Submitted
from worker.pricing.prices import Caps, Prices, Rule

SINCE = NOON.date() - timedelta(days=30)
ACME = {"client": "acme"}


def some(ledger: Ledger) -> None:
    """One that succeeded, one in progress, one that is unclear, one that failed, one that waits."""
    done, unclear, failed, _ = claimed(ledger, 4, labels=ACME)
    ledger.generations.apply_outcomes([success(done), failure(failed)])
    ledger.submissions.record([Submitted(unclear.attempt_id, Uncertain("?", code="?"))], POLL_AFTER)
    queued(ledger)


@pytest.mark.parametrize("bite", [1, unpriced.BITE])
def test_it_is_charged_as_its_outcome_says_and_never_twice(
    ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, bite: int
):
    monkeypatch.setattr(unpriced, "BITE", bite)
    some(ledger)
    clock.advance(hours=24)
    full = Prices(rules=EVERY, caps=Caps(day=0))
    assert ledger.budgets.unpriced(full, SINCE) == [
        Unpriced(provider=PROVIDER, operation="imagine", number=3, amount=3)
    ]
    assert at_once(*[lambda: ledger.budgets.price_now(full, SINCE)] * 2)
    assert totals(ledger) == {"spent": 1, "possible": 1, "reserved": 1}
    assert used(ledger) == {("client", "acme"): 3}
    with ledger.database.read() as connection:
        assert set(connection.execute(select(charges.c.day)).scalars()) == {"2026-11-21"}
    assert ledger.budgets.price_now(full, SINCE) == (0, 0)
    assert ledger.budgets.unpriced(full, SINCE) == []


def test_what_is_charged_afterwards_is_settled_like_all_else(ledger: Ledger):
    first, second = submitted(ledger, 2)
    assert ledger.budgets.price_now(NO_CAP, SINCE) == (2, 2)
    ledger.generations.apply_outcomes([success(first), failure(second)])
    assert totals(ledger) == {"spent": 1, "released": 1}


def test_what_the_file_gives_no_price_is_counted_and_what_is_free_is_not(ledger: Ledger):
    submitted(ledger, 2)
    kie = Prices(rules=(Rule(price=1, provider="kie"),))
    assert ledger.budgets.unpriced(kie, SINCE) == [
        Unpriced(provider=PROVIDER, operation="imagine", number=2, amount=None)
    ]
    assert ledger.budgets.price_now(kie, SINCE) == (0, 0)
    assert ledger.budgets.unpriced(Prices(rules=(Rule(price=0),)), SINCE) == []


def test_older_generations_are_left_out(ledger: Ledger):
    submitted(ledger)
    assert ledger.budgets.unpriced(NO_CAP, NOON.date() + timedelta(days=1)) == []
    assert len(ledger.budgets.unpriced(NO_CAP, NOON.date())) == 1


def test_budgets_of_labels_are_brought_to_the_sum_of_their_charges(ledger: Ledger):
    ledger.generations.create([new(labels=ACME), new(labels={"order": "7"})])
    ledger.dispatch.run(PROVIDER, PLENTY)
    ledger.submissions.claim(2, LEASE)
    ledger.budgets.price_now(NO_CAP, SINCE)
    with ledger.database.write() as connection:
        connection.execute(text("UPDATE label_budgets SET reserved = 5, spent = 9 WHERE name = 'client'"))
        connection.execute(label_budgets.delete().where(label_budgets.c.name == "order"))
    assert ledger.budgets.recount_labels() == 2
    totals(ledger)
    assert used(ledger) == {("client", "acme"): 1, ("order", "7"): 1}
    assert ledger.budgets.recount_labels() == 0
