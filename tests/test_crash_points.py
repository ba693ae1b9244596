"""A worker dies at each step of each task: nothing is lost, nothing is paid twice, and all comes to its end."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from tests import process_services
from tests.broker import running_broker
from tests.crash_steps import ARCHIVE, FOLLOW_UP, INGEST, MANIFEST, NOTIFY, POLL, RECONCILE, SUBMIT
from tests.crashing import AFTER_THE_LEASE, CRASHED, crash, frozen, migrated_ledger, recover
from tests.factories import failure, submitted
from tests.patience import wait_for
from tests.pipeline import Pipeline, celery_app, running_pipeline, sha256
from tests.s3 import Server
from tests.tasks.subscribing import task_subscriber, webhook_subscriber
from webhook import sandbox
from worker.generation import GenerationRequest, Operation, State
from worker.ledger.changes import Person
from worker.ledger.events.order import FIRST_LOOK
from worker.ledger.generations import NewGeneration
from worker.ledger.schema import events
from worker.ledger.submission import Decision
from worker.runtime.draining import LEASE

#: claimed, and nobody knows whether it was sent: only a person may submit it again
NEVER_SENT = ("claimed and nothing sent", "right before the POST")


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_broker(tmp_path_factory.mktemp("queue")) as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def pipeline(
    request: pytest.FixtureRequest, rclone: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """One for all crashes: what one of them leaves behind is nothing that the next one meets."""
    folder = tmp_path_factory.mktemp("crashes")
    with (
        migrated_ledger(request, folder, "crashes") as url,
        pytest.MonkeyPatch.context() as patch,
        sandbox.running(delay=0.05, size=32) as provider,
        running_pipeline(patch, database_url=url, sandbox=provider, server=rclone, folder=folder) as running,
    ):
        yield running


@pytest.mark.parametrize("step", SUBMIT)
def test_submit_dies(pipeline: Pipeline, step: str) -> None:
    generation_id = started(pipeline, "dispatch")
    assert crash(pipeline, "submit", SUBMIT[step]) == CRASHED
    if step in NEVER_SENT:
        recover(pipeline, lambda: pipeline.get(generation_id).state is State.UNCONFIRMED)
        assert charges(pipeline, generation_id) == 0
        assert pipeline.get(generation_id).reason == "worker_lost"
    else:
        ends_well(pipeline, generation_id)


@pytest.mark.system
@pytest.mark.parametrize("step", INGEST)
def test_ingest_dies(pipeline: Pipeline, step: str) -> None:
    generation_id = started(pipeline, "dispatch", "submit")
    pipeline.until_called_back(generation_id)
    assert crash(pipeline, "ingest", INGEST[step]) == CRASHED
    ends_well(pipeline, generation_id)


@pytest.mark.system
@pytest.mark.parametrize("step", ARCHIVE)
def test_archive_dies(pipeline: Pipeline, step: str) -> None:
    generation_id = started(pipeline, "dispatch", "submit")
    pipeline.until_called_back(generation_id)
    pipeline.step("ingest")
    assert crash(pipeline, "archive", ARCHIVE[step]) == CRASHED
    ends_well(pipeline, generation_id)


@pytest.mark.system
@pytest.mark.parametrize("step", FOLLOW_UP)
def test_follow_up_dies(pipeline: Pipeline, step: str) -> None:
    generation_id = started(pipeline, "dispatch", "submit")
    pipeline.until_called_back(generation_id)
    pipeline.step("ingest")
    pipeline.step("archive")
    assert crash(pipeline, "follow_up", FOLLOW_UP[step]) == CRASHED
    ends_well(pipeline, generation_id)


@pytest.mark.system
@pytest.mark.parametrize("step", POLL)
def test_poll_dies(pipeline: Pipeline, step: str) -> None:
    """At its fourth question, so that the next one is further away than a lease."""
    (generation_id,) = pipeline.submit("a lost house sandbox:drop")
    pipeline.step("dispatch")
    pipeline.step("submit")
    task_id = pipeline.get(generation_id).task_id
    assert wait_for(lambda: any(entry["task_id"] == task_id for entry in pipeline.sandbox.log("callback")), seconds=20)
    for _ in range(3):
        pipeline.clock.advance(minutes=3)
        pipeline.ledger.submissions.record_polled(
            pipeline.ledger.submissions.claim_polls(9, LEASE, pipeline.here.settings.poll_after)
        )
    pipeline.clock.advance(minutes=3)
    assert crash(pipeline, "poll", POLL[step]) == CRASHED
    recover(pipeline, lambda: pipeline.get(generation_id).state is State.ARCHIVED)
    assert charges(pipeline, generation_id) == 1


@pytest.mark.system
@pytest.mark.parametrize("step", RECONCILE)
def test_reconcile_dies(pipeline: Pipeline, step: str) -> None:
    generation_id = started(pipeline, "dispatch")
    assert crash(pipeline, "submit", SUBMIT["the reply not recorded"]) == CRASHED
    pipeline.clock.advance(seconds=AFTER_THE_LEASE)
    assert crash(pipeline, "reconcile", RECONCILE[step]) == CRASHED
    ends_well(pipeline, generation_id)


@pytest.mark.system
@pytest.mark.parametrize("step", MANIFEST)
def test_manifest_dies(pipeline: Pipeline, step: str) -> None:
    wanted = [
        NewGeneration(provider="acedata", request=GenerationRequest(operation=Operation.IMAGINE, prompt=prompt))
        for prompt in ("a fox", "an owl")
    ]
    made = pipeline.ledger.generations.create(wanted, f"animals {step}")
    pipeline.until(lambda: all(pipeline.get(one.id).state is State.ARCHIVED for one in made))
    pipeline.bells.clear()
    assert crash(pipeline, "manifest", MANIFEST[step]) == CRASHED
    recover(pipeline, lambda: "manifest" not in pipeline.ledger.maintenance.due())
    key = pipeline.here.archive.keys.manifest(str(made[0].batch_id), f"animals {step}")
    assert len((pipeline.bucket / key).read_text().splitlines()) == 2


@pytest.fixture(params=[webhook_subscriber, task_subscriber])
def taken(
    request: pytest.FixtureRequest, pipeline: Pipeline, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], list[str]]]:
    """The ids of what a new subscriber has got, who is told of nothing that happened before."""
    monkeypatch.setattr(celery_app.conf, "broker_url", redis_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    pipeline.clock.advance(seconds=FIRST_LOOK.total_seconds() + 1)
    with request.param(monkeypatch, redis_url) as ids:
        process_services.forget()
        pipeline.step("reconcile")
        yield ids
        process_services.forget()


@pytest.mark.system
@pytest.mark.parametrize("step", NOTIFY)
def test_notify_dies(pipeline: Pipeline, taken: Callable[[], list[str]], step: str) -> None:
    claims = submitted(pipeline.ledger, 2)
    pipeline.ledger.generations.apply_outcomes([failure(claim) for claim in claims])
    assert crash(pipeline, "notify", NOTIFY[step]) == CRASHED
    recover(pipeline, lambda: "notify" not in pipeline.ledger.maintenance.due())
    with pipeline.ledger.database.read() as connection:
        mine = select(events.c.id).where(events.c.generation_id.in_([claim.generation.id for claim in claims]))
        told = connection.execute(mine).scalars().all()
    # One that comes twice has the same id.
    assert sorted(int(one.split("_")[1]) for one in set(taken())) == sorted(told)
    assert len(told) == 4


@pytest.mark.system
def test_a_submission_that_was_sent_before_its_worker_froze_is_recorded_when_it_wakes(pipeline: Pipeline) -> None:
    generation_id = started(pipeline, "dispatch")
    with frozen(pipeline, "submit", SUBMIT["the reply not recorded"], AFTER_THE_LEASE):
        pipeline.ledger.submissions.mark_lost_unconfirmed()
        assert pipeline.get(generation_id).state is State.UNCONFIRMED
    assert pipeline.get(generation_id).state in {State.SUBMITTED, State.SUCCEEDED}
    ends_well(pipeline, generation_id)


@pytest.mark.system
def test_a_submission_that_was_not_sent_before_its_worker_froze_is_not_sent_when_it_wakes(pipeline: Pipeline) -> None:
    """By then a person may have had it submitted again."""
    generation_id = started(pipeline, "dispatch")
    with frozen(pipeline, "submit", SUBMIT["claimed and nothing sent"], AFTER_THE_LEASE):
        pipeline.ledger.submissions.mark_lost_unconfirmed()
        pipeline.ledger.submissions.resolve([generation_id], Decision.RESUBMIT, Person("somebody"))
        pipeline.step("dispatch")
        pipeline.step("submit")
        assert charges(pipeline, generation_id) == 1
    ends_well(pipeline, generation_id)


@pytest.mark.system
def test_a_frozen_archiver_changes_nothing_after_another_has_taken_over(pipeline: Pipeline) -> None:
    generation_id = started(pipeline, "dispatch", "submit")
    pipeline.until_called_back(generation_id)
    pipeline.step("ingest")
    with frozen(pipeline, "archive", ARCHIVE["downloaded"], AFTER_THE_LEASE):
        pipeline.step("archive")
        assert pipeline.get(generation_id).state is State.ARCHIVED
        before = pipeline.story(generation_id)
    assert pipeline.story(generation_id) == before
    ends_well(pipeline, generation_id)


def started(pipeline: Pipeline, *tasks: str) -> str:
    (generation_id,) = pipeline.submit("a house on fire", follow_up=("upscale1",))
    pipeline.bells.clear()
    for task in tasks:
        pipeline.step(task)
    pipeline.bells.clear()
    return generation_id


def ends_well(pipeline: Pipeline, generation_id: str) -> None:
    """It and its follow-up are archived, each was paid for once, and their pictures lie in the bucket."""

    def is_done() -> bool:
        children = pipeline.story(generation_id).children
        return bool(children) and children[0].state is State.ARCHIVED

    recover(pipeline, is_done)
    (child,) = pipeline.story(generation_id).children
    for one in (generation_id, child.id):
        assert pipeline.path(one).count(State.ARCHIVED) == 1
        assert charges(pipeline, one) == 1
        (asset,) = pipeline.assets(one)
        content = (pipeline.bucket / str(asset.object_key)).read_bytes()
        assert sha256(content) == asset.sha256
        assert asset.sha256 in pipeline.served_hashes()


def charges(pipeline: Pipeline, generation_id: str) -> int:
    attempts = {attempt.id for attempt in pipeline.story(generation_id).attempts}
    return sum(any(one in line["callback_url"] for one in attempts) for line in pipeline.sandbox.bill()["lines"])
