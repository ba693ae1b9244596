"""What the RUNBOOK says about a restore: what comes back that was taken away, what is gone, and what is made anew."""

import json
import time
from pathlib import Path

import pytest

from tasks.usecases.thumbnails import ask_again, find_thumbnail
from tasks.usecases.verify import VerifyRequest, verify
from tests.commands import darkroom
from tests.pipeline import Pipeline, Start
from tests.tasks.test_restore import backup, document, is_closed, restore
from worker.generation import Asset, State, ThumbnailState

LINK_LIFE = 5.0
ON = {"DARKROOM_THUMBNAILS": "true"}


def restored(pipeline: Pipeline, copy: Path, folder: Path) -> None:
    """Lose everything since this copy, in a ledger that notices it."""
    pipeline.clock.advance(seconds=31)
    pipeline.step("reconcile")
    restore(pipeline, copy, folder)
    pipeline.clock.advance(seconds=31)
    pipeline.step("reconcile")
    assert is_closed(pipeline)


def with_thumbnails(pipeline: Pipeline) -> None:
    pipeline.until(lambda: all(state(one) is ThumbnailState.MADE for one in stored(pipeline)))


def stored(pipeline: Pipeline) -> list[Asset]:
    return [asset for one in pipeline.all() for asset in pipeline.assets(one.id)]


def state(asset: Asset) -> ThumbnailState | None:
    return asset.thumbnail.state if asset.thumbnail else None


def thumbnails(pipeline: Pipeline) -> set[str]:
    return {key for key in pipeline.objects() if key.endswith(".thumb.webp")}


def orphans(pipeline: Pipeline) -> set[str]:
    return set(verify(pipeline.here, VerifyRequest()).orphaned)


def test_a_thumbnail_that_the_ledger_forgot_is_made_once_more_in_its_place(start: Start, tmp_path: Path) -> None:
    pipeline = start(**ON)
    (one,) = pipeline.submit("a red fox")
    for step in ("dispatch", "submit"):
        pipeline.step(step)
    pipeline.until_called_back(one)
    for step in ("ingest", "archive"):
        pipeline.step(step)
    copy = backup(tmp_path)
    before = state(stored(pipeline)[0])
    with_thumbnails(pipeline)
    made = thumbnails(pipeline)
    restored(pipeline, copy, tmp_path)
    assert before is state(stored(pipeline)[0]) is ThumbnailState.WANTED
    with_thumbnails(pipeline)
    assert thumbnails(pipeline) == made
    assert orphans(pipeline) == set()


def test_an_image_that_is_imported_again_has_a_thumbnail_of_its_own(start: Start, tmp_path: Path) -> None:
    pipeline = start(**ON)
    pipeline.submit("a red fox")
    pipeline.until(lambda: pipeline.all()[0].state is State.ARCHIVED)
    copy = backup(tmp_path)
    pipeline.submit("a blue owl")
    pipeline.until(lambda: pipeline.all()[-1].state is State.ARCHIVED)
    with_thumbnails(pipeline)
    forgotten = stored(pipeline)[-1].object_key
    restored(pipeline, copy, tmp_path)
    assert document("--confirm")["opened"]
    pipeline.until(lambda: len(pipeline.all()) == 2 and {one.state for one in pipeline.all()} == {State.ARCHIVED})
    with_thumbnails(pipeline)
    assert len(thumbnails(pipeline)) == 3
    assert forgotten in orphans(pipeline)
    assert all(one.object_key != forgotten for one in stored(pipeline))


def test_a_thumbnail_that_a_restored_bucket_lacks_is_made_when_somebody_looks(start: Start) -> None:
    pipeline = start(**ON)
    (one,) = pipeline.submit("a red fox")
    pipeline.until_settled()
    with_thumbnails(pipeline)
    (key,) = thumbnails(pipeline)
    pipeline.here.archive.delete(key.removeprefix(f"{pipeline.bucket.name}/"))
    assert ask_again(pipeline.here, find_thumbnail(pipeline.here, one, 0))
    with_thumbnails(pipeline)
    assert thumbnails(pipeline) == {key}


@pytest.mark.parametrize("is_forgotten", [False, True], ids=["the provider knows it", "the provider forgot it"])
def test_what_was_archived_after_the_backup_is_fetched_again_or_found_where_it_is(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_forgotten: bool
) -> None:
    pipeline = start(link_life=LINK_LIFE)
    (one,) = pipeline.submit("a red fox")
    for step in ("dispatch", "submit"):
        pipeline.step(step)
    pipeline.until_called_back(one)
    pipeline.step("ingest")
    copy = backup(tmp_path)
    pipeline.step("archive")
    (asset,) = pipeline.assets(one)
    if is_forgotten:
        monkeypatch.setattr("tasks.archive.fresh_link", lambda *_: None)
    # Its link expires, by the provider's clock.
    time.sleep(LINK_LIFE + 0.5)
    restored(pipeline, copy, tmp_path)
    pipeline.until_settled()
    assert pipeline.get(one).state is State.ARCHIVED
    assert stored(pipeline)[0].object_key == asset.object_key
    assert orphans(pipeline) == set()
    assert pipeline.charges() == 1


def test_what_was_taken_away_after_the_backup_is_there_again(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    (waits,) = pipeline.submit("a red fox")
    assert darkroom("token", "create", "shop", "--scope", "all").exit_code == 0
    assert darkroom("user", "add", "anna", "--role", "viewer", "--no-password").exit_code == 0
    copy = backup(tmp_path)
    assert darkroom("cancel", waits).exit_code == 0
    assert darkroom("token", "revoke", "shop").exit_code == 0
    assert darkroom("user", "remove", "anna").exit_code == 0
    restored(pipeline, copy, tmp_path)
    assert pipeline.get(waits).state is State.QUEUED
    assert [json.loads(line)["name"] for line in darkroom("token", "list", "--json").stdout.splitlines()] == ["shop"]
    assert [json.loads(line)["name"] for line in darkroom("user", "list", "--json").stdout.splitlines()] == ["anna"]
    # Nobody has paid for it: it is cancelled before submissions resume.
    assert darkroom("cancel", waits).exit_code == 0
    assert document("--confirm")["opened"]
    pipeline.until_settled()
    assert pipeline.charges() == 0


def test_a_key_that_was_used_after_the_backup_is_free_again(start: Start, tmp_path: Path) -> None:
    """Whoever repeats such a request pays twice, and the RUNBOOK says so."""
    pipeline = start()
    # Its marker is in the bucket.
    pipeline.step("reconcile")
    copy = backup(tmp_path)
    assert darkroom("submit", "a red fox", "--key", "order-17", "--provider", "acedata").exit_code == 0
    pipeline.bells.append("dispatch")
    pipeline.until_settled()
    restored(pipeline, copy, tmp_path)
    assert document("--confirm")["opened"]
    pipeline.until_settled()
    (imported,) = pipeline.all()
    assert (imported.state, imported.key, pipeline.charges()) == (State.ARCHIVED, None, 1)
    assert darkroom("submit", "a red fox", "--key", "order-17", "--provider", "acedata").exit_code == 0
    pipeline.bells.append("dispatch")
    pipeline.until_settled()
    assert pipeline.charges() == 2
