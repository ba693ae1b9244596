"""What reconcile looks for: silent generations, forgotten work, and workers that stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, text, update

from worker.generation import State
from worker.ledger.creation import insert_ignoring
from worker.ledger.database import Database
from worker.ledger.durations import kind_of, patience_with
from worker.ledger.money_tables import HELD
from worker.ledger.notifying import DUE as NOTIFY_DUE
from worker.ledger.second_looks import DUE, take_due
from worker.ledger.statements import IDS, LIMIT, NOW
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
from worker.ledger.types import UtcDateTime

#: how long after its submission an unclear one is asked for at the most, while its provider does not answer
LAST_QUESTION = timedelta(hours=24)
_UNANSWERED = timedelta(minutes=5)

_g, _a, _b, _c = generations.c, assets.c, batches.c, callbacks.c
#: kind of work (name of its task) → a row of it that is due now
_DUE = {
    kind: [query.limit(1) for query in queries]
    for kind, queries in {
        "ingest": [select(_c.id).where(text(UNAPPLIED), _c.not_before.is_(None) | (_c.not_before <= NOW))],
        # What is held by a budget, too: a new day or a higher cap makes room without a word.
        "dispatch": [
            select(_g.id).where(text(WAITING), _g.not_before.is_(None) | (_g.not_before <= NOW)),
            select(_g.id).where(text(HELD)),
        ],
        "submit": [select(_g.id).where(text(DISPATCHED))],
        "archive": [select(_a.id).where(text(UNSTORED), _a.not_before.is_(None) | (_a.not_before <= NOW))],
        "follow_up": [select(_g.id).where(text(FOLLOW_UP_DUE))],
        "poll": [select(_g.id).where(text(SILENT), _g.poll_at <= NOW), DUE],
        "notify": [NOTIFY_DUE],
        "manifest": [
            select(_b.id).where(text(UNDESCRIBED), _b.manifest_not_before.is_(None) | (_b.manifest_not_before <= NOW))
        ],
    }.items()
}
_SILENT = (
    select(_g.id, _g.provider, _g.operation, _g.speed, _g.state, _g.polls)
    .where(text(SILENT), _g.poll_at <= NOW)
    .order_by(_g.poll_at)
    .limit(LIMIT)
    .with_for_update(skip_locked=True)
)
_LIVE = select(attempts.c.id, attempts.c.generation_id, attempts.c.task_id, attempts.c.sent_at).where(
    text(LIVE), attempts.c.generation_id.in_(IDS)
)
_ASKED = (
    update(generations)
    .where(_g.id == bindparam("generation_id"))
    .values(poll_at=bindparam("next", type_=UtcDateTime()), polls=_g.polls + 1)
)
_AGAIN = (
    update(generations)
    .where(_g.id.in_(IDS), _g.state == State.UNCONFIRMED, _g.poll_at.is_(None))
    .values(poll_at=bindparam("next", type_=UtcDateTime()))
)


@dataclass(frozen=True, slots=True)
class Silent:
    """A generation to ask its provider about; without `task_id` it can only be found by its callback URL.

    One that is FAILED has failed because the time was over, and is looked at again.
    """

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
            return [
                kind
                for kind, queries in _DUE.items()
                if any(connection.execute(query, now).first() for query in queries)
            ]

    def is_due(self, kind: str) -> bool:
        """Whether this kind of work is worth a bell."""
        now = {"now": self._database.clock()}
        with self._database.read() as connection:
            return any(connection.execute(query, now).first() for query in _DUE[kind])

    def silent(self, limit: int, poll_after: timedelta, horizon: timedelta = timedelta(hours=1)) -> list[Silent]:
        """Take generations that are due to be asked for: submitted, unconfirmed, and those for a second look.

        The next time is set at once (`Patience.next`), so that two clocks never ask twice; for an unconfirmed one there
        is none after `horizon` from its submission.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            rows = connection.execute(_SILENT, {"limit": limit, "now": now}).all()
            live = connection.execute(_LIVE, {"ids": [row.id for row in rows]}) if rows else ()
            attempt_of = {row.generation_id: row for row in live}
            patience = patience_with(connection, [row.provider for row in rows], poll_after)
            found, later = [], []
            for row in rows:
                next_at: datetime | None = now + patience.next(kind_of(row), row.polls)
                if (attempt := attempt_of.get(row.id)) is not None:
                    state = State(row.state)
                    found.append(Silent(row.id, attempt.id, row.provider, state, attempt.task_id, attempt.sent_at))
                    if state is State.UNCONFIRMED:
                        end = attempt.sent_at + horizon
                        next_at = min(next_at, end) if now < end else None
                later.append({"generation_id": row.id, "next": next_at})
            if later:
                connection.execute(_ASKED, later)
            looks = take_due(connection, now, limit - len(found))
        return found + [
            Silent(row.generation_id, row.attempt_id, row.provider, State.FAILED, row.task_id, row.sent_at)
            for row in looks
        ]

    def unanswered(self, silent: Sequence[Silent]) -> None:
        """Their provider did not answer: for unconfirmed ones beyond their horizon that was not the last question."""
        now = self._database.clock()
        young = [one.generation_id for one in silent if now < one.sent_at + LAST_QUESTION]
        with self._database.write() as connection:
            connection.execute(_AGAIN, {"ids": young, "next": now + _UNANSWERED})

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
