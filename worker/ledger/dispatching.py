"""Who may be submitted now: rate, room in flight and pauses of a provider, and fairness between batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select, text, update

from worker.generation import State
from worker.ledger.creation import insert_ignoring
from worker.ledger.database import Database
from worker.ledger.tables import IN_FLIGHT, WAITING, generations, provider_limits

#: a generation that was sent so long ago and never answered holds no room at the provider any more: otherwise a few
#: that nobody can resolve would stop all others for good
FORGOTTEN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """`rate`: new submissions per second; `in_flight`: submissions under way at once."""

    rate: float
    in_flight: int


class Dispatching:
    def __init__(self, database: Database) -> None:
        self._database = database

    def dispatch(self, provider: str, limits: Limits) -> int:
        """Let as many waiting generations of this provider go as its limits allow; how many went.

        Bucket, room and choice are one transaction, so that two dispatchers never spend the same room.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            bucket = _locked_bucket(connection, provider, limits, now)
            if bucket.paused_until is not None and bucket.paused_until > now:
                return 0
            elapsed = max(0.0, (now - bucket.refilled_at).total_seconds())
            tokens = min(_burst(limits), bucket.tokens + elapsed * limits.rate)
            room = min(int(tokens), limits.in_flight - _in_flight(connection, provider, now))
            chosen = _next_in_line(connection, provider, room, now) if room > 0 else []
            if chosen:
                connection.execute(
                    update(generations)
                    .where(generations.c.id.in_([row.id for row in chosen]))
                    .values(dispatched_at=now, not_before=None)
                )
            turn = max((row.turn for row in chosen), default=bucket.turn)
            connection.execute(
                update(provider_limits)
                .where(provider_limits.c.provider == provider)
                .values(tokens=tokens - len(chosen), refilled_at=now, turn=max(bucket.turn, turn))
            )
        return len(chosen)


def pause(connection: Connection, provider: str, until: datetime, reason: str) -> datetime | None:
    """Let nothing go before `until`, or before a later end that was set already; returns that earlier one."""
    mine = provider_limits.c.provider == provider
    query = select(provider_limits.c.paused_until).where(mine).with_for_update()
    before: datetime | None = connection.execute(query).scalar_one_or_none()
    if before is None or before < until:
        connection.execute(update(provider_limits).where(mine).values(paused_until=until, pause_reason=reason))
    return before


def backoff(tries: int) -> timedelta:
    """1, 2, 4, 8 … seconds after the n-th try, at most 5 minutes."""
    # Bounded before the power is taken: after days of tries it would be no number any more.
    return timedelta(seconds=min(2 ** min(max(tries - 1, 0), 9), 300))


def _burst(limits: Limits) -> float:
    return max(1.0, limits.rate)


def _locked_bucket(connection: Connection, provider: str, limits: Limits, now: datetime) -> Row[Any]:
    mine = select(provider_limits).where(provider_limits.c.provider == provider).with_for_update()
    row = connection.execute(mine).one_or_none()
    if row is None:
        full = {"provider": provider, "tokens": _burst(limits), "refilled_at": now, "turn": 0}
        connection.execute(insert_ignoring(connection, provider_limits), [full])
        row = connection.execute(mine).one()
    return row


def _in_flight(connection: Connection, provider: str, now: datetime) -> int:
    g = generations.c
    occupies = (g.state == State.QUEUED) | (g.dispatched_at > now - FORGOTTEN)
    query = select(func.count()).select_from(generations)
    return connection.execute(query.where(g.provider == provider, text(f"({IN_FLIGHT})"), occupies)).scalar_one()


def _next_in_line(connection: Connection, provider: str, room: int, now: datetime) -> Sequence[Any]:
    g = generations.c
    return connection.execute(
        select(g.id, g.turn)
        .where(g.provider == provider, text(WAITING), g.not_before.is_(None) | (g.not_before <= now))
        .order_by(g.priority.desc(), g.turn, g.id)
        .limit(room)
        .with_for_update(skip_locked=True)
    ).all()
