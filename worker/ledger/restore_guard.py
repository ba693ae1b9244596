"""The restore guard pauses submissions of a ledger that may not know everything it has paid for.

A restored ledger cannot tell by itself that it is old. So each ledger has an id and a number that it increases from
time to time, and writes both to the bucket (`tasks/restore_marker.py`): a higher number there means that this ledger is
older. While the bucket is unreachable, a ledger that has been idle for a while may be a restored one, so it waits for
the bucket.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypedDict

from sqlalchemy import Connection, func, literal, select, text, update

from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.schema import gate, transitions
from worker.ledger.statements import Query, columns_of, insert_ignoring

#: how old a comparison may be when something is submitted: restoring a younger backup goes unnoticed
EVERY = timedelta(seconds=30)
#: an active ledger compares every `EVERY`, whether or not the bucket answers: one that has not tried for this long was
#: stopped, or comes from a backup
ASLEEP = timedelta(minutes=10)
#: recorded as who opened a gate that no person had to open
_ITSELF = "a comparison with the bucket"


_CHANGES = select(func.coalesce(func.max(transitions.c.id), 0))
#: for the WHERE clause of the statements that choose what to submit
IS_OPEN = text("NOT EXISTS (SELECT 1 FROM gate WHERE gate.id = 1 AND gate.closed_at IS NOT NULL)")
_OPEN = select(literal(1)).where(IS_OPEN)


@dataclass(frozen=True, slots=True)
class Marker:
    """A ledger's marker, kept outside the ledger. `changes`: the length of its history, for people to compare."""

    ledger: str
    number: int
    changes: int
    at: datetime


class Gate(NamedTuple):
    """`compared_at`: the last successful comparison. `reason`: why submissions are paused, a part of a sentence.

    `idle_since`: submissions are paused until the bucket is reachable, and then resume if the marker agrees.
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
        """Return that submissions are paused, why, and the remedy; None if they are not."""
        if self.closed_at is None:
            return None
        if self.idle_since is not None:
            what_next = "they resume automatically once the bucket is reachable; `darkroom reconcile` shows its error"
        else:
            what_next = "`darkroom reconcile` compares the ledger with the providers"
        return f"submissions are paused: {self.reason}; {what_next}"


class _Values(TypedDict, total=False):
    """The columns that change."""

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
        """Return whether the last comparison is old, as it also is in a restored ledger."""
        found = self.state()
        if found is None or found.tried_at is None:
            return True
        return not timedelta() <= self._database.clock() - found.tried_at < EVERY

    def verify_marker(self, marker: Marker | None) -> Marker | None:
        """Pause submissions if the marker shows that this ledger is old or a different one; else return the new marker.

        None: nothing to write now. After a contradiction submissions stay paused until a person resumes them; if they
        were paused because the bucket was unreachable, they resume here if the marker agrees.
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
                    changes.event("submissions.paused", reason=reason)
                else:
                    values |= {"compared_at": now, "number": row.number + 1}
                    following = Marker(row.ledger, row.number + 1, _length(connection), now)
                    if row.closed_at is not None:
                        values |= _opened(now, _ITSELF)
                        changes.event("submissions.resumed", by=_ITSELF, reason=row.reason)
                changes.flush()
            connection.execute(update(gate).where(_THE_ROW).values(**values))
        return following

    def marker_unreachable(self) -> None:
        """Record that the marker could not be read. It is retried later; a new or active ledger is not paused for it.

        A ledger that has been idle for `ASLEEP` is paused until the bucket answers: it may be a restored one.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            row = _locked(connection)
            values: _Values = {"tried_at": now}
            if row.closed_at is None and row.tried_at is not None and now - row.tried_at > ASLEEP:
                reason = (
                    f"the ledger has been idle since {row.tried_at:%Y-%m-%d %H:%M:%S} UTC, and the bucket is "
                    "unreachable, so it may have been restored from a backup"
                )
                values |= {"closed_at": now, "reason": reason, "idle_since": row.tried_at}
                changes = Changes(connection, now)
                changes.event("submissions.paused", reason=reason)
                changes.flush()
            connection.execute(update(gate).where(_THE_ROW).values(**values))

    def next_marker(self, marker: Marker | None) -> Marker:
        """Return the marker that replaces this one once a person confirms; changes nothing yet."""
        with self._database.write() as connection:
            row = _locked(connection)
            number = max(row.number, marker.number if marker else 0) + 1
            return Marker(row.ledger, number, _length(connection), self._database.clock())

    def resume(self, marker: Marker, by: str) -> bool:
        """Resume submissions after `marker` was written; False if they were not paused."""
        now = self._database.clock()
        with self._database.write() as connection:
            row = _locked(connection)
            values: _Values = {"number": max(row.number, marker.number), "tried_at": now, "compared_at": now}
            if row.closed_at is not None:
                values |= _opened(now, by)
            connection.execute(update(gate).where(_THE_ROW).values(**values))
            if row.closed_at is not None:
                changes = Changes(connection, now)
                changes.event("submissions.resumed", by=by, reason=row.reason)
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
            f"the bucket belongs to another ledger ({marker.ledger}, last active {written}), "
            "so this one does not know what was submitted before"
        )
    if marker.number > number:
        return (
            f"the ledger is older than its marker in the bucket: it was active until at least {written}, "
            "and was restored from an earlier backup, so it does not know what was submitted since"
        )
    return None
