"""Events and their deliveries: order, failing subscribers, dead letters."""

from worker.ledger.events.dead_letters import Undelivered, undelivered_of
from worker.ledger.events.deliveries import DUE, LONGEST_PAUSE, WAITS, EventDelivery, Handed, NotifyClaim
from worker.ledger.events.events import Events
from worker.ledger.events.failing_subscribers import Troubled
from worker.ledger.events.order import last_settled

__all__ = [
    "DUE",
    "LONGEST_PAUSE",
    "WAITS",
    "EventDelivery",
    "Events",
    "Handed",
    "NotifyClaim",
    "Troubled",
    "Undelivered",
    "last_settled",
    "undelivered_of",
]
