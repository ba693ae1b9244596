"""The states of a delivery."""

from collections.abc import Mapping
from datetime import datetime

from worker.ledger.moves import Machine
from worker.ledger.schema import DELIVERY_MOVES, deliveries

DELIVERIES = Machine(deliveries.c.state, DELIVERY_MOVES)


def anew(now: datetime) -> Mapping[str, object]:
    """The columns of one that is sent again, from the first try."""
    return {"tries": 0, "not_before": now, "delivered_at": None, "error": None}
