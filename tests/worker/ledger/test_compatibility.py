"""Two versions at once: the older one goes on where it may, and else ends what it has begun and begins nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import event

from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, POLL_AFTER, PROVIDER, accepted, delivery, queued, submitted, succeeded
from tests.next_version import NEXT, need, upgrade_by_next_version
from tests.worker.ledger.cut_stories import SHOP, STORIES, Process
from tests.worker.ledger.test_cut_commits import VERBS
from worker.errors import VersionTooOld
from worker.generation import State
from worker.ledger import Ledger, migrations
from worker.ledger.database import REVISION, compatibility, oldest_code
from worker.ledger.events import DeliveryFilter, Handed
from worker.ledger.schema import metadata
from worker.ledger.submission import Claim, Submitted
from worker.runtime.draining import drain

pytestmark = pytest.mark.matrix

#: the verbs that a version which is too old may still use: they keep or end what has begun. All others begin something
UNDER_WAY = {
    "access.record_answer",
    "access.end_session",
    "access.forget_request",
    "access.give_up_request",
    "access.keep_request",
    "access.renew_request",
    "assets.record",
    "assets.renew",
    "assets.give_back_thumbnails",
    "assets.record_thumbnails",
    "assets.renew_thumbnails",
    "callbacks.postpone",
    "callbacks.record_failures",
    "callbacks.renew",
    "callbacks.store",
    "callbacks.try_store",
    "maintenance.fold_counts",
    "maintenance.fold_tallies",
    "generations.record_objects_deleted",
    "dispatch.record_answered",
    "assets.note_repair",
    "assets.record_manifest",
    "assets.renew_manifest",
    "events.release",
    "events.renew",
    "events.record_and_claim_next",
    "generations.apply_outcomes",
    "generations.note_candidates",
    "submissions.record",
    "submissions.record_polled",
    "submissions.renew",
    "submissions.renew_polls",
    "submissions.requeue_unsent",
    "maintenance.beat",
    "maintenance.report",
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compatibility, "FRESH_SECONDS", 0)


@pytest.fixture
def ledger(fresh_ledger: Ledger) -> Iterator[Ledger]:
    """The database is shared with other tests, and its version is no row of a table that is emptied between them."""
    yield fresh_ledger
    need(fresh_ledger, "0015")


@contextmanager
def too_old(ledger: Ledger) -> Iterator[None]:
    need(ledger, NEXT)
    try:
        yield
    finally:
        need(ledger, REVISION)


class OldProcess(Process):
    """Before each verb the ledger gets too new for this process, and after it this process is replaced."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.refused: set[str] = set()

    def do(self, verb: str, *arguments: Any, **options: Any) -> Any:
        if verb == "events.record_and_claim_next":
            # It ends one thing and begins the next.
            return super().do(verb, *arguments, **options)
        try:
            with too_old(self.ledger):
                return super().do(verb, *arguments, **options)
        except VersionTooOld:
            self.refused.add(verb)
        return super().do(verb, *arguments, **options)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_version_that_is_too_old_begins_nothing_and_ends_what_it_has_begun(ledger: Ledger, clock: FakeClock):
    """Whatever writes is refused, unless it is listed here: so no new verb can be forgotten."""
    process = OldProcess(ledger, clock, lambda _: nullcontext())
    for story in STORIES:
        with ledger.database.write() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        story(process)
    assert set(VERBS) - process.refused == UNDER_WAY


def test_a_worker_with_posts_under_way_writes_their_answers_down_and_claims_no_more(ledger: Ledger):
    """The ledger is upgraded while the POST of the first is out."""
    queued(ledger, 2)
    ledger.dispatch.run(PROVIDER, PLENTY)

    def post(claim: Claim) -> Submitted:
        need(ledger, NEXT)
        ledger.submissions.renew([claim.attempt_id], LEASE)
        return Submitted(claim.attempt_id, accepted(claim))

    with pytest.raises(VersionTooOld, match=f"it has revision {REVISION}, and {NEXT} or newer is required"):
        drain(
            lambda _: ledger.submissions.claim(1, LEASE),
            post,
            lambda done: ledger.submissions.record(done, POLL_AFTER),
            renew=lambda _: None,
            threads=1,
        )
    assert ledger.generations.counts() == {State.SUBMITTED: 1, State.QUEUED: 1}
    ledger.submissions.requeue_unsent()


