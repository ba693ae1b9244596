"""In each step of the flow: a first row that raises does not keep the second from being done, and is told."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select, text

from tasks import archive, delivering, follow_up, manifest, poll
from tests.commands import darkroom
from tests.pipeline import Pipeline, Start
from tests.tasks.subscribing import subscriber
from tests.worker.subscribers.test_standard_webhooks import SECRET
from worker.generation import GenerationRequest, Operation, State
from worker.ledger.generations import NewGeneration
from worker.ledger.generations.follow_ups import MAX_TRIES as FOLLOW_UP_TRIES
from worker.ledger.outcome.callbacks import MAX_TRIES as CALLBACK_TRIES
from worker.ledger.schema import callbacks, metadata
from worker.providers.acedata import AceDataCloud
from worker.services import Services

Patch = pytest.MonkeyPatch


def breaks(is_first: Callable[..., bool], call: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which raises for the first row."""

    def broken(*args: Any, **facts: Any) -> Any:
        if is_first(*args, **facts):
            raise KeyError("what nobody has thought of")
        return call(*args, **facts)

    return broken


def dispatch_goes_on(pipeline: Pipeline, patch: Patch) -> None:
    patch.setattr(Services, "limits", breaks(lambda _, name: name == "acedata", Services.limits))
    pipeline.submit("first")
    (second,) = pipeline.submit("second", provider="kie")
    pipeline.step("dispatch")
    pipeline.step("submit")
    assert pipeline.get(second).state is State.SUBMITTED


def submit_goes_on(pipeline: Pipeline, patch: Patch) -> None:
    broken = breaks(lambda _, request, mark: request.body["prompt"] == "first", AceDataCloud.submit)
    patch.setattr(AceDataCloud, "submit", broken)
    first, second = pipeline.submit("first", "second")
    pipeline.until(lambda: pipeline.get(second).state is State.ARCHIVED)
    one = pipeline.get(first)
    assert (one.state, one.reason) == (State.FAILED, "not_translated")
    assert "nothing was sent" in str(one.message)
    assert "KeyError: 'what nobody has thought of'" in str(one.message)
    assert pipeline.charges() == 1


def called_back(pipeline: Pipeline) -> list[str]:
    """Two whose callbacks are here, and read by nobody."""
    made = pipeline.submit("first", "second")
    pipeline.step("dispatch")
    pipeline.step("submit")
    for one in made:
        pipeline.until_called_back(one)
    return made


def ingest_goes_on(pipeline: Pipeline, patch: Patch) -> None:
    first, second = called_back(pipeline)
    task_id = str(pipeline.get(first).task_id)
    broken = breaks(lambda _, headers, body, at: task_id in str(body), AceDataCloud.parse_callback)
    patch.setattr(AceDataCloud, "parse_callback", broken)
    pipeline.step("ingest")
    assert pipeline.get(second).state is State.SUCCEEDED
    for _ in range(CALLBACK_TRIES):
        pipeline.clock.advance(seconds=31)
        pipeline.step("ingest")
    dead = pipeline.ledger.callbacks.dead()
    assert {(one.generation_id, one.verdict) for one in dead} == {(first, "poison")}
    assert all("KeyError: 'what nobody has thought of'" in str(one.error) for one in dead)


def writing_down_goes_on(pipeline: Pipeline, patch: Patch) -> None:
    """One of several outcomes cannot be written into the ledger."""
    first, second = called_back(pipeline)
    attempt = pipeline.story(first).attempts[0].id
    outcomes = pipeline.ledger.generations
    patch.setattr(
        outcomes,
        "apply_outcomes",
        breaks(lambda news, **_: attempt in {one.attempt_id for one in news}, outcomes.apply_outcomes),
    )
    pipeline.step("ingest")
    assert pipeline.get(second).state is State.SUCCEEDED


