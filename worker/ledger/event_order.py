"""In which order events can be handed on: none before another that is not visible yet."""

import time

from sqlalchemy import func, select, text

from worker.ledger.database import Database
from worker.ledger.tables import events

#: seconds for which events that are not committed yet are waited for
_PATIENCE = 1.0

NEWEST = select(func.max(events.c.id))
#: transactions that may have taken an id for an event and are not committed yet
_WRITERS = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND relation = 'events'::regclass "
    "AND mode = 'RowExclusiveLock' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def last_settled(database: Database) -> int | None:
    """The last event before which none can come any more; None when that is not to be known now.

    PostgreSQL hands out ids before the commit, so an event may become visible after a younger one. Who has taken an id
    holds a lock on the table until its commit: those who held it after the newest was seen are waited for.
    """
    with database.read() as connection:
        newest: int | None = connection.execute(NEWEST).scalar()
        if database.is_sqlite or newest is None:
            return newest
        give_up_at = time.monotonic() + _PATIENCE
        writers = set(connection.execute(_WRITERS).scalars())
        while writers and time.monotonic() < give_up_at:
            time.sleep(0.005)
            writers &= set(connection.execute(_WRITERS).scalars())
    return None if writers else newest
