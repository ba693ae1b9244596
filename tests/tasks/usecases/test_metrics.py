"""What a scrape reads: each part by itself, and nothing in the place of what cannot be read."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, text

from tasks.usecases import metrics
from tasks.usecases.metrics import FAMILIES, OF_BROKER, OF_LEDGER, PARTS, Histogram, read_parts
from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, PROVIDER, all_stored, archived, claimed, queued, submitted, succeeded
from tests.worker.ledger.test_plans import copied_generations, steps
from worker.errors import AccountBlocked
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits
from worker.ledger.maintenance import STOPPED, Tally, TallyKey
from worker.ledger.submission import Submitted
from worker.services import Services
from worker.settings.settings import Settings
from worker.wakeup import Waiting

PRICES = """
currency: EUR
prices: [{price: "2.50"}]
caps:
  day: "100"
  providers: {acedata: "50"}
  batch: "10"
  labels: {client: {acme: "20", "*": "5"}}
"""


def here_with(ledger: Ledger, **more: object) -> Services:
    here = Services(Settings(database_url=ledger.database.url, **more), ledger.database.clock)  # type: ignore[arg-type]
    here.__dict__["ledger"] = ledger
    return here


pytestmark = pytest.mark.matrix


@pytest.fixture
def ledger(fresh_ledger: Ledger) -> Ledger:
    """On either kind of database, and with a clock that is set by hand."""
    return fresh_ledger


@pytest.fixture
def here(ledger: Ledger) -> Services:
    return here_with(ledger)


def read(here: Services, name: str) -> Mapping[tuple[str, ...], float | Histogram]:
    """The values of one family, by its labels."""
    part = next(part for part in PARTS if any(family.name == f"darkroom_{name}" for family in part.families))
    samples = read_parts(here, [part])[part.name]
    return {one.labels: one.value for one in samples or () if one.family.name == f"darkroom_{name}"}


def test_the_parts_have_all_families_once() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert all(name.startswith("darkroom_") for name in names)
    assert [family.name for family in FAMILIES if family.kind == "counter" and not family.name.endswith("_total")] == []


def test_generations_are_shown_in_every_state(here: Services, ledger: Ledger) -> None:
    archived(ledger)
    queued(ledger, 2)
    found = read(here, "generations")
    assert {labels: number for labels, number in found.items() if number} == {
        ("queued", PROVIDER): 2,
        ("archived", PROVIDER): 1,
    }
    assert found["unconfirmed", PROVIDER] == 0


def test_histograms_are_cumulative_and_those_of_other_bounds_are_in_the_next(here: Services, ledger: Ledger) -> None:
    numbers = {"0.005": 3, "0.2": 4, "0.25": 1, "+Inf": 2}
    keys = {TallyKey(Tally.ACKNOWLEDGED, "", bound): number for bound, number in numbers.items()}
    micros = {TallyKey(Tally.ACKNOWLEDGED_MICROSECONDS, "", ""): 24_500_000}
    ledger.maintenance.report("receiver.1@h", 1, keys | micros)
    found = read(here, "callback_acknowledgement_seconds")[()]
    assert isinstance(found, Histogram)
    buckets = dict(found.buckets)
    assert (buckets["0.005"], buckets["0.1"], buckets["0.25"], buckets["10.0"], buckets["+Inf"]) == (3, 3, 8, 8, 10)
    assert found.sum == 24.5


def test_the_shares_of_links_lives_are_shown_by_provider(here: Services, ledger: Ledger, clock: FakeClock) -> None:
    succeeded(ledger, links=2)
    clock.advance(hours=6)
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(9, LEASE)])
    found = read(here, "archive_link_life_left_ratio")[PROVIDER,]
    assert isinstance(found, Histogram)
    assert dict(found.buckets) | {"0.5": 0, "0.75": 2, "+Inf": 2} == dict(found.buckets)
    assert found.sum == 1.5


def test_work_and_how_long_it_waits(here: Services, ledger: Ledger, clock: FakeClock) -> None:
    queued(ledger, 3)
    ledger.dispatch.run(PROVIDER, PLENTY)
    clock.advance(seconds=90)
    assert read(here, "work_due")["submit",] == 3
    ages = read(here, "work_due_oldest_age_seconds")
    assert (ages["submit",], ages["ingest",]) == (90, 0)


def test_unconfirmed_ones_by_age(here: Services, ledger: Ledger, clock: FakeClock) -> None:
    assert read(here, "unconfirmed_oldest_age_seconds") == {(): 0}
    claimed(ledger, 2)
    clock.advance(seconds=here.settings.horizon.total_seconds())
    claimed(ledger)
    clock.advance(seconds=LEASE.total_seconds() + 1)
    ledger.submissions.mark_lost_unconfirmed()
    assert read(here, "unconfirmed") == {("true",): 2, ("false",): 1}
    age = here.settings.horizon + LEASE + timedelta(seconds=1)
    assert read(here, "unconfirmed_oldest_age_seconds") == {(): age.total_seconds()}


def test_links_that_end_soon_are_at_risk(here: Services, ledger: Ledger, clock: FakeClock) -> None:
    succeeded(ledger, 2, links=2)
    assert read(here, "assets_at_risk") == {(): 0}
    clock.advance(hours=23)
    assert read(here, "assets_at_risk") == {(): 4}


def test_an_account_is_paused_for_one_of_few_reasons(here: Services, ledger: Ledger) -> None:
    (claim,) = claimed(ledger)
    assert set(read(here, "account_paused").values()) == {False}
    blocked = AccountBlocked("sk-secret has no balance", code="no_credit")
    blocked.key_mark = "mark"
    ledger.dispatch.run("kie", Limits(1, 1))
    ledger.submissions.record([Submitted(claim.attempt_id, blocked)], timedelta(minutes=1))
    ledger.dispatch.pause_account("kie", "default", Limits(1, 1), "ada@example.com")
    paused = [labels for labels, is_so in read(here, "account_paused").items() if is_so]
    assert paused == [(PROVIDER, "default", "key"), ("kie", "default", "person")]


def test_heartbeats_of_receivers_workers_and_clocks_but_not_of_those_that_stopped(
    here: Services, ledger: Ledger, clock: FakeClock
) -> None:
    ledger.maintenance.beat("clock.1@old", 1)
    clock.advance(days=2)
    ledger.maintenance.beat("worker.7@h", 7)
    ledger.maintenance.beat("worker.8@h", STOPPED)
    clock.advance(seconds=30)
    ledger.maintenance.report("receiver.9@h", 9, {})
    assert read(here, "heartbeat_age_seconds") == {("worker.7@h", "worker"): 30, ("receiver.9@h", "receiver"): 0}


def test_without_prices_there_is_no_spend_and_its_part_is_well(here: Services) -> None:
    assert read_parts(here, OF_LEDGER)["spend"] is None


def test_budgets_of_days_providers_and_named_labels(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    here = here_with(ledger, darkroom_prices=tmp_path / "prices.yaml")
    prices = here.prices
    assert prices is not None
    queued(ledger, 2, batch="spring", labels={"client": "acme"})
    queued(ledger, labels={"client": "a-person@example.com"})
    ledger.dispatch.run(PROVIDER, PLENTY, prices)
    assert read(here, "spend_today")[PROVIDER,] == 7.5
    assert read(here, "spend_cap") == {("day",): 100, (f"day/{PROVIDER}",): 50, ("client=acme",): 20}
    assert read(here, "spend_budget_used") == {("day",): 7.5, (f"day/{PROVIDER}",): 7.5, ("client=acme",): 5}


def test_a_price_file_that_is_wrong_takes_only_spend_away(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "prices.yaml").write_text("prices: [")
    found = read_parts(here_with(ledger, darkroom_prices=tmp_path / "prices.yaml"), OF_LEDGER)
    assert {part.name for part in OF_LEDGER} - found.keys() == {"spend"}
    assert "metrics: spend cannot be read" in caplog.text


def test_when_old_rows_were_last_deleted(here: Services, ledger: Ledger, clock: FakeClock) -> None:
    assert read(here, "prune_last_run_timestamp_seconds") == {}
    ledger.maintenance.note_pruned(clock() - timedelta(days=30))
    assert read(here, "prune_last_run_timestamp_seconds") == {(): clock().timestamp()}


def test_the_lengths_of_queues(here: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "waiting", lambda: {"quick": Waiting(2, ()), "submit": Waiting(0, ())})
    monkeypatch.setattr(metrics, "requests_waiting", lambda: 7)
    assert read(here, "broker_queue_length") == {("quick",): 2, ("submit",): 0, ("generations",): 7}
    monkeypatch.undo()
    # The broker of the tests' environment is not there.
    assert read_parts(here, OF_BROKER) == {}


def test_a_ledger_that_is_away_is_asked_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(Ledger("postgresql://nobody@127.0.0.1:1/nothing")) as away:
        assert read_parts(here_with(away), OF_LEDGER) == {}
    assert [one.levelno for one in caplog.records if one.name == metrics.__name__] == [logging.WARNING]


@pytest.fixture
def sqlite_here(sqlite_url: str, clock: FakeClock) -> Iterator[Services]:
    with closing(Ledger(sqlite_url, clock)) as ledger:
        yield here_with(ledger)


def test_a_hundred_times_more_generations_make_no_scrape_dearer(sqlite_here: Services) -> None:
    ledger = sqlite_here.ledger
    archived(ledger, 20)
    submitted(ledger, 3)
    queued(ledger, 3)

    def scrape(_: Ledger) -> None:
        assert set(read_parts(sqlite_here, OF_LEDGER)) == {part.name for part in OF_LEDGER}

    few = steps(ledger, scrape)
    with ledger.database.write() as connection:
        connection.execute(text("UPDATE generations SET state = 'archived'"))
    assert copied_generations(ledger) > 3000
    assert steps(ledger, scrape) < 1.3 * few + 20


def test_a_scrape_counts_no_rows(here: Services, ledger: Ledger) -> None:
    """Not even those of small tables, which are not always small."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(ledger.database.engine, "before_cursor_execute", note)
    read_parts(here, OF_LEDGER)
    event.remove(ledger.database.engine, "before_cursor_execute", note)
    # A limited subquery, of which at most so many rows are counted.
    assert [one for one in asked if "count(" in one and "LIMIT" not in one] == []
