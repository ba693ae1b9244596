"""What the program gave up and a person may let it try again: assets and events (callbacks: `queries`, `inbox`)."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import literal_column, select, text

from worker.generation import Asset, State
from worker.ledger.database import Database
from worker.ledger.notify_tables import UNDELIVERABLE, deliveries, subscribers
from worker.ledger.rows import to_asset
from worker.ledger.statements import update_row
from worker.ledger.tables import BY_STATE, assets, events, generations
from worker.ledger.types import CleanText


@dataclass(frozen=True, slots=True)
class Undelivered:
    """An event that a subscriber did not take, however often it was tried."""

    event_id: int
    subscriber: str
    type: str
    generation_id: str | None
    at: datetime
    tries: int
    error: str | None


_d, _e, _a, _g = deliveries.c, events.c, assets.c, generations.c
# The condition on the state stands alone, because both tables have such a column.
_EXPIRED = select(_g.id).where(literal_column(BY_STATE, CleanText) == State.EXPIRED)
_ASSETS = (
    select(assets, select(_g.finished_at).where(_g.id == _a.generation_id).scalar_subquery().label("given_up_at"))
    .where(_a.generation_id.in_(_EXPIRED), _a.state == "expired")
    .order_by(_a.generation_id.desc(), _a.index)
)


class DeadLetters:
    def __init__(self, database: Database) -> None:
        self._database = database

    def assets(self, limit: int) -> list[tuple[Asset, datetime]]:
        """Assets that were given up with their generation, the newest first, and when."""
        with self._database.read() as connection:
            return [(to_asset(row), row.given_up_at) for row in connection.execute(_ASSETS.limit(limit))]

    def events(self, limit: int) -> list[Undelivered]:
        """Events that were given up, by subscriber, each the newest first."""
        query = (
            select(_d.event_id, _d.subscriber, _e.type, _e.generation_id, _e.at, _d.tries, _d.error)
            .join_from(deliveries, events, _e.id == _d.event_id)
            .where(text(UNDELIVERABLE))
            .order_by(_d.subscriber, _d.event_id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [Undelivered(*row) for row in connection.execute(query)]

    def replay_event(self, event_id: int, subscriber: str) -> bool:
        """Deliver an event once more, from the first try; False when it was not given up."""
        now = self._database.clock()
        dead = {"subscriber": subscriber, "event_id": event_id, "state": "dead"}
        with self._database.write() as connection:
            if update_row(connection, deliveries, dead, state="waiting", tries=0, not_before=now, error=None) != 1:
                return False
            # Who replays has mended something: no waiting for the end of a pause.
            update_row(connection, subscribers, {"name": subscriber}, failures=0, not_before=None)
        return True
