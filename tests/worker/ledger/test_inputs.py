"""Images that users handed in: recorded once, used by generations, pruned when nothing uses them any more."""

from datetime import timedelta

from tests.clock import FakeClock
from tests.factories import new
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.inputs import InputFile, inputs

FOX = InputFile(sha256="f" * 64, bytes=9, content_type="image/png", extension="png")
OWL = InputFile(sha256="0" * 64, bytes=7, content_type="image/webp", extension="webp")
KEPT = timedelta(days=30)


def prune(ledger: Ledger) -> set[str]:
    return {one.sha256 for one in ledger.inputs.prune(ledger.database.clock() - KEPT)}


def test_a_file_has_one_place_however_often_it_is_used(ledger: Ledger):
    first = ledger.inputs.record([FOX, OWL, FOX], "inputs")
    assert first[FOX.sha256].object_key.startswith(f"inputs/{FOX.sha256}/")
    assert first[OWL.sha256].object_key.endswith(".webp")
    assert ledger.inputs.record([FOX], "elsewhere") == {FOX.sha256: first[FOX.sha256]}
    assert ledger.inputs.get([OWL.sha256, "1" * 64]) == {OWL.sha256: first[OWL.sha256]}


def test_a_file_goes_when_its_generations_have_ended_long_ago(ledger: Ledger, clock: FakeClock):
    ledger.inputs.record([FOX, OWL], "inputs")
    (fox,) = ledger.generations.create([new("a fox", inputs=(FOX.sha256,))])
    assert ledger.inputs.used_by(fox.id) == [FOX.sha256]
    clock.advance(days=31)
    assert prune(ledger) == {OWL.sha256}
    ledger.generations.cancel([fox.id])
    assert prune(ledger) == set()
    clock.advance(days=31)
    assert prune(ledger) == {FOX.sha256}
    assert ledger.inputs.used_by(fox.id) == []
    assert ledger.generations.get([fox.id])[0].state is State.CANCELLED


def test_a_file_that_a_submission_names_stays_until_its_generation_is_written(ledger: Ledger, clock: FakeClock):
    before = ledger.inputs.record([FOX], "inputs")
    clock.advance(days=31)
    assert ledger.inputs.record([FOX], "inputs") == before
    assert prune(ledger) == set()


def test_a_file_that_is_handed_in_again_never_gets_the_key_of_an_object_that_is_being_deleted(
    ledger: Ledger, clock: FakeClock
):
    (old,) = ledger.inputs.record([FOX], "inputs").values()
    clock.advance(days=31)
    assert ledger.inputs.prune(clock() - KEPT) == [old]
    (again,) = ledger.inputs.record([FOX], "inputs").values()
    assert again.object_key != old.object_key


def test_files_go_a_few_at_a_time(ledger: Ledger, clock: FakeClock):
    files = [
        InputFile(sha256=f"{number:064x}", bytes=1, content_type="image/png", extension="png")
        for number in range(inputs.BITE + 1)
    ]
    ledger.inputs.record(files, "inputs")
    clock.advance(days=31)
    assert [len(prune(ledger)), len(prune(ledger)), len(prune(ledger))] == [inputs.BITE, 1, 0]


def test_what_exists_already_uses_what_it_used(ledger: Ledger):
    ledger.inputs.record([FOX, OWL], "inputs")
    (fox,) = ledger.generations.create([new("a fox", key="fox", inputs=(FOX.sha256,))])
    ledger.generations.create([new("a fox", key="fox", inputs=(FOX.sha256, OWL.sha256))])
    assert ledger.inputs.used_by(fox.id) == [FOX.sha256]
