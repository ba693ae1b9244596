"""Callbacks as they came: raw bytes first, meaning later."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, func, select, text, update

from worker.ledger.database import Database
from worker.ledger.statements import IDS, LIMIT, NOW
from worker.ledger.tables import SET_ASIDE, UNAPPLIED, callbacks

#: after so many tries a callback that breaks its reader is set aside for a person
MAX_TRIES = 5


# One statement for all rows, in the driver's own words: sent one by one, each row lets go of the interpreter lock, and
# a busy receiver waits to get it back while the write lock is held.
_INSERT = (
    "INSERT INTO callbacks (attempt_id, provider, received_at, remote_address, headers, body, digest) "
    "VALUES {rows} ON CONFLICT DO NOTHING"
)
_ROW = "(%s,%s,%s,%s,%s,%s,%s)"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One authenticated HTTP delivery. `digest`: sha256 of the body, hex."""

    attempt_id: str
    provider: str
    received_at: datetime
    remote_address: str | None
    headers: Mapping[str, str]
    body: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class StoredCallback:
    id: int
    attempt_id: str
    provider: str
    received_at: datetime
    headers: Mapping[str, str]
    body: bytes


_c = callbacks.c
_OLDEST = (
    select(_c.id, _c.attempt_id, _c.provider, _c.received_at, _c.headers, _c.body, _c.tries)
    .where(text(UNAPPLIED), _c.not_before.is_(None) | (_c.not_before <= NOW))
    .order_by(_c.id)
    .limit(LIMIT)
    .with_for_update(skip_locked=True)
)
_TAKE = update(callbacks).where(_c.id.in_(IDS)).values(not_before=bindparam("until"), tries=_c.tries + 1)

_RENEW = update(callbacks).where(_c.id.in_(IDS), text(UNAPPLIED)).values(not_before=bindparam("until"))
_GIVEN_UP = f"not applied after {MAX_TRIES} tries" + func.coalesce(": " + _c.error, "")
_BROKE = update(callbacks).where(_c.id == bindparam("of"), text(UNAPPLIED)).values(error=bindparam("why"))
_POSTPONE = update(callbacks).where(_c.id.in_(IDS)).values(not_before=bindparam("until"), tries=_c.tries - 1)


class Inbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, deliveries: Sequence[Delivery]) -> None:
        """Keep deliveries, durable when this returns; a body that is known for its attempt is kept once."""
        if not deliveries:
            return
        is_sqlite = self._database.is_sqlite
        values: list[object] = []
        for delivery in deliveries:
            received_at = delivery.received_at.astimezone(UTC)
            values += (
                delivery.attempt_id,
                delivery.provider,
                received_at.strftime("%Y-%m-%d %H:%M:%S.%f") if is_sqlite else received_at,
                delivery.remote_address,
                json.dumps(dict(delivery.headers), separators=(",", ":")),
                delivery.body,
                delivery.digest,
            )
        row = _ROW.replace("%s", "?") if is_sqlite else _ROW
        with self._database.write(alone=True) as connection:
            connection.exec_driver_sql(_INSERT.format(rows=",".join([row] * len(deliveries))), tuple(values))

    def claim(self, limit: int, lease: timedelta) -> list[StoredCallback]:
        """Take callbacks that nobody has applied, oldest first; they come up again if they are not applied in time."""
        now = self._database.clock()
        c = callbacks.c
        with self._database.write() as connection:
            rows = connection.execute(_OLDEST, {"now": now, "limit": limit}).all()
            poison = [row.id for row in rows if row.tries >= MAX_TRIES]
            if poison:
                connection.execute(
                    update(callbacks).where(c.id.in_(poison)).values(applied_at=now, verdict="poison", error=_GIVEN_UP)
                )
            taken = [row for row in rows if row.tries < MAX_TRIES]
            # One that was tried before goes alone: if it breaks its reader, no other suffers with it.
            taken = taken[:1] if taken and taken[0].tries else [row for row in taken if row.tries == 0]
            if taken:
                connection.execute(_TAKE, {"ids": [row.id for row in taken], "until": now + lease})
        return [
            StoredCallback(row.id, row.attempt_id, row.provider, row.received_at, row.headers, row.body)
            for row in taken
        ]

    def renew(self, callback_ids: Sequence[int], lease: timedelta) -> None:
        """Hold claimed callbacks for another `lease`."""
        with self._database.write() as connection:
            connection.execute(_RENEW, {"ids": list(callback_ids), "until": self._database.clock() + lease})

    def earlier_headers(self, callback: StoredCallback) -> list[Mapping[str, str]]:
        """The headers of other callbacks of the same attempt that came before this one."""
        before = select(_c.headers).where(_c.attempt_id == callback.attempt_id, _c.id < callback.id)
        with self._database.read() as connection:
            return list(connection.execute(before).scalars())

    def postpone(self, callback_ids: Sequence[int], wait: timedelta) -> None:
        """Give claimed callbacks back for a while; that costs them no try."""
        if callback_ids:
            later = {"ids": list(callback_ids), "until": self._database.clock() + wait}
            with self._database.write() as connection:
                connection.execute(_POSTPONE, later)

    def broke(self, errors: Mapping[int, str]) -> None:
        """Note why claimed callbacks could not be applied; each comes up again after its lease, and was tried once."""
        with self._database.write() as connection:
            connection.execute(_BROKE, [{"of": one, "why": why} for one, why in sorted(errors.items())])

    def replay(self, callback_ids: Iterable[int] | None = None) -> int:
        """Let callbacks be applied again: these, or every one that was set aside; how many."""
        chosen = text(SET_ASIDE) if callback_ids is None else callbacks.c.id.in_(list(callback_ids))
        with self._database.write() as connection:
            again = update(callbacks).where(chosen, callbacks.c.applied_at.is_not(None))
            return connection.execute(
                again.values(applied_at=None, verdict=None, error=None, tries=0, not_before=None)
            ).rowcount
