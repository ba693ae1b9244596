"""`darkroom batch pause`, `resume`, `cancel`, `reprioritize` and `limit`: what they do, and what they say."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from sqlalchemy import update

from tasks.cli.ui.steered import read_start
from tasks.waiting import Cause, wait_of, waits_of
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits
from worker.ledger.schema import batches
from worker.providers import PROVIDERS
from worker.settings import Settings

PLENTY = Limits(1000, 1000)


@pytest.fixture
def shop(ledger: Ledger) -> str:
    """The id of a batch with one that is archived, one at the provider, and three that wait."""
    stories.archived(ledger, batch="shop")
    batch_id = str(ledger.generations.newest_batch("shop"))
    stories.submitted(ledger, "task-2", batch_id=batch_id, follow_up=("upscale1",))
    stories.queued(ledger, "a", "b", "c", batch_id=batch_id)
    with ledger.database.write() as connection:
        connection.execute(update(batches).values(completed_at=None))
    ledger.maintenance.beat("worker@here", 1)
    return batch_id


def went(ledger: Ledger) -> int:
    return ledger.dispatch.run("acedata", PLENTY)


def test_a_pause_says_what_waits_and_what_is_under_way(darkroom: Darkroom, ledger: Ledger, shop: str) -> None:
    result = darkroom("batch", "pause", "shop")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "shop: paused",
        "3 paused; 2 left alone: 1 archived, 1 submitted",
        "1 already under way: paid for, and archived when finished",
    ]
    assert darkroom.bells == []
    assert (went(ledger), ledger.generations.counts(shop)[State.QUEUED]) == (0, 3)
    assert darkroom("batch", "pause", shop).stdout.startswith("shop: already paused\n")


def test_a_paused_batch_goes_on_when_it_is_resumed(darkroom: Darkroom, ledger: Ledger, shop: str) -> None:
    darkroom("batch", "pause", "shop")
    assert darkroom("batch", "resume", "shop").stdout == "shop: resumed\n3 queued\n"
    assert darkroom.bells == ["dispatch"]
    assert darkroom("batch", "resume", "shop").stdout == "shop: was not paused\n"
    assert went(ledger) == 3


def test_a_cancelled_batch_gets_no_follow_ups(darkroom: Darkroom, ledger: Ledger, shop: str) -> None:
    result = darkroom("batch", "cancel", "shop")
    assert result.stdout == (
        "shop: cancelled\n3 cancelled; 2 left alone: 1 submitted, 1 archived\n1 under way get no follow-ups\n"
    )
    assert not ledger.batches.steering(shop).is_stopped
    assert ledger.generations.counts(shop) == {State.ARCHIVED: 1, State.SUBMITTED: 1, State.CANCELLED: 3}


def test_a_complete_batch_is_not_paused(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.archived(ledger, batch="done")
    for command in (("pause",), ("cancel",), ("reprioritize", "1")):
        result = darkroom("batch", command[0], "done", *command[1:])
        assert result.exit_code == 1
        assert result.stderr == "darkroom: the batch 'done' is complete: none of it is queued or under way\n"


@pytest.mark.parametrize("command", ["pause", "resume", "cancel"])
def test_a_batch_that_does_not_exist_is_one_sentence(darkroom: Darkroom, ledger: Ledger, command: str) -> None:
    result = darkroom("batch", command, "nothing")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("darkroom: there is no batch 'nothing'")


def test_another_priority_may_be_negative(darkroom: Darkroom, ledger: Ledger, shop: str) -> None:
    stories.queued(ledger, "other", batch="other")
    told = "3 reprioritized; 2 left alone: 1 archived, 1 submitted"
    assert darkroom("batch", "reprioritize", "shop", "-5").stdout == f"shop: priority -5\n{told}\n"
    assert {one.priority for one in ledger.generations.page(batch="shop", state=State.QUEUED)} == {-5}
    again = darkroom("batch", "reprioritize", "shop", "-5").stdout
    assert "0 reprioritized; 5 left alone: 3 already queued with this priority, " in again
    assert darkroom("batch", "reprioritize", "shop", "high").exit_code == 2
    assert darkroom("batch", "reprioritize", "shop", str(2**31)).exit_code == 1


def test_limits_are_set_kept_and_taken_away(
    darkroom: Darkroom, ledger: Ledger, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("prices: [{price: 1.5}]\n")
    monkeypatch.setenv("DARKROOM_PRICES", str(prices))
    result = darkroom("batch", "limit", "shop", "--max-cost", "3.25", "--max-in-flight", "5")
    assert result.stdout == "shop: at most 3.25 USD, at most 5 in flight\n"
    result = darkroom("batch", "limit", "shop", "--start-at", "2100-01-01T12:00+00:00", "--json")
    document = json.loads(result.stdout)
    assert (document["start_at"], document["max_cost"], document["max_in_flight"]) == (
        "2100-01-01T12:00:00.000Z",
        "3.25",
        5,
    )
    assert (document["batch"], document["action"], document["changed"]) == (shop, "limit", True)
    assert went(ledger) == 0
    result = darkroom("batch", "limit", "shop", "--no-start-at", "--no-max-in-flight")
    assert result.stdout == "shop: at most 3.25 USD\n"
    ledger.dispatch.run("acedata", PLENTY, Settings(darkroom_prices=prices).read_prices(PROVIDERS))
    result = darkroom("batch", "limit", "shop", "--max-cost", "1")
    assert result.stdout.splitlines() == [
        "shop: at most 1.00 USD",
        "3.00 USD are already spent or reserved, so nothing more of it is submitted",
    ]
    assert darkroom("batch", "limit", "shop", "--no-max-cost").stdout == "shop: no limits\n"


def test_a_cost_without_prices_is_refused(darkroom: Darkroom, ledger: Ledger, shop: str) -> None:
    result = darkroom("batch", "limit", "shop", "--max-cost", "1")
    assert result.exit_code == 1
    assert "a maximum cost needs prices: set DARKROOM_PRICES to a price file, then repeat this" in result.stderr
    assert ledger.batches.steering(shop).max_cost is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "give --start-at, --max-cost or --max-in-flight"),
        (("--max-cost", "much"), "'much' is not an amount such as 0.05 or 20"),
        (("--max-cost", "-1"), "'-1' is not an amount"),
        (("--max-in-flight", "0"), "0 is not in the range"),
        (("--max-in-flight", "2", "--no-max-in-flight"), "give --start-at"),
        (("--start-at", "soon"), "'soon' is not a time such as '2026-12-01 18:00', 18:00 (the next one) or 2h"),
        (("--start-at", "25:00"), "'25:00' is not a time"),
    ],
)
def test_a_wrong_limit_is_a_mistake_of_usage(darkroom: Darkroom, arguments: tuple[str, ...], complaint: str) -> None:
    result = darkroom("batch", "limit", "shop", *arguments)
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())


def test_a_time_of_day_is_the_next_one_and_a_span_begins_now() -> None:
    def start(given: str) -> timedelta:
        found = read_start(click.Context(click.Command("limit")), click.Option(["--start-at"]), given)
        assert found is not None
        return found - datetime.now(UTC)

    now = datetime.now().astimezone()
    for minutes in (-90, 90):
        assert timedelta() < start(f"{now + timedelta(minutes=minutes):%H:%M}") <= timedelta(hours=25)
    assert timedelta(minutes=119) < start("2h") <= timedelta(hours=2)
    assert start(f"{now + timedelta(days=2):%Y-%m-%d %H:%M}") > timedelta(hours=46)


# --- why something waits ---


@pytest.mark.parametrize(
    ("arguments", "cause", "words"),
    [
        (("pause", "shop"), Cause.BATCH_PAUSED, "batch shop: paused since {now}: `darkroom batch resume shop`"),
        (
            ("limit", "shop", "--start-at", "2100-01-01 18:00"),
            Cause.BATCH_START,
            "batch shop: starts at 01-01 18:00: `darkroom batch limit shop --no-start-at` starts it now",
        ),
        (
            ("limit", "shop", "--max-in-flight", "1"),
            Cause.BATCH_LIMIT,
            "batch shop: 1 of at most 1 in flight: it continues as they finish",
        ),
    ],
)
def test_what_waits_for_its_batch_says_so_everywhere(
    darkroom: Darkroom, ledger: Ledger, shop: str, arguments: tuple[str, ...], cause: Cause, words: str
) -> None:
    darkroom("batch", *arguments)
    queued = ledger.generations.page(batch="shop", state=State.QUEUED)[0]
    (wait,) = waits_of(ledger, Settings())
    assert (wait.cause, wait_of(queued, [wait])) == (cause, wait)
    other = stories.queued(ledger, batch="other")[0]
    assert wait_of(other, [wait]) is None
    sentence = words.partition("{now}")[0]
    for how in (("show", queued.id), ("doctor",), ("list", "--json"), ("show", queued.id, "--json")):
        result = darkroom(*how)
        assert sentence in " ".join(f"{result.stdout} {result.stderr}".split())
    ledger.batches.limit(shop, paused_at=None, start_at=None, max_in_flight=None)
    assert waits_of(ledger, Settings()) == ()


def test_what_its_own_cap_holds_says_how_to_raise_that(darkroom: Darkroom, ledger: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("prices: [{price: 1}]\n")
    settings = Settings(darkroom_prices=file)
    (one, *_) = stories.queued(ledger, "a", "b", batch="my shop")
    ledger.maintenance.beat("worker@here", 1)
    ledger.batches.limit(str(one.batch_id), max_cost=1_000_000)
    ledger.dispatch.run("acedata", PLENTY, settings.read_prices(PROVIDERS))
    (wait,) = waits_of(ledger, settings)
    assert wait.remedy == "`darkroom batch limit 'my shop' --max-cost AMOUNT` raises it"