def test_a_callback_is_kept_whatever_the_version_of_the_receiver(ledger: Ledger):
    (claim,) = submitted(ledger)
    with too_old(ledger):
        ledger.callbacks.store([delivery(claim.attempt_id)])
    assert len(ledger.callbacks.claim(9, LEASE)) == 1


def test_a_delivery_under_way_is_noted_and_the_next_is_left_to_others(ledger: Ledger):
    ledger.events.register_subscribers([SHOP])
    submitted(ledger, 2)
    (claim,) = ledger.events.claim([SHOP], 1, LEASE)
    ledger.events.enqueue_new(claim, DeliveryFilter())
    first = ledger.events.record_and_claim_next(claim, LEASE)
    assert first
    with too_old(ledger):
        assert ledger.events.record_and_claim_next(claim, LEASE, Handed(first)) is None
    second = ledger.events.record_and_claim_next(claim, LEASE)
    assert second
    assert (second.event_id > first.event_id, second.tries) == (True, 1)


def test_an_answer_of_the_ledger_is_believed_for_a_second(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compatibility, "FRESH_SECONDS", 3600)
    queued(ledger)
    asked: list[str] = []
    event.listen(ledger.database.engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    queued(ledger)
    assert asked
    assert not any("oldest_code" in statement for statement in asked)


def revisions() -> list[Any]:
    """The newest first."""
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    return [script.module for script in scripts.walk_revisions()]


def test_each_revision_states_the_oldest_code_and_none_lets_older_code_in_again():
    stated = [(one.revision, one.oldest_code) for one in reversed(revisions())]
    assert [revision for revision, _ in stated] == [f"{number:04}" for number in range(1, len(stated) + 1)]
    assert all(oldest <= revision for revision, oldest in stated)
    oldest = [oldest for _, oldest in stated]
    assert oldest == sorted(oldest)
    assert stated[-1][0] == REVISION


@pytest.fixture
def blank(blank_database_url: str, opened: Callable[[str], Ledger]) -> Ledger:
    ledger = opened(blank_database_url)
    migrations.upgrade(ledger.database)
    return ledger


def test_the_ledger_says_what_its_newest_revision_states(blank: Ledger):
    with blank.database.read() as connection:
        assert oldest_code(connection) == revisions()[0].oldest_code


def test_a_version_goes_on_with_a_newer_ledger_that_is_compatible(
    blank: Ledger, tmp_path: Path, opened: Callable[[str], Ledger]
):
    upgrade_by_next_version(blank, tmp_path, REVISION)
    for ledger in (blank, opened(blank.database.url)):
        succeeded(ledger)
        ledger.maintenance.beat("w", 1)
        assert [beat.is_too_old for beat in ledger.maintenance.heartbeats()] == [False]
        said = f"it is at revision {NEXT}, newer than this version's {REVISION}, but compatible with it"
        assert migrations.check(ledger.database) == said
        assert migrations.upgrade(ledger.database) == (NEXT, NEXT)


def test_a_newer_ledger_that_is_not_compatible_is_left_alone(blank: Ledger, tmp_path: Path):
    queued(blank)
    upgrade_by_next_version(blank, tmp_path, NEXT)
    sentence = f"it has revision {REVISION}, and {NEXT} or newer is required"
    for verb in (
        lambda: queued(blank),
        lambda: migrations.check(blank.database),
        lambda: migrations.upgrade(blank.database),
    ):
        with pytest.raises(VersionTooOld, match=sentence):
            verb()
    assert blank.generations.counts() == {State.QUEUED: 1}
    blank.maintenance.beat("w", 1)
    assert [beat.is_too_old for beat in blank.maintenance.heartbeats()] == [True]
