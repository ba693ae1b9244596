"""A grid is split here: pixel for pixel, once, at no cost, whatever dies meanwhile."""

import io

import pytest
from PIL import Image

from tasks import archive, splitting
from tasks.capability_check import require_follow_ups
from tasks.usecases.repair import put_back
from tasks.usecases.submit import FollowUpRequest, check, submit
from tests.commands import darkroom
from tests.pipeline import Pipeline, Start
from worker.archive import Verdict
from worker.errors import RequestInvalid
from worker.generation import Operation, State
from worker.recipes import parse_follow_ups


def child_of(pipeline: Pipeline, parent: str) -> str:
    (child,) = pipeline.story(parent).children
    return child.id


def image(pipeline: Pipeline, object_key: str | None) -> Image.Image:
    return Image.open(io.BytesIO(pipeline.objects()[str(object_key)]))


def put_together(parts: list[Image.Image]) -> Image.Image:
    whole = Image.new(parts[0].mode, (parts[0].width + parts[1].width, parts[0].height + parts[2].height))
    for part, at in zip(parts, [(0, 0), (parts[0].width, 0), (0, parts[0].height), parts[0].size], strict=True):
        whole.paste(part, at)
    return whole


def test_the_quadrants_of_a_grid_are_its_pixels_and_cost_nothing(start: Start) -> None:
    pipeline = start()
    (parent,) = pipeline.submit("a fox", follow_up=("split",))
    pipeline.until_settled()
    child = child_of(pipeline, parent)
    split = pipeline.get(child)
    assert (split.operation, split.action, split.state) == (Operation.SPLIT, "split", State.ARCHIVED)
    assert pipeline.path(child) == [State.QUEUED, State.SUCCEEDED, State.ARCHIVED]
    assets = pipeline.assets(child)
    assert [(one.content_type, one.width, one.height) for one in assets] == [("image/png", 32, 32)] * 4
    (grid,) = pipeline.assets(parent)
    parts = [image(pipeline, one.object_key) for one in assets]
    assert put_together(parts).tobytes() == image(pipeline, grid.object_key).tobytes()
    assert pipeline.charges() == 1
    assert not pipeline.story(child).charges
    assert not pipeline.story(child).attempts


def test_a_split_can_be_asked_for_afterwards_and_twice_is_once(start: Start) -> None:
    pipeline = start()
    (parent,) = pipeline.submit("a fox")
    pipeline.until_settled()
    request = FollowUpRequest(parent_id=parent, action="split", key="cut")
    for _ in range(2):
        submit(pipeline.here, check(pipeline.here, request))
    pipeline.until_settled()
    assert pipeline.get(child_of(pipeline, parent)).state is State.ARCHIVED
    for more, mistake in (
        ({"prompt": "another"}, "split accepts no prompt"),
        ({"options": {"version": "7"}}, "split accepts no options"),
        ({"follow_up": "upscale1"}, "nothing can follow split"),
    ):
        with pytest.raises(RequestInvalid, match=mistake):
            check(pipeline.here, FollowUpRequest(parent_id=parent, action="split", **more))  # type: ignore[arg-type]


def test_what_is_no_grid_is_not_split(start: Start) -> None:
    pipeline = start()
    (parent,) = pipeline.submit("a fox", follow_up=("upscale1",))
    pipeline.until_settled()
    upscaled = child_of(pipeline, parent)
    with pytest.raises(RequestInvalid, match=f"{upscaled} does not offer 'split'"):
        check(pipeline.here, FollowUpRequest(parent_id=upscaled, action="split"))
    with pytest.raises(RequestInvalid, match=r"Kie\.ai delivers the four images one by one"):
        require_follow_ups(pipeline.here.provider("kie"), ("split",))
    with pytest.raises(RequestInvalid, match="nothing can follow split"):
        parse_follow_ups("split/upscale1", max_depth=3, max_follow_ups=16)


