"""The states of a delivery."""

from worker.ledger.moves import Machine
from worker.ledger.schema import DELIVERY_MOVES, deliveries

DELIVERIES = Machine(deliveries.c.state, DELIVERY_MOVES)
