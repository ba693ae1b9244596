"""What is kept no longer goes; what somebody still waits for, and what proves a charge, stays."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.clock import FakeClock
from tests.factories import LEASE, archived, delivery, submitted, succeeded, success
from worker.errors import CallbackUnreadable
from worker.ledger import Ledger
from worker.ledger.changes import Person
from worker.ledger.events import DeliveryFilter, Handed
from worker.ledger.maintenance import ledger_size, pruning
from worker.ledger.outcome import News
from worker.ledger.schema import assets, attempts, callbacks, events, generations, transitions

pytestmark = pytest.mark.matrix

DAYS = timedelta(days=30)


@pytest.fixture(autouse=True)
def small_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BITE", 2)


def prune(ledger: Ledger) -> dict[str, int]:
    """All that is older than `DAYS`; and it is what was foretold."""
    before = ledger.database.clock() - DAYS
    foretold = ledger.maintenance.count_prunable(before)
    gone = dict.fromkeys(foretold, 0)
    for verb in (
        ledger.maintenance.prune_callbacks,
        ledger.maintenance.prune_links,
        ledger.maintenance.prune_events,
        ledger.maintenance.prune_heartbeats,
        ledger.maintenance.prune_sessions,
        ledger.maintenance.prune_actions,
    ):
        after: int | None = 0
        while after is not None:
            bite = verb(before, after) if verb == ledger.maintenance.prune_events else verb(before)
            after = bite.after
            for table, number in bite.gone.items():
                assert table in {"deliveries", "heartbeats"} or number <= pruning.BITE
                gone[table] = gone.get(table, 0) + number
    assert gone == {**dict.fromkeys(gone, 0), **foretold}
    return {table: number for table, number in gone.items() if number}


def rows(ledger: Ledger, table: Any) -> int:
    with ledger.database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def applied(ledger: Ledger, *verdicts: Any) -> None:
    """Callbacks of one generation, of which each was read as said."""
    (claim,) = submitted(ledger)
    ledger.callbacks.store([delivery(claim.attempt_id, digest=f"d{number}") for number in range(len(verdicts))])
    mine = [one for one in ledger.callbacks.claim(99, LEASE) if one.attempt_id == claim.attempt_id]
    for callback, outcome in zip(mine, verdicts, strict=True):
        news = success(claim)
        said = outcome or news.outcome
        ledger.generations.apply_outcomes(
            [
                News(
                    attempt_id=claim.attempt_id,
                    outcome=said,
                    cause="callback",
                    deadlines=news.deadlines,
                    callback_id=callback.id,
                )
            ]
        )


def tell(ledger: Ledger, *names: str, error: str | None = None, most: int = 999) -> int:
    """Deliver what is due to each; how many."""
    told = 0
    ledger.events.register_subscribers(names)
    for claim in ledger.events.claim(names, 9, LEASE):
        handed = None
        while True:
            event = ledger.events.record_and_claim_next(claim, LEASE, handed, more=told < most)
            handed = None
            if event is not None:
                told += 1
                handed = Handed(event, error, final=error is not None)
            elif told >= most or not ledger.events.enqueue_new(claim, DeliveryFilter()):
                break
        ledger.events.release(claim)
    return told


def line_up(ledger: Ledger) -> None:
    """Events that wait to be delivered."""
    tell(ledger, "shop")
    archived(ledger)
    (claim,) = ledger.events.claim(["shop"], 9, LEASE)
    ledger.events.enqueue_new(claim, DeliveryFilter())
    ledger.events.release(claim)


def test_callbacks_go_when_they_were_applied_long_ago(ledger: Ledger, clock: FakeClock):
    applied(ledger, None, None, None, CallbackUnreadable("what?"))
    clock.advance(days=29)
    applied(ledger, None, None)
    assert prune(ledger) == {}
    clock.advance(days=2)
    assert prune(ledger)["callbacks"] == 3
    assert rows(ledger, callbacks) == 3
    (dead,) = ledger.callbacks.dead()
    assert dead.verdict == "unreadable"
    clock.advance(days=400)
    prune(ledger)
    # The newest, so that nothing else gets its number; and the one that was given up.
    assert rows(ledger, callbacks) == 2


def test_one_that_waits_is_kept_however_old_it_is(ledger: Ledger, clock: FakeClock):
    (claim,) = submitted(ledger)
    ledger.callbacks.store([delivery(claim.attempt_id)])
    clock.advance(days=400)
    applied(ledger, None)
    assert "callbacks" not in prune(ledger)


def test_a_dead_letter_is_kept_until_so_long_after_it_was_dismissed(ledger: Ledger, clock: FakeClock):
    applied(ledger, CallbackUnreadable("what?"))
    tell(ledger, "shop", error="410", most=1)
    clock.advance(days=100)
    applied(ledger, None)
    tell(ledger, "shop")
    prune(ledger)
    (callback,), (event,) = ledger.callbacks.dead(), ledger.events.dead(9)
    ledger.events.dismiss([callback.id], [(event.event_id, "shop")], Person("somebody"))
    clock.advance(days=29)
    prune(ledger)
    assert ledger.events.replay(event.event_id, "shop")
    tell(ledger, "shop", error="410", most=1)
    ledger.events.dismiss([], [(event.event_id, "shop")], Person("somebody"))
    clock.advance(days=29)
    applied(ledger, None)
    prune(ledger)
    assert ledger.callbacks.replay([callback.id]) == 0
    clock.advance(days=2)
    prune(ledger)
    assert not ledger.events.replay(event.event_id, "shop")


def test_events_go_when_all_who_are_subscribed_were_told(ledger: Ledger, clock: FakeClock):
    tell(ledger, "shop", "blog")
    archived(ledger, 2)
    tell(ledger, "shop")
    ledger.events.register_subscribers(["shop", "blog"])
    clock.advance(days=31)
    before = rows(ledger, events)
    assert "events" not in prune(ledger)
    assert rows(ledger, events) == before
    assert tell(ledger, "shop", "blog") == before
    clock.advance(days=31)
    archived(ledger)
    gone = prune(ledger)
    assert (gone["events"], gone["deliveries"]) == (before, 2 * before)


def test_events_of_which_somebody_is_not_told_yet_stay(ledger: Ledger, clock: FakeClock):
    line_up(ledger)
    clock.advance(days=31)
    before = rows(ledger, events)
    assert prune(ledger).keys() <= {"assets"}
    assert tell(ledger, "shop") == before


def test_who_left_long_ago_holds_nothing_up(ledger: Ledger, clock: FakeClock):
    line_up(ledger)
    ledger.events.register_subscribers([])
    clock.advance(days=29)
    archived(ledger)
    assert "events" not in prune(ledger)
    clock.advance(days=2)
    assert prune(ledger)["events"] == prune_count(ledger, events, "at", DAYS) + 4


def prune_count(ledger: Ledger, table: Any, column: str, age: timedelta) -> int:
    with ledger.database.read() as connection:
        old = select(func.count()).select_from(table).where(table.c[column] < ledger.database.clock() - age)
        return int(connection.execute(old).scalar_one())


def test_an_event_that_comes_after_all_others_were_pruned_is_told(ledger: Ledger, clock: FakeClock):
    """SQLite gives the highest number out again when its row is gone."""
    tell(ledger, "shop")
    archived(ledger)
    tell(ledger, "shop")
    clock.advance(days=31)
    prune(ledger)
    assert rows(ledger, events) == 1
    archived(ledger)
    assert tell(ledger, "shop") == rows(ledger, events) - 1


def test_links_go_so_long_after_they_died(ledger: Ledger, clock: FakeClock):
    stored = archived(ledger, 3, links=2)
    (waiting,) = succeeded(ledger)
    clock.advance(days=30)
    assert "assets" not in prune(ledger)
    clock.advance(days=1, seconds=1)
    assert prune(ledger)["assets"] == 6
    known = ledger.generations.assets_of([*stored, waiting.generation.id])
    assert [asset.url != "" for each in known.values() for asset in each] == [False] * 6 + [True]
    assert all(asset.sha256 and asset.object_key for one in stored for asset in known[one])


def test_generations_assets_attempts_and_history_stay(ledger: Ledger, clock: FakeClock):
    archived(ledger, 3)
    ledger.maintenance.beat("quick@old", 1)
    kept = (generations, assets, attempts, transitions)
    before = [rows(ledger, table) for table in kept]
    clock.advance(days=400)
    ledger.maintenance.beat("quick@new", 1)
    assert prune(ledger)["heartbeats"] == 1
    assert [rows(ledger, table) for table in kept] == before
    assert [beat.worker for beat in ledger.maintenance.heartbeats()] == ["quick@new"]
    assert prune(ledger) == {}


def test_show_says_what_was_pruned(ledger: Ledger, clock: FakeClock):
    (old,) = archived(ledger)
    applied(ledger, None, None)
    assert ledger.generations.story(old).pruned_before == {}
    clock.advance(days=31)
    (young,) = archived(ledger)
    prune(ledger)
    assert ledger.generations.story(old).pruned_before == dict.fromkeys(("callbacks", "events"), clock() - DAYS)
    assert ledger.generations.story(young).pruned_before == {}
    before = clock() - DAYS
    ledger.maintenance.prune_events(before - DAYS)
    assert ledger.generations.story(old).pruned_before["events"] == before


def test_the_size_of_each_table_is_told(ledger: Ledger):
    archived(ledger, 3)
    size = ledger_size(ledger.database)
    by_name = {table.name: table for table in size.tables}
    assert (by_name["generations"].rows, by_name["assets"].rows, by_name["budgets"].rows) == (3, 3, 0)
    assert by_name["generations"].bytes
    assert sum(table.bytes or 0 for table in size.tables) <= size.bytes
