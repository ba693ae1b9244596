"""The story of a generation, from prompt to picture, once for each thing that can happen on the way."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.submit import LEASE, submit_one
from tests.patience import patient, wait_for
from tests.pipeline import Start, sha256, soon_without_answer, starting
from tests.s3 import Server
from worker.generation import State


@pytest.fixture
def start_on(monkeypatch: pytest.MonkeyPatch, database_url: str, rclone: Server, tmp_path: Path) -> Iterator[Start]:
    """On both databases, for the stories in which more than the ledger's own tests could differ."""
    with starting(monkeypatch, database_url, rclone, tmp_path) as starter:
        yield starter


def test_a_prompt_becomes_an_archived_picture_with_its_description(start_on: Start) -> None:
    pipeline = start_on()
    (generation_id,) = pipeline.submit("a lighthouse in the fog")
    pipeline.until_settled()

    assert pipeline.path(generation_id) == ["queued", "submitting", "submitted", "succeeded", "archived"]
    (asset,) = pipeline.assets(generation_id)
    objects = pipeline.objects()
    picture = objects.pop(str(asset.object_key))
    assert sha256(picture) == asset.sha256
    assert asset.sha256 in pipeline.served_hashes()
    (description,) = objects.values()
    assert json.loads(description)["prompt"] == "a lighthouse in the fog"
    assert pipeline.charges() == 1


def test_follow_ups_are_made_once_from_what_the_parent_offers(start_on: Start) -> None:
    pipeline = start_on()
    (parent_id,) = pipeline.submit("two cats", follow_up=("upscale1", "upscale:all", "upscale3/zoom_out_2x"))
    pipeline.until_settled()
    for _ in range(3):
        pipeline.step("follow_up")
    pipeline.until_settled()

    made = pipeline.all()
    assert {one.state for one in made} == {State.ARCHIVED}
    children = [one for one in made if one.parent_id == parent_id]
    assert [(one.action, one.depth) for one in children] == [(f"upscale{n}", 1) for n in (1, 2, 3, 4)]
    (grandchild,) = [one for one in made if one.depth == 2]
    assert (grandchild.action, grandchild.parent_id) == ("zoom_out_2x", children[2].id)
    assert pipeline.charges() == len(made) == 6


def test_a_follow_up_that_is_not_offered_is_refused_visibly(start: Start) -> None:
    pipeline = start()
    (parent_id,) = pipeline.submit("a single chair", follow_up=("zoom_out_2x", "upscale2"))
    pipeline.until_settled()

    assert [one.action for one in pipeline.all()] == [None, "upscale2"]
    (refusal,) = [event for event in pipeline.story(parent_id).events if event.type == "follow_up.refused"]
    assert "zoom_out_2x is not offered" in str(refusal.payload["reason"])


