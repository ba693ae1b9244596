"""A person steers a batch: pause, resume, start, limits, priority.

The row of the batch decides, and whoever changes it waits for each dispatch that has looked at it. Its flows sleep
while it is stopped, which only saves time.
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

#: generations that one transaction recalls, and batches that one starts
_RECALLED, _STARTED = 250, 100
#: who decides what a batch still waits for when it is cancelled
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
        """Nothing of it is dispatched."""
        return self.paused_at is not None or self.start_at is not None


class NewSteering(TypedDict, total=False):
    """What changes of it; None: no longer limited."""

    paused_at: datetime | None
    start_at: datetime | None
    max_cost: int | None
    max_in_flight: int | None


@dataclass(frozen=True, slots=True)
class Restricted:
    """A batch that is not complete, and is stopped or has a limit; `in_flight`: None where no limit needs it."""

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
# Before it, dispatch only asks that the row stays: so this waits for whoever dispatches it now.
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
# Sorted only by who reads them: PostgreSQL might go through all ids, in their order, for those of one batch.
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
#: those that are to get follow-ups, by the short form or by recipes, whatever people decide
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
    """`followed`: generations that get no follow-ups any more; `decisions`: that are not waited for any more."""

    followed: int
    decisions: int


class Batches(Part):
    """How people steer batches."""

    def steering(self, batch_id: str) -> Steering:
        """Raises NotFound."""
        with self._database.read() as connection:
            return _found(_READ.first(connection, batch=batch_id), batch_id)

    def restricted(self) -> list[Restricted]:
        """Batches with something open that are stopped, or that have a limit of those in flight; the newest first."""
        with self._database.read() as connection:
            found = _RESTRICTED.all(connection)
            limited = [one.id for one in found if one.max_in_flight is not None]
            used = in_flight(connection, limited, self._database.clock())
        return [Restricted(one, used[one.id] if one.max_in_flight is not None else None) for one in found]

    def pause(self, batch_id: str) -> bool:
        """Dispatch nothing more of it, and recall what no worker has claimed; False if it was paused already.

        Raises NotFound.
        """
        with self._database.write() as connection:
            before = _found(_LOCKED.first(connection, batch=batch_id), batch_id)
            if before.paused_at is None:
                self._steer(connection, before, paused_at=self._database.clock())
        self._recall(batch_id)
        return before.paused_at is None

    def resume(self, batch_id: str) -> bool:
        """End its pause; False if it was not paused. It still waits for a start that is to come. Raises NotFound."""
        with self._database.write() as connection:
            before = _found(_LOCKED.first(connection, batch=batch_id), batch_id)
            self._steer(connection, before, paused_at=None)
        return before.paused_at is not None

    def limit(self, batch_id: str, **values: Unpack[NewSteering]) -> Steering:
        """Set its start and its limits; return what it had before. A start that is not to come starts it now.

        What has a start to come is recalled as by `pause`. Raises NotFound.
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
        """Start the batches whose time has come; return how many."""
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
        """Give what is open in it another priority, also for its retries and follow-ups; return how many were queued.

        LedgerUnavailable states how many were done before. Raises NotFound.
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
        """Create no follow-ups of what is under way in it, and end its decisions.

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
        """Change a locked batch; its flows sleep or wake with it."""
        if not values:
            return
        new: Mapping[str, object] = {**values}
        update_row(connection, batches, {"id": before.id}, **new)
        if before._replace(**values).is_stopped:
            put_batch_to_sleep(connection, before.id, self._database.clock())
        else:
            wake_batch(connection, before.id)

    def _recall(self, batch_id: str) -> None:
        """A few at a time, until a worker has claimed, or somebody holds, all that is left."""
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
