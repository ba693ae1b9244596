"""What is kept no longer goes, by the task and by hand; what people ask for afterwards says so."""

import json
from pathlib import Path

import pytest

from tasks.deciding import pick, reject
from tests.pipeline import Pipeline, Start
from tests.tasks.cli.conftest import Darkroom
from tests.tasks.test_recipes import SHOP, asked, recipe, steps, submit
from worker.generation import State


def grown_old(start: Start, **settings: str) -> tuple[Pipeline, str]:
    """One that was archived 40 days ago."""
    pipeline = start(**settings)
    (generation_id,) = pipeline.submit("a lighthouse")
    pipeline.until_settled()
    pipeline.clock.advance(days=40)
    return pipeline, generation_id


def what_is_left(pipeline: Pipeline, generation_id: str) -> list[bool]:
    """Callbacks, events, and the link."""
    story = pipeline.story(generation_id)
    return [bool(story.callbacks), bool(story.events), any(asset.url for asset in story.assets)]


def test_the_task_deletes_what_is_old_and_keeps_the_result(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, generation_id = grown_old(start)
    # Its newest callback and its newest event stay until others come.
    pipeline.submit("a fox")
    pipeline.until_settled()
    before, objects = pipeline.get(generation_id), pipeline.objects()
    # A slice is over at once: another task goes on.
    monkeypatch.setattr("tasks.prune.SLICE", 0.0)
    pipeline.step("prune")
    # A callback that the provider sends again may ring meanwhile.
    assert "prune" in pipeline.bells
    monkeypatch.setattr("tasks.prune.SLICE", 10.0)
    pipeline.answer_bells()
    assert what_is_left(pipeline, generation_id) == [False, False, False]
    assert (pipeline.get(generation_id), pipeline.objects()) == (before, objects)
    assert pipeline.path(generation_id)[-1] is State.ARCHIVED
    pipeline.until_settled()


def test_a_decision_that_is_open_stays_and_can_be_made_however_old_its_generation_is(
    start: Start, tmp_path: Path
) -> None:
    pipeline = start()
    text = "name: slow\nsteps: [{id: best, pick: person, timeout: 60d, otherwise: none, do: upscale}]"
    open_one, decided = submit(pipeline, recipe(tmp_path, text, "slow"), "a teapot", "a cup")
    pipeline.until(lambda: len(pipeline.ledger.approvals.pending(9)) == 2)
    reject(pipeline.here, asked(pipeline, decided), by="ada")
    pipeline.until_settled()
    pipeline.clock.advance(days=40)
    submit(pipeline, recipe(tmp_path, SHOP), "a fox")
    pipeline.until_settled()
    pipeline.step("prune")
    assert what_is_left(pipeline, open_one) == [False, False, False]
    assert asked(pipeline, decided).decided_by == "ada", "who decided belongs to the books"
    assert pick(pipeline.here, asked(pipeline, open_one), [2], by="ada").created == 1
    pipeline.bells.append("dispatch")
    pipeline.until_settled()
    assert steps(pipeline, open_one) == [("best", "upscale2", State.ARCHIVED)]
    assert steps(pipeline, decided) == [], "nobody is asked once more"


def test_nothing_goes_where_everything_is_kept(start: Start, tmp_path: Path) -> None:
    pipeline, generation_id = grown_old(start, DARKROOM_KEEP_DAYS="0")
    pipeline.step("prune")
    assert what_is_left(pipeline, generation_id) == [True, True, True]
    result = Darkroom(tmp_path)("prune")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "DARKROOM_KEEP_DAYS is 0, so everything is kept" in result.stderr


def test_a_dry_run_says_what_goes_and_deletes_nothing(start: Start, tmp_path: Path) -> None:
    pipeline, generation_id = grown_old(start)
    # A command has no clock but the ledger's own.
    with pipeline.ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE events SET at = '2026-01-01 12:00:00.000000'")
    command = Darkroom(tmp_path)
    told = json.loads(command("prune", "--dry-run", "--json").stdout)
    assert what_is_left(pipeline, generation_id) == [True, True, True]
    done = json.loads(command("prune", "--json").stdout)
    assert (told["dry_run"], done["dry_run"], told["rows"]) == (True, False, done["rows"])
    assert done["rows"]["events"] == 3
    assert json.loads(command("prune", "--json").stdout)["rows"] == dict.fromkeys(done["rows"], 0)


def test_show_says_what_was_pruned_and_watch_waits_for_nothing(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    # The follow-up is refused, which only an event tells.
    (generation_id,) = pipeline.submit("a lighthouse", follow_up=("variation9",))
    pipeline.until_settled()
    pipeline.clock.advance(days=40)
    pipeline.submit("a fox")
    pipeline.until_settled()
    command = Darkroom(tmp_path)
    assert "from before" not in command("show", generation_id).stdout
    pipeline.step("prune")
    assert "callbacks from before" in command("show", generation_id).stdout
    document = json.loads(command("show", "--json", generation_id).stdout)
    assert document["pruned_before"].keys() == {"callbacks", "events"}
    assert command("watch", "--json", generation_id).exit_code == 0


def test_the_size_of_the_ledger_is_told_by_table(start: Start, tmp_path: Path) -> None:
    pipeline, _ = grown_old(start)
    command = Darkroom(tmp_path)
    document = json.loads(command("db", "size", "--json").stdout)
    assert document["tables"]["generations"]["rows"] == len(pipeline.all())
    assert sum(table["bytes"] for table in document["tables"].values()) <= document["bytes"]
    lines = command("db", "size").stdout.splitlines()
    assert len(lines) == len(document["tables"])
