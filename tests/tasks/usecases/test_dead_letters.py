"""What was given up, without a command line."""

import pytest

from tasks.usecases.dead_letters import (
    DismissRequest,
    LetterKind,
    LetterSelection,
    Replayed,
    dismiss,
    list_dead,
    replay,
)
from tasks.usecases.person import person
from tests.tasks.cli import stories
from tests.tasks.cli.test_dead import given_up, set_aside, undelivered
from worker.errors import NotFound, RequestInvalid
from worker.ledger import Ledger
from worker.services import Services

BY = person("ada")


def test_each_kind_of_letter_is_listed_with_its_facts(here: Services, ledger: Ledger) -> None:
    (callback,) = set_aside(ledger, b"?")
    assets = given_up(ledger)
    event = undelivered(ledger)
    assert [letter.id for letter in list_dead(here)] == [callback, *assets, event]
    assert [(letter.id, letter.kind) for letter in list_dead(here, LetterKind.EVENTS)] == [(event, LetterKind.EVENTS)]
    (letter,) = list_dead(here, LetterKind.CALLBACKS)
    assert (letter.what, letter.facts["bytes"]) == ("unreadable", 1)


def test_what_is_replayed_is_told_one_by_one_and_wakes_its_step(here: Services, ledger: Ledger) -> None:
    (callback,) = set_aside(ledger, b"?")
    told: list[Replayed] = []
    replays = replay(here, LetterSelection((callback, "event:99/nobody", callback)), told.append)
    assert [(one.letter_id, one.is_done) for one in told] == [(callback, True), ("event:99/nobody", False)]
    assert (replays.letter_ids, replays.done, replays.wakes) == ((callback, "event:99/nobody"), 1, ("ingest",))
    assert replay(here, LetterSelection(everything=True), told.append).letter_ids == ()


def test_all_but_assets_are_dismissed_together_or_not_at_all(here: Services, ledger: Ledger) -> None:
    (callback,) = set_aside(ledger, b"?")
    first, second = given_up(ledger)
    for wrong, error in ((first, RequestInvalid), ("callback:99", NotFound)):
        with pytest.raises(error, match="nothing was changed"):
            dismiss(here, DismissRequest(LetterSelection((callback, wrong)), BY))
    assert dismiss(here, DismissRequest(LetterSelection(everything=True), BY)) == (callback,)
    assert [letter.id for letter in list_dead(here)] == [first, second]


@pytest.mark.parametrize(
    ("ids", "everything", "kind"),
    [
        ((), False, None),
        (("callback:1",), True, None),
        (("callback:1",), False, LetterKind.EVENTS),
        (("gen_1",), False, None),
    ],
)
def test_a_selection_of_letters_must_be_clear(ids: tuple[str, ...], everything: bool, kind: LetterKind | None) -> None:
    with pytest.raises(RequestInvalid):
        LetterSelection(ids, everything, kind)


def test_what_failed_is_never_submitted_again_as_an_asset(here: Services, ledger: Ledger) -> None:
    failed = stories.failed(ledger)
    told: list[Replayed] = []
    assert replay(here, LetterSelection((f"asset:{failed}/0",)), told.append).wakes == ()
    assert [(one.is_done, one.message) for one in told] == [(False, "was not found")]
