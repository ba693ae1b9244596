"""A safe reading order for events and moves: none is read before an earlier one that is not yet visible."""

import time
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, func, select, text

from worker.ledger.database import Database
from worker.ledger.schema import AnyTable, events
from worker.ledger.statements import Query

#: how far back a new subscriber gets events: the clock registers it shortly after the first steps have run
FIRST_LOOK = timedelta(minutes=5)
_MOST_AT_FIRST = 10_000
#: seconds to wait for uncommitted rows
_PATIENCE = 1.0


class _Newest(NamedTuple):
    id: int | None


NEWEST = select(func.max(events.c.id))
#: uncommitted transactions that may have taken an id in a table
_WRITERS = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND relation = CAST(:table AS regclass) "
    "AND mode = 'RowExclusiveLock' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def last_settled(database: Database, table: AnyTable = events) -> int | None:
    """Return the id up to which all events are visible; None if that cannot be determined now.

    PostgreSQL assigns ids before the commit, so an event may become visible after a newer one. Its writer holds a lock
    on the table until the commit, so this waits for all writers that hold it after the newest id was read. `table`: the
    events, or another table with ids of the same kind.
    """
    with database.read() as connection:
        newest = Query(_Newest, select(func.max(table.c.id).label("id"))).all(connection)[0].id
        if database.is_sqlite or newest is None:
            return newest
        give_up_at = time.monotonic() + _PATIENCE
        of_table = {"table": table.name}
        writers = set(connection.execute(_WRITERS, of_table).scalars())
        while writers and time.monotonic() < give_up_at:
            time.sleep(0.005)
            writers &= set(connection.execute(_WRITERS, of_table).scalars())
    return None if writers else newest


def beginning(connection: Connection, now: datetime) -> int:
    """Return the id of the event after which a new subscriber starts."""
    oldest = (connection.execute(NEWEST).scalar() or 0) - _MOST_AT_FIRST
    before = select(func.max(events.c.id)).where(events.c.id > oldest, events.c.at < now - FIRST_LOOK)
    return connection.execute(before).scalar() or max(oldest, 0)