def poll_goes_on(pipeline: Pipeline, patch: Patch) -> None:
    first, second = pipeline.submit("first sandbox:drop", "second sandbox:drop")
    pipeline.answer_bells()
    task_id = pipeline.get(first).task_id
    patch.setattr(AceDataCloud, "fetch", breaks(lambda _, task_ids: task_id in task_ids, AceDataCloud.fetch))
    pipeline.until(
        lambda: pipeline.clock.advance(seconds=31) or pipeline.get(second).state in {State.SUCCEEDED, State.ARCHIVED}
    )
    assert pipeline.get(first).state is State.SUBMITTED


def news_of_a_poll_go_on(pipeline: Pipeline, patch: Patch) -> None:
    first, second = pipeline.submit("first sandbox:drop", "second sandbox:drop")
    pipeline.answer_bells()
    attempt = pipeline.story(first).attempts[0].id
    patch.setattr(poll, "news_of", breaks(lambda _, __, attempt_id, *___, **____: attempt_id == attempt, poll.news_of))
    pipeline.until(
        lambda: pipeline.clock.advance(seconds=31) or pipeline.get(second).state in {State.SUCCEEDED, State.ARCHIVED}
    )
    assert pipeline.get(first).state is State.SUBMITTED


def archive_goes_on(pipeline: Pipeline, patch: Patch) -> None:
    first, second = pipeline.submit("first", "second")
    broken = breaks(lambda _, claim, *__: claim.generation.id == first, archive._fetch_and_put)
    patch.setattr(archive, "_fetch_and_put", broken)
    pipeline.until(lambda: pipeline.get(second).state is State.ARCHIVED)
    pipeline.until(lambda: any("could not archive it: KeyError" in str(one.error) for one in pipeline.assets(first)))
    pipeline.until(lambda: pipeline.clock.advance(days=2) or pipeline.get(first).state is State.EXPIRED)


def sidecars_go_on(pipeline: Pipeline, patch: Patch) -> None:
    first, second = pipeline.submit("first", "second")
    patch.setattr(archive, "sidecar", breaks(lambda generation, *_: generation.id == first, archive.sidecar))
    pipeline.until(
        lambda: pipeline.get(second).state is State.ARCHIVED and any(one.error for one in pipeline.assets(first))
    )
    assert "could not write the sidecar: KeyError" in str(pipeline.assets(first)[0].error)


def follow_up_goes_on(pipeline: Pipeline, patch: Patch) -> None:
    first, second = pipeline.submit("first", "second", follow_up=("upscale1",))
    with patch.context() as bug:
        is_first = breaks(lambda _, parent: parent.id == first, follow_up.plan_short_form)
        bug.setattr(follow_up, "plan_short_form", is_first)
        pipeline.until(lambda: pipeline.story(second).children and pipeline.get(first).state is State.ARCHIVED)
        for _ in range(FOLLOW_UP_TRIES):
            pipeline.clock.advance(minutes=10)
            pipeline.step("follow_up")
        assert "follow_up" not in pipeline.ledger.maintenance.due()
    (letter,) = [json.loads(line) for line in darkroom("dead", "--json").stdout.splitlines()]
    assert (letter["id"], letter["kind"], letter["generation"]) == (f"follow-up:{first}", "follow-ups", first)
    assert letter["error"] == "KeyError: 'what nobody has thought of'"
    assert "follow_up.refused" in darkroom("show", first).stdout
    assert "follow-ups" in darkroom("doctor").stdout
    assert not pipeline.story(first).children
    assert darkroom("dead", "replay", f"follow-up:{first}").exit_code == 0
    pipeline.step("follow_up")
    assert len(pipeline.story(first).children) == 1
    assert darkroom("dead", "replay", f"follow-up:{first}").exit_code == 1


