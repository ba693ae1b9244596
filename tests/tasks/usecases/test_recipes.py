"""What a recipe makes in the worst case: counted again, one generation after the other."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.usecases.recipes import get_recipe, list_recipes, worst_cost
from tests.examples import examples
from worker.errors import ConfigurationError
from worker.generation import GenerationRequest, Operation
from worker.pricing.prices import Caps, Prices, Rule
from worker.recipes import After, Chooser, Pick, Recipe, Step
from worker.recipes.recipe import When
from worker.settings import load_settings

CENT = 10_000
PRICES = Prices(rules=(Rule(price=5 * CENT), Rule(price=10 * CENT, speed="turbo")), caps=Caps())
PICKS = st.sampled_from([Pick(), Pick(chooser=Chooser.NUMBERS, numbers=(1, 3)), Pick(chooser=Chooser.RANDOM, count=3)])
#: images of a result: a grid has four to pick from
IMAGES = {"imagine": 4, "variation": 4, "split": 4, "upscale": 1, "video": 0}


@st.composite
def steps(draw: st.DrawFn, level: int, number: list[int]) -> Step:
    number[0] += 1
    do = draw(st.sampled_from(["split", "upscale", "variation", "video"] if level == 2 else ["split", "video"]))
    return Step(
        id=f"s{number[0]}",
        do=do,
        when=When(operations=draw(st.sampled_from([(), ("imagine",), ("video", "upscale")]))),
        pick=Pick() if do == "split" else draw(PICKS),
        max_cost=None if do == "split" else draw(st.sampled_from([None, Decimal("0.12"), Decimal("0.30")])),
        then=tuple(draw(st.lists(steps(level - 1, number), max_size=2))) if level else (),
    )


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    top = draw(st.lists(steps(2, [0]), min_size=1, max_size=3))
    return Recipe(name="any", steps=tuple(top), max_depth=3, max_fan_out=draw(st.integers(1, 6)))


def one_by_one(recipe: Recipe, following: Sequence[Step], operation: str, price: int) -> int:
    """Play it: make each generation, and what follows it."""
    cost = made = 0
    for step in following:
        if step.when.operations and operation not in step.when.operations:
            continue
        available = 1 if step.do == "split" else max(1, IMAGES[operation])
        spent = 0
        for image in range(1, available + 1):
            is_picked = step.pick.chooser is not Chooser.NUMBERS or image in step.pick.numbers
            is_picked &= step.pick.chooser is not Chooser.RANDOM or image <= step.pick.count
            its_price = 0 if step.do == "split" else price
            is_dear = step.max_cost is not None and spent + its_price > step.max_cost * 1_000_000
            if not is_picked or is_dear or made == recipe.max_fan_out:
                continue
            made += 1
            spent += its_price
            cost += its_price + one_by_one(recipe, step.then, step.do, price)
    return cost


@settings(max_examples=examples(400))
@given(recipe=recipes(), is_turbo=st.booleans())
def test_the_worst_case_is_what_comes_of_playing_it(recipe: Recipe, is_turbo: bool) -> None:
    """A parameter in the prompt, which follow-ups inherit, makes them dearer."""
    request = GenerationRequest(operation=Operation.IMAGINE, prompt=f"a teapot{' --turbo' if is_turbo else ''}")
    expected = one_by_one(recipe, recipe.steps, "imagine", (10 if is_turbo else 5) * CENT)
    assert worst_cost("acedata", recipe, PRICES, request) == expected


def test_options_of_a_step_and_of_a_failed_one_that_is_tried_again_count() -> None:
    again = Step(id="again", do="imagine", after=After.FAILED)
    turbo = Step(id="film", do="video", options={"speed": "turbo"}, pick=Pick(chooser=Chooser.NUMBERS, numbers=(1,)))
    recipe = Recipe(name="any", steps=(again, turbo), max_depth=1, max_fan_out=9)
    plain = GenerationRequest(operation=Operation.IMAGINE, prompt="a teapot")
    fast = GenerationRequest(operation=Operation.IMAGINE, prompt="a teapot", options={"speed": "turbo"})
    film = worst_cost("acedata", Recipe(name="f", steps=(turbo,), max_depth=1, max_fan_out=9), PRICES, plain)
    assert worst_cost("acedata", recipe, PRICES, plain) == film + 5 * CENT
    assert worst_cost("acedata", recipe, PRICES, fast) == film + 10 * CENT


def test_a_folder_of_recipes_may_have_other_files_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_RECIPES", str(tmp_path))
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "old.yaml").mkdir()
    (tmp_path / "broken.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "cut.yaml").write_text("name: cut\nsteps: [{id: cut, do: split}]\n")
    (tmp_path / "torn.yaml").write_text("name: torn\nsteps: [{id: cut, do: spilt}]\n")
    found = list_recipes(load_settings())
    assert [(one.path.name, one.recipe is not None) for one in found] == [("cut.yaml", True), ("torn.yaml", False)]
    assert get_recipe(load_settings(), "cut").name == "cut"
    with pytest.raises(ConfigurationError, match=r"torn.yaml, line 2, column 23: unknown action 'spilt'"):
        get_recipe(load_settings(), "torn")
