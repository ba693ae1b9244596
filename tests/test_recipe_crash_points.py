"""A worker or a person's process dies at each step of a recipe of three levels: all of it is made once, and no more."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tasks.deciding import pick
from tests.crash_steps import DECIDE, MORE, RECIPE, SPLIT, TIMEOUT
from tests.crashing import CRASHED, crash, migrated_ledger, recover
from tests.patience import wait_for
from tests.pipeline import Pipeline, running_pipeline
from tests.s3 import Server
from webhook import sandbox
from worker.generation import Generation, GenerationRequest, Operation, State
from worker.ledger.approvals import ApprovalState
from worker.ledger.generations import NewGeneration
from worker.recipes import After, Recipe, load_recipe
from worker.services import services

PRICES = "currency: USD\nprices: [{provider: acedata, price: 0.05}]\n"
#: of the four upscales, the cost allows two
THREE_LEVELS = """
name: levels
steps:
  - {id: cut, when: {operation: imagine}, do: split}
  - id: best
    when: {operation: imagine, assets: 1, label: {shop: acme}, option: {aspect_ratio: "1:1"}}
    pick: person
    timeout: 1h
    otherwise: all
    do: upscale
    max_cost: 0.10
    then:
      - {id: sketch, after: succeeded, do: imagine, prompt: a sketch}
      - id: film
        do: video
        prompt: "a film sandbox:fail"
        then: [{id: again, after: failed, do: video, prompt: a film}]
max_fan_out: 4
"""
ALL = Counter(
    {
        (None, None, State.ARCHIVED): 1,
        ("cut", "split", State.ARCHIVED): 1,
        ("best", "upscale1", State.ARCHIVED): 1,
        ("best", "upscale2", State.ARCHIVED): 1,
        ("sketch", None, State.ARCHIVED): 2,
        ("film", None, State.FAILED): 2,
        ("again", None, State.ARCHIVED): 2,
    }
)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def pipeline(
    request: pytest.FixtureRequest, rclone: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """One for all crashes: what one of them leaves behind is nothing that the next one meets."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "prices.yaml").write_text(PRICES)
    with (
        migrated_ledger(request, folder, "recipes") as url,
        pytest.MonkeyPatch.context() as patch,
        sandbox.running(delay=0.02, size=32) as provider,
    ):
        patch.setenv("DARKROOM_PRICES", str(folder / "prices.yaml"))
        with running_pipeline(patch, database_url=url, sandbox=provider, server=rclone, folder=folder) as running:
            yield running


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("levels") / "levels.yaml"
    path.write_text(THREE_LEVELS)
    return load_recipe(path)


@pytest.mark.parametrize(
    "step", [name if name == "somebody asked and nothing told" else pytest.param(name, marks=pytest.mark.system)
             for name in RECIPE]
)  # fmt: skip
def test_the_first_level_dies(pipeline: Pipeline, recipe: Recipe, step: str) -> None:
    root = archived(pipeline, recipe)
    assert crash(pipeline, "follow_up", RECIPE[step]) == CRASHED
    recover(pipeline, lambda: bool(pipeline.ledger.approvals.of_generation(root)))
    decide_all()
    ends_well(pipeline, root)


@pytest.mark.system
@pytest.mark.parametrize("step", SPLIT)
def test_the_split_dies(pipeline: Pipeline, recipe: Recipe, step: str) -> None:
    root = archived(pipeline, recipe)
    pipeline.step("follow_up")
    assert crash(pipeline, "archive", SPLIT[step]) == CRASHED
    decide_all()
    ends_well(pipeline, root)


@pytest.mark.parametrize(
    "step", [name if name == "its children written" else pytest.param(name, marks=pytest.mark.system)
             for name in DECIDE]
)  # fmt: skip
def test_a_person_who_decides_dies_and_decides_again(pipeline: Pipeline, recipe: Recipe, step: str) -> None:
    root = archived(pipeline, recipe)
    pipeline.step("follow_up")
    assert crash(pipeline, decide_all, DECIDE[step]) == CRASHED
    decide_all()
    ends_well(pipeline, root)


@pytest.mark.system
@pytest.mark.parametrize("step", TIMEOUT)
def test_the_end_of_the_time_dies(pipeline: Pipeline, recipe: Recipe, step: str) -> None:
    root = archived(pipeline, recipe)
    pipeline.step("follow_up")
    pipeline.clock.advance(hours=2)
    assert crash(pipeline, "follow_up", TIMEOUT[step]) == CRASHED
    ends_well(pipeline, root)


