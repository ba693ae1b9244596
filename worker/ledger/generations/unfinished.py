"""Batches that are written a few generations at a time and become visible with the last one.

Until then, their flows are not queued, so nothing is dispatched, and lists leave them out. If a command dies, running
it again completes its batch; otherwise, the leftovers are removed.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import Connection, bindparam, delete, literal, select, text, update

from worker.errors import LedgerUnavailable
from worker.ledger.database import Database, in_bites
from worker.ledger.dispatch import SLACK
from worker.ledger.schema import UNFINISHED, CleanText, UtcDateTime, batches, generations, labels, transitions
from worker.ledger.statements import IDS, LIMIT, NOW, insert_ignoring

#: a submission that has written nothing for this long no longer blocks others with the same keys; if alive, it restarts
STALLED = timedelta(seconds=5)
#: the sweep removes an unfinished batch after this time, at most this many generations per pass
ABANDONED = timedelta(minutes=15)
_IN_ONE_PASS = 1000

_b, _g = batches.c, generations.c
_ID = bindparam("batch", type_=CleanText())
_REQUEST = bindparam("request", type_=CleanText())
_ALL = select(_b.id).where(text(UNFINISHED))
_OF_REQUEST = _ALL.where(_b.unfinished == _REQUEST)
_MINE = update(batches).where(_b.id == _ID, _b.unfinished == _REQUEST)
_GO_ON = _MINE.values(unfinished_at=NOW)
_FINISH = _MINE.values(unfinished=None, unfinished_at=None, name=bindparam("called"))
# A time in the future was written by a wrong clock.
_STALLED = _ALL.where(
    (_b.unfinished_at <= bindparam("before", type_=UtcDateTime()))
    | (_b.unfinished_at > bindparam("soon", type_=UtcDateTime()))
).limit(1)
# The batch then belongs to no request, so the process that began it cannot finish what is being removed.
_DISOWN = update(batches).where(_b.id == _ID, text(UNFINISHED)).values(unfinished=None)
_SOME = select(_g.id).where(_g.batch_id == _ID).order_by(_g.id).limit(LIMIT)
_HAS_ANY = select(literal(1)).where(_g.batch_id == _ID).limit(1)
_FORGET_HISTORY = delete(transitions).where(transitions.c.generation_id.in_(IDS))
_FORGET_LABELS = delete(labels).where(labels.c.generation_id.in_(IDS))
_FORGET = delete(generations).where(_g.id.in_(IDS))
_REMOVE = delete(batches).where(_b.id == _ID)


class BeingWritten(LedgerUnavailable):
    """A key belongs to a batch that another process is writing."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            "another submission with some of the same keys, or to the same batch, is being written right now; try again"
        )
        self.batch_id = batch_id


class BatchGone(LedgerUnavailable):
    """Another process has completed or removed the batch in the meantime."""

    def __init__(self) -> None:
        super().__init__("the batch was completed or removed by somebody else while it was written; try again")


def batch_of(connection: Connection, request: str) -> str | None:
    """Return the batch that was begun for this request."""
    found: str | None = connection.execute(_OF_REQUEST, {"request": request}).scalar()
    return found


def begin(
    connection: Connection, batch_id: str, name: str, request: str, now: datetime, *, unique_name: str | None = None
) -> None:
    row = {"id": batch_id, "name": name, "created_at": now, "unfinished": request, "unfinished_at": now}
    connection.execute(insert_ignoring(connection, batches), [row | {"unique_name": unique_name}])


def go_on(connection: Connection, batch_id: str, request: str, now: datetime) -> None:
    """Lock the batch for this transaction, and renew its time. Raises BatchGone."""
    if connection.execute(_GO_ON, {"batch": batch_id, "request": request, "now": now}).rowcount != 1:
        raise BatchGone


def finish(connection: Connection, batch_id: str, request: str, name: str) -> bool:
    """Make the batch visible at the end of this transaction; return False if it was empty and removed.

    Raises BatchGone.
    """
    if connection.execute(_FINISH, {"batch": batch_id, "request": request, "called": name}).rowcount != 1:
        raise BatchGone
    return not drop_if_empty(connection, batch_id)


def drop_if_empty(connection: Connection, batch_id: str) -> bool:
    """Remove the batch if all of its generations existed before; return whether they did.

    Only inserting them shows that, because it waits for others with the same keys.
    """
    is_empty = connection.execute(_HAS_ANY, {"batch": batch_id}).first() is None
    if is_empty:
        connection.execute(_REMOVE, {"batch": batch_id})
    return is_empty


class Wanted(Protocol):
    """A generation of a request."""

    @property
    def dedupe(self) -> str | None: ...


def digest_of(wanted: Sequence[Wanted]) -> str:
    """Return a digest that identifies the request; it is random unless all generations have a `dedupe`."""
    digest = hashlib.sha256()
    for new in wanted:
        digest.update(repr(new).encode("utf-8", "replace"))
    return digest.hexdigest() if all(new.dedupe for new in wanted) else secrets.token_hex(16)


def remove(database: Database, batch_id: str) -> None:
    """Remove a batch, unless it is finished."""
    while not _remove_some(database, batch_id):
        pass


def remove_stalled(database: Database, batch_id: str) -> bool:
    """Remove a batch if no process is continuing it; return False if one is."""
    with database.read() as connection:
        mine = {"batch": batch_id, **_longer_ago(database, STALLED)}
        is_stalled = connection.execute(_STALLED.where(_b.id == _ID), mine).first() is not None
    if is_stalled:
        remove(database, batch_id)
    return is_stalled


def remove_some_abandoned(database: Database) -> None:
    """Remove part of a batch that was abandoned long ago, if there is one."""
    with database.read() as connection:
        batch_id = connection.execute(_STALLED, _longer_ago(database, ABANDONED)).scalar()
    if batch_id is not None:
        _remove_some(database, batch_id)


def _longer_ago(database: Database, age: timedelta) -> dict[str, datetime]:
    now = database.clock()
    return {"before": now - age, "soon": now + SLACK}


def _remove_some(database: Database, batch_id: str) -> bool:
    """Remove part of a batch; return True once it is gone, or if it is finished."""
    with database.write() as connection:
        if connection.execute(_DISOWN, {"batch": batch_id}).rowcount != 1:
            return True
        ids = connection.execute(_SOME, {"batch": batch_id, "limit": _IN_ONE_PASS}).scalars().all()
        if not ids:
            connection.execute(_REMOVE, {"batch": batch_id})
            return True
    for bite, _ in in_bites(database, ids):
        with database.write() as connection:
            connection.execute(_FORGET_HISTORY, {"ids": bite})
            connection.execute(_FORGET_LABELS, {"ids": bite})
            connection.execute(_FORGET, {"ids": bite})
    return False
