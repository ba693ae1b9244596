"""The story of a generation once per provider: what differs on the wire must not differ in the archive."""

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from tests.patience import patient
from tests.pipeline import Pipeline, Start, sha256
from worker.generation import Operation, State
from worker.providers import PROVIDERS, provider_class
from worker.providers.listing import Listed

#: pictures that one imagine brings: a grid, or four of them
PICTURES = {"acedata": 1, "kie": 4, "ohmygpt": 1, "mjproxy": 1}
#: those that can be asked which task carries our mark
SEARCHABLE = [name for name in PROVIDERS if provider_class(name).listed is not Listed.NO]
UNSEARCHABLE = [name for name in PROVIDERS if name not in SEARCHABLE]
#: those whose faults `test_flow.py` does not tell of already
OTHERS = [name for name in PROVIDERS if name != "acedata"]
LINK = "https://pictures.test/cat.png"


def _picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


FILE = _picture()


def whole(pipeline: Pipeline, generation_id: str) -> list[bytes]:
    """The bytes of its assets as they lie in the bucket, after a comparison with what the ledger says of them."""
    objects = pipeline.objects()
    assets = pipeline.assets(generation_id)
    contents = [objects[str(asset.object_key)] for asset in assets]
    assert [sha256(content) for content in contents] == [asset.sha256 for asset in assets]
    return contents


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_prompt_and_its_follow_up_become_archived_pictures(start: Start, provider: str) -> None:
    pipeline = start()
    (parent_id,) = pipeline.submit("a lighthouse in the fog", provider=provider, follow_up=("upscale2",))
    pipeline.until_settled()

    assert pipeline.path(parent_id) == ["queued", "submitting", "submitted", "succeeded", "archived"]
    _, child = pipeline.all()
    assert (child.action, child.state) == ("upscale2", State.ARCHIVED)
    assert len(whole(pipeline, parent_id)) == PICTURES[provider]
    assert len(whole(pipeline, child.id)) == 1
    assert pipeline.charges() == 2


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("callbacks", [True, False], ids=["a lost callback", "no public address"])
def test_a_silent_provider_is_asked(start: Start, provider: str, callbacks: bool) -> None:
    pipeline = start(callbacks=callbacks)
    (generation_id,) = pipeline.submit("a paper boat sandbox:drop", provider=provider)
    pipeline.until(lambda: pipeline.get(generation_id).state is State.SUBMITTED)
    pipeline.clock.advance(seconds=31)
    pipeline.until(lambda: pipeline.clock.advance(seconds=1) or pipeline.get(generation_id).state is State.ARCHIVED)

    assert len(whole(pipeline, generation_id)) == PICTURES[provider]
    assert pipeline.charges() == 1


@pytest.mark.parametrize("provider", OTHERS)
@pytest.mark.parametrize("fault", ["error_after", "reset", "garbled", "no_task_id"])
def test_an_unclear_submission_is_found_by_its_callback(start: Start, provider: str, fault: str) -> None:
    pipeline = start(delay=patient(0.5))
    (generation_id,) = pipeline.submit(f"a red door sandbox:{fault}", provider=provider)
    pipeline.until_settled()

    assert State.UNCONFIRMED in pipeline.path(generation_id)
    assert pipeline.get(generation_id).state is State.ARCHIVED
    assert len(pipeline.story(generation_id).attempts) == pipeline.charges() == 1


@pytest.mark.parametrize("provider", SEARCHABLE)
def test_an_unclear_submission_without_its_callback_is_found_in_the_list(start: Start, provider: str) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a green door sandbox:reset sandbox:drop", provider=provider)
    pipeline.until(lambda: pipeline.get(generation_id).state is State.UNCONFIRMED)
    pipeline.until(lambda: pipeline.clock.advance(seconds=2) or pipeline.get(generation_id).state is State.ARCHIVED)

    causes = [move.cause for move in pipeline.story(generation_id).transitions]
    assert any(cause.startswith("found in the provider's list by") for cause in causes)
    assert pipeline.charges() == 1


@pytest.mark.parametrize("provider", UNSEARCHABLE)
def test_where_there_is_no_list_it_waits_for_a_person(start: Start, provider: str) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a green door sandbox:reset sandbox:drop", provider=provider)
    pipeline.until(lambda: pipeline.get(generation_id).state is State.UNCONFIRMED)
    for _ in range(5):
        pipeline.clock.advance(hours=1)
        pipeline.step("reconcile")
        pipeline.answer_bells()

    assert pipeline.get(generation_id).state is State.UNCONFIRMED
    assert len(pipeline.sandbox.log("submit")) == pipeline.charges() == 1


@pytest.mark.parametrize("provider", OTHERS)
@pytest.mark.parametrize("fault", ["duplicate", "early", "reorder"])
def test_callbacks_may_come_twice_early_or_out_of_order(start: Start, provider: str, fault: str) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit(f"a clock tower sandbox:{fault}", provider=provider)
    pipeline.until_settled()

    assert pipeline.path(generation_id).count(State.SUCCEEDED) == 1
    assert len(whole(pipeline, generation_id)) == PICTURES[provider]
    assert pipeline.charges() == 1


@pytest.mark.parametrize("provider", OTHERS)
@pytest.mark.parametrize("fault", ["too_many", "unavailable"])
def test_a_refusal_for_lack_of_room_is_tried_again_later(start: Start, provider: str, fault: str) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit(f"a yellow door sandbox:{fault}", provider=provider)
    pipeline.until(lambda: pipeline.clock.advance(seconds=1) or pipeline.get(generation_id).state is State.ARCHIVED)

    assert [attempt.state for attempt in pipeline.story(generation_id).attempts] == ["rejected", "succeeded"]
    assert pipeline.charges() == 1


