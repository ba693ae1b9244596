"""Steering a batch: pause, resume, start, limits, priority.

The row of the batch is authoritative, and changing it waits for each dispatch that has read it. The flows of a stopped
batch sleep; this only saves time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypedDict, Unpack

from sqlalchemy import Connection, bindparam, func, or_, select, text, update

from worker.errors import LedgerUnavailable, NotFound
from worker.generation import OPEN, State
from worker.ledger.asking import withdraw
from worker.ledger.batches.quotas import OF_BATCH, in_flight
from worker.ledger.changes import Changes
from worker.ledger.database import Part, in_bites, incomplete
from worker.ledger.flows import flow_of, line_up, put_batch_to_sleep, wake_batch
from worker.ledger.rows import Id
from worker.ledger.schema import (
    ASKED,
    DISPATCHED,
    INCOMPLETE,
    RECIPE_DUE,
    STARTING,
    STOPPED,
    CleanText,
    approvals,
    batches,
    generations,
    in_states,
)
from worker.ledger.statements import IDS, LIMIT, NOW, Query, columns_of, update_row

#: the most generations that one transaction recalls, and the most batches that one starts
_RECALLED, _STARTED = 250, 100
#: who is recorded as deciding the open approvals of a batch when it is cancelled
_CANCELLED = "batch cancel"


class Steering(NamedTuple):
    """`start_at`: None once it has started; `max_cost`: millionths. `completed_at`: None while something is open."""

    id: str
    name: str
    completed_at: datetime | None
    paused_at: datetime | None
    start_at: datetime | None
    max_cost: int | None
    max_in_flight: int | None

    @property
    def is_stopped(self) -> bool:
        """Whether dispatch takes nothing from this batch."""
        return self.paused_at is not None or self.start_at is not None


class NewSteering(TypedDict, total=False):
    """The values to change; None removes a limit."""

    paused_at: datetime | None
    start_at: datetime | None
    max_cost: int | None
    max_in_flight: int | None


@dataclass(frozen=True, slots=True)
class Restricted:
    """An incomplete batch that is stopped or limited. `in_flight`: None if the batch does not limit it."""

    steering: Steering
    in_flight: int | None


class _Queued(NamedTuple):
    id: str
    provider: str
    priority: int
    batch_id: str | None
    pinned: str
    state: str
    dispatched_at: datetime | None
    held: str | None


_b, _g = batches.c, generations.c
_BATCH = bindparam("batch", type_=CleanText())
_STEERING = select(*columns_of(batches, Steering)).where(_b.id == _BATCH, _b.unfinished_at.is_(None))
_READ = Query(Steering, _STEERING)
# Dispatch takes a shared lock on the row, so this waits for dispatches of the batch that are in progress.
_LOCKED = Query(Steering, _STEERING.with_for_update())
_RESTRICTED = Query(
    Steering,
    select(*columns_of(batches, Steering))
    .where(text(INCOMPLETE), or_(text(STOPPED), _b.max_in_flight.is_not(None)), _b.unfinished_at.is_(None))
    .order_by(_b.id.desc()),
)
_IS_DUE = (text(STARTING), _b.start_at <= NOW)
#: a batch whose time to start has come
START_DUE = select(_b.id).where(*_IS_DUE)
_TO_START = Query(
    Steering,
    select(*columns_of(batches, Steering))
    .where(*_IS_DUE)
    .order_by(_b.start_at)
    .limit(LIMIT)
    .with_for_update(skip_locked=True),
)
_UNCLAIMED = (
    select(_g.id)
    .where(text(DISPATCHED), OF_BATCH == _BATCH)
    .limit(LIMIT)
    .with_for_update(skip_locked=True, key_share=True)
)
# The caller sorts these: with ORDER BY, PostgreSQL might scan all ids in order to find those of one batch.
_OPEN = Query(Id, select(_g.id).where(_g.batch_id == _BATCH, text(in_states("state", sorted(OPEN)))))
_OTHERWISE = Query(
    _Queued,
    select(*columns_of(generations, _Queued))
    .where(_g.id.in_(IDS), _g.priority != bindparam("priority"))
    .order_by(_g.id)
    .with_for_update(key_share=True),
)
# Queued work cannot succeed without being dispatched first.
_UNDER_WAY = sorted(OPEN - {State.QUEUED})
_MARKS = (_g.followed_failure_at, _g.followed_success_at, _g.followed_archive_at)
#: generations that are to get follow-ups, from the short form or from recipes, regardless of decisions
_FOLLOWED = (
    Query(
        Id,
        select(_g.id).where(
            _g.batch_id == _BATCH,
            text(in_states("state", [*_UNDER_WAY, State.ARCHIVED])),
            _g.followed_up_at.is_(None),
        ),
    ),
    Query(
        Id,
        select(_g.id).where(
            _g.batch_id == _BATCH,
            text(in_states("state", _UNDER_WAY)),
            _g.recipe.is_not(None),
            or_(*(mark.is_(None) for mark in _MARKS)),
        ),
    ),
    Query(Id, select(_g.id).where(_g.batch_id == _BATCH, text(RECIPE_DUE))),
)
_ASKED_ABOUT = Query(
    Id, select(approvals.c.generation_id.label("id")).where(approvals.c.batch_id == _BATCH, text(ASKED))
)
_DROP = (
    update(generations)
    .where(_g.id.in_(IDS))
    .values({mark: func.coalesce(mark, NOW) for mark in (_g.followed_up_at, *_MARKS)})
)
_REPRIORITIZE = update(generations).where(_g.id.in_(IDS)).values(priority=bindparam("to"))


class Dropped(NamedTuple):
    """`followed`: generations that no longer get follow-ups; `decisions`: approvals that no longer wait."""

    followed: int
    decisions: int


class Batches(Part):
    """Lets people steer batches."""

    def steering(self, batch_id: str) -> Steering:
        """Return how a batch is steered. Raises NotFound."""
        with self._database.read() as connection:
            return _found(_READ.first(connection, batch=batch_id), batch_id)

    def restricted(self) -> list[Restricted]:
        """Return incomplete batches that are stopped or have a limit on generations in flight, newest first."""
        with self._database.read() as connection:
            found = _RESTRICTED.all(connection)
            limited = [one.id for one in found if one.max_in_flight is not None]
            used = in_flight(connection, limited, self._database.clock())
        return [Restricted(one, used[one.id] if one.max_in_flight is not None else None) for one in found]

    def pause(self, batch_id: str) -> bool:
        """Stop dispatching a batch, and recall what no worker has claimed; return False if it was already paused.

        Raises NotFound.
        """
        with self._database.write() as connection:
            before = _found(_LOCKED.first(connection, batch=batch_id), batch_id)
            if before.paused_at is None:
                self._steer(connection, before, paused_at=self._database.clock())
        self._recall(batch_id)
        return before.paused_at is None

    def resume(self, batch_id: str) -> bool:
        """End a batch's pause; return False if it was not paused. It still waits for a later start. Raises NotFound."""
        with self._database.write() as connection:
            before = _found(_LOCKED.first(connection, batch=batch_id), batch_id)
            self._steer(connection, before, paused_at=None)
        return before.paused_at is not None

    def limit(self, batch_id: str, **values: Unpack[NewSteering]) -> Steering:
        """Set the start and the limits of a batch; return the values before. A start in the past starts it now.

        A start in the future recalls its generations as `pause` does. Raises NotFound.
        """
        now = self._database.clock()
        start_at = values.get("start_at")
        if start_at is not None and start_at <= now:
            values["start_at"] = start_at = None
        with self._database.write() as connection:
            before = _found(_LOCKED.first(connection, batch=batch_id), batch_id)
            self._steer(connection, before, **values)
        if start_at is not None:
            self._recall(batch_id)
        return before

    def start_due(self) -> int:
        """Start the batches that are due; return how many."""
        now = {"now": self._database.clock()}
        with self._database.read() as connection:
            if connection.execute(START_DUE.limit(1), now).first() is None:
                return 0
        with self._database.write() as connection:
            found = _TO_START.all(connection, limit=_STARTED, **now)
            for one in found:
                self._steer(connection, one, start_at=None)
        return len(found)

    def reprioritize(self, batch_id: str, priority: int) -> int:
        """Change the priority of a batch's open generations, their retries and follow-ups; return how many were queued.

        Raises NotFound, and LedgerUnavailable, which states how many were done before it.
        """
        with self._database.read() as connection:
            _found(_READ.first(connection, batch=batch_id), batch_id)
            ids = sorted(row.id for row in _OPEN.all(connection, batch=batch_id))
        queued = done = 0
        for some, _ in in_bites(self._database, ids):
            try:
                with self._database.write() as connection:
                    queued += _reprioritize(connection, some, priority)
            except LedgerUnavailable as error:
                raise incomplete(error, done, len(ids)) from error
            done += len(some)
        return queued

    def drop_follow_ups(self, batch_id: str) -> Dropped:
        """Create no more follow-ups of a batch's open generations, and withdraw its open approvals.

        Raises LedgerUnavailable as `reprioritize` does.
        """
        with self._database.read() as connection:
            followed = {row.id for query in _FOLLOWED for row in query.all(connection, batch=batch_id)}
            ids = sorted(followed | {row.id for row in _ASKED_ABOUT.all(connection, batch=batch_id)})
        done = decisions = 0
        for some, _ in in_bites(self._database, ids):
            try:
                with self._database.write() as connection:
                    changes = Changes(connection, self._database.clock())
                    changes.lock(some)
                    connection.execute(_DROP, {"ids": some, "now": changes.at})
                    withdrawn = withdraw(changes, some, by=_CANCELLED)
                    changes.look_at_batch(batch_id)
                    changes.flush()
            except LedgerUnavailable as error:
                raise incomplete(error, done, len(ids)) from error
            done += len(some)
            decisions += withdrawn
        return Dropped(len(followed), decisions)

    def _steer(self, connection: Connection, before: Steering, **values: Unpack[NewSteering]) -> None:
        """Change a locked batch, and put its flows to sleep or wake them accordingly."""
        if not values:
            return
        new: Mapping[str, object] = {**values}
        update_row(connection, batches, {"id": before.id}, **new)
        if before._replace(**values).is_stopped:
            put_batch_to_sleep(connection, before.id, self._database.clock())
        else:
            wake_batch(connection, before.id)

    def _recall(self, batch_id: str) -> None:
        """Recall a few at a time, until all that is left is claimed by workers or locked."""
        mine = {"batch": batch_id, "limit": _RECALLED}
        while True:
            with self._database.write() as connection:
                ids = connection.execute(_UNCLAIMED, mine).scalars().all()
                if ids:
                    changes = Changes(connection, self._database.clock())
                    changes.recall(ids)
                    changes.flush()
            if len(ids) < _RECALLED:
                return


def _found(row: Steering | None, batch_id: str) -> Steering:
    if row is None:
        raise NotFound(f"there is no batch {batch_id}; `darkroom batch list` shows those that exist")
    return row


def _reprioritize(connection: Connection, generation_ids: object, priority: int) -> int:
    rows = _OTHERWISE.all(connection, ids=generation_ids, priority=priority)
    rows = [row for row in rows if row.state in OPEN]
    connection.execute(_REPRIORITIZE, {"ids": [row.id for row in rows], "to": priority})
    waiting = [row for row in rows if row.state == State.QUEUED and row.dispatched_at is None and row.held is None]
    line_up(connection, {flow_of(row)._replace(priority=priority) for row in waiting})
    return sum(row.state == State.QUEUED for row in rows)