def test_depth_and_number_of_follow_ups_are_limited(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_MAX_FOLLOW_UPS", "2")
    monkeypatch.setenv("DARKROOM_MAX_DEPTH", "1")
    pipeline = start()
    pipeline.submit("four doors", follow_up=("upscale:all/upscale_2x",))
    pipeline.until_settled()

    assert [(one.action, one.depth) for one in pipeline.all()] == [(None, 0), ("upscale1", 1), ("upscale2", 1)]


def test_without_a_public_url_polling_gives_the_same_result(start_on: Start) -> None:
    pipeline = start_on(callbacks=False)
    (parent_id,) = pipeline.submit("a harbour at night", follow_up=("upscale2",))
    pipeline.until_settled()

    assert [one.state for one in pipeline.all()] == ["archived", "archived"]
    assert pipeline.sandbox.log("callback") == []
    assert pipeline.path(parent_id) == ["queued", "submitting", "submitted", "succeeded", "archived"]
    assert pipeline.charges() == 2


def test_split_images_are_five_assets_beside_each_other(start: Start) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("four windows", split_images=True)
    pipeline.until_settled()

    assets = pipeline.assets(generation_id)
    assert [asset.index for asset in assets] == [0, 1, 2, 3, 4]
    objects = pipeline.objects()
    assert [sha256(objects[str(asset.object_key)]) for asset in assets] == [asset.sha256 for asset in assets]
    assert pipeline.path(generation_id)[-1] == State.ARCHIVED


@pytest.mark.parametrize("fault", ["duplicate", "early", "reorder", "delay"])
def test_callbacks_may_come_twice_early_late_or_out_of_order(start: Start, fault: str) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit(f"a clock tower sandbox:{fault}")
    pipeline.until_settled()

    assert pipeline.get(generation_id).state is State.ARCHIVED
    assert pipeline.path(generation_id).count(State.SUCCEEDED) == 1
    assert len(pipeline.assets(generation_id)) == 1
    assert pipeline.charges() == 1


def test_a_callback_that_outruns_the_submit_reply_finds_its_generation(start: Start) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a comet sandbox:early")
    pipeline.until_settled()

    assert pipeline.get(generation_id).state is State.ARCHIVED
    assert pipeline.get(generation_id).task_id == pipeline.sandbox.bill()["lines"][0]["task_id"]


def test_a_lost_callback_is_a_non_event(start: Start) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a paper boat sandbox:drop")
    pipeline.until(lambda: pipeline.get(generation_id).state is State.SUBMITTED)
    assert wait_for(lambda: pipeline.sandbox.log("callback"), seconds=20), "the image is not finished"
    pipeline.clock.advance(seconds=31)
    pipeline.until_settled()

    assert pipeline.get(generation_id).state is State.ARCHIVED
    assert pipeline.story(generation_id).callbacks == ()
    assert pipeline.charges() == 1


@pytest.mark.parametrize("fault", ["error_after", "hang", "reset", "garbled", "no_task_id"])
def test_a_submission_that_was_taken_but_not_answered_is_never_repeated(start: Start, fault: str) -> None:
    with soon_without_answer() as seconds:
        # Long after the reply is missed.
        pipeline = start(delay=seconds + patient(0.7))
        (generation_id,) = pipeline.submit(f"a red door sandbox:{fault}")
        pipeline.until(lambda: State.UNCONFIRMED in pipeline.path(generation_id))
    pipeline.until_settled()

    # Its own callback has found it.
    assert pipeline.get(generation_id).state is State.ARCHIVED
    assert pipeline.charges() == 1
    assert len(pipeline.story(generation_id).attempts) == 1


def test_an_unclear_submission_without_its_callback_is_found_in_the_providers_list(start: Start) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a green door sandbox:reset sandbox:drop")
    pipeline.until(lambda: pipeline.get(generation_id).state is State.UNCONFIRMED)
    assert wait_for(lambda: pipeline.sandbox.log("callback"), seconds=20), "the image is not finished"
    pipeline.clock.advance(seconds=6)
    pipeline.until_settled()

    assert pipeline.get(generation_id).state is State.ARCHIVED
    causes = [move.cause for move in pipeline.story(generation_id).transitions]
    assert any(cause.startswith("found in the provider's list by") for cause in causes)
    assert pipeline.charges() == 1


def test_an_unclear_submission_that_was_never_taken_waits_for_a_person(start: Start) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a blue door sandbox:error_before")
    pipeline.until(lambda: pipeline.get(generation_id).state is State.UNCONFIRMED)
    for _ in range(5):
        pipeline.clock.advance(hours=1)
        pipeline.step("reconcile")
        pipeline.answer_bells()

    assert pipeline.get(generation_id).state is State.UNCONFIRMED
    assert pipeline.charges() == 0
    assert len(pipeline.sandbox.log("submit")) == 1


@pytest.mark.parametrize("fault", ["too_many", "unavailable"])
def test_a_refusal_for_lack_of_room_is_tried_again_later(start: Start, fault: str) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit(f"a yellow door sandbox:{fault}")
    pipeline.until(lambda: len(pipeline.story(generation_id).attempts) == 1)
    pipeline.until_settled()

    assert pipeline.get(generation_id).state is State.ARCHIVED
    assert [attempt.state for attempt in pipeline.story(generation_id).attempts] == ["rejected", "succeeded"]
    assert pipeline.charges() == 1


@pytest.mark.parametrize(("fault", "reason"), [("reject", "forbidden"), ("fail", "api_error")])
def test_a_refusal_for_good_fails_with_the_providers_reason(start: Start, fault: str, reason: str) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit(f"a black door sandbox:{fault}")
    pipeline.until_settled()

    failed = pipeline.get(generation_id)
    assert failed.state is State.FAILED
    assert failed.reason in {reason, "bad_request"}
    assert failed.message
    assert pipeline.charges() == 0


def test_an_empty_account_pauses_the_provider_and_fails_nothing(
    start_on: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "used-up")
    pipeline = start_on()
    ids = pipeline.submit("one", "two", "three")
    pipeline.answer_bells()

    assert {pipeline.get(one).state for one in ids} == {State.QUEUED}
    (pause,) = pipeline.ledger.dispatch.throttled_accounts()
    assert "used_up" in pause.reason
    before = len(pipeline.sandbox.log("submit"))
    pipeline.bells.append("dispatch")
    pipeline.answer_bells()
    assert len(pipeline.sandbox.log("submit")) == before


def test_a_worker_that_died_with_the_post_under_way_leaves_a_generation_to_its_callback(start_on: Start) -> None:
    pipeline = start_on(delay=patient(0.5))
    (generation_id,) = pipeline.submit("a broken bridge")
    pipeline.step("dispatch")
    (claim,) = pipeline.ledger.submissions.claim(1, LEASE)
    submit_one(pipeline.here, claim)
    # The worker dies here: the answer is never written down.
    pipeline.bells.clear()
    pipeline.clock.advance(seconds=LEASE.total_seconds() + 1)
    pipeline.step("reconcile")
    assert pipeline.get(generation_id).state is State.UNCONFIRMED
    pipeline.until_settled()

    assert pipeline.get(generation_id).state is State.ARCHIVED
    assert pipeline.charges() == 1


def test_dead_links_are_renewed_by_asking_the_provider_once(start: Start) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a melting snowman sandbox:dead_links")
    pipeline.until(lambda: bool(pipeline.assets(generation_id)) and pipeline.assets(generation_id)[0].renewals == 1)
    pipeline.clock.advance(seconds=10)
    pipeline.until_settled()

    assert pipeline.get(generation_id).state is State.ARCHIVED


def test_a_link_that_is_dead_for_good_is_given_up_with_its_reason(start: Start) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a vanished island sandbox:dead_links_forever", follow_up=("upscale1",))
    pipeline.until(lambda: bool(pipeline.assets(generation_id)) and bool(pipeline.assets(generation_id)[0].error))
    pipeline.until(lambda: pipeline.clock.advance(days=16) or pipeline.get(generation_id).state is State.EXPIRED)

    assert pipeline.get(generation_id).reason in {"unreachable", "link_dead"}
    assert "HTTP 404" in str(pipeline.assets(generation_id)[0].error)
    assert len(pipeline.all()) == 1
    assert pipeline.objects() == {}


@pytest.mark.parametrize("fault", ["corrupt", "truncated", "short", "html"])
def test_bytes_that_are_not_a_whole_picture_never_reach_the_bucket(start: Start, fault: str) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit(f"a torn photograph sandbox:{fault}")
    pipeline.until(lambda: bool(pipeline.assets(generation_id)) and bool(pipeline.assets(generation_id)[0].error))

    assert pipeline.get(generation_id).state is State.SUCCEEDED
    pipeline.until(lambda: pipeline.clock.advance(days=2) or pipeline.get(generation_id).state is State.EXPIRED)
    assert pipeline.get(generation_id).reason == "unreachable"
    # What was refused lies aside for a person.
    assert all("/rejected/" in key for key in pipeline.objects())


def test_what_cannot_be_stored_now_is_stored_when_the_bucket_is_back(
    start: Start, monkeypatch: pytest.MonkeyPatch, rclone: Server
) -> None:
    pipeline = start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    (generation_id,) = pipeline.submit("a patient snail")
    pipeline.until(lambda: bool(pipeline.assets(generation_id)) and bool(pipeline.assets(generation_id)[0].error))
    assert pipeline.get(generation_id).state is State.SUCCEEDED
    monkeypatch.setenv("AWS_ENDPOINT_URL", rclone.endpoint)
    pipeline.here.archive.close()
    del pipeline.here.archive
    pipeline.until(lambda: pipeline.clock.advance(seconds=5) or pipeline.get(generation_id).state is State.ARCHIVED)

    (asset,) = pipeline.assets(generation_id)
    assert sha256(pipeline.objects()[str(asset.object_key)]) == asset.sha256


def test_bytes_in_the_bucket_equal_the_bytes_served_for_a_whole_batch(start_on: Start) -> None:
    pipeline = start_on()
    pipeline.sandbox.set_faults({"duplicate": 0.3, "early": 0.3, "reset": 0.2, "truncated": 0.2, "drop": 0.1})
    pipeline.submit(*(f"animal number {number}" for number in range(20)), follow_up=("upscale1",))
    pipeline.until(
        lambda: pipeline.clock.advance(seconds=2) or all(one.state is State.ARCHIVED for one in pipeline.all()),
        seconds=60,
    )
    pipeline.sandbox.set_faults({})
    pipeline.until_settled()

    made = pipeline.all()
    assert len(made) == 40
    objects = pipeline.objects()
    for one in made:
        (asset,) = pipeline.assets(one.id)
        assert sha256(objects[str(asset.object_key)]) == asset.sha256
        assert asset.sha256 in pipeline.served_hashes()
    assert pipeline.charges() == 40
    attempts = [attempt for one in made for attempt in pipeline.story(one.id).attempts]
    assert len(attempts) == 40
