"""Thumbnails from archive to bucket: with real parts, and with what goes wrong on the way."""

import io
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import update

import tasks.thumbnail
from tasks.thumbnail import MOST_DEATHS
from tasks.usecases.delete import DeleteRequest, delete
from tasks.usecases.person import person
from tasks.usecases.selection import Selection
from tasks.usecases.thumbnails import ask_for, find_thumbnail, shown
from tasks.usecases.verify import VerifyRequest, verify
from tests.factories import succeeded
from tests.pipeline import Pipeline, Start, sha256, starting
from tests.s3 import Server
from worker.errors import ArchiveError
from worker.generation import Asset, AssetState, ThumbnailState
from worker.ledger.assets import ThumbnailClaim, ThumbnailMade
from worker.ledger.schema import assets
from worker.runtime import LEASE, shutdown
from worker.services import Services
from worker.steps import Step

ON = {"DARKROOM_THUMBNAILS": "true"}


@pytest.fixture
def start_on(monkeypatch: pytest.MonkeyPatch, database_url: str, rclone: Server, tmp_path: Path) -> Iterator[Start]:
    with starting(monkeypatch, database_url, rclone, tmp_path) as starter:
        yield starter


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, rclone: Server, tmp_path: Path) -> Iterator[Pipeline]:
    with starting(monkeypatch, sqlite_url, rclone, tmp_path) as starter:
        yield starter(size=640, **ON)


def archived(pipeline: Pipeline, prompt: str = "a lighthouse") -> Asset:
    """Archived, and its thumbnail not made."""
    (generation_id,) = pipeline.submit(prompt)
    for step in (Step.DISPATCH, Step.SUBMIT):
        pipeline.step(step)
    pipeline.until_called_back(generation_id)
    for step in (Step.INGEST, Step.ARCHIVE):
        pipeline.step(step)
    pipeline.bells.clear()
    (asset,) = pipeline.assets(generation_id)
    assert asset.state is AssetState.STORED
    return asset


def state_of(pipeline: Pipeline, asset: Asset) -> ThumbnailState | None:
    (found,) = pipeline.assets(asset.generation_id)
    return found.thumbnail.state if found.thumbnail else None


def key_of(asset: Asset) -> str:
    return f"{str(asset.object_key).rpartition('.')[0]}.thumb.webp"


def content_of(pipeline: Pipeline, asset: Asset) -> bytes:
    return pipeline.objects()[str(asset.object_key)]


def overwrite(pipeline: Pipeline, asset: Asset, content: bytes) -> None:
    pipeline.here.archive.overwrite(str(asset.object_key), content, content_type="image/png", metadata={})


def turn(pipeline: Pipeline, *, on: bool) -> None:
    pipeline.here.settings = pipeline.here.settings.model_copy(update={"darkroom_thumbnails": on})


def test_an_archived_picture_has_its_thumbnail_beside_it(start_on: Start):
    pipeline = start_on(size=640, **ON)
    (generation_id,) = pipeline.submit("a lighthouse in the fog")
    pipeline.until_settled()
    (asset,) = pipeline.assets(generation_id)
    content = pipeline.objects()[key_of(asset)]
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("WEBP", (320, 320))
    found = find_thumbnail(pipeline.here, generation_id, 0)
    assert found.url is not None
    assert key_of(asset) in found.url
    assert (found.shown.state, found.shown.width, found.shown.height) == (ThumbnailState.MADE, 320, 320)
    assert found.shown.colour is not None
    assert found.shown.colour[0] == "#"
    assert asset.thumbnail is not None
    assert asset.thumbnail.bytes == len(content)


def test_nothing_is_made_where_they_are_turned_off(start_on: Start):
    pipeline = start_on(DARKROOM_THUMBNAILS="false")
    (generation_id,) = pipeline.submit("a lighthouse")
    pipeline.until_settled()
    (asset,) = pipeline.assets(generation_id)
    assert ask_for(pipeline.here, [asset]) == ()
    pipeline.step(Step.THUMBNAIL)
    assert (asset.thumbnail, key_of(asset) in pipeline.objects()) == (None, False)


def test_what_was_wanted_before_they_were_turned_off_wakes_nobody(pipeline: Pipeline):
    asset = archived(pipeline)
    turn(pipeline, on=False)
    pipeline.step(Step.SWEEP)
    pipeline.step(Step.THUMBNAIL)
    assert Step.THUMBNAIL not in pipeline.bells
    assert state_of(pipeline, asset) is ThumbnailState.WANTED


