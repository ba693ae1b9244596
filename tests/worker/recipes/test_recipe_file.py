"""Recipe files: what they say, and each mistake with its line and column."""

import json
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from worker.errors import ConfigurationError
from worker.recipes import After, Chooser, Facts, Pick, Recipe, from_document, load_recipe, to_document
from worker.recipes.recipe import When

ROOT = Path(__file__).parents[3]
SHOP = ROOT / "deploy/examples/recipes/shop.yaml"
SCHEMA = json.loads((ROOT / "deploy/recipe.schema.json").read_text(encoding="utf-8"))
STEP = "name: r\nsteps:\n  - id: a\n    do: upscale\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_says_what_a_shop_needs() -> None:
    recipe = load_recipe(SHOP)
    cut, best = recipe.steps
    assert (recipe.name, recipe.max_depth, recipe.max_fan_out) == ("shop", 3, 8)
    assert (cut.do, cut.after, cut.when.operations) == ("split", After.ARCHIVED, ("imagine",))
    assert (best.pick.chooser, best.timeout, best.otherwise) == (Chooser.PERSON, timedelta(days=3), None)
    assert best.max_cost == Decimal("5.00")
    assert best.then[0].options == {"loop": "true"}
    assert recipe.after("best") == best.then
    assert recipe.after("film") == ()


@pytest.mark.parametrize(
    ("text", "pick"),
    [
        ("all", Pick()),
        ("first", Pick(chooser=Chooser.NUMBERS, numbers=(1,))),
        ('"1,3"', Pick(chooser=Chooser.NUMBERS, numbers=(1, 3))),
        ("[3, 1]", Pick(chooser=Chooser.NUMBERS, numbers=(3, 1))),
        ("random 2", Pick(chooser=Chooser.RANDOM, count=2)),
        ("task shop.choose@shop\n    timeout: 1h", Pick(chooser=Chooser.TASK, task="shop.choose", queue="shop")),
        ("person\n    timeout: 45min", Pick(chooser=Chooser.PERSON)),
    ],
)
def test_who_picks(tmp_path: Path, text: str, pick: Pick) -> None:
    (step,) = load_recipe(written(tmp_path, f"{STEP}    pick: {text}\n")).steps
    assert step.pick == pick


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "", "the recipe is empty"),
        ("name: r\n", "line 1, column 1", "missing `steps`"),
        ("name: r\nsteps: []\n", "line 2, column 8", "the recipe has no steps"),
        ("name: other\nsteps: [{id: a, do: split}]\n", "line 1, column 7", "rename one of them"),
        (f"{STEP}    on: archived\n", "line 5, column 5", "unknown key 'on': write `after:`"),
        (f"{STEP}    afer: archived\n", "line 5, column 5", "did you mean `after`?"),
        (f"{STEP}    after: done\n", "line 5, column 12", "unknown moment 'done'; expected one of"),
        (f"{STEP}    pick: some\n", "line 5, column 11", "invalid pick 'some'; write all, first"),
        (f"{STEP}    pick: person\n", "line 3, column 5", "so the step needs a `timeout`"),
        (f"{STEP}    timeout: 3d\n", "line 5, column 14", "`timeout` is for a person or a task that picks"),
        (f"{STEP}    pick: person\n    timeout: soon\n", "line 6, column 14", "invalid time 'soon'"),
        (
            f"{STEP}    pick: person\n    timeout: 1d\n    otherwise: first\n",
            "line 7, column 16",
            "limit it with `max_cost`",
        ),
        (f"{STEP}    max_cost: cheap\n", "line 5, column 15", "invalid amount 'cheap'"),
        (f"{STEP}    when: {{operation: imagin}}\n", "line 5, column 23", "unknown operation 'imagin'"),
        (f"{STEP}    when: {{assets: many}}\n", "line 5, column 20", "invalid number of assets 'many'"),
        ("name: r\nsteps: [{id: a, do: teleport}]\n", "line 2, column 21", "unknown action 'teleport'"),
        ("name: r\nsteps: [{id: A!, do: split}]\n", "line 2, column 14", "invalid step name 'A!'"),
        ("name: r\nsteps: [{id: a, do: split, pick: first}]\n", "line 2, column 9", "it takes no `pick`"),
        ("name: r\nsteps: [{id: a, do: split}, {id: a, do: reroll}]\n", "line 2, column 34", "have the id 'a'"),
        ("name: r\nsteps: [&a {id: a, do: reroll, then: [*a]}]\n", "line 2, column 17", "have the id 'a'"),
        (f"{STEP}    then: [{{id: b, do: reroll}}]\nmax_depth: 1\n", "line 6, column 12", "its steps go 2 deep"),
        ("name: r\nname: r\n", "line 2, column 1", "duplicate 'name'"),
        ("name: [\n", "line 2, column 1", "invalid YAML"),
    ],
)
def test_a_mistake_has_its_place(tmp_path: Path, text: str, place: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError, match=re.escape(words)) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}, {place}: " if place else f"{path}: ")