def test_a_worker_that_dies_after_two_quadrants_leaves_the_others_to_the_next(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = start()
    (parent,) = pipeline.submit("a fox", follow_up=("split",))

    class Killed(BaseException):
        """No handler of the program catches it, as none catches a SIGKILL."""

    kept, keep = [], splitting.keep_file

    def dies(*arguments: object, **options: object) -> object:
        if len(kept) == 2:
            kept.append(None)
            raise Killed
        kept.append(keep(*arguments, **options))  # type: ignore[arg-type]
        return kept[-1]

    monkeypatch.setattr(splitting, "keep_file", dies)
    pipeline.until(lambda: len(kept) == 3)
    while pipeline.get(child_of(pipeline, parent)).state is not State.ARCHIVED:
        pipeline.clock.advance(hours=2)
        pipeline.step("archive")
    child = child_of(pipeline, parent)
    assert pipeline.get(child).state is State.ARCHIVED
    assert len(pipeline.story(parent).children) == 1
    assert len({one.object_key for one in pipeline.assets(child)}) == 4


def test_a_grid_that_is_missing_makes_its_split_wait(start: Start) -> None:
    pipeline = start()
    (parent,) = pipeline.submit("a fox")
    pipeline.until_settled()
    (grid,) = pipeline.assets(parent)
    key, content = str(grid.object_key), pipeline.objects()[str(grid.object_key)]
    pipeline.here.archive.delete(key)
    submit(pipeline.here, check(pipeline.here, FollowUpRequest(parent_id=parent, action="split")))
    pipeline.until(lambda: all(one.error for one in pipeline.assets(child_of(pipeline, parent))))
    child = child_of(pipeline, parent)
    assert "darkroom verify --repair" in str(pipeline.assets(child)[0].error)
    pipeline.here.archive.overwrite(key, content, content_type="image/png", metadata={})
    pipeline.clock.advance(minutes=5)
    pipeline.until_settled()
    assert pipeline.get(child).state is State.ARCHIVED


def test_a_grid_that_is_deleted_before_it_is_split_ends_the_split(start: Start) -> None:
    pipeline = start()
    (parent,) = pipeline.submit("a fox")
    pipeline.until_settled()
    submit(pipeline.here, check(pipeline.here, FollowUpRequest(parent_id=parent, action="split")))
    child = child_of(pipeline, parent)
    assert darkroom("delete", parent, "--yes").exit_code == 0
    pipeline.until_settled()
    split = pipeline.get(child)
    assert (split.state, split.message) == (State.EXPIRED, f"the grid of {parent} was deleted")


def test_archive_has_one_error_for_all_four(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = start()
    (parent,) = pipeline.submit("a fox", follow_up=("split",))

    def breaks(*_: object) -> object:
        raise KeyError("a bug")

    with monkeypatch.context() as bug:
        bug.setattr(archive, "keep_quadrants", breaks)
        pipeline.until(lambda: bool(pipeline.story(parent).children))
        pipeline.until(lambda: all(one.error for one in pipeline.assets(child_of(pipeline, parent))))
    pipeline.clock.advance(minutes=5)
    pipeline.until_settled()
    assert pipeline.get(child_of(pipeline, parent)).state is State.ARCHIVED


@pytest.mark.parametrize("provenance", ["off", "xmp"])
def test_a_quadrant_that_is_lost_is_cut_again(start: Start, provenance: str) -> None:
    pipeline = start(DARKROOM_PROVENANCE=provenance)
    (parent,) = pipeline.submit("a fox", follow_up=("split",))
    pipeline.until_settled()
    lost = pipeline.assets(child_of(pipeline, parent))[2]
    pipeline.here.archive.delete(str(lost.object_key))
    put_back(pipeline.here, lost, "missing")
    assert pipeline.here.archive.verify(str(lost.object_key), str(lost.sha256)) is Verdict.INTACT