def manifest_goes_on(pipeline: Pipeline, patch: Patch) -> None:
    wanted = [NewGeneration(provider="acedata", request=GenerationRequest(operation=Operation.IMAGINE, prompt="a fox"))]
    (first,), (second,) = (pipeline.ledger.generations.create(wanted, name) for name in ("first", "second"))
    pipeline.ledger.generations.cancel([first.id, second.id])
    patch.setattr(manifest, "write", breaks(lambda _, claim: claim.id == first.batch_id, manifest.write))
    pipeline.step("manifest")
    assert [name for name in pipeline.objects() if "manifest" in name and str(second.batch_id) in name]


def reconcile_goes_on(pipeline: Pipeline, patch: Patch) -> None:
    ledger = pipeline.ledger
    for whose, name in (
        (ledger.submissions, "mark_lost_unconfirmed"),
        (ledger.assets, "note_risks"),
        (ledger.events, "register_subscribers"),
    ):
        patch.setattr(whose, name, breaks(lambda *_: True, getattr(whose, name)))
    pipeline.submit("first")
    pipeline.bells.clear()
    pipeline.step("reconcile")
    assert list(pipeline.bells) == ["dispatch"]


STEPS = (
    dispatch_goes_on, submit_goes_on, ingest_goes_on, writing_down_goes_on, poll_goes_on, news_of_a_poll_go_on,
    archive_goes_on, sidecars_go_on, follow_up_goes_on, manifest_goes_on, reconcile_goes_on,
)  # fmt: skip


@pytest.mark.parametrize("goes_on", STEPS)
def test_the_first_raises_and_the_second_is_done(
    start: Start, monkeypatch: Patch, caplog: pytest.LogCaptureFixture, goes_on: Callable[[Pipeline, Patch], None]
) -> None:
    goes_on(start(), monkeypatch)
    assert "what nobody has thought of" in caplog.text


def test_a_reply_of_no_known_type_may_have_been_paid_for(start: Start, monkeypatch: Patch) -> None:
    """Left out of what is recorded, it would wait for the end of its lease as if its worker had died."""
    pipeline, post = start(), AceDataCloud.submit
    monkeypatch.setattr(AceDataCloud, "submit", lambda *facts: str(post(*facts)))
    (generation_id,) = pipeline.submit("a fox sandbox:drop")
    pipeline.step("dispatch")
    pipeline.step("submit")
    one = pipeline.get(generation_id)
    assert (one.state, one.reason) == (State.UNCONFIRMED, "unexpected")
    assert pipeline.charges() == 1


