"""Marks of images: the last verdict counts, and each person takes back their own."""

from itertools import count

import pytest

from tests.clock import FakeClock
from tests.factories import archived, at_once
from worker.errors import KeyReused, NotFound
from worker.ledger import Ledger, Person
from worker.ledger.access import Once
from worker.ledger.marks import Mark

KEYS = count()


def marks(ledger: Ledger, *ids: str) -> list[tuple[str, int, str]]:
    return [(one.generation_id, one.number, f"{one.verdict} by {one.by}") for one in ledger.marks.of(ids)]


def undo(ledger: Ledger, by: str, key: str | None = None) -> tuple[str, int] | None:
    """Each time another request, unless it has a key."""
    return ledger.marks.undo(by, Once(owner=f"console:{by}", key=key or f"key-{next(KEYS)}", request_sha256="ab"))


def test_the_last_verdict_counts_and_the_same_again_stays_with_whoever_gave_it_first(ledger: Ledger):
    (one,) = archived(ledger)
    ledger.marks.set(one, 0, Mark.PICKED, "ada")
    ledger.marks.set(one, 0, Mark.PICKED, "grace")
    assert marks(ledger, one) == [(one, 0, "picked by ada")]
    ledger.marks.set(one, 0, Mark.REJECTED, "grace")
    assert marks(ledger, one) == [(one, 0, "rejected by grace")]
    ledger.marks.clear(one, 0)
    assert marks(ledger, one) == []


def test_a_person_takes_back_their_own_marks_the_last_first(ledger: Ledger, clock: FakeClock):
    first, second = archived(ledger, 2)
    for generation_id, verdict, by in (
        (first, Mark.PICKED, "ada"),
        (second, Mark.PICKED, "ada"),
        (first, Mark.REJECTED, "ada"),
        (second, Mark.REJECTED, "grace"),
    ):
        clock.advance(1)
        ledger.marks.set(generation_id, 0, verdict, by)
    assert undo(ledger, "ada") == (first, 0)
    assert marks(ledger, first) == [(first, 0, "picked by ada")]
    # What somebody else has decided since is not ada's any more.
    assert undo(ledger, "ada") is None
    assert undo(ledger, "grace") == (second, 0)
    assert marks(ledger, second) == [(second, 0, "picked by grace")]


def test_the_same_request_takes_back_one_mark_and_no_second(ledger: Ledger, clock: FakeClock):
    first, second = archived(ledger, 2)
    for generation_id in (first, second):
        clock.advance(1)
        ledger.marks.set(generation_id, 0, Mark.PICKED, "ada")
    assert [undo(ledger, "ada", "once") for _ in range(2)] == [(second, 0)] * 2
    assert marks(ledger, first, second) == [(first, 0, "picked by ada")]
    assert undo(ledger, "ada") == (first, 0)
    assert undo(ledger, "ada", "in vain") is None
    ledger.marks.set(first, 0, Mark.PICKED, "ada")
    assert undo(ledger, "ada", "in vain") is None, "it was marked after that was asked"
    with pytest.raises(KeyReused):
        ledger.marks.undo("ada", Once(owner="console:ada", key="once", request_sha256="cd"))
    assert marks(ledger, first) == [(first, 0, "picked by ada")]


def test_only_stored_images_have_marks_and_what_is_deleted_loses_them(ledger: Ledger):
    (one,) = archived(ledger)
    for generation_id, number in (("gen_missing", 0), (one, 99)):
        with pytest.raises(NotFound):
            ledger.marks.set(generation_id, number, Mark.PICKED, "ada")
    ledger.marks.set(one, 0, Mark.PICKED, "ada")
    ledger.generations.delete([one], Person("ada"))
    assert marks(ledger, one) == []
    with pytest.raises(NotFound):
        ledger.marks.set(one, 0, Mark.PICKED, "ada")


def test_two_who_mark_the_same_picture_at_once_leave_one_mark(ledger: Ledger):
    (one,) = archived(ledger)
    at_once(*(lambda by=by: ledger.marks.set(one, 0, Mark.PICKED, by) for by in ("ada", "grace")))  # type: ignore[misc]
    assert len(marks(ledger, one)) == 1


def test_the_pictures_of_a_batch_come_one_after_another(ledger: Ledger):
    ids = sorted(archived(ledger, 3, batch="spring"))
    archived(ledger, batch="autumn")
    (batch_id,) = {ledger.generations.get([one])[0].batch_id for one in ids}
    assert batch_id is not None
    place = ledger.marks.place(batch_id, None, None, unmarked=False)
    assert (place.here and place.here.generation_id, place.before) == (ids[0], None)
    walked = [ids[0]]
    while place.after is not None:
        place = ledger.marks.place(batch_id, (place.after.generation_id, place.after.number), None, unmarked=False)
        walked += [place.here.generation_id] if place.here and place.here.number == 0 else []
    assert walked == ids
    ledger.marks.set(ids[1], 0, Mark.PICKED, "ada")
    ledger.marks.set(ids[2], 0, Mark.REJECTED, "ada")
    place = ledger.marks.place(batch_id, (ids[0], 0), Mark.REJECTED, unmarked=False)
    assert (place.after and place.after.generation_id, place.picked, place.rejected) == (ids[2], 1, 1)
    assert ledger.marks.place("batch_missing", None, None, unmarked=True).here is None
