"""Without a public address the provider's list shows no mark of ours: an unclear submission is found by its request."""

from contextlib import nullcontext
from typing import Any

import pytest
import requests

from tests.patience import patient
from tests.pipeline import Pipeline, Start, soon_without_answer
from worker.generation import Operation, State
from worker.ledger.changes import Person
from worker.ledger.submission import Decision

PROVIDERS = ("acedata", "ohmygpt")


def unclear(pipeline: Pipeline, *prompts: str, fault: str = "reset", **facts: Any) -> list[str]:
    """Submitted, and the reply is lost."""
    pipeline.sandbox.set_faults({fault: 1})
    ids = pipeline.submit(*prompts, **facts)
    with soon_without_answer() if fault == "hang" else nullcontext():
        pipeline.until(lambda: all(pipeline.get(one).state is State.UNCONFIRMED for one in ids))
    pipeline.sandbox.set_faults({})
    return ids


def until_archived(pipeline: Pipeline, ids: list[str]) -> None:
    def is_done() -> bool:
        pipeline.clock.advance(seconds=2)
        return all(pipeline.get(one).state is State.ARCHIVED for one in ids)

    pipeline.until(is_done)


def look(pipeline: Pipeline) -> None:
    """Look for what is unclear a few times."""
    for _ in range(4):
        pipeline.clock.advance(minutes=2)
        pipeline.step("poll")
        pipeline.answer_bells()


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fault", ["hang", "reset", "error_after", "garbled", "no_task_id"])
def test_a_lost_reply_is_found_by_its_request(start: Start, provider: str, fault: str) -> None:
    pipeline = start(callbacks=False)
    (generation_id,) = unclear(pipeline, "a green door", fault=fault, provider=provider, aspect_ratio="16:9")
    until_archived(pipeline, [generation_id])
    causes = [move.cause for move in pipeline.story(generation_id).transitions]
    assert any(cause.startswith("found in the provider's list by its request") for cause in causes)
    assert len(pipeline.sandbox.log("submit")) == pipeline.charges() == 1


def test_of_identical_ones_those_that_were_taken_are_found_and_the_others_stay_unclear(start: Start) -> None:
    pipeline = start(callbacks=False)
    ids = unclear(pipeline, *["a fox"] * 3) + unclear(pipeline, *["a fox"] * 2, fault="error_before")
    archived = [State.ARCHIVED] * 3 + [State.UNCONFIRMED] * 2

    def is_done() -> bool:
        pipeline.clock.advance(seconds=2)
        return sorted(pipeline.get(one).state for one in ids) == archived

    pipeline.until(is_done)
    look(pipeline)
    assert sorted(pipeline.get(one).state for one in ids) == archived
    tasks = {task_id for one in ids if (task_id := pipeline.get(one).task_id)}
    assert len(tasks) == pipeline.charges() == 3


def test_tasks_that_are_known_are_nobody_elses(start: Start) -> None:
    pipeline = start(callbacks=False)
    pipeline.submit(*["a fox"] * 3)
    pipeline.until_settled()
    until_archived(pipeline, unclear(pipeline, "a fox"))


@pytest.mark.parametrize(
    ("operation", "options"),
    [
        (Operation.VIDEO, {"images": "https://pictures.test/a.png", "video_size": "720p"}),
        (Operation.EDIT, {"images": "https://pictures.test/a.png"}),
        (Operation.IMAGINE, {"version": "7", "speed": "fast", "split_images": False, "quality": "1"}),
    ],
)
def test_whatever_the_list_shows_is_found(start: Start, operation: Operation, options: dict[str, Any]) -> None:
    pipeline = start(callbacks=False)
    until_archived(pipeline, unclear(pipeline, "the sea", operation=operation, **options))


def test_a_follow_up_is_found_too(start: Start) -> None:
    pipeline = start(callbacks=False)
    (parent,) = pipeline.submit("a lighthouse", follow_up=("upscale2",))
    pipeline.until(lambda: pipeline.get(parent).state is State.SUBMITTED)
    pipeline.sandbox.set_faults({"reset": 1})
    pipeline.until(lambda: any(one.state is State.UNCONFIRMED for one in pipeline.all()))
    pipeline.sandbox.set_faults({})
    until_archived(pipeline, [one.id for one in pipeline.all()])


def elsewhere(pipeline: Pipeline, prompt: str, **fields: Any) -> str:
    """Somebody else submits with the same key; the task_id."""
    body = {"action": "generate", "prompt": prompt, "async": True, **fields}
    token = {"Authorization": "Bearer token-of-the-tests"}
    with requests.Session() as session:
        reply = session.post(
            f"{pipeline.sandbox.url}/midjourney/imagine", json=body, headers=token, timeout=patient(10)
        )
        return str(reply.json()["task_id"])


def candidates(pipeline: Pipeline, generation_id: str) -> tuple[str, ...]:
    assert pipeline.get(generation_id).state is State.UNCONFIRMED
    (attempt,) = pipeline.story(generation_id).attempts
    return attempt.candidates


@pytest.mark.parametrize("mark", ["https://other.test/callbacks/acedata/" + "ab" * 16 + "/k1.x", "https://other.test/"])
def test_where_somebody_else_uses_the_account_a_person_is_shown_what_it_may_be(start: Start, mark: str) -> None:
    pipeline = start(callbacks=False)
    other = elsewhere(pipeline, "something else", callback_url=mark)
    (generation_id,) = unclear(pipeline, "a red door")
    look(pipeline)
    (candidate,) = candidates(pipeline, generation_id)
    assert candidate != other
    # The person looks, and says so.
    pipeline.ledger.submissions.resolve([generation_id], Decision.CHARGED, Person("somebody"), candidate)
    until_archived(pipeline, [generation_id])


def test_one_more_than_was_sent_is_somebody_elses(start: Start) -> None:
    pipeline = start(callbacks=False)
    (generation_id,) = unclear(pipeline, "a red door")
    other = elsewhere(pipeline, "a red door")
    look(pipeline)
    assert len(candidates(pipeline, generation_id)) == 2
    assert other in candidates(pipeline, generation_id)


def test_another_request_of_somebody_else_changes_nothing(start: Start) -> None:
    pipeline = start(callbacks=False)
    (generation_id,) = unclear(pipeline, "a red door")
    elsewhere(pipeline, "a red door", mode="turbo")
    until_archived(pipeline, [generation_id])


def test_with_a_public_address_a_task_without_a_mark_is_never_taken(start: Start) -> None:
    pipeline = start()
    (generation_id,) = unclear(pipeline, "a red door", fault="error_before")
    elsewhere(pipeline, "a red door")
    look(pipeline)
    assert candidates(pipeline, generation_id) == ()
