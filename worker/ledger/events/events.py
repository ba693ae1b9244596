"""The façade for events."""

from worker.ledger.events.dead_letters import DeadLetters
from worker.ledger.events.deliveries import Deliveries
from worker.ledger.events.event_log import EventLog
from worker.ledger.events.registry import Registry
from worker.ledger.events.resending import Resending


class Events(EventLog, Registry, Deliveries, Resending, DeadLetters):
    """The recorded events, their deliveries to subscribers, and dead letters."""
