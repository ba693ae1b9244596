"""Heartbeats of workers and receivers, and a ping of the ledger."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, update

from worker.errors import VersionTooOld
from worker.ledger.database import REVISION, Part, oldest_code
from worker.ledger.schema import generations, heartbeats
from worker.ledger.statements import Query, columns_of, insert_ignoring

#: in place of the process number: this worker has ended as requested
STOPPED = 0
#: the role of a receiver, which does no work of the ledger
RECEIVER = "receiver"
#: how the Procfile names workers, and receivers name themselves
_NODE = re.compile(r"(?P<role>\w+)\.(?P<pid>[1-9][0-9]*)@(?P<host>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """`worker`: its role (such as worker, clock or receiver), process and host, as in worker.4711@host."""

    worker: str
    pid: int
    seen_at: datetime
    #: the ledger revision that its code expects
    revision: str = ""
    #: its version no longer starts work on this ledger
    is_too_old: bool = False
    #: settings that must be the same for all workers, by name
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def role(self) -> str:
        return self.worker.partition("@")[0].partition(".")[0]

    @property
    def is_stopped(self) -> bool:
        return self.pid == STOPPED

    def silence(self, now: datetime) -> timedelta:
        """Return how long it has been silent, even if a wrong clock has written a heartbeat in the future."""
        return abs(now - self.seen_at)


class _Beat(NamedTuple):
    worker: str
    pid: int
    seen_at: datetime
    revision: str
    limits: Mapping[str, float] | None


_BEATS = Query(_Beat, select(*columns_of(heartbeats, _Beat)).order_by(heartbeats.c.worker))


class Heartbeats(Part):
    def beat(self, worker: str, pid: int, limits: Mapping[str, float] | None = None) -> None:
        """Record that this worker executes tasks or, with STOPPED as its process, that it no longer does.

        `limits`: its settings that must be the same for all workers.
        """
        with self._database.write(under_way=True) as connection:
            self._beat(connection, worker, pid, limits or {})

    def _beat(self, connection: Connection, process: str, pid: int, limits: Mapping[str, float]) -> None:
        news = {"pid": pid, "seen_at": self._database.clock(), "revision": REVISION, "limits": dict(limits)}
        mine = update(heartbeats).where(heartbeats.c.worker == process).values(news)
        if connection.execute(mine).rowcount == 0:
            connection.execute(insert_ignoring(connection, heartbeats), [{"worker": process, **news}])

    def forget(self, workers: Collection[str]) -> None:
        """Delete the heartbeats of workers whose processes are gone."""
        with self._database.write() as connection:
            connection.execute(delete(heartbeats).where(heartbeats.c.worker.in_(workers)))

    def forget_predecessors(self, process: str) -> None:
        """Delete the heartbeats of the processes that this one has replaced on its host."""
        if gone := [one.worker for one in self.processes() if is_gone(one.worker, process)]:
            self.forget(gone)

    def heartbeats(self) -> Sequence[Heartbeat]:
        """Return the heartbeats of workers and clocks."""
        return [one for one in self.processes() if one.role != RECEIVER]

    def processes(self) -> Sequence[Heartbeat]:
        """Return the heartbeats of all processes, receivers included."""
        with self._database.read() as connection:
            oldest = oldest_code(connection)
            rows = _BEATS.all(connection)
            return [
                Heartbeat(
                    worker=row.worker,
                    pid=row.pid,
                    seen_at=row.seen_at,
                    revision=row.revision,
                    is_too_old=row.revision < oldest,
                    limits=row.limits or {},
                )
                for row in rows
            ]

    def ping(self) -> VersionTooOld | None:
        """Raise LedgerUnavailable or ConfigurationError if the ledger is not readable.

        Return why this version must not start new work on it; None if it may.
        """
        with self._database.read() as connection:
            connection.execute(select(generations.c.id).limit(1)).first()
            return self._database.objection(connection)


def is_gone(worker: str, successor: str) -> bool:
    """Whether it had the successor's role on the same host and its process is gone: killed, or replaced."""
    old, new = _NODE.fullmatch(worker), _NODE.fullmatch(successor)
    if old is None or new is None or worker == successor or (old["role"], old["host"]) != (new["role"], new["host"]):
        return False
    try:
        os.kill(int(old["pid"]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False
