"""What the tasks do in a worker that was told to stop, or that has killed workers before."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tasks.archive import MAX_TRIES, archive_one
from tests.computer import eventually
from tests.pipeline import Pipeline, running_pipeline
from tests.s3 import Server
from webhook import sandbox
from worker.generation import State, Trouble
from worker.ledger.assets import ArchiveClaim, Archived, Postponed
from worker.runtime import shutdown
from worker.runtime.draining import LEASE
from worker.services import Services

Start = Callable[..., Pipeline]


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, rclone: Server, tmp_path: Path) -> Iterator[Pipeline]:
    with ExitStack() as stack:
        provider = stack.enter_context(sandbox.running(delay=0.01, size=32))
        yield stack.enter_context(
            running_pipeline(monkeypatch, database_url=sqlite_url, sandbox=provider, server=rclone, folder=tmp_path)
        )


def stop_after_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drain asks once before it claims; from then on the worker is told to stop."""
    answers = iter([math.inf])
    monkeypatch.setattr(shutdown, "seconds_left", lambda: next(answers, 1.0))


def test_what_was_claimed_and_not_sent_goes_back_into_the_queue(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = pipeline.submit("one", "two", "three")
    pipeline.step("dispatch")
    stop_after_the_claim(monkeypatch)
    pipeline.step("submit")
    assert [pipeline.path(one) for one in ids] == [["queued", "submitting", "queued"]] * 3
    assert pipeline.get(ids[0]).reason == "not_sent"
    assert pipeline.sandbox.log("submit") == []


def test_assets_that_were_claimed_are_free_for_others_at_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    (generation_id,) = succeeded(pipeline)
    with monkeypatch.context() as patch:
        stop_after_the_claim(patch)
        pipeline.step("archive")
    assert pipeline.get(generation_id).state is State.SUCCEEDED
    (claim,) = pipeline.ledger.assets.claim(1, LEASE)
    assert (claim.deaths, claim.assets[0].tries) == (0, 1)


def test_an_asset_that_kills_its_workers_waits_and_the_others_are_stored(pipeline: Pipeline) -> None:
    (generation_id,) = succeeded(pipeline, split_images=True)
    killer = 2
    for _ in range(40):
        # A worker takes what there is, and dies if it comes to the third.
        (claim,) = pipeline.ledger.assets.claim(1, LEASE)
        waiting = [asset.index for asset in claim.assets if asset.state == "waiting"]
        would_fetch = waiting[:1] if claim.deaths else waiting
        if killer in would_fetch and claim.deaths < MAX_TRIES:
            pipeline.clock.advance(seconds=LEASE.total_seconds() + 1)
            continue
        pipeline.ledger.assets.record([archive_one(pipeline.here, claim)])
        if any(asset.reason for asset in pipeline.assets(generation_id)):
            break

    assert pipeline.get(generation_id).state is State.SUCCEEDED
    states = {asset.index: (asset.state, asset.reason) for asset in pipeline.assets(generation_id)}
    assert states[killer] == ("waiting", "worker_died")
    (claim,) = pipeline.ledger.assets.claim(1, LEASE)
    pipeline.ledger.assets.record([archive_one(pipeline.here, claim)])
    assert [asset.index for asset in pipeline.assets(generation_id) if asset.state != "stored"] == [killer]
    # From now on one death is enough.
    assert pipeline.ledger.assets.claim(1, LEASE)[0].deaths == 0
    pipeline.clock.advance(seconds=LEASE.total_seconds() + 1)
    (claim,) = pipeline.ledger.assets.claim(1, LEASE)
    (result,) = archive_one(pipeline.here, claim).results
    assert isinstance(result, Postponed)
    assert result.reason is Trouble.WORKER_DIED
    pipeline.ledger.assets.record([Archived(claim, (result,), described=False)])
    # A person who has mended the cause has it tried at once.
    pipeline.ledger.generations.retry([generation_id])
    pipeline.until_settled()
    assert pipeline.get(generation_id).state is State.ARCHIVED


def test_a_drain_works_on_a_suspect_alone(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    succeeded(pipeline, count=6)
    suspects = {claim.generation.id for claim in pipeline.ledger.assets.claim(3, LEASE)}
    pipeline.clock.advance(seconds=LEASE.total_seconds() + 1)
    under_way: set[str] = set()
    company: dict[str, set[str]] = {}

    def watched(here: Services, claim: ArchiveClaim) -> Archived:
        under_way.add(claim.generation.id)
        for one in under_way:
            company.setdefault(one, set()).update(under_way)
        # Long enough for the drain to claim others meanwhile, if it did.
        time.sleep(0.2 if claim.deaths else 0)
        try:
            return archive_one(here, claim)
        finally:
            under_way.discard(claim.generation.id)

    monkeypatch.setattr("tasks.archive.archive_one", watched)
    pipeline.step("archive")
    assert {one.state for one in pipeline.all()} == {State.ARCHIVED}
    assert {one: company[one] for one in suspects} == {one: {one} for one in suspects}


def succeeded(pipeline: Pipeline, count: int = 1, **options: object) -> list[str]:
    ids = pipeline.submit(*["a lamp"] * count, **options)
    for task in ("dispatch", "submit"):
        pipeline.step(task)

    def is_done() -> bool:
        pipeline.step("ingest")
        return all(pipeline.get(one).state is State.SUCCEEDED for one in ids)

    eventually(is_done, seconds=10)
    pipeline.bells.clear()
    return ids
