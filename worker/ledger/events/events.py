"""The façade for events."""

from worker.ledger.events.dead_letters import DeadLetters
from worker.ledger.events.deliveries import Deliveries


class Events(Deliveries, DeadLetters):
    """What subscribers are told, and what they did not take."""
