"""Workers that are slow or die, a provider that says what it likes when it likes, and a person who decides.

Each step is done to the ledger and told to the model; `test_model` chooses which.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st

from tests.clock import NOON, FakeClock
from tests.factories import (
    LEASE,
    POLL_AFTER,
    PROVIDER,
    accepted,
    delivery,
    failure,
    new,
    progress,
    stored,
    success,
    task_of,
)  # fmt: skip
from tests.worker.ledger import holding
from tests.worker.ledger.model import Model
from tests.worker.ledger.purses import THREE_A_DAY
from worker.errors import AccountBlocked, CallbackUnreadable, NotTaken, Rejected, RequestInvalid, Uncertain
from worker.generation import Generation, State
from worker.ledger import Ledger
from worker.ledger.assets import ArchiveClaim, Archived, Lost, Postponed
from worker.ledger.changes import Person
from worker.ledger.database.server_clock import ServerClock
from worker.ledger.dispatch import Limits
from worker.ledger.generations import Orphan, Placed
from worker.ledger.outcome import News, StoredCallback
from worker.ledger.restore_guard import Marker
from worker.ledger.schema import UNAPPLIED, callbacks
from worker.ledger.submission import Claim, Decision, Silent, Submitted

LINKS = 2
#: few of them meet each other more often
MOST = 5
LIMITS = Limits(rate=2, in_flight=3)
WORDS = ("succeeded", "succeeded", "failed", "timeout", "20", "60")
REFUSALS: dict[str, tuple[Any, Callable[[Model, str], None]]] = {
    "not taken": (NotTaken, Model.not_taken),
    "blocked": (AccountBlocked, Model.not_taken),
    "rejected": (Rejected, Model.rejected),
    "unclear": (Uncertain, Model.unclear),
}
REPLIES = (
    *("accepted", "accepted", "accepted", "succeeded", "failed"),
    *("no clear reply", "slow reply", "slow reply", "dies before the reply"),
)
SENT = (*REPLIES, *REFUSALS, "slow", "slow", "slow", "dies before the POST")
ENDS: dict[str, Callable[[int], Any]] = {
    "stored": stored,
    "waiting": lambda index: Postponed(index=index, error="503"),
    "expired": lambda index: Lost(index, "404"),
}
EACH = st.just(["stored"] * LINKS) | st.lists(st.sampled_from([*ENDS, "no time"]), min_size=LINKS, max_size=LINKS)

Item = TypeVar("Item")
Step = Callable[["World"], None]
#: what may happen, each as often as it shall be chosen, and when there is a point in it
STEPS: list[tuple[Step, Callable[["World"], bool]]] = []


def step(when: Callable[["World"], bool] = lambda _: True, times: int = 1) -> Callable[[Step], Step]:
    def register(done: Step) -> Step:
        STEPS.extend([(done, when)] * times)
        return done

    return register


def one_is(*states: State) -> Callable[["World"], bool]:
    return lambda world: any(one.state in states for one in world.model.ones.values())


class World:
    """On two machines, of which each does what falls to it.

    Those that share a server have own clocks, which are wrong and are set by people; those that share a file are two
    processes of one machine, whose clock is.
    """

    def __init__(self, ledgers: Sequence[Ledger], draw: Callable[[Any, str], Any]) -> None:
        self.ledgers = ledgers
        self.ledger = ledger = ledgers[0]
        self._draw = draw
        self.clock = FakeClock()
        self.wrong_by = [timedelta(minutes=10), timedelta(minutes=-10)]
        for number, one in enumerate(ledgers):
            one.database.clock = self.clock if ledger.database.is_sqlite else self._server_clock(number)
        self.model = Model()
        #: claims whose worker has not sent its POST yet; whose worker waits for the reply; whose POST was taken
        self.unsent: list[Claim] = []
        #: by attempt: who claimed it, and alone knows whether it was sent
        self.machines: dict[str, Ledger] = {}
        self.waiting: list[Claim] = []
        self.taken: list[Claim] = []
        self.archive_claims: list[ArchiveClaim] = []
        self.parents: list[Generation] = []
        #: body of a callback → whose it is, what it says, and of which task
        self.bodies: dict[bytes, tuple[Claim, str, str]] = {}
        self.ingesting: list[StoredCallback] = []
        self.asking: Sequence[Silent] = ()
        self.is_blocked = False
        self.marker: Marker | None = ledger.restore.verify_marker(None)

    def _server_clock(self, number: int) -> ServerClock:
        clock = ServerClock(
            lambda: clock.measure(self.clock),
            wall=lambda: self.clock.now + self.wrong_by[number],
            steady=lambda: self.clock.now - NOON,
        )
        return clock

    def choose_machine(self) -> None:
        self.ledger = self.ledgers[self.number(0, len(self.ledgers) - 1)]
        clock = self.ledger.database.clock
        if isinstance(clock, ServerClock) and clock.is_due:
            clock.measure(self.clock)

    @step()
    def somebody_sets_a_clock(self) -> None:
        by = self.one_of([timedelta(minutes=-10), timedelta(minutes=10), timedelta(days=-1)], "by")
        if self.ledger.database.is_sqlite:
            self.clock.now += by
            self.ledger.maintenance.due(POLL_AFTER)
            self.model.clock_is_set(self.clock.now)
        else:
            self.wrong_by[self.ledgers.index(self.ledger)] += by

    def goes_on(self) -> None:
        """What waits goes as soon as every pause is over; it has room, for nobody answers for what is under way."""
        while self.ledger.submissions.claim(100, LEASE):
            pass
        self.clock.advance(hours=2)
        accounts = ("default", "shop")
        for batch_id in self.model.batches:
            self.ledger.batches.limit(batch_id, paused_at=None, start_at=None, max_in_flight=None, max_cost=None)
        went = self.ledger.dispatch.run(PROVIDER, LIMITS, None, accounts)
        # An empty bucket that a clock had filled ahead begins to fill only now.
        self.clock.advance(1)
        went += self.ledger.dispatch.run(PROVIDER, LIMITS, None, accounts)
        assert went or self.model.is_closed or "dispatch" not in self.ledger.maintenance.due(POLL_AFTER)

    # --- we ---

    @step(one_is(State.QUEUED), times=3)
    def submit(self) -> None:
        if self.one_of([True, True, False], "dispatch"):
            accounts = self.one_of([("default",), ("default", "shop")], "accounts")
            prices = self.one_of([None, THREE_A_DAY], "prices")
            before = holding.dispatched(self.ledger)
            went = self.ledger.dispatch.run(PROVIDER, LIMITS, prices, accounts)
            assert not (went and self.model.is_closed)
            holding.dispatch_obeys(self.ledger, self.model, holding.dispatched(self.ledger) - before, prices)
        for claim in self.ledger.submissions.claim(self.number(1, 3), LEASE):
            assert not self.model.is_closed
            assert self.model.ones[claim.generation.id].state is State.QUEUED
            assert claim.attempt_id not in self.model.tries
            self.model.claim(claim.attempt_id, claim.generation.id, self.clock.now)
            self.machines[claim.attempt_id] = self.ledger
            self._send(claim, self.one_of(SENT, "POST"))

    @step(lambda world: len(world.model.ones) < MOST)
    def create(self) -> None:
        follow_up = self.flip("follow-up")
        wanted = [new(follow_up=("upscale1",) if follow_up else ()) for _ in range(self.number(1, 3))]
        for made in self.ledger.generations.create(wanted, "b" if self.flip("batch") else None):
            self.model.create(made.id, made.batch_id, wants_follow_up=follow_up)

    @step(lambda world: bool(world.unsent), times=2)
    def send_late(self) -> None:
        self._send(self.taken_from(self.unsent), self.one_of([*REFUSALS, *REPLIES], "POST"))

    @step(lambda world: bool(world.unsent))
    def give_back(self) -> None:
        """As its task does when it ends; one that is sent late all the same finds out."""
        self.ledger.submissions.requeue_unsent()
        for claim in self.unsent:
            if self.machines[claim.attempt_id] is self.ledger:
                self.model.not_taken(claim.attempt_id)

    @step(lambda world: bool(world.unsent or world.waiting))
    def renew(self) -> None:
        """Also one whose lease is over, but which nobody has given up yet."""
        ids = [claim.attempt_id for claim in (*self.unsent, *self.waiting)]
        self.ledger.submissions.renew(ids, LEASE)
        self.model.renew(ids, self.clock.now)

    @step(lambda world: bool(world.waiting), times=2)
    def reply_late(self) -> None:
        self._reply(self.taken_from(self.waiting), self.one_of(REPLIES, "reply"))

    def _send(self, claim: Claim, how: str) -> None:
        self.ledger = self.machines[claim.attempt_id]
        if how == "slow":
            self.unsent.append(claim)
        elif how in REFUSALS:
            error, told = REFUSALS[how]
            self.is_blocked = self.is_blocked or error is AccountBlocked
            self._record(claim, error("no", code="no"))
            told(self.model, claim.attempt_id)
        elif not self.ledger.submissions.begin(claim.attempt_id):
            self._record(claim, NotTaken("it was given back", code="not_sent"))
            self.model.not_taken(claim.attempt_id)
        # What its process knew died with it: to the others it has begun.
        elif how != "dies before the POST":
            self.model.charges[claim.generation.id] += 1
            self.taken.append(claim)
            self._reply(claim, how)

    def _reply(self, claim: Claim, reply: str) -> None:
        if reply == "slow reply":
            self.waiting.append(claim)
        elif reply == "accepted":
            self._record(claim, accepted(claim))
            self.model.accepted(claim.attempt_id, task_of(claim))
        elif reply == "no clear reply":
            self._record(claim, Uncertain("?", code="time_out"))
            self.model.unclear(claim.attempt_id)
        elif reply != "dies before the reply":
            self._apply(claim, reply, "reply")

    def _record(self, claim: Claim, result: Any) -> None:
        self.ledger.submissions.record([Submitted(claim.attempt_id, result)], POLL_AFTER)

    @step(times=3)
    def time_passes(self) -> None:
        self.clock.advance(self.one_of([1, 10, 121, 121, 3600], "seconds"))
        if self.one_of([True, True, False], "reconcile"):
            self.ledger.submissions.mark_lost_unconfirmed()
            self.model.leases_end(self.clock.now)

    @step(one_is(State.SUBMITTED, State.UNCONFIRMED, State.FAILED))
    def poll(self) -> None:
        silent = self.ledger.submissions.claim_polls(5, LEASE, POLL_AFTER)
        if self.one_of([True, True, False], "in time"):
            self._ask(silent)
        else:
            self.asking = silent

    @step(lambda world: bool(world.asking))
    def poll_late(self) -> None:
        """Also by a worker that was given up long ago."""
        self._ask(self.asking)

    def _ask(self, silent: Sequence[Silent]) -> None:
        unanswered = []
        for one in silent:
            assert one.task_id is not None or one.state in {"uncertain", "abandoned"}
            known = [claim for claim in self.taken if claim.attempt_id == one.attempt_id]
            if known and self.flip("answers"):
                self._apply(known[0], self.one_of(WORDS, "word"), "poll" if one.task_id else "found in the list")
            elif self.flip("no answer"):
                unanswered.append(one)
        self.ledger.submissions.record_polled(silent, unanswered)

    @step(lambda world: bool(world.taken) and len(world.model.ones) < MOST)
    def rescue(self) -> None:
        """What the provider's list has, and what something else has made there."""
        claim = self.pick(self.taken)
        name = f"elsewhere-{self.number(0, 1)}" if self.number(0, 3) == 0 else task_of(claim)
        mark = None if name.startswith("elsewhere") else claim.attempt_id
        orphan = Orphan(task_id=name, request=new().request, created_at=None, attempt_id=mark, marked=True)
        place = self.model.place(mark, name)
        (placed,) = self.ledger.generations.import_tasks(PROVIDER, [orphan])
        assert placed.place == place
        if place == "new":
            self._found_new(placed, name)
        elif place == "marked":
            self._apply(claim, self.one_of(WORDS, "word"), "rescued")

    @step(lambda world: world.model.is_closed and one_is(State.QUEUED)(world))
    def find_one_that_waits(self) -> None:
        """After a restore: it was submitted, and paid for, before."""
        waiting = self.one_of(sorted(name for name, one in self.model.ones.items() if one.state is State.QUEUED), "one")
        name = f"meanwhile-{waiting}-{len(self.model.tries)}"
        orphan = Orphan(task_id=name, request=new().request, created_at=None, attempt_id=None, marked=True)
        (placed,) = self.ledger.generations.import_tasks(PROVIDER, [orphan], waiting={name: waiting})
        assert placed.generation_id == waiting
        self._found_new(placed, name)
        self.model.charges[waiting] += 1

    def _found_new(self, placed: Placed, task_id: str) -> None:
        if placed.generation_id not in self.model.ones:
            self.model.create(str(placed.generation_id), None, wants_follow_up=False)
        self.model.found_new(str(placed.generation_id), str(placed.attempt_id), task_id, self.clock.now)

    @step(one_is(State.SUCCEEDED), times=2)
    def archive(self) -> None:
        for claim in self.ledger.assets.claim(self.number(1, 3), LEASE):
            assert self.model.ones[claim.generation.id].state is State.SUCCEEDED
            self.model.lend(claim.generation.id, claim.lease, self.clock.now)
            self.archive_claims.append(claim)
            if self.flip("in time"):
                self._archive(claim)

    @step(lambda world: bool(world.archive_claims))
    def archive_late(self) -> None:
        """Also by a worker that lost its lease long ago, or did all this before."""
        self._archive(self.pick(self.archive_claims))

    @step(lambda world: bool(world.archive_claims))
    def renew_archive_claim(self) -> None:
        claim = self.pick(self.archive_claims)
        self.ledger.assets.renew([claim], LEASE)
        self.model.renew_links(claim.generation.id, claim.lease, self.clock.now)

    def _archive(self, claim: ArchiveClaim) -> None:
        each = zip(claim.assets, self._draw(EACH, "ends"), strict=True)
        results = {asset.index: end for asset, end in each if asset.state == "waiting" and end != "no time"}
        done = Archived(claim, tuple(ENDS[end](index) for index, end in results.items()), described=True)
        self.ledger.assets.record([done])
        self.model.archived(claim.generation.id, claim.lease, results)

    @step(one_is(State.ARCHIVED))
    def follow_up(self) -> None:
        """Also by a worker that looked long ago."""
        self.parents += self.ledger.generations.due_follow_ups(3)
        if not self.parents:
            return
        parent = self.pick(self.parents)
        facts = {"parent_id": parent.id, "depth": parent.depth + 1, "batch_id": parent.batch_id}
        children = [new(dedupe=f"{parent.id}/{index}", **facts) for index in range(self.number(0, 2))]
        created = self.ledger.generations.create_follow_ups(parent, children, [])
        one = self.model.ones[parent.id]
        assert created == (len(children) if one.wants_follow_up else 0)
        one.wants_follow_up = False
        for child in self.ledger.generations.page(limit=created) if created else ():
            self.model.create(child.id, child.batch_id, wants_follow_up=False)

    # --- the provider ---

    @step(lambda world: bool(world.taken), times=3)
    def callback(self) -> None:
        """Early or late, of this attempt or an older one, twice; now and then with the task_id of another."""
        claim = self.pick(self.taken)
        word = self.one_of([*WORDS, "?"], "word")
        task_id = task_of(self.pick(self.taken) if self.number(0, 7) == 7 else claim)
        body = f"{claim.attempt_id} {word} {task_id}".encode()
        self.bodies[body] = (claim, word, task_id)
        self.ledger.callbacks.store([delivery(claim.attempt_id, body, body.decode())] * self.number(1, 2))
        if self.flip("ingest"):
            self._ingest(self.ledger.callbacks.claim(100, LEASE))

    @step(lambda world: bool(world.bodies))
    def ingest(self) -> None:
        """By a worker that may hold them for a while, or die."""
        claimed = self.ledger.callbacks.claim(self.number(1, 3), LEASE)
        if self.flip("in time"):
            self._ingest(claimed)
        else:
            self.ingesting = claimed

    @step(lambda world: bool(world.ingesting))
    def ingest_late(self) -> None:
        self._ingest(self.ingesting)

    def _ingest(self, claimed: list[StoredCallback]) -> None:
        news = []
        for one in claimed:
            claim, word, task_id = self.bodies[one.body]
            if word == "?":
                news.append(
                    News(
                        attempt_id=claim.attempt_id,
                        outcome=CallbackUnreadable("what?"),
                        cause="callback",
                        callback_id=one.id,
                    )
                )
            else:
                heard = said(claim, word, task_id=task_id)
                news.append(
                    News(
                        attempt_id=heard.attempt_id,
                        outcome=heard.outcome,
                        cause="callback",
                        deadlines=heard.deadlines,
                        callback_id=one.id,
                    )
                )
                self._hear(claim, word, task_id)
        self.ledger.generations.apply_outcomes(news)

    def _apply(self, claim: Claim, word: str, cause: str) -> None:
        self.ledger.generations.apply_outcomes([said(claim, word, cause=cause)])
        self._hear(claim, word, task_of(claim))

    def _hear(self, claim: Claim, word: str, task_id: str) -> None:
        percent = int(word) if word.isdigit() else 0
        self.model.hear(claim.attempt_id, word, task_id, LINKS, percent, self.clock.now)

    # --- a person ---

    @step(one_is(State.QUEUED))
    def cancel(self) -> None:
        generation_id = self.one_of(sorted(self.model.ones), "generation")
        self.ledger.generations.cancel([generation_id])
        self.model.cancel(generation_id)

    @step(one_is(State.FAILED, State.EXPIRED), times=2)
    def retry(self) -> None:
        generation_id = self.one_of(sorted(self.model.ones), "generation")
        risk = self.flip("may pay twice")
        is_awaited = bool(self.ledger.generations.awaited([generation_id]))
        self.ledger.generations.retry([generation_id], may_pay_twice=risk)
        self.model.retry(generation_id, is_awaited=is_awaited and not risk)

    @step(one_is(State.UNCONFIRMED), times=2)
    def resolve(self) -> None:
        generation_id = self.one_of(sorted(self.model.ones), "generation")
        decision = self.one_of(list(Decision), "decision")
        task_id = None
        if self.taken and decision is Decision.CHARGED and self.flip("with its task"):
            task_id = task_of(self.pick(self.taken))
        with self.ledger.database.read() as connection:
            unread = connection.exec_driver_sql(f"SELECT attempt_id FROM {callbacks.name} WHERE {UNAPPLIED}")
            decided = self.model.resolve(generation_id, decision, task_id, unread=set(unread.scalars()))
        try:
            self.ledger.submissions.resolve([generation_id], decision, Person("somebody"), task_id)
        except RequestInvalid:
            assert not decided
        else:
            assert decided

    @step(lambda world: bool(world.model.batches), times=2)
    def steer(self) -> None:
        """Also one that is complete: what is retried of it waits."""
        batch_id = self.one_of(sorted(self.model.batches), "batch")
        batch = self.model.batches[batch_id]
        match self.one_of(["pause", "resume", "resume", "start later", "limit", "reprioritize"], "how"):
            case "pause":
                assert self.ledger.batches.pause(batch_id) == (not batch.is_paused)
                batch.is_paused = True
            case "resume":
                assert self.ledger.batches.resume(batch_id) == batch.is_paused
                batch.is_paused = False
            case "start later":
                now = self.ledger.database.clock()
                batch.start_at = self.one_of([None, now + timedelta(seconds=100)], "start")
                self.ledger.batches.limit(batch_id, start_at=batch.start_at)
            case "limit":
                batch.max_in_flight = self.one_of([None, 1, 2], "in flight")
                batch.max_cost = self.one_of([None, 0, 1, 2], "cost")
                limits = {"max_in_flight": batch.max_in_flight, "max_cost": batch.max_cost}
                self.ledger.batches.limit(batch_id, **limits)
            case "reprioritize":
                self.ledger.batches.reprioritize(batch_id, self.number(0, 2))

    @step(lambda world: any(batch.start_at for batch in world.model.batches.values()))
    def start(self) -> None:
        """By the clock, which does it each second."""
        self.ledger.batches.start_due()
        now = self.ledger.database.clock()
        for batch in self.model.batches.values():
            if batch.start_at is not None and batch.start_at <= now:
                batch.start_at = None

    @step(lambda world: bool(world.bodies))
    def replay(self) -> None:
        self.ledger.callbacks.replay(range(1000) if self.flip("all") else None)

    @step(lambda world: world.is_blocked)
    def resume(self) -> None:
        self.ledger.dispatch.resume_account(PROVIDER)
        self.is_blocked = False

    @step(lambda world: not world.model.is_closed)
    def look_at_the_bucket(self) -> None:
        """Seldom after a restore."""
        lost = self.number(0, 2) == 2 and self.marker
        ahead = Marker(lost.ledger, lost.number + 2, lost.changes, lost.at) if lost else self.marker
        following = self.ledger.restore.verify_marker(ahead)
        assert (following is None) == bool(lost)
        self.model.is_closed = bool(lost)
        self.marker = following or ahead

    @step(lambda world: world.model.is_closed, times=2)
    def confirm(self) -> None:
        self.marker = self.ledger.restore.next_marker(self.marker)
        assert self.ledger.restore.resume(self.marker, "somebody")
        self.model.is_closed = False

    # --- what Hypothesis chooses ---

    def one_of(self, items: Any, what: str) -> Any:
        return self._draw(st.sampled_from(items), what)

    def pick(self, items: Sequence[Item]) -> Item:
        """By its place: what is in them is long."""
        return items[self.number(0, len(items) - 1)]

    def taken_from(self, items: list[Item]) -> Item:
        return items.pop(self.number(0, len(items) - 1))

    def number(self, least: int, most: int) -> int:
        return int(self._draw(st.integers(least, most), "number"))

    def flip(self, what: str) -> bool:
        return bool(self._draw(st.booleans(), what))


def said(claim: Claim, word: str, **facts: Any) -> News:
    if word == "succeeded":
        return success(claim, links=LINKS, **facts)
    if word.isdigit():
        return progress(claim, int(word), **facts)
    return failure(claim, reason=word, **facts)
