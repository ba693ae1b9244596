"""Events and their deliveries: order, contents, failing subscribers, dead letters."""

from worker.ledger.events.contents import RecordedEvent
from worker.ledger.events.dead_letters import Undelivered, undelivered_of
from worker.ledger.events.deliveries import DUE, LONGEST_PAUSE, WAITS, EventDelivery, Handed, NotifyClaim
from worker.ledger.events.event_log import EventFilter, EventPage
from worker.ledger.events.events import Events
from worker.ledger.events.failing_subscribers import Troubled
from worker.ledger.events.order import last_settled
from worker.ledger.events.public_ids import number_of, public_id
from worker.ledger.events.resending import Resent

__all__ = [
    "DUE",
    "LONGEST_PAUSE",
    "WAITS",
    "EventDelivery",
    "EventFilter",
    "EventPage",
    "Events",
    "Handed",
    "NotifyClaim",
    "RecordedEvent",
    "Resent",
    "Troubled",
    "Undelivered",
    "last_settled",
    "number_of",
    "public_id",
    "undelivered_of",
]
