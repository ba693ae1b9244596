"""What reconcile looks for: silent generations, forgotten work, and workers that stopped."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, exists, select, text, update

from worker.generation import State
from worker.ledger.database import Database
from worker.ledger.durations import kind_of, patience_with
from worker.ledger.following import DUE as FOLLOW_UPS_DUE
from worker.ledger.money_tables import HELD
from worker.ledger.notifying import DUE as NOTIFY_DUE
from worker.ledger.second_looks import DUE, hold_due, next_look, set_next_look
from worker.ledger.statements import IDS, LIMIT, NOW, insert_ignoring
from worker.ledger.tables import (
    DISPATCHED,
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
from worker.ledger.types import CleanText, UtcDateTime

#: how long after its submission an unclear one is asked for at the most, while its provider does not answer
LAST_QUESTION = timedelta(hours=24)
_UNANSWERED, _UNANSWERED_SOON = timedelta(minutes=5), timedelta(seconds=30)

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
        "follow_up": [FOLLOW_UPS_DUE.with_only_columns(_g.id)],
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
_LIVE = select(
    attempts.c.id, attempts.c.generation_id, attempts.c.account, attempts.c.task_id, attempts.c.sent_at
).where(text(LIVE), attempts.c.generation_id.in_(IDS))
_HOLD = (
    update(generations)
    .where(_g.id.in_(IDS))
    .values(poll_at=bindparam("until", type_=UtcDateTime()), polls=_g.polls + 1)
)
# Nothing of one that has gone on meanwhile, or that somebody else asks for by now.
_ASKED = (
    update(generations)
    .where(
        _g.id == bindparam("generation"),
        _g.state == bindparam("was", type_=CleanText()),
        _g.polls == bindparam("asked"),
        exists().where(text(LIVE), attempts.c.id == bindparam("attempt", type_=CleanText())),
    )
    .values(poll_at=bindparam("next", type_=UtcDateTime()))
)


@dataclass(frozen=True, slots=True)
class Silent:
    """A generation to ask its provider about; without `task_id` it can only be found by its callback URL.

    One that is FAILED has failed because the time was over, and is looked at again. `asked`: how often it was asked
    for, this time included; `next_at`: when it is asked for next, if ever.
    """

    generation_id: str
    attempt_id: str
    provider: str
    account: str
    state: State
    task_id: str | None
    sent_at: datetime
    asked: int
    next_at: datetime | None


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

    def silent(
        self, limit: int, lease: timedelta, poll_after: timedelta, horizon: timedelta = timedelta(hours=1)
    ) -> list[Silent]:
        """Take generations that are due to be asked for: submitted, unconfirmed, and those for a second look.

        They are held for `lease`, and asked for again after it unless `asked` has set their next time
        (`Patience.next`). For an unconfirmed one there is none after `horizon` from its submission.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            rows = connection.execute(_SILENT, {"limit": limit, "now": now}).all()
            live = connection.execute(_LIVE, {"ids": [row.id for row in rows]}) if rows else ()
            attempt_of = {row.generation_id: row for row in live}
            patience = patience_with(connection, [row.provider for row in rows], poll_after)
            found = []
            for row in rows:
                if (attempt := attempt_of.get(row.id)) is None:
                    continue
                state, next_at = State(row.state), now + patience.next(kind_of(row), row.polls)
                end = attempt.sent_at + horizon if state is State.UNCONFIRMED else None
                found.append(
                    Silent(
                        row.id,
                        attempt.id,
                        row.provider,
                        attempt.account,
                        state,
                        attempt.task_id,
                        attempt.sent_at,
                        row.polls + 1,
                        next_at if end is None else min(next_at, end) if now < end else None,
                    )
                )
            if rows:
                connection.execute(_HOLD, {"ids": [row.id for row in rows], "until": now + lease})
            looks = hold_due(connection, now, limit - len(found), now + lease)
        return found + [
            Silent(
                row.generation_id,
                row.attempt_id,
                row.provider,
                row.account,
                State.FAILED,
                row.task_id,
                row.sent_at,
                row.looks + 1,
                next_look(row.settled_at, now),
            )
            for row in looks
        ]

    def renew(self, silent: Sequence[Silent], lease: timedelta) -> None:
        """Hold them for another `lease`."""
        until = self._database.clock() + lease
        self._set_next(dict.fromkeys(silent, until))

    def asked(self, silent: Sequence[Silent], unanswered: Collection[Silent] = ()) -> None:
        """They were asked for; set the next time of those of which nothing new was told.

        `unanswered`: their provider said nothing, so this was not the last question for them; and what is unconfirmed
        is looked for again soon, because it could be known already.
        """
        now = self._database.clock()
        times = {one: one.next_at for one in silent}
        for one in unanswered:
            if one.next_at is None:
                times[one] = now + _UNANSWERED if now < one.sent_at + LAST_QUESTION else None
            elif one.state is State.UNCONFIRMED:
                times[one] = min(one.next_at, now + _UNANSWERED_SOON)
        self._set_next(times)

    def _set_next(self, times: Mapping[Silent, datetime | None]) -> None:
        asked = [
            {
                "generation": one.generation_id,
                "attempt": one.attempt_id,
                "was": one.state,
                "asked": one.asked,
                "next": at,
            }
            # In order of id, as everybody locks them.
            for one, at in sorted(times.items(), key=lambda item: item[0].generation_id)
            if one.state is not State.FAILED
        ]
        with self._database.write() as connection:
            if asked:
                connection.execute(_ASKED, asked)
            for one, at in times.items():
                if one.state is State.FAILED:
                    set_next_look(connection, one.attempt_id, one.asked, at)

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
