"""What the clock asks providers, through the whole flow: what it learns from, and where it stops."""

import pytest
from sqlalchemy import select

from tests.pipeline import Pipeline, Start
from worker.correlation import Signer
from worker.errors import QueryFailed
from worker.generation import State
from worker.ledger.schema import attempts, durations
from worker.ledger.submission.durations import ENOUGH
from worker.providers.acedata import AceDataCloud
from worker.services import Services


def learned(pipeline: Pipeline) -> dict[tuple[str, str, str], tuple[int, float]]:
    with pipeline.ledger.database.read() as connection:
        rows = connection.execute(select(durations)).all()
    return {(row.provider, row.operation, row.speed): (row.seen, row.mean) for row in rows}


@pytest.mark.parametrize("callbacks", [True, False], ids=["callbacks", "no public address"])
def test_the_usual_time_is_learned_from_what_succeeds(start: Start, callbacks: bool) -> None:
    pipeline = start(callbacks=callbacks, delay=0.2)
    pipeline.submit("a fox", "an owl", "a boat sandbox:fail", speed="turbo")
    pipeline.until_settled()
    ((kind, (seen, mean)),) = learned(pipeline).items()
    assert (kind, seen) == (("acedata", "imagine", "turbo"), 2)
    assert 0.1 < mean < 10


@pytest.mark.parametrize("callbacks", [True, False], ids=["callbacks", "no public address"])
def test_what_is_called_back_about_is_given_more_time(start: Start, callbacks: bool) -> None:
    pipeline = start(callbacks=callbacks, delay=0.2)
    pipeline.submit(*["a fox"] * ENOUGH)
    pipeline.until_settled()
    usual = learned(pipeline)["acedata", "imagine", ""][1]
    (generation_id,) = pipeline.submit("a slow fox sandbox:delay")
    pipeline.until(lambda: pipeline.get(generation_id).state is State.SUBMITTED)
    with pipeline.ledger.database.read() as connection:
        row = connection.execute(select(attempts).where(attempts.c.generation_id == generation_id)).one()
    submitted_at = pipeline.get(generation_id).submitted_at
    assert ((row.poll_at - submitted_at).total_seconds() > usual + 4) is callbacks


def test_a_lost_callback_teaches_nothing(start: Start) -> None:
    """It may have ended long before it was asked for; and each such lesson would make the next question later."""
    pipeline = start(delay=0.2)
    (generation_id,) = pipeline.submit("a fox sandbox:drop")
    pipeline.until(lambda: pipeline.get(generation_id).state is State.SUBMITTED)
    pipeline.clock.advance(seconds=31)
    pipeline.until(lambda: pipeline.clock.advance(seconds=1) or pipeline.get(generation_id).state is State.ARCHIVED)
    assert learned(pipeline) == {}


def test_a_list_that_was_away_until_the_horizon_is_asked_when_it_is_back(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_HORIZON_MINUTES", "30")
    pipeline = start(delay=0.2)
    (generation_id,) = pipeline.submit("a green door sandbox:reset sandbox:drop")
    pipeline.until(lambda: pipeline.get(generation_id).state is State.UNCONFIRMED)
    with monkeypatch.context() as outage:

        def away(*_: object, **__: object) -> None:
            raise QueryFailed("the provider is away", code="connection_refused")

        outage.setattr(AceDataCloud, "_list", away)
        for _ in range(8):
            pipeline.clock.advance(minutes=6)
            pipeline.step("poll")
    assert pipeline.get(generation_id).state is State.UNCONFIRMED
    pipeline.clock.advance(minutes=6)
    pipeline.until(lambda: pipeline.get(generation_id).state is State.ARCHIVED or pipeline.clock.advance(seconds=5))
    assert pipeline.charges() == 1


def test_an_unclear_one_is_found_although_address_and_signing_key_have_changed_since(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = start(delay=0.2)
    (generation_id,) = pipeline.submit("a green door sandbox:reset sandbox:drop")
    pipeline.until(lambda: pipeline.get(generation_id).state is State.UNCONFIRMED)
    moved = Signer("k2:" + "t" * 32)
    monkeypatch.setattr(
        Services, "callback_url", lambda _, name, attempt_id: moved.callback_url("https://new.test", name, attempt_id)
    )
    pipeline.until(lambda: pipeline.get(generation_id).state is State.ARCHIVED or pipeline.clock.advance(seconds=5))
    assert pipeline.charges() == 1


def test_beyond_the_horizon_nobody_is_asked(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_HORIZON_MINUTES", "30")
    pipeline = start(callbacks=False, delay=0.2)
    (generation_id,) = pipeline.submit("a green door sandbox:error_before")
    pipeline.until(lambda: pipeline.get(generation_id).state is State.UNCONFIRMED)
    pipeline.clock.advance(minutes=40)
    pipeline.step("poll")
    pipeline.clock.advance(hours=9)
    assert pipeline.ledger.maintenance.due() == []
    assert pipeline.get(generation_id).state is State.UNCONFIRMED
    assert len(pipeline.sandbox.log("submit")) == 1


def test_unclear_submissions_are_found_however_many_came_after_them_and_the_list_is_read_once_for_all(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = []
    read = AceDataCloud._list

    def counted(provider: AceDataCloud, **filters: object) -> list[object]:
        if "offset" in filters:
            pages.append(filters["offset"])
        return read(provider, **filters)

    monkeypatch.setattr(AceDataCloud, "fetch_limit", 2)
    monkeypatch.setattr(AceDataCloud, "_list", counted)
    pipeline = start(delay=0.2)
    lost = pipeline.submit("an owl sandbox:reset sandbox:drop", "a fox sandbox:reset sandbox:drop")
    pipeline.until(lambda: all(pipeline.get(one).state is State.UNCONFIRMED for one in lost))
    pipeline.submit(*["a boat"] * 12)
    pipeline.until(lambda: pipeline.ledger.generations.counts().get(State.ARCHIVED, 0) == 12)
    pages.clear()
    pipeline.clock.advance(seconds=30)
    pipeline.step("poll")

    assert pages == [0, 2, 4, 6, 8, 10, 12]
    pipeline.until_settled()
    assert [pipeline.get(one).state for one in lost] == [State.ARCHIVED] * 2
