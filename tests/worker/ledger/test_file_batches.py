"""Batches that are found by their name: each row is written once, whoever writes it, and wherever he is interrupted."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.clock import FakeClock
from tests.factories import PLENTY, PROVIDER, archived, at_once, new, queued
from tests.worker.ledger.test_bites import BITE, INSERT, Killed, at_statement, die
from worker.errors import LedgerUnavailable
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.database import bites
from worker.ledger.generations import BeingWritten, FileBatch, NewGeneration, RowsTaken, Written
from worker.ledger.generations.unfinished import STALLED

SHEET = FileBatch(name="sheet", source="sheet.csv", source_sha256="s1", max_cost=5, max_in_flight=3)


@pytest.fixture(autouse=True)
def small_bites(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for size in ("FIRST", "LEAST", "MOST"):
        monkeypatch.setattr(bites, size, BITE)
    monkeypatch.setattr(bites, "PAUSE", 0)
    return


def rows(count: int, *, first: int = 1, version: str = "a") -> list[NewGeneration]:
    return [
        new(f"fox {n}", key=f"k{n}", dedupe=f"batch:sheet:k{n}", row_number=n, row_sha256=f"{version}{n}")
        for n in range(first, first + count)
    ]


def added(batch_id: str) -> FileBatch:
    return FileBatch(name="sheet", id=batch_id, source="sheet.csv", source_sha256="s2")


def killed(ledger: Ledger, batch: FileBatch, wanted: list[NewGeneration]) -> None:
    with at_statement(ledger, INSERT, 2, die), pytest.raises(Killed):
        ledger.generations.write_rows(batch, wanted)


def keys_of(ledger: Ledger, batch_id: str) -> list[str | None]:
    return [one.key for one in ledger.generations.rows_of_batch(batch_id)]


def test_a_new_batch_shows_when_its_last_row_is_written(ledger: Ledger):
    killed(ledger, SHEET, rows(12))
    assert ledger.generations.batch_named("sheet") is None
    assert ledger.generations.counts() == {}
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    written = ledger.generations.write_rows(SHEET, rows(12))
    facts = ledger.generations.batch_named("sheet")
    assert facts is not None
    assert (facts.id, facts.name, facts.source, facts.source_sha256) == (written.batch_id, "sheet", "sheet.csv", "s1")
    assert (facts.max_cost, facts.max_in_flight) == (5, 3)
    assert keys_of(ledger, facts.id) == [f"k{n}" for n in range(1, 13)]
    assert written.created == set(written.ids.values())
    assert ledger.generations.counts() == {State.QUEUED: 12}


def test_rows_that_are_added_to_a_complete_batch_make_it_incomplete_again(ledger: Ledger, clock: FakeClock):
    wanted = [new("fox", dedupe="batch:sheet:k0", key="k0", row_number=1, row_sha256="a0")]
    batch_id = ledger.generations.write_rows(SHEET, wanted).batch_id
    # It becomes complete with its only row.
    ledger.generations.cancel([one.id for one in ledger.generations.page()])
    claim = ledger.assets.claim_manifest(STALLED)
    assert claim is not None
    ledger.assets.record_manifest(claim)
    assert ledger.generations.batch_facts(batch_id).completed_at == clock()
    written = ledger.generations.write_rows(added(batch_id), [*wanted, *rows(12)])
    facts = ledger.generations.batch_facts(batch_id)
    assert (facts.completed_at, facts.manifest_at, facts.source_sha256) == (None, None, "s2")
    assert len(written.created) == 12
    assert len(written.ids) == 13
    ledger.batches.limit(batch_id, max_in_flight=None)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 12
    ledger.generations.cancel([one.id for one in ledger.generations.page()])
    assert ledger.generations.counts(batch_id) == {State.CANCELLED: 13}
    assert ledger.generations.batch_facts(batch_id).completed_at == clock()


def test_what_is_there_already_does_not_make_a_batch_incomplete(ledger: Ledger):
    batch_id = ledger.generations.write_rows(SHEET, rows(1)).batch_id
    ledger.generations.cancel([one.id for one in ledger.generations.page()])
    ledger.generations.write_rows(added(batch_id), rows(1))
    assert ledger.generations.batch_facts(batch_id).completed_at is not None


def test_an_addition_that_died_between_two_bites_is_completed_by_the_same_one(ledger: Ledger):
    batch_id = ledger.generations.write_rows(SHEET, rows(3)).batch_id
    killed(ledger, added(batch_id), rows(12, first=4))
    assert len(keys_of(ledger, batch_id)) == 3 + BITE
    written = ledger.generations.write_rows(added(batch_id), rows(12, first=4))
    assert keys_of(ledger, batch_id) == [f"k{n}" for n in range(1, 16)]
    assert len(written.created) == 12 - BITE


def test_eight_who_write_the_same_file_at_once_write_one_batch(ledger: Ledger):
    def submit() -> Written:
        while True:
            with suppress(LedgerUnavailable):
                facts = ledger.generations.batch_named("sheet")
                return ledger.generations.write_rows(SHEET if facts is None else added(facts.id), rows(12))

    results = at_once(*[submit] * 8)
    assert {result.batch_id for result in results} == {results[0].batch_id}
    assert all(result.ids == results[0].ids for result in results)
    assert ledger.generations.counts() == {State.QUEUED: 12}


def test_eight_who_write_different_files_under_one_name_at_once_write_one_batch(ledger: Ledger):
    def submit(first: int) -> str:
        while True:
            with suppress(LedgerUnavailable):
                facts = ledger.generations.batch_named("sheet")
                batch = SHEET if facts is None else added(facts.id)
                return ledger.generations.write_rows(batch, rows(12, first=first)).batch_id

    results = at_once(*[lambda first=first: submit(first) for first in range(1, 97, 12)])
    assert len(set(results)) == 1
    assert keys_of(ledger, results[0]) == [f"k{n}" for n in range(1, 97)]


def test_a_name_whose_batch_is_being_written_is_waited_for_and_taken_over_when_that_stands_still(
    ledger: Ledger, clock: FakeClock
):
    killed(ledger, SHEET, rows(12))
    with pytest.raises(BeingWritten, match="or to the same batch, is being written"):
        ledger.generations.write_rows(SHEET, rows(1, first=50))
    clock.advance(STALLED.total_seconds() + 1)
    written = ledger.generations.write_rows(SHEET, rows(1, first=50))
    assert keys_of(ledger, written.batch_id) == ["k50"]
    assert ledger.generations.counts() == {State.QUEUED: 1}


def test_another_row_under_the_same_key_is_never_taken_for_it(ledger: Ledger):
    batch_id = ledger.generations.write_rows(SHEET, rows(3)).batch_id
    with pytest.raises(RowsTaken):
        ledger.generations.write_rows(added(batch_id), rows(3, version="b"))
    with pytest.raises(RowsTaken):
        ledger.generations.write_rows(SHEET, rows(3, version="b"))
    assert keys_of(ledger, batch_id) == ["k1", "k2", "k3"]


def test_a_batch_of_an_older_version_is_found_by_its_name_once_rows_are_added_to_it(ledger: Ledger):
    (old,) = queued(ledger, batch="sheet", key="k1")
    queued(ledger, batch="other", key="k2")
    (found,) = ledger.generations.old_rows_of("sheet", ["k1", "k2", "k3"]).values()
    assert (found.key, found.id, found.batch_id) == ("k1", old.id, old.batch_id)
    assert ledger.generations.batch_named("sheet") is None
    ledger.generations.write_rows(added(found.batch_id), rows(1, first=2))
    facts = ledger.generations.batch_named("sheet")
    assert facts is not None
    assert facts.id == old.batch_id
    assert ledger.generations.batch_ids("sheet") == [old.batch_id]
    assert len(ledger.generations.page(batch="sheet")) == 2


def test_a_batch_is_told_of_as_a_whole(ledger: Ledger, clock: FakeClock):
    archived(ledger, 2, batch="old")
    began = clock()
    batch_id = ledger.generations.write_rows(SHEET, rows(2)).batch_id
    newest, oldest = ledger.generations.newest_batches(5)
    assert [one.name for one in (newest, oldest)] == ["sheet", "old"]
    assert ledger.generations.newest_batches(5, before=newest.id) == [oldest]
    assert ledger.generations.newest_batches(1) == [newest]
    counts = ledger.generations.counts_of_batches([batch_id, oldest.id])
    assert counts == {batch_id: {State.QUEUED: 2}, oldest.id: {State.ARCHIVED: 2}}
    assert ledger.generations.ended_since(oldest.id, began) == 2
    clock.advance(1)
    assert ledger.generations.ended_since(oldest.id, clock()) == 0
    assert ledger.generations.batches_of_file("s1", 5) == [newest]
    assert ledger.generations.failures_of(batch_id) == []
