"""What one provider lacks, or does to us, is its own affair: the others are asked, and their callbacks are applied."""

import json
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
import urllib3

from tasks import poll
from tests.patience import patient
from tests.pipeline import Pipeline, starting
from tests.s3 import Server
from worker.errors import ConfigurationError, QueryFailed
from worker.generation import Outcome, State
from worker.ledger.outcome.callbacks import MAX_TRIES
from worker.providers import Provider
from worker.providers.acedata import AceDataCloud
from worker.providers.kie import Kie


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, rclone: Server, tmp_path: Path) -> Iterator[Pipeline]:
    with starting(monkeypatch, sqlite_url, rclone, tmp_path) as start:
        yield start()


def submitted(pipeline: Pipeline, *providers: str) -> list[str]:
    """A finished and silent generation at each of these, the first submitted first; their ids."""
    return [_submitted(pipeline, provider) for provider in providers]


def _submitted(pipeline: Pipeline, provider: str) -> str:
    ended = len(pipeline.sandbox.log("callback"))
    (generation_id,) = pipeline.submit("an owl sandbox:drop", provider=provider)
    pipeline.until(lambda: len(pipeline.sandbox.log("callback")) > ended)
    pipeline.until(lambda: pipeline.get(generation_id).state is State.SUBMITTED)
    return generation_id


def lose_key(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    ready = pipeline.here.provider

    def provider(name: str, account: str | None = None) -> Provider:
        if name == lost:
            raise ConfigurationError(f"the key of {name} is not set")
        return ready(name, account)

    monkeypatch.setattr(pipeline.here, "provider", provider)


def test_a_provider_without_its_key_keeps_no_other_from_being_asked(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = submitted(pipeline, "kie", "acedata")
    lose_key(pipeline, monkeypatch, "kie")
    pipeline.clock.advance(seconds=60)
    pipeline.step("poll")

    assert [pipeline.get(one).state for one in (first, second)] == [State.SUBMITTED, State.SUCCEEDED]
    assert "the key of kie is not set" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_provider_that_is_slow_to_answer_keeps_no_other_waiting(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    in_time = []
    fetch = AceDataCloud.fetch

    def slow(_: Kie, task_ids: Collection[str]) -> dict[str, Outcome]:
        in_time.append(asked.wait(patient(2)))
        raise QueryFailed("away", code="read_timeout")

    def quick(provider: AceDataCloud, task_ids: Collection[str]) -> dict[str, Outcome]:
        asked.set()
        return fetch(provider, task_ids)

    monkeypatch.setattr(Kie, "fetch", slow)
    monkeypatch.setattr(AceDataCloud, "fetch", quick)
    submitted(pipeline, "kie", "acedata")
    pipeline.clock.advance(seconds=60)
    pipeline.step("poll")

    assert in_time == [True]


def test_lost_submissions_are_not_looked_for_beyond_the_time_of_a_task(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll, "PATIENCE", -1)
    monkeypatch.setattr(AceDataCloud, "_list", lambda *_, **__: pytest.fail("read the list"))
    (generation_id,) = pipeline.submit("a red door sandbox:reset sandbox:drop")
    pipeline.until(lambda: pipeline.get(generation_id).state is State.UNCONFIRMED)
    pipeline.clock.advance(seconds=301)
    pipeline.step("poll")


def test_callbacks_of_a_provider_without_its_key_wait_and_hold_up_no_others(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = submitted(pipeline, "kie", "acedata")
    for one in ids:
        fail(pipeline, one)
    with monkeypatch.context() as outage:
        lose_key(pipeline, outage, "kie")
        pipeline.step("ingest")
        assert [pipeline.get(one).state for one in ids] == [State.SUBMITTED, State.FAILED]
        for _ in range(MAX_TRIES + 2):
            pipeline.clock.advance(seconds=31)
            pipeline.step("ingest")
    pipeline.clock.advance(seconds=31)
    pipeline.step("ingest")

    assert pipeline.get(ids[0]).state is State.FAILED


def fail(pipeline: Pipeline, generation_id: str) -> None:
    """Deliver the callback of a failure."""
    provider, (attempt,) = pipeline.get(generation_id).provider, pipeline.story(generation_id).attempts
    body = {"success": False, "error": {"code": "api_error"}, "task_id": attempt.task_id}
    if provider == "kie":
        body = {"code": 500, "data": {"taskId": attempt.task_id}}
    deliver(pipeline, generation_id, body)


def deliver(pipeline: Pipeline, generation_id: str, body: object) -> None:
    provider, (attempt,) = pipeline.get(generation_id).provider, pipeline.story(generation_id).attempts
    url = str(pipeline.here.callback_url(provider, attempt.id))
    assert urllib3.request("POST", url, body=json.dumps(body).encode(), retries=False).status == 200


def test_a_callback_that_names_thousands_of_results_fills_no_ledger(pipeline: Pipeline) -> None:
    (generation_id,) = submitted(pipeline, "kie")
    (attempt,) = pipeline.story(generation_id).attempts
    urls = [f"https://tempfile.aiquickdraw.com/{number}.png" for number in range(5000)]
    deliver(pipeline, generation_id, {"code": 200, "data": {"taskId": attempt.task_id, "resultUrls": urls}})
    pipeline.step("ingest")

    (note,) = pipeline.story(generation_id).callbacks
    assert (note.verdict, note.error) == ("unreadable", "it has 5000 results, more than any request produces")
    assert pipeline.assets(generation_id) == []
    assert pipeline.get(generation_id).state is State.SUBMITTED
