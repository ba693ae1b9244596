"""Attempts to poll: silent or unconfirmed ones, and rechecks after a time-out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, select, text, update

from worker.generation import AttemptState
from worker.ledger.database import Part
from worker.ledger.schema import POLLED, CleanText, UtcDateTime, attempts, generations
from worker.ledger.statements import IDS, LIMIT, NOW, Query
from worker.ledger.submission.durations import Patience, kind_of_attempt, patience_with
from worker.ledger.submission.rechecks import next_look

#: how long after its submission an unclear attempt is polled at most, while its provider does not answer
LAST_QUESTION = timedelta(hours=24)
_UNANSWERED, _UNANSWERED_SOON = timedelta(minutes=5), timedelta(seconds=30)


class _Due(NamedTuple):
    id: str
    generation_id: str
    provider: str
    account: str
    state: str
    task_id: str | None
    sent_at: datetime
    settled_at: datetime | None
    polls: int
    operation: str
    speed: str | None


_g, _t = generations.c, attempts.c
_SILENT = Query(
    _Due,
    select(
        *(_t[name] for name in ("id", "generation_id", "provider", "account", "state", "task_id", "sent_at")),
        *(_t.settled_at, _t.polls, _g.operation, _g.speed),
    )
    .join(generations, _g.id == _t.generation_id)
    .where(text(POLLED), _t.poll_at <= NOW)
    .order_by(_t.poll_at)
    .limit(LIMIT)
    # Locked attempts are being settled.
    .with_for_update(skip_locked=True, of=attempts),
)
_HOLD = (
    update(attempts).where(_t.id.in_(IDS)).values(poll_at=bindparam("until", type_=UtcDateTime()), polls=_t.polls + 1)
)
# Skips attempts that have moved on meanwhile, or that another worker is polling by now.
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
_SOON = update(attempts).where(_t.generation_id.in_(IDS), _t.state == AttemptState.UNCERTAIN).values(poll_at=NOW)
_ASKED = update(attempts).where(_t.id.in_(_MINE)).values(poll_at=bindparam("next", type_=UtcDateTime()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """An attempt to poll, whatever its generation's state; without `task_id` it is searched in the provider's list.

    `state`: the attempt's. A `failed` one timed out and is rechecked. `asked`: the number of polls, including this
    one; `next_at`: the time of the next poll, if any.
    """

    generation_id: str
    attempt_id: str
    provider: str
    account: str
    state: AttemptState
    task_id: str | None
    sent_at: datetime
    asked: int
    next_at: datetime | None


class Polling(Part):
    def claim_polls(
        self, limit: int, lease: timedelta, poll_after: timedelta, horizon: timedelta = timedelta(hours=1)
    ) -> list[Silent]:
        """Claim attempts that are due for polling: silent or unconfirmed ones, and rechecks.

        The claims last for `lease`; the attempts are then due again, unless `record_polled` has set their next time
        (`Patience.next`). Without a task_id, an attempt is searched until `horizon` after it was sent or replaced.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            rows = _SILENT.all(connection, limit=limit, now=now)
            patience = patience_with(connection, [row.provider for row in rows], poll_after)
            if rows:
                connection.execute(_HOLD, {"ids": [row.id for row in rows], "until": now + lease})
        return [
            Silent(
                generation_id=row.generation_id,
                attempt_id=row.id,
                provider=row.provider,
                account=row.account,
                state=AttemptState(row.state),
                task_id=row.task_id,
                sent_at=row.sent_at,
                asked=row.polls + 1,
                next_at=_next(row, now, patience, horizon),
            )
            for row in rows
        ]

    def poll_now(self, generation_ids: Sequence[str]) -> int:
        """Make the unconfirmed submissions of these generations due for polling; return how many there were."""
        now = {"ids": list(generation_ids), "now": self._database.clock()}
        with self._database.write() as connection:
            return connection.execute(_SOON, now).rowcount

    def renew_polls(self, silent: Sequence[Silent], lease: timedelta) -> None:
        """Renew the claims for another `lease`."""
        until = self._database.clock() + lease
        self._set_next(dict.fromkeys(silent, until))

    def record_polled(self, silent: Sequence[Silent], unanswered: Collection[Silent] = ()) -> None:
        """Record a poll; set the next time of attempts without a new outcome.

        `unanswered`: the provider did not reply, so this does not count as their last poll; unconfirmed ones are
        searched again soon, because the provider could have them already.
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


def _next(row: _Due, now: datetime, patience: Patience, horizon: timedelta) -> datetime | None:
    if row.state == AttemptState.FAILED:
        return next_look(row.settled_at or row.sent_at, now)
    next_at = now + patience.next(kind_of_attempt(row), row.polls)
    if row.task_id is not None:
        return next_at
    end = (row.settled_at or row.sent_at) + horizon
    return min(next_at, end) if now < end else None
