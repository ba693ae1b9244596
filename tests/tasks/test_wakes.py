"""One wake-up of a step waits at most, so a step whose work is not done sends the next one."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.ingest import BATCH
from tests.pipeline import Pipeline, running_pipeline
from tests.s3 import Server
from webhook import sandbox
from worker.generation import State


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, rclone: Server, tmp_path: Path) -> Iterator[Pipeline]:
    with ExitStack() as stack:
        provider = stack.enter_context(sandbox.running(delay=0.01, size=32))
        yield stack.enter_context(
            running_pipeline(monkeypatch, database_url=sqlite_url, sandbox=provider, server=rclone, folder=tmp_path)
        )


def claim_one(patch: pytest.MonkeyPatch, verbs: object) -> None:
    """As if the drain's time were over after its first claim."""
    claim, turns = type(verbs).claim, iter([1])  # type: ignore[attr-defined]

    def first(self: object, _limit: int, lease: timedelta, *which: Any, **how: Any) -> Any:
        return claim(self, 1, lease, *which, **how) if next(turns, None) else []

    patch.setattr(type(verbs), "claim", first)


def test_a_step_that_ends_with_work_left_wakes_itself(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    made = pipeline.submit("one", "two", "three")
    pipeline.step("dispatch")
    for step, verbs, done in (
        ("submit", pipeline.ledger.submissions, State.SUBMITTED),
        ("archive", pipeline.ledger.assets, State.ARCHIVED),
    ):
        with monkeypatch.context() as patch:
            claim_one(patch, verbs)
            pipeline.bells.clear()
            pipeline.step(step)
        assert step in pipeline.bells
        pipeline.bells.clear()
        pipeline.step(step)
        assert step not in pipeline.bells
        assert {pipeline.get(one).state for one in made} == {done}
        for one in made:
            pipeline.until_called_back(one)
        pipeline.step("ingest")


def test_callbacks_that_come_during_the_last_group_are_left_to_their_own_wake_up(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pipeline.submit("one", "two")
    pipeline.step("dispatch")
    pipeline.step("submit")
    for one in made:
        pipeline.until_called_back(one)
    kind = type(pipeline.ledger.callbacks)
    claim, claims = kind.claim, list[int]()

    def counted(self: Any, limit: int, lease: timedelta) -> Any:
        found = claim(self, limit, lease)
        claims.append(len(found))
        return found

    monkeypatch.setattr(kind, "claim", counted)
    pipeline.step("ingest")
    assert claims == [2]
    assert len(made) < BATCH
