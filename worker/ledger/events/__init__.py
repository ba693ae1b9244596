"""Events and their deliveries: order, contents, failing subscribers, dead letters."""

from worker.ledger.events.addresses import Address, write_addresses
from worker.ledger.events.contents import RecordedEvent
from worker.ledger.events.dead_letters import Undelivered, undelivered_of
from worker.ledger.events.deliveries import (
    DUE,
    LONGEST_RETRY_AFTER,
    WAITS,
    EventDelivery,
    Handed,
    NotifyClaim,
    Response,
)
from worker.ledger.events.event_log import EventFilter, EventPage
from worker.ledger.events.events import Events
from worker.ledger.events.failing_subscribers import Troubled
from worker.ledger.events.filters import DeliveryFilter
from worker.ledger.events.order import last_settled
from worker.ledger.events.public_ids import number_of, public_id
from worker.ledger.events.registry import DeliveryLog, KnownSubscriber, NewSubscriber
from worker.ledger.events.resending import Resent

__all__ = [
    "DUE",
    "LONGEST_RETRY_AFTER",
    "WAITS",
    "Address",
    "DeliveryFilter",
    "DeliveryLog",
    "EventDelivery",
    "EventFilter",
    "EventPage",
    "Events",
    "Handed",
    "KnownSubscriber",
    "NewSubscriber",
    "NotifyClaim",
    "RecordedEvent",
    "Resent",
    "Response",
    "Troubled",
    "Undelivered",
    "last_settled",
    "number_of",
    "public_id",
    "undelivered_of",
    "write_addresses",
]
