"""A worker dies at each step of each task: nothing is lost, nothing is paid twice, and all comes to its end."""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.crashing import CRASHED, Step, crash, frozen
from tests.pipeline import Pipeline, running_pipeline, sha256
from tests.postgres import Postgres
from tests.s3 import Server
from webhook import sandbox
from worker.draining import LEASE
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.schema import upgrade
from worker.ledger.unclear import Decision, Person

AFTER_THE_LEASE = LEASE.total_seconds() + 1

OUTCOMES, FLUSH = "worker.ledger.outcomes", ("worker.ledger.changes", "Changes.flush")
SUBMISSIONS, INBOX = "worker.ledger.submissions", "worker.ledger.inbox"
ARCHIVING, FOLLOWING = "worker.ledger.archiving", "worker.ledger.following"
ACEDATA, BUCKET = "worker.providers.acedata", "worker.archive.s3"

SUBMIT = {
    "before its claim": Step("before", SUBMISSIONS, "Submissions.claim"),
    "its claim written but not committed": Step("after", *FLUSH),
    "claimed and nothing sent": Step("after", SUBMISSIONS, "Submissions.claim"),
    "right before the POST": Step("before", ACEDATA, "AceDataCloud.submit"),
    "the reply not read": Step("after", "worker.providers.connection", "FreshConnections.send"),
    "the reply not recorded": Step("after", ACEDATA, "AceDataCloud.submit"),
    "its record not committed": Step("after", SUBMISSIONS, "_settle"),
    "its record committed": Step("after", SUBMISSIONS, "Submissions.record"),
}
INGEST = {
    "before its claim": Step("before", INBOX, "Inbox.claim"),
    "claimed": Step("after", INBOX, "Inbox.claim"),
    "the callback read": Step("after", ACEDATA, "AceDataCloud.parse_callback"),
    "its outcome not committed": Step("after", OUTCOMES, "_apply"),
    "its outcome committed": Step("after", OUTCOMES, "Outcomes.apply"),
}
ARCHIVE = {
    "before its claim": Step("before", ARCHIVING, "Archiving.claim"),
    "claimed": Step("after", ARCHIVING, "Archiving.claim"),
    "downloaded": Step("after", "tasks.archive", "inspect"),
    "stored": Step("after", BUCKET, "S3Archive.store"),
    "described": Step("after", BUCKET, "S3Archive.overwrite"),
    "its record not committed": Step("after", ARCHIVING, "_finish"),
    "its record committed": Step("after", ARCHIVING, "Archiving.record"),
}
FOLLOW_UP = {
    "before its look": Step("before", FOLLOWING, "Following.due"),
    "its parent found": Step("after", FOLLOWING, "Following.due"),
    "the children not committed": Step("after", *FLUSH),
    "the children committed": Step("after", FOLLOWING, "Following.create"),
}
#: claimed, and nobody knows whether it was sent: only a person may submit it again
NEVER_SENT = ("claimed and nothing sent", "right before the POST")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def pipeline(
    request: pytest.FixtureRequest, rclone: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """One for all crashes: what one of them leaves behind is nothing that the next one meets."""
    folder = tmp_path_factory.mktemp("crashes")
    url = f"sqlite:///{folder / 'ledger.sqlite3'}"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        server.create("crashes")
        url = server.url("crashes")
    ledger = Ledger(url)
    upgrade(ledger.database)
    ledger.close()
    with (
        pytest.MonkeyPatch.context() as patch,
        sandbox.running(delay=0.05, size=32) as provider,
        running_pipeline(patch, database_url=url, sandbox=provider, server=rclone, folder=folder) as running,
    ):
        yield running
    if request.param == "postgresql":
        server.drop("crashes")


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


@pytest.mark.parametrize("step", INGEST)
def test_ingest_dies(pipeline: Pipeline, step: str) -> None:
    generation_id = started(pipeline, "dispatch", "submit")
    called_back(pipeline, generation_id)
    assert crash(pipeline, "ingest", INGEST[step]) == CRASHED
    ends_well(pipeline, generation_id)


@pytest.mark.parametrize("step", ARCHIVE)
def test_archive_dies(pipeline: Pipeline, step: str) -> None:
    generation_id = started(pipeline, "dispatch", "submit")
    called_back(pipeline, generation_id)
    pipeline.step("ingest")
    assert crash(pipeline, "archive", ARCHIVE[step]) == CRASHED
    ends_well(pipeline, generation_id)


@pytest.mark.parametrize("step", FOLLOW_UP)
def test_follow_up_dies(pipeline: Pipeline, step: str) -> None:
    generation_id = started(pipeline, "dispatch", "submit")
    called_back(pipeline, generation_id)
    pipeline.step("ingest")
    pipeline.step("archive")
    assert crash(pipeline, "follow_up", FOLLOW_UP[step]) == CRASHED
    ends_well(pipeline, generation_id)


def test_a_submission_that_was_sent_before_its_worker_froze_is_recorded_when_it_wakes(pipeline: Pipeline) -> None:
    generation_id = started(pipeline, "dispatch")
    with frozen(pipeline, "submit", SUBMIT["the reply not recorded"], AFTER_THE_LEASE):
        pipeline.ledger.submissions.expire()
        assert pipeline.get(generation_id).state is State.UNCONFIRMED
    assert pipeline.get(generation_id).state in {State.SUBMITTED, State.SUCCEEDED}
    ends_well(pipeline, generation_id)


def test_a_submission_that_was_not_sent_before_its_worker_froze_is_not_sent_when_it_wakes(pipeline: Pipeline) -> None:
    """By then a person may have had it submitted again."""
    generation_id = started(pipeline, "dispatch")
    with frozen(pipeline, "submit", SUBMIT["claimed and nothing sent"], AFTER_THE_LEASE):
        pipeline.ledger.submissions.expire()
        pipeline.ledger.unclear.resolve([generation_id], Decision.RESUBMIT, Person("somebody"))
        pipeline.step("dispatch")
        pipeline.step("submit")
        assert charges(pipeline, generation_id) == 1
    ends_well(pipeline, generation_id)


def test_a_frozen_archiver_changes_nothing_after_another_has_taken_over(pipeline: Pipeline) -> None:
    generation_id = started(pipeline, "dispatch", "submit")
    called_back(pipeline, generation_id)
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


def called_back(pipeline: Pipeline, generation_id: str) -> None:
    deadline = time.monotonic() + 10
    while not pipeline.story(generation_id).callbacks:
        assert time.monotonic() < deadline, "the provider did not call back"
        time.sleep(0.01)


def recover(pipeline: Pipeline, done: Callable[[], bool]) -> None:
    """What the others do when the lease of the dead one has ended; no bell that it wanted to ring was heard."""
    pipeline.bells.clear()
    pipeline.clock.advance(seconds=AFTER_THE_LEASE)
    pipeline.until(done)


def ends_well(pipeline: Pipeline, generation_id: str) -> None:
    """It and its follow-up are archived, each was paid for once, and their pictures lie in the bucket."""

    def is_done() -> bool:
        children = pipeline.story(generation_id).children
        return bool(children) and pipeline.get(children[0]).state is State.ARCHIVED

    recover(pipeline, is_done)
    (child_id,) = pipeline.story(generation_id).children
    for one in (generation_id, child_id):
        assert pipeline.path(one).count(State.ARCHIVED) == 1
        assert charges(pipeline, one) == 1
        (asset,) = pipeline.assets(one)
        content = (pipeline.bucket / str(asset.key)).read_bytes()
        assert sha256(content) == asset.sha256
        assert asset.sha256 in pipeline.served_hashes()


def charges(pipeline: Pipeline, generation_id: str) -> int:
    attempts = {attempt.id for attempt in pipeline.story(generation_id).attempts}
    return sum(any(one in line["callback_url"] for one in attempts) for line in pipeline.sandbox.bill()["lines"])
