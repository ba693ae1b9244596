"""The façade for events."""

from worker.ledger.events.dead_letters import DeadLetters
from worker.ledger.events.deliveries import Deliveries


class Events(Deliveries, DeadLetters):
    """Deliveries to subscribers, and dead letters."""
