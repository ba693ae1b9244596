"""What reconcile looks for: silent generations, forgotten work, and workers that stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, text, update

from worker.generation import State
from worker.ledger.creation import insert_ignoring
from worker.ledger.database import Database
from worker.ledger.statements import NOW
from worker.ledger.tables import (
    DISPATCHED,
    FOLLOW_UP_DUE,
    LIVE,
    SILENT,
    UNAPPLIED,
    UNDESCRIBED,
    UNSTORED,
    WAITING,
    assets,
    attempts,
    batches,
    callbacks,
    generations,
    heartbeats,
)

_g, _a, _b, _c = generations.c, assets.c, batches.c, callbacks.c
#: kind of work (name of its task) → a row of it that is due now
_DUE = {
    kind: query.limit(1)
    for kind, query in {
        "ingest": select(_c.id).where(text(UNAPPLIED), _c.not_before.is_(None) | (_c.not_before <= NOW)),
        "dispatch": select(_g.id).where(text(WAITING), _g.not_before.is_(None) | (_g.not_before <= NOW)),
        "submit": select(_g.id).where(text(DISPATCHED)),
        "archive": select(_a.id).where(text(UNSTORED), _a.not_before.is_(None) | (_a.not_before <= NOW)),
        "follow_up": select(_g.id).where(text(FOLLOW_UP_DUE)),
        "poll": select(_g.id).where(text(SILENT), _g.poll_at <= NOW),
        "manifest": select(_b.id).where(
            text(UNDESCRIBED), _b.manifest_not_before.is_(None) | (_b.manifest_not_before <= NOW)
        ),
    }.items()
}


@dataclass(frozen=True, slots=True)
class Silent:
    """A generation to ask its provider about; without `task_id` it can only be found by its callback URL."""

    generation_id: str
    attempt_id: str
    provider: str
    state: State
    task_id: str | None
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Heartbeat:
    worker: str
    pid: int
    seen_at: datetime


class Watching:
    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self) -> list[str]:
        """The kinds of work (names of tasks) of which something is due now; a few index look-ups."""
        now = {"now": self._database.clock()}
        with self._database.read() as connection:
            return [kind for kind, query in _DUE.items() if connection.execute(query, now).first()]

    def is_due(self, kind: str) -> bool:
        """Whether this kind of work is worth a bell."""
        with self._database.read() as connection:
            return connection.execute(_DUE[kind], {"now": self._database.clock()}).first() is not None

    def silent(self, limit: int, poll_after: timedelta) -> list[Silent]:
        """Take submitted and unconfirmed generations that are due to be asked for.

        The next time is set at once (`poll_after`, then 1.6 times longer each time, at most 5 minutes), so that two
        clocks never ask twice.
        """
        now = self._database.clock()
        g = generations.c
        with self._database.write() as connection:
            rows = connection.execute(
                select(g.id, g.provider, g.state, g.polls)
                .where(text(SILENT), g.poll_at <= now)
                .order_by(g.poll_at)
                .limit(limit)
                .with_for_update(skip_locked=True)
            ).all()
            if not rows:
                return []
            connection.execute(
                update(generations)
                .where(g.id == bindparam("generation_id"))
                .values(poll_at=bindparam("next"), polls=g.polls + 1),
                [{"generation_id": row.id, "next": now + _growing(poll_after, row.polls)} for row in rows],
            )
            live = connection.execute(
                select(attempts.c.id, attempts.c.generation_id, attempts.c.task_id, attempts.c.sent_at).where(
                    text(LIVE), attempts.c.generation_id.in_([row.id for row in rows])
                )
            )
            attempt_of = {row.generation_id: row for row in live}
        return [
            Silent(row.id, attempt.id, row.provider, State(row.state), attempt.task_id, attempt.sent_at)
            for row in rows
            if (attempt := attempt_of.get(row.id)) is not None
        ]

    def beat(self, worker: str, pid: int) -> None:
        """Note that this worker executes tasks."""
        now = self._database.clock()
        with self._database.write() as connection:
            mine = update(heartbeats).where(heartbeats.c.worker == worker).values(pid=pid, seen_at=now)
            if connection.execute(mine).rowcount == 0:
                row = {"worker": worker, "pid": pid, "seen_at": now}
                connection.execute(insert_ignoring(connection, heartbeats), [row])

    def heartbeats(self) -> Sequence[Heartbeat]:
        with self._database.read() as connection:
            rows = connection.execute(select(heartbeats).order_by(heartbeats.c.worker))
            return [Heartbeat(row.worker, row.pid, row.seen_at) for row in rows]

    def ping(self) -> None:
        """Raise LedgerUnavailable or ConfigurationError when the ledger cannot be read."""
        with self._database.read() as connection:
            connection.execute(select(generations.c.id).limit(1)).first()


def _growing(first: timedelta, polls: int) -> timedelta:
    return min(first * 1.6 ** min(polls, 30), max(timedelta(minutes=5), first))
