"""Providers in order of preference: what a list may say, and who gets a request."""

from collections.abc import Mapping

import pytest

from tasks.usecases.entry import Entry, Place
from tasks.usecases.entry_check import Defaults
from tasks.usecases.provider_choice import read_providers
from tasks.usecases.submit import SubmitRequest, check, submit
from tests.commands import darkroom
from worker.errors import ConfigurationError, DarkroomError, RequestInvalid
from worker.ledger.dispatch import ProviderMove
from worker.ledger.generations import NewGeneration
from worker.providers import PROVIDERS, provider_class
from worker.services import Services


@pytest.fixture(autouse=True)
def every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROVIDERS:
        monkeypatch.setenv(provider_class(name).key_setting, "any")


def request(
    provider: str | None,
    *,
    default: str = "mjproxy",
    options: Mapping[str, object] | None = None,
    **facts: str,
) -> SubmitRequest:
    entry = Entry(place=Place("a.csv", 2, 1), prompt="a red fox", provider=provider, options=options or {}, **facts)
    return SubmitRequest(entries=[entry], defaults=Defaults(provider=default))


def checked(here: Services, *arguments: str | None, **facts: object) -> NewGeneration:
    return check(here, request(*arguments, **facts)).wanted[0]  # type: ignore[arg-type]


def test_the_first_that_can_gets_it_and_the_others_that_can_are_its_choices(here: Services) -> None:
    plain = checked(here, "kie, acedata,ohmygpt")
    assert (plain.provider, plain.providers) == ("kie", ("acedata", "ohmygpt"))
    # Kie.ai has no seed.
    seeded = checked(here, "kie,acedata,ohmygpt", options={"seed": "7"})
    assert (seeded.provider, seeded.providers) == ("acedata", ("ohmygpt",))
    # Nor can what follows a success be done there.
    panned = checked(here, "kie,acedata", follow_up="pan_left")
    assert (panned.provider, panned.providers) == ("acedata", ())


def test_a_list_is_a_default_like_a_single_name(here: Services) -> None:
    assert checked(here, None, default="kie,acedata").providers == ("acedata",)
    assert checked(here, "kie", default="acedata,ohmygpt").providers == ()


def test_if_none_can_each_says_why_at_its_place(here: Services) -> None:
    with pytest.raises(RequestInvalid) as caught:
        checked(here, "kie,ohmygpt", options={"moodboard": "x"})
    told = str(caught.value)
    assert told.startswith(
        "a.csv, line 2, column 1: none of the providers kie, ohmygpt can do this: kie: Kie.ai has no"
    )
    assert "; ohmygpt: OhMyGPT has no option 'moodboard'" in told


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("kie,kie", RequestInvalid, "the provider kie appears twice in 'kie,kie'; name each once"),
        ("kie,,acedata", RequestInvalid, "a name is missing in the providers 'kie,,acedata'"),
        ("kie,", RequestInvalid, "a name is missing"),
        ("kie,acedate", ConfigurationError, "unknown provider 'acedate'; expected one of acedata, kie"),
        ("", ConfigurationError, "unknown provider ''"),
    ],
)
def test_a_list_with_a_mistake_is_refused(text: str, kind: type[DarkroomError], told: str) -> None:
    with pytest.raises(kind) as caught:
        read_providers(text)
    assert told in str(caught.value)


def test_all_of_them_must_be_configured(here: Services) -> None:
    here.settings = here.settings.model_copy(update={"kie_api_key": None})
    with pytest.raises(ConfigurationError, match="KIE_API_KEY is not set"):
        checked(here, "acedata,kie")


def test_the_same_key_again_finds_one_that_has_moved(here: Services) -> None:
    again = request("kie,acedata", key="fox")
    (made,) = submit(here, check(here, again)).generations
    move = ProviderMove(generation_id=made.id, left="kie", to="acedata", providers=(), why="out of credit")
    assert here.ledger.dispatch.move([move]) == {made.id}
    assert submit(here, check(here, again)).existing == {made.id}


def test_the_command_takes_a_list(here: Services) -> None:
    done = darkroom("submit", "a red fox", "--provider", "kie,acedata")
    (one,) = here.ledger.generations.get([done.output.split()[0]])
    assert (one.provider, one.providers) == ("kie", ("acedata",))
    told = darkroom("show", one.id).output
    assert "  else" in told
    assert "acedata" in told
