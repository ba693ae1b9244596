"""A provider goes away, and what was never sent to it goes to the next one, from the prompt to the bucket."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tasks.failover import Failover
from tests.commands import darkroom
from tests.pipeline import Pipeline, Start
from worker.generation import GenerationRequest, Operation, State
from worker.ledger.generations import NewGeneration

KIE, ACE, OHMY = "key-of-kie", "key-of-acedata", "key-of-ohmygpt"
CHOICES = ("acedata", "ohmygpt")


@pytest.fixture(autouse=True)
def keys_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in {"KIE_API_KEY": KIE, "ACEDATACLOUD_API_TOKEN": ACE, "OHMYGPT_API_KEY": OHMY}.items():
        monkeypatch.setenv(name, key)
    # One at a time, so that the others wait while the first is tried.
    monkeypatch.setenv("KIE_IN_FLIGHT", "1")
    monkeypatch.setattr("tasks.dispatch.fail_over", Failover())


def submit(
    pipeline: Pipeline,
    *prompts: str,
    providers: tuple[str, ...] = CHOICES,
    follow_up: tuple[str, ...] = (),
    **options: object,
) -> list[str]:
    wanted = [
        NewGeneration(
            provider="kie",
            providers=providers,
            follow_up=follow_up,
            request=GenerationRequest(operation=Operation.IMAGINE, prompt=prompt, options=options),
        )
        for prompt in prompts
    ]
    made = pipeline.ledger.generations.create(wanted)
    pipeline.bells.append("dispatch")
    return [one.id for one in made]


def where(pipeline: Pipeline) -> dict[str, str]:
    return {one.prompt: one.provider for one in pipeline.all() if one.parent_id is None}


def paid(pipeline: Pipeline) -> Counter[str]:
    return Counter(line["key"] for line in pipeline.sandbox.bill()["lines"])


def test_what_was_not_sent_goes_on_elsewhere_and_nothing_is_paid_twice(start: Start) -> None:
    pipeline = start()
    pipeline.sandbox.set_keys({KIE: "used-up"})
    ids = submit(pipeline, *"abcd", follow_up=("upscale1",))
    pipeline.until(lambda: sum(one.state is State.ARCHIVED for one in pipeline.all()) == 6)
    # The one that was tried waits for its account.
    assert where(pipeline) == {"a": "kie", "b": "acedata", "c": "acedata", "d": "acedata"}
    assert paid(pipeline) == {ACE: 6}
    pipeline.sandbox.set_keys({})
    darkroom("resume", "kie")
    pipeline.bells.append("dispatch")
    pipeline.until_settled()
    assert {one.state for one in pipeline.all()} == {State.ARCHIVED}
    # And nothing came back.
    assert paid(pipeline) == {KIE: 2, ACE: 6}
    children = {one.parent_id: one.provider for one in pipeline.all() if one.parent_id}
    assert children == {ids[0]: "kie"} | dict.fromkeys(ids[1:], "acedata")
    told = darkroom("show", ids[1]).output
    assert "→ moved from kie to acedata: paused: " in told
    (change,) = json.loads(darkroom("show", ids[1], "--json").output)["provider_changes"]
    assert (change["left"], change["to"]) == ("kie", "acedata")


def test_a_provider_that_is_not_configured_any_more_is_not_tried(start: Start) -> None:
    pipeline = start(KIE_API_KEY="")
    submit(pipeline, *"ab")
    pipeline.until_settled()
    assert where(pipeline) == {"a": "acedata", "b": "acedata"}
    assert pipeline.all()[0].provider_changes[0].why.startswith("not configured: KIE_API_KEY is not set")


def test_another_key_keeps_what_is_left_where_it_is(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = start()
    pipeline.sandbox.set_keys({KIE: "used-up"})
    submit(pipeline, "a", "b", providers=())
    pipeline.answer_bells()
    submit(pipeline, "c")
    pipeline.clock.advance(minutes=2)
    # A worker that was started with it.
    monkeypatch.setattr(pipeline.here, "key_marks", lambda _: {"default": "of another key"})
    pipeline.step("dispatch")
    assert where(pipeline) == {"a": "kie", "b": "kie", "c": "kie"}


def test_each_goes_to_the_next_that_can_make_it_and_is_not_stopped_itself(start: Start) -> None:
    pipeline = start()
    pipeline.sandbox.set_keys({KIE: "used-up", ACE: "invalid"})
    submit(pipeline, "tried at kie", providers=())
    pipeline.submit("tried at acedata")
    pipeline.answer_bells()
    # OhMyGPT has no such option, so this one waits for the others.
    (only,) = submit(pipeline, "only there", translation="true")
    (plain,) = submit(pipeline, "plain")
    pipeline.answer_bells()
    assert (where(pipeline)["plain"], where(pipeline)["only there"]) == ("ohmygpt", "kie")
    assert pipeline.get(only).providers == ("acedata",)
    pipeline.sandbox.set_keys({KIE: "used-up"})
    darkroom("resume", "acedata")
    pipeline.until(lambda: pipeline.get(only).state is State.ARCHIVED)
    assert (pipeline.get(only).provider, pipeline.get(only).providers) == ("acedata", ())
    # It has been there, and could go to one more.
    assert [(one.left, one.to) for one in pipeline.get(plain).provider_changes] == [("kie", "ohmygpt")]


def test_too_many_requests_move_nothing(start: Start) -> None:
    pipeline = start()
    pipeline.sandbox.set_keys({KIE: "too_many"})
    ids = submit(pipeline, *"abcd")
    for _ in range(3):
        pipeline.answer_bells()
        pipeline.step("dispatch")
        pipeline.clock.advance(seconds=0.5)
    assert {one.provider for one in pipeline.ledger.generations.get(ids)} == {"kie"}
    assert pipeline.ledger.dispatch.throttled_accounts()


def test_a_full_daily_budget_sends_on_only_what_another_has_room_for(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(
        "prices:\n- {provider: kie, price: 1}\n- {provider: acedata, price: 2}\n"
        "caps:\n  providers: {kie: 1, acedata: 5}\n"
    )
    pipeline = start(DARKROOM_PRICES=str(file), KIE_IN_FLIGHT="10")
    ids = submit(pipeline, *"abcd", providers=("acedata",))
    pipeline.until(lambda: sum(one.state is State.ARCHIVED for one in pipeline.all()) == 3)
    assert Counter(where(pipeline).values()) == {"kie": 2, "acedata": 2}
    assert pipeline.get(ids[1]).provider_changes[0].why.startswith("the daily budget for kie has no room")
    assert pipeline.get(ids[3]).reason == "budget"


def test_where_nothing_can_move_a_queue_is_not_read_each_second(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = start()
    pipeline.sandbox.set_keys({KIE: "used-up", ACE: "used-up"})
    submit(pipeline, "tried at kie", providers=())
    pipeline.submit("tried at acedata")
    pipeline.answer_bells()
    submit(pipeline, *"abc", providers=("acedata",))
    pipeline.answer_bells()
    read: list[str] = []
    movable = pipeline.ledger.dispatch.movable

    def noted(*arguments: Any, **options: Any) -> Any:
        read.append(arguments[0])
        return movable(*arguments, **options)

    monkeypatch.setattr(pipeline.ledger.dispatch, "movable", noted)
    for _ in range(5):
        pipeline.step("dispatch")
    assert read == []
    darkroom("resume", "acedata")
    pipeline.step("dispatch")
    assert read == ["kie"]
    assert where(pipeline)["a"] == "acedata"


def test_a_pass_that_runs_out_of_time_goes_on_where_it_was(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.failover.PAGE", 1)
    monkeypatch.setattr("tasks.failover._SLICE", 0)
    pipeline = start(OHMYGPT_API_KEY="", KIE_API_KEY="")
    submit(pipeline, *"ab", providers=("ohmygpt",))
    submit(pipeline, *"cd", providers=("acedata",))
    for _ in range(4):
        pipeline.step("dispatch")
    assert where(pipeline) == {"a": "kie", "b": "kie", "c": "acedata", "d": "acedata"}
