"""Heartbeats of workers, and a ping of the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select, update

from worker.errors import VersionTooOld
from worker.ledger.database import REVISION, Part, oldest_code
from worker.ledger.schema import generations, heartbeats
from worker.ledger.statements import insert_ignoring


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
        """Return the silence, also after a heartbeat from the future, which a wrong clock has written."""
        return abs(now - self.seen_at)


class Heartbeats(Part):
    def beat(self, worker: str, pid: int, limits: Mapping[str, float] | None = None) -> None:
        """Record that this worker executes tasks. `limits`: its settings that all workers must share."""
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
        """Raise LedgerUnavailable or ConfigurationError if the ledger is not readable.

        Return why this version must not start new work on it; None if it may.
        """
        with self._database.read() as connection:
            connection.execute(select(generations.c.id).limit(1)).first()
            return self._database.objection(connection)
