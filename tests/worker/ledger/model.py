"""What must become of generations, in the simplest words: dictionaries, no tables, no transactions, nobody else.

The ledger is compared with it after each step of `test_model`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tests.factories import LEASE
from worker.generation import FINAL, State
from worker.ledger.submission import Decision

QUEUED, SUBMITTING, SUBMITTED, UNCONFIRMED = State.QUEUED, State.SUBMITTING, State.SUBMITTED, State.UNCONFIRMED
SUCCEEDED, ARCHIVED, EXPIRED, FAILED, CANCELLED = (
    State.SUCCEEDED, State.ARCHIVED, State.EXPIRED, State.FAILED, State.CANCELLED,
)  # fmt: skip
LIVE = {"sending", "accepted", "uncertain"}
#: states in which the outcome is not known
OPEN = {*LIVE, "abandoned"}


@dataclass
class Link:
    state: str = "waiting"
    lease: str | None = None
    free_at: datetime | None = None


@dataclass
class One:
    """A generation."""

    batch: str | None
    wants_follow_up: bool
    state: State = QUEUED
    progress: int | None = None
    links: list[Link] = field(default_factory=list)


@dataclass
class Batch:
    """How a person steers it."""

    is_paused: bool = False
    start_at: datetime | None = None
    max_in_flight: int | None = None
    max_cost: int | None = None

    @property
    def is_stopped(self) -> bool:
        return self.is_paused or self.start_at is not None


@dataclass
class Try:
    """An attempt."""

    of: str
    lease_until: datetime
    state: str = "sending"
    task_id: str | None = None
    #: when it failed because the time was over, which may not be the end
    timed_out_at: datetime | None = None


class Model:
    def __init__(self) -> None:
        self.ones: dict[str, One] = {}
        self.tries: dict[str, Try] = {}
        self.batches: dict[str, Batch] = {}
        #: submissions that the provider took, and how many a person has allowed
        self.charges: Counter[str] = Counter()
        self.allowed: Counter[str] = Counter()
        self.complete: set[str] = set()
        self.completions: Counter[str] = Counter()
        #: the restore gate
        self.is_closed = False

    def create(self, generation_id: str, batch: str | None, *, wants_follow_up: bool) -> None:
        self.ones[generation_id] = One(batch, wants_follow_up)
        if batch is not None:
            self.batches.setdefault(batch, Batch())
        self.allowed[generation_id] += 1

    def claim(self, attempt_id: str, generation_id: str, now: datetime) -> None:
        self.ones[generation_id].state = SUBMITTING
        self.tries[attempt_id] = Try(generation_id, now + LEASE)

    def renew(self, attempt_ids: Sequence[str], now: datetime) -> None:
        for attempt_id in attempt_ids:
            if self.tries[attempt_id].state == "sending":
                self.tries[attempt_id].lease_until = now + LEASE

    # --- how a submission ended ---

    def accepted(self, attempt_id: str, task_id: str) -> None:
        attempt, one = self._unsettled(attempt_id)
        if attempt is None or one is None:
            return
        if self._taken(attempt_id, task_id):
            self.unclear(attempt_id)
        elif attempt.state == "abandoned":
            attempt.task_id = task_id
        else:
            attempt.state, attempt.task_id = "accepted", task_id
            if one.state in {SUBMITTING, UNCONFIRMED}:
                one.state = SUBMITTED

    def not_taken(self, attempt_id: str) -> None:
        attempt, one = self._unsettled(attempt_id)
        if attempt is None or one is None:
            return
        # Also when its lease is over: as long as the attempt is live, no person has decided.
        if one.state in {SUBMITTING, UNCONFIRMED} and attempt.state != "abandoned":
            one.state = QUEUED
        attempt.state = "rejected"

    def rejected(self, attempt_id: str) -> None:
        attempt, one = self._unsettled(attempt_id)
        if attempt is not None and one is not None:
            if one.state in {SUBMITTING, UNCONFIRMED} and attempt.state != "abandoned":
                one.state = FAILED
            attempt.state = "rejected"

    def unclear(self, attempt_id: str) -> None:
        attempt, one = self._unsettled(attempt_id)
        if attempt is not None and one is not None and attempt.state != "abandoned":
            attempt.state = "uncertain"
            if one.state is SUBMITTING:
                one.state = UNCONFIRMED

    def leases_end(self, now: datetime) -> None:
        for attempt_id, attempt in self.tries.items():
            if attempt.state == "sending" and attempt.lease_until < now:
                self.unclear(attempt_id)

    def clock_is_set(self, now: datetime) -> None:
        """Whoever holds something holds it for one lease more at the most."""
        for attempt in self.tries.values():
            attempt.lease_until = min(attempt.lease_until, now + LEASE)
            # What was looked at again under the other time is not looked at once more.
            attempt.timed_out_at = None
        for link in (link for one in self.ones.values() for link in one.links if link.free_at):
            link.free_at = min(link.free_at, now + LEASE)

    # --- what a callback or a poll said ---

    def hear(self, attempt_id: str, word: str, task_id: str, links: int, percent: int, now: datetime) -> None:
        attempt = self.tries[attempt_id]
        one = self.ones[attempt.of]
        if attempt.task_id not in {None, task_id} or (attempt.task_id is None and self._taken(attempt_id, task_id)):
            return
        if word == "succeeded":
            self._succeeded(attempt, one, task_id, links)
        elif attempt.state in OPEN and word in {"failed", "timeout"}:
            if one.state in {SUBMITTING, SUBMITTED, UNCONFIRMED} and attempt.state in LIVE:
                one.state = FAILED
            attempt.state, attempt.task_id = "failed", task_id
            attempt.timed_out_at = now if word == "timeout" else None
        elif attempt.state in OPEN:
            attempt.task_id = task_id
            if attempt.state in LIVE:
                attempt.state = "accepted"
                if one.state in {SUBMITTING, UNCONFIRMED}:
                    one.state = SUBMITTED
                if one.state is SUBMITTED:
                    one.progress = max(one.progress or 0, percent)

    def _succeeded(self, attempt: Try, one: One, task_id: str, links: int) -> None:
        """Paid for, so it is kept wherever the generation waits; only what is here already stays as it is."""
        if one.state in {SUCCEEDED, ARCHIVED, EXPIRED}:
            attempt.state, attempt.task_id = "succeeded", task_id
            return
        if one.state in FINAL:
            self.complete.discard(str(one.batch))
        one.state, one.progress = SUCCEEDED, 100
        one.links = [Link() for _ in range(links)]
        attempt.state, attempt.task_id = "succeeded", task_id

    # --- what the provider's list has ---

    def place(self, attempt_id: str | None, task_id: str) -> str:
        """Where a task belongs that carries the mark of this attempt."""
        if any(attempt.task_id == task_id for attempt in self.tries.values()):
            return "known"
        mine = self.tries.get(attempt_id or "")
        return "marked" if mine is not None and mine.task_id is None else "new"

    def found_new(self, generation_id: str, attempt_id: str, task_id: str, now: datetime) -> None:
        """It is this generation, whether it is in the line or was not known at all."""
        self.ones.setdefault(generation_id, One(None, wants_follow_up=False)).state = SUBMITTED
        self.tries[attempt_id] = Try(generation_id, now, "accepted", task_id)

    # --- into the bucket ---

    def lend(self, generation_id: str, lease: str, now: datetime) -> None:
        for link in self.ones[generation_id].links:
            free = link.lease is None or link.free_at is None or link.free_at <= now
            if link.state == "waiting" and free:
                link.lease, link.free_at = lease, now + LEASE

    def renew_links(self, generation_id: str, lease: str, now: datetime) -> None:
        for link in self.ones[generation_id].links:
            if link.lease == lease:
                link.free_at = now + LEASE

    def archived(self, generation_id: str, lease: str, results: dict[int, str]) -> None:
        """`results`: index → stored, expired, or waiting (for another try)."""
        one = self.ones[generation_id]
        held = [index for index in results if one.links[index].lease == lease]
        for index in held:
            one.links[index] = Link(results[index])
        for link in one.links:
            if link.lease == lease:
                link.lease = link.free_at = None
        states = {link.state for link in one.links}
        if len(held) == len(results) and one.state is SUCCEEDED and "waiting" not in states:
            one.state = EXPIRED if "expired" in states else ARCHIVED

    # --- what a person decides ---

    def cancel(self, generation_id: str) -> None:
        one = self.ones[generation_id]
        if one.state is QUEUED:
            one.state = CANCELLED

    def retry(self, generation_id: str, *, is_awaited: bool) -> None:
        one = self.ones[generation_id]
        if one.state is FAILED and not is_awaited:
            self._submit_again(generation_id)
        elif one.state is EXPIRED:
            one.state = SUCCEEDED
            one.links = [Link() if link.state == "expired" else link for link in one.links]
            self.complete.discard(str(one.batch))

    def resolve(self, generation_id: str, decision: Decision, task_id: str | None, *, unread: set[str]) -> bool:
        """False where there is nothing (yet) to decide; `unread`: attempts whose callbacks nobody has read."""
        one = self.ones[generation_id]
        live = [name for name, attempt in self.tries.items() if attempt.of == generation_id and attempt.state in LIVE]
        if one.state is not UNCONFIRMED or live[0] in unread:
            return False
        attempt = self.tries[live[0]]
        if decision is Decision.RESUBMIT:
            self._submit_again(generation_id)
        elif decision is Decision.NOT_CHARGED:
            attempt.state, one.state = "rejected", FAILED
        elif task_id is None:
            attempt.state, one.state = "charged", FAILED
        elif self._taken(live[0], task_id):
            return False
        else:
            attempt.state, attempt.task_id, one.state = "accepted", task_id, SUBMITTED
        return True

    def _submit_again(self, generation_id: str) -> None:
        one = self.ones[generation_id]
        one.state, one.progress = QUEUED, None
        self.allowed[generation_id] += 1
        self.complete.discard(str(one.batch))
        for attempt in self.tries.values():
            if attempt.of == generation_id and attempt.state in LIVE:
                attempt.state = "abandoned"

    # --- what follows from all that ---

    def look_at_batches(self) -> None:
        """One is complete when all in it are final and none is to be followed up, and until something goes on."""
        going_on = {
            one.batch
            for one in self.ones.values()
            if one.state not in FINAL or (one.state is ARCHIVED and one.wants_follow_up)
        }
        now_complete = {one.batch for one in self.ones.values() if one.batch} - going_on - self.complete
        self.completions.update(batch for batch in now_complete if batch)
        self.complete |= {batch for batch in now_complete if batch}

    def _unsettled(self, attempt_id: str) -> tuple[Try | None, One | None]:
        attempt = self.tries[attempt_id]
        if attempt.state not in {"sending", "uncertain", "abandoned"}:
            return None, None
        return attempt, self.ones[attempt.of]

    def _taken(self, attempt_id: str, task_id: str) -> bool:
        return any(other.task_id == task_id for name, other in self.tries.items() if name != attempt_id)
