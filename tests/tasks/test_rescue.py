"""`darkroom rescue` from the provider's list to the bucket, and second looks: what nobody called back about is kept."""

import json
from typing import Any

import pytest

from tests.commands import darkroom
from tests.patience import patient, wait_for
from tests.pipeline import Pipeline, Start
from tests.worker.providers.contract import send
from worker.generation import Accepted, GenerationRequest, Operation, State, Status
from worker.providers import Mark

LISTED = ("acedata", "ohmygpt", "mjproxy")
ATTEMPT = "0123456789abcdef" * 2


def rescue(provider: str, *more: str) -> list[dict[str, Any]]:
    result = darkroom("rescue", "--provider", provider, "--since", "24h", "--json", *more)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def elsewhere(pipeline: Pipeline, provider: str, prompt: str, callback_url: str | None = None) -> str:
    """Submitted past the ledger; its task_id."""
    mark = Mark(ATTEMPT, callback_url)
    reply = send(pipeline.here.provider(provider), GenerationRequest(operation=Operation.IMAGINE, prompt=prompt), mark)
    assert isinstance(reply, Accepted)
    return reply.task_id


@pytest.mark.parametrize("provider", LISTED)
def test_what_was_made_elsewhere_is_archived_and_nothing_is_charged(start: Start, provider: str) -> None:
    pipeline = start()
    (known,) = pipeline.submit("a lighthouse", provider=provider)
    pipeline.until_settled()
    theirs = elsewhere(pipeline, provider, "a boat of others", "http://127.0.0.1:1/hook")
    failed = elsewhere(pipeline, provider, "a wreck sandbox:fail", "http://127.0.0.1:1/hook")
    pipeline.until(lambda: pipeline.here.provider(provider).fetch([failed])[failed].reason is not None)
    charges = pipeline.charges()

    announced = rescue(provider, "--dry-run")
    assert [one.state for one in pipeline.all()] == [State.ARCHIVED]
    told = {one["task_id"]: one for one in rescue(provider)}
    assert {one["task_id"]: one["imported"] for one in announced} == {theirs: True, failed: False}
    assert {task_id: one["imported"] for task_id, one in told.items()} == {theirs: True, failed: False}
    assert told[failed]["message"] == "skipped: it failed at the provider"
    pipeline.until_settled()

    assert [one.id for one in pipeline.all()] == [known, told[theirs]["generation"]]
    _, rescued = pipeline.all()
    assert (rescued.state, rescued.task_id, rescued.operation) == (State.ARCHIVED, theirs, "imagine")
    assert "a boat of others" in rescued.prompt
    assert len(pipeline.objects()) == 4
    assert pipeline.charges() == charges
    assert rescue(provider) == [told[failed]]
    assert len(pipeline.all()) == 2


@pytest.mark.parametrize("provider", LISTED)
def test_what_is_still_drawn_is_taken_and_asked_for(start: Start, provider: str) -> None:
    pipeline = start(callbacks=False, delay=patient(0.6))
    elsewhere(pipeline, provider, "a slow boat")
    (told,) = rescue(provider)
    assert pipeline.get(told["generation"]).state is State.SUBMITTED
    pipeline.until(
        lambda: pipeline.clock.advance(seconds=1) or pipeline.get(told["generation"]).state is State.ARCHIVED
    )


@pytest.mark.parametrize("provider", LISTED)
def test_one_that_the_ledger_forgot_is_found_by_its_callback_again(start: Start, provider: str) -> None:
    pipeline = start(delay=patient(2))
    elsewhere(pipeline, provider, "a forgotten boat", pipeline.here.callback_url(provider, ATTEMPT))
    (told,) = rescue(provider)
    pipeline.until_called_back(told["generation"])
    pipeline.step("ingest")
    pipeline.until_settled()
    assert [move.cause for move in pipeline.story(told["generation"]).transitions][3] == "callback"
    assert [attempt.id for attempt in pipeline.story(told["generation"]).attempts] == [ATTEMPT]


