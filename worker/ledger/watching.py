"""What reconcile looks for: silent generations, forgotten work, and workers that stopped."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, text, update

from worker.errors import VersionTooOld
from worker.ledger.compatibility import REVISION, oldest_code
from worker.ledger.database import Database, Part
from worker.ledger.durations import Patience, kind_of, patience_with
from worker.ledger.following import DUE as FOLLOW_UPS_DUE
from worker.ledger.future_times import pull_back
from worker.ledger.money_tables import HELD
from worker.ledger.notifying import DUE as NOTIFY_DUE
from worker.ledger.pacing_tables import AWAKE, flows
from worker.ledger.second_looks import next_look
from worker.ledger.statements import IDS, LIMIT, NOW, insert_ignoring
from worker.ledger.tables import (
    DISPATCHED,
    FLOW,
    POLLED,
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
#: how often what a wrong clock has written is looked for
_PUT_RIGHT_EVERY = timedelta(minutes=1)

_g, _a, _b, _c, _t, _f = generations.c, assets.c, batches.c, callbacks.c, attempts.c, flows.c
# Of flows in the line: nothing waits yet of a batch that is still being written down.
_IN_LINE = (
    select(_f.flow)
    .where(
        text(AWAKE),
        select(_g.id)
        .where(
            _g.provider == _f.provider,
            _g.pinned == _f.pinned,
            _g.priority == _f.priority,
            text(f"{FLOW} = flows.flow"),
            text(WAITING),
            _g.not_before.is_(None) | (_g.not_before <= NOW),
        )
        .correlate(flows)
        .exists(),
    )
    .order_by(_f.provider, _f.pinned, _f.priority.desc(), _f.turn, _f.flow)
)
#: kind of work (name of its task) → a row of it that is due now
_DUE = {
    kind: [query.limit(1) for query in queries]
    for kind, queries in {
        "ingest": [select(_c.id).where(text(UNAPPLIED), _c.not_before.is_(None) | (_c.not_before <= NOW))],
        # What is held by a budget, too: a new day or a higher cap makes room without a word.
        "dispatch": [
            _IN_LINE,
            select(_g.id).where(text(HELD)),
        ],
        "submit": [select(_g.id).where(text(DISPATCHED))],
        "archive": [
            select(_a.id).where(text(UNSTORED), is_due) for is_due in (_a.not_before.is_(None), _a.not_before <= NOW)
        ],
        "follow_up": [FOLLOW_UPS_DUE.with_only_columns(_g.id)],
        "poll": [select(_t.id).where(text(POLLED), _t.poll_at <= NOW)],
        "notify": [NOTIFY_DUE],
        "manifest": [
            select(_b.id).where(text(UNDESCRIBED), _b.manifest_not_before.is_(None) | (_b.manifest_not_before <= NOW))
        ],
    }.items()
}
_SILENT = (
    select(
        *(_t[name] for name in ("id", "generation_id", "provider", "account", "state", "task_id", "sent_at")),
        *(_t.settled_at, _t.polls, _g.operation, _g.speed),
    )
    .join(generations, _g.id == _t.generation_id)
    .where(text(POLLED), _t.poll_at <= NOW)
    .order_by(_t.poll_at)
    .limit(LIMIT)
    # What somebody else has locked is being settled.
    .with_for_update(skip_locked=True, of=attempts)
)
_HOLD = (
    update(attempts).where(_t.id.in_(IDS)).values(poll_at=bindparam("until", type_=UtcDateTime()), polls=_t.polls + 1)
)
# Nothing of one that has gone on meanwhile, or that somebody else asks for by now.
_MINE = (
    select(_t.id)
    .where(
        _t.id == bindparam("attempt", type_=CleanText()),
        _t.state == bindparam("was", type_=CleanText()),
        _t.polls == bindparam("asked"),
        text(POLLED),
    )
    .with_for_update(skip_locked=True)
)
_ASKED = update(attempts).where(_t.id.in_(_MINE)).values(poll_at=bindparam("next", type_=UtcDateTime()))


@dataclass(frozen=True, slots=True)
class Silent:
    """An attempt to ask its provider about, wherever its generation is; without `task_id` it is looked for in the list.

    `state`: of the attempt. One that `failed` did so because the time was over, and is looked at again. `asked`: how
    often it was asked for, this time included; `next_at`: when it is asked for next, if ever.
    """

    generation_id: str
    attempt_id: str
    provider: str
    account: str
    state: str
    task_id: str | None
    sent_at: datetime
    asked: int
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    worker: str
    pid: int
    seen_at: datetime
    #: its version begins no work on this ledger any more
    is_too_old: bool = False
    #: settings that must be the same for all workers, by name
    limits: Mapping[str, float] = field(default_factory=dict)

    def silence(self, now: datetime) -> timedelta:
        """Also of one from the future: under the right clock this worker has not been heard since."""
        return abs(now - self.seen_at)


class Watching(Part):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._put_right_at: datetime | None = None

    def due(self, poll_after: timedelta = timedelta(days=1)) -> list[str]:
        """The kinds of work (names of tasks) of which something is due now; a few index look-ups.

        Each minute, and when the clock was set back, what is further ahead than it can mean is pulled back before.
        `poll_after`: as in `silent`.
        """
        at = self._database.clock()
        if self._put_right_at is None or not timedelta() <= at - self._put_right_at < _PUT_RIGHT_EVERY:
            pull_back(self._database, at, poll_after)
            self._put_right_at = at
        now = {"now": at}
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
        """Take attempts that are due to be asked for: silent ones, unclear ones, and those for a second look.

        They are held for `lease`, and asked for again after it unless `asked` has set their next time
        (`Patience.next`). One without a task_id is looked for until `horizon` after it was sent or replaced.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            rows = connection.execute(_SILENT, {"limit": limit, "now": now}).all()
            patience = patience_with(connection, [row.provider for row in rows], poll_after)
            if rows:
                connection.execute(_HOLD, {"ids": [row.id for row in rows], "until": now + lease})
        return [
            Silent(
                row.generation_id,
                row.id,
                row.provider,
                row.account,
                row.state,
                row.task_id,
                row.sent_at,
                row.polls + 1,
                _next(row, now, patience, horizon),
            )
            for row in rows
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
            elif one.task_id is None:
                times[one] = min(one.next_at, now + _UNANSWERED_SOON)
        self._set_next(times)

    def _set_next(self, times: Mapping[Silent, datetime | None]) -> None:
        asked = [
            {"attempt": one.attempt_id, "was": one.state, "asked": one.asked, "next": at} for one, at in times.items()
        ]
        if asked:
            with self._database.write(under_way=True) as connection:
                connection.execute(_ASKED, asked)

    def beat(self, worker: str, pid: int, limits: Mapping[str, float] | None = None) -> None:
        """Note that this worker executes tasks. `limits`: its settings that must be the same for all workers."""
        now = self._database.clock()
        with self._database.write(under_way=True) as connection:
            news = {"pid": pid, "seen_at": now, "revision": REVISION, "limits": dict(limits or {})}
            mine = update(heartbeats).where(heartbeats.c.worker == worker).values(news)
            if connection.execute(mine).rowcount == 0:
                connection.execute(insert_ignoring(connection, heartbeats), [{"worker": worker, **news}])

    def heartbeats(self) -> Sequence[Heartbeat]:
        with self._database.read() as connection:
            oldest = oldest_code(connection)
            rows = connection.execute(select(heartbeats).order_by(heartbeats.c.worker))
            return [
                Heartbeat(row.worker, row.pid, row.seen_at, row.revision < oldest, row.limits or {}) for row in rows
            ]

    def ping(self) -> VersionTooOld | None:
        """Raise LedgerUnavailable or ConfigurationError when the ledger cannot be read.

        What is returned says why this version must not begin anything on it; None when it may.
        """
        with self._database.read() as connection:
            connection.execute(select(generations.c.id).limit(1)).first()
            return self._database.objection(connection)


def _next(row: Any, now: datetime, patience: Patience, horizon: timedelta) -> datetime | None:
    if row.state == "failed":
        return next_look(row.settled_at, now)
    next_at = now + patience.next(kind_of(row), row.polls)
    if row.task_id is not None:
        return next_at
    end = (row.settled_at or row.sent_at) + horizon
    return min(next_at, end) if now < end else None
