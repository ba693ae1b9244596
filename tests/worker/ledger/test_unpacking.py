"""From 0023 to 0024: what was packed into strings is found in its columns, and all goes on where it stopped."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, PROVIDER, all_stored, failure, queued, state_of, succeeded, success
from tests.worker.ledger.previous_tables import back_to_0023
from tests.worker.ledger.purses import EVERY, events, held, totals
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.database import REVISION
from worker.ledger.generations import unfinished
from worker.ledger.generations.unfinished import ABANDONED
from worker.ledger.migrations import upgrade
from worker.ledger.schema import assets, batches, budgets, generations
from worker.pricing.prices import Caps, Prices, Rule

pytestmark = pytest.mark.matrix

PRICES = Prices(
    rules=(*EVERY, Rule(price=3, speed="turbo")),
    caps=Caps(day=7, providers={"kie": 2}, batches={"small": 1, "other": 1}),
)


@pytest.fixture
def blank(blank_database_url: str, clock: FakeClock) -> Iterator[Ledger]:
    ledger = Ledger(blank_database_url, clock)
    upgrade(ledger.database)
    yield ledger
    ledger.close()


def upgrade_from_0023(ledger: Ledger) -> None:
    with ledger.database.write(under_way=True) as connection:
        back_to_0023(connection)
    assert upgrade(ledger.database) == ("0023", REVISION)


def go(ledger: Ledger, prices: Prices | None = PRICES) -> int:
    return sum(ledger.dispatch.run(provider, PLENTY, prices) for provider in (PROVIDER, "kie"))


def held_by_each_kind_of_budget(ledger: Ledger) -> None:
    """Of two batches, of a provider, and of the day at two prices; some under way, some spent, some given back."""
    for batch in ("small", "other"):
        queued(ledger, 3, batch=batch)
    queued(ledger, 3, provider="kie")
    assert go(ledger) == 4
    spent, lost, *_ = ledger.submissions.claim(100, LEASE)
    ledger.generations.apply_outcomes([success(spent), failure(lost)])
    queued(ledger, 5)
    queued(ledger, 2, options={"speed": "turbo"})
    assert go(ledger)


def everything(ledger: Ledger) -> dict[str, list[Any]]:
    g = generations.c
    with ledger.database.read() as connection:
        return {
            "budgets": list(connection.execute(select(budgets).order_by(*budgets.primary_key))),
            "holds": list(connection.execute(
                select(g.id, g.state, g.batch_id, g.held, g.held_prices, g.price, g.message).order_by(g.id))),
        }  # fmt: skip


def test_what_was_held_reserved_and_spent_is_what_it_was(blank: Ledger):
    held_by_each_kind_of_budget(blank)
    before, sums, standings = everything(blank), totals(blank), blank.budgets.standings(PRICES)
    assert {row.held for row in before["holds"]} == {None, "day", "provider", "batch"}
    assert len({row.batch_id for row in before["holds"] if row.held == "batch"}) == 2
    assert {row.price for row in before["holds"] if row.held == "day"} == {1, 3}
    assert {row.kind for row in before["budgets"]} == {"day", "provider", "batch"}
    told = events(blank)

    upgrade_from_0023(blank)
    assert everything(blank) == before
    assert (totals(blank), blank.budgets.standings(PRICES)) == (sums, standings)
    # No room has come; and nobody is told of the same again.
    assert go(blank) == 0
    assert everything(blank) == before
    assert events(blank) == told


def test_what_was_held_goes_as_far_as_its_budgets_have_room(blank: Ledger, clock: FakeClock):
    held_by_each_kind_of_budget(blank)
    upgrade_from_0023(blank)
    waits = set(held(blank))
    clock.advance(hours=24)
    assert go(blank) == 4
    # Of the batch whose only generation was given back one goes; of the other none ever, and the day has seven.
    assert set(held(blank)) < waits
    totals(blank)
    assert go(blank, replace(PRICES, caps=Caps(day=100))) == len(waits) - 4
    assert held(blank) == []
    totals(blank)


def test_what_was_held_goes_when_there_are_no_prices_any_more(blank: Ledger):
    held_by_each_kind_of_budget(blank)
    upgrade_from_0023(blank)
    waits = len(held(blank))
    assert (go(blank, None), held(blank)) == (waits, [])


def test_what_was_under_way_is_settled_in_its_budgets(blank: Ledger):
    held_by_each_kind_of_budget(blank)
    claims = blank.submissions.claim(100, LEASE)
    before = totals(blank)["reserved"]
    upgrade_from_0023(blank)
    blank.generations.apply_outcomes([success(claim) for claim in claims])
    assert totals(blank)["reserved"] == before - sum(claim.generation.options == {} or 3 for claim in claims)


def test_deaths_of_workers_are_still_counted(blank: Ledger, clock: FakeClock):
    succeeded(blank)
    for _ in range(11):
        (held,) = blank.assets.claim(9, LEASE)
        clock.advance(120)
    assert held.deaths == 10
    upgrade_from_0023(blank)
    assert [claim.deaths for claim in blank.assets.claim(9, LEASE)] == [11]


def test_a_worker_of_the_version_before_writes_down_what_it_has_fetched(blank: Ledger):
    (made,) = succeeded(blank)
    (held,) = blank.assets.claim(9, LEASE)
    upgrade_from_0023(blank)
    as_it_knew_it = replace(held, lease=f"{held.deaths}.{held.lease}")
    blank.assets.renew([as_it_knew_it], LEASE)
    blank.assets.record([all_stored(as_it_knew_it)])
    assert state_of(blank, made) is State.ARCHIVED
    with blank.database.read() as connection:
        assert connection.execute(select(assets.c.lease, assets.c.deaths)).one() == (None, 0)


def test_what_was_being_removed_of_a_batch_is_removed_to_its_end(
    blank: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    """And what somebody is still writing down is not."""
    monkeypatch.setattr(unfinished, "_IN_ONE_PASS", 2)
    made = queued(blank, 5, batch="left")
    written = queued(blank, batch="being written")
    with blank.database.write() as connection:
        for one, request, ago in ((made[0], "request", ABANDONED), (written[0], "another request", timedelta())):
            values = {"unfinished": request, "unfinished_at": clock.now - ago}
            connection.execute(update(batches).where(batches.c.id == one.batch_id).values(values))
    blank.generations.remove_abandoned()
    upgrade_from_0023(blank)
    begun = (written[0].batch_id, "another request", clock.now)
    assert unfinished_batches(blank) == {(made[0].batch_id, None, clock.now - ABANDONED), begun}
    for _ in range(4):
        blank.generations.remove_abandoned()
    assert unfinished_batches(blank) == {begun}


def unfinished_batches(ledger: Ledger) -> set[tuple[str, str | None, datetime]]:
    query = select(batches.c.id, batches.c.unfinished, batches.c.unfinished_at)
    with ledger.database.read() as connection:
        return {tuple(row) for row in connection.execute(query)}
