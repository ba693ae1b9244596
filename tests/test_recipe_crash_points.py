"""A worker or a person's process dies at each step of a recipe of three levels: all of it is made once, and no more."""

from collections.abc import Callable, Iterator

import pytest

from tests.crash_steps import DECIDE, MORE, RECIPE, SPLIT, TIMEOUT
from tests.crashing import CRASHED, crash, recover
from tests.patience import wait_for
from tests.pipeline import Pipeline
from tests.s3 import Server
from tests.three_levels import archived, completions, decide_all, ends_well, running_with_prices, three_levels, tree
from worker.recipes import After, Recipe


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def pipeline(
    request: pytest.FixtureRequest, rclone: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """One for all crashes: what one of them leaves behind is nothing that the next one meets."""
    with running_with_prices(request, rclone, tmp_path_factory.mktemp("recipes"), "recipes") as running:
        yield running


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return three_levels(tmp_path_factory.mktemp("levels"))


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
    assert len(completions(pipeline, root)) == 1


@pytest.mark.system
@pytest.mark.parametrize("step", SPLIT)
def test_the_split_dies(pipeline: Pipeline, recipe: Recipe, step: str) -> None:
    root = archived(pipeline, recipe)
    pipeline.step("follow_up")
    assert crash(pipeline, "archive", SPLIT[step]) == CRASHED
    decide_all()
    ends_well(pipeline, root)
    assert len(completions(pipeline, root)) == 1


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
    assert len(completions(pipeline, root)) == 1


@pytest.mark.system
@pytest.mark.parametrize("step", TIMEOUT)
def test_the_end_of_the_time_dies(pipeline: Pipeline, recipe: Recipe, step: str) -> None:
    root = archived(pipeline, recipe)
    pipeline.step("follow_up")
    pipeline.clock.advance(hours=2)
    assert crash(pipeline, "follow_up", TIMEOUT[step]) == CRASHED
    ends_well(pipeline, root)
    assert len(completions(pipeline, root)) == 1


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
    assert len(completions(pipeline, root)) == 1


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
