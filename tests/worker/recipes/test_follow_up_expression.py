"""What should follow a success."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import RequestInvalid
from worker.generation import Operation
from worker.recipes.follow_up_expression import FollowUp, expand, parse_follow_ups, steps_of

OFFERED = ("upscale1", "upscale2", "upscale3", "upscale4", "reroll", "variation1", "variation2", "zoom_out_2x")


def parsed(text: str, *, max_depth: int = 3, max_follow_ups: int = 16) -> tuple[str, ...]:
    return parse_follow_ups(text, max_depth=max_depth, max_follow_ups=max_follow_ups)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", ()),
        (" , ,", ()),
        ("upscale1", ("upscale1",)),
        ("upscale1, upscale3 ,upscale1", ("upscale1", "upscale3")),
        ("upscale:all", ("upscale:all",)),
        ("upscale:all/zoom_out_2x,reroll", ("upscale:all/zoom_out_2x", "reroll")),
    ],
)
def test_what_a_person_writes(text: str, items: tuple[str, ...]):
    assert parsed(text) == items


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("upscale1,teleport", "follow-up 'teleport': unknown action 'teleport'; write for example upscale1"),
        ("upscale:some", "follow-up 'upscale:some': invalid 'upscale:some'; write for example upscale:all"),
        ("teleport:all", "invalid 'teleport:all'"),
        ("upscale1/", "unknown action ''"),
        ("/upscale1", "unknown action ''"),
        ("upscale1/teleport", "follow-up 'upscale1/teleport': unknown action 'teleport'"),
        ("upscale1/reroll/reroll/reroll", "goes 4 steps deep; at most 3 are allowed"),
        (",".join(f"upscale{number}" for number in range(17)), "17 follow-ups are more than the 16 allowed"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str):
    with pytest.raises(RequestInvalid, match=words):
        parsed(text)


@given(st.text(alphabet="upscale123:al/,zomrt_ \x00ü", max_size=80))
def test_any_text_is_understood_or_refused(text: str):
    try:
        items = parsed(text)
    except RequestInvalid:
        return
    assert len(items) <= 16
    created, _ = expand(items, OFFERED, limit=16)
    assert {item.action for item in created} <= set(OFFERED)


def test_the_steps_of_an_item_are_operations():
    assert steps_of("upscale2/zoom_out_2x/variation:all") == [
        (Operation.UPSCALE, "upscale2"),
        (Operation.ZOOM, "zoom_out_2x"),
        (Operation.VARIATION, None),
    ]


def test_one_action():
    assert expand(["upscale2"], OFFERED, limit=16) == ([FollowUp("upscale2", ())], [])


def test_all_of_a_family_in_the_order_offered():
    created, refused = expand(["variation:all", "upscale1"], OFFERED, limit=16)
    assert [item.action for item in created] == ["variation1", "variation2", "upscale1"]
    assert refused == []


def test_what_follows_goes_with_its_action():
    created, _ = expand(["upscale:all/zoom_out_2x/reroll", "upscale1/reroll", "upscale1"], OFFERED[:2], limit=16)
    assert created == [
        FollowUp("upscale1", ("zoom_out_2x/reroll", "reroll")), FollowUp("upscale2", ("zoom_out_2x/reroll",)),
    ]  # fmt: skip


def test_what_is_not_offered_is_told():
    assert expand(["upscale1", "pan:all"], ["reroll"], limit=16) == (
        [],
        ["upscale1 is not offered; offered: reroll", "pan:all is not offered; offered: reroll"],
    )
    assert expand(["upscale1"], [], limit=16)[1] == ["upscale1 is not offered; offered: nothing"]


def test_more_than_the_limit_are_not_created_but_told():
    created, refused = expand(["upscale:all"], OFFERED, limit=3)
    assert [item.action for item in created] == ["upscale1", "upscale2", "upscale3"]
    assert refused == ["upscale4 would be more than the 3 follow-ups allowed"]


def test_a_provider_that_offers_one_action_twice_gets_it_once():
    created, _ = expand(["upscale:all"], ["upscale1", "upscale1"], limit=16)
    assert created == [FollowUp("upscale1", ())]