def test_an_event_that_cannot_be_sent_hinders_no_other_subscriber(
    start: Start, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    with subscriber() as first, subscriber() as second:
        pipeline = start(DARKROOM_NOTIFY_URLS=f"{first.url},{second.url}", DARKROOM_NOTIFY_SECRET=SECRET)
        port = urlsplit(first.url).port
        monkeypatch.setattr(delivering, "_post", breaks(lambda line, *_: line._target.port == port, delivering._post))
        pipeline.submit("a fox")
        pipeline.until(lambda: "generation.archived" in second.types)
    assert first.types == []
    assert "what nobody has thought of" in caplog.text
    (troubled,) = pipeline.ledger.events.failing_subscribers(lambda *_: True)
    assert (troubled.failures, troubled.error) == (
        1, "could not send it: KeyError: 'what nobody has thought of'",
    )  # fmt: skip


@contextmanager
def not_upgraded(pipeline: Pipeline, table: str) -> Iterator[None]:
    """As in the minutes in which new workers run on old tables."""
    with pipeline.ledger.database.write() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO later"))
    yield
    with pipeline.ledger.database.write() as connection:
        connection.execute(text(f"ALTER TABLE later RENAME TO {table}"))


def test_no_callback_is_blamed_for_tables_that_are_not_upgraded(start: Start) -> None:
    pipeline = start()
    made = called_back(pipeline)
    with not_upgraded(pipeline, "transitions"):
        pipeline.step("ingest")
    with pipeline.ledger.database.read() as connection:
        assert set(connection.execute(select(callbacks.c.error)).scalars()) == {None}
    pipeline.clock.advance(seconds=31)
    pipeline.step("ingest")
    assert [pipeline.get(one).state for one in made] == [State.SUCCEEDED] * 2


def test_no_follow_up_is_given_up_for_tables_that_are_not_upgraded(start: Start) -> None:
    pipeline = start()
    (parent,) = pipeline.submit("a fox", follow_up=("upscale1",))
    pipeline.step("dispatch")
    pipeline.step("submit")
    with not_upgraded(pipeline, "flows"):
        pipeline.until(lambda: pipeline.get(parent).state is State.ARCHIVED)
        for _ in range(FOLLOW_UP_TRIES):
            pipeline.clock.advance(minutes=10)
            pipeline.step("follow_up")
    assert darkroom("dead").stdout == ""
    pipeline.until(lambda: len(pipeline.all()) == 2)


def test_an_error_after_the_post_leaves_it_to_be_found(start: Start, monkeypatch: Patch) -> None:
    """It may be paid for, so it is not told as if nothing had been sent."""

    def break_after(provider: AceDataCloud, *args: Any) -> Any:
        real(provider, *args)
        raise KeyError("what nobody has thought of")

    real = AceDataCloud.submit
    monkeypatch.setattr(AceDataCloud, "submit", break_after)
    pipeline = start(delay=5)
    (generation_id,) = pipeline.submit("a fox")
    pipeline.step("dispatch")
    pipeline.step("submit")
    one = pipeline.get(generation_id)
    assert (one.state, one.reason) == (State.UNCONFIRMED, "unexpected")
    assert pipeline.charges() == 1


def test_a_provider_that_was_taken_out_is_told_and_hinders_nobody(start: Start) -> None:
    pipeline = start()
    first, second = (pipeline.submit("a fox", provider=name)[0] for name in ("gone", "acedata"))
    pipeline.until(lambda: pipeline.get(second).state is State.ARCHIVED)
    assert pipeline.get(first).state is State.QUEUED
    assert "provider gone, which this version does not know" in " ".join(darkroom("doctor").stdout.split())


def test_follow_ups_that_were_given_up_can_be_dismissed(start: Start, monkeypatch: Patch) -> None:
    pipeline = start()
    (parent,) = pipeline.submit("a fox", follow_up=("upscale1",))
    monkeypatch.setattr(follow_up, "plan_short_form", breaks(lambda *_: True, follow_up.plan_short_form))
    pipeline.until(lambda: pipeline.get(parent).state is State.ARCHIVED)
    for _ in range(FOLLOW_UP_TRIES):
        pipeline.clock.advance(minutes=10)
        pipeline.step("follow_up")
    assert darkroom("dead", "dismiss", f"follow-up:{parent}", "--why", "never mind").exit_code == 0
    assert darkroom("dead").stdout == ""
    assert "never mind" in darkroom("show", parent).stdout
    assert darkroom("dead", "dismiss", f"follow-up:{parent}").exit_code == 1


def test_a_task_that_cannot_be_taken_in_hinders_no_other(start: Start, monkeypatch: Patch) -> None:
    pipeline = start()
    made = pipeline.submit("first", "second")
    pipeline.until_settled()
    tasks = list(pipeline.here.provider("acedata").recent(pipeline.clock() - timedelta(hours=1)))
    with pipeline.ledger.database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    # As a ledger that knows none of them; but the first one's key stands for something else.
    key = f"rescue/acedata/{tasks[0].outcome.task_id}"
    request = GenerationRequest(operation=Operation.IMAGINE, prompt="something else")
    pipeline.ledger.generations.create([NewGeneration(provider="acedata", request=request, dedupe=key)])
    result = darkroom("rescue", "--provider", "acedata", "--since", "1h", "--json")
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(told) == len(made), result.output
    assert [one["imported"] for one in told] == [False, True]
    assert "skipped: it cannot be stored: KeyTaken" in told[0]["message"]
