"""Labels are written with a generation, inherited by what follows from it, and found through their index."""

import re

import pytest
from sqlalchemy import select

from tests.factories import archived, claimed, failure, new, queued
from tests.worker.ledger.statements import statements_of
from tests.worker.ledger.test_bites import MANY, many
from tests.worker.ledger.test_plans import plans
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.changes import Person
from worker.ledger.database import bites
from worker.ledger.generations import label_pages, unfinished
from worker.ledger.schema import charges, labels

ACME, BETA = {"client": "acme"}, {"client": "beta"}


def labelled(ledger: Ledger) -> dict[str, dict[str, str]]:
    with ledger.database.read() as connection:
        found: dict[str, dict[str, str]] = {}
        for row in connection.execute(select(labels)):
            found.setdefault(row.generation_id, {})[row.name] = row.value
    return found


def test_follow_ups_inherit_the_labels_of_their_parent_and_may_add_their_own(ledger: Ledger):
    (root,) = queued(ledger, labels={"client": "acme", "order": "7"})
    (upscale,) = ledger.generations.create([new(parent_id=root.id)])
    (other,) = ledger.generations.create([new(parent_id=upscale.id, labels={"order": "8", "rush": "yes"})])
    assert labelled(ledger) == {
        root.id: {"client": "acme", "order": "7"},
        upscale.id: {"client": "acme", "order": "7"},
        other.id: {"client": "acme", "order": "8", "rush": "yes"},
    }
    assert ledger.generations.story(other.id).labels == {"client": "acme", "order": "8", "rush": "yes"}


def test_follow_ups_of_a_recipe_inherit_them_in_the_same_transaction(ledger: Ledger):
    archived(ledger, follow_up=("upscale1",), labels=ACME)
    (parent,) = ledger.generations.due_follow_ups(1)
    ledger.generations.create_follow_ups(parent, [new(parent_id=parent.id, dedupe="child")], [])
    assert list(labelled(ledger).values()) == [ACME, ACME]


def test_a_repeated_submission_writes_no_label_twice(ledger: Ledger):
    for _ in range(2):
        (one,) = ledger.generations.create([new(key="sku-1", labels=ACME)])
    assert labelled(ledger) == {one.id: ACME}


def test_labels_cost_one_statement_a_group_and_none_where_there_are_none(ledger: Ledger):
    (root,) = queued(ledger)
    sent: list[list[str]] = []
    for facts in ({"parent_id": root.id}, {}, {"labels": ACME}):
        with statements_of(ledger) as statements:
            ledger.generations.create([new(f"fox {number}", **facts) for number in range(20)])
        sent.append(statements)
    of_follow_ups, plain, labelled = sent
    assert not [one for one in (*of_follow_ups, *plain) if re.match(r"(SELECT|INSERT INTO) labels\b", one)]
    assert len(labelled) == len(plain) + 1


def test_a_large_batch_has_them_too_and_its_leftovers_go_with_them(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    for size in ("FIRST", "LEAST", "MOST"):
        monkeypatch.setattr(bites, size, 5)
    monkeypatch.setattr(bites, "PAUSE", 0.0)
    ledger.generations.create(many(labels=ACME), "b")
    assert list(labelled(ledger).values()) == [ACME] * MANY
    assert ledger.generations.counts(labels=ACME) == {State.QUEUED: MANY}

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(unfinished, "finish", die)
    monkeypatch.setattr("worker.ledger.generations.create.finish", die)
    with pytest.raises(KeyboardInterrupt):
        ledger.generations.create(many(prefix="other", labels=BETA), "c")
    assert ledger.generations.counts(labels=BETA) == {}
    assert ledger.generations.page(labels=BETA) == []
    ledger.database.clock.advance(hours=1)  # type: ignore[attr-defined]
    ledger.generations.remove_abandoned()
    assert list(labelled(ledger).values()) == [ACME] * MANY


def test_what_was_sent_keeps_its_labels_when_it_is_deleted(ledger: Ledger):
    (sent,) = claimed(ledger, labels=ACME)
    ledger.generations.apply_outcomes([failure(sent)])
    (never,) = queued(ledger, labels=BETA)
    ledger.generations.cancel([never.id])
    ledger.generations.delete([sent.generation.id, never.id], Person("somebody"))
    assert labelled(ledger) == {sent.generation.id: ACME}


@pytest.mark.parametrize("probed", [0, label_pages.MOST_PROBED])
def test_pages_and_counts_of_labels_have_all_and_only_what_matches(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, probed: int
):
    """By the label's index or by the state's, which gives the same pages."""
    monkeypatch.setattr(label_pages, "MOST_PROBED", probed)
    both = {"client": "acme", "order": "7"}
    acme = [one.id for one in queued(ledger, 3, batch="b", labels=ACME)]
    ordered = [one.id for one in queued(ledger, 2, labels=both)]
    queued(ledger, 4, batch="b", labels=BETA)
    queued(ledger, 2)
    ledger.generations.cancel([acme[0], ordered[0]])
    pages = ledger.generations.page
    newest_first = sorted((*acme, *ordered), reverse=True)
    assert [one.id for one in pages(labels=ACME)] == newest_first
    assert [one.id for one in pages(labels=ACME, limit=2, before=newest_first[1])] == newest_first[2:4]
    assert [one.id for one in pages(labels=both)] == sorted(ordered, reverse=True)
    assert [one.id for one in pages(labels=both, state=State.CANCELLED)] == [ordered[0]]
    assert [one.id for one in pages(labels=ACME, batch="b")] == sorted(acme, reverse=True)
    assert [one.id for one in pages(labels=ACME, batch="b", state=State.QUEUED)] == sorted(acme[1:], reverse=True)
    assert pages(labels={"client": "nobody"}) == []
    assert ledger.generations.counts(labels=ACME) == {State.QUEUED: 3, State.CANCELLED: 2}
    batch_id = ledger.generations.batch_ids("b")[-1]
    assert ledger.generations.counts(batch_id, ACME) == {State.QUEUED: 2, State.CANCELLED: 1}


def test_a_page_of_a_label_reads_no_other_generation(ledger: Ledger):
    queued(ledger, 30, labels=ACME)
    queued(ledger, 30, labels={"client": "beta", "order": "7"})

    def ask(it: Ledger) -> None:
        it.generations.page(labels={"client": "beta", "order": "7"}, limit=5)
        it.generations.page(labels=ACME, state=State.QUEUED, limit=5)

    seen = plans(ledger, ask)
    assert "ix_labels_name" in seen
    assert not re.search(r"Seq Scan on generations|SCAN generations", seen), seen


def test_what_was_paid_for_a_label_is_summed_up_and_its_moves_are_told(ledger: Ledger):
    ((first, second),) = [claimed(ledger, 2, labels=ACME)]
    queued(ledger, labels=BETA)
    with ledger.database.write() as connection:
        rows = [
            {"generation_id": claim.generation.id, "number": 1, "provider": "acedata", "operation": "imagine",
             "day": "2026-11-21", "price": 7, "state": state}
            for claim, state in ((first, "spent"), (second, "released"))
        ]  # fmt: skip
        connection.execute(charges.insert(), rows)
    assert ledger.generations.spent(labels=ACME) == 7
    last = ledger.generations.last_move(is_settled=False)
    assert last is not None
    told = ledger.generations.moves(None, 0, last, ACME)
    assert {one.id for _, one in told} == {first.generation.id, second.generation.id}
