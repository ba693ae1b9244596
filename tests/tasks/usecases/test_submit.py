"""Submitting without a command line: what is checked, where a mistake is said to be, and what comes back."""

import errno
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.usecases.entry import Entry, Place
from tasks.usecases.entry_check import Defaults
from tasks.usecases.submission import Repetition
from tasks.usecases.submit import FollowUpRequest, SubmitRequest, SubmitResult, check, submit
from tests.tasks.cli import stories
from tests.tasks.usecases.batch_file.reading import read_entries
from worker.errors import ConfigurationError, NotFound, RequestInvalid
from worker.generation import Operation
from worker.services import Services
from worker.settings.settings import load_settings

FOX, OWL = (
    Entry(place=Place("wishes.txt", 1, 1), prompt="a fox"),
    Entry(place=Place("wishes.txt", 2, 1), prompt="an owl"),
)


@pytest.fixture
def services(
    migrated_file: Path, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Services]:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "a-token-of-the-tests")
    monkeypatch.setenv("KIE_API_KEY", "a-key-of-the-tests")
    services = Services(load_settings())
    yield services
    services.close()


def refusal(services: Services, raw: str, **defaults: object) -> str:
    request = SubmitRequest(entries=read_entries("f", raw.encode()), defaults=Defaults(**defaults))  # type: ignore[arg-type]
    with pytest.raises((RequestInvalid, ConfigurationError)) as caught:
        check(services, request)
    assert services.ledger.generations.page() == []
    return str(caught.value)


# --- what comes back


def test_the_result_has_the_order_of_the_entries_and_says_what_was_there_already(services: Services) -> None:
    known = submit(
        services, check(services, SubmitRequest(entries=[Entry(place=Place(""), prompt="a hare", key="hare")]))
    )
    entries = [FOX, Entry(place=Place("f", 2, 1), prompt="a hare", key="hare"), OWL]
    result = submit(services, check(services, SubmitRequest(entries=entries, batch="animals")))
    assert [one.prompt for one in result.generations] == ["a fox", "a hare", "an owl"]
    assert known.existing == frozenset()
    assert result.existing == {known.generations[0].id}
    assert result.batch_id is not None
    assert {one.id for one in services.ledger.generations.page(batch=result.batch_id)} == {
        one.id for one in result.generations if one.id not in result.existing
    }


def test_a_batch_without_a_name_is_named_by_the_time(services: Services) -> None:
    services.ledger.database.clock = lambda: datetime(2026, 11, 29, 3, 4, 5, tzinfo=UTC)
    submit(services, check(services, SubmitRequest(entries=[FOX], is_batch=True)))
    assert services.ledger.generations.newest_batch("2026-11-29-030405") is not None


def test_checking_writes_nothing_and_tells_what_is_odd_with_its_place(services: Services) -> None:
    odd = Entry(place=Place("prompt 2"), prompt="a fox --foo")
    checked = check(services, SubmitRequest(entries=[FOX, odd]))
    assert checked.warnings == ((), ("prompt 2, column 7: --foo is not a Midjourney parameter",))
    assert services.ledger.generations.page() == []