def test_a_lost_wake_up_is_found_by_the_sweep(pipeline: Pipeline):
    asset = archived(pipeline)
    pipeline.step(Step.SWEEP)
    assert Step.THUMBNAIL in pipeline.bells
    pipeline.answer_bells()
    assert state_of(pipeline, asset) is ThumbnailState.MADE


def test_an_object_that_is_gone_or_changed_is_told_and_not_tried_again(pipeline: Pipeline):
    gone, changed = archived(pipeline), archived(pipeline, "a harbour")
    pipeline.here.archive.delete(str(gone.object_key))
    overwrite(pipeline, changed, content_of(pipeline, changed) + b"x")
    pipeline.step(Step.THUMBNAIL)
    assert [state_of(pipeline, one) for one in (gone, changed)] == [ThumbnailState.MISSING] * 2
    assert not pipeline.ledger.maintenance.is_due(Step.THUMBNAIL)
    verify(pipeline.here, VerifyRequest(repair=True))
    pipeline.until_settled()
    assert [state_of(pipeline, one) for one in (gone, changed)] == [ThumbnailState.MADE] * 2


def test_a_picture_that_does_not_decode_is_told_and_not_tried_again(pipeline: Pipeline):
    asset = archived(pipeline)
    broken = content_of(pipeline, asset)[:200]
    overwrite(pipeline, asset, broken)
    with pipeline.ledger.database.write() as connection:
        # A person has accepted them as they are.
        connection.execute(update(assets).values(sha256=sha256(broken)))
    pipeline.step(Step.THUMBNAIL)
    assert state_of(pipeline, asset) is ThumbnailState.UNDECODABLE
    assert not pipeline.ledger.maintenance.is_due(Step.THUMBNAIL)
    assert shown(pipeline.assets(asset.generation_id)[0]).width == 320


def test_a_store_that_is_down_is_tried_later_and_only_some_find_out(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
):
    them = [archived(pipeline, f"number {number}") for number in range(8)]
    asked: list[str] = []

    def fail(key: str) -> None:
        asked.append(key)
        raise ArchiveError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.here.archive, "read", fail)
        pipeline.step(Step.THUMBNAIL)
    assert tasks.thumbnail.GIVE_UP <= len(asked) < len(them)
    assert {state_of(pipeline, one) for one in them} == {ThumbnailState.WANTED}
    pipeline.clock.advance(seconds=6)
    pipeline.until_settled()
    assert {state_of(pipeline, one) for one in them} == {ThumbnailState.MADE}


def test_what_a_killed_worker_had_under_way_is_made_by_the_next(pipeline: Pipeline):
    asset = archived(pipeline)
    (claim,) = pipeline.ledger.assets.claim_thumbnails(1, LEASE)
    # It dies between the put and the record.
    assert isinstance(tasks.thumbnail.make(pipeline.here, claim), ThumbnailMade)
    pipeline.step(Step.THUMBNAIL)
    assert state_of(pipeline, asset) is ThumbnailState.WANTED
    assert verify(pipeline.here, VerifyRequest()).is_intact
    pipeline.clock.advance(seconds=LEASE.total_seconds() + 1)
    pipeline.until_settled()
    assert state_of(pipeline, asset) is ThumbnailState.MADE


def test_one_that_kills_worker_after_worker_is_given_up(pipeline: Pipeline):
    asset = archived(pipeline)
    for _ in range(MOST_DEATHS):
        assert pipeline.ledger.assets.claim_thumbnails(1, LEASE)
        pipeline.clock.advance(seconds=LEASE.total_seconds() + 1)
    pipeline.step(Step.THUMBNAIL)
    assert state_of(pipeline, asset) is ThumbnailState.UNDECODABLE
    assert key_of(asset) not in pipeline.objects()


def test_a_drain_ends_as_soon_as_anything_else_is_due(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch):
    for number in range(6):
        archived(pipeline, f"number {number}")
    made: list[str] = []

    def make(here: Services, claim: ThumbnailClaim) -> ThumbnailState:
        if not made:
            succeeded(pipeline.ledger)
        made.append(claim.asset.generation_id)
        return ThumbnailState.UNDECODABLE

    monkeypatch.setattr(tasks.thumbnail, "make", make)
    pipeline.step(Step.THUMBNAIL)
    assert len(made) <= tasks.thumbnail.THREADS + tasks.thumbnail.AHEAD
    assert Step.THUMBNAIL not in pipeline.ledger.maintenance.due()
    pipeline.step(Step.SWEEP)
    assert Step.ARCHIVE in pipeline.bells
    assert Step.THUMBNAIL not in pipeline.bells