@pytest.mark.parametrize("provider", OTHERS)
@pytest.mark.parametrize("fault", ["reject", "fail"])
def test_a_refusal_for_good_fails_with_the_providers_words(start: Start, provider: str, fault: str) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit(f"a black door sandbox:{fault}", provider=provider)
    pipeline.until_settled()

    failed = pipeline.get(generation_id)
    assert failed.state is State.FAILED
    assert failed.reason
    assert failed.message
    assert pipeline.charges() == 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_empty_account_pauses_the_provider(start: Start, monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    monkeypatch.setenv(provider_class(provider).key_setting, "used-up")
    pipeline = start()
    ids = pipeline.submit("one", "two", provider=provider)
    pipeline.answer_bells()

    assert {pipeline.get(one).state for one in ids} == {State.QUEUED}
    assert [pause.provider for pause in pipeline.ledger.dispatch.throttled_accounts()] == [provider]
    assert pipeline.charges() == 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_dead_links_are_renewed_through_the_provider(start: Start, provider: str) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a melting snowman sandbox:dead_links", provider=provider)
    pipeline.until(lambda: pipeline.clock.advance(seconds=1) or pipeline.get(generation_id).state is State.ARCHIVED)

    assert len(whole(pipeline, generation_id)) == PICTURES[provider]
    assert all(asset.renewals == 1 for asset in pipeline.assets(generation_id))


@pytest.mark.parametrize(("provider", "picture"), [("acedata", LINK), ("ohmygpt", FILE), ("mjproxy", FILE)])
def test_a_description_is_archived_as_json(start: Start, provider: str, picture: str) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("", provider=provider, operation=Operation.DESCRIBE, images=[picture])
    pipeline.until_settled()

    (content,) = whole(pipeline, generation_id)
    assert len(json.loads(content)["descriptions"]) >= 1
    (asset,) = pipeline.assets(generation_id)
    assert str(asset.object_key).endswith(".json")
    assert asset.content_type == "application/json"


@pytest.mark.parametrize(
    ("operation", "prompt", "field"),
    [(Operation.TRANSLATE, "eine Katze", "content"), (Operation.SHORTEN, "a very long prompt", "prompts")],
)
def test_texts_of_ace_data_cloud_are_archived_as_json(
    start: Start, operation: Operation, prompt: str, field: str
) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit(prompt, provider="acedata", operation=operation)
    pipeline.until_settled()

    (content,) = whole(pipeline, generation_id)
    assert json.loads(content)[field]
    assert pipeline.path(generation_id) == ["queued", "submitting", "succeeded", "archived"]


def test_the_seed_of_a_picture_is_a_follow_up(start: Start) -> None:
    pipeline = start()
    pipeline.submit("a fox", provider="acedata", follow_up=("seed",))
    pipeline.until_settled()

    _, child = pipeline.all()
    (content,) = whole(pipeline, child.id)
    assert json.loads(content)["seed"].isdigit()


VIDEO: dict[str, dict[str, Any]] = {
    "acedata": {"images": [LINK], "video_size": "480p"},
    "kie": {"images": [LINK], "video_size": "720p", "motion": "low", "videos": 2},
}


@pytest.mark.parametrize("provider", VIDEO)
def test_a_film_and_its_extension_are_archived_as_films(start: Start, provider: str) -> None:
    pipeline = start()
    pipeline.submit("the sea", provider=provider, operation=Operation.VIDEO, follow_up=("extend1",), **VIDEO[provider])
    pipeline.until_settled(60)

    film, longer = pipeline.all()
    assert (film.state, longer.state, longer.action) == (State.ARCHIVED, State.ARCHIVED, "extend1")
    for one in (film, longer):
        whole(pipeline, one.id)
        kinds = {asset.content_type for asset in pipeline.assets(one.id)}
        assert "video/mp4" in kinds
        assert all(
            str(asset.object_key).endswith(".mp4") == (asset.content_type == "video/mp4")
            for asset in pipeline.assets(one.id)
        )
    assert pipeline.charges() == 2


@pytest.mark.parametrize(
    ("provider", "pictures"), [("acedata", [LINK, LINK]), ("ohmygpt", [FILE, FILE]), ("mjproxy", [FILE, FILE])]
)
def test_pictures_are_blended(start: Start, provider: str, pictures: list[str]) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("", provider=provider, operation=Operation.BLEND, images=pictures)
    pipeline.until_settled()

    assert pipeline.get(generation_id).state is State.ARCHIVED
    assert len(whole(pipeline, generation_id)) == 1


def test_a_relay_that_drops_the_callback_address_is_asked(start: Start) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a bridge proxy:relay", provider="mjproxy")
    pipeline.until(lambda: pipeline.clock.advance(seconds=2) or pipeline.get(generation_id).state is State.ARCHIVED)

    assert pipeline.story(generation_id).callbacks == ()


def test_a_success_after_a_time_out_failure_wins(start: Start) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a slow snail proxy:java proxy:late-success", provider="mjproxy")
    pipeline.until(lambda: pipeline.get(generation_id).state is State.ARCHIVED)

    assert pipeline.path(generation_id).count(State.FAILED) == 1
    assert pipeline.charges() == 1