def test_what_holds_up_the_submission_is_told_and_fails_nothing(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_PRICES", str(tmp_path / "missing.yaml"))
    without_prices = Services(load_settings())
    with closing(without_prices):
        result = submit(without_prices, check(without_prices, SubmitRequest(entries=[FOX])))
    (wait,) = result.waits
    assert wait.startswith("saved, but nothing is submitted until this is fixed: ")
    assert len(result.generations) == 1


# --- what was interrupted


def test_what_could_not_be_delivered_is_completed_by_the_same_request(services: Services) -> None:
    request = SubmitRequest(entries=[FOX, OWL])
    told: list[str] = []

    def lost(_: SubmitResult) -> None:
        raise OSError(errno.EIO, "the other side is gone")

    with pytest.raises(OSError, match="the other side is gone"):
        submit(services, check(services, request), deliver=lost)
    again = submit(services, check(services, request), tell=told.append)
    assert (
        again.existing
        == {one.id for one in services.ledger.generations.page()}
        == {one.id for one in again.generations}
    )
    assert [sentence.partition(" of ")[0] for sentence in told] == ["completing the submission"]
    other = submit(services, check(services, request), tell=told.append)
    assert (other.existing, len(told), len(services.ledger.generations.page())) == (frozenset(), 1, 4)


def test_a_repetition_of_something_else_is_refused(services: Services) -> None:
    given = Repetition("sub_0" + "0" * 27 + "_" + "0" * 16)
    with pytest.raises(RequestInvalid, match="was a different request"):
        submit(services, check(services, SubmitRequest(entries=[FOX])), given)
    assert services.ledger.generations.page() == []


# --- where a mistake is


@pytest.mark.parametrize(
    ("raw", "defaults", "told"),
    [
        ("a fox", {"options": {"hd": "7"}}, "option hd: invalid value '7'"),
        ('{"prompt": "a", "options": {"speed": "fast"}}', {"options": {"hd": "7"}}, "option hd: invalid value '7'"),
        ('{"prompt": "a", "options": {"hd": 7}}', {}, "f, line 1, column 1: option hd: invalid value '7'"),
        # The line says the same wrong thing as the defaults: its own word counts.
        (
            '{"prompt": "a", "options": {"hd": "7"}}',
            {"options": {"hd": "7"}},
            "f, line 1, column 1: option hd: invalid value '7'",
        ),
        ("a fox", {"provider": "nobody"}, "unknown provider 'nobody'"),
        ('{"prompt": "a", "provider": "nobody"}', {"provider": "nobody"}, "f, line 1, column 1: unknown provider"),
        ("a fox", {"operation": Operation.BLEND}, "blend at Ace Data Cloud needs the option images"),
        (
            '{"prompt": "", "options": {"speed": "fast"}}',
            {"operation": Operation.BLEND},
            "f, line 1, column 1: blend at Ace Data Cloud needs the option images",
        ),
        (
            '{"prompt": "a", "provider": "kie"}',
            {"options": {"seed": "5"}},
            "f, line 1, column 1: Kie.ai has no option 'seed'",
        ),
        ("a fox", {"follow_up": "grow"}, "follow-up 'grow'"),
        ('{"prompt": "a", "provider": "kie"}', {"follow_up": "grow"}, "follow-up 'grow'"),
        ('{"prompt": "a", "provider": "kie"}', {"follow_up": "reroll"}, "f, line 1, column 1: follow-up 'reroll': Kie"),
        ('{"prompt": "a", "follow_up": "grow"}', {"follow_up": "grow"}, "f, line 1, column 1: follow-up 'grow'"),
        (
            "a fox --turbo",
            {"options": {"version": "8.1"}},
            "f, line 1, column 1: version 8.1 does not support speed=turbo",
        ),
        ("a fox", {"options": {"version": "8.1", "speed": "turbo"}}, "version 8.1 does not support speed=turbo"),
        ("a fox --ar 1:1", {"options": {"aspect_ratio": "1:1"}}, "f, line 1, column 7: option aspect_ratio"),
    ],
)
def test_a_mistake_is_where_it_was_said(services: Services, raw: str, defaults: dict[str, object], told: str) -> None:
    assert refusal(services, raw, **defaults).startswith(told)


def test_the_only_prompt_needs_no_place_and_one_of_several_does(services: Services) -> None:
    for place, told in ((Place(""), "the prompt is empty"), (Place("prompt 2"), "prompt 2: the prompt is empty")):
        with pytest.raises(RequestInvalid) as caught:
            check(services, SubmitRequest(entries=[Entry(place=place, prompt="")]))
        assert str(caught.value).startswith(told)


def test_who_asked_is_in_the_history_of_what_was_created(services: Services) -> None:
    checked = check(services, SubmitRequest(entries=[FOX], defaults=Defaults(created_by="studio (API)")))
    (fox,) = submit(services, checked).generations
    (owl,) = submit(services, check(services, SubmitRequest(entries=[OWL]))).generations
    histories = services.ledger.generations.transitions_of([fox.id, owl.id])
    assert histories[fox.id][0].cause == "created by studio (API)"
    assert histories[owl.id][0].cause == "created"


def test_who_asked_for_a_follow_up_is_in_its_history(services: Services) -> None:
    parent = stories.archived(services.ledger, actions=("upscale1",))
    request = FollowUpRequest(parent_id=parent, action="upscale1", created_by="studio (API)")
    (larger,) = submit(services, check(services, request)).generations
    assert services.ledger.generations.transitions_of([larger.id])[larger.id][0].cause == "created by studio (API)"


def test_a_key_that_two_entries_have_is_refused_with_both_places(services: Services) -> None:
    entries = [Entry(place=Place("f", line, 1), prompt="a fox", key="fox") for line in (1, 2)]
    with pytest.raises(
        RequestInvalid, match="f, line 2, column 1: the key 'fox' is already used in f, line 1, column 1"
    ):
        check(services, SubmitRequest(entries=entries))


# --- follow-ups


def test_a_follow_up_keeps_its_parents_prompt_unless_it_brings_its_own(services: Services) -> None:
    parent = stories.archived(services.ledger, actions=("variation1", "upscale1", "seed"))
    for prompt, expected in ((None, "a fox"), ("an owl", "an owl")):
        request = FollowUpRequest(parent_id=parent, action="variation1", prompt=prompt)
        (made,) = submit(services, check(services, request)).generations
        assert (made.parent_id, made.action, made.prompt) == (parent, "variation1", expected)


@pytest.mark.parametrize(
    ("action", "more", "told"),
    [
        ("zoom_out_2x", {}, "does not offer 'zoom_out_2x', only variation1, upscale1, seed"),
        ("seed", {"prompt": "an owl"}, "seed accepts no prompt at Ace Data Cloud"),
        ("upscale1", {"options": {"hd": "true"}}, "Ace Data Cloud has no option 'hd' for upscale"),
        ("upscale1", {"follow_up": "variation_region"}, "follow-up 'variation_region': region"),
    ],
)
def test_a_follow_up_that_cannot_be_is_refused(
    services: Services, action: str, more: dict[str, object], told: str
) -> None:
    parent = stories.archived(services.ledger, actions=("variation1", "upscale1", "seed"))
    with pytest.raises(RequestInvalid) as caught:
        check(services, FollowUpRequest(parent_id=parent, action=action, **more))  # type: ignore[arg-type]
    assert told in str(caught.value)


def test_a_parent_that_nobody_has_is_not_found(services: Services) -> None:
    with pytest.raises(NotFound):
        check(services, FollowUpRequest(parent_id="gen_nobody", action="upscale1"))


@pytest.mark.parametrize(
    ("entry", "refused"),
    [
        (Entry(place=Place("f", 2, 1), prompt="a fox", key=" "), "f, line 2, column 1: the key must not be empty"),
        (
            Entry(place=Place("f", 2, 1), prompt="a fox", priority=2**31),
            "f, line 2, column 1: a priority must be an integer from",
        ),
    ],
)
def test_whoever_asks_without_a_file_is_checked_as_well(services: Services, entry: Entry, refused: str) -> None:
    with pytest.raises(RequestInvalid, match=refused):
        check(services, SubmitRequest(entries=[entry]))
