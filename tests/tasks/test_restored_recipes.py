"""A ledger is restored from before a recipe went on: nothing of it is paid for twice, and nothing of it is lost."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tasks.usecases.approval_links import approval_links
from tests.commands import darkroom
from tests.factories import new
from tests.pipeline import Pipeline, Start
from tests.tasks.test_recipes import recipe, submit
from tests.tasks.test_rescue import rescue
from tests.tasks.test_restore import backup, is_closed, restore
from tests.three_levels import decide_all, tree
from webhook.api.app import create_app
from worker.generation import State
from worker.ledger.approvals import ApprovalState
from worker.ledger.schema import approvals, generations

LEVELS = """
name: levels
steps:
  - {id: cut, do: split}
  - id: best
    pick: person
    timeout: 3d
    otherwise: none
    do: upscale
    then: [{id: wide, do: zoom_out_2x}, {id: film, do: video, prompt: a film}]
"""
Moment = Callable[[Pipeline], None]


def archived(pipeline: Pipeline) -> None:
    for task in ("dispatch", "submit"):
        pipeline.step(task)
    pipeline.until_called_back(pipeline.all()[0].id)
    for task in ("ingest", "archive"):
        pipeline.step(task)


def asked(pipeline: Pipeline) -> None:
    archived(pipeline)
    pipeline.step("follow_up")


def picked(pipeline: Pipeline) -> None:
    asked(pipeline)
    decide_all()


def made(pipeline: Pipeline, root: str) -> Counter[tuple[str | None, ...]]:
    found = tree(pipeline, root)
    assert {one.state for one in found} == {State.ARCHIVED}
    return Counter((one.step, one.action) for one in found)


def lost_since(pipeline: Pipeline, folder: Path, moment: Moment) -> tuple[str, Counter[tuple[str | None, ...]], int]:
    """Let a recipe end, and restore the ledger of this `moment`; its root, what came of it, and what was paid."""
    (root,) = submit(pipeline, recipe(folder, LEVELS, "levels"), "a teapot")
    moment(pipeline)
    copy = backup(folder)
    decided_and_settled(pipeline)
    before, charges = made(pipeline, root), pipeline.charges()
    lose_all_since(pipeline, copy, folder)
    return root, before, charges


@pytest.mark.parametrize("moment", [archived, asked, picked])
def test_what_a_recipe_made_after_the_backup_is_not_made_again(start: Start, tmp_path: Path, moment: Moment) -> None:
    pipeline = start()
    root, before, charges = lost_since(pipeline, tmp_path, moment)
    said = confirmed(pipeline)
    pipeline.bells.append("dispatch")
    pipeline.until_settled()
    assert made(pipeline, root) == before
    assert len(pipeline.all()) == before.total(), "nothing was imported as something else"
    assert pipeline.charges() == charges
    assert all("may be follow-ups that this ledger has yet to create" in sentence for sentence in said)
    assert said, "each level is found once its parents are there"


def test_rescue_imports_nothing_that_the_recipe_is_still_to_make(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    root, before, charges = lost_since(pipeline, tmp_path, archived)
    asked_for = [one.id for one in pipeline.all()]
    while is_closed(pipeline):
        left = rescue("acedata")
        assert not any(one["imported"] for one in left)
        assert all(one["message"].startswith("skipped: it was submitted from here; it ") for one in left)
        reconciled(pipeline)
        go_on(pipeline)
    pipeline.bells.append("dispatch")
    pipeline.until_settled()
    assert asked_for == [root]
    assert (made(pipeline, root), pipeline.charges()) == (before, charges)


def test_whoever_is_told_of_follow_ups_still_to_come_is_told_what_else_may_have_some(
    start: Start, tmp_path: Path
) -> None:
    pipeline = start()
    (root,) = submit(pipeline, recipe(tmp_path, "name: none\nsteps: [{id: cut, do: split}]", "none"), "a teapot")
    pipeline.bells.append("dispatch")
    pipeline.until_settled()
    (doubtful,) = pipeline.ledger.generations.create([new("a cup", follow_up=("upscale1",))])

    def doubtful_is(state: State) -> None:
        with pipeline.ledger.database.write() as connection:
            connection.execute(generations.update().where(generations.c.id == doubtful.id).values(state=state))

    doubtful_is(State.UNCONFIRMED)
    copy = backup(tmp_path)
    assert darkroom("submit", "--parent", root, "--action", "upscale1").exit_code == 0
    pipeline.bells.append("dispatch")
    pipeline.until(
        lambda: {State.ARCHIVED} == {one.state for one in pipeline.all() if one.action in {"split", "upscale1"}}
    )
    lose_all_since(pipeline, copy, tmp_path)
    said = reconciled(pipeline)
    assert "resolve what `darkroom unconfirmed` lists" in str(said)
    doubtful_is(State.FAILED)
    assert reconciled(pipeline) is None


def test_a_link_from_before_the_backup_decides_and_one_from_after_it_is_unknown(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    first, second = submit(pipeline, recipe(tmp_path, LEVELS, "levels"), "a teapot", "a cup")
    pipeline.until(lambda: pipeline.ledger.approvals.of_generation(first))
    pipeline.until(lambda: pipeline.get(second).state is State.ARCHIVED)
    pipeline.until(lambda: pipeline.ledger.approvals.of_generation(second))
    with pipeline.ledger.database.write() as connection:
        # As if the backup had been made before this one was asked for.
        (later,) = pipeline.ledger.approvals.of_generation(second)
        connection.execute(approvals.delete().where(approvals.c.id == later.id))
    copy = backup(tmp_path)
    (known,) = pipeline.ledger.approvals.of_generation(first)
    pages = create_app(pipeline.here).test_client()
    path, unknown = (urlsplit(approval_links(pipeline.here.settings)(one.id)).path for one in (known, later))
    assert pages.post(path, data={"decision": "approve", "pick": "2"}).status_code == 200
    assert state_of(pipeline, first) is ApprovalState.DECIDED
    lose_all_since(pipeline, copy, tmp_path)
    assert state_of(pipeline, first) is ApprovalState.ASKED
    assert pages.get(unknown).status_code == 404
    assert pages.get(path).status_code == 200
    assert pages.post(path, data={"decision": "approve", "pick": "2"}).status_code == 200
    assert state_of(pipeline, first) is ApprovalState.DECIDED
    assert len([child for child in pipeline.story(first).children if child.action == "upscale2"]) == 1


def state_of(pipeline: Pipeline, generation_id: str) -> ApprovalState:
    (approval,) = pipeline.ledger.approvals.of_generation(generation_id)
    return approval.state


def decided_and_settled(pipeline: Pipeline) -> None:
    pipeline.bells += ["dispatch", "follow_up"]
    pipeline.until_settled()
    decide_all()
    pipeline.bells.append("dispatch")
    pipeline.until_settled()


def lose_all_since(pipeline: Pipeline, copy: Path, tmp_path: Path) -> None:
    pipeline.clock.advance(seconds=31)
    pipeline.step("reconcile")
    restore(pipeline, copy, tmp_path)
    # Longer than clocks may differ: what is created now was created after what it is found to be.
    pipeline.clock.advance(minutes=6)
    pipeline.step("reconcile")
    assert is_closed(pipeline)


def confirmed(pipeline: Pipeline) -> list[str]:
    """What a person does who is told what is in the way, until submissions go on; what they were told."""
    told: list[str] = []
    while is_closed(pipeline):
        assert len(told) < 6
        found = reconciled(pipeline)
        if found is not None:
            told.append(found)
        go_on(pipeline)
    return told


def go_on(pipeline: Pipeline) -> None:
    """What workers do that submit nothing, and then a person once more."""
    pipeline.bells += ["archive", "follow_up"]
    pipeline.until(lambda: not {"archive", "follow_up", "ingest"} & set(pipeline.ledger.maintenance.due()))
    decide_all()


def reconciled(pipeline: Pipeline) -> str | None:
    result = darkroom("reconcile", "--confirm")
    assert result.exit_code == (1 if is_closed(pipeline) else 0), result.stdout + result.stderr
    return result.stderr if is_closed(pipeline) else None
