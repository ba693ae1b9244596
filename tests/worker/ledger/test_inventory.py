"""What the ledger says lies in the bucket: all of it, once, in pages."""

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.clock import NOON, FakeClock
from tests.factories import LEASE, archived, failure, one, stored, submitted, succeeded
from tests.worker.ledger.statements import statements_of
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Extent, stored_assets


def told(ledger: Ledger, extent: Extent) -> list[str]:
    found = [asset.generation_id for page in ledger.assets.stored_pages(extent) for asset in page]
    assert ledger.assets.count_stored(extent) == len(found)
    return found


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_assets, "PAGE", 2)


def test_every_stored_asset_is_told_once_whatever_the_pages(ledger: Ledger):
    ids = archived(ledger, 5)
    succeeded(ledger, 2)
    ledger.generations.apply_outcomes([failure(claim) for claim in submitted(ledger)])
    assert sorted(told(ledger, Extent())) == sorted(ids)
    assert [len(page) for page in ledger.assets.stored_pages(Extent())] == [2, 2, 1]


def test_a_batch_and_a_time_narrow_it(ledger: Ledger, clock: FakeClock):
    archived(ledger, 2, batch="cats")
    clock.advance(days=2)
    dogs = archived(ledger, 3, batch="dogs")
    assert sorted(told(ledger, Extent(batch_id=one(ledger, dogs[0]).batch_id))) == sorted(dogs)
    assert sorted(told(ledger, Extent(since=clock() - timedelta(days=1)))) == sorted(dogs)
    assert told(ledger, Extent(since=clock() + timedelta(seconds=1))) == []
    assert len(told(ledger, Extent(since=NOON))) == 5


def test_a_sample_has_no_asset_twice_and_not_more_than_there_are(ledger: Ledger):
    ids = archived(ledger, 6)
    some = [asset.generation_id for asset in ledger.assets.sample_stored(4)]
    assert len(set(some)) == 4
    assert set(some) <= set(ids)
    assert len(ledger.assets.sample_stored(100)) == 6


def test_a_sample_is_read_in_runs_of_neighbours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored_assets, "_random", random.Random(11))
    found = stored_assets._runs(1, 100_000, 100)
    assert len(found) == 104
    assert len([one for one in found if one - 1 not in found]) == 13


def test_every_asset_gets_into_a_sample_with_the_same_probability(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored_assets, "_random", random.Random(11))
    times = Counter(one for _ in range(1000) for one in stored_assets._runs(5, 16, 1))
    assert set(times) == set(range(5, 17))
    # 1000 runs of 8 begin at these 12 and at the seven places before them
    assert all(360 < number < 480 for number in times.values()), times


def test_a_sample_of_many_has_as_many_as_are_asked_for(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored_assets, "_TRIED", 5)
    ids = archived(ledger, 60)
    some = [asset.generation_id for asset in ledger.assets.sample_stored(20)]
    assert len(set(some)) == 20
    assert set(some) <= set(ids)


def test_of_a_large_ledger_it_is_only_told_how_many_there_are_at_the_most(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    archived(ledger, 3)
    succeeded(ledger, 2)
    assert ledger.assets.count_stored(Extent()) == 3
    monkeypatch.setattr(stored_assets, "_COUNTED", 4)
    assert ledger.assets.count_stored(Extent()) == 5


def test_a_sample_of_a_ledger_in_which_little_is_stored_is_whole(ledger: Ledger):
    (stored_one,) = archived(ledger)
    succeeded(ledger, 30)
    for _ in range(5):
        assert [asset.generation_id for asset in ledger.assets.sample_stored(2)] == [stored_one]


def test_the_first_copy_of_some_bytes_is_found_and_nothing_that_is_not_stored(ledger: Ledger):
    assert ledger.assets.first_copy("ab" * 32) is None
    for number in range(3):
        (claim,) = (succeeded(ledger), ledger.assets.claim(1, LEASE))[1]
        result = replace(stored(), object_key=f"pictures/{number}.png")
        ledger.assets.record([Archived(claim, (result,), described=True)])
    copy = ledger.assets.first_copy("ab" * 32)
    assert copy is not None
    assert (copy.object_key, copy.bytes, copy.content_type) == ("pictures/0.png", 1234, "image/png")
    assert ledger.assets.first_copy("cd" * 32) is None
    assert ledger.assets.known_keys(["pictures/1.png", "pictures/9.png"]) == {"pictures/1.png"}


def test_any_number_of_keys_is_looked_up_in_one_pass(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored_assets, "_KEYS_PAGE", 2)
    for number in range(5):
        (claim,) = (succeeded(ledger), ledger.assets.claim(1, LEASE))[1]
        ledger.assets.record(
            [Archived(claim, (replace(stored(), object_key=f"pictures/{number}.png"),), described=True)]
        )
    succeeded(ledger)
    with statements_of(ledger) as statements:
        known = ledger.assets.known_keys([f"pictures/{number}.png" for number in range(3, 12_000)])
    reads = [one for one in statements if one.startswith("SELECT")]
    assert known == {"pictures/3.png", "pictures/4.png"}
    # One for the input files.
    assert len(reads) == 4 + 1


def test_what_is_on_its_way_is_told_with_the_name_of_its_batch(ledger: Ledger):
    archived(ledger, 2, batch="done")
    waiting = {claim.generation.id for claim in succeeded(ledger, 3, batch="cats")}
    (alone,) = succeeded(ledger)
    found = {generation.id: lineage.batch for generation, lineage in ledger.assets.being_archived()}
    assert found == dict.fromkeys(waiting, "cats") | {alone.generation.id: None}
    assert ledger.assets.existing_generations([*waiting, "gen_0"]) == waiting


def test_a_repair_is_in_the_history(ledger: Ledger):
    (generation_id,) = archived(ledger)
    (asset,) = ledger.assets.sample_stored(1)
    ledger.assets.note_repair(asset, "missing")
    event = ledger.generations.story(generation_id).events[-1]
    assert (event.type, event.payload) == (
        "asset.repaired",
        {"index": 0, "object_key": "pictures/0.png", "found": "missing"},
    )
