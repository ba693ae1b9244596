"""Who may be submitted now: rate, room in flight and pauses of a provider, and fairness between batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, text, update

from worker.generation import State
from worker.ledger.changes import Changes
from worker.ledger.creation import insert_ignoring
from worker.ledger.database import Database
from worker.ledger.gate import is_open
from worker.ledger.money import let_all_go, reserve
from worker.ledger.statements import IDS, LIMIT, NOW, update_row
from worker.ledger.tables import IN_FLIGHT, WAITING, generations, provider_limits
from worker.ledger.types import CleanText
from worker.prices import Prices

#: a generation that was sent so long ago and never answered holds no room at the provider any more: otherwise a few
#: that nobody can resolve would stop all others for good
FORGOTTEN = timedelta(hours=1)
#: where some in line do not fit their budgets, one call looks so many times at so many more
_LOOKS, _FURTHER = 10, 500


@dataclass(frozen=True, slots=True)
class Limits:
    """`rate`: new submissions per second; `in_flight`: submissions under way at once."""

    rate: float
    in_flight: int


_g = generations.c
_PROVIDER = bindparam("provider", type_=CleanText())
_BUCKET = select(provider_limits).where(provider_limits.c.provider == _PROVIDER).with_for_update()
_IN_FLIGHT = (
    select(func.count())
    .select_from(generations)
    .where(
        _g.provider == _PROVIDER,
        text(f"({IN_FLIGHT})"),
        (_g.state == State.QUEUED) | (_g.dispatched_at > bindparam("since")),
    )
)
_NEXT_IN_LINE = (
    select(_g.id, _g.turn)
    .where(_g.provider == _PROVIDER, text(WAITING), _g.not_before.is_(None) | (_g.not_before <= NOW))
    .order_by(_g.priority.desc(), _g.turn, _g.id)
    .limit(LIMIT)
    .with_for_update(skip_locked=True)
)
_DISPATCH = update(generations).where(_g.id.in_(IDS)).values(dispatched_at=NOW, not_before=None)


class Dispatching:
    def __init__(self, database: Database) -> None:
        self._database = database

    def dispatch(self, provider: str, limits: Limits, prices: Prices | None = None) -> int:
        """Let as many waiting generations of this provider go as its limits and budgets allow; how many went.

        Bucket, room, money and choice are one transaction, so that two dispatchers never spend the same room.
        """
        went = 0
        for look in range(_LOOKS):
            started, held = self._dispatch(provider, limits, prices, further=_FURTHER if look else 0)
            went += started
            if not held:
                break
        return went

    def _dispatch(self, provider: str, limits: Limits, prices: Prices | None, *, further: int) -> tuple[int, int]:
        """How many went, and how many were held because their budgets have no room."""
        now = self._database.clock()
        held = 0
        with self._database.write() as connection:
            bucket = _locked_bucket(connection, provider, limits, now)
            if bucket.paused_until is not None and bucket.paused_until > now:
                return 0, 0
            if not is_open(connection):
                return 0, 0
            elapsed = max(0.0, (now - bucket.refilled_at).total_seconds())
            tokens = min(_burst(limits), bucket.tokens + elapsed * limits.rate)
            room = min(int(tokens), limits.in_flight - _in_flight(connection, provider, now))
            chosen: Sequence[Any] = []
            in_use = prices and prices.digest
            if prices is None and bucket.prices is not None and not let_all_go(connection, provider):
                in_use = bucket.prices
            if room > 0 and prices is not None:
                changes = Changes(connection, now)
                chosen, held = reserve(changes, provider, prices, room, further)
                changes.flush()
            elif room > 0 and (chosen := _next_in_line(connection, provider, room, now)):
                connection.execute(_DISPATCH, {"ids": [row.id for row in chosen], "now": now})
            turn = max((row.turn for row in chosen), default=bucket.turn)
            spent = {"tokens": tokens - len(chosen), "refilled_at": now, "turn": max(bucket.turn, turn)}
            spent["prices"] = in_use
            update_row(connection, provider_limits, {"provider": provider}, **spent)
        return len(chosen), held


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
    mine = {"provider": provider}
    row = connection.execute(_BUCKET, mine).one_or_none()
    if row is None:
        full = {"provider": provider, "tokens": _burst(limits), "refilled_at": now, "turn": 0}
        connection.execute(insert_ignoring(connection, provider_limits), [full])
        row = connection.execute(_BUCKET, mine).one()
    return row


def _in_flight(connection: Connection, provider: str, now: datetime) -> int:
    return connection.execute(_IN_FLIGHT, {"provider": provider, "since": now - FORGOTTEN}).scalar_one()


def _next_in_line(connection: Connection, provider: str, room: int, now: datetime) -> Sequence[Any]:
    return connection.execute(_NEXT_IN_LINE, {"provider": provider, "limit": room, "now": now}).all()
