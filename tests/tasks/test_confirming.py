"""DARKROOM_CONFIRM: the links of a callback are believed only after the provider itself has said the same."""

from pathlib import Path

import pytest

from tests.pipeline import running_pipeline
from tests.s3 import Server
from webhook import sandbox
from worker.errors import QueryFailed
from worker.generation import State
from worker.ledger.outcome.callbacks import MAX_TRIES
from worker.providers.acedata import AceDataCloud


def test_with_confirmation_the_links_come_from_the_task_query(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, rclone: Server, tmp_path: Path
) -> None:
    monkeypatch.setenv("DARKROOM_CONFIRM", "unsigned")
    with (
        sandbox.running(delay=0.05, size=64) as provider,
        running_pipeline(
            monkeypatch, database_url=sqlite_url, sandbox=provider, server=rclone, folder=tmp_path
        ) as pipeline,
    ):
        (generation_id,) = pipeline.submit("a careful owl")
        pipeline.until_settled()

        assert pipeline.get(generation_id).state is State.ARCHIVED
        assert len(provider.log("query")) == 1


def test_a_provider_that_cannot_be_asked_for_long_costs_no_callback(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, rclone: Server, tmp_path: Path
) -> None:
    monkeypatch.setenv("DARKROOM_CONFIRM", "always")
    with (
        sandbox.running(delay=0.05, size=64) as provider,
        running_pipeline(
            monkeypatch, database_url=sqlite_url, sandbox=provider, server=rclone, folder=tmp_path
        ) as pipeline,
    ):
        with monkeypatch.context() as outage:

            def away(*_: object) -> None:
                raise QueryFailed("the provider is away", code="connection_refused")

            outage.setattr(AceDataCloud, "fetch", away)
            (generation_id,) = pipeline.submit("a patient owl")
            pipeline.until(lambda: bool(pipeline.story(generation_id).callbacks))
            for _ in range(MAX_TRIES + 2):
                pipeline.clock.advance(seconds=31)
                pipeline.step("ingest")
            assert pipeline.get(generation_id).state is State.SUBMITTED
        pipeline.clock.advance(seconds=31)
        pipeline.until_settled()

        assert pipeline.get(generation_id).state is State.ARCHIVED
