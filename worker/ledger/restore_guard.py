"""The restore gate: while it is closed nothing is submitted, because this ledger may not know what it has paid for.

A ledger that was restored from a backup does not notice. So each has an id and a number that it raises from time to
time, and writes both outside of itself (`tasks/restore_marker.py`): one that finds a higher number out there than in
its own table is older than what was written there. While the bucket cannot be asked, one that was not at work for a
while may be such a ledger, and waits for its answer.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypedDict

from sqlalchemy import Connection, func, literal, select, text, update

from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.query import Query, columns_of
from worker.ledger.schema import gate, transitions
from worker.ledger.statements import insert_ignoring

#: how old a comparison may be when something is submitted: a backup that is younger is not noticed
EVERY = timedelta(seconds=30)
#: a ledger at work tries every `EVERY`, whether or not the bucket answers: one that did not for so long was stopped, or
#: comes from a backup
ASLEEP = timedelta(minutes=10)
#: who has opened a gate that no person had to open
_ITSELF = "a comparison with the bucket"


_CHANGES = select(func.coalesce(func.max(transitions.c.id), 0))
#: for the WHERE of those statements that choose what is submitted
IS_OPEN = text("NOT EXISTS (SELECT 1 FROM gate WHERE gate.id = 1 AND gate.closed_at IS NOT NULL)")
_OPEN = select(literal(1)).where(IS_OPEN)


@dataclass(frozen=True, slots=True)
class Marker:
    """What a ledger has written outside of itself. `changes`: how long its history was, for people to compare."""

    ledger: str
    number: int
    changes: int
    at: datetime


class Gate(NamedTuple):
    """`compared_at`: when nothing spoke against this ledger last. `reason`: why it is closed, a part of a sentence.

    `idle_since`: it is closed until the bucket can be asked, and then opens by itself if nothing speaks against it.
    """

    ledger: str
    number: int
    tried_at: datetime | None
    compared_at: datetime | None
    closed_at: datetime | None
    reason: str | None
    opened_at: datetime | None
    opened_by: str | None
    idle_since: datetime | None

    @property
    def complaint(self) -> str | None:
        """That it is closed, why, and what to do; None while it is open."""
        if self.closed_at is None:
            return None
        if self.idle_since is not None:
            what_next = "it goes on by itself when the bucket answers, and `darkroom reconcile` says why it does not"
        else:
            what_next = "`darkroom reconcile` compares it with the providers"
        return f"nothing is submitted: {self.reason}; {what_next}"


class _Values(TypedDict, total=False):
    """What changes in it."""

    number: int
    tried_at: datetime
    compared_at: datetime
    closed_at: datetime | None
    reason: str | None
    opened_at: datetime
    opened_by: str
    idle_since: datetime | None


_THE_ROW = gate.c.id == 1
_THE_STATE = select(*columns_of(gate, Gate)).where(_THE_ROW)
_STATE = Query(Gate, _THE_STATE)
_LOCKED = Query(Gate, _THE_STATE.with_for_update())


def is_open(connection: Connection) -> bool:
    return connection.execute(_OPEN).first() is not None


class RestoreGuard(Part):
    def state(self) -> Gate | None:
        """None before the first comparison."""
        with self._database.read() as connection:
            return _STATE.first(connection)

    def is_check_due(self) -> bool:
        """Whether nobody has compared lately; a ledger from a backup says so, too."""
        found = self.state()
        if found is None or found.tried_at is None:
            return True
        return not timedelta() <= self._database.clock() - found.tried_at < EVERY

    def verify_marker(self, marker: Marker | None) -> Marker | None:
        """Close the gate if the marker outside says that this ledger is old or another one; else the one to write.

        None: there is nothing to write now. Closed by a contradiction it stays so until a person opens it; closed
        because the bucket could not be asked, it is opened here if nothing speaks against this ledger.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            row = _locked(connection)
            values: _Values = {"tried_at": now}
            following = None
            if row.closed_at is None or row.idle_since is not None:
                changes = Changes(connection, now)
                if reason := _contradiction(row.ledger, row.number, marker):
                    values |= {"closed_at": row.closed_at or now, "reason": reason, "idle_since": None}
                    changes.event("gate.closed", reason=reason)
                else:
                    values |= {"compared_at": now, "number": row.number + 1}
                    following = Marker(row.ledger, row.number + 1, _length(connection), now)
                    if row.closed_at is not None:
                        values |= _opened(now, _ITSELF)
                        changes.event("gate.opened", by=_ITSELF, reason=row.reason)
                changes.flush()
            connection.execute(update(gate).where(_THE_ROW).values(**values))
        return following

    def marker_unreachable(self) -> None:
        """The marker could not be read: tried again later, and no reason to stop a ledger that is new or at work.

        One that was not at work for `ASLEEP` is closed until the bucket answers: it may come from a backup.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            row = _locked(connection)
            values: _Values = {"tried_at": now}
            if row.closed_at is None and row.tried_at is not None and now - row.tried_at > ASLEEP:
                reason = (
                    f"the ledger has not been at work since {row.tried_at:%Y-%m-%d %H:%M:%S} UTC, and the bucket "
                    "cannot be asked whether it was restored from a backup"
                )
                values |= {"closed_at": now, "reason": reason, "idle_since": row.tried_at}
                changes = Changes(connection, now)
                changes.event("gate.closed", reason=reason)
                changes.flush()
            connection.execute(update(gate).where(_THE_ROW).values(**values))

    def next_marker(self, marker: Marker | None) -> Marker:
        """The marker that this ledger may write over that one after a person has said so; changes nothing yet."""
        with self._database.write() as connection:
            row = _locked(connection)
            number = max(row.number, marker.number if marker else 0) + 1
            return Marker(row.ledger, number, _length(connection), self._database.clock())

    def resume(self, marker: Marker, by: str) -> bool:
        """Let submissions go on, after `marker` was written; False if the gate was not closed."""
        now = self._database.clock()
        with self._database.write() as connection:
            row = _locked(connection)
            values: _Values = {"number": max(row.number, marker.number), "tried_at": now, "compared_at": now}
            if row.closed_at is not None:
                values |= _opened(now, by)
            connection.execute(update(gate).where(_THE_ROW).values(**values))
            if row.closed_at is not None:
                changes = Changes(connection, now)
                changes.event("gate.opened", by=by, reason=row.reason)
                changes.flush()
        return row.closed_at is not None


def _length(connection: Connection) -> int:
    length: int = connection.execute(_CHANGES).scalar_one()
    return length


def _opened(now: datetime, by: str) -> _Values:
    return {"closed_at": None, "reason": None, "idle_since": None, "opened_at": now, "opened_by": by}


def _locked(connection: Connection) -> Gate:
    while (row := _LOCKED.first(connection)) is None:
        first = {"id": 1, "ledger": f"ledger_{secrets.token_hex(8)}", "number": 0}
        connection.execute(insert_ignoring(connection, gate), [first])
    return row


def _contradiction(ledger: str, number: int, marker: Marker | None) -> str | None:
    if marker is None:
        return None
    written = f"{marker.at:%Y-%m-%d %H:%M:%S} UTC"
    if marker.ledger != ledger:
        return (
            f"the bucket belongs to another ledger ({marker.ledger}, last heard of {written}), "
            "so this one does not know what was submitted before"
        )
    if marker.number > number:
        return (
            f"the ledger is older than the bucket says: it was at work until {written} at least, "
            "and was restored from an earlier backup, so it does not know what was submitted since"
        )
    return None
