"""A request held against a table: what it becomes, and the sentence for each that ."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.providers.operations import LINK
from tests.worker.providers.test_options import JSON
from worker.errors import RequestInvalid
from worker.generation import GenerationRequest, Operation
from worker.providers import Provider, translation
from worker.providers.capability import Capability, Prompt, Terms
from worker.providers.options import (
    ASPECT_RATIO,
    FLAG,
    SPEED,
    STYLIZE,
    VERSION,
    level,
    one_of,
    picture,
    pictures,
    whole,
)
from worker.providers.translation import check_follow_up, terms_of

IMAGINE = {
    "aspect_ratio": ASPECT_RATIO.as_flag("--ar"),
    "stylize": STYLIZE.as_flag("--stylize"),
    "speed": one_of("fast", "turbo").as_field("mode"),
    "version": VERSION.as_field("version"),
    "images": pictures(1, 2).as_lead(),
    "style_images": pictures(1, 2).as_flag("--sref"),
    "mask": picture(),
}
SMALL = {
    Operation.IMAGINE: Capability(IMAGINE),
    Operation.BLEND: Capability({"images": pictures(2, 5)}, Prompt.OPTIONAL, needs=frozenset({"images"})),
    Operation.UPSCALE: Capability({}, Prompt.UNUSED, actions=("upscale1", "upscale2")),
}
#: what another can that SMALL cannot
LARGE = {
    Operation.IMAGINE: Capability({"speed": SPEED, "weird": whole(0, 3000), "images": pictures(1, 5)}),
    Operation.VIDEO: Capability(),
}
OTHER = "; Large (--provider large) can"


#: what neither has is let through
VERSIONS = {"8.2": frozenset(), "8.1": frozenset({"quality", "speed=turbo"}), "8": frozenset({"--iw"})}


def table(title: str, capabilities: Mapping[Operation, Capability], limit: int, versions: Any) -> Any:
    return SimpleNamespace(title=title, capabilities=capabilities, prompt_limit=limit, versions=versions)


@pytest.fixture(autouse=True)
def two_providers(monkeypatch):
    tables = {"small": SMALL_VENDOR, "large": table("Large", LARGE, 2000, {"8.1": frozenset({"quality"})})}
    monkeypatch.setattr(translation, "PROVIDERS", tables)
    monkeypatch.setattr(translation, "provider_class", tables.__getitem__)


SMALL_VENDOR = cast("Provider", table("Small", SMALL, 100, VERSIONS))


def terms(
    prompt: str = "a cat", operation: Operation = Operation.IMAGINE, action: str | None = None, **options: Any
) -> Terms:
    return terms_of(SMALL_VENDOR, GenerationRequest(operation=operation, prompt=prompt, options=options, action=action))


def refusal(*args: Any, **options: Any) -> str:
    with pytest.raises(RequestInvalid) as caught:
        terms(*args, **options)
    return str(caught.value)


# --- what a version refuses


@pytest.mark.parametrize(
    ("prompt", "options", "told"),
    [
        (
            "a cat",
            {"version": "v8.1", "speed": "turbo"},
            "8.1 does not support speed=turbo at Small; version 8.2 or 8 and L",
        ),
        (
            "a cat --turbo",
            {"version": 8.1},
            "8.1 does not support speed=turbo at Small; version 8.2 or 8 and Large (--",
        ),
        ("a cat --turbo --v 8.1", {}, "8.1 does not support speed=turbo at Small; "),
        ("a cat --q 2", {"version": "8.1"}, "8.1 does not support quality at Small; version 8.2 or 8 can"),
        ("a cat --iw 2 --version 8.0", {}, "8 does not support --iw at Small; version 8.2 or 8.1 can"),
    ],
)
def test_what_a_version_refuses_is_not_sent_and_told_with_who_can(prompt: str, options: dict[str, Any], told: str):
    assert refusal(prompt, **options).startswith(f"version {told}")


@pytest.mark.parametrize("prompt", ["a cat --turbo --q 4 --iw 2 --v 8.2", "a cat --turbo --q 2 --v 9", "a cat --turbo"])
def test_what_a_version_takes_or_nobody_knows_is_let_through(prompt: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(IMAGINE, "quality", level("1", "2", "4"))
    assert terms(prompt).prompt == prompt


def test_a_follow_up_is_not_held_to_the_prompt_of_its_parent():
    assert terms("a cat --q 2 --v 8.1", Operation.UPSCALE, "upscale1").prompt == ""


# --- what becomes of it


def test_every_option_goes_where_the_table_says():
    assert terms(speed="turbo", version=7, aspect_ratio="3:2", images=[LINK], mask=LINK) == Terms(
        f"{LINK} a cat --ar 3:2", {"mode": "turbo", "version": "7"}, {"mask": LINK}
    )


def test_several_values_stand_behind_one_flag():
    assert terms(style_images=[LINK, LINK], stylize=50).prompt == f"a cat --sref {LINK} {LINK} --stylize 50"


def test_blanks_around_the_prompt_are_left_out():
    assert terms("  a\n cat ").prompt == "a\n cat"


def test_a_prompt_that_is_not_used_is_left_out():
    assert terms("a cat", Operation.UPSCALE, "upscale2").prompt == ""


def test_a_prompt_that_is_optional_may_be_missing():
    assert terms("", Operation.BLEND, images=[LINK, LINK]).placed == {"images": [LINK, LINK]}


# --- what is refused


def test_an_operation_is_refused_with_those_that_there_are():
    assert refusal("x", Operation.VIDEO) == "Small does not support video, only blend, imagine or upscale" + OTHER
    assert (
        refusal("x", Operation.EDIT)
        == "Small does not support edit, only blend, imagine or upscale; no provider supports it"
    )


def test_an_option_is_refused_with_those_that_there_are():
    there = "aspect_ratio, images, mask, speed, style_images, stylize or version"

    assert refusal(weird=5) == f"Small has no option 'weird' for imagine; it has {there}" + OTHER
    assert refusal(colour="red") == f"Small has no option 'colour' for imagine; it has {there}; no provider supports it"
    assert refusal("", Operation.UPSCALE, "upscale1", x=1) == (
        "Small has no option 'x' for upscale; it has none; no provider supports it"
    )


def test_a_value_is_refused_with_what_is_possible():
    assert refusal(speed="warp") == "option speed: invalid value 'warp', expected fast or turbo"


def test_a_value_that_another_takes_is_refused_with_its_name():
    assert refusal(speed="relax") == "option speed: invalid value 'relax' at Small, expected fast or turbo" + OTHER
    assert refusal(images=[LINK] * 3) == (
        "option images: invalid value a list of 3 at Small, expected 1 to 2 links to images" + OTHER
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 500, f"'{'x' * 40}'"),
        ("a\x00\ud800", r"'a\x00\ud800'"),
        ({"a": 1}, "a JSON object"),
        ([], "a list of 0"),
        (None, "'None'"),
        pytest.param(10**5000, "a number with too many digits", id="5,001 digits"),
    ],
)
def test_a_wrong_value_is_shown_in_brief(value, shown):
    assert refusal(stylize=value) == f"option stylize: invalid value {shown}, expected an integer from 0 to 1000"


@pytest.mark.parametrize(
    ("prompt", "option", "said"),
    [
        ("a cat --ar 3:2", {"aspect_ratio": "1:1"}, "--ar"),
        ("a cat --aspect 3:2", {"aspect_ratio": "1:1"}, "--aspect"),
        ("a cat \N{EM DASH}ar 3:2", {"aspect_ratio": "1:1"}, "--ar"),
        ("a cat --s 5", {"stylize": 5}, "--s"),
    ],
)
def test_what_the_prompt_says_already_is_not_said_twice(prompt, option, said):
    (name,) = option

    assert refusal(prompt, **option) == f"option {name}: the prompt already has {said}; give only one"


@pytest.mark.parametrize(
    ("prompt", "said", "at"),
    [
        ("a cat --stylize 1001", "option stylize: invalid value '1001', expected an integer from 0 to 1000", 6),
        ("a cat --relax", "option speed: invalid value 'relax' at Small, expected fast or turbo" + OTHER, 6),
        ("cats --weird 5", "Small has no option 'weird' for imagine; it has", 5),
        ("a cat --ar", "option aspect_ratio: invalid value '', expected a ratio such as 16:9", 6),
    ],
)
def test_a_flag_of_the_prompt_is_refused_as_its_option_would_be(prompt, said, at):
    with pytest.raises(RequestInvalid) as caught:
        terms(prompt)
    assert str(caught.value).startswith(said)
    assert caught.value.at == at


@pytest.mark.parametrize(
    "prompt",
    ["a cat --sref 123 --no dogs", "a cat --ar {1:1, 3:2}", "a quick \N{EN DASH}fast\N{EN DASH} cat", "--niji 6 a cat"],
)
def test_a_flag_that_no_option_says_is_left_as_it_is(prompt):
    assert terms(prompt).prompt == prompt


def test_what_a_parents_prompt_says_holds_up_no_follow_up():
    assert terms("a cat --weird 5", Operation.UPSCALE, "upscale1").prompt == ""


def test_an_option_that_is_only_on_or_off_is_a_flag_without_a_value(monkeypatch):
    monkeypatch.setitem(IMAGINE, "hd", FLAG.as_flag("--hd"))
    assert (terms(hd="true").prompt, terms(hd="false").prompt) == ("a cat --hd", "a cat")


def test_a_word_that_only_begins_like_a_flag_is_none():
    assert terms("a cat --arrow --start --style raw", aspect_ratio="1:1", stylize=5).prompt.endswith(
        "--ar 1:1 --stylize 5"
    )


def test_a_missing_prompt_is_named():
    assert refusal(" ") == "the prompt is empty: imagine needs one"


def test_a_missing_option_is_named():
    assert refusal("", Operation.BLEND) == "blend at Small needs the option images"


def test_a_long_prompt_is_refused_with_who_takes_it():
    assert refusal("x" * 101) == "the prompt has 101 characters, but Small accepts at most 100" + OTHER
    assert refusal("x" * 2001) == "the prompt has 2001 characters, but Small accepts at most 100"
    assert refusal("x" * 100, aspect_ratio="1:1").startswith("the prompt has 109 characters")


@pytest.mark.parametrize("prompt", ["a\x00cat", "\ud83d cat"])
def test_a_prompt_that_no_encoding_carries_is_refused(prompt):
    assert refusal(prompt) == "the prompt contains a NUL or half a character, which no provider accepts: copy it again"


@pytest.mark.parametrize("action", ["upscale3", "upscale", "", "reroll"])
def test_an_action_is_refused_with_those_that_there_are(action):
    assert refusal("", Operation.UPSCALE, action) == (
        f"upscale has no action {action!r} at Small; it has upscale1 or upscale2"
    )


def test_a_follow_up_without_an_action_is_refused():
    assert refusal("", Operation.UPSCALE) == (
        "upscale is a follow-up: it needs a parent and its action, upscale1 or upscale2"
    )


def test_what_begins_anew_has_no_action():
    assert refusal("a cat", Operation.IMAGINE, "upscale1") == (
        "imagine has no action 'upscale1' at Small; imagine needs no parent"
    )


# --- what may follow


@pytest.mark.parametrize("action", ["upscale2", None])
def test_a_follow_up_that_the_table_has_is_taken(action: str | None):
    check_follow_up(SMALL_VENDOR, Operation.UPSCALE, action)


@pytest.mark.parametrize(
    ("operation", "action", "told"),
    [
        (
            Operation.VIDEO,
            None,
            "Small does not support video, only blend, imagine or upscale; Large (--provider large) can",
        ),
        (Operation.UPSCALE, "upscale3", "upscale has no action 'upscale3' at Small; it has upscale1 or upscale2"),
        (Operation.BLEND, None, "blend at Small needs the option images"),
    ],
)
def test_a_follow_up_that_nobody_could_create_is_refused(operation: Operation, action: str | None, told: str):
    with pytest.raises(RequestInvalid) as caught:
        check_follow_up(SMALL_VENDOR, operation, action)
    assert str(caught.value) == told


# --- anything


@given(
    prompt=st.text(),
    operation=st.sampled_from(Operation),
    action=st.none() | st.text() | st.just("upscale1"),
    options=st.dictionaries(st.sampled_from(sorted(IMAGINE)) | st.text(), JSON, max_size=4),
)
def test_no_request_does_more_than_be_refused_in_a_sentence(prompt, operation, action, options):
    request = GenerationRequest(operation=operation, prompt=prompt, options=options, action=action)
    try:
        terms = terms_of(SMALL_VENDOR, request)
    except RequestInvalid as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert len(terms.prompt) <= 100
