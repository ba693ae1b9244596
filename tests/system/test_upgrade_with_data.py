"""An older version leaves work in every state; both versions then go on side by side, and nothing is paid for twice."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tasks.usecases.rehearsal import RehearsalRequest, RehearsalTold, rehearse
from tests import s3
from tests.commands import darkroom
from tests.earlier_code import files_of
from tests.pipeline import Pipeline, running_pipeline
from tests.postgres import Postgres
from webhook import sandbox
from worker.generation import State, ThumbnailState
from worker.ledger import Ledger
from worker.ledger.database import REVISION
from worker.settings import load_settings

pytestmark = pytest.mark.system

#: the last commit of revision 0035: it knows no thumbnails, and may go on working beside this version
OLDER = "82b9b924c3e258931a7fe11a5125699fc649efad"
WORKER = """
import sys
import worker
assert worker.__file__.startswith(sys.argv[1]), worker.__file__
import worker.wakeup
worker.wakeup.send = lambda *_: None
from worker.celery import app
app.loader.import_default_modules()
for task in sys.argv[2:]:
    app.tasks[task]()
"""
ROUND = ("reconcile", "dispatch", "submit", "ingest", "poll", "archive", "follow_up", "manifest")


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files_of(OLDER, tmp_path_factory.mktemp("older"))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    server.create("upgraded")
    yield server.url("upgraded")
    server.drop("upgraded")


def run_older(older: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=older,
        env={**os.environ, "PYTHONPATH": str(older)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def work(older: Path, *tasks: str) -> None:
    run_older(older, "-c", WORKER, str(older), *tasks)


def command(older: Path, *arguments: str) -> None:
    run_older(older, "-c", "import sys; from tasks.cli import main; sys.exit(main())", *arguments)


def revision(url: str) -> str:
    ledger = Ledger(url)
    try:
        with ledger.database.read() as connection:
            return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
    finally:
        ledger.close()


def states(pipeline: Pipeline) -> Counter[State]:
    return Counter(one.state for one in pipeline.all())


def test_what_the_older_version_has_in_every_state_ends_well(
    url: str, older: Path, rclone: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_THUMBNAILS", "true")
    with (
        sandbox.running(delay=0.2, size=64) as provider,
        running_pipeline(
            monkeypatch, database_url=url, sandbox=provider, server=rclone, folder=tmp_path, callbacks=False
        ) as pipeline,
    ):
        command(older, "db", "upgrade")
        assert revision(url) == "0035"

        # Archived, and so without a thumbnail; submitted without an outcome; queued.
        command(older, "submit", "a red fox", "--provider", "acedata", "--follow-up", "upscale1")
        work(older, *ROUND, *ROUND)
        command(older, "submit", "a blue owl", "--provider", "acedata")
        command(older, "submit", "a lost hare sandbox:drop", "--provider", "acedata")
        work(older, "dispatch", "submit")
        command(older, "submit", "a green frog", "--provider", "acedata")
        rehearsal = rehearse(load_settings(), RehearsalRequest(), RehearsalTold())
        assert (rehearsal.problems, rehearsal.before, rehearsal.after) == ((), "0035", REVISION)
        assert revision(url) == "0035"

        assert darkroom("db", "upgrade").exit_code == 0
        before = states(pipeline)
        assert before[State.QUEUED] >= 1
        assert before[State.SUBMITTED] + before[State.UNCONFIRMED] + before[State.SUBMITTING] >= 2

        # Side by side: first one of the two works, then the other one.
        command(older, "submit", "of the older one", "--provider", "acedata")
        assert darkroom("submit", "of the newer one", "--provider", "acedata").exit_code == 0

        def both() -> bool:
            work(older, *ROUND)
            pipeline.clock.advance(seconds=5)
            pipeline.bells.extend(ROUND[1:])
            pipeline.answer_bells()
            return set(states(pipeline)) == {State.ARCHIVED}

        pipeline.until(both, seconds=120)
        prompts = Counter(one.prompt for one in pipeline.all())
        assert prompts == {
            "a red fox": 2,
            "a blue owl": 1,
            "a lost hare sandbox:drop": 1,
            "a green frog": 1,
            "of the older one": 1,
            "of the newer one": 1,
        }
        assert pipeline.charges() == prompts.total()
        made = [asset.thumbnail for one in pipeline.all() for asset in pipeline.assets(one.id)]
        # What the older version archived has none until somebody looks at it.
        assert {one.state if one else None for one in made} <= {None, ThumbnailState.MADE, ThumbnailState.WANTED}
        assert darkroom("verify").exit_code == 0
