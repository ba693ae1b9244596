"""Recipes in the whole flow: each step once, within its limits, whatever happened to what it follows."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from tasks.deciding import pick, reject
from tests.pipeline import Pipeline, Start
from worker.errors import RequestInvalid
from worker.generation import GenerationRequest, Operation, State
from worker.ledger.approvals import Approval, ApprovalState
from worker.ledger.generations import NewGeneration
from worker.ledger.schema import generations
from worker.recipes import Recipe, load_recipe

PRICES = "currency: USD\nprices: [{provider: acedata, price: 0.05}]\n"
SHOP = (Path(__file__).parents[2] / "deploy" / "examples" / "recipes" / "shop.yaml").read_text(encoding="utf-8")


def recipe(folder: Path, text: str, name: str = "shop") -> Recipe:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return load_recipe(path)


def submit(pipeline: Pipeline, wanted: Recipe, *prompts: str) -> list[str]:
    made = pipeline.ledger.generations.create(
        [
            NewGeneration(
                provider="acedata",
                request=GenerationRequest(operation=Operation.IMAGINE, prompt=prompt),
                recipe=wanted,
            )
            for prompt in prompts
        ]
    )
    pipeline.bells.append("dispatch")
    return [one.id for one in made]


def asked(pipeline: Pipeline, generation_id: str) -> Approval:
    (found,) = pipeline.ledger.approvals.of_generation(generation_id)
    return found


def steps(pipeline: Pipeline, parent: str) -> list[tuple[str | None, str | None, State]]:
    children = sorted(pipeline.story(parent).children, key=lambda one: one.id)
    found = pipeline.ledger.generations.get([one.id for one in children])
    return sorted((one.step, one.action, one.state) for one in found)


def test_a_recipe_is_followed_to_its_end_with_a_person_who_picks(start: Start, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    pipeline = start(DARKROOM_PRICES=str(tmp_path / "prices.yaml"))
    (parent,) = submit(pipeline, recipe(tmp_path, SHOP), "a teapot")
    pipeline.until_settled()
    assert steps(pipeline, parent) == [("cut", "split", State.ARCHIVED)]
    approval = asked(pipeline, parent)
    assert (approval.state, list(approval.images)) == (ApprovalState.ASKED, [1, 2, 3, 4])
    decided = pick(pipeline.here, approval, [2, 4], by="ada")
    assert (decided.is_new, decided.created) == (True, 2)
    pipeline.until_settled()
    assert steps(pipeline, parent)[:2] == [
        ("best", "upscale2", State.ARCHIVED),
        ("best", "upscale4", State.ARCHIVED),
    ]
    upscaled = [one.id for one in pipeline.all() if one.step == "best"]
    for one in upscaled:
        assert steps(pipeline, one) == [("film", None, State.ARCHIVED)]
    assert pipeline.charges() == 1 + 2 + 2
    folder = "/".join(str(pipeline.assets(parent)[0].object_key).split("/")[:-1])
    keys = {key.removeprefix(f"{folder}/") for key in pipeline.objects() if not key.endswith(".json")}
    assert {"cut/0.png", "best-2/0.png", "best-4/0.png"} <= keys
    assert any(key.startswith("best-2/film/0.") for key in keys)


def test_the_same_decision_again_changes_nothing_and_another_comes_too_late(start: Start, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    pipeline = start(DARKROOM_PRICES=str(tmp_path / "prices.yaml"))
    (parent,) = submit(pipeline, recipe(tmp_path, SHOP), "a teapot")
    pipeline.until_settled()
    approval = asked(pipeline, parent)
    with pytest.raises(RequestInvalid, match="there is no image 7; the images are 1, 2, 3, 4"):
        pick(pipeline.here, approval, [7], by="ada")
    first = pick(pipeline.here, approval, [2], by="ada")
    second = reject(pipeline.here, approval, by="bob")
    assert (first.is_new, second.is_new) == (True, False)
    assert (second.approval.decided_by, list(second.approval.picked or ())) == ("ada", [2])


def test_nobody_decides_and_the_step_does_what_it_does_otherwise(start: Start, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    pipeline = start(DARKROOM_PRICES=str(tmp_path / "prices.yaml"))
    none = recipe(tmp_path, SHOP)
    first = recipe(tmp_path, SHOP.replace("otherwise: none", "otherwise: first"))
    (left,), (other,) = submit(pipeline, none, "a teapot"), submit(pipeline, first, "a cup")
    pipeline.until_settled()
    pipeline.clock.advance(days=4)
    pipeline.bells.append("follow_up")
    pipeline.until_settled()
    assert asked(pipeline, left).state is ApprovalState.EXPIRED
    assert (asked(pipeline, other).state, asked(pipeline, other).decided_by) == (ApprovalState.DECIDED, "timeout")
    assert [step for step, *_ in steps(pipeline, left)] == ["cut"]
    assert [step for step, *_ in steps(pipeline, other)] == ["best", "cut"]


def test_a_failure_is_followed_by_what_the_recipe_says(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    wanted = recipe(
        tmp_path, "name: again\nsteps: [{id: fallback, after: failed, do: imagine, prompt: a plain teapot}]", "again"
    )
    failing, cancelled = submit(pipeline, wanted, "a forbidden teapot sandbox:fail", "a teapot")
    pipeline.ledger.generations.cancel([cancelled])
    pipeline.until_settled()
    assert steps(pipeline, failing) == [("fallback", None, State.ARCHIVED)]
    assert steps(pipeline, cancelled) == [], "what a person cancels has not failed"


def test_fan_out_and_cost_are_limits(start: Start, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    pipeline = start(DARKROOM_PRICES=str(tmp_path / "prices.yaml"))
    wide = recipe(tmp_path, "name: wide\nsteps: [{id: all, do: variation}]\nmax_fan_out: 3", "wide")
    dear = recipe(tmp_path, "name: dear\nsteps: [{id: all, do: variation, max_cost: 0.12}]", "dear")
    (one,), (other,) = submit(pipeline, wide, "a teapot"), submit(pipeline, dear, "a cup")
    pipeline.until_settled()
    assert [action for _, action, _ in steps(pipeline, one)] == ["variation1", "variation2", "variation3"]
    assert [action for _, action, _ in steps(pipeline, other)] == ["variation1", "variation2"]
    reasons = [event.payload["reason"] for event in pipeline.story(other).events if event.type == "follow_up.refused"]
    assert reasons == ["step all: 2 more would exceed its max_cost of 0.12"]
    reasons = [event.payload["reason"] for event in pipeline.story(one).events if event.type == "follow_up.refused"]
    assert reasons == ["all would be more than the 3 follow-ups allowed"]


def test_a_follow_up_that_failed_was_not_paid_for_and_makes_no_room_for_another(start: Start, tmp_path: Path) -> None:
    """Whatever is planned once more, by a person or after a crash, is what was planned before."""
    (tmp_path / "prices.yaml").write_text(PRICES)
    pipeline = start(DARKROOM_PRICES=str(tmp_path / "prices.yaml"))
    text = 'name: dear\nsteps: [{id: sketch, do: imagine, prompt: "a sketch sandbox:fail", max_cost: 0.05}]'
    (parent,) = submit(pipeline, recipe(tmp_path, text, "dear"), "a cup")
    pipeline.until_settled()
    (child,) = pipeline.story(parent).children
    assert child.state is State.FAILED
    pipeline.ledger.generations.retry([child.id])
    give_up(pipeline, parent)
    assert pipeline.ledger.generations.retry_follow_ups(parent)
    pipeline.bells += ["dispatch", "follow_up"]
    pipeline.until_settled()
    assert [one.id for one in pipeline.story(parent).children] == [child.id]
    assert (pipeline.get(child.id).state, len(pipeline.story(child.id).attempts)) == (State.FAILED, 2)
    spent = [pipeline.ledger.generations.spent(generation_ids=[one]) for one in (parent, child.id)]
    assert spent == [50_000, 0]


def give_up(pipeline: Pipeline, parent: str) -> None:
    """As if its follow-ups could not be created."""
    with pipeline.ledger.database.write() as connection:
        connection.execute(update(generations).where(generations.c.id == parent).values(follow_up_error="no"))


def test_a_generation_keeps_the_recipe_that_it_started_with(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    wanted = recipe(tmp_path, "name: shop\nsteps: [{id: cut, do: split}]")
    (parent,) = submit(pipeline, wanted, "a teapot")
    (tmp_path / "shop.yaml").write_text("name: shop\nsteps: [{id: more, do: upscale}]")
    pipeline.until_settled()
    assert steps(pipeline, parent) == [("cut", "split", State.ARCHIVED)]
    assert pipeline.ledger.generations.recipe(wanted.sha256) == wanted
    assert wanted.steps[0].timeout is None
    assert timedelta(days=3) == recipe(tmp_path, SHOP).steps[1].timeout
