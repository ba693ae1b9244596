"""Everything that can happen to generations, in any order that Hypothesis can think of; and money is spent once.

The model plays the provider: it counts each POST, keeps the tasks, and reports on them when and as often as it likes,
late, twice, in the wrong order, or never.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.clock import FakeClock
from tests.factories import LEASE, POLL_AFTER, PROVIDER, failure, new, progress, stored, success, task_of
from worker.errors import AccountBlocked, NotTaken, Rejected, Uncertain
from worker.generation import TRANSITIONS, State
from worker.ledger import Ledger
from worker.ledger.archiving import ArchiveClaim, Archived, Lost, Postponed
from worker.ledger.dispatching import Limits
from worker.ledger.outcomes import News
from worker.ledger.submissions import Claim, Submitted
from worker.ledger.tables import LIVE_STATES, attempts, metadata, transitions

WORDS = st.sampled_from([success, failure, lambda claim: progress(claim, 40)])
IN_FLIGHT = 3


class Interleavings(RuleBasedStateMachine):
    ledger: Ledger
    numbers: Iterator[int]

    @initialize()
    def start(self) -> None:
        self.clock = FakeClock()
        self.ledger.database.clock = self.clock
        with self.ledger.database.write() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        Interleavings.numbers = count()
        self.ids: list[str] = []
        #: claims whose worker has not sent its POST yet; whose worker waits for the reply; whose POST went out
        self.unsent: list[Claim] = []
        self.waiting: list[Claim] = []
        self.sent: list[Claim] = []
        #: POSTs per generation, and how often a person has said that there may be (one more)
        self.charges: Counter[str] = Counter()
        self.allowed: Counter[str] = Counter()
        self.archive_claims: list[ArchiveClaim] = []

    # --- we ---

    @rule(number=st.integers(1, 3), batch=st.sampled_from([None, "b"]))
    def create(self, number: int, batch: str | None) -> None:
        made = self.ledger.creation.create([new() for _ in range(number)], batch)
        self.ids += [generation.id for generation in made]
        self.allowed.update(generation.id for generation in made)

    @rule()
    def dispatch(self) -> None:
        self.ledger.dispatching.dispatch(PROVIDER, Limits(rate=2, in_flight=IN_FLIGHT))

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        self.unsent += self.ledger.submissions.claim(limit, LEASE)

    @precondition(lambda self: self.unsent)
    @rule(data=st.data())
    def post(self, data: Any) -> None:
        claim = _taken(data, self.unsent)
        self.charges[claim.generation.id] += 1
        self.waiting.append(claim)
        self.sent.append(claim)

    @precondition(lambda self: self.unsent)
    @rule(data=st.data(), error=st.sampled_from([NotTaken, AccountBlocked, Rejected]))
    def refuse(self, data: Any, error: Any) -> None:
        self._record(_taken(data, self.unsent), error("no", code="no"))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), silence=st.booleans())
    def reply(self, data: Any, silence: bool) -> None:
        claim = _taken(data, self.waiting)
        self._record(claim, Uncertain("?", code="time_out") if silence else task_of(claim))

    @precondition(lambda self: self.unsent or self.waiting)
    @rule(data=st.data())
    def worker_dies(self, data: Any) -> None:
        _taken(data, self.unsent or self.waiting)

    @rule(seconds=st.sampled_from([1, 10, 121, 3600]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def reconcile(self) -> None:
        self.ledger.submissions.expire()
        self.ledger.watching.due()

    @rule(data=st.data(), word=WORDS)
    def poll(self, data: Any, word: Any) -> None:
        for silent in self.ledger.watching.silent(5, POLL_AFTER):
            claim = next((claim for claim in self.sent if claim.attempt_id == silent.attempt_id), None)
            if claim is not None and data.draw(st.booleans()):
                news = word(claim)
                self.ledger.outcomes.apply([News(news.attempt_id, news.outcome, "poll", news.deadlines)])

    @rule(limit=st.integers(1, 3))
    def claim_assets(self, limit: int) -> None:
        self.archive_claims += self.ledger.archiving.claim(limit, LEASE)

    @precondition(lambda self: self.archive_claims)
    @rule(data=st.data(), result=st.sampled_from([stored(), Postponed(0, "503"), Lost(0, "404")]))
    def archive(self, data: Any, result: Any) -> None:
        claim = data.draw(st.sampled_from(self.archive_claims))
        self.ledger.archiving.record([Archived(claim, (result,), described=True)])

    # --- the provider ---

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), word=WORDS, times=st.integers(1, 2))
    def callback(self, data: Any, word: Any, times: int) -> None:
        self.ledger.outcomes.apply([word(data.draw(st.sampled_from(self.sent)))] * times)

    # --- a person ---

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        self.ledger.deciding.cancel([data.draw(st.sampled_from(self.ids))])

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), unconfirmed=st.booleans())
    def retry(self, data: Any, unconfirmed: bool) -> None:
        generation_id = data.draw(st.sampled_from(self.ids))
        before = self.ledger.queries.get([generation_id])[0].state
        after = self.ledger.deciding.retry([generation_id], unconfirmed=unconfirmed)[generation_id]
        if after is State.QUEUED and before is not State.QUEUED:
            assert before is State.FAILED or (before is State.UNCONFIRMED and unconfirmed)
            self.allowed[generation_id] += 1

    @rule()
    def resume(self) -> None:
        self.ledger.deciding.resume(PROVIDER)

    # --- what must hold after each step ---

    @invariant()
    def nothing_is_paid_for_more_often_than_a_person_allowed(self) -> None:
        assert self.charges <= self.allowed

    @invariant()
    def no_generation_has_two_live_attempts(self) -> None:
        with self.ledger.database.read() as connection:
            live = [row.generation_id for row in connection.execute(attempts.select()) if row.state in LIVE_STATES]
        assert len(live) == len(set(live))

    @invariant()
    def every_change_is_in_the_table_and_in_the_history(self) -> None:
        with self.ledger.database.read() as connection:
            rows = connection.execute(transitions.select().order_by(transitions.c.id)).all()
        states: dict[str, State | None] = {}
        for row in rows:
            source = State(row._mapping["from"]) if row._mapping["from"] else None
            assert states.get(row.generation_id) is source
            assert source is None or State(row.to) in TRANSITIONS[source]
            states[row.generation_id] = State(row.to)
        assert states == {generation.id: generation.state for generation in self.ledger.queries.get(self.ids)}

    @invariant()
    def what_succeeded_after_a_post_is_never_lost(self) -> None:
        for generation in self.ledger.queries.get(self.ids):
            done = generation.state in {State.SUCCEEDED, State.ARCHIVED, State.EXPIRED}
            assert done is bool(self.ledger.queries.assets_of([generation.id])[generation.id])

    def _record(self, claim: Claim, result: Any) -> None:
        self.ledger.submissions.record([Submitted(claim.attempt_id, result)], POLL_AFTER)


def _taken(data: Any, claims: list[Claim]) -> Claim:
    return claims.pop(data.draw(st.integers(0, len(claims) - 1)))


@pytest.fixture(scope="module", autouse=True)
def one_ledger(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One file for all examples: emptying it is much quicker than making it."""
    path = shutil.copy(migrated_file, tmp_path_factory.mktemp("interleavings"))
    Interleavings.ledger = Ledger(f"sqlite:///{path}")
    with pytest.MonkeyPatch.context() as patch:
        # The same example must take the same course each time, and the random part of an id decides who goes first.
        patch.setattr("worker.ledger.creation.new_id", lambda prefix: f"{prefix}_{next(Interleavings.numbers):09}")
        yield
    Interleavings.ledger.close()


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
