"""Refused bytes are kept for a look, and archived as they are once a person has accepted them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tasks.cli import cli
from tests.pipeline import Pipeline, Start, starting
from tests.s3 import Server
from tests.tasks.test_hostile_links import PNG
from tests.tasks.test_not_given_up import asset_of, go_on, succeeded
from tests.worker.downloads.test_download import ok, serving
from worker.generation import State

SPOILED = PNG[:-20] + b"x" * 20


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, rclone: Server, tmp_path: Path) -> Iterator[Start]:
    with starting(monkeypatch, sqlite_url, rclone, tmp_path) as start:
        yield start


def accept(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["accept", *arguments], prog_name="darkroom")


def refused(pipeline: Pipeline) -> str:
    """A generation whose bytes were refused until they were kept aside."""
    with serving(ok(SPOILED, "Content-Type: image/png")) as server:
        generation_id = succeeded(pipeline, f"http://127.0.0.1:{server.port}/a.png")
        for _ in range(6):
            go_on(pipeline, minutes=5)
    return generation_id


def test_after_a_look_they_are_archived_as_they_are(start: Start) -> None:
    pipeline = start()
    generation_id = refused(pipeline)
    asset = asset_of(pipeline, generation_id)
    assert f"`darkroom accept {generation_id}/0` archives it" in str(asset.error)

    look = accept(f"asset:{generation_id}/0")
    assert "bytes, image/png" in look.stdout
    assert "refused: " in look.stdout
    assert "repeat the command with --yes" in look.stderr
    assert asset_of(pipeline, generation_id) == asset
    (told,) = map(json.loads, accept(generation_id, "--yes", "--json").stdout.splitlines())
    assert (told["done"], told["bytes"]) == (True, len(SPOILED))
    assert accept(generation_id, "--yes").exit_code == 0
    # A worker that begins anew finds it in the ledger.
    go_on(pipeline, hours=2)

    assert pipeline.get(generation_id).state is State.ARCHIVED, asset_of(pipeline, generation_id)
    objects = {key.rpartition("/")[2]: content for key, content in pipeline.objects().items()}
    assert objects.keys() == {"0.png", "generation.json"}
    assert objects["0.png"] == SPOILED
    (described,) = json.loads(objects["generation.json"])["assets"]
    assert described["accepted"]["refused"] in str(asset.error)
    assert described["accepted"]["by"]
    assert accept(generation_id, "--yes").exit_code == 1
    again = accept(generation_id)
    assert (again.exit_code, "--yes" in again.stderr) == (1, False), "there is nothing left to accept"


def test_what_was_given_up_can_still_be_accepted(start: Start) -> None:
    pipeline = start()
    generation_id = refused(pipeline)
    go_on(pipeline, days=16)
    # The server is gone by now.
    assert (pipeline.get(generation_id).state, pipeline.get(generation_id).reason) == (State.EXPIRED, "unreachable")
    assert accept(f"{generation_id}/0", "--yes").exit_code == 0
    go_on(pipeline)
    assert pipeline.get(generation_id).state is State.ARCHIVED, asset_of(pipeline, generation_id)


def test_when_there_is_no_more_room_nothing_is_kept_and_it_is_said(start: Start) -> None:
    pipeline = start(DARKROOM_REJECTED_GB="0")
    generation_id = refused(pipeline)
    asset = asset_of(pipeline, generation_id)
    assert "the file is not kept: 0 GB of refused files are already kept (DARKROOM_REJECTED_GB)" in str(asset.error)
    assert pipeline.objects() == {}
    assert accept(generation_id, "--yes").exit_code == 1


def test_bytes_that_are_right_after_all_need_no_acceptance(start: Start) -> None:
    pipeline = start()
    generation_id = refused(pipeline)
    with serving(ok(PNG)) as server:
        with pipeline.ledger.database.write() as connection:
            connection.exec_driver_sql(f"UPDATE assets SET url = 'http://127.0.0.1:{server.port}/a.png'")
        go_on(pipeline, hours=6)
    assert pipeline.get(generation_id).state is State.ARCHIVED, asset_of(pipeline, generation_id)
    assert asset_of(pipeline, generation_id).refused is None
    assert {key.rpartition("/")[2] for key in pipeline.objects()} == {"0.png", "generation.json"}


def test_other_bytes_than_those_that_were_looked_at_are_not_archived(start: Start) -> None:
    pipeline = start()
    generation_id = refused(pipeline)
    ((key, _),) = pipeline.objects().items()
    (pipeline.bucket / key).write_bytes(b"something else")
    accept(generation_id, "--yes")
    go_on(pipeline)
    assert pipeline.get(generation_id).state is State.SUCCEEDED
    assert asset_of(pipeline, generation_id).reason == "no_answer"


@pytest.mark.parametrize("wrong", ["picture.png", "gen_1/x", "asset:"])
def test_what_is_no_asset_is_a_sentence(start: Start, wrong: str) -> None:
    start()
    result = accept(wrong)
    assert result.exit_code == 1
    assert "there is no generation" in result.stderr
