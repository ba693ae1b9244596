"""The states of a delivery."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, update

from worker.ledger.moves import Machine
from worker.ledger.schema import DELIVERY_MOVES, IS_UNDELIVERED, CleanText, deliveries
from worker.ledger.statements import NOW

DELIVERIES = Machine(deliveries.c.state, DELIVERY_MOVES)
_DUE_NOW = (
    update(deliveries)
    .where(deliveries.c.subscriber == bindparam("whose", type_=CleanText()))
    .where(IS_UNDELIVERED, deliveries.c.not_before > NOW)
    .values(not_before=NOW)
)


def anew(now: datetime) -> Mapping[str, object]:
    """Return the columns of a delivery that is sent again, from the first try."""
    return {"tries": 0, "not_before": now, "delivered_at": None, "error": None}


def make_due(connection: Connection, subscriber: str, now: datetime) -> None:
    """Make all waiting deliveries due at once: the subscriber is available again."""
    connection.execute(_DUE_NOW, {"whose": subscriber, "now": now})