@pytest.mark.system
@pytest.mark.parametrize("step", RECIPE | MORE)
@pytest.mark.parametrize("moment", After)
def test_the_levels_below_die(pipeline: Pipeline, recipe: Recipe, step: str, moment: After) -> None:
    """`failed` is the third level, the others are the second."""
    root = archived(pipeline, recipe)
    pipeline.step("follow_up")
    decide_all()

    def is_due() -> bool:
        mine = {one.id for one in tree(pipeline, root)} - {root}
        due = [one for one in pipeline.ledger.generations.due_steps(99) if one.generation.id in mine]
        return [one.moment for one in due].count(moment) == 2

    without_following(pipeline, is_due, first=moment is After.FAILED)
    assert crash(pipeline, "follow_up", (RECIPE | MORE)[step]) == CRASHED
    ends_well(pipeline, root)


def archived(pipeline: Pipeline, recipe: Recipe) -> str:
    request = GenerationRequest(operation=Operation.IMAGINE, prompt="a teapot", options={"aspect_ratio": "1:1"})
    wanted = NewGeneration(provider="acedata", request=request, recipe=recipe, labels={"shop": "acme"})
    (made,) = pipeline.ledger.generations.create([wanted])
    for task in ("dispatch", "submit"):
        pipeline.step(task)
    pipeline.until_called_back(made.id)
    for task in ("ingest", "archive"):
        pipeline.step(task)
    pipeline.bells.clear()
    return made.id


def without_following(pipeline: Pipeline, done: Callable[[], bool], *, first: bool) -> None:
    """Let everything go on, but nothing is followed; `first`: except both images, as soon as both can be."""

    def go_on() -> bool:
        for task in ("dispatch", "submit", "ingest", "archive"):
            pipeline.step(task)
        due = pipeline.ledger.generations.due_steps(99)
        images = [one for one in due if one.generation.step == "best" and one.moment is After.ARCHIVED]
        if first and len(images) == 2:
            pipeline.step("follow_up")
        pipeline.bells.clear()
        return done()

    assert wait_for(go_on, seconds=20)


def decide_all() -> None:
    """A person picks all of what waits."""
    here = services()
    for approval in here.ledger.approvals.pending(9):
        pick(here, approval, approval.images, by="ada")


def tree(pipeline: Pipeline, root: str) -> list[Generation]:
    found, parents = pipeline.ledger.generations.get([root]), [root]
    while parents:
        ids = [child.id for parent in parents for child in pipeline.story(parent).children]
        children = pipeline.ledger.generations.get(ids) if ids else []
        found += children
        parents = ids
    return found


def ends_well(pipeline: Pipeline, root: str) -> None:
    """Everything was made, once, and paid for once; each event was told; the limits hold."""

    def steps() -> Counter[tuple[str | None, str | None, State]]:
        return Counter((one.step, one.action, one.state) for one in tree(pipeline, root))

    recover(pipeline, lambda: steps() == ALL)
    pipeline.until_settled()
    made = tree(pipeline, root)
    assert steps() == ALL
    for one in made:
        told = [event.type for event in pipeline.story(one.id).events]
        assert told.count(f"generation.{one.state}") == 1
        assert charges(pipeline, one.id) == (0 if one.step == "cut" else 1)
    told = pipeline.story(root).events
    assert [event.type for event in told].count("generation.needs_approval") == 1
    refused = [event.payload["reason"] for event in told if event.type == "follow_up.refused"]
    assert refused == ["step best: 2 more would exceed its max_cost of 0.10"]
    (approval,) = pipeline.ledger.approvals.of_generation(root)
    assert (approval.state, list(approval.picked or ())) == (ApprovalState.DECIDED, [1, 2, 3, 4])
    (cut,) = (one for one in made if one.step == "cut")
    assert len({asset.object_key for asset in pipeline.assets(cut.id)}) == 4


def charges(pipeline: Pipeline, generation_id: str) -> int:
    attempts = {attempt.id for attempt in pipeline.story(generation_id).attempts}
    return sum(any(one in line["callback_url"] for one in attempts) for line in pipeline.sandbox.bill()["lines"])
