"""Generations and batches are found by what a person calls them."""

import re

from tests.clock import NOON, FakeClock
from tests.factories import new, queued
from worker.ledger import Ledger
from worker.ledger.generations import short_id
from worker.ledger.schema import batches


def found(ledger: Ledger, part: str, limit: int = 5) -> list[str]:
    return [one.id for one in ledger.generations.with_part(part, limit)]


def test_a_short_id_leaves_out_what_all_ids_share(ledger: Ledger):
    assert short_id("gen_01a22359182c0000002af3c9d1a0b2c4") == "2359182c-2a"
    assert short_id("batch_01a22359182c00000000f3c9d1a0b2c4") == "2359182c-0"
    assert short_id("gen_1") == "gen_1"


def test_a_generation_is_found_by_its_short_id_also_after_weeks(ledger: Ledger, clock: FakeClock):
    first, second = queued(ledger, 2)
    # The digits that a short id leaves out change every 50 days.
    clock.advance(days=120)
    (third,) = queued(ledger)
    assert first.id[:8] != third.id[:8]
    for one in (first, second, third):
        assert found(ledger, short_id(one.id)) == [one.id]
    assert found(ledger, "00000000-7") == []


def test_a_generation_is_found_by_the_beginning_of_its_id(ledger: Ledger, clock: FakeClock):
    first, second = queued(ledger, 2)
    clock.advance(days=1)
    (third,) = queued(ledger)
    assert found(ledger, third.id[:15]) == found(ledger, third.id[4:20]) == [third.id]
    assert found(ledger, first.id[:15]) == [second.id, first.id]
    assert found(ledger, first.id) == [first.id]
    assert len(found(ledger, "gen_0", limit=2)) == 2
    for nothing in ("gen_f", "gen_", "", "GEN_0", "batch_0", "gen_01%", f"{first.id}0"):
        assert found(ledger, nothing) == []


def test_a_key_names_one_generation_of_each_batch(ledger: Ledger):
    fox, other = ledger.generations.create([new(key="Fox 1"), new("an owl", key="owl\x00")])
    keyed = ledger.generations.with_keys(["Fox 1", "owl\x00", "fox 1"])
    assert {key: [one.id for one in found] for key, found in keyed.items()} == {
        "Fox 1": [fox.id],
        "owl\x00": [other.id],
    }
    (again,) = ledger.generations.create([new(key="Fox 1", dedupe="batch:b:Fox 1", row_number=1)], "b")
    assert [one.id for one in ledger.generations.with_keys(["Fox 1"])["Fox 1"]] == [again.id, fox.id]


def test_a_generation_is_found_by_a_part_from_the_middle_or_the_end_of_its_id(ledger: Ledger):
    first, second = queued(ledger, 2)
    assert found(ledger, second.id[-8:]) == found(ledger, second.id[22:30]) == [second.id]
    assert found(ledger, first.id[-3:]) == found(ledger, f"{first.id[-6:]}%") == []


def test_a_family_is_all_that_follows_from_one(ledger: Ledger):
    (parent, _) = queued(ledger, 2)
    (child,) = ledger.generations.create([new(parent_id=parent.id)])
    (grandchild,) = ledger.generations.create([new(parent_id=child.id)])
    assert [one.id for one in ledger.generations.family(parent.id)] == [grandchild.id, child.id, parent.id]
    assert [one.id for one in ledger.generations.family(child.id)] == [grandchild.id, child.id]


def test_batches_are_found_by_name_by_id_and_by_a_part_of_it(ledger: Ledger, clock: FakeClock):
    ids = []
    for name in ("shop", "shop", "other"):
        clock.advance(1)
        ids.append(queued(ledger, batch=name)[0].batch_id)
    first, second, other = map(str, ids)

    def called(name: str) -> list[str]:
        return [one.id for one in ledger.generations.batches_called(name, 5)]

    assert called("shop") == [second, first]
    assert called(other) == called(short_id(other)) == called(other[:20]) == [other]
    assert called("nobody") == called("gen_0") == []
    (one,) = ledger.generations.batches_called("other", 5)
    assert (one.name, one.created_at) == ("other", clock())


def test_nothing_is_found_of_a_batch_that_is_not_whole(ledger: Ledger):
    (one,) = queued(ledger, batch="shop", key="fox")
    with ledger.database.write() as connection:
        connection.execute(batches.update().values(unfinished="request", unfinished_at=NOON))
    assert found(ledger, one.id) == found(ledger, short_id(one.id)) == []
    assert ledger.generations.with_keys(["fox"]) == {}
    assert found(ledger, one.id[-8:]) == []
    assert ledger.generations.batches_called("shop", 5) == []
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", short_id(str(one.batch_id)))
    assert ledger.generations.batches_called(short_id(str(one.batch_id)), 5) == []
