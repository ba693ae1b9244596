"""The ledger as a whole: due work, heartbeats, tallies, pruning, sizes, and correction of future times."""

from worker.ledger.maintenance.heartbeats import RECEIVER, STOPPED, Heartbeat
from worker.ledger.maintenance.maintenance import Maintenance
from worker.ledger.maintenance.pruning import Bite
from worker.ledger.maintenance.sizes import (
    EstimatedSize,
    LedgerSize,
    TableSize,
    estimated_size,
    ledger_bytes,
    ledger_size,
)
from worker.ledger.schema import Tally
from worker.ledger.tallies import ACKNOWLEDGED_BOUNDS, BEYOND, LINK_LIFE_BOUNDS, TallyKey, bound_of

__all__ = [
    "ACKNOWLEDGED_BOUNDS",
    "BEYOND",
    "LINK_LIFE_BOUNDS",
    "RECEIVER",
    "STOPPED",
    "Bite",
    "EstimatedSize",
    "Heartbeat",
    "LedgerSize",
    "Maintenance",
    "TableSize",
    "Tally",
    "TallyKey",
    "bound_of",
    "estimated_size",
    "ledger_bytes",
    "ledger_size",
]
