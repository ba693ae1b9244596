"""Who is next in line, and to which account: the oldest turn first, what is pinned only to its own account."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from heapq import merge
from typing import Any

from sqlalchemy import Connection, bindparam, select, text

from worker.ledger.statements import LIMIT, NOW
from worker.ledger.tables import ANY_ACCOUNT, WAITING, generations
from worker.ledger.types import CleanText

_g = generations.c
IN_LINE = (_g.priority.desc(), _g.turn, _g.id)
_NEXT = (
    select(_g.id, _g.priority, _g.turn, _g.pinned, _g.batch_id, _g.operation, _g.speed, _g.version, _g.tries, _g.price)
    .where(
        _g.provider == bindparam("provider", type_=CleanText()),
        _g.pinned == bindparam("to", type_=CleanText()),
        text(WAITING),
        _g.not_before.is_(None) | (_g.not_before <= NOW),
    )
    .order_by(*IN_LINE)
    .limit(LIMIT)
    .with_for_update(skip_locked=True)
)


class Rooms:
    """How many more may go to each account of one provider."""

    def __init__(self, free: Mapping[str, int]) -> None:
        self.free = {account: room for account, room in free.items() if room > 0}

    @property
    def total(self) -> int:
        return sum(self.free.values())

    def place(self, pinned: str) -> str | None:
        """The account for the next one: its own, or that with the most room; None if there is no room for it."""
        if pinned != ANY_ACCOUNT:
            return pinned if self.free.get(pinned) else None
        account = max(self.free, key=self.free.__getitem__, default=None)
        return account if account is not None and self.free[account] else None

    def take(self, account: str) -> None:
        self.free[account] -= 1


def next_in_line(connection: Connection, provider: str, rooms: Rooms, further: int, now: datetime) -> Sequence[Any]:
    """Locked rows: more than have room, because each account has its own look, and `further` ones behind them.

    One look for what may go anywhere and one for each account with room: what is pinned to another is never read.
    """
    limits = {ANY_ACCOUNT: rooms.total} | rooms.free if rooms.total else {}
    found = [
        connection.execute(_NEXT, {"provider": provider, "to": to, "limit": limit + further, "now": now}).all()
        for to, limit in limits.items()
    ]
    return list(merge(*found, key=lambda row: (-row.priority, row.turn, row.id)))
