"""The board: what each row says, that it costs the same for all, and what it does not ask again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.usecases.board import Board, Slow, about_batch, show_board
from tasks.usecases.snapshots import Waits
from tasks.waiting import Cause
from tests.clock import FakeClock
from tests.factories import archived, failure, new, queued, submitted, succeeded
from tests.worker.ledger.statements import statements_of
from worker.errors import NotFound
from worker.failures import Category
from worker.ledger import Ledger
from worker.ledger.access import NewAction
from worker.services import Services
from worker.settings.settings import Settings

PRICES = "prices:\n  - {provider: acedata, price: 0.05}\ncaps:\n  day: 20\n  batch: 3\n"


@pytest.fixture
def here(fresh_ledger: Ledger, tmp_path: Path) -> Services:
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES)
    services = Services(
        Settings(database_url=fresh_ledger.database.url, darkroom_data=tmp_path, darkroom_prices=prices),
        fresh_ledger.database.clock,
    )
    services.__dict__["ledger"] = fresh_ledger
    return services


@pytest.fixture
def ledger(here: Services) -> Ledger:
    return here.ledger


@pytest.fixture
def look(here: Services) -> Callable[..., Board]:
    return lambda **facts: show_board(here, Waits(here), **facts)


@contextmanager
def counted(ledger: Ledger) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    kept: list[str] = []
    with statements_of(ledger) as sent:
        yield kept
    kept += [one for one in sent if one != "BEGIN"]


def row_of(board: Board, name: str):
    (found,) = [one for one in board.rows if one.batch.facts.name == name]
    return found


def test_a_row_says_how_quickly_it_goes_and_how_long_it_takes(
    ledger: Ledger, clock: FakeClock, look: Callable[..., Board]
):
    archived(ledger, 4, batch="spring")
    spring = str(ledger.generations.newest_batch("spring"))
    ledger.generations.create([new(f"{number}", batch_id=spring) for number in range(8)])
    clock.advance(minutes=2)
    row = row_of(look(), "spring")
    assert (row.batch.done, row.batch.total) == (4, 12)
    assert row.per_minute == 2
    assert row.left == timedelta(minutes=4)
    assert (row.cap, row.is_open) == (3_000_000, True)


def test_failures_are_grouped_by_what_helps(ledger: Ledger, look: Callable[..., Board]):
    claims = submitted(ledger, 4, batch="spring")
    ledger.generations.apply_outcomes(
        [
            failure(claims[0], reason="timeout", message="slow"),
            failure(claims[1], reason="timeout", message="slow"),
            failure(claims[2], reason="server_error", message="oops"),
            failure(claims[3]),
        ]
    )
    provider, moderation = row_of(look(), "spring").failures
    assert (provider.category, provider.number) == (Category.PROVIDER, 3)
    assert provider.reasons == {"timeout": 2, "server_error": 1}
    assert provider.remedy.startswith("retry")
    assert (moderation.category, moderation.number) == (Category.MODERATION, 1)


def test_totals_are_of_the_whole_ledger(ledger: Ledger, look: Callable[..., Board]):
    succeeded(ledger, 2, batch="spring", links=1)
    submitted(ledger, 3)
    queued(ledger, 4)
    totals = look().totals
    assert (totals.in_flight, totals.queued, totals.unconfirmed) == (3, 4, 0)
    assert (totals.at_risk, totals.day_cap) == (0, 20_000_000)


def test_what_may_be_lost_stands_at_its_batch(ledger: Ledger, clock: FakeClock, look: Callable[..., Board]):
    archived(ledger, 1)
    succeeded(ledger, 2, batch="spring", links=1)
    clock.advance(hours=23)
    board = look()
    assert (row_of(board, "spring").at_risk, board.totals.at_risk) == (2, 2)


def test_a_row_says_why_its_batch_waits_and_the_board_why_all_do(ledger: Ledger, look: Callable[..., Board]):
    submitted(ledger, 1, batch="limited")
    limited = str(ledger.generations.newest_batch("limited"))
    ledger.generations.create([new("more", batch_id=limited)])
    ledger.batches.limit(limited, max_in_flight=1)
    queued(ledger, 1, batch="free")
    board = look()
    assert [wait.cause for wait in row_of(board, "limited").waits] == [Cause.BATCH_LIMIT]
    assert row_of(board, "free").waits == []
    assert [wait.cause for wait in board.waits] == [Cause.WORKERS]


def test_pages_follow_each_other(ledger: Ledger, look: Callable[..., Board], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tasks.usecases.board.SHOWN", 2)
    for name in ("one", "two", "three"):
        queued(ledger, batch=name)
    first = look()
    assert [one.batch.facts.name for one in first.rows] == ["three", "two"]
    second = look(before=first.older)
    assert [one.batch.facts.name for one in second.rows] == ["one"]
    assert second.older is None


def test_one_batch_alone(ledger: Ledger, look: Callable[..., Board]):
    queued(ledger, batch="spring")
    (row,) = look(batch=str(ledger.generations.newest_batch("spring"))).rows
    assert row.batch.facts.name == "spring"
    with pytest.raises(NotFound, match="there is no batch"):
        look(batch="batch_0")


def test_no_batch_costs_a_statement_more(ledger: Ledger, here: Services, look: Callable[..., Board]):
    waits = Waits(here)
    sent = []
    for number in (1, 12):
        for name in range(number):
            queued(ledger, 2, batch=f"{number}-{name}")
        waits.now()
        with counted(ledger) as statements:
            board = show_board(here, waits)
        sent.append(len(statements))
    assert len(board.rows) == 13
    assert sent[0] == sent[1] <= 12


def test_what_is_slow_to_find_is_kept_for_some_seconds(
    ledger: Ledger, here: Services, clock: FakeClock, look: Callable[..., Board]
):
    queued(ledger, 2, batch="spring")
    first = look()
    clock.advance(4)
    queued(ledger)
    with counted(ledger) as sent:
        second = show_board(here, Waits(here), known=first.slow)
    assert second.slow is first.slow
    assert len(sent) == 4
    assert second.totals.queued == 3
    clock.advance(1)
    assert look(known=second.slow).slow is not first.slow


def test_a_batch_that_is_new_on_the_page_is_asked_about_at_once(ledger: Ledger, look: Callable[..., Board]):
    queued(ledger, batch="spring")
    first = look()
    queued(ledger, batch="autumn")
    assert look(known=first.slow).slow is not first.slow


def test_failures_of_what_is_over_are_not_read_again(
    ledger: Ledger, clock: FakeClock, look: Callable[..., Board], monkeypatch: pytest.MonkeyPatch
):
    (claim,) = submitted(ledger, 1, batch="over")
    ledger.generations.apply_outcomes([failure(claim)])
    queued(ledger, batch="open")
    first = look()
    clock.advance(10)
    asked: list[str] = []
    monkeypatch.setattr(
        type(ledger.generations), "failed_of_batches", lambda _self, ids, _since: asked.extend(ids) or []
    )
    second = look(known=first.slow)
    assert asked == [ledger.generations.newest_batch("open")]
    assert row_of(second, "over").failures == row_of(first, "over").failures != []


def test_a_batch_is_told_of_with_its_labels_and_what_was_done(ledger: Ledger, here: Services):
    queued(ledger, 2, batch="spring", labels={"client": "acme"})
    spring = str(ledger.generations.newest_batch("spring"))
    action = NewAction(door="console", actor="ann", action="pause batch", subject=spring)
    ledger.access.record_answer(ledger.access.record_action(action), 200, spring)
    about = about_batch(here, spring)
    assert about.labels == {"client": ["acme"]}
    assert [(one.actor, one.status) for one in about.actions] == [("ann", 200)]


def test_nothing_is_no_error(look: Callable[..., Board]):
    board = look()
    assert (board.rows, board.older, isinstance(board.slow, Slow)) == ([], None, True)
