"""What must hold of a ledger, whatever has happened: promises that `test_model` checks after each step."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select

from tests.clock import NOON
from tests.factories import LEASE, POLL_AFTER
from tests.worker.ledger.model import LIVE, OPEN, Model
from tests.worker.ledger.purses import THREE_A_DAY, totals
from worker.generation import TRANSITIONS, State
from worker.ledger import Ledger
from worker.ledger.batches import FORGOTTEN
from worker.ledger.schema import assets, attempts, budgets, callbacks, events, generations, transitions
from worker.ledger.submission import LONGEST, LOOKS

#: the longest that anything waits by itself: a lease, a growing wait, the pause between two questions
LONGEST_WAIT = max(LEASE, timedelta(minutes=5))
#: how long an unclear submission is looked for
HORIZON = timedelta(hours=1)
#: what is over or unclear goes on only so: by a person, by a worker that knows more, or because it was paid for
DECIDED = {
    (State.FAILED, State.QUEUED): ("submitted again by a person",),
    (State.UNCONFIRMED, State.QUEUED): ("resolved by somebody: resubmit", "not taken: no", "not taken: not_sent"),
    (State.EXPIRED, State.SUCCEEDED): ("fetched again by a person",),
}
PAID_AFTER_ALL = {(State.FAILED, State.SUCCEEDED), (State.CANCELLED, State.SUCCEEDED)}
IN_FLIGHT = {State.SUBMITTING, State.SUBMITTED, State.UNCONFIRMED}
OVER = {State.ARCHIVED, State.EXPIRED, State.FAILED, State.CANCELLED}


@dataclass
class Seen:
    """What of the history was looked at before, and where it left each generation."""

    last: int = 0
    #: the clock may be set back
    latest: datetime = NOON
    states: dict[str, State] = field(default_factory=dict)


@dataclass
class Look:
    at: datetime
    #: the latest time that it ever was
    latest: datetime
    generations: Sequence[Any]
    attempts: Sequence[Any]
    assets: dict[str, list[Any]]
    #: that nobody has applied
    callbacks: Sequence[Any]
    #: since the last look: generation, from, to, cause
    moves: list[tuple[str, State | None, State, str]]
    states_before: dict[str, State]
    completions: dict[str, int]
    due: set[str]
    money: dict[str, int]
    budgets: Sequence[Any]


_g, _a, _c, _t = generations.c, attempts.c, callbacks.c, transitions.c
_GENERATIONS = select(
    _g.id, _g.state, _g.account, _g.progress, _g.dispatched_at, _g.not_before, _g.followed_up_at, _g.batch_id, _g.held
)  # fmt: skip
_ATTEMPTS = select(
    _a.id, _a.generation_id, _a.state, _a.task_id, _a.sent_at, _a.lease_until, _a.settled_at, _a.poll_at
)  # fmt: skip
_ASSETS = select(assets.c.generation_id, assets.c.state, assets.c.not_before, assets.c.object_key).order_by(
    assets.c.index
)
_UNAPPLIED = select(_c.attempt_id, _c.not_before).where(_c.applied_at.is_(None))
_MOVES = (
    select(_t.id, _t.generation_id, _t["from"], _t.to, _t.cause).where(_t.id > bindparam("last")).order_by(_t.id)
)  # fmt: skip
_b = budgets.c
_OF_BATCHES = select(_b.batch_id, (_b.reserved + _b.possible + _b.spent).label("counted")).where(_b.kind == "batch")
_BUDGETS = select(_b.kind, (_b.reserved + _b.possible + _b.spent).label("counted"))
_COMPLETIONS = (
    select(events.c.batch_id, func.count()).where(events.c.type == "batch.completed").group_by(events.c.batch_id)
)


def look(ledger: Ledger, seen: Seen) -> Look:
    before, moves = dict(seen.states), []
    now = ledger.database.clock()
    seen.latest = max(seen.latest, now)
    if now < seen.latest:
        # As if a minute had passed: `asked` may have set a time that was chosen before the clock was set back.
        ledger.maintenance._put_right_at = None
    # First: it puts right what a wrong clock has written.
    due = set(ledger.maintenance.due(POLL_AFTER))
    belongings = defaultdict(list)
    with ledger.database.read() as connection:
        for row in connection.execute(_ASSETS):
            belongings[row.generation_id].append(row)
        for last, generation_id, source, to, cause in connection.execute(_MOVES, {"last": seen.last}):
            moves.append((generation_id, State(source) if source else None, State(to), cause))
            seen.last, seen.states[generation_id] = last, State(to)
        return Look(
            at=now,
            latest=seen.latest,
            generations=connection.execute(_GENERATIONS).all(),
            attempts=connection.execute(_ATTEMPTS).all(),
            assets=belongings,
            callbacks=connection.execute(_UNAPPLIED).all(),
            moves=moves,
            states_before=before,
            completions={row[0]: row[1] for row in connection.execute(_COMPLETIONS)},
            due=due,
            # Each budget is the sum of its charges, or this fails.
            money=totals(ledger),
            budgets=connection.execute(_BUDGETS).all(),
        )


def nothing_is_paid_for_more_often_than_a_person_allowed(_: Look, model: Model) -> None:
    assert model.charges <= model.allowed


def no_generation_has_two_live_attempts(now: Look, _: Model) -> None:
    live = Counter(row.generation_id for row in now.attempts if row.state in LIVE)
    assert max(live.values(), default=1) == 1


def every_generation_is_where_the_model_says(now: Look, model: Model) -> None:
    assert {row.id: row.state for row in now.generations} == {
        generation_id: one.state for generation_id, one in model.ones.items()
    }
    assert {row.id: row.progress for row in now.generations} == {
        generation_id: one.progress for generation_id, one in model.ones.items()
    }


def every_attempt_is_where_the_model_says(now: Look, model: Model) -> None:
    assert {row.id: (row.state, row.task_id) for row in now.attempts} == {
        name: (attempt.state, attempt.task_id) for name, attempt in model.tries.items()
    }


def only_what_waits_or_never_went_has_no_account(now: Look, _: Model) -> None:
    for row in now.generations:
        if row.state == State.QUEUED:
            assert (row.account is None) == (row.dispatched_at is None)
        elif row.state != State.CANCELLED:
            assert row.account is not None


def every_link_is_where_the_model_says(now: Look, model: Model) -> None:
    for generation_id, one in model.ones.items():
        assert [row.state for row in now.assets[generation_id]] == [link.state for link in one.links]
        if one.state is State.ARCHIVED:
            assert all(row.object_key for row in now.assets[generation_id])


def every_change_is_in_the_history_and_allowed(now: Look, _: Model) -> None:
    states: dict[str, State | None] = dict(now.states_before)
    for generation_id, source, to, cause in now.moves:
        assert states.get(generation_id) is source
        assert source is None or to in TRANSITIONS[source]
        if source is not None and (source, to) in DECIDED:
            assert cause in DECIDED[source, to]
        elif source in OVER:
            assert (source, to) in PAID_AFTER_ALL
        states[generation_id] = to
    assert states == {row.id: row.state for row in now.generations}


def a_batch_is_told_to_be_complete_when_it_is(now: Look, model: Model) -> None:
    assert now.completions == model.completions


def what_is_due_is_found_and_nothing_else(now: Look, model: Model) -> None:
    expected: set[str] = set()

    def wake(kind: str, at: datetime | None, longest: timedelta = LONGEST_WAIT) -> None:
        if at is None or at <= now.at:
            expected.add(kind)
        else:
            assert at <= now.at + longest, f"{kind} sleeps until {at}"

    live = {row.generation_id: row for row in now.attempts if row.state in LIVE}
    maybe: set[str] = set()
    for row in now.generations:
        if row.state == State.QUEUED and row.batch_id in model.batches and model.batches[row.batch_id].is_stopped:
            # Only until dispatch has put its flows to sleep; or when its start is due, which is not told to the model.
            assert row.dispatched_at is None, "nothing of a stopped batch is left dispatched"
            maybe.add("dispatch")
        elif row.state == State.QUEUED:
            wake("dispatch" if row.dispatched_at is None else "submit", row.not_before)
        elif row.state == State.SUBMITTING:
            # Found by its lease, which `expire` looks at.
            assert live[row.id].state == "sending"
            assert live[row.id].lease_until <= now.at + LEASE
        elif row.state in {State.SUBMITTED, State.UNCONFIRMED}:
            assert live[row.id].state == ("accepted" if row.state == State.SUBMITTED else "uncertain")
        elif row.state == State.SUCCEEDED:
            waiting = [asset for asset in now.assets[row.id] if asset.state == "waiting"]
            assert waiting, "it succeeded, but there is nothing left to archive"
            for asset in waiting:
                wake("archive", asset.not_before)
        elif row.state == State.ARCHIVED and row.followed_up_at is None:
            expected.add("follow_up")
    for row in now.callbacks:
        wake("ingest", row.not_before)
    expected |= {"poll" for row in now.attempts if row.poll_at is not None and row.poll_at <= now.at}
    if any(batch.start_at is not None for batch in model.batches.values()):
        maybe.add("dispatch")
    found = now.due & {"dispatch", "submit", "poll", "archive", "follow_up", "ingest"}
    assert found - (maybe - expected) == expected


def every_attempt_is_asked_for_until_its_outcome_is_known(now: Look, model: Model) -> None:
    """Whatever its generation does meanwhile: another attempt may have brought it on."""
    for row in now.attempts:
        timed_out_at = model.tries[row.id].timed_out_at
        if row.state == "sending":
            # Found by its lease, which `expire` looks at.
            assert row.lease_until <= now.at + LEASE
        elif row.state in OPEN and (row.task_id or now.latest < (row.settled_at or row.sent_at) + HORIZON):
            assert row.poll_at is not None
            assert row.poll_at <= now.at + LONGEST
        elif row.state == "failed" and timed_out_at is not None and now.latest < timed_out_at + LOOKS[0]:
            assert row.poll_at is not None
        elif row.state not in OPEN and row.state != "failed":
            assert row.poll_at is None


def no_cap_is_exceeded(now: Look, _: Model) -> None:
    assert all(row.counted <= THREE_A_DAY.caps.day for row in now.budgets)


def dispatched(ledger: Ledger) -> Counter[str]:
    """Which generations are dispatched, and whose charges are reserved."""
    with ledger.database.read() as connection:
        found = connection.execute(select(_g.id).where(_g.dispatched_at.is_not(None), _g.state == State.QUEUED))
        return Counter(found.scalars())


def dispatch_obeys(ledger: Ledger, model: Model, went: Counter[str], prices: object) -> None:
    """Nothing of a stopped batch went; and if anything of one did, no more are in flight, or paid, than may be."""
    now = ledger.database.clock()
    with ledger.database.read() as connection:
        rows = connection.execute(select(_g.id, _g.batch_id, _g.state, _g.dispatched_at)).all()
        used = {row.batch_id: row.counted for row in connection.execute(_OF_BATCHES)}
    for batch_id in {row.batch_id for row in rows if row.id in went} & model.batches.keys():
        batch = model.batches[batch_id]
        assert not batch.is_stopped
        at_once = [
            row
            for row in rows
            if row.batch_id == batch_id
            and row.dispatched_at is not None
            and (row.state == State.QUEUED or (row.state in IN_FLIGHT and row.dispatched_at > now - FORGOTTEN))
        ]
        assert batch.max_in_flight is None or len(at_once) <= batch.max_in_flight
        assert prices is None or batch.max_cost is None or used.get(batch_id, 0) <= batch.max_cost


PROMISES = (
    every_attempt_is_asked_for_until_its_outcome_is_known,
    no_cap_is_exceeded,
    nothing_is_paid_for_more_often_than_a_person_allowed,
    no_generation_has_two_live_attempts,
    every_generation_is_where_the_model_says,
    every_attempt_is_where_the_model_says,
    only_what_waits_or_never_went_has_no_account,
    every_link_is_where_the_model_says,
    every_change_is_in_the_history_and_allowed,
    a_batch_is_told_to_be_complete_when_it_is,
    what_is_due_is_found_and_nothing_else,
)
