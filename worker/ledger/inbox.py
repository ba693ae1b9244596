"""Callbacks as they came: raw bytes first, meaning later."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, text, update

from worker.ledger.creation import insert_ignoring
from worker.ledger.database import Database
from worker.ledger.tables import SET_ASIDE, UNAPPLIED, callbacks

#: after so many tries a callback that breaks its reader is set aside for a person
MAX_TRIES = 5


_INSERT = (
    "INSERT INTO callbacks (attempt_id, provider, received_at, remote_address, headers, body, digest) "
    "VALUES {} ON CONFLICT DO NOTHING"
)


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
    headers: Mapping[str, str]
    body: bytes


class Inbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, deliveries: Sequence[Delivery]) -> None:
        """Keep deliveries, durable when this returns; a body that is known for its attempt is kept once."""
        is_sqlite = self._database.is_sqlite
        row = "(?,?,?,?,?,?,?)" if is_sqlite else "(%s,%s,%s,%s,%s,%s,%s)"
        values: list[Any] = []
        for delivery in deliveries:
            at = delivery.received_at.astimezone(UTC)
            values += (
                delivery.attempt_id,
                delivery.provider,
                at.strftime("%Y-%m-%d %H:%M:%S.%f") if is_sqlite else at,
                delivery.remote_address,
                json.dumps(dict(delivery.headers), separators=(",", ":")),
                delivery.body,
                delivery.digest,
            )
        statement = _INSERT.format(",".join([row] * len(deliveries)))
        with self._database.write() as connection:
            connection.exec_driver_sql(statement, tuple(values))

    def claim(self, limit: int, lease: timedelta) -> list[StoredCallback]:
        """Take callbacks that nobody has applied, oldest first; they come up again if they are not applied in time."""
        now = self._database.clock()
        c = callbacks.c
        with self._database.write() as connection:
            rows = connection.execute(
                select(c.id, c.attempt_id, c.provider, c.headers, c.body, c.tries)
                .where(text(UNAPPLIED), c.not_before.is_(None) | (c.not_before <= now))
                .order_by(c.id)
                .limit(limit)
                .with_for_update(skip_locked=True)
            ).all()
            poison = [row.id for row in rows if row.tries >= MAX_TRIES]
            if poison:
                connection.execute(
                    update(callbacks)
                    .where(c.id.in_(poison))
                    .values(applied_at=now, verdict="poison", error=f"not applied after {MAX_TRIES} tries")
                )
            taken = [row for row in rows if row.tries < MAX_TRIES]
            # One that was tried before goes alone: if it breaks its reader, no other suffers with it.
            taken = taken[:1] if taken and taken[0].tries else [row for row in taken if row.tries == 0]
            if taken:
                connection.execute(
                    update(callbacks)
                    .where(c.id.in_([row.id for row in taken]))
                    .values(not_before=now + lease, tries=c.tries + 1)
                )
        return [StoredCallback(row.id, row.attempt_id, row.provider, row.headers, row.body) for row in taken]

    def replay(self, callback_ids: Iterable[int] | None = None) -> int:
        """Let callbacks be applied again: these, or every one that was set aside; how many."""
        chosen = text(SET_ASIDE) if callback_ids is None else callbacks.c.id.in_(list(callback_ids))
        with self._database.write() as connection:
            again = update(callbacks).where(chosen, callbacks.c.applied_at.is_not(None))
            return connection.execute(
                again.values(applied_at=None, verdict=None, error=None, tries=0, not_before=None)
            ).rowcount
