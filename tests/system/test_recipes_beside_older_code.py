"""Workers of the code before recipes beside new ones: they neither drop what a recipe says nor make it twice."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.earlier_code import files_of
from tests.next_version import need
from tests.pipeline import Pipeline
from tests.s3 import Server
from tests.three_levels import completions, decide_all, ends_well, running_with_prices, submitted, three_levels, tree
from worker.generation import State
from worker.ledger.database import REVISION
from worker.recipes import Recipe

pytestmark = pytest.mark.system

#: the last commit whose code knows no recipes
BEFORE_RECIPES = "cf97d122434eea46e3bef1ce3a1a58861d74f3b8"
#: all that its worker does, twice
WORKER = """
import sys
import worker
assert worker.__file__.startswith(sys.argv[1]), worker.__file__
import worker.wakeup
worker.wakeup.send = lambda *_: None
from worker.celery import app
from worker.errors import VersionTooOld
app.loader.import_default_modules()
for task in ("reconcile", "dispatch", "submit", "ingest", "poll", "archive", "follow_up", "manifest") * 2:
    try:
        app.tasks[task]()
    except VersionTooOld:
        pass
    except ValueError as error:
        # It would archive nothing any more: this is why it must begin nothing.
        assert "'split'" in str(error), error
"""


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files_of(BEFORE_RECIPES, tmp_path_factory.mktemp("older"))


@pytest.fixture(params=["sqlite", "postgresql"])
def pipeline(request: pytest.FixtureRequest, rclone: Server, tmp_path: Path) -> Iterator[Pipeline]:
    with running_with_prices(request, rclone, tmp_path, "beside") as running:
        yield running


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return three_levels(tmp_path)


def work(older: Path) -> None:
    """Let a worker of the older code do all it may."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER, older],
        cwd=older,
        env={**os.environ, "PYTHONPATH": str(older)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_after_the_upgrade_it_begins_nothing(pipeline: Pipeline, recipe: Recipe, older: Path) -> None:
    root = submitted(pipeline, recipe)
    for task in ("ingest", "archive", "follow_up", "archive"):
        before = states(pipeline, root)
        work(older)
        assert states(pipeline, root) == before
        pipeline.step(task)
        assert states(pipeline, root) != before
    decide_all()
    ends_well(pipeline, root)
    assert len(completions(pipeline, root)) == 1


def test_what_it_does_in_its_last_second_is_put_right(pipeline: Pipeline, recipe: Recipe, older: Path) -> None:
    """It asks once a second whether it is too old."""
    root = submitted(pipeline, recipe)
    for task in ("ingest", "archive", "follow_up"):
        in_its_last_second(pipeline, older)
        pipeline.step(task)
    in_its_last_second(pipeline, older)
    assert [approval.state for approval in pipeline.ledger.approvals.of_generation(root)] == ["asked"]
    decide_all()
    for task in ("dispatch", "submit", "archive", "follow_up"):
        in_its_last_second(pipeline, older)
        pipeline.step(task)
    ends_well(pipeline, root)


def in_its_last_second(pipeline: Pipeline, older: Path) -> None:
    need(pipeline.ledger, "0024")
    work(older)
    need(pipeline.ledger, REVISION)


def states(pipeline: Pipeline, root: str) -> list[tuple[str, State]]:
    return sorted((one.id, one.state) for one in tree(pipeline, root))
