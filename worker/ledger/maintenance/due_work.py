"""Finds due work: forgotten, or scheduled for a time that has come."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Integer, Select, bindparam, func, select, text

from worker.ledger.approvals import OVERDUE, UNASKED
from worker.ledger.batches import START_DUE
from worker.ledger.database import Database, Part
from worker.ledger.events import DUE as NOTIFY_DUE
from worker.ledger.generations import DUE as FOLLOW_UPS_DUE
from worker.ledger.generations import RECIPES_DUE
from worker.ledger.maintenance.future_times import pull_back
from worker.ledger.schema import (
    AWAKE,
    DISPATCHED,
    FLOW,
    HELD,
    POLLED,
    UNAPPLIED,
    UNDESCRIBED,
    UNMADE,
    UNSTORED,
    WAITING,
    assets,
    attempts,
    batches,
    callbacks,
    flows,
    generations,
)
from worker.ledger.statements import NOW, Query
from worker.steps import Step

#: how often to look for times that a wrong clock has written
_PUT_RIGHT_EVERY = timedelta(minutes=1)

_g, _a, _b, _c, _t, _f = generations.c, assets.c, batches.c, callbacks.c, attempts.c, flows.c
# Flows in the line. A batch that is still being written down has nothing waiting yet.
_IN_LINE = (
    select(_f.flow)
    .where(
        text(AWAKE),
        select(_g.id)
        .where(
            _g.provider == _f.provider,
            _g.pinned == _f.pinned,
            _g.priority == _f.priority,
            # SQLite would not use its index for a bare column.
            text(f"{FLOW} = flows.flow || ''"),
            text(WAITING),
            _g.not_before.is_(None) | (_g.not_before <= NOW),
        )
        .correlate(flows)
        .exists(),
    )
    .order_by(_f.provider, _f.pinned, _f.priority.desc(), _f.turn, _f.flow)
)
#: step → queries for one of its rows that is due now
_DUE: dict[Step, list[Select[*tuple[object, ...]]]] = {
    step: [query.limit(1) for query in queries]
    for step, queries in {
        Step.INGEST: [select(_c.id).where(text(UNAPPLIED), _c.not_before.is_(None) | (_c.not_before <= NOW))],
        # Includes what a budget holds: a new day or a higher cap makes room without notice.
        Step.DISPATCH: [
            _IN_LINE,
            select(_g.id).where(text(HELD)),
            START_DUE,
        ],
        Step.SUBMIT: [select(_g.id).where(text(DISPATCHED))],
        Step.ARCHIVE: [
            select(_a.id).where(text(UNSTORED), is_due) for is_due in (_a.not_before.is_(None), _a.not_before <= NOW)
        ],
        Step.FOLLOW_UP: [
            FOLLOW_UPS_DUE.with_only_columns(_g.id),
            RECIPES_DUE.with_only_columns(_g.id),
            OVERDUE,
            UNASKED,
        ],
        Step.POLL: [select(_t.id).where(text(POLLED), _t.poll_at <= NOW)],
        Step.NOTIFY: [NOTIFY_DUE],
        Step.MANIFEST: [
            select(_b.id).where(text(UNDESCRIBED), _b.manifest_not_before.is_(None) | (_b.manifest_not_before <= NOW))
        ],
        Step.THUMBNAIL: [select(_a.id).where(text(UNMADE), _a.thumbnail_at <= NOW)],
    }.items()
}
#: work that may be lost or paid for twice if it waits; thumbnails are not due while any of it is
_BEFORE_THUMBNAILS = (Step.INGEST, Step.ARCHIVE, Step.SUBMIT)


class _Since(NamedTuple):
    at: datetime | None


# The most urgent asset of those never tried: it has been due since its provider finished.
_MOST_URGENT = select(_a.generation_id).where(text(UNSTORED), _a.not_before.is_(None))
_MOST_URGENT = _MOST_URGENT.order_by(_a.not_before, _a.deadline).limit(1)
#: step → since when its oldest row has been due, if an index has that row first
_DUE_SINCE = {
    step: [Query(_Since, query.limit(1)) for query in queries]
    for step, queries in {
        Step.INGEST: [
            select(_c.received_at.label("at"))
            .where(text(UNAPPLIED), _c.not_before.is_(None) | (_c.not_before <= NOW))
            .order_by(_c.id)
        ],
        Step.SUBMIT: [select(_g.dispatched_at.label("at")).where(text(DISPATCHED)).order_by(_g.dispatched_at)],
        Step.ARCHIVE: [
            select(_g.finished_at.label("at")).where(_g.id == _MOST_URGENT.scalar_subquery()),
            select(_a.not_before.label("at")).where(text(UNSTORED), _a.not_before <= NOW).order_by(_a.not_before),
        ],
        Step.POLL: [select(_t.poll_at.label("at")).where(text(POLLED), _t.poll_at <= NOW).order_by(_t.poll_at)],
        Step.THUMBNAIL: [
            select(_a.thumbnail_at.label("at")).where(text(UNMADE), _a.thumbnail_at <= NOW).order_by(_a.thumbnail_at)
        ],
    }.items()
}
_NUMBER_DUE = {
    step: [
        select(func.count()).select_from(query.limit(bindparam("most", type_=Integer)).subquery()) for query in queries
    ]
    for step, queries in _DUE.items()
}


class DueWork(Part):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._put_right_at: datetime | None = None

    def due(self, poll_after: timedelta = timedelta(days=1)) -> list[Step]:
        """Return the steps with due work; a few index look-ups.

        Every minute, and after the clock has been set back, times too far in the future are corrected first.
        `poll_after`: as in `Submissions.claim_polls`.
        """
        at = self._database.clock()
        if self._put_right_at is None or not timedelta() <= at - self._put_right_at < _PUT_RIGHT_EVERY:
            pull_back(self._database, at, poll_after)
            self._put_right_at = at
        with self._database.read() as connection:
            found = [step for step in _DUE if _is_due(connection, step, at)]
        return [step for step in found if step is not Step.THUMBNAIL or not set(_BEFORE_THUMBNAILS) & set(found)]

    def due_counts(self, most: int) -> dict[Step, int]:
        """Return the number of rows due now for each step, counting at most `most` of each kind of row."""
        now = {"now": self._database.clock(), "most": most}
        with self._database.read() as connection:
            return {
                step: sum(connection.execute(query, now).scalar_one() for query in queries)
                for step, queries in _NUMBER_DUE.items()
            }

    def due_since(self) -> dict[Step, datetime | None]:
        """Return since when each step's oldest row has been due (None: none is), for steps where an index tells."""
        now = self._database.clock()
        with self._database.read() as connection:
            return {step: _oldest(connection, queries, now) for step, queries in _DUE_SINCE.items()}

    def is_due(self, step: Step) -> bool:
        """Return whether this step is worth a wake-up."""
        at = self._database.clock()
        with self._database.read() as connection:
            if step == Step.THUMBNAIL and any(_is_due(connection, one, at) for one in _BEFORE_THUMBNAILS):
                return False
            return _is_due(connection, step, at)


def _is_due(connection: Connection, step: Step, at: datetime) -> bool:
    return any(connection.execute(query, {"now": at}).first() for query in _DUE[step])


def _oldest(connection: Connection, queries: Sequence[Query[_Since]], now: datetime) -> datetime | None:
    found = [query.first(connection, now=now) for query in queries]
    return min((row.at for row in found if row is not None and row.at is not None), default=None)
