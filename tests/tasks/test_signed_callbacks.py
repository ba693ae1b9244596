"""Kie.ai's signed callbacks, from the socket to the archive: a good one tells that a task ended, and nothing else."""

import base64
import gzip
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.pipeline import Pipeline, running_pipeline
from tests.s3 import Server
from webhook import sandbox
from worker.generation import State
from worker.ledger.outcome import CallbackNote

KEY = "whk_5f0c2b7d"
ELSEWHERE = "https://elsewhere.test/forged.png"


@pytest.fixture(params=[KEY])
def pipeline(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    sqlite_url: str,
    rclone: Server,
    tmp_path: Path,
) -> Iterator[Pipeline]:
    """Everything connected; the parameter is the key that the provider signs with."""
    monkeypatch.setenv("KIE_WEBHOOK_HMAC_KEY", KEY)
    with (
        sandbox.running(delay=0.05, size=64, hmac_key=request.param) as provider,
        running_pipeline(
            monkeypatch, database_url=sqlite_url, sandbox=provider, server=rclone, folder=tmp_path
        ) as connected,
    ):
        yield connected


class Sender:
    """Stands where Kie does, or somebody who has seen one of its callbacks; the task has ended, and Kie is silent."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        (self.generation_id,) = pipeline.submit("an owl sandbox:drop", provider="kie")
        pipeline.until(lambda: bool(pipeline.sandbox.log("callback")) and self.state is State.SUBMITTED)
        (attempt,) = pipeline.story(self.generation_id).attempts
        self.task_id = attempt.task_id
        self.url = str(pipeline.here.callback_url("kie", attempt.id))

    @property
    def state(self) -> State:
        return self.pipeline.get(self.generation_id).state

    def signed(self, *, age: float = 0) -> dict[str, str]:
        timestamp = str(int(time.time() - age))
        digest = hmac.new(KEY.encode(), f"{self.task_id}.{timestamp}".encode(), hashlib.sha256).digest()
        return {"X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": base64.b64encode(digest).decode()}

    def send(
        self, headers: Mapping[str, str], *urls: str, code: int = 200, pack: Callable[[bytes], bytes] = bytes
    ) -> CallbackNote:
        """Deliver a callback with these links; what became of it."""
        data: dict[str, Any] = {"taskId": self.task_id, "resultUrls": urls}
        body = pack(json.dumps({"code": code, "msg": "Words.", "data": data}).encode())
        assert urllib3.request("POST", self.url, body=body, headers=headers, retries=False).status == 200
        self.pipeline.until(lambda: all(note.verdict for note in self.notes()))
        return self.notes()[-1]

    def notes(self) -> tuple[CallbackNote, ...]:
        return self.pipeline.story(self.generation_id).callbacks

    def hosts(self) -> set[str | None]:
        return {urllib3.util.parse_url(asset.url).host for asset in self.pipeline.assets(self.generation_id)}


def queries(pipeline: Pipeline) -> int:
    return len(pipeline.sandbox.log("query"))


def test_a_good_signature_brings_the_pictures_after_one_question(pipeline: Pipeline) -> None:
    (generation_id,) = pipeline.submit("a careful owl", provider="kie")
    pipeline.until_settled()

    assert pipeline.path(generation_id) == ["queued", "submitting", "submitted", "succeeded", "archived"]
    assert len(pipeline.assets(generation_id)) == 4
    assert [note.verdict for note in pipeline.story(generation_id).callbacks] == ["applied"]
    assert queries(pipeline) == 1


@pytest.mark.parametrize("pipeline", ["another key", ""], indirect=True)
def test_a_wrong_or_missing_signature_is_kept_for_a_person_and_changes_nothing(pipeline: Pipeline) -> None:
    (generation_id,) = pipeline.submit("a careful owl", provider="kie")
    pipeline.until(lambda: any(note.verdict for note in pipeline.story(generation_id).callbacks))

    (note,) = pipeline.story(generation_id).callbacks
    assert note.verdict == "unreadable"
    assert "KIE_WEBHOOK_HMAC_KEY" in str(note.error)
    assert pipeline.get(generation_id).state is State.SUBMITTED
    assert queries(pipeline) == 0
    pipeline.clock.advance(seconds=31)
    pipeline.until_settled()
    assert pipeline.get(generation_id).state is State.ARCHIVED


def test_a_stale_signature_changes_nothing(pipeline: Pipeline) -> None:
    sender = Sender(pipeline)
    note = sender.send(sender.signed(age=1900), ELSEWHERE)

    assert note.verdict == "unreadable"
    assert "KIE_WEBHOOK_WINDOW is 1800 s" in str(note.error)
    assert sender.state is State.SUBMITTED
    assert sender.send(sender.signed(age=1700), f"{ELSEWHERE}?again").verdict == "applied"


def test_a_compressed_callback_is_read_as_the_json_that_it_is(pipeline: Pipeline) -> None:
    sender = Sender(pipeline)
    packed = {**sender.signed(), "Content-Encoding": "gzip"}
    assert sender.send(packed, ELSEWHERE, pack=gzip.compress).verdict == "applied"


@pytest.mark.parametrize("code", [200, 500])
def test_what_happened_is_taken_from_the_record_whatever_the_body_says(pipeline: Pipeline, code: int) -> None:
    sender = Sender(pipeline)
    assert sender.send(sender.signed(), ELSEWHERE, code=code).verdict == "applied"
    pipeline.until_settled()

    assert sender.state is State.ARCHIVED
    assert len(pipeline.assets(sender.generation_id)) == 4
    assert sender.hosts() == {"127.0.0.1"}


def test_a_signature_counts_for_one_body(pipeline: Pipeline) -> None:
    sender = Sender(pipeline)
    headers = sender.signed()
    assert sender.send(headers, "https://tempfile.aiquickdraw.com/v/1.png").verdict == "applied"
    replayed = sender.send(headers, ELSEWHERE)

    assert replayed.verdict == "unreadable"
    assert "a replay" in str(replayed.error)
    assert len(sender.notes()) == 2
    assert queries(pipeline) == 1


def test_the_same_callback_twice_is_kept_once(pipeline: Pipeline) -> None:
    sender = Sender(pipeline)
    headers = sender.signed()
    for _ in range(2):
        assert sender.send(headers, ELSEWHERE).verdict == "applied"

    assert len(sender.notes()) == 1


def test_a_later_copy_with_a_signature_of_its_own_says_nothing_new(pipeline: Pipeline) -> None:
    sender = Sender(pipeline)
    sender.send(sender.signed(age=60), ELSEWHERE)
    copy = sender.send(sender.signed(), f"{ELSEWHERE}?again")

    assert copy.verdict == "ignored"
    assert pipeline.path(sender.generation_id).count(State.SUCCEEDED) == 1
