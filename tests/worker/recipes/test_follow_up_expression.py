"""What should follow a success."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import RequestInvalid
from worker.generation import Operation
from worker.recipes import Pick
from worker.recipes.follow_up_expression import as_recipe, parse_follow_ups, steps_of

OFFERED = ("upscale1", "variation1", "variation_strong", "reroll")


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
    assert {step.do for step in as_recipe(items, OFFERED, max_fan_out=16)[0].steps} <= set(OFFERED)


def test_the_steps_of_an_item_are_operations():
    assert steps_of("upscale2/zoom_out_2x/variation:all") == [
        (Operation.UPSCALE, "upscale2"),
        (Operation.ZOOM, "zoom_out_2x"),
        (Operation.VARIATION, None),
    ]


def test_it_is_short_for_a_recipe_with_a_step_for_each_action_that_is_offered():
    recipe, refused = as_recipe(("upscale1/zoom_out_2x", "variation:all", "pan:all"), OFFERED, max_fan_out=16)
    assert [(step.id, step.do, step.pick) for step in recipe.steps] == [
        ("upscale1/zoom_out_2x", "upscale1", Pick()),
        ("variation:all", "variation1", Pick()),
        ("variation:all", "variation_strong", Pick()),
    ]
    assert refused == ["pan:all is not offered; offered: upscale1, variation1, variation_strong, reroll"]