def test_nothing_is_claimed_while_something_else_is_due(pipeline: Pipeline):
    asset = archived(pipeline)
    succeeded(pipeline.ledger)
    pipeline.step(Step.THUMBNAIL)
    assert state_of(pipeline, asset) is ThumbnailState.WANTED
    assert pipeline.ledger.assets.claim_thumbnails(9, LEASE)[0].tries == 0


def test_one_that_is_slow_holds_up_neither_its_process_nor_a_place_for_more(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
):
    for number in range(tasks.thumbnail.THREADS + 1):
        archived(pipeline, f"number {number}")
    goes_on, begun = threading.Event(), threading.Semaphore(0)

    def make(here: Services, claim: ThumbnailClaim) -> ThumbnailState:
        begun.release()
        goes_on.wait()
        return ThumbnailState.UNDECODABLE

    monkeypatch.setattr(tasks.thumbnail, "make", make)
    monkeypatch.setattr(tasks.thumbnail, "SLICE", 0.1)
    try:
        pipeline.step(Step.THUMBNAIL)
        for _ in range(tasks.thumbnail.THREADS):
            begun.acquire()
        # The next task takes none on top of those that still hang.
        pipeline.step(Step.THUMBNAIL)
        assert not begun.acquire(blocking=False)
    finally:
        goes_on.set()
    pipeline.until_settled()


def test_at_shutdown_what_was_claimed_is_free_for_others(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch):
    archived(pipeline)
    with monkeypatch.context() as patch:
        answers = iter([math.inf])
        patch.setattr(shutdown, "seconds_left", lambda: next(answers, -1.0))
        goes_on = threading.Event()
        patch.setattr(tasks.thumbnail, "make", lambda *_: goes_on.wait() and None)
        pipeline.step(Step.THUMBNAIL)
        goes_on.set()
    assert pipeline.ledger.maintenance.is_due(Step.THUMBNAIL)


def test_what_is_deleted_takes_its_thumbnail_with_it(pipeline: Pipeline):
    asset = archived(pipeline)
    pipeline.until_settled()
    assert key_of(asset) in pipeline.objects()
    assert verify(pipeline.here, VerifyRequest()).is_intact
    request = DeleteRequest(Selection(names=(asset.generation_id,)), person("ada"), with_objects=True)
    delete(pipeline.here, request, lambda _: None)
    assert pipeline.objects() == {}


def test_what_is_deleted_while_it_is_made_leaves_none_behind(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch):
    asset = archived(pipeline)
    make = tasks.thumbnail.make

    def make_and_delete(here: Services, claim: ThumbnailClaim) -> object:
        made = make(here, claim)
        request = DeleteRequest(Selection(names=(asset.generation_id,)), person("ada"), with_objects=True)
        delete(here, request, lambda _: None)
        here.archive.overwrite(key_of(asset), b"late", content_type="image/webp", metadata={})
        return made

    monkeypatch.setattr(tasks.thumbnail, "make", make_and_delete)
    pipeline.step(Step.THUMBNAIL)
    assert pipeline.objects() == {}


def test_a_thumbnail_of_what_the_ledger_does_not_know_is_an_orphan(pipeline: Pipeline):
    asset = archived(pipeline)
    pipeline.until_settled()
    stray = key_of(asset).replace("/0.thumb", "/7.thumb")
    pipeline.here.archive.overwrite(stray, b"x", content_type="image/webp", metadata={})
    assert verify(pipeline.here, VerifyRequest()).orphaned == (stray,)


def test_one_that_an_older_version_has_stored_is_made_when_somebody_asks_for_it(pipeline: Pipeline):
    turn(pipeline, on=False)
    asset = archived(pipeline)
    turn(pipeline, on=True)
    assert find_thumbnail(pipeline.here, asset.generation_id, 0).url is None
    pipeline.until_settled()
    assert state_of(pipeline, asset) is None
    assert ask_for(pipeline.here, [asset]) == (Step.THUMBNAIL,)
    assert ask_for(pipeline.here, [asset]) == ()
    pipeline.until_settled()
    assert find_thumbnail(pipeline.here, asset.generation_id, 0).url is not None