def test_aliases_make_no_billions_of_steps(tmp_path: Path) -> None:
    step = "&a0 {id: s0, do: reroll}"
    for level in range(1, 12):
        step = f"&a{level} {{id: s{level}, do: reroll, then: [{step}{f', *a{level - 1}' * 8}]}}"
    with pytest.raises(ConfigurationError, match="several steps have the id 's0'"):
        load_recipe(written(tmp_path, f"name: r\nsteps: [{step}]\n"))


def test_values_are_read_as_they_are_written(tmp_path: Path) -> None:
    recipe = load_recipe(
        written(
            tmp_path,
            f"{STEP}    options: {{version: 6.10, time: 12:30, off: no}}\n    when: {{label: {{sku: 0012}}}}\n",
        )
    )
    (step,) = recipe.steps
    assert step.options == {"version": "6.10", "time": "12:30", "off": "no"}
    assert step.when.labels == {"sku": ("0012",)}


def test_conditions_hold_for_any_of_their_values() -> None:
    facts = Facts(
        operation="imagine", action=None, provider="kie", options={"loop": True}, labels={"client": "acme"}, images=4
    )
    assert When().holds(facts)
    assert When(operations=("video", "imagine"), labels={"client": ("acme",)}, options={"loop": ("true",)}).holds(facts)
    assert not When(providers=("acedata",)).holds(facts)
    assert not When(labels={"client": ("other",)}).holds(facts)


@given(st.lists(st.integers(1, 9), unique=True, max_size=9), st.integers(1, 5), st.text(max_size=5))
def test_a_random_pick_is_the_same_for_the_same_seed(available: list[int], count: int, seed: str) -> None:
    pick = Pick(chooser=Chooser.RANDOM, count=count)
    picked = pick.of(available, seed)
    assert picked == pick.of(available, seed)
    assert len(picked) == min(count, len(available))
    assert set(picked) <= set(available)


@settings(max_examples=examples(400))
@given(text=st.text(alphabet="name: r\nsteps-id{}[],doupicktwhafr0123\"'&*!|>%", max_size=120))
def test_any_file_is_a_recipe_or_refused_in_one_sentence(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = written(tmp_path_factory.mktemp("any"), text)
    try:
        recipe = load_recipe(path)
    except ConfigurationError as error:
        said = str(error)
        assert said.startswith(str(path)) or "DARKROOM_RECIPES" in said
        return
    assert from_document(json.loads(json.dumps(to_document(recipe)))) == recipe


def test_a_kept_recipe_is_the_recipe() -> None:
    recipe = load_recipe(SHOP)
    again: Recipe = from_document(json.loads(json.dumps(to_document(recipe))))
    assert again == recipe
    assert again.sha256 == recipe.sha256


def test_the_schema_takes_what_the_program_takes(tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    check = jsonschema.Draft202012Validator(SCHEMA)
    check.validate(yaml.safe_load(SHOP.read_text(encoding="utf-8")))
    for text in (f"{STEP}    afer: archived\n", f"{STEP}    pick: some\n", "name: r\nsteps: []\n"):
        assert not check.is_valid(yaml.safe_load(text)), text
        with pytest.raises(ConfigurationError):
            load_recipe(written(tmp_path, text))