@pytest.mark.parametrize("provider", LISTED)
def test_an_unclear_submission_is_found_and_not_taken_for_another(start: Start, provider: str) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a green door sandbox:reset sandbox:drop", provider=provider)
    pipeline.until(lambda: pipeline.get(generation_id).state is State.UNCONFIRMED)
    (told,) = rescue(provider)
    assert (told["generation"], told["imported"]) == (generation_id, True)
    pipeline.until(lambda: pipeline.clock.advance(seconds=1) or pipeline.get(generation_id).state is State.ARCHIVED)
    assert len(pipeline.all()) == pipeline.charges() == 1


def test_one_that_may_be_ours_is_left_with_the_words_that_resolve_it(start: Start) -> None:
    pipeline = start(callbacks=False)
    (generation_id,) = pipeline.submit("a green door sandbox:reset")
    pipeline.until(lambda: pipeline.get(generation_id).state is State.UNCONFIRMED)
    (told,) = rescue("acedata")
    assert (told["generation"], told["imported"]) == (generation_id, False)
    arguments = told["message"].partition(": darkroom ")[2].split()
    assert arguments == ["resolve", generation_id, "--charged", "--task-id", told["task_id"]]
    assert len(pipeline.all()) == 1

    assert darkroom(*arguments).exit_code == 0
    pipeline.until(lambda: pipeline.clock.advance(seconds=1) or pipeline.get(generation_id).state is State.ARCHIVED)
    assert rescue("acedata") == []
    assert pipeline.charges() == 1


def test_kie_has_no_list(start: Start) -> None:
    start()
    result = darkroom("rescue", "--provider", "kie", "--since", "24h")
    assert result.exit_code == 1
    assert "darkroom: Kie.ai has no list of its tasks" in result.stderr


def test_people_are_told_the_sum(start: Start) -> None:
    pipeline = start()
    elsewhere(pipeline, "acedata", "a boat", "http://127.0.0.1:1/hook")
    dry, wet, again = (darkroom("rescue", "--provider", "acedata", "--since", "1h", *more)
                       for more in (["--dry-run"], [], []))  # fmt: skip
    assert dry.stderr == "1 would be imported\n"
    assert "imagine  a boat  would be imported" in dry.stdout
    assert (wet.stdout, wet.stderr) == ("", "1 imported\n")
    assert (again.stdout, again.stderr) == ("", "0 imported; 1 left alone: 1 already in the ledger\n")


@pytest.mark.parametrize("arguments", [(), ("--provider", "acedata"), ("--provider", "acedata", "--since", "soon")])
def test_what_shall_be_rescued_must_be_clear(start: Start, arguments: tuple[str, ...]) -> None:
    assert darkroom("rescue", *arguments).exit_code == 2


def test_a_success_that_came_after_a_time_out_without_a_callback_is_kept(start: Start) -> None:
    pipeline = start(callbacks=False, delay=patient(2.5))
    (generation_id,) = pipeline.submit("a slow snail proxy:java proxy:late-success", provider="mjproxy")
    pipeline.until(lambda: pipeline.get(generation_id).task_id is not None)
    task_id = str(pipeline.get(generation_id).task_id)

    def shown() -> Status:
        return pipeline.here.provider("mjproxy").fetch([task_id])[task_id].status

    assert wait_for(lambda: shown() is Status.FAILED, seconds=20)
    pipeline.clock.advance(minutes=1)
    pipeline.step("poll")
    assert pipeline.get(generation_id).state is State.FAILED
    pipeline.until(lambda: shown() is Status.SUCCEEDED)
    assert pipeline.get(generation_id).state is State.FAILED

    pipeline.clock.advance(minutes=10)
    pipeline.until(lambda: pipeline.get(generation_id).state is State.ARCHIVED)
    assert "poll: success after failure" in [move.cause for move in pipeline.story(generation_id).transitions]


def test_while_lists_are_read_it_is_told_how_far_that_is(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = start()
    elsewhere(pipeline, "acedata", "a boat of others", "http://127.0.0.1:1/hook")
    monkeypatch.setattr("tasks.cli.ui.list_progress._PAUSE", 0)
    for command in (("rescue", "--provider", "acedata", "--since", "24h", "--dry-run"), ("reconcile",)):
        result = darkroom(*command, "--json")
        assert "reading the list of acedata: 1 so far\n" in result.stderr
        assert "reading" not in result.stdout
